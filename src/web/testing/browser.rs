//! What asks the hub of doubles: requests, answers read whole, and a browser that keeps cookies.

use std::{collections::BTreeMap, time::Duration};

use axum::body::Body;
use http::{Method, Request, Response};

use super::Hub;

/// A request as the proxy hands it on.
pub(crate) fn request(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut builder = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
    builder = builder.uri(uri).header("host", "hub:8000").header("x-forwarded-for", "192.0.2.1");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

/// An answer, read whole.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(super) async fn read(answer: Response<Body>) -> Self {
        let (head, body) = answer.into_parts();
        let read = axum::body::to_bytes(body, 1 << 24);
        let bytes = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.text.split_once(&mark).unwrap_or_else(|| panic!("{}", self.text));
        rest.split('"').next().unwrap().to_owned()
    }
}

/// Keeps cookies, as browsers do (paths aside).
pub(crate) struct Browser<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    pub(crate) async fn send(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        headers.push(("user-agent", "Test/1"));
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let reply = self.hub.plain(method, uri, &headers, body).await;
        for line in reply.set_cookies() {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value == "\"\"" {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    pub(crate) async fn get(&mut self, uri: &str) -> Reply {
        self.send("GET", uri, &[("sec-fetch-mode", "navigate")], "").await
    }

    pub(crate) async fn post(&mut self, uri: &str, form: &str) -> Reply {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.send("POST", uri, &[kind, ("sec-fetch-mode", "navigate")], form).await
    }

    /// What a script of our pages sends.
    pub(crate) async fn script(&mut self, method: &str, uri: &str, body: &str) -> Reply {
        let token = self.cookies.get("_xsrf").map(|it| it.trim_matches('"').to_owned());
        let token = token.unwrap_or_default();
        let headers = [
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/json"),
            ("x-xsrftoken", token.as_str()),
        ];
        self.send(method, uri, &headers, body).await
    }
}
