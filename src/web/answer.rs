//! Answers: the usual bodies, and the headers every answer of the hub carries (`spec/rest-api.md` 1.8,
//! `spec/oauth-and-cookies.md` 10, stricter by `SECURITY.md` (d)).

use std::collections::BTreeMap;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{error::Error, next};

/// What a handler gives back.
pub(crate) type Answer = Result<Response<Body>, Error>;

pub(crate) use jovis_actors::domain::wire::VERSION;

/// An answer with a body of this type.
pub(crate) fn typed(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    typed(status, "application/json", value.to_string())
}

/// An HTML page; never kept by caches.
pub(crate) fn html(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = typed(status, "text/html", text);
    put(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// No body, no type.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// No body, but a type.
pub(crate) fn bare(status: StatusCode, kind: &'static str) -> Response<Body> {
    typed(status, kind, Body::empty())
}

/// 302.
pub(crate) fn found(target: &str) -> Response<Body> {
    redirect(StatusCode::FOUND, target)
}

/// A redirect. What cannot stand in a header is escaped.
pub(crate) fn redirect(status: StatusCode, target: &str) -> Response<Body> {
    let mut answer = typed(status, "text/html", Body::empty());
    put(&mut answer, header::LOCATION, &next::ascii(target));
    put(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// An error as the API tells it.
pub(crate) fn api_error(error: &Error) -> Response<Body> {
    let body = json!({"status": error.status.as_u16(), "message": error.message});
    with_retry(json(error.status, &body), error)
}

/// The error's own headers.
pub(crate) fn with_retry(mut answer: Response<Body>, error: &Error) -> Response<Body> {
    if let Some(seconds) = error.retry_after {
        put(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    answer
}

/// The tag of a content, for `ETag`: strong.
pub(crate) fn tag(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Does the client have what this tag stands for (`If-None-Match`)?
pub(crate) fn has(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|item| {
        // For reading weak and strong tags count alike. No tag of ours has a comma in it.
        item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag
    })
}

/// What a `GET` of the API is answered: JSON carries its tag, and is not sent again to a client that has it.
pub(crate) async fn tagged(answer: Response<Body>, request: &HeaderMap) -> Answer {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    if answer.status() != StatusCode::OK || kind.is_none_or(|kind| kind != "application/json") {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    let content = axum::body::to_bytes(body, usize::MAX).await;
    let content = content.map_err(|_| Error::failed("the answer broke off"))?;
    let tag = tag(&content);
    let known = has(request, &tag);
    if known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
    }
    let body = if known { Body::empty() } else { Body::from(content) };
    let mut answer = Response::from_parts(head, body);
    put(&mut answer, header::ETAG, &tag);
    Ok(answer)
}

/// Sets a header of which we know that the value is legal; an illegal one is left out.
pub(crate) fn put(answer: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The content security policy of pages. `extra` goes to `form-action`: a consent leads to another host.
pub(crate) fn page_policy(hub: &str, nonce: &str, extra: &str) -> String {
    let space = if extra.is_empty() { "" } else { " " };
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'{space}{extra}; \
         base-uri 'none'; object-src 'none'; frame-ancestors 'none'; report-uri {hub}security/csp-report"
    )
}

/// The content security policy of everything else.
pub(crate) fn api_policy(hub: &str) -> String {
    format!("frame-ancestors 'none'; report-uri {hub}security/csp-report; default-src 'none'")
}

/// Cookies an answer is to set; [`finish`] puts them on.
#[derive(Debug, Clone, Default)]
struct Cookies(Vec<String>);

/// With these `Set-Cookie`s.
pub(crate) fn with_cookies(mut answer: Response<Body>, cookies: Vec<String>) -> Response<Body> {
    answer.extensions_mut().insert(Cookies(cookies));
    answer
}

/// Puts on what every answer carries; what a handler has set stays, but for what the operator has `configured`.
pub(crate) fn finish(
    answer: &mut Response<Body>,
    hub: &str,
    request: &str,
    configured: &BTreeMap<String, String>,
) {
    let cookies = answer.extensions_mut().remove::<Cookies>().unwrap_or_default();
    let headers = answer.headers_mut();
    for (name, value) in configured {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(HeaderName::from_static(name)).or_insert(value);
        }
    };
    add("x-jupyterhub-version", VERSION);
    add("access-control-allow-headers", "accept, content-type, authorization");
    add("content-security-policy", &api_policy(hub));
    add("x-content-type-options", "nosniff");
    add("referrer-policy", "strict-origin-when-cross-origin");
    add("cross-origin-opener-policy", "same-origin");
    add("cross-origin-resource-policy", "same-origin");
    add("cache-control", "private, no-cache");
    add("x-request-id", request);
    for cookie in cookies.0 {
        if let Ok(value) = HeaderValue::try_from(cookie) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}
