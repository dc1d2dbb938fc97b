//! Clients made for JupyterHub, as they come from PyPI, without a change.

use std::{fs, os::unix::fs::chown, time::Duration};

use crate::{
    MINUTES, alone, as_root,
    support::{Account, Plan, Visitor, wait_for},
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
