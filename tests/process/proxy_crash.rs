//! `kill -9` of the proxy: connections in hand break, new ones wait; nothing else notices.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{
        Account, PATIENCE, Plan,
        crowd::Crowd,
        load::{Load, Mix},
        scale::{promise, scaled},
        wait_for, wait_until,
    },
    with_server,
};

#[test]
fn no_connection_is_refused_and_the_routes_come_back() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());

    let done = Arc::new(AtomicBool::new(false));
    let knocking = {
        let (done, address) = (done.clone(), site.public);
        thread::spawn(move || {
            let (mut count, mut refused) = (0_u32, 0_u32);
            while !done.load(Ordering::Relaxed) {
                let result = TcpStream::connect_timeout(&address, Duration::from_secs(5));
                refused +=
                    u32::from(result.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused));
                count += 1;
                thread::sleep(Duration::from_millis(1));
            }
            (count, refused)
        })
    };

    let path = format!("/user/{}/api", account.name);
    let mut proxy = proxy;
    for _ in 0..5 {
        let killed = Instant::now();
        proxy.kill();
        wait_until("the user's server answers again", Duration::from_secs(5), || {
            visitor.send("GET", &path, &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        println!("routes served {:?} after the proxy was killed", killed.elapsed());
        wait_until("there is another proxy", PATIENCE, || {
            site.role("@proxy").is_some_and(|now| now != proxy)
        });
        proxy = site.proxy();
    }
    done.store(true, Ordering::Relaxed);
    let (count, refused) = knocking.join().expect("it does not panic");
    assert!(count > 10, "only {count} connections tried");
    assert_eq!(refused, 0, "of {count}");

    assert_eq!((site.hub(), site.servers()), (hub, vec![server]));
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
    assert_eq!(socket.echo("again").unwrap(), "again");
}

#[test]
fn a_request_made_while_the_proxy_is_away_is_answered() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let proxy = site.proxy();
    proxy.kill();
    wait_until("it is dead", PATIENCE, || !proxy.lives());
    // not one that was in the dead proxy's hands: the socket still listens, so this one waits in its queue
    let answer = visitor.send("GET", &format!("/user/{}/api", account.name), &[], b"");
    assert_eq!(answer.expect("an answer").status, 200);
}

#[test]
fn hub_and_proxy_killed_together_come_back() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let server = site.server();
    site.hub().kill();
    site.proxy().kill();
    let path = format!("/user/{}/api", account.name);
    wait_until("the user's server answers again", PATIENCE, || {
        visitor.send("GET", &path, &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(visitor.get("/hub/home").status, 200);
    assert_eq!(site.servers(), [server]);
}

#[test]
fn row_03_a_killed_proxy_refuses_nobody_and_has_all_routes_at_once() {
    as_root!();
    let (people, kills) = (scaled(20, 100), scaled(8, 100));
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", people);
    crowd.start_all();
    let (servers, hub) = (crowd.processes(), site.hub());
    let load = Load::start(
        &site,
        Mix {
            servers: crowd.names.iter().map(|name| format!("/user/{name}/")).collect(),
            sockets: people,
            reopen: true,
            requests: 50,
            knocks: scaled(100, 500),
            ..Mix::default()
        },
    );
    let (mut answered, mut echoed) = (Vec::new(), Vec::new());
    for number in 0..kills {
        thread::sleep(Duration::from_millis(300 + 137 * number % 700));
        let proxy = site.proxy();
        proxy.kill();
        wait_until("it is dead", PATIENCE, || !proxy.lives());
        let killed = Instant::now();
        let name = &crowd.names[number as usize % people];
        // asked while there is no proxy: it waits in the queue of the socket, which root holds
        let answer = site.visitor().send("GET", &format!("/user/{name}/api"), &[], b"");
        assert_eq!(answer.expect("an answer").status, 200);
        answered.push(killed.elapsed());
        let socket = site.visitor().socket(&format!("/user/{name}/ws"));
        assert_eq!(socket.expect("an upgrade").echo("again").unwrap(), "again");
        echoed.push(killed.elapsed());
        wait_for("another proxy", PATIENCE, || site.role("@proxy").filter(|it| *it != proxy));
    }
    thread::sleep(Duration::from_millis(1_200)); // a round of echoes after the last
    let report = load.stop();
    report.print("row 3");
    answered.sort_unstable();
    echoed.sort_unstable();
    let (median, slowest) = (answered[answered.len() / 2], answered[answered.len() - 1]);
    println!(
        "row 3: {kills} kills: answered through a route after {median:.1?} (median), {slowest:.1?} (longest); echoes \
         after {:.1?} (longest)",
        echoed[echoed.len() - 1]
    );
    assert_eq!(report.knocks.failed, BTreeMap::new(), "of {}", report.knocks.fine);
    // what was in the dead proxy's hands broke off; nobody was told that a server is not there
    let broke = report.requests.of("broken");
    assert_eq!(report.requests.failures(), broke, "{:?}", report.requests.failed);
    let cut = report.sockets.of("broken");
    assert_eq!(report.sockets.failures(), cut, "{:?}", report.sockets.failed);
    assert!(cut >= kills * people as u64 / 2, "{cut}: they do not pass the proxy?");
    assert!(report.knocks.fine > 100 && report.requests.fine > 100);
    assert_eq!((crowd.processes(), site.hub()), (servers, hub), "nobody else noticed");
    assert!(median <= promise(Duration::from_millis(300)), "{answered:?}");
    assert!(echoed[echoed.len() - 1] <= promise(Duration::from_secs(1)), "{echoed:?}");
}

#[cfg(feature = "faults")]
#[test]
fn row_03_a_new_proxy_is_taken_on_though_the_actor_of_routes_panics_over_it() {
    as_root!();
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "anna", 2);
    crowd.start_all();
    let (servers, hub) = (crowd.processes(), site.hub());
    site.arm("routes:AddSink panic 1");
    let mark = site.log.mark();
    let proxy = site.proxy();
    proxy.kill();
    let killed = Instant::now();
    wait_until("it is dead", PATIENCE, || !proxy.lives());
    let answer = site.visitor().send("GET", "/user/anna-1/api", &[], b"");
    assert_eq!(answer.expect("an answer").status, 200);
    println!("row 3: answered {:.1?} after a kill, with a panic on the way", killed.elapsed());
    site.log.event(mark, "proxy not taken on", PATIENCE); // or it was not over the proxy
    assert_eq!((crowd.processes(), site.hub()), (servers, hub));
    assert!(killed.elapsed() < promise(Duration::from_secs(1)));
}
