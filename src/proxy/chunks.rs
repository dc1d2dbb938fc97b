//! A chunked body (RFC 9112, section 7.1), by its strict grammar. Pure.

use memchr::memchr;

use super::{
    fields::{Fault, skip, well_formed},
    trailers::may_pass,
};

/// Longest line of a chunk's size, or all trailers together.
const LONGEST: usize = 16 * 1024;
/// Most trailers, as hyper has it.
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
    size: usize,
    count: u8,
    /// Those that may be passed on, as they go out; none: nobody wants them.
    trailers: Option<Vec<u8>>,
}

impl Chunks {
    /// At the beginning of the body. `trailers`: does somebody want them?
    pub(super) fn new(trailers: bool) -> Self {
        let trailers = trailers.then(Vec::new);
        Self { state: State::Size, kept: Vec::new(), size: 0, count: 0, trailers }
    }

    /// The trailers of a body that is complete, as far as they may be passed on: each with its line's end.
    pub(super) fn trailers(&self) -> &[u8] {
        self.trailers.as_deref().unwrap_or_default()
    }

    /// Reads these bytes too. Once the body is complete: what is behind it.
    pub(super) fn feed<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        self.read(bytes, |_| ())
    }

    /// The same; hands out the data.
    pub(super) fn read<'a>(
        &mut self,
        mut bytes: &'a [u8],
        mut data: impl FnMut(&'a [u8]),
    ) -> Result<Option<&'a [u8]>, Fault> {
        while !bytes.is_empty() {
            match self.state {
                State::Data(left) => {
                    let (left, rest) = skip(left, bytes);
                    data(&bytes[..bytes.len() - rest.len()]);
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
        let end = memchr(b'\n', bytes);
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.kept.extend_from_slice(line);
        self.size += if self.state == State::Trailers { line.len() } else { 0 };
        if self.kept.len() > LONGEST || self.size > LONGEST {
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
                let (name, value) = well_formed(line)?;
                self.count += 1;
                if self.count > MOST_TRAILERS {
                    return Err(Fault::Malformed);
                }
                if let Some(trailers) = self.trailers.as_mut().filter(|_| may_pass(name)) {
                    for part in [name, b": ", value, b"\r\n"] {
                        trailers.extend_from_slice(part);
                    }
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
fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
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
