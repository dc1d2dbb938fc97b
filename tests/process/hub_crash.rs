//! `kill -9` of the hub: nobody's notebook notices, and it is back in seconds.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{
        Account, Line, PATIENCE, Plan, Site,
        crowd::Crowd,
        ledger::{Over, compare, one_each, tokens_of, write_down},
        load::{Load, Mix},
        scale::{promise, scaled},
        wait_for, wait_until,
    },
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
fn a_server_that_was_to_be_removed_is_removed_by_the_next_hub() {
    as_root!();
    let site = Plan::crowd()
        .set("hub.allow_named_servers", "true")
        .set("hub.slow_stop_timeout", "0.1")
        .start();
    let crowd = Crowd::of(&site, "anna", 1);
    let path = "/users/anna-1/servers/lab";
    let ask = |method: &str, body: &str| crowd.api(method, path, body).expect("an answer");
    assert!(matches!(ask("POST", "").status, 201 | 202));
    wait_until("it runs", PATIENCE, || ask("GET", "").json()["ready"] == true);
    let server = crowd.process("anna-1").expect("it runs");
    server.signal(Signal::SIGSTOP); // it will not hear that it is to end
    let answer = ask("DELETE", r#"{"remove": true}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let hub = site.hub();
    hub.kill();
    assert!(server.lives(), "it has not ended before the hub");
    server.signal(Signal::SIGCONT);
    let gone = || crowd.api("GET", path, "").is_ok_and(|answer| answer.status == 404);
    wait_until("its record is gone", PATIENCE, gone);
    assert_ne!(site.hub(), hub);
    assert!(!server.lives(), "and so is it");
    assert_eq!(crowd.processes(), []);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = tokens_of(&account);
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

/// What the log tells of a fault (I8): its lines but for those of requests, up to the moment the hub is complete again.
fn tale(site: &Site, mark: usize) -> Vec<String> {
    let complete = |line: &Line| line.is("routes complete");
    site.log.find(mark, PATIENCE, complete).expect("the routes are complete again");
    let told = site.log.since(mark).into_iter();
    let told = told.filter(|line| line.text("level").is_some_and(|level| level != "DEBUG"));
    let events = told.filter_map(|line| line.text("event"));
    events.filter(|event| event != "request answered").collect()
}

#[test]
fn row_01_a_killed_hub_is_noticed_by_nobody_and_loses_nothing() {
    as_root!();
    let (people, kills) = (scaled(30, 100), scaled(8, 200));
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    crowd.start_all();
    let (servers, proxy) = (crowd.processes(), site.proxy());
    assert_eq!(servers.len(), people);
    let load = Load::start(
        &site,
        Mix {
            servers: crowd.names.iter().map(|name| format!("/user/{name}/")).collect(),
            sockets: 2 * people,
            requests: 50,
            hub: 10,
            page: Some("/hub/api/user".to_owned()),
            token: Some(crowd.boss()),
            downloads: 1,
            ..Mix::default()
        },
    );
    let done = Over::default();
    let (mut back, mut told) = (Vec::new(), Vec::new());
    let (kept, unknown) = thread::scope(|scope| {
        let done = done;
        let over = done.0.clone();
        let crowd = &crowd;
        let writer = scope.spawn(move || write_down(crowd, &over));
        for number in 0..kills {
            let random = u64::from(unique_number(number));
            thread::sleep(Duration::from_millis(50 + random % 1950));
            let (hub, mark) = (site.hub(), site.log.mark());
            hub.kill();
            let killed = Instant::now();
            let answer = site.visitor().get("/hub/api");
            assert_eq!(answer.status, 200);
            back.push(killed.elapsed());
            let another = || site.role("@hub").is_some_and(|now| now != hub);
            wait_until("there is another hub", PATIENCE, another);
            told.push(tale(&site, mark));
        }
        drop(done);
        writer.join().expect("the writer does not panic")
    });
    // one more round of echoes after the last
    thread::sleep(Duration::from_millis(1500));
    let report = load.stop();
    report.print("row 1");
    back.sort_unstable();
    let p99 = back[back.len() * 99 / 100];
    println!(
        "row 1: {kills} kills, hub answered after {:.1?} (median), {p99:.1?} (p99); {} writes acknowledged, {unknown} \
         without an answer",
        back[back.len() / 2],
        kept.len()
    );
    let longest = told.into_iter().max_by_key(Vec::len).unwrap_or_default();
    println!("row 1: a kill is told in at most {} lines: {longest:?}", longest.len());
    assert!(longest.len() <= 20 && longest.contains(&"role ended".to_owned()), "{longest:?}");
    assert_eq!(report.sockets.failed, BTreeMap::new());
    assert_eq!(report.requests.failed, BTreeMap::new());
    assert_eq!(report.hub.failed, BTreeMap::new(), "requests to the hub wait and are answered");
    assert_eq!(report.downloads.failed, BTreeMap::new());
    assert!(report.sockets.fine > 2 * people as u64 && report.requests.fine > 50);
    assert!(kept.len() > kills, "only {} writes", kept.len());
    assert_eq!((crowd.processes(), site.proxy()), (servers, proxy));
    assert!(p99 <= promise(Duration::from_secs(1)), "{back:?}");
    compare(&crowd, &kept);
    for name in &crowd.names {
        assert_eq!(crowd.said(name)["ready"], true, "{name}");
    }
}

/// A number that differs from run to run and is told by nothing: when a kill comes is not to be a habit.
fn unique_number(salt: usize) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(salt) as u32
}

/// Signs people in, starts their servers, writes tokens that count later.
fn prepared(people: usize) -> (Site, Crowd) {
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    crowd.start_all();
    (site, crowd)
}

#[test]
fn row_02_a_hub_killed_while_it_starts_starts_again_and_has_lost_nothing() {
    as_root!();
    let (site, crowd) = prepared(5);
    let (servers, proxy) = (crowd.processes(), site.proxy());
    let mut kept = BTreeMap::new();
    // the moments of the first two seconds, of which a start takes a fifth
    let every = scaled(40, 10);
    let moments: Vec<u64> = (0..scaled(400, 2_000)).step_by(every).map(|ms| ms as u64).collect();
    let mut slowest = Duration::ZERO;
    for (round, ms) in moments.iter().enumerate() {
        one_each(&crowd, round, &mut kept);
        let before = site.hub();
        before.kill();
        let young = || site.role("@hub").filter(|now| *now != before);
        let (young, _) = wait_for("the next hub", PATIENCE, young);
        thread::sleep(Duration::from_millis(*ms));
        young.kill();
        let killed = Instant::now();
        wait_until("a hub answers", PATIENCE, || {
            site.role("@hub").is_some_and(|now| now != young)
                && site.visitor().send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
        });
        slowest = slowest.max(killed.elapsed());
    }
    println!(
        "row 2: killed at {} moments of its start, the next one answered after {slowest:.1?} at the latest",
        moments.len()
    );
    compare(&crowd, &kept);
    assert_eq!((crowd.processes(), site.proxy()), (servers, proxy));
    for name in &crowd.names {
        assert_eq!(crowd.said(name)["ready"], true, "{name}");
    }
    // the second death is one of a hub that never served: it backs off, by less than a second
    assert!(slowest <= promise(Duration::from_secs(2)), "{slowest:?}");
}

#[test]
fn row_02_a_hub_killed_while_it_stops_has_lost_nothing() {
    as_root!();
    let (mut site, crowd) = prepared(3);
    let servers = crowd.processes();
    let mut kept = BTreeMap::new();
    let moments: Vec<u64> =
        (0..scaled(60, 300)).step_by(scaled(15, 10)).map(|ms| ms as u64).collect();
    for (round, ms) in moments.iter().enumerate() {
        one_each(&crowd, round, &mut kept);
        let hub = site.hub();
        site.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(*ms));
        hub.kill();
        site.ended(PATIENCE);
        site.start();
        assert_eq!(crowd.processes(), servers, "they were kept, and none started twice");
        for name in &crowd.names {
            wait_until("the server is known and routed", PATIENCE, || crowd.answers(name));
        }
    }
    println!("row 2: killed at {} moments of its end", moments.len());
    compare(&crowd, &kept);
}
