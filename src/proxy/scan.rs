//! A second reader of what a visitor sends: the strict grammar of message framing, byte for byte, before hyper sees it.
//!
//! hyper is lenient in places where another parser may read a message differently (bare line feeds, equal duplicate
//! lengths). What is read differently can be smuggled. So each message must pass here first; what doesn't is refused
//! and its connection closed. This file is pure; [`super::lane::inbox`] puts it in front of a connection.

use super::{
    chunks::Chunks,
    fields::{self, Gather, field, is_token, lines, skip},
};

/// Longest head the scanner keeps; hyper refuses earlier, with 431.
const LONGEST_HEAD: usize = 160 * 1024;

/// What all faults of a head are here.
const MALFORMED: fields::Fault = fields::Fault::Malformed;

/// It is not one unambiguous message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault;

impl From<fields::Fault> for Fault {
    fn from(_: fields::Fault) -> Self {
        Self
    }
}

/// Where in the stream of messages we are.
#[derive(Debug)]
enum State {
    /// In a head, which may not have begun.
    Head(Gather),
    /// In a body of known length.
    Length(u64),
    /// In a body in chunks.
    Chunked(Box<Chunks>),
    /// After a request to change the protocol: not ours to read.
    Opaque,
}

impl State {
    /// Between two messages.
    fn border() -> Self {
        Self::Head(Gather::default())
    }
}

/// Reads along.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// Was the last head one of HTTP/1.1?
    modern: bool,
}

impl Scanner {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self { state: State::border(), modern: false }
    }

    /// Does it read no further, for a change of the protocol?
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    /// Was the last head one of HTTP/1.1?
    pub(super) fn was_modern(&self) -> bool {
        self.modern
    }

    /// Is it at the border between two messages?
    pub(super) fn at_border(&self) -> bool {
        matches!(&self.state, State::Head(gather) if gather.is_empty())
    }

    /// How many bytes of a body of known length are still to come?
    pub(super) fn length_left(&self) -> Option<u64> {
        if let State::Length(left) = self.state { Some(left) } else { None }
    }

    /// Somebody else has read the body of known length to its end.
    pub(super) fn skip_body(&mut self) {
        if matches!(self.state, State::Length(_)) {
            self.state = State::border();
        }
    }

    /// Reads on up to the end of a head, at most; of a body nothing. How many bytes were read, and is a head complete?
    pub(super) fn read_head(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let State::Head(gather) = &mut self.state else { return Ok((0, false)) };
        let Some((next, rest)) = gather.feed(bytes, LONGEST_HEAD, framing)? else {
            return Ok((bytes.len(), false));
        };
        (self.state, self.modern) = next;
        Ok((bytes.len() - rest.len(), true))
    }

    /// Reads on up to the end of this message, at most. How many bytes were read?
    pub(super) fn read_message(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_border() {
            rest = self.step(rest)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Reads these bytes too, whatever they belong to.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            bytes = self.step(bytes)?;
        }
        Ok(())
    }

    /// Reads on; gives back what it has not read.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        Ok(match &mut self.state {
            State::Opaque => &[],
            State::Head(_) => {
                let (read, _) = self.read_head(bytes)?;
                &bytes[read..]
            }
            State::Length(left) => {
                let (later, rest) = skip(*left, bytes);
                *left = later;
                if later == 0 {
                    self.state = State::border();
                }
                rest
            }
            State::Chunked(chunks) => match chunks.feed(bytes)? {
                None => &[],
                Some(rest) => {
                    self.state = State::border();
                    rest
                }
            },
        })
    }
}

/// The method of a first line: three parts, one blank between each. A target is visible ASCII without a fragment, which
/// hyper would drop without a word.
fn request_line(line: &[u8]) -> Result<&[u8], fields::Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let visible = |byte: &u8| matches!(byte, b'!'..=b'"' | b'$'..=b'~');
    let valid = !method.is_empty()
        && method.iter().all(is_token)
        && !target.is_empty()
        && target.iter().all(visible)
        && (target != b"*" || method == b"OPTIONS")
        && matches!(version, b"HTTP/1.1" | b"HTTP/1.0");
    if valid { Ok(method) } else { Err(MALFORMED) }
}

/// What follows this head, and is it one of HTTP/1.1?
fn framing(head: &[u8]) -> Result<(State, bool), fields::Fault> {
    let (first, lines) = lines(head)?;
    let method = request_line(first)?;
    let mut length = None;
    let (mut chunked, mut upgrade) = (false, false);
    for line in lines {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let valid = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if length.is_some() || !valid {
                return Err(MALFORMED);
            }
            let text = std::str::from_utf8(value).map_err(|_| MALFORMED)?;
            length = Some(text.parse::<u64>().map_err(|_| MALFORMED)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(MALFORMED);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    let modern = first.ends_with(b" HTTP/1.1");
    if chunked && (length.is_some() || !modern) {
        return Err(MALFORMED);
    }
    let next = match length {
        _ if chunked => State::Chunked(Box::new(Chunks::new(false))),
        Some(length) if length > 0 => State::Length(length),
        None if upgrade && method == b"GET" => State::Opaque,
        _ => State::border(),
    };
    Ok((next, modern))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length:  3 \r\n\r\nabcGET / HTTP/1.1\r\nA: b\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x00\n\n",
    ];

    const BAD: &[&[u8]] = &[
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\r\nB: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
    ];

    #[test]
    fn plain_messages_pass() {
        for message in GOOD {
            assert_eq!(Scanner::new().feed(message), Ok(()), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn ambiguous_messages_do_not() {
        for message in BAD {
            assert_eq!(Scanner::new().feed(message), Err(Fault), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn it_stops_at_the_ends_of_head_and_message() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.read_head(b"POST / HT"), Ok((9, false)));
        assert!(!scanner.at_border());
        let rest = b"TP/1.1\r\nContent-Length: 2\r\n\r\nabGET";
        assert_eq!(scanner.read_head(rest), Ok((29, true)));
        assert_eq!(scanner.length_left(), Some(2));
        assert_eq!(scanner.read_message(&rest[29..]), Ok(2));
        assert!(scanner.at_border());
        let chunked =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET";
        let (head, complete) = scanner.read_head(chunked).unwrap();
        assert!(complete && !scanner.at_border());
        assert_eq!(scanner.read_message(&chunked[head..]), Ok(chunked.len() - head - 3));
        assert!(scanner.at_border());
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            which in 0..GOOD.len() + BAD.len(),
            sizes in proptest::collection::vec(1usize..9, 1..200),
        ) {
            let all: Vec<_> = GOOD.iter().chain(BAD).collect();
            let mut rest: &[u8] = all[which];
            let mut scanner = Scanner::new();
            let mut verdict = Ok(());
            for size in sizes.iter().cycle() {
                if rest.is_empty() || verdict.is_err() {
                    break;
                }
                let (now, later) = rest.split_at((*size).min(rest.len()));
                verdict = scanner.feed(now);
                rest = later;
            }
            prop_assert_eq!(verdict.is_ok(), which < GOOD.len());
        }
    }
}
