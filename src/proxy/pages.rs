//! The proxy's own answers: short, escaped, without script.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};
use ring::digest::{SHA256, digest};

use super::body::Answer;

/// How these pages look: like the hub's, in little. It stands in the page, since the hub, who has the style, may be away.
const STYLE: &str = "\
:root{color-scheme:light dark;background:light-dark(#f5f6f9,#12151b);color:light-dark(#1b2230,#e7eaf0)}\
body{margin:0;padding:12vh 1rem;font:1rem/1.5 system-ui,sans-serif}\
main{max-width:26rem;margin:auto;padding:1.25rem;text-align:center;border-radius:.6rem;overflow-wrap:anywhere;\
background:light-dark(#fff,#1b2029);border:1px solid light-dark(#dce0e8,#323a48)}\
h1{font-size:1.45rem;margin:0 0 .75rem}small{color:light-dark(#566074,#a5afc0)}a{color:light-dark(#1d5cb8,#8ab4f8)}";

/// Nothing but that style.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What happened, in words for the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The request cannot be understood in one way only.
    BadRequest,
    /// Nothing of that name.
    NotFound,
    /// `CONNECT`, `TRACE`.
    MethodNotAllowed,
    /// The head of the request goes on for too long.
    HeadTooLarge,
    /// Its first line does.
    TargetTooLong,
    /// A program that should have come by TLS.
    NeedsTls,
    /// Too many at once from one address.
    Crowded,
    /// The backend's answer is not HTTP.
    BadGateway,
    /// The user's server does not answer.
    ServerAway,
    /// The hub restarts.
    HubAway,
}

impl Page {
    /// Its status.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NeedsTls => StatusCode::FORBIDDEN,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::ServerAway | Self::HubAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What happened.
    fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "This request cannot be understood.",
            Self::NotFound => "There is nothing here.",
            Self::MethodNotAllowed => "This method is not served.",
            Self::TargetTooLong => "This address is longer than addresses may be.",
            Self::HeadTooLarge => "This request is larger than requests may be.",
            Self::NeedsTls => "This is served by HTTPS only.",
            Self::Crowded => "Too many requests come from your address.",
            Self::BadGateway => "The server gave an answer that cannot be passed on.",
            Self::ServerAway => "This server does not answer just now.",
            Self::HubAway => "The hub is starting.",
        }
    }

    /// What can be done, for a person.
    fn advice(self) -> &'static str {
        match self {
            Self::BadRequest | Self::TargetTooLong => "Look for a slip in the address.",
            Self::NotFound | Self::MethodNotAllowed => "If a link led here, tell whoever wrote it.",
            Self::HeadTooLarge => "Deleting this site's cookies may help.",
            Self::NeedsTls => {
                "What was sent could be read on its way: let the program use an https address, and replace its token."
            }
            Self::Crowded => "This page tries again by itself.",
            Self::BadGateway => {
                "If it stays so, stop the server on your home page and start it again."
            }
            Self::ServerAway => {
                "This page tries again by itself. If it stays so, the server can be started again on your home page."
            }
            Self::HubAway => "Running servers are not touched. This page tries again by itself.",
        }
    }

    /// Seconds after which trying again makes sense.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::HubAway => Some("3"),
            Self::Crowded | Self::ServerAway => Some("10"),
            Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::HeadTooLarge
            | Self::TargetTooLong
            | Self::NeedsTls
            | Self::BadGateway => None,
        }
    }

    /// The answer, as a page for browsers and as JSON for the rest. `request`: its id, where it has one; letters that
    /// need no escape are all it may have.
    pub(super) fn answer(self, asked: &HeaderMap, request: Option<&str>) -> Response<Answer> {
        let (status, text) = (self.status(), self.text());
        let accepts = asked.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let plain =
            |id: &&str| id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
        let (kind, body) = if accepts.contains("text/html") {
            let again = match self.retry_after() {
                Some(seconds) => format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"),
                None => String::new(),
            };
            let request = request.filter(plain).map(|id| {
                format!("<p><small>To report this, name the request <code>{id}</code>.</small></p>")
            });
            let page = format!(
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{again}\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                 <title>{status}</title><style>{STYLE}</style></head><body><main><h1>{status}</h1>\
                 <p role=\"alert\">{text}</p><p>{}</p>{}</main></body></html>\n",
                self.advice(),
                request.unwrap_or_default()
            );
            ("text/html; charset=utf-8", page)
        } else {
            let json = serde_json::json!({ "status": status.as_u16(), "message": text });
            ("application/json", json.to_string())
        };
        let mut response = own(status, kind, body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if matches!(self, Self::BadRequest | Self::MethodNotAllowed | Self::HeadTooLarge) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn own(status: StatusCode, kind: &'static str, body: String) -> Response<Answer> {
    let mut response = Response::new(Answer::own(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let page = kind.starts_with("text/html");
    let nothing = HeaderValue::from_static("default-src 'none'");
    let policy = if page { POLICY.clone() } else { nothing };
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    response
}

/// A server that does not run, for the program that asked for it.
pub(super) fn stopped(status: StatusCode, message: &str) -> Response<Answer> {
    own(status, "application/json", serde_json::json!({ "message": message }).to_string())
}

/// `GET /_chp_healthz`: we live.
pub(super) fn health() -> Response<Answer> {
    let mut response = Response::new(Answer::own("{\"status\":\"OK\"}"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_that_reloads_itself() {
        let mut asked = HeaderMap::new();
        let plain = Page::HubAway.answer(&asked, None);
        assert_eq!(plain.headers()[CONTENT_TYPE], "application/json");
        asked.insert(ACCEPT, HeaderValue::from_static("text/html,*/*"));
        let page = Page::HubAway.answer(&asked, Some("a-1"));
        assert_eq!(page.status(), 503);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[RETRY_AFTER], "3");
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(page.headers()[name], value);
        }
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    }
}
