//! The known floods by HTTP/2: each ends its own connection, soon, and is nobody else's trouble.

use super::{
    secure::{Raw, block_on, browse, fields, frame, proxy_to},
    support::{Backend, Proxy},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Frames that a flood may take until its connection has ended, at most. What is in the sockets' buffers by then counts
/// too; without an end it would be all of them.
const MOST: usize = 400_000;

fn head(method: &str) -> Vec<u8> {
    fields(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/user/a/x"),
    ])
}

/// The stream of the nth request.
fn stream(n: usize) -> u32 {
    u32::try_from(2 * n + 1).unwrap()
}

/// Are others served?
fn is_served(proxy: &Proxy) {
    block_on(async {
        let (mut send, _end) = browse(proxy.address, &h2::client::Builder::new()).await;
        let request = http::Request::get("https://a/user/a/x").body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
}

/// What one does, for the nth time.
type Wave = fn(usize) -> Vec<u8>;

const FLOODS: [(&str, Wave); 16] = [
    ("rapid reset, CVE-2023-44487", |n| {
        let open = frame(Raw::HEADERS, Raw::END_STREAM | Raw::END_HEADERS, stream(n), &head("GET"));
        [open, frame(Raw::RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat()
    }),
    ("rapid reset of bodies", |n| {
        let open = frame(Raw::HEADERS, Raw::END_HEADERS, stream(n), &head("POST"));
        [open, frame(Raw::RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat()
    }),
    ("reset by us for a window of nothing, CVE-2025-8671", |n| {
        let open = frame(Raw::HEADERS, Raw::END_STREAM | Raw::END_HEADERS, stream(n), &head("GET"));
        [open, frame(Raw::WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat()
    }),
    ("requests that must be reset", |n| {
        let bad = [head("GET"), fields(&[("connection", "close")])].concat();
        frame(Raw::HEADERS, Raw::END_STREAM | Raw::END_HEADERS, stream(n), &bad)
    }),
    ("more streams than there may be", |n| {
        frame(Raw::HEADERS, Raw::END_HEADERS, stream(n), &head("POST"))
    }),
    ("CONTINUATION of nothing, CVE-2024-27316", |n| match n {
        0 => frame(Raw::HEADERS, 0, 1, &head("GET")),
        _ => frame(Raw::CONTINUATION, 0, 1, b""),
    }),
    ("CONTINUATION of fields", |n| match n {
        0 => frame(Raw::HEADERS, 0, 1, &head("GET")),
        _ => frame(Raw::CONTINUATION, 0, 1, &fields(&[("x", "1")]).repeat(1000)),
    }),
    ("HPACK bomb, CVE-2016-6581", |n| {
        // A long field is remembered once, then named by one byte each.
        let long = "v".repeat(3900);
        let mut block = head("GET");
        let mut remembered = fields(&[("x", &long)]);
        remembered[0] = 0x40;
        block.extend(remembered);
        block.extend([0xBE; 10_000]);
        frame(Raw::HEADERS, Raw::END_STREAM | Raw::END_HEADERS, stream(n), &block)
    }),
    ("SETTINGS, CVE-2019-9515", |_| frame(Raw::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
    ("acknowledged SETTINGS that nobody sent", |_| frame(Raw::SETTINGS, 1, 0, b"")),
    ("PING, CVE-2019-9512", |_| frame(Raw::PING, 0, 0, &[7; 8])),
    ("PRIORITY, CVE-2019-9513", |n| frame(Raw::PRIORITY, 0, stream(n), &[0, 0, 0, 0, 1])),
    ("empty DATA, CVE-2019-9518", |n| match n {
        0 => frame(Raw::HEADERS, Raw::END_HEADERS, 1, &head("POST")),
        _ => frame(Raw::DATA, 0, 1, b""),
    }),
    ("WINDOW_UPDATE", |_| frame(Raw::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("frames that nobody knows", |_| frame(0xEE, 0, 0, b"")),
    ("GOAWAY", |_| frame(Raw::GOAWAY, 0, 0, &[0; 8])),
];

#[test]
fn each_flood_ends_its_connection_and_no_other() {
    for (name, wave) in FLOODS {
        let backend = Backend::new(|visitor, this| {
            while let Some(head) = this.head(visitor) {
                if head.starts_with("POST") {
                    visitor.all();
                    return;
                }
                visitor.say(OK);
            }
        });
        let proxy = proxy_to(&backend);
        let mut raw = Raw::new(proxy.address);
        let mut sent = 0;
        while sent < MOST {
            let batch: Vec<u8> = (sent..sent + 50).flat_map(wave).collect();
            if raw.write(&batch).is_err() {
                break;
            }
            sent += 50;
            if sent % 10_000 == 0 {
                is_served(&proxy);
            }
        }
        assert!(sent < MOST, "{name}: it was not ended");
        is_served(&proxy);
        // What the backend was troubled with: no more than the visitor may take back, and has open.
        let troubled = backend.seen().len();
        assert!(troubled <= 320 + sent / 10_000, "{name}: {troubled} requests");
    }
}

#[test]
fn who_does_not_read_the_answers_to_a_flood_is_not_waited_for() {
    // Answers to PING pile up in the sockets' buffers and nowhere else: we read no more before they are taken.
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    let mut raw = Raw::new(proxy.address);
    let mut sent = 0;
    while sent < MOST && raw.write(&frame(Raw::PING, 0, 0, &[7; 8]).repeat(100)).is_ok() {
        sent += 100;
    }
    assert!(sent < MOST);
    is_served(&proxy);
}

#[test]
fn a_busy_browser_is_no_flood() {
    let backend = Backend::says(OK);
    let proxy = proxy_to(&backend);
    let mut raw = Raw::new(proxy.address);
    // Settings and priorities first, as Firefox does; then requests, each with a priority (RFC 9218), some taken back.
    for n in 0..5 {
        raw.say(Raw::PRIORITY, 0, 1001 + 2 * n, &[0, 0, 0, 0, 1]).unwrap();
    }
    for n in 0..2000 {
        let flags = Raw::END_STREAM | Raw::END_HEADERS;
        raw.say(16, 0, 0, b"\0\0\0\x01u=1").unwrap();
        raw.say(Raw::HEADERS, flags, stream(n), &head("GET")).unwrap();
        raw.say(Raw::WINDOW_UPDATE, 0, stream(n), &[0, 0, 4, 0]).unwrap();
        raw.say(Raw::WINDOW_UPDATE, 0, 0, &[0, 0, 4, 0]).unwrap();
        if n % 12 == 0 {
            raw.say(Raw::RST_STREAM, 0, stream(n), &[0, 0, 0, 8]).unwrap();
            continue;
        }
        loop {
            let answer = raw.hear_of(stream(n)).unwrap();
            assert!(answer.kind != Raw::GOAWAY && answer.kind != Raw::RST_STREAM, "{answer:?}");
            if answer.kind == Raw::DATA {
                break;
            }
        }
    }
}
