//! Visitors who shut their side after a request, and how they differ from those who have left.

use std::{
    io::Write as _,
    net::Shutdown,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::support::{Backend, Proxy, wait_until};
use crate::proxy::settings::Settings;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
/// The short way; with a body; the long way; HTTP/1.0, whose answer ends with the connection.
const WAYS: [&str; 5] = [
    "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /user/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /user/a/x HTTP/1.1\r\nHost: a\r\nConnection: x\r\n\r\n",
    "GET /user/a/x HTTP/1.0\r\nHost: a\r\n\r\n",
];

/// Answers each request after a while, in pieces; counts connections that were let go while it waited.
fn slow(pause: Duration) -> Backend {
    Backend::new(move |visitor, this| {
        while let Some(head) = this.head(visitor) {
            let head = head.to_lowercase();
            if head.contains("chunked") {
                visitor.until("0\r\n\r\n");
            } else if head.contains("content-length: 3") {
                visitor.until("abc");
            }
            let (first, last) = OK.split_at(OK.len() - 1);
            for piece in [first, last] {
                thread::sleep(pause);
                if visitor.0.write_all(piece.as_bytes()).is_err() {
                    return;
                }
            }
        }
    })
}

/// Waits for an answer to begin for so long.
fn patient(proxy: &Proxy, body_timeout: Duration) {
    let mut settings = Settings::clone(&proxy.shared.settings.load());
    settings.body_timeout = body_timeout;
    proxy.shared.settings.store(Arc::new(settings));
}

#[test]
fn who_shuts_his_side_still_gets_his_answer() {
    let backend = slow(Duration::from_millis(150));
    let proxy = Proxy::to(&backend);
    for asked in WAYS {
        for with_it in [true, false] {
            let mut visitor = proxy.visit();
            visitor.say(asked);
            if !with_it {
                let before = backend.seen().len();
                wait_until("the server is asked", || backend.seen().len() >= before.max(1));
            }
            visitor.0.shutdown(Shutdown::Write).unwrap();
            let answer = visitor.all();
            // An interim answer is nothing to who speaks HTTP/1.1.
            let modern = asked.contains("HTTP/1.1");
            let answer = answer.strip_prefix(INTERIM).filter(|_| modern).unwrap_or(&answer);
            assert!(answer.starts_with("HTTP/1.") && answer.ends_with("\r\n\r\nok"), "{answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
        }
    }
    wait_until("nobody is in the proxy", || proxy.shared.crowd.count() == 0);
    // Nobody is told that there could be more.
    let mut visitor = proxy.visit();
    visitor.say(WAYS[0]);
    visitor.0.shutdown(Shutdown::Write).unwrap();
    assert!(visitor.all().contains("\r\nconnection: close\r\n"));
}

#[test]
fn who_shuts_his_side_after_several_requests_gets_all_answers() {
    let backend = slow(Duration::from_millis(20));
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(WAYS[..4].concat());
    visitor.0.shutdown(Shutdown::Write).unwrap();
    let answer = visitor.all().replace(INTERIM, "");
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{answer}");
    assert_eq!(answer.matches("\r\n\r\nok").count(), 4, "{answer}");
    wait_until("nobody is in the proxy", || proxy.shared.crowd.count() == 0);
}

#[test]
fn who_has_closed_is_seen_to_be_gone_before_the_server_answers() {
    // It would answer after a long time only; how long it was asked for.
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap();
        if head.to_lowercase().contains("chunked") {
            visitor.until("0\r\n\r\n");
        } else if head.to_lowercase().contains("content-length: 3") {
            visitor.until("abc");
        }
        let began = Instant::now();
        visitor.all();
        this.heads.lock().unwrap().push(format!("{}", began.elapsed().as_millis()));
    });
    let proxy = Proxy::to(&backend);
    for (i, asked) in WAYS[..4].iter().enumerate() {
        let mut visitor = proxy.visit();
        visitor.say(asked);
        wait_until("the server is asked", || backend.seen().len() > 2 * i);
        drop(visitor);
        let left = Instant::now();
        wait_until("the server is let go", || backend.seen().len() == 2 * i + 2);
        assert!(left.elapsed() < Duration::from_secs(5), "{asked:?} {:?}", left.elapsed());
    }
    wait_until("nobody is in the proxy", || proxy.shared.crowd.count() == 0);
}

#[test]
fn who_cannot_be_asked_is_not_waited_for_for_ever() {
    let backend = Backend::new(|visitor, this| {
        let head = this.head(visitor).unwrap();
        if head.contains("/stream") {
            visitor.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        }
        visitor.all();
        this.heads.lock().unwrap().push("let go".to_owned());
    });
    let proxy = Proxy::to(&backend);
    patient(&proxy, Duration::from_millis(800));
    // HTTP/1.0 knows no interim answers; nor is there any once the answer has begun.
    for (i, (asked, begins)) in [
        (WAYS[4], false),
        ("GET /user/a/stream HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /user/a/stream HTTP/1.1\r\nHost: a\r\nConnection: x\r\n\r\n", true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut visitor = proxy.visit();
        visitor.say(asked);
        if begins {
            visitor.until("hello");
        }
        visitor.0.shutdown(Shutdown::Write).unwrap();
        wait_until("the server is let go", || backend.seen().len() == 2 * i + 2);
        // What was cut does not look whole.
        let rest = visitor.all();
        assert!(!rest.contains("0\r\n\r\n") && !rest.contains("HTTP/1.0 200"), "{rest}");
    }
    wait_until("nobody is in the proxy", || proxy.shared.crowd.count() == 0);
}

#[test]
fn an_answer_that_goes_on_is_not_cut() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(100));
            visitor.say("5\r\nhello\r\n");
        }
        visitor.say("0\r\n\r\n");
    });
    let proxy = Proxy::to(&backend);
    // Pauses may be of half a second, the whole takes twice as long.
    patient(&proxy, Duration::from_secs(2));
    for asked in [WAYS[0], WAYS[3]] {
        let mut visitor = proxy.visit();
        visitor.say(asked);
        visitor.0.shutdown(Shutdown::Write).unwrap();
        let answer = visitor.all();
        assert!(answer.matches("hello").count() == 10 && answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[test]
fn half_a_body_is_no_request() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        let rest = visitor.all();
        this.heads.lock().unwrap().push(rest);
    });
    let proxy = Proxy::to(&backend);
    for (i, asked) in WAYS[1..3].iter().enumerate() {
        let mut visitor = proxy.visit();
        visitor.say(&asked[..asked.len() - 1]);
        wait_until("the server is asked", || backend.seen().len() > 2 * i);
        visitor.0.shutdown(Shutdown::Write).unwrap();
        wait_until("the server is let go", || backend.seen().len() == 2 * i + 2);
        assert!(!visitor.all().contains("200 OK"));
    }
}
