//! Secrets stay secret: a whole story with `log.level` at `trace`, then a look for every secret of it in all that
//! others get to see (RELIABILITY I6).

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    as_root,
    support::{
        Account, Answer, PATIENCE, Plan, Site, Visitor, process::Process, unique, wait_until,
    },
};

/// What must not be seen, by what it is.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn keep(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to be looked for: {secret:?}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// Is one of them in here, plain or as it stands in an address?
    fn in_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let there = move |(_, secret): &&(String, String)| {
            let escaped: String = secret
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect();
            text.contains(secret.as_str())
                || text.contains(&escaped)
                || text.contains(&escaped.replace("%20", "+"))
        };
        self.0.iter().filter(there).map(|(what, _)| what.as_str())
    }

    fn none_in(&self, place: &str, text: &str) {
        let found: Vec<_> = self.in_text(text).collect();
        assert!(found.is_empty(), "{place} shows {found:?}: {text}");
    }

    fn none_in_log(&self, site: &Site) -> usize {
        let lines = site.log.since(0);
        for line in &lines {
            self.none_in("the log", &line.raw);
        }
        lines.len()
    }

    /// Command lines of all processes of this machine, read as often as it pleases.
    fn none_in_command_lines(&self) -> usize {
        let all = Process::all();
        for process in &all {
            self.none_in("a command line", &process.arguments().join(" "));
        }
        all.len()
    }

    fn none_in_page(&self, answer: &Answer) {
        assert!(answer.status >= 400, "not an error page: {}", answer.words());
        self.none_in("an error page", &answer.text());
    }
}

fn variable(of: Process, name: &str) -> Option<String> {
    let start = format!("{name}=");
    of.environment().into_iter().find_map(|one| one.strip_prefix(&start).map(str::to_owned))
}

/// Every request that could go wrong with a secret in hand; the pages that come back.
fn errors(visitor: &mut Visitor, name: &str, secret: &str) -> Vec<Answer> {
    let bearer = format!("token {secret}");
    let mut ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        visitor.send(method, path, headers, body.as_bytes()).expect("it answers")
    };
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    vec![
        ask("GET", &format!("/hub/nowhere?token={secret}"), &[], ""),
        ask(
            "GET",
            &format!("/elsewhere?token={secret}"),
            &[("Referer", &format!("http://x/?token={secret}"))],
            "",
        ),
        ask("GET", "/hub/api/nothing", &[("Authorization", &bearer)], ""),
        ask("PUT", "/hub/api/user", &[("Authorization", &bearer)], ""),
        ask("GET", "/hub/api/users/nobody", &[("Authorization", &format!("Bearer {secret}x"))], ""),
        ask(
            "POST",
            &format!("/hub/api/users/{name}/tokens"),
            &json,
            &format!("{{\"note\": {secret:?}"),
        ),
        ask("POST", "/hub/login", &form, &format!("username={name}&password={secret}")),
        ask(
            "POST",
            "/hub/api/oauth2/token",
            &form,
            &format!(
                "client_id=x&client_secret={secret}&code={secret}&grant_type=authorization_code"
            ),
        ),
        ask(
            "GET",
            &format!("/hub/api/oauth2/authorize?client_id={secret}&response_type=code"),
            &[],
            "",
        ),
        ask("GET", &format!("/user/{name}/x?token={secret}"), &[("Host", "a b")], ""),
    ]
    .into_iter()
    .filter(|answer| answer.status >= 400)
    .collect()
}

#[test]
fn no_secret_of_a_whole_story_is_in_a_log_a_command_line_or_an_error_page() {
    as_root!();
    let account = Account::make();
    let canary = format!("canary-{}-{}", unique(), unique());
    let mut secrets = Secrets(Vec::new());
    secrets.keep("the password", &account.password);
    secrets.keep("a wrong password", &canary);
    let site = Plan::quick().set("log.level", r#""trace""#).start();
    let mut follower = site.command(&["events", "--follow", "--level", "trace", "--json"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().expect("the binary is built");
    let followed = crate::support::Log::default();
    followed.read(follower.stdout.take().expect("it is piped"));
    let state = site.file.parent().expect("it is in a folder").join("state");
    let of_cookies = fs::read_to_string(state.join("jupyterhub_cookie_secret"))
        .or_else(|_| fs::read_to_string(state.join("cookie_secret")))
        .expect("root has made it");
    secrets.keep("the cookie secret", of_cookies.trim());

    // Wrong: as a password, and where a name belongs.
    assert_eq!(site.visitor().sign_in_as(&account.name, &canary).status, 403);
    assert_eq!(site.visitor().sign_in_as(&canary, "x").status, 403);
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    for cookie in visitor.cookie_values().iter().filter(|value| value.len() >= 8) {
        secrets.keep("a cookie", cookie);
    }

    // A token of one's own, and its use in all the places where tokens are sent.
    let made = visitor.api("POST", &format!("/hub/api/users/{}/tokens", account.name), "{}");
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["token"].as_str().expect("it is told once").to_owned();
    secrets.keep("an API token", &token);
    let mut stranger = site.visitor();
    let bearer = format!("token {token}");
    let me = stranger.send("GET", "/hub/api/user", &[("Authorization", &bearer)], b"");
    assert_eq!(me.expect("it answers").status, 200);

    // A server: its own token is in its environment, nowhere else.
    let path = format!("/hub/api/users/{}/server", account.name);
    assert!([201, 202].contains(&visitor.api("POST", &path, "").status));
    let server = site.server();
    let own = crate::support::wait_for("its environment", PATIENCE, || {
        variable(server, "JUPYTERHUB_API_TOKEN")
    });
    let own = own.0;
    secrets.keep("the server's API token", &own);
    secrets.none_in_command_lines();
    wait_until("it serves", PATIENCE, || {
        visitor
            .api("GET", &format!("/hub/api/users/{}", account.name), "")
            .text()
            .contains(r#""ready":true"#)
    });

    // OAuth, as the server does it.
    let client = format!("jupyterhub-user-{}", account.name);
    let back = format!("/user/{}/oauth_callback", account.name);
    let state_word = format!("state-{}-{}", unique(), unique());
    let query = format!(
        "client_id={client}&redirect_uri={}&response_type=code&state={state_word}",
        back.replace('/', "%2F"),
    );
    let sent = visitor.get(&format!("/hub/api/oauth2/authorize?{query}"));
    let target = sent.location().unwrap_or_else(|| panic!("{}: {}", sent.status, sent.words()));
    let code = target.split("code=").nth(1).expect("there is a code");
    let code = code.split('&').next().expect("there is a first").to_owned();
    secrets.keep("an OAuth code", &code);
    visitor.get(&format!("/user/{}/nothing?code={code}&token={token}", account.name));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!(
        "client_id={client}&client_secret={own}&grant_type=authorization_code&code={code}&redirect_uri={}",
        back.replace('/', "%2F"),
    );
    let granted = stranger.send("POST", "/hub/api/oauth2/token", &form, body.as_bytes());
    let granted = granted.expect("it answers");
    assert_eq!(granted.status, 200, "{}", granted.text());
    let access = granted.json()["access_token"].as_str().expect("it is granted").to_owned();
    secrets.keep("an OAuth token", &access);

    // A browser's report about a page that had a token in its address.
    let report = format!(
        r#"{{"csp-report": {{"document-uri": "http://x/hub/home?token={token}#{token}", "blocked-uri": "http://y/?t={token}", "violated-directive": "img-src"}}}}"#
    );
    assert_eq!(visitor.api("POST", "/hub/security/csp-report", &report).status, 200);

    let mut pages = 0;
    for (_, secret) in secrets.0.iter().filter(|(_, secret)| !secret.contains(' ')) {
        for answer in errors(&mut site.visitor(), &account.name, secret) {
            secrets.none_in_page(&answer);
            pages += 1;
        }
    }
    // Reloading reads every secret again; the end of a server writes what is left of it.
    site.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("it has reloaded", PATIENCE, || {
        site.log.since(0).iter().any(|line| line.is("proxy reloaded"))
    });
    visitor.api("DELETE", &path, "");
    wait_until("it has ended", PATIENCE, || site.servers().is_empty());
    visitor.get("/hub/logout");

    let roles = |role: &str| {
        site.log.since(0).iter().any(|line| line.text("role").as_deref() == Some(role))
    };
    assert!(roles("root") && roles("hub") && roles("proxy"));
    // What operators are shown of it.
    for command in [&["status"][..], &["status", "--json"]] {
        let told = site.jovis(command);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(text.contains("hub"), "{told:?}");
        secrets.none_in("jovis status", &text);
    }
    wait_until("the last event was followed", PATIENCE, || {
        followed.since(0).iter().any(|line| line.is("user signed out"))
    });
    for line in followed.since(0) {
        secrets.none_in("jovis events", &line.raw);
    }
    let heard = followed.mark();
    follower.kill().expect("it is our child");
    follower.wait().expect("it is our child");
    let lines = secrets.none_in_log(&site);
    let processes = secrets.none_in_command_lines();
    println!(
        "I6: {} secrets, none in {lines} log lines, {heard} followed events, {processes} command lines, {pages} error pages",
        secrets.0.len()
    );
}

#[test]
fn a_password_that_all_share_is_in_no_log_and_no_command_line() {
    as_root!();
    let canary = format!("canary-{}-{}", unique(), unique());
    let account = Account::make();
    let mut secrets = Secrets(Vec::new());
    secrets.keep("the password of all", &canary);
    let site = Plan::quick()
        .set("log.level", r#""trace""#)
        .set("auth.class", &format!("Dummy(password: {canary:?})"))
        .start();
    let mut visitor = site.visitor();
    assert_eq!(visitor.sign_in_as(&account.name, "something else").status, 403);
    assert_eq!(visitor.sign_in_as(&account.name, &canary).status, 302);
    site.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("it has reloaded", PATIENCE, || {
        site.log.since(0).iter().any(|line| line.is("proxy reloaded"))
    });
    secrets.none_in_log(&site);
    secrets.none_in_command_lines();
}

#[test]
fn the_key_of_the_certificate_is_in_no_log() {
    let key = include_str!("../fixtures/tls/key.pem");
    let other = include_str!("../fixtures/tls/other-key.pem");
    let mut secrets = Secrets(Vec::new());
    for text in [key, other] {
        text.lines().filter(|line| !line.starts_with("---")).for_each(|line| {
            secrets.keep("a line of the key", line);
        });
    }
    let site = Plan::quick()
        .set("log.level", r#""trace""#)
        .set("hub.ssl_cert", r#""FOLDER/cert.pem""#)
        .set("hub.ssl_key", r#""FOLDER/key.pem""#)
        .prepare();
    let put = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let file = site.folder().join(name);
        fs::write(&file, text).expect("the folder is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    };
    put("cert.pem", include_str!("../fixtures/tls/cert.pem"));
    put("key.pem", key);
    let mut site = site;
    site.start();
    // A key that does not fit, then one that is none.
    for text in [other, &key.replace('A', "!")] {
        let mark = site.log.mark();
        let file = site.folder().join("key.pem");
        fs::write(&file, text).expect("it is ours");
        site.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until("the key is not taken", PATIENCE, || {
            let told = site.log.since(mark);
            told.iter().any(|line| line.is("setting kept") || line.is("setting rejected"))
        });
    }
    assert!(secrets.none_in_log(&site) > 10);
    secrets.none_in_command_lines();
}

#[test]
fn nobody_reads_the_environment_of_another_users_processes() {
    as_root!();
    let (account, other) = (Account::make(), Account::make());
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.api("POST", &format!("/hub/api/users/{}/server", account.name), "");
    let mut all = vec![site.root(), site.hub(), site.proxy(), site.server()];
    all.extend(site.children());
    for process in all {
        for what in ["environ", "mem", "fd"] {
            let path = format!("/proc/{}/{what}", process.pid);
            let mut look = Command::new("ls");
            if what != "fd" {
                look = Command::new("cat");
            }
            look.arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
            look.uid(other.uid).gid(other.gid);
            assert!(!look.status().expect("it is installed").success(), "{path} can be read");
        }
    }
    // The state, too: the store, the cookie secret, what servers write.
    let state = site.file.parent().expect("it is in a folder").join("state");
    let mut look = Command::new("ls");
    look.arg(&state).stdout(Stdio::null()).stderr(Stdio::null()).uid(other.uid).gid(other.gid);
    assert!(!look.status().expect("it is installed").success(), "the state can be read");
}

/// All that somebody with these ids is shown of processes and files: what `/proc` opens to him, and each file below
/// `folder` and where hubs have their sockets and shared memory.
pub(crate) fn seen_by(uid: u32, gid: u32, folder: &Path) -> String {
    let script = r#"
        for place in /proc/[0-9]*; do
            for what in environ cmdline comm status; do cat "$place/$what"; echo; done
            ls -l "$place/fd" "$place/cwd"
        done
        find "$1" /run/jovis /dev/shm -type f -readable -exec cat {} +
        find "$1" /run/jovis -ls"#;
    let mut look = Command::new("sh");
    look.args(["-c", script, "sh"]).arg(folder).uid(uid).gid(gid).stderr(Stdio::null());
    // Processes come and go meanwhile; what could be read is what counts.
    let out = look.output().expect("there is a shell");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn no_secret_is_readable_by_another_user() {
    as_root!();
    let (account, other) = (Account::make(), Account::make());
    let (key, proxy) = (format!("{:c>64}", unique()), format!("{:d>64}", unique()));
    let (github, mut secrets) = (format!("gh-{:0>40}", unique()), Secrets(Vec::new()));
    secrets.keep("JUPYTERHUB_CRYPT_KEY", &key);
    secrets.keep("CONFIGPROXY_AUTH_TOKEN", &proxy);
    secrets.keep("GITHUB_CLIENT_SECRET", &github);
    let mut site = Plan::quick()
        .set("auth.others", r#"[(name: "github", class: GitHub(client_id: "Iv1.hub"))]"#)
        .set("auth.enable_auth_state", "true")
        .set("auth.allow_all", "true")
        .prepare();
    site.variables.extend([
        ("JUPYTERHUB_CRYPT_KEY", key),
        ("CONFIGPROXY_AUTH_TOKEN", proxy),
        ("GITHUB_CLIENT_SECRET", github),
    ]);
    site.start();
    let state = site.file.parent().expect("it is in a folder").join("state");
    let of_cookies = fs::read_to_string(state.join("cookie_secret")).expect("root has made it");
    secrets.keep("the cookie secret", of_cookies.trim());
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    secrets.keep("the password", &account.password);
    for cookie in visitor.cookie_values().iter().filter(|value| value.len() >= 8) {
        secrets.keep("a cookie", cookie);
    }
    visitor.api("POST", &format!("/hub/api/users/{}/server", account.name), "");
    let server = site.server();
    let token = crate::support::wait_for("its environment", PATIENCE, || {
        variable(server, "JUPYTERHUB_API_TOKEN")
    });
    secrets.keep("the server's token", &token.0);

    let shown = seen_by(other.uid, other.gid, site.folder());
    for process in [site.root(), site.hub(), site.proxy(), server] {
        assert!(shown.contains(&format!("Pid:\t{}\n", process.pid)), "it has looked everywhere");
    }
    let found: Vec<_> = secrets.in_text(&shown).collect();
    assert!(found.is_empty(), "another user is shown {found:?}");
    // The look finds what is there to be found: its owner's own, and all that root may see.
    let own = seen_by(account.uid, account.gid, site.folder());
    assert_eq!(secrets.in_text(&own).collect::<Vec<_>>(), ["the server's token"]);
    let all = seen_by(0, 0, site.folder());
    let found: Vec<_> = secrets.in_text(&all).collect();
    for what in ["JUPYTERHUB_CRYPT_KEY", "CONFIGPROXY_AUTH_TOKEN", "the cookie secret"] {
        assert!(found.contains(&what), "root finds only {found:?}");
    }
}
