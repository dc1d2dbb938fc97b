//! `kill -9` of the hub: nobody's notebook notices, and it is back in seconds.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, wait_for, wait_until},
    with_server,
};

/// The hub must answer again within this.
const BACK: Duration = Duration::from_secs(5);

#[test]
fn servers_requests_and_sockets_outlive_the_hub() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let prefix = format!("/user/{}", account.name);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());

    let mut socket = visitor.socket(&format!("{prefix}/ws")).expect("an upgrade");
    assert_eq!(socket.echo("before").unwrap(), "before");
    let mut long = visitor.begin("GET", &format!("{prefix}/drip?seconds=4"), &[], b"").unwrap();

    let killed = Instant::now();
    hub.kill();
    // asked while there is no hub: it waits and is answered
    let answer = site.visitor().get("/hub/api");
    let back = killed.elapsed();
    println!("the hub answered {back:?} after it was killed");
    assert_eq!(answer.status, 200);
    assert!(back < BACK, "{back:?}");

    assert_eq!(socket.echo("after").unwrap(), "after");
    assert_eq!(visitor.get(&format!("{prefix}/api")).status, 200);
    let drip = visitor.finish(&mut long, "GET").expect("the long answer ends as it should");
    assert!(drip.text().ends_with("last\n"), "{}", drip.text());
    let another = || site.role("@hub").is_some_and(|now| now != hub);
    wait_until("there is another hub", PATIENCE, another);
    assert_eq!(site.proxy(), proxy);
    assert_eq!(site.servers(), [server]);
    // who was signed in is signed in, and the hub knows the server
    assert_eq!(visitor.get("/hub/home").status, 200);
    let user = visitor.api("GET", &format!("/hub/api/users/{}", account.name), "").json();
    assert_eq!(user["servers"][""]["ready"], true, "{user}");
}

#[test]
fn requests_that_come_while_the_hub_is_away_wait() {
    as_root!();
    let site = Plan::quick().start();
    site.hub().kill();
    let askers: Vec<_> = (0..20)
        .map(|_| {
            let mut visitor = site.visitor();
            thread::spawn(move || visitor.send("GET", "/hub/api", &[], b"").map(|it| it.status))
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.join().expect("it does not panic").expect("an answer"), 200);
    }
}

#[test]
fn a_server_that_was_starting_is_found_again_and_not_started_twice() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().fake(&["slow", "2"]).start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.get("/hub/spawn");
    let server = site.server();
    site.hub().kill();
    crate::wait_for_server(&mut visitor, &account);
    assert_eq!(site.servers(), [server]);
}

#[test]
fn a_server_that_ended_while_the_hub_was_away_is_noticed() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("spawner.restart", "Never").start();
    let mut visitor = with_server(&site, &account);
    let server = site.server();
    site.hub().kill();
    server.kill();
    wait_until("the new hub shows it as stopped", PATIENCE, || {
        let user = visitor.api("GET", &format!("/hub/api/users/{}", account.name), "");
        user.status == 200 && user.json()["server"].is_null()
    });
    wait_until("its route is gone", PATIENCE, || {
        visitor.get(&format!("/user/{}/api", account.name)).status != 200
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let made = visitor.api("POST", &path, r#"{"note": "kept"}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    site.hub().kill();
    let token = format!("token {}", made.json()["token"].as_str().expect("shown once"));
    let mut other = site.visitor();
    let (me, _) = wait_for("an answer", BACK, || {
        other.send("GET", "/hub/api/user", &[("Authorization", &token)], b"").ok()
    });
    assert_eq!(me.json()["name"], account.name.as_str());
}

#[test]
fn a_hub_that_is_killed_again_and_again_comes_back() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let (server, proxy) = (site.server(), site.proxy());
    for _ in 0..3 {
        let hub = site.hub();
        hub.kill();
        // later restarts back off, so there is more time than after the first
        wait_until("another hub answers", PATIENCE, || {
            site.role("@hub").is_some_and(|now| now != hub)
                && site.visitor().send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
        });
        assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
    }
    assert_eq!((site.server(), site.proxy()), (server, proxy));
}
