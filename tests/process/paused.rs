//! Processes that stop answering without ending: SIGSTOP.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, scale, wait_until},
    with_server,
};

/// Seconds of `root.watchdog`: by default 20, which only the long run waits for.
fn watchdog() -> u64 {
    scale::scaled(4, 20)
}

/// Root says that a role does not answer at the latest after this.
const NOTICED: Duration = Duration::from_secs(5);

#[test]
fn row_07_a_paused_hub_is_noticed_and_replaced_and_no_socket_closes() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("root.watchdog", &watchdog().to_string()).start();
    let mut visitor = with_server(&site, &account);
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    let mark = site.log.mark();
    let began = Instant::now();
    hub.signal(Signal::SIGSTOP);
    let mut echoes = 0;
    wait_until("root has replaced the hub", PATIENCE + Duration::from_secs(watchdog()), || {
        assert_eq!(socket.echo("still here").expect("the tunnel is not the hub's"), "still here");
        assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
        echoes += 1;
        site.role("@hub").is_some_and(|now| now != hub)
    });
    let replaced = began.elapsed();
    let noticed = site.log.event(mark, "role does not answer", Duration::ZERO);
    let killed = site.log.event(mark, "role killed", Duration::ZERO);
    for line in [&noticed, &killed] {
        assert_eq!(line.text("child").as_deref(), Some("hub"), "{}", line.raw);
    }
    assert_eq!(visitor.get("/hub/home").status, 200);
    println!(
        "row 7: paused hub replaced after {replaced:?} (watchdog {} s), {echoes} echoes meanwhile",
        watchdog()
    );
    assert!(replaced < Duration::from_secs(watchdog()) + scale::promise(NOTICED), "{replaced:?}");
    assert_eq!((site.proxy(), site.server()), (proxy, server), "nothing else was touched");
    let said = site.log.since(mark).iter().filter(|line| line.is("role does not answer")).count();
    assert_eq!(said, 1, "once is enough");
}

#[test]
fn row_07_a_paused_proxy_is_replaced_and_refuses_nobody() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("root.watchdog", "2").start();
    let mut visitor = with_server(&site, &account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    proxy.signal(Signal::SIGSTOP);
    // Asked while nobody accepts: the connection waits in the socket that root holds. One that the paused proxy's kernel
    // side had handed to it already is lost with it, so a browser would ask a second time, and so do we.
    let mut lost = 0;
    let path = format!("/user/{}/api", account.name);
    wait_until("an answer", PATIENCE, || match visitor.send("GET", &path, &[], b"") {
        Ok(answer) => answer.status == 200,
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
            lost += 1;
            false
        }
    });
    println!("row 7: paused proxy replaced, {lost} connections lost with it");
    assert_ne!(site.proxy(), proxy);
    assert_eq!((site.hub(), site.server()), (hub, server), "nothing else was touched");
}

#[test]
fn row_07_a_paused_user_server_is_that_users_business_alone() {
    as_root!();
    let (one, other) = (Account::make(), Account::make());
    let site = Plan::quick().start();
    let mut first = with_server(&site, &one);
    let server = site.server();
    let mut second = with_server(&site, &other);
    server.signal(Signal::SIGSTOP);
    let waiting = first.begin("GET", &format!("/user/{}/api", one.name), &[], b"");
    let mut waiting = waiting.expect("the proxy takes it");
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(second.get(&format!("/user/{}/api", other.name)).status, 200);
        assert!(began.elapsed() < scale::promise(Duration::from_secs(1)));
        assert_eq!(second.get("/hub/home").status, 200);
    }
    assert!(server.lives(), "nobody kills a paused server");
    server.signal(Signal::SIGCONT);
    assert_eq!(first.finish(&mut waiting, "GET").expect("late, but there").status, 200);
}

#[test]
fn row_23_when_everything_sleeps_for_a_while_nothing_is_lost() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("root.watchdog", "3").start();
    let mut visitor = with_server(&site, &account);
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
    let (root, hub, proxy, server) = (site.root(), site.hub(), site.proxy(), site.server());
    let all = [root, hub, proxy, server];
    let mark = site.log.mark();
    // As a lid that closes: root first, so that it cannot take the others' silence for death.
    all.iter().for_each(|process| process.signal(Signal::SIGSTOP));
    std::thread::sleep(Duration::from_secs(scale::scaled(5, 60)));
    all.iter().rev().for_each(|process| process.signal(Signal::SIGCONT));
    assert_eq!(socket.echo("awake").expect("the tunnel lives"), "awake");
    assert_eq!(visitor.get("/hub/home").status, 200);
    assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
    let ended = site.log.find(mark, Duration::from_secs(3), |line| line.is("role ended"));
    assert!(ended.is_none(), "{ended:?}");
    assert_eq!(
        [site.root(), site.hub(), site.proxy(), site.server()],
        all,
        "nobody was killed for it"
    );
}
