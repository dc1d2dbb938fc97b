//! A second reader of what a visitor sends: the strict grammar of message framing, byte for byte, before hyper sees it.
//!
//! hyper is lenient in places where another parser may read a message differently (bare line feeds, equal duplicate
//! lengths). What is read differently can be smuggled. So each message must pass here first; what doesn't is refused
//! and its connection closed. This file is pure; [`super::lane::inbox`] puts it in front of a connection.

use memchr::memchr;

use super::{
    chunks::chunk_size,
    fields::{self, LONGEST_LINE, is_token, skip, well_formed, whole_lines},
    trailers::may_pass,
};

/// Longest head the scanner keeps; hyper refuses earlier, with 431.
const LONGEST_HEAD: usize = 160 * 1024;
/// Longest line of a chunk's size, or all trailers together.
const LONGEST_CHUNK_LINE: usize = 16 * 1024;
/// Most trailers, as hyper has it.
const MOST_TRAILERS: u8 = 100;

/// It is not one unambiguous message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault;

impl From<fields::Fault> for Fault {
    fn from(_: fields::Fault) -> Self {
        Self
    }
}

/// Where in the stream of messages we are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// In a head, which may not have begun.
    Head,
    /// In a body of known length.
    Length(u64),
    /// In the line that tells a chunk's size.
    Size,
    /// In a chunk.
    Chunk(u64),
    /// Right after a chunk: so many of its two closing bytes were seen.
    ChunkEnd(u8),
    /// After the last chunk.
    Trailers,
    /// After a request to change the protocol: not ours to read.
    Opaque,
}

/// Reads along.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// What came of the current head or line so far.
    kept: Vec<u8>,
    /// Complete heads.
    heads: u32,
    /// Is the last of them one of HTTP/1.1?
    modern: bool,
    /// Bytes of trailers, and how many there are.
    trailer_bytes: usize,
    trailer_count: u8,
    /// Those that may be passed on, as they go out; none: nobody wants them.
    trailers: Option<Vec<u8>>,
}

impl Scanner {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        let (state, kept) = (State::Head, Vec::new());
        Self {
            state,
            kept,
            heads: 0,
            modern: false,
            trailer_bytes: 0,
            trailer_count: 0,
            trailers: None,
        }
    }

    /// Does it read no further, for a change of the protocol?
    pub(super) fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    /// Was the last head one of HTTP/1.1?
    pub(super) fn was_modern(&self) -> bool {
        self.modern
    }

    /// Is it at the border between two messages?
    pub(super) fn at_border(&self) -> bool {
        self.state == State::Head && self.kept.is_empty()
    }

    /// How many bytes of a body of known length are still to come?
    pub(super) fn length_left(&self) -> Option<u64> {
        if let State::Length(left) = self.state { Some(left) } else { None }
    }

    /// Somebody else has read the body of known length to its end.
    pub(super) fn skip_body(&mut self) {
        if matches!(self.state, State::Length(_)) {
            self.state = State::Head;
        }
    }

    /// Reads on up to the end of a head, at most. How many bytes were read, and is a head complete?
    pub(super) fn read_head(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let heads = self.heads;
        let rest = self.head(bytes)?.len();
        Ok((bytes.len() - rest, self.heads != heads))
    }

    /// At the beginning of a chunked body, whoever has sent it. `trailers`: does somebody want them?
    pub(super) fn of_chunks(trailers: bool) -> Self {
        Self { state: State::Size, trailers: trailers.then(Vec::new), ..Self::new() }
    }

    /// The trailers of a chunked body that has ended, as far as they may be passed on: each with its line's end.
    pub(super) fn trailers(&self) -> &[u8] {
        self.trailers.as_deref().unwrap_or_default()
    }

    /// Reads on up to the end of a chunked body, at most; hands out the data. How many bytes were read?
    pub(super) fn read_chunks(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_border() {
            let is_data = matches!(self.state, State::Chunk(_));
            let later = self.step(rest)?;
            if is_data {
                data(&rest[..rest.len() - later.len()]);
            }
            rest = later;
        }
        Ok(bytes.len() - rest.len())
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
        Ok(match self.state {
            State::Opaque => &[],
            State::Head => self.head(bytes)?,
            State::Length(left) => {
                let (left, rest) = skip(left, bytes);
                self.state = if left == 0 { State::Head } else { State::Length(left) };
                rest
            }
            State::Size | State::Trailers => self.chunk_line(bytes)?,
            State::Chunk(left) => {
                let (left, rest) = skip(left, bytes);
                self.state = if left == 0 { State::ChunkEnd(0) } else { State::Chunk(left) };
                rest
            }
            State::ChunkEnd(seen) => {
                if bytes.first() != Some(&b"\r\n"[usize::from(seen)]) {
                    return Err(Fault);
                }
                self.state = if seen == 0 { State::ChunkEnd(1) } else { State::Size };
                &bytes[1..]
            }
        })
    }

    /// Reads on in a head; returns what is behind it.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        // Kept and new bytes are looked at as one, without copying when the head came in one piece.
        let before = self.kept.len();
        let last = |kept: &[u8], at: usize, back: usize| -> Option<u8> {
            let at = (before + at).checked_sub(back)?;
            if at < before { kept.get(at).copied() } else { bytes.get(at - before).copied() }
        };
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &bytes[from..]) {
            let at = from + found;
            if last(&self.kept, at, 1) != Some(b'\r') {
                return Err(Fault);
            }
            match last(&self.kept, at, 2) {
                // An empty line before a request is tolerated once by tradition; we don't need it.
                None => return Err(Fault),
                Some(b'\n') => {
                    let rest = &bytes[at + 1..];
                    let next = if before == 0 {
                        framing(&bytes[..=at])?
                    } else {
                        self.kept.extend_from_slice(&bytes[..=at]);
                        framing(&self.kept)?
                    };
                    self.kept = Vec::new();
                    self.heads = self.heads.wrapping_add(1);
                    (self.trailer_bytes, self.trailer_count) = (0, 0);
                    (self.state, self.modern) = next;
                    return Ok(rest);
                }
                Some(_) => from = at + 1,
            }
        }
        if before + bytes.len() > LONGEST_HEAD {
            return Err(Fault);
        }
        self.kept.extend_from_slice(bytes);
        Ok(&[])
    }

    /// Reads on in a line of a chunked body; returns what is behind it.
    fn chunk_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.kept.extend_from_slice(line);
        self.trailer_bytes += if self.state == State::Trailers { line.len() } else { 0 };
        if self.kept.len() > LONGEST_CHUNK_LINE || self.trailer_bytes > LONGEST_CHUNK_LINE {
            return Err(Fault);
        }
        if end.is_none() {
            return Ok(rest);
        }
        let line = self.kept.strip_suffix(b"\r\n").ok_or(Fault)?;
        self.state = match self.state {
            State::Trailers if line.is_empty() => State::Head,
            State::Trailers => {
                let (name, value) = well_formed(line)?;
                self.trailer_count += 1;
                if self.trailer_count > MOST_TRAILERS {
                    return Err(Fault);
                }
                if let Some(trailers) = self.trailers.as_mut().filter(|_| may_pass(name)) {
                    for part in [name, b": ", value, b"\r\n"] {
                        trailers.extend_from_slice(part);
                    }
                }
                State::Trailers
            }
            _ => match chunk_size(line)? {
                0 => State::Trailers,
                size => State::Chunk(size),
            },
        };
        self.kept = Vec::new();
        Ok(rest)
    }
}

/// The method of a first line: three parts, one blank between each. A target is visible ASCII without a fragment, which
/// hyper would drop without a word.
fn request_line(line: &[u8]) -> Result<&[u8], Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault);
    };
    let visible = |byte: &u8| matches!(byte, b'!'..=b'"' | b'$'..=b'~');
    let valid = !method.is_empty()
        && method.iter().all(is_token)
        && !target.is_empty()
        && target.iter().all(visible)
        && (target != b"*" || method == b"OPTIONS")
        && matches!(version, b"HTTP/1.1" | b"HTTP/1.0");
    if valid { Ok(method) } else { Err(Fault) }
}

/// What follows this head, and is it one of HTTP/1.1?
fn framing(head: &[u8]) -> Result<(State, bool), Fault> {
    let mut lines = whole_lines(head)?;
    let first = lines.next().ok_or(Fault)?;
    if first.len() > LONGEST_LINE {
        return Err(Fault);
    }
    let method = request_line(first)?;
    let mut length = None;
    let (mut chunked, mut upgrade) = (false, false);
    for line in lines {
        if line.len() > LONGEST_LINE {
            return Err(Fault);
        }
        let (name, value) = well_formed(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let valid = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if length.is_some() || !valid {
                return Err(Fault);
            }
            let text = std::str::from_utf8(value).map_err(|_| Fault)?;
            length = Some(text.parse::<u64>().map_err(|_| Fault)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    let modern = first.ends_with(b" HTTP/1.1");
    if chunked && (length.is_some() || !modern) {
        return Err(Fault);
    }
    let next = match length {
        _ if chunked => State::Size,
        Some(length) if length > 0 => State::Length(length),
        None if upgrade && method == b"GET" => State::Opaque,
        _ => State::Head,
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
