//! What a route leaves behind when it goes: nothing. And what visitors who go, or don't read, leave behind.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use jovis_actors::domain::RouteSpec;

use super::support::{Backend, Proxy, Visitor, quick, wait_until};

const GET: &str = "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SWITCH: &str = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
/// No connection may outlive its route for longer.
const LIMIT: Duration = Duration::from_secs(5);

/// A backend that holds on to whatever it is asked, and how many of its connections are open.
fn clinging() -> (Backend, Arc<AtomicU32>) {
    let open = Arc::<AtomicU32>::default();
    let count = open.clone();
    let backend = Backend::new(move |visitor, this| {
        count.fetch_add(1, SeqCst);
        cling(visitor, this);
        count.fetch_sub(1, SeqCst);
    });
    (backend, open)
}

fn cling(visitor: &mut Visitor, this: &Backend) {
    visitor.0.set_read_timeout(None).unwrap();
    while let Some(head) = this.head(visitor) {
        if head.contains("/ws ") {
            visitor.say(SWITCH);
        } else if head.contains("/stream ") {
            visitor.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while visitor.0.write_all(b"5\r\nhello\r\n").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
            return;
        } else if head.contains("/rest ") {
            visitor.say(OK);
            continue;
        }
        // An upload that does not end, an answer that does not come, a tunnel.
        let mut piece = [0; 4096];
        while let Ok(1..) = visitor.0.read(&mut piece) {}
        return;
    }
}

#[test]
fn a_route_takes_its_connections_along() {
    let other = Backend::says(OK);
    let ask = |what: &str, rest: &str| format!("POST /user/a/{what} HTTP/1.1\r\nHost: a\r\n{rest}");
    // What is asked, and how far it gets before the route goes.
    let table = [
        (ask("rest", "Content-Length: 0\r\n\r\n"), "ok"),
        (ask("stream", "Content-Length: 0\r\n\r\n"), "hello"),
        (ask("silent", "Connection: close\r\nContent-Length: 0\r\n\r\n"), ""),
        (ask("upload", "Content-Length: 1000000\r\n\r\nbegin"), ""),
        (ask("upload", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin"), ""),
        (
            "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                .to_owned(),
            "hello",
        ),
    ];
    for changed in [false, true] {
        let (backend, open) = clinging();
        let proxy = Proxy::to(&backend);
        let mut visitors: Vec<_> = (0..2 * table.len()).map(|_| proxy.visit()).collect();
        for (i, visitor) in visitors.iter_mut().enumerate() {
            let (asked, until) = &table[i % table.len()];
            visitor.say(asked);
            visitor.until(until);
        }
        // The first ones may have been used again.
        wait_until("all are there", || backend.seen().len() == visitors.len());
        let there = open.load(SeqCst);
        assert!(there as usize >= visitors.len() - 2, "{there}");
        let began = Instant::now();
        if changed {
            proxy.route("/user/a", other.address);
        } else {
            proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
        }
        wait_until("none is left", || open.load(SeqCst) == 0);
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
        for (i, visitor) in visitors.iter_mut().enumerate() {
            if i % table.len() > 0 {
                let rest = visitor.all();
                // Nobody takes what was cut for whole.
                assert!(!rest.contains("\r\n0\r\n\r\n"), "{i}: {rest}");
                assert!(!rest.contains("HTTP/1.1 200"), "{i}: {rest}");
            } else if changed {
                visitor.say(GET);
                visitor.until("ok");
            }
        }
        wait_until("nobody is in the proxy", || proxy.shared.crowd.count() <= 2);
    }
    assert!(!other.seen().is_empty());
}

#[test]
fn what_is_under_way_has_a_moment_to_finish() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        thread::sleep(Duration::from_millis(300));
        visitor.say(OK);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    wait_until("it is asked", || backend.seen().len() == 1);
    proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn nobody_dials_for_a_route_that_is_gone() {
    // A request that would be repeated on another connection, had the address not been given back in the meantime.
    let gone = Arc::new(AtomicU32::new(0));
    let told = gone.clone();
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor);
        visitor.say(OK);
        this.head(visitor);
        wait_until("the route is gone", || told.load(SeqCst) > 0);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    visitor.until("ok");
    visitor.say(GET);
    wait_until("it is asked", || backend.seen().len() == 2);
    proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
    gone.store(1, SeqCst);
    assert!(visitor.until("\r\n\r\n").starts_with("HTTP/1.1 503"));
    assert_eq!(*backend.connections.lock().unwrap(), 1);
}

/// Runs a test of this file in a process of its own, where memory and descriptors can be counted.
pub(super) fn alone(test: &str) {
    let this = std::env::current_exe().unwrap();
    let name = format!("proxy::tests::{test}");
    let output = Command::new(this).args(["--exact", &name, "--ignored", "--nocapture"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{why}");
}

/// Resident memory in bytes.
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Open descriptors.
pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A backend that sends, takes or tunnels without end, and how many bytes it has got rid of.
fn flooding() -> (Backend, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let count = sent.clone();
    let backend = Backend::new(move |visitor, this| {
        static PIECE: [u8; 1 << 16] = [b'x'; 1 << 16];
        let Some(head) = this.head(visitor) else { return };
        if head.contains("/ws ") {
            visitor.say(SWITCH);
        } else {
            visitor.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        }
        while let Ok(size) = visitor.0.write(&PIECE) {
            count.fetch_add(size as u64, SeqCst);
        }
    });
    (backend, sent)
}

/// Waits until this stays the same for a while.
fn settle(value: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (value(), Instant::now());
    let deadline = Instant::now() + Duration::from_secs(20);
    while since.elapsed() < Duration::from_millis(500) {
        assert!(Instant::now() < deadline, "it does not come to rest");
        thread::sleep(Duration::from_millis(20));
        if value() != last {
            (last, since) = (value(), Instant::now());
        }
    }
    last
}

#[test]
fn who_does_not_read_costs_a_bounded_amount() {
    alone("gone::with_slow_readers");
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
fn with_slow_readers() {
    const MOST: u64 = 256 * 1024;
    const COUNT: u64 = 40;
    let (backend, sent) = flooding();
    let proxy = Proxy::to(&backend);
    let ws =
        "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut all = Vec::new();
    let visit = |asked: &str| {
        let mut visitor = proxy.visit();
        visitor.say(asked);
        visitor.until("\r\n\r\n");
        visitor
    };
    // What threads and tables cost at first does not count.
    for asked in [GET, ws] {
        all.push(visit(asked));
    }
    settle(|| sent.load(SeqCst));
    for asked in [GET, ws] {
        let before = resident();
        all.extend((0..COUNT).map(|_| visit(asked)));
        let passed = settle(|| sent.load(SeqCst));
        let each = resident().saturating_sub(before) / COUNT;
        println!("{each} bytes each after {passed}");
        assert!(each <= MOST, "{asked}: {each} bytes each");
    }
}

#[test]
fn bodies_of_any_size_take_constant_memory() {
    alone("gone::with_big_bodies");
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
fn with_big_bodies() {
    // BODY_MB=1024 for the whole gigabyte.
    let size = std::env::var("BODY_MB").map_or(128, |it| it.parse::<u64>().unwrap()) << 20;
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor).unwrap();
        visitor.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
        let mut back = visitor.0.try_clone().unwrap();
        std::io::copy(&mut (&mut visitor.0).take(size), &mut back).unwrap();
    });
    let proxy = Proxy::to(&backend);
    let mut most = 0;
    let mut first = 0;
    for round in 0..2 {
        let mut visitor = proxy.visit();
        visitor
            .say(format!("POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        let mut writer = visitor.0.try_clone().unwrap();
        let sending = thread::spawn(move || {
            std::io::copy(&mut std::io::repeat(b'x').take(size), &mut writer).unwrap();
        });
        visitor.until("\r\n\r\n");
        let (mut left, mut piece) = (size, vec![0; 1 << 16]);
        while left > 0 {
            let got = visitor.0.read(&mut piece).unwrap();
            assert!(got > 0);
            left -= got as u64;
            most = resident().max(most);
        }
        sending.join().unwrap();
        if round == 0 {
            (first, most) = (most, 0);
        }
    }
    let grown = most.saturating_sub(first);
    println!("{size} bytes, {first} then {most}");
    assert!(grown < 4 << 20, "{grown} more the second time");
}

#[test]
fn a_storm_leaves_no_descriptors() {
    alone("gone::in_a_storm");
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
fn in_a_storm() {
    let (backend, open) = clinging();
    let proxy = Proxy::start(&quick(), Path::new("/nonexistent/hub"));
    proxy.route("/user/a", backend.address);
    let before = descriptors();
    for round in 0..8 {
        let mut kept: Vec<TcpStream> = Vec::new();
        for i in 0..60 {
            let mut visitor = proxy.visit();
            let what = ["rest", "stream", "silent", "upload", "ws", ""][i % 6];
            let asked = match what {
                "ws" => {
                    "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                        .to_owned()
                }
                "" => "GET /user/a/half HT".to_owned(),
                "upload" => {
                    "POST /user/a/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc".to_owned()
                }
                what => format!("GET /user/a/{what} HTTP/1.1\r\nHost: a\r\n\r\n"),
            };
            visitor.say(asked);
            // Half of them are abandoned at once, the others when the server is stopped.
            if i % 2 == round % 2 {
                kept.push(visitor.0);
            }
        }
        // Both ends of all connections are in this process.
        let live = proxy.shared.crowd.count();
        assert!(descriptors() <= before + 4 * (live + 60) + 200, "{live}: {}", descriptors());
        proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
        drop(kept);
        proxy.route("/user/a", backend.address);
    }
    let began = Instant::now();
    proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
    wait_until("no connection is left", || open.load(SeqCst) == 0);
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    wait_until("nobody is left", || proxy.shared.crowd.count() == 0);
    wait_until("no descriptor is left", || descriptors() <= before);
}
