//! Plain HTTP is sent on to HTTPS.

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{HOST, LOCATION},
};
use http_body_util::Full;

/// The answer to a request on the plain port: the same address by HTTPS, at this port.
pub(super) fn answer<B>(request: &Request<B>, port: u16) -> Response<Full<Bytes>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(bare);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let place = host.filter(|host| is_name(host) && path.starts_with('/')).and_then(|host| {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
    });
    let Some(place) = place else {
        let text = format!(
            "This server is HTTPS-only on port {port}, but an HTTP request was made and the host \
             could not be determined from the request."
        );
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, place);
    response
}

/// Without the port.
fn bare(host: &str) -> &str {
    let end = host.rfind(']').map_or(0, |at| at + 1);
    host[end..].find(':').map_or(host, |at| &host[..end + at])
}

/// Nothing that leads elsewhere.
fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~[:]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_by_https() {
        for (host, port, path, place) in [
            ("a", 443, "/x?y=1", Some("https://a/x?y=1")),
            ("a:80", 8443, "/", Some("https://a:8443/")),
            ("[::1]:80", 8443, "//b/", Some("https://[::1]:8443//b/")),
            ("", 443, "/", None),
            ("a/b", 443, "/", None),
            ("u@a", 443, "/", None),
        ] {
            let request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
            let response = answer(&request, port);
            let found = response.headers().get(LOCATION).map(|place| place.to_str().unwrap());
            assert_eq!(found, place, "{host} {port}");
            assert_eq!(response.status(), if place.is_some() { 301 } else { 400 });
        }
    }
}
