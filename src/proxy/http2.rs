//! What a request that came by HTTP/2 must be before it is sent on as HTTP/1.1 (RFC 9113, sections 8.2, 8.3 and 10.3).
//! hyper has refused connection-specific fields, names and pseudo-header fields that are not valid, and lengths that do
//! not agree with the body; the rest is refused here. Pure.

use http::{
    HeaderMap, HeaderValue, Method, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use hyper::ext::Protocol;

use super::{pages::Page, serve::HEAD};

/// Did it come by HTTP/2?
pub(super) fn is(version: Version) -> bool {
    version == Version::HTTP_2
}

/// Is it a request for a WebSocket (RFC 8441)?
pub(super) fn wants_websocket(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    is(parts.version)
        && parts.method == Method::CONNECT
        && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Refuses what HTTP/1.1 would tell differently, and brings the rest into its form: a `Host`, and one `Cookie`.
pub(super) fn settle(parts: &mut Parts) -> Result<(), Page> {
    let fields = &mut parts.headers;
    // A cookie that was split counts as one field.
    let crumbs = fields.get_all(COOKIE).iter().count().saturating_sub(1);
    if fields.len() - crumbs > HEAD.1 {
        return Err(Page::BadRequest);
    }
    // RFC 9113, 8.2.1; hyper has refused control characters.
    let padded = |value: &HeaderValue| {
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        blank(value.as_bytes().first()) || blank(value.as_bytes().last())
    };
    if fields.values().any(padded) || fields.contains_key(TRANSFER_ENCODING) {
        return Err(Page::BadRequest);
    }
    length(fields, parts.method == Method::CONNECT)?;
    join_cookies(fields)?;
    if !fields.contains_key(HOST) {
        let authority = parts.uri.authority().ok_or(Page::BadRequest)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Page::BadRequest)?;
        fields.insert(HOST, host);
    }
    Ok(())
}

/// At most one length, in digits; none for a tunnel.
fn length(fields: &HeaderMap, tunnel: bool) -> Result<(), Page> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = length.as_bytes();
    let valid = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if tunnel || !valid || lengths.next().is_some() {
        return Err(Page::BadRequest);
    }
    Ok(())
}

/// RFC 9113, 8.2.3: what was split for compression is one field again.
fn join_cookies(fields: &mut HeaderMap) -> Result<(), Page> {
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
        fields.insert(COOKIE, whole.map_err(|_| Page::BadRequest)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request =
            Request::builder().method("POST").version(Version::HTTP_2).uri("https://a:8443/x?y");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_would_be_told_differently_is_refused() {
        let many: Vec<(String, &str)> = (0..=200).map(|i| (format!("x-{i}"), "1")).collect();
        let many: Vec<(&str, &str)> =
            many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let table: [(&[(&str, &str)], bool); 14] = [
            (&[], true),
            (&[("content-length", "3")], true),
            (&[("content-length", "")], false),
            (&[("content-length", "+3")], false),
            (&[("content-length", "0x3")], false),
            (&[("content-length", "1234567890123456789")], false),
            (&[("content-length", "3"), ("content-length", "3")], false),
            (&[("transfer-encoding", "chunked")], false),
            (&[("x", " a")], false),
            (&[("x", "a\t")], false),
            (&[("x", "a b")], true),
            (&[("host", "b")], true),
            (&many, false),
            (&many[1..], true),
        ];
        for (fields, good) in table {
            assert_eq!(settle(&mut parts(fields)).is_ok(), good, "{fields:?}");
        }
        let mut tunnel = parts(&[("content-length", "0")]);
        tunnel.method = Method::CONNECT;
        assert_eq!(settle(&mut tunnel), Err(Page::BadRequest));
        let mut nowhere = parts(&[]);
        nowhere.uri = "/x".parse().unwrap();
        assert_eq!(settle(&mut nowhere), Err(Page::BadRequest));
    }

    #[test]
    fn the_rest_gets_a_host_and_one_cookie() {
        let mut parts =
            parts(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d; e"), ("cookie", "f")]);
        settle(&mut parts).unwrap();
        assert_eq!(parts.headers[HOST], "a:8443");
        let cookies: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; c=d; e; f"]);
        let crumbs: Vec<(&str, &str)> = (0..300).map(|_| ("cookie", "a=b")).collect();
        settle(&mut self::parts(&crumbs)).unwrap();
    }

    #[test]
    fn only_a_websocket_is_one() {
        let mut parts = parts(&[]);
        for (method, protocol, wants) in [
            ("CONNECT", Some("websocket"), true),
            ("CONNECT", Some("connect-udp"), false),
            ("CONNECT", None, false),
            ("GET", Some("websocket"), false),
        ] {
            parts.method = method.parse().unwrap();
            parts.extensions.clear();
            if let Some(protocol) = protocol {
                parts.extensions.insert(Protocol::from_static(protocol));
            }
            assert_eq!(wants_websocket(&parts), wants, "{method} {protocol:?}");
        }
        parts.version = Version::HTTP_11;
        parts.method = Method::CONNECT;
        parts.extensions.insert(Protocol::from_static("websocket"));
        assert!(!wants_websocket(&parts));
    }
}
