//! A tunnel carries bytes and knows nothing of them.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::support::{Backend, Proxy, Visitor, wait_until};

const SWITCH: &str = "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

/// Bytes that nobody can guess, the same for the same seed.
fn noise(mut seed: u64, size: usize) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_be_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// A WebSocket frame (RFC 6455, section 5.2), masked where a client sends it.
fn frame(first: u8, payload: &[u8], mask: bool) -> Vec<u8> {
    let bit = if mask { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        size @ 0..=125 => frame.push(bit | u8::try_from(size).unwrap()),
        size @ 126..=65_535 => {
            frame.push(bit | 126);
            frame.extend_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
        }
        size => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    let key = [0x0d, 0x0a, 0x00, 0xff];
    if mask {
        frame.extend_from_slice(&key);
    }
    let mask = |(i, byte): (usize, &u8)| if mask { byte ^ key[i % 4] } else { *byte };
    frame.extend(payload.iter().enumerate().map(mask));
    frame
}

/// Frames of all sizes and kinds: whole, in fragments, with pings between, text that is no UTF-8, reserved bits, closes.
fn frames(mask: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for size in [0, 1, 125, 126, 127, 4095, 65_535, 65_536, 200_000] {
        let payload = noise(size as u64 + 1, size);
        for first in [0x81, 0x82, 0xc1, 0xf3] {
            all.extend(frame(first, &payload, mask));
        }
        let (begin, rest) = payload.split_at(size / 3);
        all.extend(frame(0x01, begin, mask));
        all.extend(frame(0x89, b"ping\r\n\r\n", mask));
        all.extend(frame(0x00, rest, mask));
        all.extend(frame(0x80, b"", mask));
        all.extend(frame(0x8a, b"HTTP/1.1 200 OK\r\n\r\n", mask));
    }
    for code in [1000_u16, 1001, 1005, 1011, 3000, 4999, 65_535] {
        all.extend(frame(0x88, &[&code.to_be_bytes()[..], b"why"].concat(), mask));
    }
    all
}

/// Says this in pieces of these sizes.
fn say(visitor: &mut Visitor, bytes: &[u8], sizes: &[usize]) {
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        visitor.0.write_all(now).unwrap();
        rest = later;
    }
}

struct Said {
    out: Vec<u8>,
    back: Vec<u8>,
    out_sizes: Vec<usize>,
    back_sizes: Vec<usize>,
    /// So much of what comes back comes in one piece with the 101.
    early: usize,
}

/// Both sides say everything at once, then the visitor ends, then the server.
fn exchange(said: &Said) {
    let got = Arc::<Mutex<Vec<u8>>>::default();
    let (heard, back, sizes, early) =
        (got.clone(), said.back.clone(), said.back_sizes.clone(), said.early);
    let backend = Backend::new(move |visitor, this| {
        this.head(visitor);
        let (first, rest) = back.split_at(early);
        visitor.say([format!("{SWITCH}\r\n").as_bytes(), first].concat());
        let mut writer = Visitor::new(visitor.0.try_clone().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| say(&mut writer, rest, &sizes));
            let mut all = Vec::new();
            visitor.0.read_to_end(&mut all).unwrap();
            *heard.lock().unwrap() = all;
        });
        visitor.say("last words");
        visitor.0.shutdown(Shutdown::Write).unwrap();
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    visitor.say(
        "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    visitor.until("\r\n\r\n");
    let mut writer = Visitor::new(visitor.0.try_clone().unwrap());
    let mut all = vec![0; said.back.len()];
    thread::scope(|scope| {
        scope.spawn(|| say(&mut writer, &said.out, &said.out_sizes));
        visitor.0.read_exact(&mut all).unwrap();
    });
    // Half-closed: the other half goes on.
    visitor.0.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    visitor.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last words");
    assert!(all == said.back, "what came back is not what was said");
    assert!(*got.lock().unwrap() == said.out, "what arrived is not what was said");
    wait_until("nobody is left", || proxy.shared.crowd.count() == 0);
}

#[test]
fn frames_of_all_sizes_arrive_as_they_were_sent() {
    let (out, back) = (frames(true), frames(false));
    for (out_sizes, back_sizes, early) in
        [(vec![1 << 20], vec![1 << 20], 0), (vec![1, 7, 4096, 70_000], vec![65_536, 3], 5000)]
    {
        exchange(&Said { out: out.clone(), back: back.clone(), out_sizes, back_sizes, early });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn bytes_arrive_as_they_were_sent(
        seed in 1_u64..u64::MAX,
        out in 0_usize..300_000,
        back in 0_usize..300_000,
        out_sizes in proptest::collection::vec(1_usize..100_000, 1..9),
        back_sizes in proptest::collection::vec(1_usize..100_000, 1..9),
        early in 0_usize..10_000,
    ) {
        let (out, back) = (noise(seed, out), noise(seed ^ 0xff, back));
        let early = early.min(back.len());
        exchange(&Said { out, back, out_sizes, back_sizes, early });
    }
}

#[test]
fn the_fields_of_a_handshake_arrive_as_they_are() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say(format!("{SWITCH}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\nSec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n"));
        visitor.all();
    });
    let proxy = Proxy::to(&backend);
    let mut visitor = proxy.visit();
    let fields = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits, x-other; a=\"b\"\r\nsec-websocket-protocol: v1.kernel.websocket.jupyter.org, other\r\norigin: http://a\r\n";
    visitor.say(format!("GET /user/a/ws?token=x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"));
    let back = visitor.until("\r\n\r\n");
    for there in [
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10\r\n",
        "sec-websocket-protocol: v1.kernel.websocket.jupyter.org\r\n",
        "set-cookie: a=b\r\nset-cookie: c=d\r\n",
    ] {
        assert!(back.contains(there), "{there} not in {back}");
    }
    let seen = backend.seen()[0].clone();
    for field in fields.lines() {
        assert!(seen.contains(&format!("{field}\r\n")), "{field} not in {seen}");
    }
    assert!(seen.starts_with("GET /user/a/ws?token=x HTTP/1.1\r\n"), "{seen}");
}

#[test]
fn a_tunnel_ends_when_either_side_breaks() {
    for visitor_breaks in [true, false] {
        let backend = Backend::new(move |visitor, this| {
            this.head(visitor);
            visitor.say(format!("{SWITCH}\r\n"));
            if visitor_breaks {
                visitor.all();
                this.heads.lock().unwrap().push("end".to_owned());
            } else {
                visitor.until("x");
            }
        });
        let proxy = Proxy::to(&backend);
        let mut visitor = proxy.visit();
        visitor.say("GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        visitor.until("\r\n\r\n");
        visitor.say("x");
        if visitor_breaks {
            socket2::SockRef::from(&visitor.0).set_linger(Some(Duration::ZERO)).unwrap();
            drop(visitor);
            wait_until("the server is told", || backend.seen().len() == 2);
        } else {
            assert_eq!(visitor.all(), "");
            drop(visitor);
        }
        wait_until("nobody is left", || proxy.shared.crowd.count() == 0);
    }
}
