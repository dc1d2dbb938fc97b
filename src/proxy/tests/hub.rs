//! The default route: a hub on a Unix socket that comes and goes.

use std::{
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

use jovis_actors::domain::Seconds;

use super::support::{Backend, Proxy, quick, read_head};

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
