//! The head of a backend's answer, read strictly and put together again for the visitor. Pure.

use http::HeaderValue;
use memchr::memchr;

use crate::proxy::{
    fields::{well_formed, whole_lines},
    trailers,
};

/// Longest head, in bytes, and most fields in it.
const LIMITS: (usize, usize) = (64 * 1024, 200);
/// Most interim answers before the one that counts.
const MOST_INTERIM: u32 = 16;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// It says so itself.
    Chunked,
    /// The connection ends with it.
    UntilClose,
}

/// A head, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its status: 200 to 599.
    pub(super) status: u16,
    /// What follows.
    pub(super) body: Body,
    /// May the connection be used again?
    pub(super) keep: bool,
    /// Its own length in bytes.
    pub(super) length: usize,
}

/// What we have to say beside the backend.
#[derive(Debug, Clone, Default)]
pub(super) struct Ours {
    /// The visitor's connection ends after this.
    pub(super) close: bool,
    /// By TLS, nothing but TLS from now on.
    pub(super) only_tls: Option<HeaderValue>,
    /// The request was a HEAD.
    pub(super) to_head: bool,
    /// The visitor takes trailers.
    pub(super) trailers: bool,
}

/// It cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Irregular;

/// Reads a head as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Where the head that counts begins, behind interim ones.
    begin: usize,
    /// Up to here there are whole lines.
    lines: usize,
    interim: u32,
}

impl Reader {
    /// Reads `bytes`, which begin where this reader began and may have grown since. `Ok(None)`: more is needed.
    /// The head for the visitor goes to `out`. Interim answers are passed over.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        ours: &Ours,
        out: &mut Vec<u8>,
    ) -> Result<Option<Head>, Irregular> {
        while let Some(end) = self.end(bytes)? {
            if end > LIMITS.0 {
                return Err(Irregular);
            }
            let head = &bytes[self.begin..end];
            let status = status(head)?;
            if status >= 200 {
                let mut head = write(head, status, ours, out)?;
                head.length = end;
                return Ok(Some(head));
            }
            self.interim += 1;
            // 101 was not asked for.
            if status == 101 || self.interim > MOST_INTERIM {
                return Err(Irregular);
            }
            // It has no body to speak of, and only HTTP/1.1 has it.
            let mut modern = head.starts_with(b"HTTP/1.1");
            for line in whole_lines(head).map_err(|_| Irregular)?.skip(1) {
                let (name, _) = well_formed(line).map_err(|_| Irregular)?;
                modern &= !matches!(kind(name), Kind::Length | Kind::Encoding);
            }
            if !modern {
                return Err(Irregular);
            }
            self.begin = end;
        }
        if bytes.len() > LIMITS.0 { Err(Irregular) } else { Ok(None) }
    }

    /// Where the head ends.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Irregular> {
        while let Some(found) = memchr(b'\n', &bytes[self.lines..]) {
            let (line, end) = (self.lines, self.lines + found);
            if found == 0 || bytes[end - 1] != b'\r' {
                return Err(Irregular);
            }
            self.lines = end + 1;
            if found == 1 {
                // An empty line is no status line.
                return if line == self.begin { Err(Irregular) } else { Ok(Some(end + 1)) };
            }
        }
        Ok(None)
    }
}

/// The status in the first line: `HTTP/1.1 200 OK`, also without a reason or the space before it.
fn status(head: &[u8]) -> Result<u16, Irregular> {
    let line = whole_lines(head).map_err(|_| Irregular)?.next().ok_or(Irregular)?;
    let rest = line
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| line.strip_prefix(b"HTTP/1.0 "))
        .ok_or(Irregular)?;
    let (code, reason) = rest.split_at_checked(3).ok_or(Irregular)?;
    let text = reason.iter().all(|byte| *byte == b'\t' || *byte > 31 && *byte != 127);
    if !code.iter().all(u8::is_ascii_digit) || !matches!(reason.first(), None | Some(b' ')) || !text
    {
        return Err(Irregular);
    }
    let status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if (100..600).contains(&status) { Ok(status) } else { Err(Irregular) }
}

/// What a field means for the connection.
#[derive(PartialEq, Eq)]
enum Kind {
    Others,
    Connection,
    Length,
    Encoding,
    OnlyTls,
    Trailer,
    /// For this connection only.
    Hop,
}

fn kind(name: &[u8]) -> Kind {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'c') if is("connection") => Kind::Connection,
        Some(b'c') if is("content-length") => Kind::Length,
        Some(b't') if is("transfer-encoding") => Kind::Encoding,
        Some(b't') if is("trailer") => Kind::Trailer,
        Some(b't') if is("te") => Kind::Hop,
        Some(b'k') if is("keep-alive") => Kind::Hop,
        Some(b'p') if is("proxy-connection") || is("proxy-authorization") => Kind::Hop,
        Some(b'u') if is("upgrade") => Kind::Hop,
        Some(b's') if is("strict-transport-security") => Kind::OnlyTls,
        _ => Kind::Others,
    }
}

fn write(head: &[u8], status: u16, ours: &Ours, out: &mut Vec<u8>) -> Result<Head, Irregular> {
    out.clear();
    let first = whole_lines(head).map_err(|_| Irregular)?.next().ok_or(Irregular)?;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&first[b"HTTP/1.1 ".len()..]);
    if first.len() == b"HTTP/1.1 200".len() {
        out.push(b' '); // the space belongs to the line, the reason does not
    }
    out.extend_from_slice(b"\r\n");
    let modern = first.starts_with(b"HTTP/1.1");
    let (mut keep, mut length, mut chunked, mut only_tls) =
        (modern, None, false, ours.only_tls.clone());
    let (mut named, mut announced) = (Vec::<&[u8]>::new(), Vec::<&[u8]>::new());
    for (count, line) in whole_lines(head).map_err(|_| Irregular)?.skip(1).enumerate() {
        let (name, value) = well_formed(line).map_err(|_| Irregular)?;
        if count >= LIMITS.1 {
            return Err(Irregular);
        }
        match kind(name) {
            Kind::Others => {}
            Kind::OnlyTls => only_tls = None,
            Kind::Hop => continue,
            Kind::Trailer => {
                announced.push(value);
                continue;
            }
            Kind::Connection => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        keep = false;
                    } else if !token.eq_ignore_ascii_case(b"keep-alive") {
                        named.push(token);
                    }
                }
                continue;
            }
            Kind::Length => {
                let valid = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
                if length.is_some() || !valid {
                    return Err(Irregular);
                }
                let digits = value.iter().map(|digit| u64::from(digit - b'0'));
                length = Some(digits.fold(0, |length, digit| length * 10 + digit));
                if status == 204 {
                    continue; // RFC 9110, section 8.6
                }
            }
            Kind::Encoding => {
                if chunked || !modern || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Irregular);
                }
                chunked = true;
                continue;
            }
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    if chunked && length.is_some() {
        return Err(Irregular);
    }
    if !named.is_empty() {
        drop_named(out, &named);
    }
    let body = match length {
        _ if ours.to_head || matches!(status, 204 | 304) => Body::Empty,
        _ if chunked => Body::Chunked,
        Some(0) => Body::Empty,
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    };
    if matches!(body, Body::Chunked | Body::UntilClose) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if ours.trailers
        && body == Body::Chunked
        && let Some(announced) = trailers::announced(announced.into_iter())
    {
        out.extend_from_slice(b"trailer: ");
        out.extend_from_slice(announced.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if let Some(only_tls) = only_tls {
        out.extend_from_slice(b"strict-transport-security: ");
        out.extend_from_slice(only_tls.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if ours.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(Head { status, body, keep: keep && body != Body::UntilClose, length: 0 })
}

/// Takes out what `Connection` has named, but for what frames the body. Few backends name anything.
fn drop_named(out: &mut Vec<u8>, named: &[&[u8]]) {
    let mut kept = Vec::with_capacity(out.len());
    for (count, line) in out.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let goes = count > 0
            && !name.eq_ignore_ascii_case(b"content-length")
            && named.iter().any(|other| other.eq_ignore_ascii_case(name));
        if !goes {
            kept.extend_from_slice(line);
        }
    }
    *out = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, ours: Ours) -> Result<Option<(Head, String)>, Irregular> {
        let mut out = Vec::new();
        let head = Reader::default().read(answer.as_bytes(), &ours, &mut out)?;
        Ok(head.map(|head| (head, String::from_utf8(out).unwrap())))
    }

    #[test]
    fn good_answers_are_passed_on() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA:  b \r\n\r\nok",
                200,
                Body::Length(2),
                true,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\n",
            ),
            (
                "HTTP/1.1 204\r\nContent-Length: 2\r\n\r\n",
                204,
                Body::Empty,
                true,
                "HTTP/1.1 204 \r\n\r\n",
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
                304,
                Body::Empty,
                true,
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            ),
            (
                "HTTP/1.0 200 OK\r\n\r\nx",
                200,
                Body::UntilClose,
                false,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\nTrailer: A\r\nConnection: close\r\n\r\n",
                200,
                Body::Chunked,
                false,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                200,
                Body::Empty,
                true,
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nX: 1\r\nConnection: X, keep-alive, content-length\r\nContent-Length: 0\r\n\r\n",
                200,
                Body::Empty,
                true,
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
        ];
        for (answer, status, body, keep, out) in table {
            let (head, written) = read(answer, Ours::default()).unwrap().expect(answer);
            assert_eq!((head.status, head.body, head.keep), (status, body, keep), "{answer}");
            assert_eq!(written, out, "{answer}");
            assert_eq!(head.length, answer.rfind("\r\n\r\n").unwrap() + 4);
            // Whatever the pieces it comes in.
            let (mut reader, mut out) = (Reader::default(), Vec::new());
            for end in 0..head.length {
                let read = reader.read(&answer.as_bytes()[..end], &Ours::default(), &mut out);
                assert_eq!(read, Ok(None), "{answer} {end}");
            }
        }
        let ours = Ours {
            close: true,
            only_tls: Some(HeaderValue::from_static("max-age=1")),
            to_head: true,
            trailers: true,
        };
        let (head, out) =
            read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ours).unwrap().unwrap();
        assert_eq!(head.body, Body::Empty);
        assert_eq!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nstrict-transport-security: max-age=1\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn irregular_ones_are_not() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(70_000));
        let many: String = (0..=LIMITS.1).map(|k| format!("X-{k}: 1\r\n")).collect();
        let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(17);
        let table = [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200\0\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 OK\r\r\n\r\n",
            "HTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            &long,
            &many,
            &interim,
        ];
        for answer in table {
            assert_eq!(read(answer, Ours::default()), Err(Irregular), "{}", answer.escape_debug());
        }
    }
}
