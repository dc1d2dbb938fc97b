//! What is done to header fields on their way: hop-by-hop ones go, forwarded ones are believed or replaced. Pure but
//! for the random request id.
//!
//! | Field | To user servers | To the hub |
//! | --- | --- | --- |
//! | `X-Forwarded-For` | a trusted peer's chain, then the peer; a stranger's chain is dropped | the same |
//! | `X-Forwarded-Proto`, `-Host`, `-Port` | a trusted peer's word, else what we see | the same |
//! | other `X-Forwarded-…` | a trusted peer's word only; `-Prefix` and `-Server` never | the same |
//! | `X-Request-ID` | a trusted peer's, else a new one | the same |
//! | `X-Jovis-Client` | never | the visitor's address, always one and always ours |
//!
//! `X-Jovis-Client` is for whoever limits or logs by address: it is the right-most address of the chain (the peer
//! included) that is neither on loopback nor in a trusted network. If all are, it is the left-most of them. What is no
//! address ends the walk, for what stands left of it is nobody's word. It is an IPv4 or IPv6 address in its plain form,
//! without brackets or port, and never an IPv4 address in IPv6's clothes. Only the proxy knows the trusted networks, so
//! the hub takes this field rather than walking the chain itself. It is believed only on the hub's own Unix socket.

use std::{
    cell::RefCell,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHORIZATION,
        TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use ring::rand::{SecureRandom, SystemRandom};

use super::settings::Settings;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_JOVIS_CLIENT: HeaderName = HeaderName::from_static("x-jovis-client");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that tell where a request comes from, and that nobody but us may tell.
const CLAIMS: [&str; 6] = [
    "x-real-ip",
    "x-scheme",
    "proxy",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-jovis-client",
];

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

/// Drops whatever says where a request comes from.
pub(super) fn drop_claims(headers: &mut HeaderMap) {
    drop_marks(headers);
    drop_forwarded(headers);
}

fn drop_marks(headers: &mut HeaderMap) {
    headers.remove(FORWARDED);
    for name in CLAIMS {
        headers.remove(name);
    }
}

fn drop_forwarded(headers: &mut HeaderMap) {
    let claimed: Vec<HeaderName> = headers.keys().filter(is_forwarded).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
}

/// What we know of where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Whose word is believed?
    pub(super) settings: &'a Settings,
    /// Did it come by TLS?
    pub(super) tls: bool,
    /// The request's `Host`.
    pub(super) host: &'a HeaderValue,
    /// Does it go to the hub, by its Unix socket?
    pub(super) to_hub: bool,
}

/// Prepares a request's fields for a backend. The framing of the body is the caller's. Gives back the visitor's address,
/// as far as it can be believed.
pub(super) fn prepare(headers: &mut HeaderMap, origin: Origin<'_>) -> IpAddr {
    let trusted = origin.settings.trusts(origin.peer);
    strip_hop_by_hop(headers);
    drop_marks(headers);
    if !trusted {
        drop_forwarded(headers);
    }
    let peer = origin.peer.to_canonical();
    let mut chain = String::new();
    let said = headers.get_all(X_FORWARDED_FOR).iter();
    for part in said.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        // One unreadable part must not take along what a balancer has put behind it.
        chain.push_str(plain(part).unwrap_or("unknown"));
        chain.push(',');
    }
    let client = visitor(&chain, peer, origin.settings);
    if origin.to_hub {
        headers.insert(X_JOVIS_CLIENT, text(&client.to_string()));
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
    let id = single(headers, &X_REQUEST_ID).filter(|id| trusted && is_id(id));
    headers.insert(X_REQUEST_ID, id.unwrap_or_else(request_id));
    client
}

/// Who has asked: the nearest address that is not trusted, else the farthest that is. `earlier`: the chain up to the
/// peer, with a comma behind each part.
fn visitor(earlier: &str, peer: IpAddr, settings: &Settings) -> IpAddr {
    let mut nearest = peer;
    let mut farther = earlier.strip_suffix(',').into_iter().flat_map(|chain| chain.rsplit(','));
    while settings.trusts(nearest) {
        match farther.next().and_then(address) {
            Some(address) => nearest = address,
            None => break,
        }
    }
    nearest
}

/// An address in a chain; some balancers add a port.
fn address(part: &str) -> Option<IpAddr> {
    let part = part.trim();
    let address = part.parse().or_else(|_| part.parse().map(|both: SocketAddr| both.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Visible ASCII, blanks, and nothing else.
fn plain(part: &[u8]) -> Option<&str> {
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    std::str::from_utf8(part).ok().filter(|part| part.as_bytes().iter().all(visible))
}

/// The one value of a field; several are nobody's word.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|value| values.next().is_none() && !value.is_empty()).cloned()
}

/// The port in a `Host`.
pub(super) fn port(host: &HeaderValue) -> Option<&str> {
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
    use crate::config::sections;

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
        ("x-jovis-client", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-scheme", "https"),
        ("proxy", "http://evil"),
        ("connection", "x-forwarded-for, cookie, x-secret, x-jovis-client"),
        ("x-secret", "1"),
        ("cookie", "a=b"),
    ];

    fn settings(trusted_proxies: &[&str]) -> Settings {
        let trusted_proxies = trusted_proxies.iter().map(|&it| it.to_owned()).collect();
        Settings::new(&sections::Proxy { trusted_proxies, ..sections::Proxy::default() })
    }

    fn prepared(trusted: bool) -> HeaderMap {
        let host = HeaderValue::from_static("hub.example:8443");
        let mut headers = headers(SPOOFED);
        let peer = "::ffff:192.0.2.1".parse().unwrap();
        let settings = settings(if trusted { &["192.0.2.0/24"] } else { &[] });
        let origin = Origin { peer, settings: &settings, tls: false, host: &host, to_hub: false };
        let client = prepare(&mut headers, origin);
        assert_eq!(client.to_string(), if trusted { "1.2.3.4" } else { "192.0.2.1" });
        assert!(!headers.contains_key(X_JOVIS_CLIENT), "it is the hub's only");
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
    fn the_hub_is_told_the_visitors_address() {
        let settings = settings(&["10.0.0.0/8", "2001:db8::/32"]);
        let table: [(&str, &[&[u8]], &str); 14] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[b"1.2.3.4"], "192.0.2.1"),
            ("10.0.0.5", &[b"1.2.3.4"], "1.2.3.4"),
            ("10.0.0.5", &[b"6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.5", &[b"6.6.6.6", b"1.2.3.4 , 10.9.9.9"], "1.2.3.4"),
            ("127.0.0.1", &[b"6.6.6.6, 1.2.3.4, 10.0.0.5, ::1"], "1.2.3.4"),
            ("2001:db8::1", &[b"2001:db9::7"], "2001:db9::7"),
            ("10.0.0.5", &[b"::ffff:1.2.3.4"], "1.2.3.4"),
            ("10.0.0.5", &[b"1.2.3.4:5678"], "1.2.3.4"),
            ("10.0.0.5", &[b"[2001:db9::7]:5678"], "2001:db9::7"),
            ("10.0.0.5", &[b"10.1.1.1, 127.0.0.1"], "10.1.1.1"),
            ("10.0.0.5", &[b"6.6.6.6, unknown"], "10.0.0.5"),
            ("10.0.0.5", &[b""], "10.0.0.5"),
            // The visitor has said \xff, the balancer has put his address behind it.
            ("10.0.0.5", &[b"6.6.6.6,\xff, 1.2.3.4"], "1.2.3.4"),
        ];
        let host = HeaderValue::from_static("a");
        for (peer, chain, expected) in table {
            let mut headers = headers(&[("x-jovis-client", "6.6.6.6"), ("x-jovis-client", "::1")]);
            for value in chain {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
            }
            let peer = peer.parse().unwrap();
            let origin =
                Origin { peer, settings: &settings, tls: false, host: &host, to_hub: true };
            assert_eq!(prepare(&mut headers, origin).to_string(), expected, "{peer} {chain:?}");
            let told: Vec<_> = headers.get_all(X_JOVIS_CLIENT).iter().collect();
            assert_eq!(told, [expected], "{peer} {chain:?}");
        }
    }

    #[test]
    fn request_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
