//! Clients made for JupyterHub, as they come from PyPI, without a change.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    time::Duration,
};

use crate::{
    MINUTES, alone, as_root,
    support::{Account, PATIENCE, Plan, Site, Visitor, python_home, wait_for},
};

/// A whole life of a server of this environment, seen by its user with a browser, with a token, and by somebody else.
fn a_server_lives(env: &str) {
    let _alone = alone();
    let (owner, other) = (Account::make(), Account::make());
    let file = owner.home.join("hello.txt");
    fs::write(&file, "hello").expect("the tests run as root");
    chown(&file, Some(owner.uid), Some(owner.gid)).expect("the tests run as root");
    let site = Plan::quick().notebooks_of(env).start();
    let mut visitor = site.visitor();
    visitor.sign_in(&owner);
    let (name, home) = (&owner.name, format!("/user/{}/", owner.name));
    let mark = site.log.mark();
    let started = visitor.api("POST", &format!("/hub/api/users/{name}/server"), "");
    assert!(matches!(started.status, 201 | 202), "{}", started.text());
    let model = |visitor: &mut Visitor| {
        let answer = visitor.api("GET", &format!("/hub/api/users/{name}/server"), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    wait_for("the server is ready", MINUTES, || {
        (model(&mut visitor)["ready"] == true).then_some(())
    });
    if env != "env" {
        let told = site.log.event(mark, "server of another version", PATIENCE);
        let version = told.text("version").unwrap_or_default();
        assert!(env.ends_with(&version[..3]), "{env}: {version}");
    }

    // Everybody may ask for its version; nobody for more without a proof.
    let mut stranger = site.visitor();
    assert_eq!(stranger.get(&format!("{home}api")).status, 200);
    assert_eq!(stranger.get(&format!("{home}api/contents")).status, 403);

    // The browser goes through the hub's OAuth unasked, and comes back to where it wanted.
    let page = format!("{home}files/hello.txt");
    let (answer, at) = visitor.follow(&page);
    assert_eq!((answer.status, at.as_str()), (200, page.as_str()), "{}", answer.words());
    assert_eq!(answer.text(), "hello");
    // Before 6 its own pages had to say so with every call.
    let token = visitor.cookie("_xsrf", &home).unwrap_or_default();
    let headers = [("X-XSRFToken", token.as_str())];
    let contents = visitor.send("GET", &format!("{home}api/contents"), &headers, b"");
    let contents = contents.expect("an answer");
    assert_eq!(contents.status, 200, "{}", contents.text());

    // A token opens it for a script.
    let made = visitor.api("POST", &format!("/hub/api/users/{name}/tokens"), "{}");
    let header = format!("token {}", made.json()["token"].as_str().expect("shown once"));
    let headers = [("Authorization", header.as_str())];
    let answer = stranger.send("GET", &format!("{home}api/contents"), &headers, b"");
    assert_eq!(answer.expect("an answer").status, 200);

    // Somebody else is known, and kept out.
    let mut intruder = site.visitor();
    intruder.sign_in(&other);
    let (answer, _) = intruder.follow(&page);
    assert_eq!(answer.status, 403, "{}", answer.words());

    // It has told of its activity.
    let told = || model(&mut visitor)["last_activity"].as_str().map(ToOwned::to_owned);
    wait_for("activity is noted", Duration::from_secs(30), told);
    let stopped = visitor.api("DELETE", &format!("/hub/api/users/{name}/server"), "");
    assert!(matches!(stopped.status, 204 | 202), "{}", stopped.text());
    wait_for("the server has gone", MINUTES, || site.servers().is_empty().then_some(()));
}

#[test]
fn a_single_user_server_of_4_1_lives_on_our_wire_unchanged() {
    as_root!();
    a_server_lives("singleuser-4.1");
}

#[test]
fn a_single_user_server_of_5_5_lives_on_our_wire_unchanged() {
    as_root!();
    a_server_lives("singleuser-5.5");
}

#[test]
fn a_single_user_server_of_6_1_lives_on_our_wire_unchanged() {
    as_root!();
    a_server_lives("env");
}

/// A hub with these further sections, started.
fn with_sections(plan: Plan, sections: impl FnOnce(&Site) -> String) -> Site {
    let mut site = plan.prepare();
    let plain = fs::read_to_string(&site.file).expect("it was just written");
    let end = plain.rfind(')').expect("it is RON");
    let text = format!("{}{}\n)\n", &plain[..end], sections(&site));
    fs::write(&site.file, text).expect("the folder is ours");
    site.start();
    site
}

#[test]
fn the_idle_culler_culls_an_idle_server_as_a_managed_service() {
    as_root!();
    let account = Account::make();
    let culler = python_home().join("singleuser-5.5/bin/jupyterhub-idle-culler");
    let site = with_sections(Plan::quick(), |_| {
        format!(
            r#"    services: [(name: "culler", command: [{culler:?}, "--timeout=3", "--cull-every=1"])],
    roles: [(name: "culling", services: ["culler"],
             scopes: ["list:users", "read:users:activity", "read:servers", "delete:servers"])],"#
        )
    });
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let mark = site.log.mark();
    let started = visitor.api("POST", &format!("/hub/api/users/{}/server", account.name), "");
    assert!(matches!(started.status, 201 | 202), "{}", started.text());
    let ended = site.log.event(mark, "server ended", MINUTES);
    let cause = ended.text("cause").unwrap_or_default();
    assert!(cause.contains("culled by culler"), "{cause}");
    wait_for("the server has gone", PATIENCE, || (site.servers().len() <= 1).then_some(()));
}

#[test]
fn a_service_with_jupyterhubs_own_library_knows_its_visitors() {
    as_root!();
    let account = Account::make();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let port = port.port();
    let python = python_home().join("env/bin/python3");
    let site = with_sections(Plan::quick(), |site| {
        let script = site.folder().join("visited.py");
        fs::write(&script, include_str!("../support/visited.py")).expect("the folder is ours");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        format!(
            r#"    services: [(name: "visited", url: "http://127.0.0.1:{port}", command: [{python:?}, {script:?}],
                oauth_no_confirm: true)],
    roles: [(name: "user", scopes: ["self", "access:services!service=visited"])],"#
        )
    });
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    // By OAuth, as a browser.
    let page = "/services/visited/browser";
    let (answer, _) = wait_for("the service answers", MINUTES, || {
        let (answer, at) = visitor.follow(page);
        (answer.status == 200).then_some((answer, at))
    })
    .0;
    let told = answer.json();
    assert_eq!((&told["name"], &told["kind"]), (&account.name.as_str().into(), &"user".into()));
    assert!(told["scopes"].to_string().contains("access:services!service=visited"), "{told}");
    // By a token, as a script; not without one.
    let made = visitor.api("POST", &format!("/hub/api/users/{}/tokens", account.name), "{}");
    let header = format!("token {}", made.json()["token"].as_str().expect("shown once"));
    let mut script = site.visitor();
    let ask = |script: &mut Visitor, headers: &[(&str, &str)]| {
        script.send("GET", "/services/visited/script", headers, b"").expect("an answer")
    };
    let answer = ask(&mut script, &[("Authorization", header.as_str())]);
    assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some(account.name.as_str())));
    let wrong = ask(&mut script, &[("Authorization", "token 0123456789abcdef0123456789abcdef")]);
    assert!(matches!(wrong.status, 302 | 403), "{}", wrong.status);
}
