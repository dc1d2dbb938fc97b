//! Trailers, both ways: who gets which, and that all who read them read them alike.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    readers::{Message, Stream, read_back, strict},
    requests::bytes,
};
use crate::proxy::tests::support::{Backend, Proxy};

/// Names and values.
type Pairs = Vec<(String, String)>;
/// What is announced, what comes behind the body, and what of it may pass.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const GOOD: &[Row] = &[
    ("X-Sum", "X-Sum: 1\r\n", &[("x-sum", "1")]),
    ("x-sum , ,B", "X-SUM:1\t\r\nb:\r\n", &[("x-sum", "1"), ("b", "")]),
    ("A", "A: 1\r\nA: 2\r\n", &[("a", "1"), ("a", "2")]),
    (
        "Content-Digest, ETag",
        "Content-Digest: sha-256=:eA==:\r\nETag: \"x\"\r\n",
        &[("content-digest", "sha-256=:eA==:"), ("etag", "\"x\"")],
    ),
    ("X", "X: GET /user/a/smuggled HTTP/1.1\r\n", &[("x", "GET /user/a/smuggled HTTP/1.1")]),
    ("X", "X: 0\r\nContent-Length: 9\r\n", &[("x", "0")]),
    ("X", "X: \u{e9}\u{80}\u{ff}\r\n", &[("x", "\u{e9}\u{80}\u{ff}")]),
    (
        "Content-Length, Transfer-Encoding, Host, Connection, TE, Trailer, Upgrade, Cookie, Set-Cookie, Authorization, X-Forwarded-For, X_Forwarded_For, X-Jovis-Client, X-Request-ID, Content-Type, If-Match",
        "Content-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: b\r\nConnection: close\r\nTE: x\r\nTrailer: x\r\nUpgrade: h2c\r\nCookie: a=b\r\nSet-Cookie: a=b\r\nAuthorization: x\r\nX-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 9.9.9.9\r\nX-Jovis-Client: 9.9.9.9\r\nX-Request-ID: x\r\nContent-Type: x\r\nIf-Match: x\r\n",
        &[],
    ),
    ("", "", &[]),
    ("X", "", &[]),
];

/// What is none.
const BAD: &[&str] = &[
    "X y\r\n",
    "X : y\r\n",
    ": y\r\n",
    " X: y\r\n",
    "X: y\r\n z\r\n",
    "X: y\rz\r\n",
    "X: y\0\r\n",
    "X: y\n",
    "X\u{e9}: y\r\n",
    "GET /user/a/smuggled HTTP/1.1\r\n",
];

/// So many of them, short or as long as that.
fn many(count: usize, size: usize) -> String {
    (0..count).map(|i| format!("X-{i}: {}\r\n", "x".repeat(size))).collect()
}

/// A peer: what it says next, in what pieces, and what it has heard.
#[derive(Default)]
struct Peer {
    answer: Mutex<(Vec<u8>, bool)>,
    heard: Mutex<Vec<Vec<u8>>>,
}

impl Peer {
    fn backend(self: &Arc<Self>) -> Backend {
        let this = self.clone();
        Backend::new(move |visitor, _| {
            let number = {
                let mut heard = this.heard.lock().unwrap();
                heard.push(Vec::new());
                heard.len() - 1
            };
            let (mut rest, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
                this.heard.lock().unwrap()[number].extend_from_slice(&piece[..size]);
                rest.extend_from_slice(&piece[..size]);
                while let Ok(Some((message, used))) = strict(&rest, true, false, false)
                    && message.complete
                {
                    rest.drain(..used);
                    let (answer, drips) = this.answer.lock().unwrap().clone();
                    let size = if drips { 1 } else { answer.len() };
                    for piece in answer.chunks(size) {
                        // A bad one is cut before its end.
                        let _ = visitor.0.write_all(piece);
                        thread::yield_now();
                    }
                }
            }
        })
    }
}

fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Says it and hears to the end.
fn ask(proxy: &Proxy, request: &[u8], method: &str) -> Stream {
    let mut visitor = proxy.visit();
    let _ = visitor.0.write_all(request);
    let (mut bytes, mut piece, mut cut) = (Vec::new(), [0; 4096], false);
    loop {
        match visitor.0.read(&mut piece) {
            Ok(0) => break,
            Ok(size) => bytes.extend_from_slice(&piece[..size]),
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    Stream { request: false, bytes, methods: vec![method.to_owned()], cut }
}

/// A field of that name with these values, if there are any.
fn line(name: &str, values: &str) -> String {
    if values.is_empty() { String::new() } else { format!("{name}: {values}\r\n") }
}

#[test]
fn a_servers_trailers_get_to_who_takes_them() {
    let peer = Arc::<Peer>::default();
    let backend = peer.backend();
    let proxy = Proxy::to(&backend);
    let mut streams = Vec::new();
    let long = many(100, 100);
    let all_long: Vec<_> = (0..100).map(|i| (format!("X-{i}"), "x".repeat(100))).collect();
    let passing: Pairs =
        all_long.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    let names = all_long.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
    let mut cases: Vec<(String, String, Pairs)> = GOOD
        .iter()
        .map(|(names, text, passes)| ((*names).to_owned(), (*text).to_owned(), pairs(passes)))
        .collect();
    cases.push((names, long, passing));
    for (i, (announced, text, passing)) in cases.iter().enumerate() {
        // The short way, and the long one.
        for (method, body) in
            [("GET", "\r\n"), ("POST", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
        {
            for takes in ["", "TE: trailers\r\nConnection: TE, close\r\n", "TE: gzip, trailers\r\n"]
            {
                for announces in [true, false] {
                    let names = line("Trailer", if announces { announced } else { "" });
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{names}\r\n3\r\nabc\r\n0\r\n{text}\r\n"
                    );
                    *peer.answer.lock().unwrap() = (bytes(&answer), i % 2 == 0);
                    let close = if takes.contains("close") { "" } else { "Connection: close\r\n" };
                    let asked =
                        format!("{method} /user/a/x HTTP/1.1\r\nHost: a\r\n{takes}{close}{body}");
                    let stream = ask(&proxy, asked.as_bytes(), method);
                    let context =
                        || format!("{asked:?} {answer:?} => {}", stream.bytes.escape_ascii());
                    let answers =
                        stream.strict().unwrap_or_else(|it| panic!("{it}: {}", context()));
                    let [got] = &answers[..] else { panic!("{}", context()) };
                    let passes = !takes.is_empty() && (announces || method == "GET");
                    let expected = if passes { &passing[..] } else { &[] };
                    assert_eq!(got.trailers, expected, "{}", context());
                    assert!(got.complete && got.body == b"abc", "{}", context());
                    streams.push(stream);
                }
            }
        }
    }
    for text in BAD.iter().map(|it| (*it).to_owned()).chain([many(101, 1), many(17, 1000)]) {
        for method in ["GET", "POST"] {
            for takes in ["", "TE: trailers\r\n"] {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: z\r\n{text}\r\n"
                );
                *peer.answer.lock().unwrap() = (bytes(&answer), true);
                let body = if method == "POST" {
                    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                } else {
                    "\r\n"
                };
                let asked = format!(
                    "{method} /user/a/x HTTP/1.1\r\nHost: a\r\n{takes}Connection: close\r\n{body}"
                );
                let stream = ask(&proxy, asked.as_bytes(), method);
                let answers = stream.strict().unwrap();
                // What is seen to be broken before a byte of it was passed on is an answer that never was.
                assert!(
                    answers.iter().all(|it| !it.complete || it.first == "502"),
                    "{answer:?} => {}",
                    stream.bytes.escape_ascii()
                );
                streams.push(stream);
            }
        }
    }
    assert!(streams.len() > 170, "{}", streams.len());
    read_back(&streams);
}

#[test]
fn a_visitors_trailers_get_to_the_server_if_he_announces_them() {
    let peer = Arc::<Peer>::default();
    let backend = peer.backend();
    let proxy = Proxy::to(&backend);
    *peer.answer.lock().unwrap() =
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), false);
    let mut expected: Vec<Pairs> = Vec::new();
    let chunked = "POST /user/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let last = "GET /user/a/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (announced, text, passes) in GOOD {
        for announces in [true, false] {
            let names = line("Trailer", if announces { announced } else { "" });
            let asked = format!("{chunked}{names}\r\n3\r\nabc\r\n0\r\n{text}\r\n{last}");
            let stream = ask(&proxy, &bytes(&asked), "POST");
            let stream = Stream { methods: vec!["POST".to_owned(), "GET".to_owned()], ..stream };
            let answers = stream.strict().unwrap();
            assert!(answers.len() == 2 && answers.iter().all(|it| it.body == b"ok"), "{asked:?}");
            expected.push(if announces { pairs(passes) } else { Vec::new() });
        }
    }
    let good = expected.len();
    for text in BAD.iter().map(|it| (*it).to_owned()).chain([many(101, 1), many(17, 1000)]) {
        let asked = format!("{chunked}Trailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: z\r\n{text}\r\n{last}");
        let stream = ask(&proxy, &bytes(&asked), "POST");
        // 400, or a reset that has overtaken it.
        let answers = stream.strict().unwrap();
        assert!(
            answers.iter().all(|it| it.first == "400"),
            "{asked:?} => {}",
            stream.bytes.escape_ascii()
        );
    }
    drop(proxy);
    let heard = peer.heard.lock().unwrap().clone();
    let streams: Vec<_> = heard
        .into_iter()
        .map(|bytes| Stream { request: true, bytes, methods: Vec::new(), cut: false })
        .collect();
    let mut posts: Vec<Message> = Vec::new();
    for stream in &streams {
        let messages = stream.strict().unwrap();
        // What may be taken for more than trailers is the last of its connection.
        let with = messages.iter().position(|it| !it.trailers.is_empty());
        assert!(with.is_none_or(|at| at + 1 == messages.len()), "{}", stream.bytes.escape_ascii());
        posts.extend(messages.into_iter().filter(|it| it.first == "POST" && it.complete));
    }
    assert_eq!(posts.len(), good);
    let mut got: Vec<_> = posts.into_iter().map(|it| it.trailers).collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    read_back(&streams);
}
