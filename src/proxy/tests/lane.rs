//! The short way of plain requests, and how it and the long one take turns on a connection.

use std::{io::Write, thread, time::Duration};

use super::support::{Backend, Proxy, wait_until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET /user/a/{path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Answers by the last part of the path.
fn scripted() -> Backend {
    Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
            if chunked {
                visitor.until("0\r\n\r\n");
            }
            let answer = match path.rsplit('/').next().unwrap_or_default() {
                "chunked" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"
                }
                "interim" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                "empty" => "HTTP/1.1 204 No Content\r\n\r\n",
                "same" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                "more" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
                }
                "until-close" => "HTTP/1.0 200 OK\r\n\r\nall of it",
                "bad-chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "bad-later" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX",
                "both" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                }
                "switch" => "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                _ => OK,
            };
            visitor.say(answer);
            if path.ends_with("until-close") || path.contains("bad") {
                return;
            }
        }
    })
}

#[test]
fn answers_of_all_kinds_follow_each_other_on_one_connection() {
    let backend = scripted();
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    let table = [
        ("x", "\r\n\r\nok"),
        ("chunked", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        ("interim", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("empty", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("same", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("until-close", "transfer-encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n"),
        ("more", "\r\n\r\nok"),
    ];
    for _ in 0..2 {
        for (path, end) in table {
            visitor.say(get(path));
            let answer = visitor.until(end);
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{path}: {answer}");
        }
    }
    // Every message a backend sent beyond its answer went down with its connection.
    visitor.say("GET /user/a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let last = visitor.all();
    assert!(last.contains("\r\nconnection: close\r\n") && last.ends_with("\r\n\r\nok"), "{last}");
    assert_eq!(backend.seen().len(), 15);
}

#[test]
fn plain_requests_and_others_take_turns() {
    let backend = scripted();
    let proxy = Proxy::to(&backend);
    let chunked = "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let sized = "POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let own = "GET /_chp_healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut requests: Vec<String> = Vec::new();
    for _ in 0..5 {
        requests.extend([get("x"), chunked.to_owned(), sized.to_owned(), own.to_owned()]);
    }
    // One after the other, and all at once.
    let mut visitor = proxy.visit();
    for request in &requests {
        visitor.say(request);
        visitor.until(if request == own { "\"OK\"}" } else { "\r\n\r\nok" });
    }
    let mut visitor = proxy.visit();
    visitor.say(requests.concat());
    visitor.say("GET /user/a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let all = visitor.all();
    assert_eq!(all.matches("HTTP/1.1 200").count(), requests.len() + 1, "{all}");
    assert_eq!(backend.seen().len(), 2 * 15 + 1);
}

#[test]
fn an_irregular_answer_is_502_and_one_that_turns_bad_is_cut() {
    let backend = scripted();
    let proxy = Proxy::to(&backend);
    for path in ["both", "switch", "bad-chunk"] {
        // The visitor is not to blame: his connection stays.
        let mut visitor = proxy.visit();
        for _ in 0..2 {
            visitor.say(get(path));
            let answer = visitor.until("\"status\":502}");
            assert!(answer.starts_with("HTTP/1.1 502 "), "{path}: {answer}");
        }
        visitor
            .say(format!("HEAD /user/a/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let answer = visitor.all();
        // Of a body nobody sees, none is broken.
        let status = if path == "bad-chunk" { "HTTP/1.1 200 " } else { "HTTP/1.1 502 " };
        assert!(answer.starts_with(status) && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    let answer = proxy.ask(&get("bad-later"));
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
}

#[test]
fn an_early_answer_arrives_although_the_body_is_not_taken() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        // Neither read nor closed.
        thread::sleep(Duration::from_secs(20));
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say("PUT /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nabc");
    let answer = visitor.all();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("no!"), "{answer}");
}

#[test]
fn what_a_backend_says_unasked_is_nobodys_answer() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say(OK);
        thread::sleep(Duration::from_millis(50));
        // Who reads this for an answer has been fooled. It may be too late to say it.
        let _ = visitor.0.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        this.head(visitor);
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    for round in 1..4 {
        visitor.say(get("x"));
        let answer = visitor.until("\r\n\r\nok");
        assert!(!answer.contains("evil"), "{answer}");
        wait_until("it has said it", || backend.seen().len() == round);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(*backend.connections.lock().unwrap(), 3);
}

#[test]
fn a_body_that_comes_in_pieces_arrives_whole() {
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            assert!(head.contains("Content-Length: 300000"), "{head}");
            let mut body = vec![0; 300_000];
            std::io::Read::read_exact(&mut visitor.0, &mut body).unwrap();
            assert!(body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
            visitor.say(OK);
        }
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    let body: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
    for size in [1_000, 70_000, 300_000] {
        visitor.say("PUT /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
        for piece in body.chunks(size) {
            visitor.say(piece);
        }
        visitor.until("\r\n\r\nok");
    }
    assert_eq!(*backend.connections.lock().unwrap(), 1);
}
