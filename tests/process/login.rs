//! Signing in with a Unix account: PAM, through the helper.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{Account, Answer, PATIENCE, Plan, Site, process::Process, unique, wait_until},
};

/// A PAM service for one test.
struct Service(PathBuf);

impl Service {
    fn new(stack: &str) -> Self {
        let file = PathBuf::from(format!("/etc/pam.d/jv{}", unique()));
        fs::write(&file, stack).expect("root may write there");
        Self(file)
    }

    /// Checks the password as usual, but refuses at once where `login` waits three seconds.
    fn quick() -> Self {
        Self::new("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
    }

    fn class(&self, more: &str) -> String {
        let name = self.0.file_name().expect("it has one").to_str().expect("plain letters");
        format!("Pam(service: {name:?}, {more})")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn attempt(site: &Site, name: &str, password: &str) -> Answer {
    site.visitor().sign_in_as(name, password)
}

/// The page as read, without what the visitor typed.
fn refusal(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 403, "{}", answer.words());
    assert!(!answer.headers.iter().any(|(_, value)| value.contains("hub-login")));
    answer.words().replace(name, "NAME")
}

#[test]
fn the_right_password_signs_in_and_a_wrong_one_does_not() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let home = visitor.get("/hub/home");
    assert_eq!(home.status, 200);
    assert!(home.text().contains(r#"id="logout""#), "{}", home.words());
    refusal(&attempt(&site, &account.name, "not it"), &account.name);
    // the one who was in stays in
    assert_eq!(visitor.get("/hub/home").status, 200);
}

#[test]
fn blanks_around_a_name_do_not_matter_and_pam_sees_capitals_as_typed() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    let capitals = account.name.to_uppercase();
    refusal(&attempt(&site, &capitals, &account.password), &capitals);
    let typed = format!("  {} ", account.name);
    assert_eq!(visitor.sign_in_as(&typed, &account.password).status, 302);
    let me = visitor.api("GET", "/hub/api/user", "").json();
    assert_eq!(me["name"], account.name.as_str());
}

#[test]
fn who_signs_out_is_out() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.get("/hub/logout");
    let home = visitor.get("/hub/home");
    assert_eq!((home.status, home.location().unwrap().contains("/hub/login")), (302, true));
}

#[test]
fn a_form_without_its_token_is_refused() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let form = [("username", account.name.as_str()), ("password", &account.password)];
    let mut visitor = site.visitor();
    assert_eq!(visitor.post("/hub/login", &form).status, 403);
    assert_eq!(visitor.get("/hub/home").status, 302);
}

#[test]
fn every_refusal_reads_the_same() {
    as_root!();
    let (good, blocked, expired) = (Account::make(), Account::make(), Account::make());
    expired.expire();
    let service = Service::quick();
    let site = Plan::quick()
        .set("auth.class", &service.class(""))
        .set("auth.blocked_users", &format!("[{:?}]", blocked.name))
        .start();
    assert_eq!(attempt(&site, &good.name, &good.password).status, 302);
    let wrong = refusal(&attempt(&site, &good.name, "not it"), &good.name);
    let nobody = format!("jv{}", unique());
    for (case, name, password) in [
        ("unknown", nobody.as_str(), "not it"),
        ("blocked", blocked.name.as_str(), blocked.password.as_str()),
        ("expired", expired.name.as_str(), expired.password.as_str()),
        ("no password", good.name.as_str(), ""),
        ("not a name", "a/b", "not it"),
    ] {
        assert_eq!(refusal(&attempt(&site, name, password), name), wrong, "{case}");
    }
}

#[test]
fn uid_0_and_uids_below_the_limit_never_sign_in() {
    as_root!();
    let zero = Account::with(&["--non-unique", "--uid", "0"]);
    let low = Account::make();
    let service = Service::quick();
    let site = Plan::quick()
        .set("auth.class", &service.class(""))
        .set("root.min_uid", &(low.uid + 1).to_string())
        .start();
    for account in [&zero, &low] {
        refusal(&attempt(&site, &account.name, &account.password), &account.name);
    }
}

#[test]
fn a_module_that_hangs_is_killed_at_its_limit() {
    as_root!();
    let account = Account::make();
    // a duration nobody else sleeps, to find it by
    let nap = format!("6{:05}", std::process::id() % 100_000);
    let service = Service::new(&format!(
        "auth required pam_exec.so /bin/sleep {nap}\naccount required pam_unix.so\n"
    ));
    let site = Plan::quick().set("auth.class", &service.class("timeout: 2")).start();
    let asleep = || {
        let mut all = site.root().descendants();
        all.extend(Process::owned_by(0));
        all.iter().any(|process| process.arguments().contains(&nap))
    };

    let began = Instant::now();
    let answer = attempt(&site, &account.name, &account.password);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(took >= Duration::from_millis(1500), "it did not hang at all: {took:?}");
    // the check failed; the password was not wrong
    assert!(answer.status >= 500, "{}: {}", answer.status, answer.words());
    wait_until("the helper is gone", PATIENCE, || site.role("@helper").is_none());
    wait_until("what the module started is gone", Duration::from_secs(5), || !asleep());
    assert_eq!(site.visitor().get("/hub/api").status, 200);
}

#[test]
fn no_password_or_cookie_is_ever_logged() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    attempt(&site, &account.name, "another Secret word");
    let session = visitor.cookie("jupyterhub-session-id", "/").expect("a session");
    for line in site.log.since(0) {
        for secret in [account.password.as_str(), "another Secret", &session] {
            assert!(!line.raw.contains(secret), "{}", line.raw);
        }
    }
}
