//! Requests, bodies and tunnels to user servers.

use std::{
    io::{Read, Write},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use super::support::{Backend, Proxy, Visitor, quick, wait_until};

const GET: &str = "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn requests_share_connections_and_arrive_verbatim() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    for _ in 0..20 {
        visitor.say("GET /user/%61//x%2Fy%20?q=%2e&r HTTP/1.1\r\nHost: h:81\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nCookie: a=b\r\nConnection: keep-alive, X-Gone, Cookie\r\nX-Gone: 1\r\n\r\n");
        // An upgrade that is not granted ends the connection; the answer is whole.
        assert!(visitor.until("ok").starts_with("HTTP/1.1 200 OK\r\n"));
        visitor = proxy.visit();
    }
    let mut visitor = proxy.visit();
    for _ in 0..20 {
        visitor.say(GET);
        visitor.until("ok");
    }
    // One for each way a request may go: plain ones need less of us.
    assert_eq!(*backend.connections.lock().unwrap(), 2);
    let head = backend.seen()[0].to_lowercase();
    assert!(head.starts_with("get /user/%61//x%2fy%20?q=%2e&r http/1.1\r\n"), "{head}");
    for gone in ["keep-alive", "upgrade", "x-gone", "x-real-ip"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    // What is said of our own connection.
    assert!(head.contains("\r\nte: trailers\r\nconnection: te\r\n"), "{head}");
    // Loopback is believed, and extended.
    for there in [
        "cookie: a=b",
        "x-forwarded-for: 9.9.9.9,127.0.0.1",
        "x-forwarded-port: 81",
        "x-forwarded-proto: http\r",
        "x-request-id: ",
    ] {
        assert!(head.contains(there), "{there} not in {head}");
    }
}

#[test]
fn fifty_megabytes_pass_both_ways() {
    const SIZE: usize = 50 << 20;
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap().to_lowercase();
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
        visitor.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let (mut left, mut piece) = (SIZE, vec![0; 1 << 16]);
        while left > 0 {
            let size = visitor.0.read(&mut piece).unwrap();
            visitor.say(&piece[..size]);
            left -= size;
        }
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(format!("POST /user/a/up HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    let mut writer = visitor.0.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for i in 0..SIZE >> 16 {
            writer.write_all(&vec![u8::try_from(i % 251).unwrap(); 1 << 16]).unwrap();
        }
    });
    visitor.until("\r\n\r\n");
    let mut piece = vec![0; 1 << 16];
    for i in 0..SIZE >> 16 {
        visitor.0.read_exact(&mut piece).unwrap();
        assert!(piece.iter().all(|byte| usize::from(*byte) == i % 251));
    }
    sending.join().unwrap();
}

#[test]
fn an_event_stream_is_not_held_back() {
    let (go, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (go_on, _told) = (go.clone(), told.clone());
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor);
        visitor.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        visitor.say("9\r\ndata: 1\n\n\r\n");
        wait_until("the first event was seen", || go_on.load(SeqCst));
        visitor.say("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    visitor.until("data: 1\n\n");
    go.store(true, SeqCst);
    visitor.until("data: 2\n\n\r\n0\r\n\r\n");
}

#[test]
fn a_body_without_length_passes_whatever_the_method() {
    let backend = Backend::new(|visitor, this| {
        while this.head(visitor).is_some() {
            visitor.until("0\r\n\r\n");
            visitor.say(OK);
        }
    });
    let proxy = Proxy::to(&backend);
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let answer = proxy.ask(&format!("{method} /user/a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"));
        assert!(answer.ends_with("ok"), "{method}: {answer}");
    }
}

#[test]
fn a_cut_answer_arrives_cut() {
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
    {
        let backend = Backend::new(move |visitor, this| {
            this.head(visitor);
            visitor.say(format!("HTTP/1.1 200 OK\r\n{head}"));
        });
        let proxy = Proxy::to(&backend);
        let answer = proxy.ask(GET);
        assert!(answer.contains("abc") && !answer.contains("\r\n0\r\n"), "{answer}");
        assert!(!answer.contains("content-length: 3"), "{answer}");
    }
}

#[test]
fn a_stale_connection_is_not_the_visitors_trouble() {
    // Each connection answers one request and ends at the next without a word.
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say(OK);
        this.head(visitor);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    for _ in 0..4 {
        visitor.say(GET);
        assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
    }
    // What may have had its effect is not repeated.
    visitor.say("POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(visitor.until("\r\n\r\n").starts_with("HTTP/1.1 503"));
}

#[test]
fn a_server_that_is_away_is_503() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    // Bound and not listening: nobody else gets the port meanwhile.
    let gone = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    gone.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    proxy.route("/user/a", gone.local_addr().unwrap().as_socket().unwrap());
    let answer = proxy
        .ask("GET /user/a/x HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 10") && answer.contains("<h1>503"), "{answer}");
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn an_answer_that_is_not_http_is_502() {
    for answer in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let backend = Backend::says(answer);
        let proxy = Proxy::to(&backend);
        let mut visitor = proxy.visit();
        visitor.say(GET);
        let got = visitor.until("\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 502"), "{got}");
    }
}

#[test]
fn a_visitor_who_leaves_takes_the_request_along() {
    let left = Arc::new(AtomicBool::new(false));
    let noticed = left.clone();
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor);
        noticed.store(visitor.all().is_empty(), SeqCst);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    wait_until("the backend has it", || backend.seen().len() == 1);
    drop(visitor);
    wait_until("the backend is told", || left.load(SeqCst));
}

#[test]
fn a_head_answer_keeps_its_length_and_the_connection() {
    let backend = Backend::says("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    for _ in 0..3 {
        visitor.say("HEAD /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(visitor.until("\r\n\r\n").contains("Content-Length: 7"));
    }
    assert_eq!(*backend.connections.lock().unwrap(), 1);
}

const WEBSOCKET: &str = "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[test]
fn a_websocket_is_a_tunnel() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v1\r\n\r\nhello");
        let mut piece = [0; 4096];
        while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
            visitor.say(&piece[..size]);
        }
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(WEBSOCKET);
    let head = visitor.until("\r\n\r\n").to_lowercase();
    assert!(
        head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-protocol: v1"),
        "{head}"
    );
    visitor.until("hello");
    let big = "\n\0x".repeat(100_000);
    let mut writer = visitor.0.try_clone().unwrap();
    let sent = big.clone();
    let sending = thread::spawn(move || writer.write_all(sent.as_bytes()).unwrap());
    let mut got = vec![0; big.len()];
    visitor.0.read_exact(&mut got).unwrap();
    assert!(got == big.as_bytes());
    sending.join().unwrap();
    assert!(!proxy.shared.activity.take().is_empty());
    assert_eq!(proxy.shared.crowd.count(), 1);
    visitor.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(visitor.all(), "");
    wait_until("nobody is left", || proxy.shared.crowd.count() == 0);
    let seen = backend.seen()[0].to_lowercase();
    assert!(seen.contains("upgrade: websocket") && seen.contains("connection: upgrade"), "{seen}");
}

#[test]
fn a_refused_websocket_is_an_answer_like_others() {
    let backend = Backend::says("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::to(&backend);
    let answer = proxy.ask(WEBSOCKET);
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("no"), "{answer}");
}

#[test]
fn activity_is_what_went_well() {
    let backend = Backend::says("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    visitor.until("no");
    assert!(proxy.shared.activity.take().is_empty());
    let good = Backend::says(OK);
    proxy.route("/user/a", good.address);
    visitor.say(GET);
    visitor.until("ok");
    wait_until("it is noted", || proxy.shared.activity.take().len() == 1);
}

#[test]
fn the_proxy_says_it_is_well() {
    let proxy = Proxy::start(&quick(), std::path::Path::new("/nonexistent/hub"));
    let answer = proxy.ask("GET /_chp_healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"status\":\"OK\"}"),
        "{answer}"
    );
}

#[test]
fn the_address_of_the_health_check_with_a_query_is_routed() {
    let backend = Backend::says(OK);
    let proxy = Proxy::start(&quick(), std::path::Path::new("/nonexistent/hub"));
    proxy.route("/_chp_healthz", backend.address);
    for query in ["?x=1", "?"] {
        let request = format!("GET /_chp_healthz{query} HTTP/1.1\r\nHost: a\r\n");
        let answer = proxy.ask(&format!("{request}Connection: close\r\n\r\n"));
        assert!(answer.ends_with("\r\n\r\nok"), "{query}: {answer}");
    }
}

#[test]
fn what_a_server_prints_into_a_websocket_is_no_use_of_it() {
    let go = Arc::new(AtomicBool::new(false));
    let told = go.clone();
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor);
        visitor.say(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        wait_until("the tunnel is there", || told.load(SeqCst));
        visitor.say("early");
        visitor.until("?");
        visitor.say("late");
        visitor.all();
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(WEBSOCKET);
    visitor.until("\r\n\r\n");
    go.store(true, SeqCst);
    visitor.until("early");
    assert!(proxy.shared.activity.take().is_empty());
    visitor.say("?");
    visitor.until("late");
    assert_eq!(proxy.shared.activity.take().len(), 1);
}

#[test]
fn who_finds_no_room_waits_in_the_queue() {
    let backend = Backend::says(OK);
    let proxy = Proxy::with_room(&quick(), std::path::Path::new("/nonexistent/hub"), 2);
    proxy.route("/user/a", backend.address);
    let mut visitors: Vec<_> = (0..3).map(|_| proxy.visit()).collect();
    for visitor in &mut visitors {
        visitor.say(GET);
    }
    let mut third = visitors.pop().unwrap();
    for visitor in &mut visitors {
        visitor.until("ok");
    }
    assert_eq!(backend.seen().len(), 2);
    drop(visitors);
    third.until("ok");
}

#[test]
fn one_address_does_not_take_all_connections() {
    let backend = Backend::says(OK);
    let (section, hub) = (quick(), std::path::Path::new("/nonexistent/hub"));
    // The limit is one's own, or half of what there is.
    for (most, room) in [(2, 1000), (1000, 4)] {
        let proxy = Proxy::with_room(&section, hub, room);
        proxy.route("/user/a", backend.address);
        let mut settings = crate::proxy::settings::Settings::new(&section);
        settings.most_connections = most;
        settings.trusts_loopback = false;
        proxy.shared.settings.store(Arc::new(settings.clone()));
        let mut kept: Vec<_> = (0..2).map(|_| proxy.visit()).collect();
        for visitor in &mut kept {
            visitor.say(GET);
            visitor.until("ok");
        }
        let mut refused = proxy.visit();
        let _ = refused.0.write_all(GET.as_bytes()); // it may be closed already
        assert_eq!(refused.all(), "");
        // Each address has its own share.
        let other: std::net::SocketAddr = "127.0.0.2:0".parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&other.into()).unwrap();
        socket.connect(&proxy.address.into()).unwrap();
        let mut other = Visitor::new(socket.into());
        other.say(GET);
        other.until("ok");
        drop(other);
        // Who leaves makes room; who is trusted needs none.
        kept.pop();
        wait_until("only one is left", || proxy.shared.crowd.count() == 1);
        kept.push(proxy.visit());
        kept[1].say(GET);
        kept[1].until("ok");
        settings.trusts_loopback = true;
        proxy.shared.settings.store(Arc::new(settings));
        let mut third = proxy.visit();
        third.say(GET);
        third.until("ok");
    }
}

#[test]
fn a_body_that_stops_is_cut_unless_it_is_the_server_who_does_not_read() {
    const SIZE: usize = 16 << 20;
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap();
        if head.contains("/busy") {
            thread::sleep(std::time::Duration::from_millis(1500)); // much longer than a visitor may be silent
            visitor.0.read_exact(&mut vec![0; SIZE + 3]).unwrap();
            visitor.say(OK);
        }
        visitor.all();
    });
    let proxy = Proxy::to(&backend);
    let mut settings = crate::proxy::settings::Settings::new(&quick());
    settings.body_timeout = std::time::Duration::from_millis(300);
    proxy.shared.settings.store(Arc::new(settings));
    let mut stopped = proxy.visit();
    stopped.say("POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    assert_eq!(stopped.all(), "");
    // Also when not a byte of it comes, and whatever else is asked.
    for fields in
        ["Content-Length: 1", "Transfer-Encoding: chunked", "Upgrade: x\r\nContent-Length: 1"]
    {
        let mut stopped = proxy.visit();
        stopped.say(format!("POST /user/a/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(stopped.all(), "", "{fields}");
    }
    let mut pushing = proxy.visit();
    pushing.say(format!(
        "POST /user/a/busy HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        SIZE + 3
    ));
    let mut writer = pushing.0.try_clone().unwrap();
    let sending = thread::spawn(move || {
        writer.write_all(&vec![b'x'; SIZE]).unwrap();
        writer.write_all(b"END").unwrap();
    });
    assert!(pushing.until("ok").starts_with("HTTP/1.1 200"));
    sending.join().unwrap();
}

#[test]
fn no_connection_outlives_its_route() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    visitor.until("ok");
    // Another server may have the address by now.
    proxy.shared.routes.remove(&[jovis_actors::domain::RouteSpec::new("/user/a")]);
    proxy.route("/user/a", backend.address);
    visitor.say(GET);
    visitor.until("ok");
    assert_eq!(*backend.connections.lock().unwrap(), 2);
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let backend = Backend::says(OK);
    let section = crate::config::sections::Proxy {
        keep_alive_timeout: jovis_actors::domain::Seconds::try_from(0.2).unwrap(),
        ..quick()
    };
    let proxy = Proxy::start(&section, std::path::Path::new("/nonexistent/hub"));
    proxy.route("/user/a", backend.address);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    visitor.until("ok");
    assert_eq!(visitor.all(), "");
}

#[test]
fn a_slow_answer_is_waited_for() {
    // Longer than a head may take and than a connection may be idle.
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        thread::sleep(std::time::Duration::from_millis(900));
        visitor.say(OK);
    });
    let section = crate::config::sections::Proxy {
        keep_alive_timeout: jovis_actors::domain::Seconds::try_from(0.2).unwrap(),
        ..quick()
    };
    let proxy = Proxy::start(&section, std::path::Path::new("/nonexistent/hub"));
    proxy.route("/user/a", backend.address);
    let mut visitor = proxy.visit();
    visitor.say(GET);
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn running_out_of_descriptors_is_survived() {
    // In a process of its own: the limit is the process's.
    let script =
        "ulimit -n 64 && exec \"$0\" --exact proxy::tests::traffic::with_few_descriptors --ignored";
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh").arg("-c").arg(script).arg(test).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "started by the test above, with few descriptors"]
fn with_few_descriptors() {
    use nix::sys::resource::{UsageWho, getrusage};

    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let (user, system) = (usage.user_time(), usage.system_time());
        (user.tv_sec() + system.tv_sec()) * 1000 + (user.tv_usec() + system.tv_usec()) / 1000
    };
    let backend = Backend::says(OK);
    let section = crate::config::sections::Proxy::default();
    let proxy = Proxy::start(&section, std::path::Path::new("/nonexistent/hub"));
    proxy.route("/user/a", backend.address);
    let mut first = proxy.visit();
    first.say(GET);
    first.until("ok");
    let mut visitors = Vec::new();
    while let Ok(visitor) = std::net::TcpStream::connect(proxy.address) {
        visitors.push(visitor);
        assert!(visitors.len() < 64, "the limit is not there");
    }
    // Nothing is left, for the proxy neither. It must not spin, and what it has goes on.
    let before = spent();
    thread::sleep(std::time::Duration::from_millis(500));
    assert!(spent() - before < 150, "{} ms of 500", spent() - before);
    first.say(GET);
    first.until("ok");
    visitors.clear();
    let mut late = proxy.visit();
    late.say(GET);
    late.until("ok");
}
