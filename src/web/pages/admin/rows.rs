//! The rows of the table: one for each server of each user, the default one always. What is in a row is the API's model of
//! that user as the visitor sees it; what one may do there goes by the scopes that the API would ask for.

use jovis_actors::{
    domain::{
        Server, ServerKey, ServerName, ServerState, User,
        scope::{Mask, Resource},
    },
    store::Image,
};
use serde_json::{Map, Value, json};

use crate::web::{call::Call, form, model, pages::trouble, words::Words};

/// What shows a server.
pub(super) const SEE: Mask = Mask::of(&["read:servers"]);
const START: Mask = Mask::of(&["start:servers"]);
const STOP: Mask = Mask::of(&["delete:servers"]);
const ACCESS: Mask = Mask::of(&["access:servers"]);

/// A user, and the API's model as the visitor sees it.
pub(super) type Seen<'a> = (&'a User, Map<String, Value>);

/// The rows of these users. `models`: of each the model, if anything of it is visible.
pub(super) fn rows(call: &Call, models: &[Seen<'_>]) -> Vec<Value> {
    models.iter().flat_map(|(user, model)| of_user(call, user, model)).collect()
}

fn of_user(call: &Call, user: &User, model: &Map<String, Value>) -> Vec<Value> {
    let servers = model.get("servers").and_then(Value::as_object);
    let edit = format!("{}admin/users/{}", call.hub(), user.name.escaped());
    let about = json!({
        "user": user.name.as_str(),
        "admin": model.get("admin"),
        "groups": model.get("groups"),
        "edit_url": edit,
        "details_url": edit,
        "user_activity": model.get("last_activity"),
    });
    let with = |first: bool, more: Value| {
        let mut row = about.clone();
        row["first"] = json!(first);
        super::merge(&mut row, more);
        row
    };
    let Some(servers) = servers.filter(|servers| !servers.is_empty()) else {
        let key = model::server::page_path(user, "");
        return vec![with(true, json!({"key": key, "state": "hidden"}))];
    };
    let each = servers.iter().enumerate();
    each.map(|(nth, (name, model))| with(nth == 0, of_server(call, user, name, model))).collect()
}

fn of_server(call: &Call, user: &User, name: &str, model: &Value) -> Value {
    let about = Resource::Server(user.name.as_str(), name);
    let may = |scopes: Mask| call.covers(scopes, about);
    let record = record(&call.image, user, name);
    let state = record.map_or("stopped", |server| state(server));
    let active = record.is_some_and(|server| server.state.is_active());
    let path = model::server::page_path(user, name);
    json!({
        "key": path,
        "server": name,
        "display_name": model["display_name"].as_str().filter(|shown| *shown != name),
        "state": state,
        "cause": record.and_then(|server| told(call.words(), server)),
        "ready": model["ready"],
        "pending": model["pending"],
        "active": active,
        "started": model["started"],
        "last_activity": model["last_activity"],
        "profile": profile(&model["user_options"]),
        "usage": record.filter(|_| active).map(|server| model::usage::usage(call, &server.key)),
        "url": model["url"],
        "api": model::server::api_path(user, name),
        "spawn_url": format!("{}spawn/{path}", call.hub()),
        "details_url": form::with_query(
            &format!("{}admin/users/{}", call.hub(), user.name.escaped()),
            &form::encode([("server", name)]),
        ),
        "can_start": !active && may(START),
        "can_stop": active && model["pending"] != "stop" && may(STOP),
        "can_delete": !name.is_empty() && !active && may(STOP),
        "can_enter": model["ready"] == true && may(ACCESS),
    })
}

fn record<'a>(image: &'a Image, user: &User, name: &str) -> Option<&'a Server> {
    let name = ServerName::new(name).ok()?;
    image.server(&ServerKey { user: user.id, name }).map(|server| &**server)
}

/// How far a server is, in one word that the template has words for.
pub(super) fn state(server: &Server) -> &'static str {
    match &server.state {
        ServerState::Running { .. } => "ready",
        ServerState::Starting { .. } | ServerState::Probing { .. } => "starting",
        ServerState::Queued { .. } => "queued",
        ServerState::Waiting { .. } => "restarting",
        ServerState::Stopping { .. } if server.state.pending() == Some("spawn") => "starting",
        ServerState::Stopping { .. } => "stopping",
        ServerState::Failed(_) => "failed",
        ServerState::Stopped(Some(cause)) if !cause.is_asked_for() => "failed",
        ServerState::Stopped(_) => "stopped",
    }
}

/// Why it does not run, where that is worth a line.
fn told(words: &Words, server: &Server) -> Option<String> {
    let cause = server.state.cause().filter(|_| !server.state.is_ready());
    cause.map(|cause| trouble::cause(words, cause))
}

/// What `user_options.profile` says: a text, or a list as forms make it.
pub(super) fn profile(options: &Value) -> Option<&str> {
    match &options["profile"] {
        Value::String(text) => Some(text.as_str()),
        Value::Array(items) => items.first()?.as_str(),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{Cause, UserId};

    use super::*;

    #[test]
    fn who_stops_a_server_does_not_make_it_fail() {
        let key = ServerKey { user: UserId(1), name: ServerName::default_server() };
        let says = |cause| {
            let state = ServerState::Stopped(cause);
            state_of(Server { state, ..Server::new(key.clone()) })
        };
        assert_eq!(says(None), "stopped");
        assert_eq!(says(Some(Cause::Stopped)), "stopped");
        assert_eq!(says(Some(Cause::OutOfMemory)), "failed");
    }

    fn state_of(server: Server) -> &'static str {
        state(&server)
    }

    #[test]
    fn a_profile_is_a_text_or_the_first_of_a_list() {
        assert_eq!(profile(&json!({"profile": "large"})), Some("large"));
        assert_eq!(profile(&json!({"profile": ["large"]})), Some("large"));
        for none in [json!(null), json!({}), json!({"profile": 1}), json!({"profile": ""})] {
            assert_eq!(profile(&none), None);
        }
    }
}
