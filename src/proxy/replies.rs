//! A second reader of what a backend answers: the strict grammar of message framing, before hyper sees it.
//!
//! hyper takes answers that others may read differently: a length beside `chunked`, lists of lengths, codings it
//! does not know, any number of interim answers. And whatever a backend says without being asked must never become
//! the answer to somebody's next request. This file is pure; [`super::watched`] puts it in front of a connection.

use super::{
    chunks::Chunks,
    fields::{Fault, Framing, Gather, field, lines, skip},
};

/// Longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// Most fields in it.
const MOST_FIELDS: usize = 200;
/// Most interim answers (1xx) before an answer.
const MOST_INTERIM: u8 = 16;

/// What a backend owes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Asked {
    /// Nothing.
    Nothing,
    /// An answer.
    Answer,
    /// An answer to `HEAD`, which has no body.
    Head,
    /// An answer, or 101 and another protocol.
    Upgrade,
}

/// Where in an answer we are.
#[derive(Debug)]
enum State {
    /// In a head, which may not have begun.
    Head,
    /// In a body of known length.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// In a body that ends with the connection.
    ToEnd,
    /// Another protocol.
    Opaque,
}

/// Reads along.
#[derive(Debug)]
pub(super) struct Replies {
    state: State,
    head: Gather,
    /// Interim answers before the answer that is owed.
    interim: u8,
}

/// What was found in a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// So many of its bytes are part of what was asked for.
    pub(super) good: usize,
    /// An answer ends there.
    pub(super) complete: bool,
    /// What follows is irregular: nothing of it has a meaning.
    pub(super) fault: bool,
}

impl Replies {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self { state: State::Head, head: Gather::default(), interim: 0 }
    }

    /// Reads these bytes too, when this is owed. An answer's end is the end of what is owed.
    pub(super) fn feed(&mut self, asked: Asked, bytes: &[u8]) -> Found {
        let mut rest = bytes;
        let mut owed = asked;
        while !rest.is_empty() {
            let good = bytes.len() - rest.len();
            let complete = owed != asked;
            match self.step(owed, rest) {
                Ok(Some(behind)) => {
                    rest = behind;
                    if matches!(self.state, State::Head) && self.interim == 0 {
                        owed = Asked::Nothing;
                    }
                }
                Ok(None) => break,
                Err(_) => return Found { good, complete, fault: true },
            }
        }
        Found { good: bytes.len(), complete: owed != asked, fault: false }
    }

    /// Reads on in one part of an answer: what is behind the part, once it is complete. State and count of interim
    /// answers are back at their beginnings when the answer is.
    fn step<'a>(&mut self, owed: Asked, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        Ok(match &mut self.state {
            State::Opaque | State::ToEnd => None,
            State::Head if owed == Asked::Nothing => return Err(Fault::Malformed),
            State::Head => {
                let read = |head: &[u8]| framing(owed, head);
                let Some((next, rest)) = self.head.feed(bytes, LONGEST_HEAD, read)? else {
                    return Ok(None);
                };
                self.interim = match next {
                    Next::Interim if self.interim == MOST_INTERIM => return Err(Fault::Malformed),
                    Next::Interim => self.interim + 1,
                    Next::Then(_) => 0,
                };
                if let Next::Then(state) = next {
                    self.state = state;
                }
                Some(rest)
            }
            State::Length(left) => {
                let rest;
                (*left, rest) = skip(*left, bytes);
                if *left > 0 {
                    return Ok(None);
                }
                self.state = State::Head;
                Some(rest)
            }
            State::Chunked(chunks) => {
                let rest = chunks.feed(bytes)?;
                if rest.is_some() {
                    self.state = State::Head;
                }
                rest
            }
        })
    }
}

/// What comes behind a head.
enum Next {
    /// Another head: this was an interim answer.
    Interim,
    /// This; the next answer's head where there is no body.
    Then(State),
}

fn framing(owed: Asked, head: &[u8]) -> Result<Next, Fault> {
    if head.len() > LONGEST_HEAD {
        return Err(Fault::Malformed);
    }
    let (first, lines) = lines(head)?;
    let (old, status) = status(first)?;
    let (mut framing, mut fields) = (Framing::default(), 0);
    for line in lines {
        // Long fields are no trouble: the head has its own limit.
        match field(line) {
            Ok((name, value)) => framing.take(name, value)?,
            Err(Fault::LongField) => {}
            Err(fault) => return Err(fault),
        }
        fields += 1;
    }
    let framed = framing != Framing::default();
    if fields > MOST_FIELDS || old && framing.chunked {
        return Err(Fault::Malformed);
    }
    Ok(match status {
        101 if owed == Asked::Upgrade && !old && !framed => Next::Then(State::Opaque),
        // A 101 that nobody asked for, and interim answers with bodies or to those who cannot know them.
        101 => return Err(Fault::Malformed),
        100..200 if framed || old => return Err(Fault::Malformed),
        100..200 => Next::Interim,
        204 | 304 => Next::Then(State::Head),
        _ if owed == Asked::Head => Next::Then(State::Head),
        _ => Next::Then(match framing.length {
            _ if framing.chunked => State::Chunked(Chunks::new(false)),
            Some(0) => State::Head,
            Some(length) => State::Length(length),
            None => State::ToEnd,
        }),
    })
}

/// Is it HTTP/1.0, and which status? Some servers leave the blank before a missing reason out.
fn status(line: &[u8]) -> Result<(bool, u16), Fault> {
    let old = line.starts_with(b"HTTP/1.0 ");
    if !old && !line.starts_with(b"HTTP/1.1 ") {
        return Err(Fault::Malformed);
    }
    let (code, reason) = line[9..].split_at_checked(3).ok_or(Fault::Malformed)?;
    let text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if !code.iter().all(u8::is_ascii_digit)
        || !matches!(code[0], b'1'..=b'5')
        || !matches!(reason.first(), None | Some(b' '))
        || !reason.iter().all(text)
    {
        return Err(Fault::Malformed);
    }
    Ok((old, code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is owed, the bytes, how many of them are in order, and whether the answer is complete.
    const TABLE: &[(Asked, &str, Option<usize>, bool)] = &[
        (Asked::Answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None, true),
        (Asked::Answer, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\no", None, false),
        (Asked::Answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", Some(40), true),
        (Asked::Answer, "HTTP/1.0 200 OK\r\n\r\nwhatever\n", None, false),
        (Asked::Answer, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", None, true),
        (Asked::Answer, "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 204 No\r\n\r\n", Some(19), true),
        (
            Asked::Answer,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            None,
            true,
        ),
        (Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", None, true),
        (Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some(38), true),
        (Asked::Upgrade, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n\x01\n", None, false),
        (Asked::Upgrade, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", None, true),
        (Asked::Answer, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", Some(0), false),
        (Asked::Nothing, "HTTP/1.1 408 Bye\r\n\r\n", Some(0), false),
        (Asked::Nothing, "x", Some(0), false),
    ];

    #[test]
    fn only_what_was_asked_for_is_in_order() {
        for (asked, bytes, good, complete) in TABLE {
            let found = Replies::new().feed(*asked, bytes.as_bytes());
            let good_bytes = good.unwrap_or(bytes.len());
            let expected = Found { good: good_bytes, complete: *complete, fault: good.is_some() };
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            which in 0..TABLE.len(),
            sizes in proptest::collection::vec(1usize..9, 1..200),
        ) {
            let (asked, bytes, good, complete) = TABLE[which];
            let mut rest = bytes.as_bytes();
            let (mut replies, mut owed, mut sum, mut fault) = (Replies::new(), asked, 0, false);
            for size in sizes.iter().cycle() {
                if rest.is_empty() || fault {
                    break;
                }
                let (now, later) = rest.split_at((*size).min(rest.len()));
                let found = replies.feed(owed, now);
                sum += found.good;
                fault = found.fault;
                if found.complete {
                    owed = Asked::Nothing;
                }
                rest = later;
            }
            prop_assert_eq!(fault, good.is_some());
            prop_assert_eq!(owed != asked, complete);
            // A head that goes wrong late has been let through up to there: hyper has no whole head then.
            prop_assert!(good.is_none_or(|good| sum >= good));
        }
    }
}
