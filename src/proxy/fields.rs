//! What heads of requests and of answers have in common: where one ends, and the strict grammar of its fields
//! (RFC 9112, sections 2.2 and 5). Pure.

use memchr::memchr;

/// It is not one unambiguous message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Others may read it differently, or not at all.
    Malformed,
    /// The first line is longer than [`LONGEST_LINE`].
    LongTarget,
    /// A field is longer than [`LONGEST_LINE`].
    LongField,
}

/// Longest line of a head, in bytes.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

/// What came of a head that is not complete.
#[derive(Debug, Default)]
pub(super) struct Gather {
    kept: Vec<u8>,
}

impl Gather {
    /// Has no head begun?
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Reads on. Once the head is complete `read` gets all of it, with the empty line at its end; then comes what
    /// `read` made of it, and what is behind the head. A head of more than `longest` bytes is a fault.
    pub(super) fn feed<'a, T>(
        &mut self,
        bytes: &'a [u8],
        longest: usize,
        read: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<(T, &'a [u8])>, Fault> {
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
                return Err(Fault::Malformed);
            }
            match last(&self.kept, at, 2) {
                // An empty line before a message is tolerated once by tradition; we don't need it.
                None => return Err(Fault::Malformed),
                Some(b'\n') => {
                    let rest = &bytes[at + 1..];
                    let outcome = if before == 0 {
                        read(&bytes[..=at])?
                    } else {
                        self.kept.extend_from_slice(&bytes[..=at]);
                        read(&self.kept)?
                    };
                    self.kept = Vec::new();
                    return Ok(Some((outcome, rest)));
                }
                Some(_) => from = at + 1,
            }
        }
        if before + bytes.len() > longest {
            return Err(Fault::Malformed);
        }
        self.kept.extend_from_slice(bytes);
        Ok(None)
    }
}

/// The lines of a whole head, each without its end. (What has no end of its own keeps its line feed, and is no field.)
pub(super) fn whole_lines(head: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Fault> {
    let lines = head
        .strip_suffix(b"\r\n")
        .filter(|lines| lines.ends_with(b"\r\n"))
        .ok_or(Fault::Malformed)?;
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.map(|line| line.strip_suffix(b"\r\n").unwrap_or(line)))
}

/// The lines of a complete head: the first, and the others.
pub(super) fn lines(head: &[u8]) -> Result<(&[u8], impl Iterator<Item = &[u8]>), Fault> {
    let mut lines = whole_lines(head)?;
    let first = lines.next().ok_or(Fault::Malformed)?;
    if first.len() > LONGEST_LINE {
        return Err(Fault::LongTarget);
    }
    Ok((first, lines))
}

/// Bytes of names and methods (RFC 9110, section 5.6.2).
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// May it stand in a method or in a field's name?
pub(super) fn is_token(byte: &u8) -> bool {
    IS_TOKEN[usize::from(*byte)]
}

/// Name and trimmed value of a field; no folding, no controls, no space before the colon.
pub(super) fn well_formed(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // Every byte is looked at, so that the compiler may look at many at once.
    let text =
        value.iter().fold(true, |text, byte| text & (*byte == b'\t' || *byte > 31 && *byte != 127));
    if name.is_empty() || !name.iter().all(is_token) || !text {
        return Err(Fault::Malformed);
    }
    // Only space and tab are optional white space here.
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    Ok((name, &value[start..end]))
}

/// The same of a field that is not too long.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let field = well_formed(line)?;
    if line.len() > LONGEST_LINE { Err(Fault::LongField) } else { Ok(field) }
}

/// What the fields of a head say about the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Framing {
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub(super) chunked: bool,
}

impl Framing {
    /// Takes a field in, if it is one of the two. Only one of both, once, in its plainest form, is unambiguous.
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let valid = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if self.length.is_some() || self.chunked || !valid {
                return Err(Fault::Malformed);
            }
            let digit = |sum, digit: &u8| sum * 10 + u64::from(digit - b'0');
            self.length = Some(value.iter().fold(0, digit));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let valid = value.eq_ignore_ascii_case(b"chunked");
            if self.chunked || self.length.is_some() || !valid {
                return Err(Fault::Malformed);
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// Skips up to `left` bytes: how many are still to come, and the rest.
pub(super) fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (left - taken as u64, &bytes[taken..])
}
