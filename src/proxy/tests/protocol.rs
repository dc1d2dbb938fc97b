//! What HTTP/1.1 asks of whoever stands in the middle, as tables: what is said, what arrives, what comes back.

use std::{
    io::{Read, Write},
    net::Shutdown,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use jovis_actors::domain::{Route, RouteSpec, Seconds};

use super::support::{Backend, Proxy, Visitor, quick, wait_until};
use crate::config::sections;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One exchange. Heads are compared in lower case; what must not be there follows a `!`.
struct Row {
    asked: &'static str,
    answer: &'static str,
    /// In what the backend gets.
    arrives: &'static [&'static str],
    /// In what the visitor gets.
    comes_back: &'static [&'static str],
}

const TABLE: &[Row] = &[
    // Trailers that were announced go to the server; back go those of the server, to who takes them.
    Row {
        asked: "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum, Host\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: b\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX-Sum: 2\r\nSet-Cookie: a=b\r\n\r\n",
        arrives: &[
            "$3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            "trailer: x-sum\r\n",
            "te: trailers\r\n",
            "connection: te\r\n",
            "connection: close\r\n",
            "!host: b",
            "!content-length",
        ],
        comes_back: &["trailer: x-sum\r\n", "$xyz\r\n0\r\nx-sum: 2\r\n\r\n", "!set-cookie"],
    },
    // Nobody else gets any.
    Row {
        asked: "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX-Sum: 2\r\n\r\n",
        arrives: &["$3\r\nabc\r\n0\r\n\r\n", "!x-sum", "!trailer", "!te:", "!connection"],
        comes_back: &["$xyz\r\n0\r\n\r\n", "!x-sum", "!trailer"],
    },
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX-Sum: 2\r\n\r\n",
        arrives: &["!te:", "!connection"],
        comes_back: &["$xyz\r\n0\r\n\r\n", "!x-sum", "!trailer"],
    },
    // The short way, where nothing has to be announced.
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Cookie\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX-Sum: 2\r\nX-Other:  3 \r\nTransfer-Encoding: x\r\n\r\n",
        arrives: &["te: trailers\r\n", "connection: te\r\n"],
        comes_back: &[
            "trailer: x-sum\r\n",
            "$xyz\r\n0\r\nx-sum: 2\r\nx-other: 3\r\n\r\n",
            "!transfer-encoding: x",
        ],
    },
    // HEAD, with either framing.
    Row {
        asked: "HEAD /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
        arrives: &["head /user/a/x http/1.1\r\n"],
        comes_back: &["content-length: 1234\r\n", "etag: \"x\"\r\n", "$\r\n\r\n"],
    },
    Row {
        asked: "HEAD /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        arrives: &[],
        comes_back: &["http/1.1 200 ok\r\n", "!content-length: 0", "$\r\n\r\n"],
    },
    // Ranges are the server's.
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,5-\r\nIf-Range: \"x\"\r\n\r\n",
        answer: "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/7\r\nContent-Length: 2\r\n\r\nab",
        arrives: &["range: bytes=0-1,5-\r\n", "if-range: \"x\"\r\n"],
        comes_back: &["http/1.1 206 ", "content-range: bytes 0-1/7\r\n", "$\r\n\r\nab"],
    },
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\nRange: bytes=9-\r\n\r\n",
        answer: "HTTP/1.1 416 No\r\nContent-Range: bytes */7\r\nContent-Length: 0\r\n\r\n",
        arrives: &[],
        comes_back: &["http/1.1 416 ", "content-range: bytes */7\r\n"],
    },
    // HTTP/1.0 gets no chunks.
    Row {
        asked: "GET /user/a/x HTTP/1.0\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
        arrives: &["get /user/a/x http/1.1\r\n"],
        comes_back: &["http/1.0 200 ok\r\n", "!transfer-encoding", "$\r\n\r\nxyz"],
    },
    Row {
        asked: "POST /user/a/x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        answer: OK,
        arrives: &["post /user/a/x http/1.1\r\n", "content-length: 3\r\n", "$abc"],
        comes_back: &["http/1.0 200 ok\r\n", "connection: keep-alive\r\n", "$ok"],
    },
    // Bodies, whatever the method.
    Row {
        asked: "OPTIONS /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        answer: OK,
        arrives: &["options /user/a/x ", "content-length: 3\r\n", "$abc"],
        comes_back: &["$ok"],
    },
    Row {
        asked: "DELETE /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        answer: OK,
        arrives: &["delete /user/a/x ", "transfer-encoding: chunked\r\n", "$3\r\nabc\r\n0\r\n\r\n"],
        comes_back: &["$ok"],
    },
    Row {
        asked: "DELETE /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
        arrives: &["!content-length", "!transfer-encoding"],
        comes_back: &["http/1.1 204 ", "!content-length", "!transfer-encoding", "$\r\n\r\n"],
    },
    // Several cookies stay several, and as they are; redirects too.
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=\"d e\"\r\n\r\n",
        answer: "HTTP/1.1 302 Found\r\nSet-Cookie: a=b; Path=/user/a/; Domain=x; Secure\r\nSet-Cookie: a=c\r\nSet-Cookie: d=\r\nLocation: http://127.0.0.1:1/x?y#z\r\nContent-Length: 0\r\n\r\n",
        arrives: &["cookie: a=b; c=\"d e\"\r\n"],
        comes_back: &[
            "set-cookie: a=b; path=/user/a/; domain=x; secure\r\nset-cookie: a=c\r\nset-cookie: d=\r\n",
            "location: http://127.0.0.1:1/x?y#z\r\n",
        ],
    },
    // A server's connection is not the visitor's.
    Row {
        asked: "GET /user/a/x HTTP/1.1\r\nHost: a\r\nConnection: X-Gone\r\nX-Gone: 1\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\nConnection: X-Away, close\r\nX-Away: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok",
        arrives: &["!x-gone", "!connection"],
        comes_back: &["!x-away", "!connection", "!keep-alive", "!upgrade", "$ok"],
    },
    // An answer that ends with its connection has chunks for the visitor, and a clean end.
    Row {
        asked: "GET /user/a/close HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: "HTTP/1.1 200 OK\r\n\r\nxyz",
        arrives: &[],
        comes_back: &["transfer-encoding: chunked\r\n", "xyz\r\n0\r\n\r\n"],
    },
];

/// Reads what is said until nothing more comes for a moment.
fn settled(from: &mut Visitor, done: impl Fn(&str) -> bool) -> String {
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    from.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline && !done(&String::from_utf8_lossy(&got)) {
        match from.0.read(&mut piece) {
            Ok(0) => break,
            Ok(size) => got.extend_from_slice(&piece[..size]),
            Err(_) => {}
        }
    }
    from.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    String::from_utf8_lossy(&got).to_lowercase()
}

fn holds(text: &str, expected: &[&str]) -> bool {
    expected.iter().all(|it| match (it.strip_prefix('!'), it.strip_prefix('$')) {
        (Some(not), _) => !text.contains(not),
        (_, Some(end)) => text.ends_with(end),
        _ => text.contains(it),
    })
}

#[test]
fn http_is_spoken_by_the_book() {
    let answer = Arc::<Mutex<&str>>::default();
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let (told, got) = (answer.clone(), bodies.clone());
    let backend = Backend::new(move |visitor, this| {
        while let Some(head) = this.head(visitor) {
            let lower = head.to_lowercase();
            let body = if lower.contains("transfer-encoding") {
                visitor.until("\r\n\r\n")
            } else if lower.contains("content-length: 3") {
                visitor.until("abc")
            } else {
                String::new()
            };
            got.lock().unwrap().push(format!("{lower}{body}"));
            let answer = *told.lock().unwrap();
            visitor.say(answer);
            if lower.contains("/close ") {
                return;
            }
        }
    });
    let proxy = Proxy::to(&backend);
    for row in TABLE {
        *answer.lock().unwrap() = row.answer;
        let mut visitor = proxy.visit();
        visitor.say(row.asked);
        let positive: Vec<_> =
            row.comes_back.iter().filter(|it| !it.starts_with('!')).copied().collect();
        let whole =
            |text: &str| text.contains("\r\n\r\n") && holds(&text.to_lowercase(), &positive);
        let back = settled(&mut visitor, whole);
        assert!(holds(&back, row.comes_back), "{:?} => {back:?}", row.asked);
        let arrived = bodies.lock().unwrap().pop().unwrap_or_default();
        assert!(holds(&arrived, row.arrives), "{:?} => {arrived:?}", row.asked);
        assert!(bodies.lock().unwrap().is_empty(), "{:?} arrived twice", row.asked);
    }
}

const EXPECTING: &str =
    "POST /user/a/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

#[test]
fn a_body_that_waits_for_leave_is_sent_when_the_server_gives_it() {
    let go = Arc::new(AtomicBool::new(false));
    let told = go.clone();
    let backend = Backend::new(move |visitor, this| {
        let head = this.head(visitor).unwrap().to_lowercase();
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        wait_until("the visitor waits", || told.load(SeqCst));
        visitor.say("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        visitor.until("abc");
        visitor.say(OK);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(EXPECTING);
    wait_until("the server has the head", || backend.seen().len() == 1);
    visitor.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(visitor.0.read(&mut [0; 10]).is_err(), "leave before the server gave it");
    visitor.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    go.store(true, SeqCst);
    assert_eq!(visitor.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    visitor.say("abc");
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_that_knows_no_leave_is_not_waited_for() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.until("abc");
        visitor.say(OK);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    let began = Instant::now();
    visitor.say(EXPECTING);
    assert_eq!(visitor.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(began.elapsed() < Duration::from_secs(5));
    visitor.say("abc");
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_that_is_refused_before_it_was_sent_is_never_asked_for() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        let rest = visitor.all();
        this.heads.lock().unwrap().push(format!("rest {rest}"));
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(EXPECTING);
    let answer = visitor.all();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("\r\n\r\nbig"), "{answer}");
    wait_until("the server is let go", || backend.seen().len() == 2);
    assert_eq!(backend.seen()[1], "rest ");
}

#[test]
fn an_answer_may_come_before_the_upload_has_ended() {
    // The server reads on in one case, hangs up in the other.
    for reads in [true, false] {
        let backend = Backend::new(move |visitor, this| {
            this.head(visitor);
            visitor.until("begin");
            visitor.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
            if reads {
                let rest = visitor.all();
                this.heads.lock().unwrap().push(format!("rest {rest}"));
            } else {
                visitor.0.shutdown(Shutdown::Write).unwrap();
                thread::sleep(Duration::from_millis(100));
            }
        });
        let proxy = Proxy::to(&backend);
        let mut visitor = proxy.visit();
        visitor.say("POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
        let answer = visitor.until("big");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        // The rest of the body is nobody's request.
        let _ = visitor.0.write_all(b"GET /user/a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        if reads {
            drop(visitor);
            wait_until("the server is let go", || backend.seen().len() == 2);
            let rest = backend.seen().pop().unwrap();
            assert!(rest == "rest " || rest.starts_with("rest GET /user/a/smuggled"), "{rest}");
        } else {
            assert_eq!(visitor.all(), "");
            assert_eq!(backend.seen().len(), 1);
        }
    }
}

#[test]
fn events_are_not_held_back_whatever_the_framing() {
    for (version, head) in [
        ("1.1", "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"),
        ("1.1", "\r\ndata: 1\n\n"),
        ("1.0", "\r\ndata: 1\n\n"),
        ("1.1", "Content-Length: 1000\r\n\r\ndata: 1\n\n"),
    ] {
        let backend = Backend::new(move |visitor, this| {
            this.head(visitor);
            visitor.say(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{head}"));
            visitor.all(); // until we hang up
        });
        let proxy = Proxy::to(&backend);
        let mut visitor = proxy.visit();
        visitor.say(format!("GET /user/a/x HTTP/{version}\r\nHost: a\r\n\r\n"));
        visitor.until("data: 1\n\n");
    }
}

#[test]
fn names_arrive_as_the_hub_escapes_them() {
    // The name of a user, as it stands in the route; as JupyterHub writes it into addresses; and other ways to write it.
    let table: [(&str, &[&str]); 7] = [
        ("al ice", &["al%20ice", "%61l%20ice", "al%20%69ce"]),
        ("al@x~y", &["al@x~y", "al%40x~y", "al%40x%7Ey", "al%40x%7ey"]),
        ("été", &["%C3%A9t%C3%A9", "%c3%a9t%c3%a9"]),
        ("日本", &["%E6%97%A5%E6%9C%AC"]),
        ("50%", &["50%25"]),
        ("a%2fb", &["a%252fb"]),
        ("a+b&c=d;e", &["a+b&c=d;e", "a%2Bb%26c%3Dd%3Be"]),
    ];
    let backend = Backend::says(OK);
    for (name, spellings) in table {
        let proxy = Proxy::start(&quick(), Path::new("/nonexistent/hub"));
        proxy.route(&format!("/base/user/{name}"), backend.address);
        for spelling in spellings {
            for rest in ["", "/", "/lab/tree/%C3%A9%2F?x=%20&y"] {
                let target = format!("/base/user/{spelling}{rest}");
                let asked =
                    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                assert!(proxy.ask(&asked).ends_with("ok"), "{target}");
                let seen = backend.seen().pop().unwrap();
                assert!(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{seen}");
            }
        }
    }
}

#[test]
fn paths_are_read_in_one_way() {
    let (a, b) = (Backend::says(OK), Backend::says(OK));
    let hub_patience = Seconds::try_from(0.05).unwrap();
    let section = sections::Proxy { hub_patience, ..quick() };
    let proxy = Proxy::start(&section, Path::new("/nonexistent/hub"));
    proxy.route("/user/a", a.address);
    let route = |spec: &str, backend: &Backend| Route {
        spec: RouteSpec::new(spec),
        target: format!("http://{}", backend.address),
        server: None,
    };
    proxy.shared.routes.set(vec![route("/user/b", &b)]);
    // Who gets it: `a`, `b`, nobody (the hub, who is away) or a refusal, after which the connection is closed.
    for (target, status, who) in [
        ("/user/a/x", "200", "a"),
        ("/user/b/x", "200", "b"),
        ("//user/a/x", "503", ""),
        ("/user//a/x", "503", ""),
        ("//b/user/a/x", "503", ""),
        ("/user/A/x", "503", ""),
        ("/user/a;x/y", "503", ""),
        ("/user/ab/x", "503", ""),
        ("/user/a%2fx", "503", ""),
        ("/user%2fa/x", "503", ""),
        ("/user/a\\..\\b", "400", ""),
        ("/user/a/../b/x", "400", ""),
        ("/user/a/%2e%2e/b/x", "400", ""),
        ("/user/a/..%2fb/x", "400", ""),
        ("/user/a/%zz", "400", ""),
        ("/user/a/%ff", "400", ""),
        ("/user/a/%", "400", ""),
    ] {
        let answer = proxy.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nX-Away: 1\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
        assert_eq!(answer.to_lowercase().matches("http/1.1 ").count(), 1, "{target}: {answer}");
        for (name, backend) in [("a", &a), ("b", &b)] {
            let seen: Vec<_> = backend.heads.lock().unwrap().drain(..).collect();
            assert_eq!(seen.len(), usize::from(who == name), "{target} at {name}: {seen:?}");
        }
    }
}
