//! Style, scripts and logo, built in. A URL with `?v=` may be kept for ten years: the version is a hash of them all.

use std::sync::LazyLock;

use axum::body::Body;
use http::{Response, StatusCode, header};
use ring::digest::{Context, SHA256};

use super::answer::{self, Answer};
use super::{call::Call, error::Error};

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($path:literal: $kind:literal),* $(,)?) => {
        &[$(File { path: $path, kind: $kind, text: include_str!(concat!("static/", $path)) }),*]
    };
}

const FILES: &[File] = files! {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "login.js": "text/javascript; charset=utf-8",
    "home.js": "text/javascript; charset=utf-8",
    "pending.js": "text/javascript; charset=utf-8",
    "token.js": "text/javascript; charset=utf-8",
    "not_running.js": "text/javascript; charset=utf-8",
    "logo.svg": "image/svg+xml",
};

/// Changes whenever one of the files does.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Context::new(&SHA256);
        FILES.iter().for_each(|file| hash.update(file.text.as_bytes()));
        hash.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    });
    &VERSION
}

/// One file.
pub(crate) async fn file(call: &Call, path: &str) -> Answer {
    serve(call, path)
}

/// The logo.
pub(crate) async fn logo(call: &Call) -> Answer {
    serve(call, "logo.svg")
}

/// The file of this name, or 404.
pub(crate) fn serve(call: &Call, path: &str) -> Answer {
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(Error::no_page)?;
    let etag = answer::tag(file.text.as_bytes());
    let mut out: Response<Body> = if answer::has(&call.headers, &etag) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::typed(StatusCode::OK, file.kind, file.text)
    };
    let lasting = call.query.get("v").is_some();
    let keep = if lasting { "public, max-age=315360000, immutable" } else { "no-cache" };
    answer::put(&mut out, header::CACHE_CONTROL, keep);
    answer::put(&mut out, header::ETAG, &etag);
    Ok(out)
}
