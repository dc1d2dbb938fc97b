//! `{hub}spawn-pending/…`: waiting for a start, and what became of it. How it goes is told live by [`follow`].
//!
//! [`follow`]: super::follow

use http::StatusCode;
use jovis_actors::{
    domain::{
        Cause, Server, User,
        scope::{Mask, Resource},
    },
    spawners::{StopAsk, StopRefused, Trouble},
};
use serde_json::json;

use super::{ADMIN, follow, given_next, options, page, spawn::SERVERS, trouble};
use crate::web::{
    answer::{self, Answer},
    api,
    call::Call,
    form, model, terminal,
};

/// Lines of a server's own output that the page shows.
const LINES: usize = 20;

/// Who may look at a start may break it off with one of these.
const STOPS: Mask = Mask::of(&["servers", "delete:servers"]);

/// The page for whatever state the server is in. It never starts anything.
pub(crate) async fn show(call: &mut Call, name: &str, server_name: &str) -> Answer {
    call.may(SERVERS, Resource::Server(name, server_name))?;
    let user = api::user(call, name)?;
    let server = api::server(call, &user, server_name)?;
    let next = given_next(call);
    let home = model::server::url(call.facts(), &user, server_name);
    if server.state.is_ready() {
        return Ok(answer::found(&next.unwrap_or(home)));
    }
    match server.state.pending() {
        Some("stop") => {
            let values = json!({
                "page": model::server::page_path(&user, server_name),
                "cause": told(call, &server),
            });
            return page(call, "stop_pending.html", StatusCode::OK, values);
        }
        Some(_) => return starting(call, &user, &server).await,
        None => {}
    }
    if let Some(trouble) = api::failure(call, &server) {
        return failed(call, &user, &server, &trouble);
    }
    idle(call, &user, &server, StatusCode::OK, None)
}

/// A start is under way, or waits for room.
async fn starting(call: &mut Call, user: &User, server: &Server) -> Answer {
    let name = server.key.name.as_str();
    let page_path = model::server::page_path(user, name);
    let next = given_next(call);
    let query = next.map(|next| form::encode([("next", next.as_str())])).unwrap_or_default();
    let (words, hub) = (call.words(), call.hub());
    let now = follow::look(&call.app, words, &server.key).await;
    let other = call.person().is_ok_and(|person| person.id != user.id);
    let values = json!({
        "progress_url": format!("{hub}api{}/progress", model::server::api_path(user, name)),
        "follow_url": format!("{hub}spawn-follow/{page_path}"),
        "cancel_url": form::with_query(&format!("{hub}spawn-pending/{page_path}"), &query),
        "server_url": model::server::url(call.facts(), user, name),
        "server_name": name,
        "for_user": other.then(|| user.name.as_str()),
        "stages": now.stages(words),
        "progress": now.progress,
        "place": now.place,
        "steps": now.steps,
        "log": now.log,
    });
    page(call, "spawn_pending.html", StatusCode::OK, values)
}

/// Breaks the start off that this page is about. A server that runs by now is left alone: it is not what was meant.
pub(crate) async fn cancel(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let about = Resource::Server(name, server_name);
    call.may(SERVERS, about)?;
    call.may(STOPS, about)?;
    let fields = call.form(16 * 1024).await?;
    call.require_xsrf(Some(&fields))?;
    let user = api::user(call, name)?;
    let server = api::server(call, &user, server_name)?;
    let again = format!("{}?{}", call.path, call.raw_query.as_deref().unwrap_or_default());
    if server.state.pending() != Some("spawn") {
        return Ok(answer::redirect(StatusCode::SEE_OTHER, again.trim_end_matches('?')));
    }
    let ask = StopAsk { by: api::servers::stopper(call.known()?, &user), remove: false };
    match call.app.doors.stop(server.key.clone(), ask).await {
        Ok(()) | Err(StopRefused::NotRunning) => {}
        Err(refused) => return Err(refused.into()),
    }
    let others = call.person().is_ok_and(|person| person.id != user.id);
    let page = if others && call.covers(ADMIN, Resource::Hub) { "admin" } else { "home" };
    Ok(answer::redirect(StatusCode::SEE_OTHER, &format!("{}{page}", call.hub())))
}

/// The last start failed: why, and the server's last words.
pub(crate) fn failed(call: &mut Call, user: &User, server: &Server, trouble: &Trouble) -> Answer {
    idle(call, user, server, StatusCode::INTERNAL_SERVER_ERROR, Some(trouble))
}

/// The server does not run. `trouble`: because its start failed.
pub(crate) fn idle(
    call: &mut Call,
    user: &User,
    server: &Server,
    status: StatusCode,
    trouble: Option<&Trouble>,
) -> Answer {
    let name = server.key.name.as_str();
    let spawn = format!("{}spawn/{}", call.hub(), model::server::page_path(user, name));
    let next = match status {
        // Under the server's own address: come back to it.
        // (or what it was of old)
        StatusCode::FAILED_DEPENDENCY | StatusCode::SERVICE_UNAVAILABLE => Some(call.uri()),
        _ => given_next(call),
    };
    let query = next.map(|next| form::encode([("next", next.as_str())])).unwrap_or_default();
    let (words, chooses) = (call.words(), options::asks(call, user));
    let values = json!({
        "spawn_url": form::with_query(&spawn, &query),
        "server_name": name,
        "for_user": user.name.as_str(),
        "failed": trouble.is_some(),
        "failed_message": trouble.map(|it| trouble::cause(words, &it.cause)),
        "advice": trouble.map(|it| words.say(trouble::advice(&it.cause, &it.tail, chooses))),
        "tail": trouble.map(|it| terminal::last_lines(&it.tail, LINES)),
        "chooses": chooses,
        "comes_back": !query.is_empty(),
        "cause": told(call, server),
        "implicit_spawn_seconds": if trouble.is_none() && status != StatusCode::OK {
            f64::from(call.settings.hub.implicit_spawn_seconds)
        } else {
            0.0
        },
    });
    page(call, "not_running.html", status, values)
}

/// Why it ended or ends, where that is news to its owner.
pub(super) fn told(call: &Call, server: &Server) -> Option<String> {
    let cause = server.state.cause().filter(|cause| **cause != Cause::Stopped);
    cause.map(|cause| trouble::cause(call.words(), cause))
}
