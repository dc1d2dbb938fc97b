//! A user server that dies: noticed at once, said plainly, started again where that is wanted; never half an answer
//! that looks whole.

use std::{
    collections::BTreeSet,
    io::Read,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{
        PATIENCE, Plan, Visitor,
        crowd::Crowd,
        scale::{promise, scaled},
        wait_until,
    },
};

/// What its owner's browser is shown at the server's address.
fn page(visitor: &mut Visitor, name: &str) -> (u16, String) {
    let html = [("Accept", "text/html")];
    let answer = visitor.send("GET", &format!("/user/{name}/lab"), &html, b"").expect("an answer");
    let words = match answer.location() {
        Some(next) => visitor.get(&next).words(),
        None => answer.words(),
    };
    (answer.status, words)
}

#[test]
fn row_05_the_death_of_a_server_is_known_within_a_second_and_is_no_bad_gateway() {
    as_root!();
    let deaths = scaled(10, 100);
    let site = Plan::crowd().set("spawner.restart", "Never").start();
    let crowd = Crowd::of(&site, "anna", deaths);
    crowd.start_all();
    let mut known = Vec::new();
    for name in &crowd.names {
        let mut visitor = crowd.browser(&site, name);
        crowd.process(name).expect("it runs").kill();
        let killed = Instant::now();
        let mut statuses = BTreeSet::new();
        wait_until("the hub knows", PATIENCE, || {
            statuses.insert(page(&mut visitor, name).0);
            crowd.said(name)["ready"] != true
        });
        known.push(killed.elapsed());
        wait_until("the page says that it is stopped", PATIENCE, || {
            let (status, words) = page(&mut visitor, name);
            statuses.insert(status);
            status != 503 && words.contains("killed") || status == 303 || status == 424
        });
        // while its route still leads to it: "try again"; then: "it is not running"
        let others: Vec<_> =
            statuses.iter().filter(|it| !matches!(it, 302 | 303 | 424 | 503)).collect();
        assert!(others.is_empty(), "{name}: {statuses:?}");
    }
    known.sort_unstable();
    let longest = known[known.len() - 1];
    println!(
        "row 5: {deaths} deaths known after {:.1?} (median), {longest:.1?}",
        known[known.len() / 2]
    );
    assert!(longest <= promise(Duration::from_secs(1)), "{known:?}");
    wait_until("no zombie is left", PATIENCE, || site.root().zombies() == 0);
}

#[test]
fn row_05_who_downloads_from_a_dying_server_sees_a_reset_and_no_short_file() {
    as_root!();
    let site = Plan::crowd().set("spawner.restart", "Never").start();
    let crowd = Crowd::of(&site, "anna", 1);
    let name = &crowd.names[0];
    let prefix = format!("/user/{name}");
    // killed from outside, with a length and without one; and one that leaves in the middle of its own answer
    for path in ["flow?bytes=9000000&rate=1000000", "chunks?seconds=20", "cut?bytes=4000000"] {
        crowd.start_all();
        let mut visitor = site.visitor();
        let mut long =
            visitor.begin("GET", &format!("{prefix}/{path}"), &[], b"").expect("it connects");
        long.get_mut().set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let mut first = [0; 2_000];
        let got = long.read(&mut first).expect("it begins");
        assert!(first[..got].starts_with(b"HTTP/1.1 200"), "{}", first[..got].escape_ascii());
        if !path.starts_with("cut") {
            crowd.process(name).expect("it runs").kill();
        }
        let killed = Instant::now();
        let mut rest = first[..got].to_vec();
        let outcome = long.read_to_end(&mut rest);
        let took = killed.elapsed();
        println!("row 5: {path}: {outcome:?} after {took:.1?}");
        match outcome {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{path}"),
            Ok(_) => {
                // a plain end is honest only where the framing shows that something is missing
                let chunked = path.starts_with("chunks");
                assert!(chunked && !rest.ends_with(b"0\r\n\r\n"), "{path}: it looks whole");
            }
        }
        assert!(took <= promise(Duration::from_secs(1)), "{path}: {took:?}");
        wait_until("it is known as stopped", PATIENCE, || crowd.said(name)["ready"] != true);
    }
}

#[test]
fn row_05_a_server_that_was_killed_is_back_at_the_same_url() {
    as_root!();
    let people = scaled(6, 50);
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    crowd.start_all();
    let before = crowd.processes();
    before.iter().for_each(|(_, server)| server.kill());
    let killed = Instant::now();
    for (name, old) in &before {
        wait_until("another one is served", PATIENCE, || {
            crowd.pid(name).is_some_and(|pid| pid != old.pid)
        });
        assert_eq!(crowd.said(name)["url"], format!("/user/{name}/"));
    }
    println!("row 5: {people} killed at once, all served again after {:.1?}", killed.elapsed());
    assert_eq!(crowd.processes().len(), people);
    wait_until("no zombie is left", PATIENCE, || site.root().zombies() == 0);
}

#[test]
fn row_05_the_third_death_within_five_minutes_is_the_last_and_its_cause_is_kept() {
    as_root!();
    let site = Plan::crowd().start();
    // it answers, and leaves with 7 half a second later
    let crowd = Crowd::of(&site, "die", 1);
    let name = &crowd.names[0];
    let mut lives = BTreeSet::new();
    crowd.start(name).expect("an answer");
    wait_until("three lives", 2 * PATIENCE, || {
        lives.extend(crowd.process(name));
        lives.len() == 3
    });
    wait_until("it is left alone", PATIENCE, || {
        let server = crowd.said(name);
        server.is_null() && crowd.process(name).is_none()
    });
    // as a person who looks at the page of the server
    let mut visitor = crowd.browser(&site, name);
    let words = visitor.follow(&format!("/hub/user/{name}/")).0.words();
    assert!(words.contains("status 7"), "{words}");
    // the hub forgets nothing of it when it dies itself
    site.hub().kill();
    let again = visitor.follow(&format!("/hub/user/{name}/")).0.words();
    assert!(again.contains("status 7"), "{again}");
    assert_eq!(crowd.process(name), None, "a new hub does not start it either");
    // a person's start is another matter
    assert!(matches!(crowd.start(name).expect("an answer"), 201 | 202));
    wait_until("it runs", PATIENCE, || crowd.process(name).is_some());
}
