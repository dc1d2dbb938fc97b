//! A chunked body (RFC 9112, section 7.1), by its strict grammar. Pure.

use super::fields::{Fault, field, skip};

/// Longest line of a chunk's size, or all trailers together.
const LONGEST: usize = 16 * 1024;
/// Most trailers.
const MOST_TRAILERS: u8 = 100;

/// Where in the body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the line that tells a chunk's size.
    Size,
    /// In a chunk.
    Data(u64),
    /// Right after a chunk: so many of its two closing bytes were seen.
    End(u8),
    /// After the last chunk.
    Trailers,
}

/// Reads along.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// What came of the current line so far.
    kept: Vec<u8>,
    /// Bytes of trailers, and how many there are.
    trailers: usize,
    count: u8,
}

impl Chunks {
    /// At the beginning of the body.
    pub(super) fn new() -> Self {
        Self { state: State::Size, kept: Vec::new(), trailers: 0, count: 0 }
    }

    /// Reads these bytes too. Once the body is complete: what is behind it.
    pub(super) fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        while !bytes.is_empty() {
            match self.state {
                State::Data(left) => {
                    let (left, rest) = skip(left, bytes);
                    self.state = if left == 0 { State::End(0) } else { State::Data(left) };
                    bytes = rest;
                }
                State::End(seen) => {
                    if bytes[0] != b"\r\n"[usize::from(seen)] {
                        return Err(Fault::Malformed);
                    }
                    self.state = if seen == 0 { State::End(1) } else { State::Size };
                    bytes = &bytes[1..];
                }
                State::Size | State::Trailers => {
                    let (ended, rest) = self.line(bytes)?;
                    if ended {
                        return Ok(Some(rest));
                    }
                    bytes = rest;
                }
            }
        }
        Ok(None)
    }

    /// Reads on in a line: was it the last of the body, and what is behind it?
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<(bool, &'a [u8]), Fault> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.kept.extend_from_slice(line);
        self.trailers += if self.state == State::Trailers { line.len() } else { 0 };
        if self.kept.len() > LONGEST || self.trailers > LONGEST {
            return Err(Fault::Malformed);
        }
        if end.is_none() {
            return Ok((false, rest));
        }
        let line = self.kept.strip_suffix(b"\r\n").ok_or(Fault::Malformed)?;
        let ended = self.state == State::Trailers && line.is_empty();
        match self.state {
            State::Trailers if ended => {}
            State::Trailers => {
                field(line)?;
                self.count += 1;
                if self.count > MOST_TRAILERS {
                    return Err(Fault::Malformed);
                }
            }
            _ => {
                self.state = match chunk_size(line)? {
                    0 => State::Trailers,
                    size => State::Data(size),
                };
            }
        }
        self.kept = Vec::new();
        Ok((ended, rest))
    }
}

/// The size a chunk announces. Extensions may follow; nobody uses them, hyper drops them.
pub(super) fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let plain = extension.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if size.is_empty()
        || size.len() > 15
        || !plain
        || !matches!(extension.first(), None | Some(b';'))
    {
        return Err(Fault::Malformed);
    }
    let text = std::str::from_utf8(size).map_err(|_| Fault::Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Fault::Malformed)
}
