//! The server model (`spec/rest-api.md` 2.2).

use jovis_actors::{
    activity::Notes,
    domain::{Facts, Server, ServerName, User, quote},
};
use serde_json::{Value, json};

use super::time::wire_or_null;

/// How browsers get to a server: `{base}user/NAME/[SERVER/]`, on the user's host where users have hosts.
pub(crate) fn url(facts: &Facts, user: &User, server: &str) -> String {
    below(facts.url(&user.name, &ServerName::default_server()), server)
}

/// The same for who is elsewhere; nothing if it isn't known.
pub(crate) fn full_url(facts: &Facts, user: &User, server: &str) -> Option<String> {
    Some(below(facts.full_url(&user.name, &ServerName::default_server())?, server))
}

/// The address of a server of whom this is the default one's.
fn below(default: String, server: &str) -> String {
    if server.is_empty() { default } else { format!("{default}{}/", quote::segment(server)) }
}

/// `NAME` or `NAME/SERVER`, escaped: how a server is named in the paths of our pages.
pub(crate) fn page_path(user: &User, server: &str) -> String {
    let name = user.name.escaped();
    if server.is_empty() { name } else { format!("{name}/{}", quote::segment(server)) }
}

/// Path of a server in our API, below `{hub}api`.
pub(crate) fn api_path(user: &User, server: &str) -> String {
    let name = user.name.escaped();
    if server.is_empty() {
        format!("/users/{name}/server")
    } else {
        format!("/users/{name}/servers/{}", quote::segment(server))
    }
}

/// The model. `notes`: uses that are not recorded yet. `with_state`: does the caller hold `admin:server_state` on it?
pub(crate) fn model(
    facts: &Facts,
    notes: &Notes,
    user: &User,
    server: &Server,
    with_state: bool,
) -> Value {
    let (name, pending) = (server.key.name.as_str(), server.state.pending());
    let ready = server.state.is_ready();
    let progress = format!("{}hub/api{}/progress", facts.base_url, api_path(user, name));
    let mut model = json!({
        "name": name,
        "display_name": server.display_name,
        "full_name": format!("{}/{name}", user.name),
        "last_activity": wire_or_null(notes.of_server(server)),
        "started": wire_or_null(server.started.filter(|_| server.state.is_active())),
        "pending": pending,
        "ready": ready,
        "stopped": !(ready || pending.is_some()),
        "url": url(facts, user, name),
        "user_options": server.user_options,
        "progress_url": progress,
        "full_url": full_url(facts, user, name),
        "full_progress_url": facts.public(&progress),
    });
    if let Some(cause) = server.state.cause() {
        // Ours: why it does not run. JupyterHub keeps no such thing.
        model["cause"] = json!({"kind": cause.kind(), "message": cause.to_string()});
    }
    if with_state {
        // What a spawner keeps is opaque to us; only that there is something can be told.
        model["state"] = if server.state.is_active() { json!({}) } else { Value::Null };
    }
    model
}
