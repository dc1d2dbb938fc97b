//! `kill -9` of the proxy: connections in hand break, new ones wait; nothing else notices.

use std::{
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
    support::{Account, PATIENCE, Plan, wait_until},
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
