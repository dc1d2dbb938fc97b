//! The proxy's own answers: short, escaped, without script.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::body::Answer;

/// What happened, in words for the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The request cannot be understood in one way only.
    BadRequest,
    /// Nothing of that name.
    NotFound,
    /// `CONNECT`, `TRACE`.
    MethodNotAllowed,
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
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::ServerAway | Self::HubAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "This request cannot be understood.",
            Self::NotFound => "There is nothing here.",
            Self::MethodNotAllowed => "This method is not served.",
            Self::Crowded => {
                "Too many requests come from your address. This page tries again by itself."
            }
            Self::BadGateway => "The server gave an answer that cannot be passed on.",
            Self::ServerAway => "This server does not answer just now.",
            Self::HubAway => "The hub is starting. This page tries again by itself.",
        }
    }

    /// Seconds after which trying again makes sense.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::HubAway => Some("3"),
            Self::Crowded | Self::ServerAway => Some("10"),
            Self::BadRequest | Self::NotFound | Self::MethodNotAllowed | Self::BadGateway => None,
        }
    }

    /// The answer, as a page for browsers and as JSON for the rest.
    pub(super) fn answer(self, asked: &HeaderMap) -> Response<Answer> {
        let (status, text) = (self.status(), self.text());
        let accepts = asked.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let (kind, body) = if accepts.contains("text/html") {
            let again = match self.retry_after() {
                Some(seconds) => format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"),
                None => String::new(),
            };
            let page = format!(
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{again}\
                 <title>{status}</title></head><body><h1>{status}</h1><p>{text}</p></body></html>\n"
            );
            ("text/html; charset=utf-8", page)
        } else {
            let json = serde_json::json!({ "status": status.as_u16(), "message": text });
            ("application/json", json.to_string())
        };
        let mut response = Response::new(Answer::own(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if matches!(self, Self::BadRequest | Self::MethodNotAllowed) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
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
        let plain = Page::HubAway.answer(&asked);
        assert_eq!(plain.headers()[CONTENT_TYPE], "application/json");
        asked.insert(ACCEPT, HeaderValue::from_static("text/html,*/*"));
        let page = Page::HubAway.answer(&asked);
        assert_eq!(page.status(), 503);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[RETRY_AFTER], "3");
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], "default-src 'none'");
    }
}
