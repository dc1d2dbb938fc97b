//! Trailers: fields behind a body in chunks (RFC 9110, section 6.5; RFC 9112, section 7.1.2). Pure.
//!
//! | From | To | What passes |
//! | --- | --- | --- |
//! | a server | a visitor by HTTP/2 | what may |
//! | a server | a visitor by HTTP/1.1 who has said `TE: trailers` | what may; on the long way (hyper's) what was announced in `Trailer` too |
//! | a visitor, in chunks or by HTTP/2 | a server | what may and was announced in `Trailer` |
//!
//! Nobody else gets any: RFC 9110 lets an intermediary drop them, and most programs take what they did not ask for badly.
//! Tornado, which is at the other end of most routes, refuses a request with trailers; so only who announces them sends
//! them there, and hears from the server what he would hear without us. A connection that has carried trailers to a
//! server is not used again: a server that reads them as the beginning of another request has to do so at its end.
//!
//! What may pass is told by the name. Some programs put trailers among the other fields; so whatever frames, routes,
//! authenticates, modifies or describes a message stays with its head (RFC 9110, section 6.5.1), and so does what
//! browsers and the programs behind us take for our word.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE, TRAILER},
};

/// Names that never pass.
const STAY: [&str; 31] = [
    "age",
    "alt-svc",
    "authentication-info",
    "authorization",
    "cache-control",
    "clear-site-data",
    "connection",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
];

/// Beginnings of names that never pass.
const FAMILIES: [&str; 19] = [
    "accept",
    "access-control-",
    "content-",
    "cross-origin-",
    "http2-",
    "if-",
    "proxy",
    "remote-",
    "sec-",
    "x-csrf",
    "x-forwarded-",
    "x-http-method",
    "x-jovis-",
    "x-real-ip",
    "x-remote-",
    "x-request-id",
    "x-rewrite-",
    "x-scheme",
    "x-xsrf",
];

/// Made for trailers (RFC 9530, section 6.3 with RFC 9110's consent), though its name is of a family that stays.
const DIGEST: &str = "content-digest";

/// May a field of this name, in whatever letters, be passed on behind a body? An underscore counts as a hyphen, as some
/// programs take it for one.
pub(super) fn may_pass(name: &[u8]) -> bool {
    let begins = |with: &str| {
        let same = |(ours, theirs): (u8, &u8)| match theirs {
            b'_' => ours == b'-',
            byte => byte.eq_ignore_ascii_case(&ours),
        };
        name.len() >= with.len() && with.bytes().zip(name).all(same)
    };
    let is = |other: &str| name.len() == other.len() && begins(other);
    is(DIGEST) || !STAY.into_iter().any(is) && !FAMILIES.into_iter().any(begins)
}

/// What the head of a message says of trailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Those that will follow and may pass, as a `Trailer` of ours; none: none.
    pub(super) announced: Option<HeaderValue>,
    /// Does who has sent it take trailers?
    pub(super) taken: bool,
}

/// Reads what a head says, before the fields of its connection are stripped.
pub(super) fn said(head: &HeaderMap) -> Said {
    Said { announced: announced(head.get_all(TRAILER).iter()), taken: taken(head) }
}

/// Says to a server that trailers are taken, for a visitor who takes them.
pub(super) fn ask(head: &mut HeaderMap) {
    head.insert(TE, HeaderValue::from_static("trailers"));
    head.insert(CONNECTION, HeaderValue::from_static("te"));
}

/// `TE: trailers`, perhaps among others (RFC 9110, section 10.1.4).
fn taken(head: &HeaderMap) -> bool {
    let mut tokens = head.get_all(TE).iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The names in these values of `Trailer` that may pass.
pub(super) fn announced<'a, V>(values: impl Iterator<Item = &'a V>) -> Option<HeaderValue>
where
    V: AsRef<[u8]> + ?Sized + 'a,
{
    let names = values.flat_map(|value| value.as_ref().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let names: Vec<_> = names.filter(|name| may_pass(name.as_str().as_bytes())).collect();
    let all: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::from_str(&all.join(", ")).ok().filter(|all| !all.is_empty())
}

/// Leaves what may pass. Is there any?
pub(super) fn keep(trailers: &mut HeaderMap) -> bool {
    let stay: Vec<HeaderName> =
        trailers.keys().filter(|name| !may_pass(name.as_str().as_bytes())).cloned().collect();
    for name in stay {
        trailers.remove(name);
    }
    !trailers.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_message_stays_with_its_head() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Trailer",
            "TE",
            "Host",
            "connection",
            "Keep-Alive",
            "Upgrade",
            "Proxy-Authorization",
            "Proxy",
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "WWW-Authenticate",
            "Content-Type",
            "content_encoding",
            "Content-Range",
            "Content-Security-Policy",
            "If-Match",
            "Range",
            "Expect",
            "Cache-Control",
            "Location",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-User",
            "X-Real-IP",
            "X-Request-ID",
            "X-Jovis-Client",
            "X-XSRFToken",
            "X-HTTP-Method-Override",
            "Remote-User",
            "Sec-WebSocket-Key",
            "Access-Control-Allow-Origin",
            "Strict-Transport-Security",
        ] {
            assert!(!may_pass(name.as_bytes()), "{name}");
        }
        for name in [
            "Content-Digest",
            "Repr-Digest",
            "ETag",
            "Server-Timing",
            "Grpc-Status",
            "X-Checksum",
            "content",
            "iframe",
            "x",
        ] {
            assert!(may_pass(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_head_says_what_will_follow_and_what_is_taken() {
        let head = |list: &[(&'static str, &'static str)]| {
            let mut head = HeaderMap::new();
            for (name, value) in list {
                head.append(*name, HeaderValue::from_static(value));
            }
            said(&head)
        };
        let names = |names: &'static str| Some(HeaderValue::from_static(names));
        for (fields, announced, taken) in [
            (&[][..], None, false),
            (&[("te", "trailers")], None, true),
            (&[("te", "gzip;q=0.5, Trailers")], None, true),
            (&[("te", "gzip"), ("te", "trailers")], None, true),
            (&[("te", "trailers;q=1")], None, false),
            (&[("trailer", "A, host,B , a b,,")], names("a, b"), false),
            (
                &[("trailer", "A"), ("trailer", "Content-Length"), ("trailer", "B")],
                names("a, b"),
                false,
            ),
            (&[("trailer", "cookie")], None, false),
        ] {
            assert_eq!(head(fields), Said { announced, taken }, "{fields:?}");
        }
    }

    #[test]
    fn others_are_taken_out() {
        let mut trailers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("host", "x"), ("a", "2"), ("cookie", "y")] {
            trailers.append(name, HeaderValue::from_static(value));
        }
        assert!(keep(&mut trailers));
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(trailers.get_all("a").iter().count(), 2);
        let mut none: HeaderMap = [(TE, HeaderValue::from_static("x"))].into_iter().collect();
        assert!(!keep(&mut none));
    }
}
