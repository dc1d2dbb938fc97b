//! The listener that sends visitors without TLS to the one with it.
//!
//! Programs that show a token, and those of the hub's API, are not sent on but refused: what they sent has crossed the
//! network readable, and somebody should notice (ASVS 5, 4.1.2).

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use hyper::body::{Body as _, Incoming};
use tracing::debug;

use super::{body::Answer, front, pages::Page, shared::Shared};

/// Answers a request.
pub(super) fn answer(
    shared: &Shared,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Answer> {
    let has_body = !request.body().is_end_stream();
    let (mut parts, _) = request.into_parts();
    let outcome = front::check(&mut parts);
    let settings = shared.settings.load();
    let proof = shared.challenges.answer(parts.uri.path());
    let mut response = match (outcome, proof) {
        (Ok(()), Some(proof)) => proven(proof),
        (Ok(()), None) if is_programs(&parts.headers, parts.uri.path(), &settings.base_url) => {
            Page::NeedsTls.answer(&parts.headers, None)
        }
        (Ok(()), None) => {
            let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
            let host = parts.headers.get("host").and_then(|host| host.to_str().ok());
            match host.and_then(|host| location(host, path, settings.redirect_to)) {
                Some(location) => moved(location),
                None => Page::BadRequest.answer(&parts.headers, None),
            }
        }
        (Err(page), _) => {
            debug!(%peer, why = ?page, "request refused");
            page.answer(&parts.headers, None)
        }
    };
    if has_body {
        // It is not read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Does a program ask that should know better?
fn is_programs(headers: &HeaderMap, path: &str, base_url: &str) -> bool {
    let api = path.strip_prefix(base_url).is_some_and(|rest| rest.starts_with("hub/api"));
    api || headers.contains_key(AUTHORIZATION)
}

/// What an authority looks for that is to give us a certificate (RFC 8555, section 8.3).
fn proven(proof: String) -> Response<Answer> {
    let length = proof.len();
    let mut response = Response::new(Answer::own(proof));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same method again, there (RFC 9110, section 15.4.9).
fn moved(location: HeaderValue) -> Response<Answer> {
    let mut response = Response::new(Answer::own(""));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    // A browser that remembers it for ever would not find another port.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The same address by TLS; `host` has been looked at, `path` begins with a slash.
fn location(host: &str, path: &str, port: u16) -> Option<HeaderValue> {
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    HeaderValue::from_str(&format!("https://{name}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_has_another_scheme_and_port() {
        let table = [
            ("a", "/", 443, "https://a/"),
            ("a:80", "/x?y=//z", 443, "https://a/x?y=//z"),
            ("a:8000", "//evil/x", 8443, "https://a:8443//evil/x"),
            ("[::1]:80", "/%2F", 8443, "https://[::1]:8443/%2F"),
            ("[::1]", "/", 443, "https://[::1]/"),
        ];
        for (host, path, port, expected) in table {
            assert_eq!(location(host, path, port).unwrap(), expected);
        }
    }

    #[test]
    fn programs_are_told() {
        let none = HeaderMap::new();
        let token = [(AUTHORIZATION, HeaderValue::from_static("token x"))].into_iter().collect();
        let table = [
            (&none, "/lab/hub/api/users", "/lab/", true),
            (&none, "/hub/api/users", "/lab/", false),
            (&none, "/hub/api", "/", true),
            (&none, "/hub/login", "/", false),
            (&token, "/user/a/api/contents", "/", true),
        ];
        for (headers, path, base_url, expected) in table {
            assert_eq!(is_programs(headers, path, base_url), expected, "{path}");
        }
    }
}
