//! Properties of what is read before, below and beside a request's own bytes: a balancer's header, frames, names of
//! hosts, requests by HTTP/2.

use std::net::IpAddr;

use http::{
    HeaderName, HeaderValue, Request, Uri, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING},
    uri::Authority,
};

use crate::proxy::{
    frames::{Flood, Frames},
    front::is_host,
    http2,
    proxied::{self, Header},
};

/// A balancer's header: read to its last byte and no further, and who it speaks for stands in it.
pub fn proxied(bytes: &[u8]) {
    let mut had = 0;
    let from = loop {
        match proxied::read(&bytes[..had]) {
            Ok(Header::Whole(from)) => break from,
            Ok(Header::More(more)) => {
                assert!(more > 0, "{}", bytes[..had].escape_ascii());
                had += more;
                // 16 bytes and the longest block of version 2.
                assert!(had <= 16 + 2048, "{}", bytes.escape_ascii());
                if had > bytes.len() {
                    return;
                }
            }
            Err(_) => return,
        }
    };
    let header = &bytes[..had];
    // However its pieces fall, nothing shorter is a header.
    for end in 0..had {
        let read = proxied::read(&header[..end]);
        assert!(matches!(read, Ok(Header::More(_))), "{end} of {}", header.escape_ascii());
    }
    let told = match std::str::from_utf8(header).ok().and_then(|it| it.strip_prefix("PROXY ")) {
        Some(line) => line
            .split(' ')
            .nth(1)
            .filter(|_| !line.starts_with("UNKNOWN"))
            .map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is no address"))),
        None => match header[12..14] {
            [0x21, 0x11] => Some(IpAddr::from(<[u8; 4]>::try_from(&header[16..20]).expect("4"))),
            [0x21, 0x21] => Some(IpAddr::from(<[u8; 16]>::try_from(&header[16..32]).expect("16"))),
            _ => None,
        },
    };
    assert_eq!(from, told, "{}", header.escape_ascii());
}

/// Frames: where the reads are cut makes no difference, and a flood is called one exactly where counting them says so.
pub fn frames(bytes: &[u8]) {
    let Some(([size, times], bytes)) = bytes.split_first_chunk() else { return };
    let times = usize::from(*times) + 1;
    let stream = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &*bytes.repeat(times.min(65_536 / (bytes.len() + 1) + 1)),
    ]
    .concat();
    let (mut whole, mut pieces) = (Frames::new(0), Frames::new(0));
    let at_once = whole.feed(&stream, 0);
    let mut cut = stream.chunks(usize::from(*size) + 1);
    assert_eq!(cut.try_for_each(|piece| pieces.feed(piece, 0)), at_once);
    if at_once.is_ok() {
        assert_eq!(whole.in_head(), pieces.in_head());
    }
    assert_eq!(at_once.err(), flood(&stream[24..]), "{}", stream.escape_ascii());
}

/// The same by the letter of the table in [`crate::proxy::frames`], all of it at one moment.
fn flood(mut stream: &[u8]) -> Option<Flood> {
    let (mut resets, mut control, mut updates) = (0_i64, 0_i64, 0_i64);
    let mut head: Option<(u32, u32)> = None;
    while let Some(([a, b, c, kind, flags, ..], rest)) = stream.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]);
        let open = |pieces, bytes| (flags & 4 == 0).then_some((pieces, bytes));
        match kind {
            0 if length > 0 || flags & 1 == 1 => {}
            1 => {
                (control, updates) = ((control - 2).max(0), (updates - 2).max(0));
                head = open(0, length);
            }
            3 => resets += 1,
            8 => updates += 1,
            9 => {
                let (pieces, bytes) = head.unwrap_or((0, 0));
                if pieces == 8 || bytes + length > 128 * 1024 {
                    return Some(Flood::Continuations);
                }
                head = open(pieces + 1, bytes + length);
            }
            _ => control += 1,
        }
        for (count, most, flood) in [
            (resets, 200, Flood::Resets),
            (control, 500, Flood::Control),
            (updates, 1000, Flood::Updates),
        ] {
            if count > most {
                return Some(flood);
            }
        }
        stream = rest.get(usize::try_from(length).expect("24 bits")..).unwrap_or_default();
    }
    None
}

/// Names of hosts: what is one has one reading, also as a part of an address we make of it.
pub fn hosts(bytes: &[u8]) {
    let Ok(host) = std::str::from_utf8(bytes) else { return };
    if !is_host(host) {
        return;
    }
    assert!(!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}");
    assert!(!host.contains(['/', '\\', '?', '#', '@', ',', ';', '"', '\'', '<', '>']), "{host:?}");
    HeaderValue::from_str(host).expect("visible ASCII");
    // Names of Unix sockets are written percent-encoded; the library knows no such names.
    if host.contains('%') {
        return;
    }
    let Ok(authority) = host.parse::<Authority>() else { return };
    assert_eq!(authority.as_str(), host);
    let uri: Uri = format!("http://{host}/x").parse().expect("its authority is good");
    assert_eq!(uri.authority(), Some(&authority));
    let name =
        host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |it| it.0);
    assert_eq!(authority.host(), name);
}

/// Requests by HTTP/2: what is let through can be told in HTTP/1.1.
pub fn settled(bytes: &[u8]) {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_static("https://a:8443/x");
    let names = ["cookie", "host", "content-length", "transfer-encoding", "x-a"];
    for line in bytes.split(|byte| *byte == b'\n').take(300) {
        let Some((first, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let name = HeaderName::from_static(names[usize::from(*first) % names.len()]);
            request.headers_mut().append(name, value);
        }
    }
    let crumbs = request.headers().get_all(COOKIE).iter().count();
    let (mut parts, ()) = request.into_parts();
    if http2::settle(&mut parts).is_err() {
        return;
    }
    let fields = &parts.headers;
    assert!(fields.len() <= 201, "{} fields", fields.len());
    assert_eq!(fields.get_all(COOKIE).iter().count(), crumbs.min(1));
    assert!(fields.contains_key(HOST) && !fields.contains_key(TRANSFER_ENCODING));
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        assert!(length.to_str().is_ok_and(|it| it.parse::<u64>().is_ok()), "{length:?}");
    }
    assert_eq!(lengths.next(), None);
}
