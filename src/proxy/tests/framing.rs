//! What isn't one unambiguous request gets no further than the proxy.

use std::{thread, time::Duration};

use super::support::{Backend, Proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn ambiguous_requests_are_refused_and_their_connection_closed() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let post = "POST /user/a/x HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n");
    let smuggled = "GET /user/a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let corpus = [
        format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{chunked}Content-Length: 3\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        format!("{post}Content-Length: 3, 3\r\n\r\nabc"),
        format!("{post}Content-Length: +3\r\n\r\nabc"),
        format!("{post}Content-Length: 0x3\r\n\r\nabc"),
        format!("{post}Content-Length: 1_0\r\n\r\nabcdefghij"),
        format!("{post}Content-Length : 3\r\n\r\nabc"),
        format!("{post}X: a\r\n folded\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{post}X: a\nContent-Length: 3\r\n\r\nabc"),
        "GET /user/a/x HTTP/1.1\nHost: a\n\n".to_owned(),
        format!("{post}X: a\rb\r\n\r\n"),
        format!("{post}X: a\0b\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{chunked}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "POST /user/a/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        format!("{chunked}\r\n0x3\r\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n+3\r\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n-1\r\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n10000000000000003\r\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n3\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n3;x\nabc\r\n0\r\n\r\n"),
        format!("{chunked}\r\n3\r\nabcXX0\r\n\r\n"),
        "GET /user/a/x HTTP/1.1\r\n\r\n".to_owned(),
        "GET /user/a/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
        "GET /user/a/x HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET /user/a/x HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(),
        "GET http://b/user/a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /user/a/../b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /user/a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /user/a/%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
        "TRACE /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    for request in corpus {
        let answer = proxy.ask(&format!("{request}{smuggled}"));
        let shown = request.escape_debug();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            usize::from(!answer.is_empty()),
            "{shown}: {answer}"
        );
        assert_eq!(backend.seen(), Vec::<String>::new(), "{shown}");
    }
    let good = format!("{chunked}Connection: close\r\n\r\n0\r\n\r\n");
    assert!(proxy.ask(&good).ends_with("\r\n\r\nok"));
}

#[test]
fn a_chunk_that_goes_wrong_later_never_completes_the_message() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        let body = visitor.all();
        this.heads.lock().unwrap().push(format!("body {body}"));
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(
        "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    super::support::wait_until("the head is there", || backend.seen().len() == 1);
    visitor.say("zz\r\nabc\r\n0\r\n\r\n");
    visitor.all();
    super::support::wait_until("the backend is let go", || backend.seen().len() == 2);
    assert_eq!(backend.seen()[1].trim_end(), "body 3\r\nabc");
}

#[test]
fn heads_have_limits() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let close = "Connection: close\r\n\r\n";
    let jar =
        format!("GET /user/a/x HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n{close}", "c".repeat(12_000));
    assert!(proxy.ask(&jar).starts_with("HTTP/1.1 200"));
    let fields = |count: usize| {
        let fields: String = (0..count).map(|i| format!("X-{i}: 1\r\n")).collect();
        format!("GET /user/a/x HTTP/1.1\r\nHost: a\r\n{fields}{close}")
    };
    assert!(proxy.ask(&fields(190)).starts_with("HTTP/1.1 200"));
    assert!(proxy.ask(&fields(210)).starts_with("HTTP/1.1 431"));
    let mut visitor = proxy.visit();
    let long = format!("GET /user/a/x HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(70_000));
    visitor.say(long);
    assert!(visitor.all().starts_with("HTTP/1.1 431"));
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn a_slow_head_is_cut_and_a_kept_connection_is_not() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let (mut silent, mut slow, mut kept) = (proxy.visit(), proxy.visit(), proxy.visit());
    slow.say("GET /user/a/x HTTP/1.1\r\n");
    kept.say("GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n");
    kept.until("ok");
    assert_eq!((silent.all(), slow.all()), (String::new(), String::new()));
    thread::sleep(Duration::from_millis(400)); // longer than a head may take
    kept.say("GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n");
    kept.until("ok");
    kept.say("GET /user/a/x HT");
    assert_eq!(kept.all(), "");
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn nothing_is_served_behind_an_upgrade_that_was_not_granted() {
    // The guard reads no further than such a head; what follows must not be read by hyper either.
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    let smuggled = "GET /user/a/smuggled HTTP/1.1\nHost: a\n\n";
    for target in ["/_chp_healthz", "*", "/user/a/%00", "/user/a/.."] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n");
        let answer = proxy.ask(&format!("{head}{smuggled}")).to_lowercase();
        assert_eq!(answer.matches("http/1.1 ").count(), 1, "{target}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{target}: {answer}");
        assert_eq!(backend.seen(), Vec::<String>::new(), "{target}");
    }
}

#[test]
fn half_a_head_behind_a_request_does_not_cut_its_answer() {
    // The first answer takes longer than a head may take.
    let backend = Backend::new(|visitor, this| {
        while this.head(visitor).is_some() {
            thread::sleep(Duration::from_millis(900));
            visitor.say(OK);
        }
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    let get = "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let (begin, rest) = get.split_at(20);
    visitor.say(format!("{get}{begin}"));
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
    visitor.say(format!("{rest}{begin}"));
    assert!(visitor.until("ok").starts_with("HTTP/1.1 200"));
    // From here on the half head has the time of any other.
    assert_eq!(visitor.all(), "");
}
