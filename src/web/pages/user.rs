//! `{hub}user/NAME/…`: requests for servers the proxy has no route to (`spec/oauth-and-cookies.md` 8). Never starts one.

use std::time::Duration;

use http::StatusCode;
use jovis_actors::domain::{
    User, quote,
    scope::{Mask, Resource},
};
use serde_json::json;

use super::pending;
use crate::web::{
    answer::{self, Answer, VERSION},
    api,
    call::Call,
    error::Error,
    form, model,
};

/// What lets somebody in.
const ACCESS: Mask = Mask::of(&["access:servers"]);

/// So often a browser is sent back before we call it a loop.
const LIMIT: u32 = 4;
/// The same where the server is of another version.
const LIMIT_OTHER: u32 = 2;

/// Sends back where the server is there by now, else says that it is not.
pub(crate) async fn serve(call: &mut Call, name: &str, first: &str) -> Answer {
    if call.who.is_none() {
        return Ok(answer::found(&call.login_url()));
    }
    let named = call.settings.hub.allow_named_servers;
    let access = |server: &str| call.covers(ACCESS, Resource::Server(name, server));
    let to_named = named && !first.is_empty() && access(first);
    if !to_named && !access("") {
        return Err(Error::hidden());
    }
    let user = api::user(call, name)?;
    let wanted = if named && !first.is_empty() && api::server(call, &user, first).is_ok() {
        first
    } else {
        ""
    };
    if !access(wanted) {
        return Err(Error::hidden());
    }
    let server = api::server(call, &user, wanted)?;
    if server.state.is_ready() {
        return back(call, &user, server.version.as_deref()).await;
    }
    if prefers_json(call.header("accept").unwrap_or_default()) || has_api(&call.path) {
        return Ok(gone(call, name, wanted));
    }
    if server.state.pending().is_some() || api::failure(call, &server).is_some() {
        let page = model::server::page_path(&user, wanted);
        let query = form::encode([("next", call.uri().as_str())]);
        let target = format!("{}spawn-pending/{page}?{query}", call.hub());
        return Ok(answer::redirect(StatusCode::SEE_OTHER, &target));
    }
    let status = not_running(call);
    pending::idle(call, &user, &server, status, None)
}

/// Anything but looking: there is no server to do it.
pub(crate) async fn refuse(call: &mut Call, name: &str) -> Answer {
    let by_token = call.who.as_ref().is_some_and(|who| who.token.is_some());
    if !by_token {
        call.require_xsrf(None)?;
    }
    Ok(gone(call, name, ""))
}

/// The route is on its way: try again, a little later each time, and not for ever.
async fn back(call: &Call, user: &User, version: Option<&str>) -> Answer {
    let times: u32 = call.query.get("redirects").and_then(|it| it.parse().ok()).unwrap_or(0);
    let other = version.is_some_and(|version| version != VERSION);
    let Some(pause) = pause(times, other) else {
        return Err(Error::failed(
            "the server is running but cannot be reached: too many redirects",
        ));
    };
    tokio::time::sleep(pause).await;
    let path = call.path.strip_prefix(&call.hub()).unwrap_or_default();
    let mut pairs: Vec<(&str, &str)> =
        call.query.pairs().filter(|(name, _)| *name != "redirects").collect();
    let count = (times + 1).to_string();
    pairs.push(("redirects", &count));
    let target = format!("{}{}{path}", call.facts().user_origin(&user.name), call.base());
    Ok(answer::found(&form::with_query(&target, &form::encode(pairs))))
}

/// How long a browser that was sent back so often waits before the next time; nothing: it is a loop. `other`: the server
/// is of another version than the hub's, which may be why.
fn pause(times: u32, other: bool) -> Option<Duration> {
    let limit = if other { LIMIT_OTHER } else { LIMIT };
    let seconds = if times == 0 { 0 } else { (1 << times.min(4)).min(10) };
    (times < limit).then(|| Duration::from_secs(seconds))
}

/// What notebooks read as "your server is gone": 424, or what it was of old.
fn not_running(call: &Call) -> StatusCode {
    if call.settings.hub.use_legacy_stopped_server_status_code {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::FAILED_DEPENDENCY
    }
}

/// There is no server at this address, as JSON.
pub(crate) fn gone(call: &Call, name: &str, server: &str) -> http::Response<axum::body::Body> {
    let mut page = quote::segment(name);
    if !server.is_empty() {
        page = format!("{page}/{}", quote::segment(server));
    }
    let path = call.path.strip_prefix(&call.hub()).or(call.path.strip_prefix(call.base()));
    let path = path.unwrap_or_default();
    let restart = format!("{}{}spawn/{page}", call.origin, call.hub());
    let message = format!(
        "No server is running at {}{path} any more. It can be started again at {restart}",
        call.base()
    );
    answer::json(not_running(call), &json!({ "message": message }))
}

/// A segment that says `api`: a script asks, whatever it accepts.
fn has_api(path: &str) -> bool {
    path.split('/').skip(4).any(|segment| segment == "api")
}

/// Is JSON wanted before HTML? By quality, then by order; wildcards do not count.
fn prefers_json(accept: &str) -> bool {
    let rank = |kind: &str| {
        accept.split(',').enumerate().find_map(|(at, item)| {
            let mut parts = item.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(kind) {
                return None;
            }
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
            Some((quality.unwrap_or(1.0), at))
        })
    };
    match (rank("application/json"), rank("text/html")) {
        (None, _) => false,
        (Some((json, _)), None) => json > 0.0,
        (Some((json, a)), Some((html, b))) => json > html || (json == html && a < b),
    }
}

/// `{hub}user-redirect/PATH`: to that path on one's own server, which is started if need be.
pub(crate) async fn redirect(call: &mut Call) -> Answer {
    let user = call.person()?.clone();
    let prefix = format!("{}user-redirect/", call.hub());
    let rest = call.path.strip_prefix(&prefix).ok_or_else(Error::no_page)?;
    let hub = &call.settings.hub;
    let name = if hub.allow_named_servers { hub.default_server_name.as_str() } else { "" };
    let server = model::server::url(call.facts(), &user, name);
    let query = call.raw_query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    let next = format!("{server}{rest}{query}");
    let query = form::encode([("next", next.as_str())]);
    let page = model::server::page_path(&user, name);
    Ok(answer::found(&format!("{}spawn/{page}?{query}", call.hub())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_redirect_waits_longer_and_the_fifth_is_a_loop() {
        let seconds = |times, other| pause(times, other).map(|pause| pause.as_secs());
        let all = |other| (0..6).map(|times| seconds(times, other)).collect::<Vec<_>>();
        assert_eq!(all(false), [Some(0), Some(2), Some(4), Some(8), None, None]);
        assert_eq!(all(true), [Some(0), Some(2), None, None, None, None]);
        assert_eq!(seconds(u32::MAX, false), None);
    }

    #[test]
    fn scripts_are_told_apart_from_browsers() {
        for (accept, wanted) in [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("application/json, text/html", true),
            ("text/html, application/json", false),
            ("text/html;q=0.5, application/json", true),
            ("application/json;q=0.5, text/html", false),
            ("application/json;q=0.9, text/html;q=0.9", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ] {
            assert_eq!(prefers_json(accept), wanted, "{accept}");
        }
        assert!(has_api("/hub/user/bob/api/contents"));
        assert!(!has_api("/hub/user/bob/lab/apis"));
    }
}
