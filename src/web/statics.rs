//! Style, scripts and logo, built in, and the site's own logo and colours. An address with a version in it may be kept
//! for ten years: ours is a hash of all files.

use std::{borrow::Cow, sync::LazyLock};

use axum::body::Body;
use http::{Response, StatusCode, header};
use ring::digest::{Context, SHA256};

use super::answer::{self, Answer};
use super::{call::Call, error::Error, words};

struct File {
    path: &'static str,
    kind: &'static str,
    text: Cow<'static, str>,
}

macro_rules! files {
    ($($path:literal: $kind:literal),* $(,)?) => {
        vec![$(File { path: $path, kind: $kind, text: Cow::Borrowed(include_str!(concat!("static/", $path))) }),*]
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let mut files = files! {
        "style.css": "text/css; charset=utf-8",
        "early.js": "text/javascript; charset=utf-8",
        "page.js": "text/javascript; charset=utf-8",
        "login.js": "text/javascript; charset=utf-8",
        "home.js": "text/javascript; charset=utf-8",
        "pending.js": "text/javascript; charset=utf-8",
        "spawn.js": "text/javascript; charset=utf-8",
        "shares.js": "text/javascript; charset=utf-8",
        "token.js": "text/javascript; charset=utf-8",
        "admin.js": "text/javascript; charset=utf-8",
        "admin_bulk.js": "text/javascript; charset=utf-8",
        "not_running.js": "text/javascript; charset=utf-8",
        "logo.svg": "image/svg+xml",
    };
    // What scripts say, in each language but English.
    let words =
        |path, language| File { path, kind: SCRIPT, text: Cow::Owned(words::module(language)) };
    files.push(words("words.de.js", "de"));
    files
});

/// Changes whenever one of the files does.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Context::new(&SHA256);
        FILES.iter().for_each(|file| hash.update(file.text.as_bytes()));
        hash.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    });
    &VERSION
}

/// The path of a file below `{hub}` that may be kept for ever. The version is a folder and no query, so that what a
/// script imports from beside it is of the same version, and loaded once.
pub(crate) fn lasting(path: &str) -> String {
    format!("static/{}/{path}", version())
}

/// One file, whatever version is asked for; only the present one may be kept.
pub(crate) async fn file(call: &Call, wanted: &str, path: &str) -> Answer {
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(Error::no_page)?;
    let lasting = wanted == version() || call.query.get("v").is_some();
    serve(call, file.kind, Cow::Borrowed(file.text.as_bytes()), lasting)
}

/// The logo: the site's own, or ours.
pub(crate) async fn logo(call: &Call) -> Answer {
    let look = call.app.look.load();
    let lasting = call.query.get("v").is_some_and(|wanted| wanted == look.logo_version);
    match &look.logo {
        Some((kind, bytes)) => serve(call, kind, Cow::Owned(bytes.clone()), lasting),
        None => file(call, "", "logo.svg").await,
    }
}

/// The site's own colours.
pub(crate) async fn theme(call: &Call) -> Answer {
    let look = call.app.look.load();
    let lasting = call.query.get("v").is_some_and(|wanted| wanted == look.theme_version);
    serve(call, "text/css; charset=utf-8", Cow::Owned(look.theme.clone().into_bytes()), lasting)
}

fn serve(call: &Call, kind: &'static str, content: Cow<'static, [u8]>, lasting: bool) -> Answer {
    let etag = answer::tag(&content);
    let mut out: Response<Body> = if answer::has(&call.headers, &etag) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::typed(StatusCode::OK, kind, content.into_owned())
    };
    let keep = if lasting { "public, max-age=315360000, immutable" } else { "no-cache" };
    answer::put(&mut out, header::CACHE_CONTROL, keep);
    answer::put(&mut out, header::ETAG, &etag);
    Ok(out)
}
