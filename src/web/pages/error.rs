//! Error pages: for people, with the request's id to tell an administrator.

use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::render;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    words::{Words, mark},
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
    let words = call.words();
    let message = match status.as_u16() {
        503 => {
            words.say("Your server does not answer. It can be started again from the home page.")
        }
        502 | 504 => words.say("Your server does not answer properly."),
        _ => "",
    };
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    show_as(call, &Error { status, message, retry_after: None }, StatusCode::OK)
}

/// What a status means for whoever reads it, and what can be done. Nothing: its name and message say enough.
fn explained(words: &Words, status: StatusCode) -> (Option<&str>, Option<&str>) {
    let (meaning, advice) = match status.as_u16() {
        400 => (
            mark("The hub did not understand what was asked."),
            mark("If a link led here, the link may be incomplete."),
        ),
        401 => (mark("You are not signed in."), mark("Sign in, then try again.")),
        403 => (
            mark("You may not do this."),
            mark(
                "Go back and load the page again: it may be out of date. If it stays so, ask an administrator for the right.",
            ),
        ),
        404 => (
            mark("There is nothing at this address, or nothing you may see."),
            mark("Look for a slip in the address. If a link led here, tell whoever wrote it."),
        ),
        405 => (mark("This address does not take what was sent to it."), ""),
        409 => (
            mark("Somebody else was quicker, or it is there already."),
            mark("Go back and load the page again."),
        ),
        413 => (mark("What was sent is too large."), ""),
        424 => {
            (mark("The server this belongs to does not run."), mark("Start it from the home page."))
        }
        429 => (
            mark("The hub has too much to do just now, or you were too quick."),
            mark("Wait a little, then try again."),
        ),
        500 => (
            mark("Something went wrong here, and it is not your fault."),
            mark(
                "Try again. If it stays so, tell an administrator, with the request below: the log knows more.",
            ),
        ),
        502..=504 => (mark("What should answer does not."), mark("Try again in a moment.")),
        507 => (
            mark("The hub cannot save anything: its disk is full."),
            mark("Running servers go on. Please tell an administrator."),
        ),
        _ => ("", ""),
    };
    let say = |text: &'static str| Some(text).filter(|it| !it.is_empty()).map(|it| words.say(it));
    (say(meaning), say(advice))
}

fn show_as(call: &Call, error: &Error, status: StatusCode) -> Answer {
    let code = error.status.as_u16();
    let special = format!("{code}.html");
    let has = call.app.templates.load().has(&special);
    let template = if has { special.as_str() } else { "error.html" };
    // No form token: who it is may not be known here, and a cookie for somebody else would end the one in use.
    let show_user = matches!(call.method, Method::GET | Method::POST);
    let (meaning, advice) = explained(call.words(), error.status);
    let values = json!({
        "meaning": meaning,
        "advice": advice,
        "again": call.method == Method::GET && matches!(code, 429 | 500..),
        "status_code": code,
        "status_message": error.status.canonical_reason().unwrap_or("Unknown error"),
        "message": error.message,
        "no_login": !show_user || call.who.is_none(),
    });
    Ok(answer::with_retry(render(call, template, status, "", values)?, error))
}
