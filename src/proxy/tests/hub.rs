//! The default route: a hub on a Unix socket that comes and goes.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use jovis_actors::domain::Seconds;

use super::support::{Backend, Proxy, quick, read_head, wait_until};
use crate::proxy::{settings::Settings, shared::Hub};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn serve(mut stream: UnixStream) {
    while read_head(&mut stream).is_some() {
        stream.write_all(OK).unwrap();
    }
}

#[test]
fn what_has_no_route_waits_for_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let proxy = Proxy::start(&quick(), &socket);
    let mut visitors: Vec<_> = (0..3).map(|_| proxy.visit()).collect();
    for (visitor, method) in visitors.iter_mut().zip(["GET", "HEAD", "POST"]) {
        visitor.say(format!("{method} /hub/x HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    thread::sleep(Duration::from_millis(100)); // they wait now; nothing tells from outside
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        listener.incoming().for_each(|stream| {
            thread::spawn(move || serve(stream.unwrap()));
        })
    });
    for visitor in &mut visitors {
        assert!(visitor.until("\r\n\r\n").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_request_that_the_hub_dropped_is_repeated_when_that_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for (i, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            if i % 2 == 0 {
                read_head(&mut stream); // and dies over it
            } else {
                thread::spawn(move || {
                    read_head(&mut stream);
                    stream
                        .write_all(
                            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                        )
                        .unwrap();
                });
            }
        }
    });
    let proxy = Proxy::start(&quick(), &socket);
    let mut visitor = proxy.visit();
    visitor.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
    visitor.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let head = visitor.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 3"), "{head}");
}

#[test]
fn patience_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let _silent = UnixListener::bind(&socket).unwrap();
    let section =
        crate::config::sections::Proxy { hub_patience: Seconds::try_from(0.2).unwrap(), ..quick() };
    // One hub accepts and says nothing while its link is down; the other isn't there at all.
    for socket in [socket, folder.path().join("none")] {
        let proxy = Proxy::start(&section, &socket);
        let began = Instant::now();
        let answer = proxy
            .ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("refresh"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn the_hub_learns_who_the_visitor_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let listener = UnixListener::bind(&socket).unwrap();
    let backend = Backend::says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let proxy = Proxy::start(&quick(), &socket);
    proxy.route("/user/a", backend.address);
    let fields = "Host: a\r\nX-Jovis-Client: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n";
    let mut visitor = proxy.visit();
    visitor.say(format!("GET /hub/ HTTP/1.1\r\n{fields}\r\n"));
    let mut hub = listener.accept().unwrap().0;
    let head = read_head(&mut hub).unwrap().to_lowercase();
    hub.write_all(OK).unwrap();
    visitor.until("ok");
    assert!(head.contains("\r\nx-jovis-client: 192.0.2.1\r\n"), "{head}");
    assert_eq!(head.matches("x-jovis-client").count(), 1, "{head}");
    visitor.say(format!("GET /user/a/ HTTP/1.1\r\n{fields}\r\n"));
    visitor.until("ok");
    assert!(!backend.seen()[0].to_lowercase().contains("x-jovis-client"));
}

#[test]
fn one_address_does_not_take_all_places_at_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let listener = UnixListener::bind(&socket).unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), seen.clone());
            thread::spawn(move || {
                while let Some(head) = read_head(&mut stream) {
                    let slow = head.starts_with("POST");
                    seen.lock().unwrap().push(head);
                    if slow && stream.read_exact(&mut [0]).is_err() {
                        return;
                    }
                    stream.write_all(OK).unwrap();
                }
            });
        }
    });
    let section =
        crate::config::sections::Proxy { hub_patience: Seconds::try_from(1.0).unwrap(), ..quick() };
    let proxy = Proxy::start(&section, &socket);
    proxy.shared.hub_state.send_replace(Hub::Synced); // it is only busy
    let mut settings = Settings::new(&section);
    settings.most_at_hub = 3;
    proxy.shared.settings.store(Arc::new(settings));
    let slow = "POST /hub/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let get = |from: &str| {
        format!(
            "GET /hub/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: {from}\r\n\r\n"
        )
    };
    let mut greedy: Vec<_> = (0..6).map(|_| proxy.visit()).collect();
    for visitor in &mut greedy[..3] {
        visitor.say(slow);
    }
    wait_until("three are at the hub", || heads.lock().unwrap().len() == 3);
    for visitor in &mut greedy[3..] {
        visitor.say(slow);
    }
    // The others aren't in the way, nor those on this machine; only that address waits, in vain at last.
    assert!(proxy.ask(&get("192.0.2.2")).starts_with("HTTP/1.1 200"));
    assert!(proxy.ask(&get("127.0.0.1")).starts_with("HTTP/1.1 200"));
    let crowded = proxy.ask(&get("192.0.2.1"));
    assert!(crowded.starts_with("HTTP/1.1 429") && crowded.contains("retry-after: "), "{crowded}");
    let posts = || heads.lock().unwrap().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(posts(), 3);
    // A place is free again with its answer, and with its visitor.
    greedy[0].say("x");
    greedy[0].until("ok");
    assert!(proxy.ask(&get("192.0.2.1")).starts_with("HTTP/1.1 200"));
    drop(greedy);
    let mut next: Vec<_> = (0..3).map(|_| proxy.visit()).collect();
    for visitor in &mut next {
        visitor.say(slow);
        visitor.say("x");
        visitor.until("ok");
    }
}

#[test]
fn a_place_at_the_hub_does_not_wait_for_a_body_that_never_comes() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let listener = UnixListener::bind(&socket).unwrap();
    let proxy = Proxy::start(&quick(), &socket);
    let mut settings = Settings::new(&quick());
    settings.body_timeout = Duration::from_millis(300);
    proxy.shared.settings.store(Arc::new(settings));
    let mut visitor = proxy.visit();
    visitor.say("POST /hub/login HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n");
    let mut hub = listener.accept().unwrap().0;
    read_head(&mut hub).unwrap();
    assert_eq!(visitor.all(), "");
    assert_eq!(hub.read(&mut [0]).unwrap(), 0, "the hub is let go");
}

#[test]
fn a_program_hears_that_its_server_does_not_run_without_troubling_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hub");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = Proxy::start(&quick(), &socket);
    proxy.shared.knows_routes.store(true, std::sync::atomic::Ordering::Relaxed);
    let backend = Backend::says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    proxy.route("/user/a", backend.address);
    for (head, wanted) in [
        ("GET /user/b/api/contents HTTP/1.1", "424"),
        ("POST /user/b/api/sessions?x=1 HTTP/1.1\r\nContent-Length: 0", "424"),
        (
            "GET /user/b/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "424",
        ),
        ("GET /user/a/api/contents HTTP/1.1", "200"),
    ] {
        let last = if head.contains("Upgrade") { "" } else { "Connection: close\r\n" };
        let answer = proxy.ask(&format!("{head}\r\nHost: a\r\n{last}\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{head}: {answer}");
        if wanted == "424" {
            assert!(answer.contains("/hub/spawn/b\""), "{answer}");
        }
    }
    assert!(listener.accept().is_err(), "the hub was not asked");
    // Until all routes are known it may run all the same.
    proxy.shared.knows_routes.store(false, std::sync::atomic::Ordering::Relaxed);
    let mut visitor = proxy.visit();
    visitor.say("GET /user/b/api/contents HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the hub is asked", || listener.accept().is_ok());
}
