//! Properties of the proxy's parsers, for fuzzers (`tests/fuzz`) and for the tests of this file: each takes any bytes and
//! panics where a parser breaks its word.

mod fronts;

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};

use super::{
    chunks::Chunks,
    headers::{self, Origin},
    path,
    replies::{Asked, Replies},
    scan::Scanner,
    settings::Settings,
    target::Target,
};
use crate::config::sections;

pub use super::{
    alone::fuzzing::rest,
    lane::fuzzing::{answers, plain},
};
pub use fronts::{frames, hosts, proxied, settled};

/// A message that the scanner has let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where its head begins.
    pub begin: usize,
    /// Behind its head.
    pub head: usize,
    /// Behind its body.
    pub end: usize,
}

/// Requests: where the reads are cut makes no difference. Gives back the complete messages, for other parsers to read.
pub fn requests(bytes: &[u8]) -> Vec<Span> {
    let verdict = Scanner::new().feed(bytes);
    let mut scanner = Scanner::new();
    let pieces = bytes.chunks(1).try_for_each(|byte| scanner.feed(byte));
    assert_eq!(verdict, pieces, "one piece or many: {}", bytes.escape_ascii());
    let (mut scanner, mut spans, mut begin) = (Scanner::new(), Vec::new(), 0);
    while let Ok((size, true)) = scanner.read_head(&bytes[begin..]) {
        let head = begin + size;
        if scanner.is_opaque() {
            spans.push(Span { begin, head, end: head });
            break;
        }
        let Ok(size) = scanner.read_message(&bytes[head..]) else { break };
        if !scanner.at_border() {
            break;
        }
        let end = head + size;
        spans.push(Span { begin, head, end });
        begin = end;
    }
    spans
}

/// Answers: where the reads are cut makes no difference to the verdict, and nothing unasked is let through.
pub fn replies(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let asked =
        [Asked::Answer, Asked::Head, Asked::Upgrade, Asked::Nothing][usize::from(first % 4)];
    let whole = Replies::new().feed(asked, bytes);
    assert!(whole.good <= bytes.len());
    assert!(whole.fault || whole.good == bytes.len());
    assert!(asked != Asked::Nothing || whole.good == 0, "nothing was asked");
    let (mut replies, mut owed, mut good, mut fault) = (Replies::new(), asked, 0, false);
    for byte in bytes {
        let found = replies.feed(owed, std::slice::from_ref(byte));
        if found.complete {
            owed = Asked::Nothing;
        }
        fault = found.fault;
        if fault {
            break;
        }
        good += 1;
    }
    assert_eq!(fault, whole.fault, "one piece or many: {}", bytes.escape_ascii());
    assert_eq!(owed != asked, whole.complete, "{}", bytes.escape_ascii());
    assert!(good >= whole.good);
}

/// A chunked body: where the reads are cut makes no difference; what is behind it is left alone.
pub fn chunks(bytes: &[u8]) {
    let whole = Chunks::new(false).feed(bytes).map(|rest| rest.map(<[u8]>::len));
    let mut chunks = Chunks::new(false);
    let mut outcome = Ok(None);
    for (at, byte) in bytes.iter().enumerate() {
        match chunks.feed(std::slice::from_ref(byte)) {
            Ok(None) => {}
            Ok(Some(_)) => {
                outcome = Ok(Some(bytes.len() - at - 1));
                break;
            }
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        }
    }
    assert_eq!(outcome, whole, "{}", bytes.escape_ascii());
}

/// Paths: what is let through has one reading.
pub fn paths(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = path::matchable(raw) else { return };
    // Nothing is left of a path whose first segment holds an encoded slash.
    assert!(raw.starts_with('/') && (read.is_empty() || read.starts_with('/')), "{raw:?}");
    assert!(!read.contains('\0'), "{raw:?}");
    for segment in read.split(['/', '\\']) {
        let plain = segment.split(';').next().unwrap_or("");
        assert!(plain != "." && plain != "..", "{raw:?} is read as {read:?}");
    }
    // Decoded once and never into more segments than there were.
    assert!(read.matches('/').count() <= raw.matches('/').count(), "{raw:?} as {read:?}");
}

/// Targets of routes: anything is understood or unusable.
pub fn targets(bytes: &[u8]) {
    if let Ok(url) = std::str::from_utf8(bytes) {
        let _ = Target::parse(url);
    }
}

/// Chains of forwarded addresses, line by line: who has asked is an address, and what we tell is plain.
pub fn forwarded(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let trusted_proxies = vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
    let section = sections::Proxy { trusted_proxies, ..sections::Proxy::default() };
    let settings = Settings::new(&section);
    let peers = ["10.0.0.1", "127.0.0.1", "192.0.2.1", "::ffff:10.0.0.1"];
    let peer = peers[usize::from(first % 4)].parse().expect("an address");
    let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "connection"];
    let mut fields = HeaderMap::new();
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate().take(20) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            fields.append(HeaderName::from_static(names[i % names.len()]), value);
        }
    }
    let host = HeaderValue::from_static("a:80");
    fields.insert(HOST, host.clone());
    let origin = Origin { peer, settings: &settings, tls: false, host: &host, to_hub: true };
    let client = headers::prepare(&mut fields, origin);
    if !settings.trusts(peer) {
        assert_eq!(client, peer.to_canonical());
    }
    for name in ["x-forwarded-for", "x-jovis-client", "x-forwarded-proto", "host"] {
        assert_eq!(fields.get_all(name).iter().count(), 1, "{name}");
    }
    let chain = fields["x-forwarded-for"].to_str().expect("visible ASCII");
    let last = chain.rsplit(',').next().and_then(|it| it.parse().ok());
    assert_eq!(last, Some(peer.to_canonical()), "the peer stands last");
    assert_eq!(fields["x-jovis-client"], client.to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: &[&[u8]] = &[
        b"GET ",
        b"POST ",
        b"HEAD / ",
        b"/",
        b"HTTP/1.1",
        b"HTTP/1.0 ",
        b" HTTP/1.1\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"Host: a\r\n",
        b"Content-Length: ",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: websocket\r\n",
        b"200 OK\r\n",
        b"101 Go\r\n",
        b"103 Early\r\n\r\n",
        b"204 No\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"3",
        b"abc",
        b"ffffffffffffffff",
        b";x=y",
        b"..",
        b".",
        b"%2e",
        b"%2f",
        b"%5c",
        b"%00",
        b"%c3%a9",
        b"%zz",
        b"\\",
        b";",
        b"http://",
        b"https://[::1]:80",
        b"http+unix://%2frun",
        b"1.2.3.4",
        b"10.0.0.2, ",
        b"[2001:db9::7]:80",
        b"unknown,",
        b",",
        b"\xff",
        b"Connection: close\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"1.2.3.4 1.2.3.5 6 7",
        b"::1 ::2 6 7",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"\x0a\0\0\x01\0\x50\0\x51",
        b"\0\0\0\x03\0\0\0\0\x01",
        b"\0\0\0\x09\0\0\0\0\x01",
        b"\0\0\x01\x01\x04\0\0\0\x01",
        b"a.b",
        b"[::1]",
        b":80",
        b"/user/a",
        b"\n{\"target\":\"http://a\"",
        b",\"a\":[1.5,null]",
        b"}",
        b"2026-11-29T23:17:08.123Z",
    ];

    /// Pieces of what is parsed, and anything else.
    fn alike() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            4 => proptest::sample::select(WORDS).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn every_parser_keeps_its_word(bytes in alike()) {
            requests(&bytes);
            replies(&bytes);
            chunks(&bytes);
            paths(&bytes);
            targets(&bytes);
            forwarded(&bytes);
            plain(&bytes);
            answers(&bytes);
            proxied(&bytes);
            frames(&bytes);
            hosts(&bytes);
            settled(&bytes);
            rest(&bytes);
        }

        #[test]
        fn what_follows_a_good_message_is_read_as_the_next(bytes in alike(), which in 0_usize..3) {
            let good: &[u8] = [
                &b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            ][which];
            let both = [good, &bytes].concat();
            let spans = requests(&both);
            prop_assert_eq!(spans[0].end, good.len());
            let shifted = |it: &Span| Span {
                begin: it.begin + good.len(), head: it.head + good.len(), end: it.end + good.len(),
            };
            prop_assert_eq!(&spans[1..], &requests(&bytes).iter().map(shifted).collect::<Vec<_>>()[..]);
        }
    }
}
