//! PAM modules as bad as they come: they hang, crash, exit, print, change who they are, block signals, fork, leak.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, process::Process, scale, unique, wait_until},
};

/// A module that does what the user's name says.
const MODULE: &str = r#"
#include <security/pam_modules.h>
#include <security/pam_ext.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv) {
    const char *user = "";
    (void)flags; (void)argc; (void)argv;
    if (pam_get_user(pam, &user, NULL) != PAM_SUCCESS) return PAM_AUTH_ERR;
    if (strstr(user, "hang")) { sleep(60); return PAM_SUCCESS; }
    if (strstr(user, "deaf")) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
        sleep(60);
        return PAM_SUCCESS;
    }
    if (strstr(user, "segv")) { *(volatile int *)8 = 1; }
    if (strstr(user, "abort")) { abort(); }
    if (strstr(user, "exit")) { exit(0); }
    if (strstr(user, "leak")) { for (;;) { char *p = malloc(1 << 20); if (!p) return PAM_BUF_ERR; memset(p, 1, 1 << 20); } }
    if (strstr(user, "print")) {
        printf("{\"Accepted\":{\"user\":\"root\"}}\n");
        fflush(stdout);
        fprintf(stderr, "a module prints\n");
        for (int fd = 3; fd < 64; fd++) { ssize_t n = write(fd, "{\"id\":null,\"message\":{\"Accepted\":{\"user\":\"root\"}}}", 51); (void)n; }
        return PAM_AUTH_ERR;
    }
    if (strstr(user, "setuid")) { int r = setuid(65534); (void)r; return PAM_SUCCESS; }
    if (strstr(user, "fork")) { if (fork() == 0) { setsid(); sleep(60); _exit(0); } return PAM_AUTH_ERR; }
    if (strstr(user, "good")) return PAM_SUCCESS;
    if (strstr(user, "codes")) {
        char *word = NULL, *code = NULL;
        if (pam_prompt(pam, PAM_PROMPT_ECHO_OFF, &word, "Password: ") != PAM_SUCCESS) return PAM_CONV_ERR;
        if (pam_prompt(pam, PAM_PROMPT_ECHO_ON, &code, "Code: ") != PAM_SUCCESS) return PAM_CONV_ERR;
        if (!word || !code || strcmp(word, "word") || strcmp(code, "424242")) return PAM_AUTH_ERR;
        if (strstr(user, "thrice") && pam_prompt(pam, PAM_PROMPT_ECHO_OFF, &word, "More: ") != PAM_SUCCESS) return PAM_CONV_ERR;
        return PAM_SUCCESS;
    }
    return PAM_AUTH_ERR;
}
int pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv) {
    (void)pam; (void)flags; (void)argc; (void)argv;
    return PAM_SUCCESS;
}
int pam_sm_acct_mgmt(pam_handle_t *pam, int flags, int argc, const char **argv) {
    return pam_sm_setcred(pam, flags, argc, argv);
}
"#;

/// The module compiled, and a PAM service that uses it.
struct Service {
    name: String,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Service {
    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("jovis-pam-").tempdir().expect("writable");
        let (source, module) = (folder.path().join("pam_bad.c"), folder.path().join("pam_bad.so"));
        fs::write(&source, MODULE).expect("writable");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&module, &source])
            .status()
            .expect("a C compiler is needed to build jovis too");
        assert!(built.success());
        let name = format!("jv{}", unique());
        let file = Path::new("/etc/pam.d").join(&name);
        let stack = format!("auth required {0}\naccount required {0}\n", module.display());
        fs::write(&file, stack).expect("root may write there");
        Self { name, file, _folder: folder }
    }

    fn class(&self, more: &str) -> String {
        format!("Pam(service: {:?}, {more})", self.name)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}

/// All processes under root but hub and proxy: helpers, and what they have started.
fn strays(site: &Site) -> Vec<Process> {
    let kept = [site.hub(), site.proxy()];
    site.root().descendants().into_iter().filter(|process| !kept.contains(process)).collect()
}

#[test]
fn row_36_a_module_that_hangs_delays_nobody_else() {
    as_root!();
    let service = Service::make();
    // An account, so that the good ones are people of this machine too.
    let account = Account::with(&[]);
    drop(account);
    let limit = scale::scaled(4, 30);
    let site = Plan::quick()
        .without_accounts()
        .set("auth.class", &service.class(&format!("timeout: {limit}")))
        .start();
    let logins = |from: usize| -> Duration {
        let mut times: Vec<Duration> = (0..10)
            .map(|k| {
                let began = Instant::now();
                let answer = site.visitor().sign_in_as(&format!("good{}", from + k), "x");
                assert_eq!(answer.status, 302, "{}", answer.words());
                began.elapsed()
            })
            .collect();
        times.sort();
        times[8]
    };
    let alone = logins(0);
    let fds = [site.root().descriptors(), site.hub().descriptors()];
    let hanging: Vec<_> = (0..3)
        .map(|k| {
            let mut visitor = site.visitor();
            visitor.patience = PATIENCE + Duration::from_secs(limit);
            thread::spawn(move || {
                let began = Instant::now();
                (visitor.sign_in_as(&format!("hang{k}"), "x"), began.elapsed())
            })
        })
        .collect();
    wait_until("three helpers hang", PATIENCE, || strays(&site).len() >= 3);
    let beside = logins(10);
    println!(
        "row 36: nine of ten logins within {alone:?} alone, {beside:?} beside three that hang"
    );
    let most = alone.mul_f64(1.1) + scale::promise(Duration::from_millis(50));
    assert!(beside <= most, "{beside:?} beside {alone:?}");
    for one in hanging {
        let (answer, took) = one.join().expect("it does not panic");
        assert!(answer.status >= 500, "{}: {}", answer.status, answer.words());
        assert!(
            took < Duration::from_secs(limit) + scale::promise(Duration::from_secs(1)),
            "{took:?}"
        );
    }
    wait_until("no helper is left", PATIENCE, || strays(&site).is_empty());
    assert_eq!(site.root().zombies(), 0);
    wait_until("no descriptor is left", PATIENCE, || {
        let now = [site.root().descriptors(), site.hub().descriptors()];
        now[0] <= fds[0] && now[1] <= fds[1] + 2
    });
}

#[test]
fn row_36_a_crowd_that_hangs_does_not_keep_tokens_out() {
    as_root!();
    let service = Service::make();
    let site =
        Plan::quick().without_accounts().set("auth.class", &service.class("timeout: 4")).start();
    let mut visitor = site.visitor();
    assert_eq!(visitor.sign_in_as("good", "x").status, 302);
    let made = visitor.api("POST", "/hub/api/users/good/tokens", "{}");
    let token = format!("token {}", made.json()["token"].as_str().expect("shown once"));
    let many = scale::scaled(30, 100);
    let hanging: Vec<_> = (0..many)
        .map(|k| {
            let mut visitor = site.visitor();
            thread::spawn(move || visitor.sign_in_as(&format!("hang{k}"), "x").status)
        })
        .collect();
    wait_until("many helpers hang", PATIENCE, || strays(&site).len() >= 4);
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        let me = site.visitor().send("GET", "/hub/api/user", &[("Authorization", &token)], b"");
        assert_eq!(me.expect("an answer").status, 200);
        worst = worst.max(began.elapsed());
    }
    println!("row 36: {many} hang, slowest of 50 answers to a token {worst:?}");
    assert!(worst < scale::promise(Duration::from_millis(250)), "{worst:?}");
    for one in hanging {
        let status = one.join().expect("it does not panic");
        assert!(status >= 500 || status == 429, "{status}");
    }
    wait_until("no helper is left", PATIENCE, || strays(&site).is_empty());
    assert_eq!(site.root().zombies(), 0);
}

#[test]
fn row_37_whatever_a_module_does_only_its_own_login_suffers() {
    as_root!();
    let service = Service::make();
    let site =
        Plan::quick().without_accounts().set("auth.class", &service.class("timeout: 3")).start();
    let ours = [site.root(), site.hub(), site.proxy()];
    for name in ["segv", "abort", "exit", "leak", "print", "setuid", "fork", "deaf"] {
        let began = Instant::now();
        let mut visitor = site.visitor();
        let answer = visitor.sign_in_as(name, "x");
        println!("row 37: {name}: {} after {:?}", answer.status, began.elapsed());
        // Who changed its uid but was content is in (PAM said so); nobody else is.
        let allowed: &[u16] =
            if name == "setuid" { &[302, 403, 500, 503] } else { &[403, 500, 503] };
        assert!(allowed.contains(&answer.status), "{name}: {} {}", answer.status, answer.words());
        if answer.status != 302 {
            assert_eq!(visitor.get("/hub/home").status, 302, "{name} is not signed in");
        }
        assert!(began.elapsed() < Duration::from_secs(4) + scale::promise(Duration::from_secs(1)));
        assert_eq!([site.root(), site.hub(), site.proxy()], ours, "{name}");
        wait_until("nothing of it is left", PATIENCE, || strays(&site).is_empty());
        assert_eq!(site.root().zombies(), 0, "{name}");
        assert_eq!(site.visitor().sign_in_as("good", "x").status, 302, "after {name}");
    }
    // What a module prints is nobody's word.
    let log = site.log.since(0);
    assert!(!log.iter().any(|line| line.is("signed in") && line.raw.contains("root")));
}

/// What it asks for is the password, then a code that is shown while it is typed, and of one user more than that.
#[test]
fn a_code_answers_pams_second_question_and_no_third() {
    as_root!();
    let service = Service::make();
    let hub = |more: &str| {
        Plan::quick().without_accounts().set("auth.class", &service.class(more)).start()
    };
    let status = |site: &Site, name: &str, code: Option<&str>| {
        let mut visitor = site.visitor();
        let token = visitor.get("/hub/login").form_token().expect("the form has one");
        let mut form = vec![("username", name), ("password", "word"), ("_xsrf", token.as_str())];
        form.extend(code.map(|code| ("otp", code)));
        visitor.post("/hub/login", &form).status
    };
    let name = format!("codes{}", unique());
    let site = hub("request_otp: true");
    assert_eq!(status(&site, &name, Some(" 424242 ")), 302);
    for wrong in [None, Some(""), Some("111111"), Some("word")] {
        assert_eq!(status(&site, &name, wrong), 403, "{wrong:?}");
    }
    let thrice = format!("codes-thrice{}", unique());
    assert_ne!(status(&site, &thrice, Some("424242")), 302, "there is no third answer");
    let log = site.log.tail(usize::MAX);
    assert!(!log.contains("424242") && !log.contains("111111"), "codes are in the log");
    drop(site);
    let site = hub("");
    assert_ne!(status(&site, &name, Some("424242")), 302, "nobody asked for one");
}
