//! What is done to header fields on their way: hop-by-hop ones go, forwarded ones are believed or replaced. Pure but
//! for the random request id.

use std::{cell::RefCell, fmt::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use ring::rand::{SecureRandom, SystemRandom};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that tell where a request comes from, and that nobody but us may tell.
const CLAIMS: [&str; 5] =
    ["x-real-ip", "x-scheme", "proxy", "x-forwarded-prefix", "x-forwarded-server"];

/// Removes what is meant for this connection only, and what `Connection` names. Framing is not touched here.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHORIZATION, TE, TRAILER, UPGRADE]
    {
        headers.remove(name);
    }
}

/// Fields that stay even when `Connection` names them: a backend must not lose them by a visitor's trick.
fn is_end_to_end(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, COOKIE, AUTHORIZATION].contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || *name == X_REQUEST_ID
}

/// Is it one of the family `X-Forwarded-…`? Some backends read an underscore as a hyphen.
fn is_forwarded(name: &&HeaderName) -> bool {
    let plain = |byte| if byte == b'_' { b'-' } else { byte };
    let mut name = name.as_str().bytes().map(plain);
    b"x-forwarded-".iter().all(|byte| name.next() == Some(*byte))
}

/// Does it claim to come from somewhere else?
pub(super) fn claims(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(X_FORWARDED_PROTO)
}

/// What we know of where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Is its word believed?
    pub(super) trusted: bool,
    /// Did it come by TLS?
    pub(super) tls: bool,
    /// The request's `Host`.
    pub(super) host: &'a HeaderValue,
}

/// Prepares a request's fields for a backend. The framing of the body is the caller's.
pub(super) fn prepare(headers: &mut HeaderMap, origin: Origin<'_>) {
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    headers.remove(FORWARDED);
    for name in CLAIMS {
        headers.remove(name);
    }
    if !origin.trusted {
        let claimed: Vec<HeaderName> = headers.keys().filter(is_forwarded).cloned().collect();
        for name in claimed {
            headers.remove(name);
        }
    }
    let peer = origin.peer.to_canonical();
    let mut chain = String::new();
    for value in headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        chain.push_str(value);
        chain.push(',');
    }
    let _ = write!(chain, "{peer}");
    headers.insert(X_FORWARDED_FOR, text(&chain));
    let proto = if origin.tls { "https" } else { "http" };
    let known = single(headers, &X_FORWARDED_PROTO);
    let outer_tls =
        known.as_ref().map_or(origin.tls, |proto| proto.as_bytes().starts_with(b"https"));
    headers.insert(X_FORWARDED_PROTO, known.unwrap_or(HeaderValue::from_static(proto)));
    let host = single(headers, &X_FORWARDED_HOST).unwrap_or_else(|| origin.host.clone());
    let port = single(headers, &X_FORWARDED_PORT).or_else(|| port(&host).map(text));
    let port = port.unwrap_or(HeaderValue::from_static(if outer_tls { "443" } else { "80" }));
    headers.insert(X_FORWARDED_HOST, host);
    headers.insert(X_FORWARDED_PORT, port);
    let id = single(headers, &X_REQUEST_ID).filter(|id| origin.trusted && is_id(id));
    headers.insert(X_REQUEST_ID, id.unwrap_or_else(request_id));
}

/// The one value of a field; several are nobody's word.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|value| values.next().is_none() && !value.is_empty()).cloned()
}

/// The port in a `Host`.
fn port(host: &HeaderValue) -> Option<&str> {
    let (_, port) = host.to_str().ok()?.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

/// A value made of plain text.
fn text(text: &str) -> HeaderValue {
    // Only visible ASCII gets here; anything else would be dropped rather than passed on.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Can this be a request's id?
fn is_id(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    id.len() <= 64 && id.as_bytes().iter().all(plain)
}

/// A new request id: 32 hexadecimal digits.
pub(super) fn request_id() -> HeaderValue {
    /// Random bytes drawn ahead: one call to the kernel for many ids.
    struct Drawn([u8; 512], usize);
    thread_local! {
        static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn([0; 512], 512)) };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.1 == drawn.0.len() {
            SystemRandom::new().fill(&mut drawn.0).expect("the kernel has random numbers");
            drawn.1 = 0;
        }
        let mut id = [0; 32];
        for (two, byte) in id.chunks_exact_mut(2).zip(&drawn.0[drawn.1..]) {
            two[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            two[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        drawn.1 += 16;
        HeaderValue::from_bytes(&id).expect("hexadecimal digits are visible")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "444"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-email", "root@evil"),
        ("x-forwarded-ssl", "on"),
        ("x-forwarded-uri", "/x"),
        ("x_forwarded_user", "root"),
        ("x-request-id", "mine-1"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-scheme", "https"),
        ("proxy", "http://evil"),
        ("connection", "x-forwarded-for, cookie, x-secret"),
        ("x-secret", "1"),
        ("cookie", "a=b"),
    ];

    fn prepared(trusted: bool) -> HeaderMap {
        let host = HeaderValue::from_static("hub.example:8443");
        let mut headers = headers(SPOOFED);
        let peer = "::ffff:192.0.2.1".parse().unwrap();
        prepare(&mut headers, Origin { peer, trusted, tls: false, host: &host });
        for name in ["forwarded", "x-real-ip", "x-scheme", "proxy", "connection", "x-secret"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(headers["cookie"], "a=b");
        headers
    }

    #[test]
    fn a_strangers_claims_are_replaced() {
        let headers = prepared(false);
        let forwarded = |name: &&str| name.replace('_', "-").starts_with("x-forwarded-");
        let mut forwarded: Vec<_> =
            headers.keys().map(HeaderName::as_str).filter(forwarded).collect();
        forwarded.sort_unstable();
        assert_eq!(
            forwarded,
            ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"]
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "hub.example:8443");
        assert_eq!(headers["x-forwarded-port"], "8443");
        assert_eq!(headers["x-request-id"].len(), 32);
    }

    #[test]
    fn a_trusted_peers_claims_are_extended() {
        let headers = prepared(true);
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4,192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "evil");
        assert_eq!(headers["x-forwarded-port"], "444");
        assert_eq!(headers["x-forwarded-user"], "root");
        assert_eq!(headers["x-request-id"], "mine-1");
    }

    #[test]
    fn request_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
