//! `{hub}spawn-pending/…`: waiting for a start, and what became of it.

use http::StatusCode;
use jovis_actors::{
    domain::{Cause, Server, User, scope::Resource},
    spawners::Trouble,
};
use serde_json::json;

use super::{given_next, page, spawn::SERVERS};
use crate::web::{
    answer::{self, Answer},
    api,
    call::Call,
    form, model,
};

/// Lines of a server's own output that the page shows.
const LINES: usize = 20;

/// The page for whatever state the server is in. It never starts anything.
pub(crate) async fn show(call: &mut Call, name: &str, server_name: &str) -> Answer {
    call.may(SERVERS, Resource::Server(name, server_name))?;
    let user = api::user(call, name)?;
    let server = api::server(call, &user, server_name)?;
    let next = given_next(call);
    let home = model::server::url(call.base(), &user, server_name);
    if server.state.is_ready() {
        return Ok(answer::found(&next.unwrap_or(home)));
    }
    match server.state.pending() {
        Some("stop") => {
            let values = json!({
                "page": model::server::page_path(&user, server_name),
                "cause": told(&server),
            });
            return page(call, "stop_pending.html", StatusCode::OK, values);
        }
        Some(_) => {
            let api = format!("{}api{}", call.hub(), model::server::api_path(&user, server_name));
            let values = json!({
                "progress_url": format!("{api}/progress"),
                "server_api": model::server::api_path(&user, server_name),
                "server_url": home,
                "server_name": server_name,
            });
            return page(call, "spawn_pending.html", StatusCode::OK, values);
        }
        None => {}
    }
    if let Some(trouble) = api::failure(call, &server) {
        return failed(call, &user, &server, &trouble);
    }
    idle(call, &user, &server, StatusCode::OK, None)
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
    let values = json!({
        "spawn_url": form::with_query(&spawn, &query),
        "server_name": name,
        "for_user": user.name.as_str(),
        "failed": trouble.is_some(),
        "failed_message": trouble.map(|it| it.cause.to_string()),
        "tail": trouble.map(|it| last_lines(&it.tail)),
        "comes_back": !query.is_empty(),
        "cause": told(server),
        "implicit_spawn_seconds": if trouble.is_none() && status != StatusCode::OK {
            f64::from(call.settings.hub.implicit_spawn_seconds)
        } else {
            0.0
        },
    });
    page(call, "not_running.html", status, values)
}

/// Why it ended or ends, where that is news to its owner.
pub(super) fn told(server: &Server) -> Option<String> {
    let cause = server.state.cause().filter(|cause| **cause != Cause::Stopped);
    cause.map(ToString::to_string)
}

/// The end of an output, without what a terminal would act on.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let end = &lines[lines.len().saturating_sub(LINES)..];
    let shown = |c: &char| !c.is_control() || *c == '\n' || *c == '\t';
    end.join("\n").chars().filter(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_lines() {
        let text: String = (0..50).map(|n| format!("line {n}\u{1b}\n")).collect();
        let shown = last_lines(&text);
        assert!(shown.starts_with("line 30\n") && shown.ends_with("line 49"));
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(last_lines(""), "");
    }
}
