//! Hostile and broken backends: what a visitor gets is one clean answer or a visibly cut one, and nothing irregular
//! touches the next answer.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use jovis_actors::domain::RouteSpec;
use socket2::SockRef;

use super::{
    heads::{CHUNKS, CODINGS, LENGTHS, LINES, PAIRS},
    readers::{Stream, read_back},
};
use crate::proxy::tests::support::{Backend, Proxy, wait_until};

/// What a backend does behind its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It waits for the next request.
    Stays,
    /// It closes.
    Closes,
    /// It resets the connection.
    Resets,
    /// Once the answer has got to the visitor it says something that nobody has asked for.
    Babbles,
}

/// What the visitor should get.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gets {
    /// This, whole. Is the connection good for another request?
    Whole(u16, Vec<u8>, bool),
    /// Our own word, 502 or 503.
    Ours,
    /// Only 502.
    BadGateway,
    /// Something that is visibly not whole.
    Cut,
}

#[derive(Debug, Clone)]
struct Case {
    method: &'static str,
    answer: Vec<u8>,
    then: Then,
    /// Byte by byte?
    drips: bool,
    gets: Gets,
}

fn bytes(text: &str) -> Vec<u8> {
    super::requests::bytes(text)
}

/// Whole answers, which break nothing: the method asked, the answer, its status and body, and is the connection kept?
const WHOLE: &[(&str, &str, u16, &str, bool)] = &[
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Accel-Redirect: /etc/passwd\r\nX-Sendfile: /etc/passwd\r\nX-Reproxy-URL: http://a/\r\n\r\na\r\n\n",
        200,
        "a\r\n\n",
        true,
    ),
    (
        "POST",
        "HTTP/1.1 404 No\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n01\r\nd\r\n000\r\nContent-Length: 9\r\nX: y\r\n\r\n",
        404,
        "abcd",
        true,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
        false,
    ),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false),
    ("GET", "HTTP/1.1 204 No\r\n\r\n", 204, "", true),
    ("GET", "HTTP/1.1 304 Same\r\nContent-Length: 4\r\nETag: x\r\n\r\n", 304, "", true),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", 200, "", true),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", true),
    (
        "GET",
        "HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
        true,
    ),
    ("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", true),
    ("GET", "HTTP/1.1 500 \u{e9}\u{ff}\r\nContent-Length: 0\r\nX: \u{80}\r\n\r\n", 500, "", true),
];

fn whole() -> Vec<Case> {
    let mut all = Vec::new();
    for (method, answer, status, body, kept) in WHOLE {
        let answer = bytes(answer);
        for drips in [false, true] {
            let gets = Gets::Whole(*status, bytes(body), *kept);
            all.push(Case { method, answer: answer.clone(), then: Then::Stays, drips, gets });
        }
        if *kept {
            // Whatever comes behind it belongs to nobody, whenever it comes.
            for extra in [
                "EVIL",
                "\r\n",
                "\0",
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
                "0\r\n\r\n",
            ] {
                let gets = Gets::Whole(*status, bytes(body), false);
                // In one piece: what comes after the next request has gone out is an answer to it.
                let answer = [&answer[..], extra.as_bytes()].concat();
                all.push(Case { method, answer, then: Then::Stays, drips: false, gets });
            }
            let gets = Gets::Whole(*status, bytes(body), false);
            for then in [Then::Closes, Then::Babbles] {
                let (gets, answer) = (gets.clone(), answer.clone());
                all.push(Case { method, answer, then, drips: false, gets });
            }
        }
    }
    let interim = |count| "HTTP/1.1 103 Early\r\n\r\n".repeat(count);
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let fields = |count| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    for answer in [
        format!("{}{ok}", interim(16)),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(30_000)),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", fields(190)),
    ] {
        let gets = Gets::Whole(200, b"ok".to_vec(), true);
        all.push(Case {
            method: "GET",
            answer: bytes(&answer),
            then: Then::Stays,
            drips: false,
            gets,
        });
    }
    let gets = Gets::Whole(200, b"to the end".to_vec(), false);
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\n\r\nto the end").into_bytes();
        all.push(Case {
            method: "GET",
            answer,
            then: Then::Closes,
            drips: false,
            gets: gets.clone(),
        });
    }
    all
}

/// First lines that are none.
const FIRST: &[&str] = &[
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 099 OK",
    "HTTP/1.1 000 OK",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 999 OK",
    "HTTP/1.1 -200 OK",
    "HTTP/1.1 +20 OK",
    "HTTP/1.1 2x0 OK",
    "HTTP/1.1 \u{662}00 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200\tOK",
    "HTTP/1.1200 OK",
    "HTTP/1.1 200OK",
    "HTTP/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1 OK",
    "HTTP/2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/0.9 200 OK",
    "HTTP/11 200 OK",
    "http/1.1 200 OK",
    " HTTP/1.1 200 OK",
    "\r\nHTTP/1.1 200 OK",
    "\nHTTP/1.1 200 OK",
    "\0HTTP/1.1 200 OK",
    "HTTP/1.1 200 O\0K",
    "HTTP/1.1 200 O\rK",
    "HTTP/1.1 200 O\x1bK",
    "HTTP/1.1 200 OK\r",
    "HTTP/1.1 200 OK\n",
    "ICY 200 OK",
    "RTSP/1.0 200 OK",
    "SSH-2.0-x",
    "GET / HTTP/1.1",
    "",
    "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
    "<html>hello</html>",
    "{\"a\": 1}",
    "HTTP/1.1 101 Go",
    "HTTP/1.1 199 Early\r\nContent-Length: 0",
    "HTTP/1.0 100 Go",
];

fn broken() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |answer: &str, then, gets| {
        for (method, drips) in [("GET", false), ("POST", false), ("GET", true)] {
            let (answer, gets) = (bytes(answer), Gets::clone(&gets));
            all.push(Case { method, answer, then, drips, gets });
        }
    };
    for first in FIRST {
        let text = format!(
            "{first}\r\nContent-Type: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
        );
        add(&text, Then::Stays, Gets::BadGateway);
    }
    for line in LINES.iter().chain(PAIRS) {
        for (before, behind) in [("", "A: b\r\n"), ("A: b\r\n", "")] {
            let text = format!("HTTP/1.1 200 OK\r\n{before}{line}{behind}\r\nabc\r\n0\r\n\r\n");
            add(&text, Then::Stays, Gets::BadGateway);
        }
    }
    for value in LENGTHS {
        add(
            &format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nabc"),
            Then::Stays,
            Gets::BadGateway,
        );
    }
    for value in CODINGS {
        let text =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        add(&text, Then::Stays, Gets::BadGateway);
    }
    add(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Then::Stays,
        Gets::BadGateway,
    );
    for chunks in CHUNKS {
        for before in ["", "3\r\nxyz\r\n"] {
            let text =
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{before}{chunks}");
            add(&text, Then::Stays, Gets::Cut);
        }
    }
    let interim = |count| "HTTP/1.1 103 Early\r\n\r\n".repeat(count);
    let fields = |count| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for text in [
        format!("{}{ok}", interim(17)),
        format!("{}{ok}", interim(5000)),
        format!("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n{ok}"),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", fields(201)),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", fields(5000)),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(70_000)),
        format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(300_000)),
        format!("HTTP/1.1 200 {}", "x".repeat(300_000)),
    ] {
        add(&text, Then::Stays, Gets::BadGateway);
    }
    all
}

/// Good answers that end early, at every byte.
fn early() -> Vec<Case> {
    let mut all = Vec::new();
    for (method, answer, status, body, _) in WHOLE {
        let answer = bytes(answer);
        let heads = answer.windows(4).enumerate().filter(|(_, it)| *it == b"\r\n\r\n");
        // Behind the last head: the one before the body.
        let interim = answer.starts_with(b"HTTP/1.1 10");
        let head = heads.map(|(at, _)| at + 4).nth(if interim { 2 } else { 0 }).unwrap();
        for end in 0..answer.len() {
            for then in [Then::Closes, Then::Resets] {
                let gets = if end < head { Gets::Ours } else { Gets::Cut };
                all.push(Case { method, answer: answer[..end].to_vec(), then, drips: false, gets });
            }
        }
        let gets = Gets::Whole(*status, bytes(body), false);
        all.push(Case { method, answer, then: Then::Closes, drips: false, gets });
    }
    // Without a length a reset is the only sign that something is missing.
    let answer = b"HTTP/1.1 200 OK\r\n\r\nto the en".to_vec();
    all.push(Case { method: "GET", answer, then: Then::Resets, drips: false, gets: Gets::Cut });
    all
}

/// The first request of each case gets the case's answer, all others tell which connection they came by.
#[derive(Default)]
struct Hostile {
    case: Mutex<Option<Case>>,
    connections: AtomicU32,
    babble: Mutex<Option<std::net::TcpStream>>,
}

impl Hostile {
    fn backend(self: &Arc<Self>) -> Backend {
        let this = self.clone();
        Backend::new(move |visitor, backend| {
            let number = this.connections.fetch_add(1, SeqCst) + 1;
            while let Some(head) = backend.head(visitor) {
                if head.to_lowercase().contains("content-length: 3") {
                    let _ = visitor.0.read_exact(&mut [0; 3]);
                }
                let case = this.case.lock().unwrap().take();
                let Some(case) = case else {
                    let target = head.split(' ').nth(1).unwrap();
                    let body = format!("c{number} {target}");
                    let length = body.len();
                    let body = if head.starts_with("HEAD") { "" } else { &body };
                    visitor
                        .say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
                    continue;
                };
                let size = if case.drips { 1 } else { case.answer.len().max(1) };
                for piece in case.answer.chunks(size) {
                    if visitor.0.write_all(piece).is_err() {
                        break;
                    }
                    if case.drips {
                        std::thread::yield_now();
                    }
                }
                match case.then {
                    Then::Stays => {}
                    Then::Closes => return,
                    Then::Resets => {
                        // What was said gets there first.
                        std::thread::sleep(Duration::from_millis(2));
                        SockRef::from(&visitor.0).set_linger(Some(Duration::ZERO)).unwrap();
                        return;
                    }
                    Then::Babbles => {
                        *this.babble.lock().unwrap() = Some(visitor.0.try_clone().unwrap());
                    }
                }
            }
        })
    }
}

/// What one case has brought.
fn play(
    proxy: &Proxy,
    hostile: &Hostile,
    backend: &Backend,
    case: &Case,
) -> Result<Stream, String> {
    let shown = || {
        let tail = case.answer.len().min(300);
        format!(
            "{} {:?}, drips {}, should be {:?}: {}",
            case.method,
            case.then,
            case.drips,
            case.gets,
            case.answer[..tail].escape_ascii()
        )
    };
    proxy.shared.routes.remove(&[RouteSpec::new("/user/a")]);
    proxy.route("/user/a", backend.address);
    *hostile.case.lock().unwrap() = Some(case.clone());
    hostile.connections.store(0, SeqCst);
    let mut visitor = proxy.visit();
    let head_only = case.method == "HEAD";
    let body = if case.method == "POST" { "Content-Length: 3\r\n\r\nabc" } else { "\r\n" };
    let first = format!("{} /user/a/first HTTP/1.1\r\nHost: a\r\n{body}", case.method);
    let other = if head_only { "HEAD" } else { "GET" };
    let second = format!("{other} /user/a/second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut stream = Stream {
        request: false,
        bytes: Vec::new(),
        methods: vec![case.method.to_owned(), other.to_owned()],
        cut: false,
    };
    visitor.say(&first);
    if case.then == Then::Babbles {
        let mut piece = [0; 4096];
        while stream
            .strict()
            .map_err(|it| format!("{it}: {}", shown()))?
            .first()
            .is_none_or(|it| !it.complete)
        {
            let size = visitor.0.read(&mut piece).map_err(|it| format!("{it}: {}", shown()))?;
            stream.bytes.extend_from_slice(&piece[..size]);
        }
        let evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
        let said = || hostile.babble.lock().unwrap().take();
        let mut backend = said();
        wait_until("the backend is done", || {
            backend = backend.take().or_else(said);
            backend.is_some()
        });
        backend.unwrap().write_all(evil).unwrap();
        // Time to come in; should it come later, it would be nobody's fault and nobody could tell.
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = visitor.0.write_all(second.as_bytes()); // it may be closed already
    let mut piece = [0; 4096];
    loop {
        match visitor.0.read(&mut piece) {
            Ok(0) => break,
            Ok(size) => stream.bytes.extend_from_slice(&piece[..size]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                stream.cut = true;
                break;
            }
            Err(error) => return Err(format!("{error}: {}", shown())),
        }
    }
    let answers = stream.strict().map_err(|it| format!("{it}: {}", shown()))?;
    let got = || format!("{} => {}", shown(), stream.bytes.escape_ascii());
    let wrong = |what: &str| Err(format!("{what}: {}", got()));
    // What is seen to be broken before a byte of it was passed on is an answer that never was.
    let refused = answers.first().is_some_and(|first| first.first == "502");
    if case.gets == Gets::Cut && !refused {
        let incomplete = answers.first().map_or(stream.cut, |it| !it.complete);
        return if incomplete && answers.len() < 2 { Ok(stream) } else { wrong("not cut") };
    }
    let [first, second] = &answers[..] else { return wrong("not two answers") };
    let kept = match &case.gets {
        Gets::Whole(status, body, kept) => {
            if first.first != status.to_string() || first.body != *body {
                return wrong("another answer");
            }
            *kept
        }
        Gets::Ours if !["502", "503"].contains(&first.first.as_str()) => return wrong("not ours"),
        Gets::BadGateway if first.first != "502" => return wrong("not 502"),
        _ => false,
    };
    let expected = format!("c{} /user/a/second", if kept { 1 } else { 2 });
    let fine = second.complete && second.first == "200";
    if !fine || second.body != expected.as_bytes() && !head_only {
        return wrong("the second answer");
    }
    if hostile.connections.load(SeqCst) != if kept { 1 } else { 2 } {
        return wrong("connections");
    }
    if stream.bytes.windows(4).any(|it| it == b"EVIL") {
        return wrong("evil");
    }
    Ok(stream)
}

#[test]
fn a_visitor_gets_one_clean_answer_or_one_visibly_cut() {
    let hostile = Arc::<Hostile>::default();
    let backend = hostile.backend();
    let proxy = Proxy::to(&backend);
    let cases: Vec<_> = [whole(), broken(), early()].concat();
    assert!(cases.len() > 1000, "{}", cases.len());
    let (mut streams, mut wrong) = (Vec::new(), Vec::new());
    for case in &cases {
        match play(&proxy, &hostile, &backend, case) {
            Ok(stream) => streams.push(stream),
            Err(why) => wrong.push(why),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    read_back(&streams);
}
