//! Malformed and ambiguous requests, and good ones among them. Whatever gets to the backend is recorded and read back.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use super::{
    heads::{CHUNKS, CODINGS, FIRST, HOSTS, LENGTHS, LINES, PAIRS},
    readers::{Message, Stream, read_back, strict},
};
use crate::proxy::tests::support::{Backend, Proxy, Visitor};

/// What was meant by what was said.
#[derive(Debug, Clone)]
enum Meant {
    /// One request, and nothing else.
    Served { method: String, target: String, body: Vec<u8> },
    /// Nothing: refused by one of these.
    Refused(&'static [u16]),
    /// It begins well; what comes later never completes it.
    Unfinished,
}

#[derive(Debug, Clone)]
struct Case {
    name: String,
    bytes: Vec<u8>,
    meant: Meant,
}

const ANY: &[u16] = &[400, 404, 405, 414, 431, 501, 505];

/// Characters below 256 stand for their bytes, the others are UTF-8.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for it in text.chars() {
        match u8::try_from(u32::from(it)) {
            Ok(byte) => all.push(byte),
            Err(_) => all.extend_from_slice(it.to_string().as_bytes()),
        }
    }
    all
}

fn refused(name: String, text: &str) -> Case {
    Case { name, bytes: bytes(text), meant: Meant::Refused(ANY) }
}

/// Everything that is refused.
fn bad() -> Vec<Case> {
    let mut all = Vec::new();
    let target = "/user/a/bad";
    for method in ["GET", "POST", "HEAD"] {
        for value in LENGTHS {
            for name in ["Content-Length", "content-length"] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n");
                all.push(refused(format!("length {value:?}"), &format!("{head}\r\nabc")));
                all.push(refused(format!("length {value:?}"), &format!("{head}X: y\r\n\r\nabc")));
            }
        }
        for value in CODINGS {
            let head = format!("{method} {target} HTTP/1.1\r\n");
            let field = format!("Transfer-Encoding: {value}\r\n");
            let body = "\r\n3\r\nabc\r\n0\r\n\r\n";
            all.push(refused(
                format!("coding {value:?}"),
                &format!("{head}Host: a\r\n{field}{body}"),
            ));
            all.push(refused(
                format!("coding {value:?}"),
                &format!("{head}{field}Host: a\r\n{body}"),
            ));
        }
        for line in LINES.iter().chain(PAIRS) {
            let head = format!("{method} {target} HTTP/1.1\r\n");
            for (before, behind) in
                [("", "Host: a\r\n"), ("Host: a\r\n", ""), ("Host: a\r\nA: b\r\n", "C: d\r\n")]
            {
                let text = format!("{head}{before}{line}{behind}\r\nabc");
                all.push(refused(format!("line {line:?}"), &text));
            }
        }
        for chunks in CHUNKS {
            let head = format!(
                "{method} {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            for before in ["", "2\r\nxy\r\n"] {
                let text = format!("{head}{before}{chunks}");
                all.push(refused(format!("chunks {chunks:?}"), &text));
                // The same, where a good beginning is on its way before the rest is seen.
                let meant = Meant::Unfinished;
                all.push(Case {
                    name: format!("late chunks {chunks:?}"),
                    bytes: bytes(&text),
                    meant,
                });
            }
        }
        for host in HOSTS {
            for fields in [format!("{host}A: b\r\n"), format!("A: b\r\n{host}")] {
                let text = format!("{method} {target} HTTP/1.1\r\n{fields}\r\n");
                all.push(refused(format!("host {host:?}"), &text));
            }
        }
        let old = format!(
            "{method} {target} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        );
        all.push(refused("coding in HTTP/1.0".to_owned(), &old));
    }
    for first in FIRST {
        let first = first.replace('§', target);
        for end in ["\r\nHost: a\r\n\r\n", "\r\nHost: a\r\nX: y\r\n\r\n", "\r\n\r\n"] {
            all.push(refused(format!("first line {first:?}"), &format!("{first}{end}")));
        }
    }
    for text in [
        format!("GET {target} HTTP/1.1\nHost: a\n\n"),
        format!("GET {target} HTTP/1.1\r\nHost: a\n\n"),
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\n"),
        format!("GET {target} HTTP/1.1\rHost: a\r\r"),
        format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\0GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\r\n\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        all.push(refused("line ends".to_owned(), &text));
    }
    let long = |size| "x".repeat(size);
    let fields = |count| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    for (text, status) in [
        (format!("GET {target}/{} HTTP/1.1\r\nHost: a\r\n\r\n", long(17_000)), &[414][..]),
        (format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(17_000)), &[431]),
        (format!("GET {target} HTTP/1.1\r\nHost: a\r\n{}: x\r\n\r\n", long(17_000)), &[431]),
        (format!("GET {target} HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(201)), &[431]),
        (format!("GET {target} HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(5000)), &[431]),
    ] {
        all.push(Case {
            name: "long".to_owned(),
            bytes: bytes(&text),
            meant: Meant::Refused(status),
        });
    }
    all
}

/// What must pass, and as what.
fn good() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |text: String, method: &str, target: &str, body: &str| {
        let (method, target) = (method.to_owned(), target.to_owned());
        let meant = Meant::Served { method, target, body: bytes(body) };
        all.push(Case { name: "good".to_owned(), bytes: bytes(&text), meant });
    };
    const METHODS: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "M-SEARCH", "MKCOL"];
    const TARGETS: [&str; 6] = [
        "/user/a/x",
        "/user/a/?a=b?c",
        "/user/%61/%2Fx//y%20z",
        "/user/a/x%5cb",
        "/user/a/{|}~!$&'()*+,;=:@",
        "/user/a/..x/.x/x.?/../..",
    ];
    const FIELDS: [&str; 7] = [
        "",
        "X: \t y \t\r\n",
        "X:\r\nEmpty: \r\n",
        "X: \u{e9}\u{80}\u{ff}\r\n",
        "Connection: Content-Length, Transfer-Encoding, Host, X-Forwarded-For\r\n",
        "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: X\r\n",
        "Forwarded: for=x\r\nX-Forwarded-For: \u{ff}, y\r\nX-Real-IP: x\r\n",
    ];
    for (m, method) in METHODS.into_iter().enumerate() {
        for (f, fields) in FIELDS.into_iter().enumerate() {
            let target = TARGETS[(m + f) % TARGETS.len()];
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}");
            add(format!("{head}\r\n"), method, target, "");
            add(format!("{head}Content-Length: 0\r\n\r\n"), method, target, "");
            add(format!("{head}Content-Length:\t003 \r\n\r\na\nb"), method, target, "a\nb");
            let chunked = format!("{head}TRANSFER-ENCODING:CHUNKED\r\n\r\n");
            add(format!("{chunked}0\r\n\r\n"), method, target, "");
            add(
                format!("{chunked}003;a=\"b\"\r\nGET\r\n00\r\nContent-Length: 9\r\nX: y\r\n\r\n"),
                method,
                target,
                "GET",
            );
        }
    }
    let x = "/user/a/x";
    add(format!("GET http://A{x} HTTP/1.1\r\nHost: a\r\n\r\n"), "GET", x, "");
    add(
        format!("POST https://a:81{x} HTTP/1.1\r\nHost: a:81\r\nContent-Length: 1\r\n\r\n\n"),
        "POST",
        x,
        "\n",
    );
    add(
        format!(
            "POST {x} HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n\n"
        ),
        "POST",
        x,
        "\n",
    );
    let fields = (0..190).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    add(format!("GET {x} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), "GET", x, "");
    add(
        format!("GET {x} HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "c".repeat(12_000)),
        "GET",
        x,
        "",
    );
    let big = "\u{0}\r\n".repeat(70_000);
    add(
        format!("POST {x} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{big}", big.len()),
        "POST",
        x,
        &big,
    );
    all
}

/// What the backend has got: per connection, and one after the other.
#[derive(Default)]
struct Record {
    streams: Mutex<BTreeMap<u32, Vec<u8>>>,
    messages: Mutex<Vec<Message>>,
    faults: Mutex<Vec<String>>,
    /// Refused requests that came in one piece: without a word, and with an answer.
    refusals: [AtomicUsize; 2],
}

impl Record {
    /// A backend that answers each whole message with what it has understood.
    fn backend(self: &Arc<Self>) -> Backend {
        let record = self.clone();
        Backend::new(move |visitor, _| {
            let number = {
                let mut streams = record.streams.lock().unwrap();
                let number = u32::try_from(streams.len()).unwrap();
                streams.insert(number, Vec::new());
                number
            };
            let (mut rest, mut piece) = (Vec::new(), vec![0; 1 << 16]);
            while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
                let piece = &piece[..size];
                record.streams.lock().unwrap().get_mut(&number).unwrap().extend_from_slice(piece);
                rest.extend_from_slice(piece);
                loop {
                    match strict(&rest, true, false, false) {
                        Err(fault) => return record.faults.lock().unwrap().push(fault),
                        Ok(Some((message, used))) if message.complete => {
                            rest.drain(..used);
                            let head_only = message.first == "HEAD";
                            let echo = format!("{} {}", message.first, message.second);
                            record.messages.lock().unwrap().push(message);
                            let length = echo.len();
                            let body = if head_only { "" } else { &echo };
                            visitor.say(format!(
                                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
                            ));
                        }
                        Ok(_) => break,
                    }
                }
            }
        })
    }
}

/// How a case is said: after something, in pieces, and with something behind it.
#[derive(Debug, Clone, Copy)]
struct Manner {
    before: &'static str,
    behind: &'static str,
    /// 0: in one piece; otherwise cut at this many thousandths, or byte by byte.
    cut: usize,
}

const BEFORE: [(&str, &[&str]); 3] = [
    ("", &[]),
    ("GET /user/a/before HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /user/a/before"]),
    (
        "POST /user/a/before HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
        &["POST /user/a/before"],
    ),
];
const SMUGGLED: &str = "GET /user/a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /user/a/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn say(visitor: &mut Visitor, text: &[u8], manner: Manner) {
    let size = match manner.cut {
        0 => text.len(),
        1 if text.len() < 400 => 1,
        cut => (text.len() * cut / 1000).max(1),
    };
    for piece in text.chunks(size) {
        // Whoever refuses closes before the end.
        if visitor.0.write_all(piece).is_err() {
            break;
        }
        if manner.cut != 0 {
            std::thread::yield_now();
        }
    }
}

macro_rules! ensure {
    ($so:expr, $($why:tt)+) => {
        if !$so {
            return Err(format!($($why)+));
        }
    };
}

/// Says one case; checks what was answered and what has got to the backend.
fn play(
    proxy: &Proxy,
    record: &Record,
    case: &Case,
    manner: Manner,
    served: &[&str],
) -> Result<(), String> {
    let context = || format!("{}, {manner:?}: {}", case.name, case.bytes.escape_ascii());
    let before = record.messages.lock().unwrap().len();
    let mut visitor = proxy.visit();
    let mut text = manner.before.as_bytes().to_vec();
    text.extend_from_slice(&case.bytes);
    if matches!(case.meant, Meant::Unfinished) {
        // The head and the first bytes behind it are on their way before the rest is.
        let head = text.len() - case.bytes.len()
            + case.bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap()
            + 4;
        say(&mut visitor, &text[..head], manner);
        let streams = || record.streams.lock().unwrap().values().map(Vec::len).sum::<usize>();
        let so_far = streams();
        if manner.cut == 0 {
            // Not forever: a backend that has got the head already has no more to get.
            let deadline = std::time::Instant::now() + std::time::Duration::from_millis(20);
            while streams() == so_far && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
        text.drain(..head);
    }
    text.extend_from_slice(manner.behind.as_bytes());
    say(&mut visitor, &text, manner);
    let mut raw = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
        raw.extend_from_slice(&piece[..size]);
    }
    let mut methods: Vec<String> =
        served.iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    methods.push(
        String::from_utf8_lossy(case.bytes.split(|it| *it == b' ').next().unwrap()).into_owned(),
    );
    methods.push("GET".to_owned());
    let stream = Stream { request: false, bytes: strip_continue(raw), methods, cut: false };
    let answers = stream.strict().map_err(|fault| format!("{fault}: {}", context()))?;
    let mut statuses: Vec<u16> = answers.iter().map(|it| it.first.parse().unwrap()).collect();
    let mut expected: Vec<String> = served.iter().map(|it| (*it).to_owned()).collect();
    let mut got: Vec<_> = record.messages.lock().unwrap()[before..].to_vec();
    match &case.meant {
        Meant::Served { method, target, body } => {
            expected.push(format!("{method} {target}"));
            expected.push("GET /user/a/last".to_owned());
            ensure!(statuses.iter().all(|it| *it == 200), "{statuses:?}: {}", context());
            for (answer, expected) in answers.iter().zip(&expected) {
                ensure!(answer.body == expected.as_bytes(), "{}", context());
            }
            ensure!(answers.len() == expected.len(), "{}", context());
            let arrived = got.get(served.len()).is_some_and(|it| it.body == *body);
            ensure!(arrived, "{}", context());
        }
        Meant::Refused(with) => {
            // A visitor who is still talking when he is refused may lose the answers to a reset.
            let last = (statuses.len() > served.len()).then(|| statuses.pop().unwrap());
            ensure!(last.is_none_or(|last| with.contains(&last)), "{last:?}: {}", context());
            if manner.cut == 0 {
                record.refusals[usize::from(last.is_some())].fetch_add(1, SeqCst);
            }
            ensure!(statuses.iter().all(|it| *it == 200), "{statuses:?}: {}", context());
        }
        Meant::Unfinished => {
            let well = |status: &u16| *status == 200 || *status == 400 || *status == 503;
            ensure!(statuses.iter().all(well), "{statuses:?}: {}", context());
        }
    }
    let told: Vec<_> = got.iter().map(|it| format!("{} {}", it.first, it.second)).collect();
    if matches!(case.meant, Meant::Served { .. }) {
        ensure!(told == expected, "{}", context());
    } else {
        // Nothing but what stood before; and not even that has to be, if the connection broke first.
        ensure!(expected.starts_with(&told), "{told:?} for {}", context());
    }
    for message in got.drain(..) {
        ensure!(message.all("host").len() == 1, "{message:?}");
        ensure!(message.all("x-forwarded-for").len() == 1, "{message:?}");
        for name in ["keep-alive", "upgrade", "proxy-connection"] {
            ensure!(message.all(name).is_empty(), "{name} in {message:?}");
        }
        // What we say of the connection is about trailers, and nothing else.
        for (name, ours) in
            [("connection", &["te", "close"][..]), ("te", &["trailers"]), ("trailer", &["x"])]
        {
            ensure!(message.all(name).iter().all(|it| ours.contains(it)), "{name} in {message:?}");
        }
        let announced = message.all("trailer").len();
        ensure!(message.trailers.len() <= announced, "{message:?}");
    }
    let faults = record.faults.lock().unwrap();
    ensure!(faults.is_empty(), "{faults:?}: {}", context());
    Ok(())
}

/// Without the interim answers that `Expect` brings.
fn strip_continue(raw: Vec<u8>) -> Vec<u8> {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    match raw.windows(interim.len()).position(|it| it == interim) {
        Some(at) => [&raw[..at], &raw[at + interim.len()..]].concat(),
        None => raw,
    }
}

#[test]
fn what_reaches_a_backend_is_read_the_same_by_all() {
    let record = Arc::<Record>::default();
    let backend = record.backend();
    let proxy = Proxy::to(&backend);
    let (bad, good) = (bad(), good());
    assert!(bad.len() > 1500 && good.len() > 300, "{} and {}", bad.len(), good.len());
    let mut wrong = Vec::new();
    // Each case in some of the manners; all manners with some case of each kind.
    for (i, case) in bad.iter().chain(&good).enumerate() {
        for turn in 0..1 + usize::from(i % 16 == 0) {
            let (before, served) = BEFORE[(i + turn) % BEFORE.len()];
            let behind = match case.meant {
                Meant::Served { .. } => LAST,
                _ => SMUGGLED,
            };
            let cut = [0, 1, 370, 501, 940, 0, 700][(i / BEFORE.len() + turn * 3) % 7];
            let manner = Manner { before, behind, cut };
            wrong.extend(play(&proxy, &record, case, manner, served).err());
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Most are told why: only what is unread when the connection is closed makes a reset of the end.
    let [silent, told] = record.refusals.each_ref().map(|it| it.load(SeqCst));
    assert!(told > 50 * silent, "{told} told, {silent} not");
    drop(proxy);
    let whole = record.messages.lock().unwrap().len();
    let streams: Vec<_> = record.streams.lock().unwrap().values().cloned().collect();
    let streams: Vec<_> = streams
        .into_iter()
        .map(|bytes| Stream { request: true, bytes, methods: Vec::new(), cut: false })
        .collect();
    let counted =
        |stream: &Stream| stream.strict().unwrap().iter().filter(|it| it.complete).count();
    assert_eq!(streams.iter().map(counted).sum::<usize>(), whole);
    read_back(&streams);
}
