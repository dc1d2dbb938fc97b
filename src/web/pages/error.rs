//! Error pages: for people, with the request's id to tell an administrator.

use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::render;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

/// The page for this error. Falls back to the API's form if even the template fails.
pub(crate) fn show(call: &Call, error: &Error) -> Response<Body> {
    let page = show_as(call, error, error.status);
    page.unwrap_or_else(|_| answer::api_error(error))
}

/// What the proxy shows where a server does not answer. The proxy adds the status itself.
pub(crate) async fn proxy(call: &Call, code: &str) -> Answer {
    let status = code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(Error::no_page)?;
    let message = match status.as_u16() {
        503 => "The server does not answer. It can be started again from the home page.",
        502 | 504 => "The server does not answer properly.",
        404 => "There is nothing at this address.",
        _ => "",
    };
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    show_as(call, &Error { status, message, retry_after: None }, StatusCode::OK)
}

fn show_as(call: &Call, error: &Error, status: StatusCode) -> Answer {
    let code = error.status.as_u16();
    let special = format!("{code}.html");
    let has = call.app.templates.load().has(&special);
    let template = if has { special.as_str() } else { "error.html" };
    // No form token: who it is may not be known here, and a cookie for somebody else would end the one in use.
    let show_user = matches!(call.method, Method::GET | Method::POST);
    let values = json!({
        "status_code": code,
        "status_message": error.status.canonical_reason().unwrap_or("Unknown error"),
        "message": error.message,
        "no_login": !show_user || call.who.is_none(),
    });
    Ok(answer::with_retry(render(call, template, status, "", values)?, error))
}
