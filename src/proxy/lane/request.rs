//! A plain request's head, taken apart and put together again for a backend. Pure. What is not plain in every respect is
//! none of its business: hyper reads it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONNECTION, HOST},
};
use memchr::memchr;

use crate::proxy::{
    fields::{well_formed, whole_lines},
    front::is_host,
};

/// With more fields than this it is not plain.
const MOST_FIELDS: usize = 100;
/// A longer head is not plain.
const LONGEST: usize = 48 * 1024;

/// A request that can go the short way.
pub(super) struct Plain {
    /// Its method.
    pub(super) method: Method,
    /// Is it the connection's last?
    pub(super) last: bool,
    /// Path and query, as they came.
    pub(super) target: String,
    /// The fields that rules are about: `Host`, what is meant for this connection only, what tells where it comes from.
    /// All others have been written already.
    pub(super) fields: HeaderMap,
    /// What kind of answer is wanted.
    pub(super) accept: Option<HeaderValue>,
}

/// Takes a head apart that the scanner has let pass. The request line and the fields nobody has rules about go to `out`.
pub(super) fn read(head: &[u8], out: &mut Vec<u8>) -> Option<Plain> {
    let mut lines = whole_lines(head).ok().filter(|_| head.len() < LONGEST)?;
    let first = lines.next()?;
    let rest = first.strip_suffix(b" HTTP/1.1")?;
    let space = memchr(b' ', rest)?;
    let (method, target) = (&rest[..space], &rest[space + 1..]);
    if method.is_empty()
        || !method.iter().all(u8::is_ascii_uppercase)
        || !target.iter().all(is_plain)
    {
        return None;
    }
    if matches!(method, b"CONNECT" | b"TRACE") || target.first() != Some(&b'/') {
        return None;
    }
    out.extend_from_slice(first);
    out.extend_from_slice(b"\r\n");
    let mut fields = HeaderMap::with_capacity(16);
    let (mut last, mut accept) = (false, None);
    for (count, line) in lines.enumerate() {
        let (name, value) = well_formed(line).ok().filter(|_| count < MOST_FIELDS)?;
        match kind(name) {
            Kind::Others => {
                if name.eq_ignore_ascii_case(b"accept") {
                    accept = HeaderValue::from_bytes(value).ok();
                }
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            Kind::Ruled => {
                let name = HeaderName::from_bytes(name).ok()?;
                fields.append(name, HeaderValue::from_bytes(value).ok()?);
            }
            Kind::Connection => last |= closes(value)?,
            Kind::NotPlain => return None,
        }
    }
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() || !is_host(host) {
        return None;
    }
    debug_assert!(!fields.contains_key(CONNECTION), "it has its own arm");
    Some(Plain {
        method: Method::from_bytes(method).ok()?,
        last,
        target: std::str::from_utf8(target).ok()?.to_owned(),
        fields,
        accept,
    })
}

impl Plain {
    /// Its path, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Writes the fields that were held back, as the rules have left them, and the end of the head.
    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Who is a field for?
enum Kind {
    /// For the backend alone.
    Others,
    /// There are rules about it.
    Ruled,
    /// `Connection`.
    Connection,
    /// With it a request is not plain.
    NotPlain,
}

/// What `Connection` says of the connection; none: more than is plain.
fn closes(value: &[u8]) -> Option<bool> {
    let mut closes = false;
    for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if token.eq_ignore_ascii_case(b"close") {
            closes = true;
        } else if ![&b"keep-alive"[..], b"te"].iter().any(|it| it.eq_ignore_ascii_case(token)) {
            return None;
        }
    }
    Some(closes)
}

fn kind(name: &[u8]) -> Kind {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'x') => Kind::Ruled,
        Some(b'h') if is("host") => Kind::Ruled,
        Some(b'c') if is("connection") => Kind::Connection,
        Some(b'e') if is("expect") => Kind::NotPlain,
        Some(b'f') if is("forwarded") => Kind::Ruled,
        Some(b'k') if is("keep-alive") => Kind::Ruled,
        Some(b'p') if name.len() >= 5 && name[..5].eq_ignore_ascii_case(b"proxy") => Kind::Ruled,
        Some(b't') if is("te") || is("trailer") => Kind::Ruled,
        Some(b't') if is("transfer-encoding") => Kind::NotPlain,
        Some(b'u') if is("upgrade") => Kind::NotPlain,
        _ => Kind::Others,
    }
}

/// Bytes of a target that nobody reads in another way.
fn is_plain(byte: &u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(head: &str) -> Option<(String, Plain)> {
        let mut out = Vec::new();
        let plain = read(head.as_bytes(), &mut out)?;
        plain.finish(&mut out);
        Some((String::from_utf8(out).unwrap(), plain))
    }

    #[test]
    fn a_plain_request_keeps_its_fields() {
        let (out, plain) = written(
            "PUT /user/a/x%20y?q=1 HTTP/1.1\r\nHost: a:80\r\nCookie:  b=c \r\nX-XSRFToken: 1\r\nAccept: text/html\r\n\
             Content-Length: 3\r\nConnection: Keep-Alive\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            out,
            "PUT /user/a/x%20y?q=1 HTTP/1.1\r\nCookie: b=c\r\nAccept: text/html\r\nContent-Length: 3\r\nhost: a:80\r\n\
             x-xsrftoken: 1\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
        );
        assert_eq!(plain.path(), "/user/a/x%20y");
        assert!(plain.method == Method::PUT && !plain.last);
        assert_eq!(plain.accept.unwrap(), "text/html");
        let (_, plain) =
            written("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        assert!(plain.method == Method::HEAD && plain.last);
        let (out, plain) = written(
            "GET / HTTP/1.1\r\nhost: a\r\nTE: trailers\r\nConnection: TE, Keep-Alive\r\n\r\n",
        )
        .unwrap();
        assert_eq!(out, "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n");
        assert!(!plain.last);
    }

    #[test]
    fn what_is_not_plain_goes_the_long_way() {
        for head in [
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\\x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(written(head).is_none(), "{head}");
        }
        let many: String = (0..=MOST_FIELDS).map(|k| format!("X-{k}: 1\r\n")).collect();
        assert!(written(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).is_none());
        let long = "c".repeat(LONGEST);
        assert!(written(&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")).is_none());
    }
}
