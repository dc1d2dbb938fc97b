//! The home page: one's servers.

use http::StatusCode;
use serde_json::{Value, json};

use super::{page, pending::told};
use crate::web::{answer::Answer, call::Call, model};

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let user = call.person()?.clone();
    let base = call.base().to_owned();
    let mut active = false;
    let mut default = json!({"active": false, "pending": null, "ready": false});
    let mut named: Vec<Value> = Vec::new();
    for server in call.image.servers_of(user.id) {
        let name = server.key.name.as_str();
        active |= name.is_empty() && server.state.is_active();
        let about = json!({
            "name": name,
            "display_name":
                if server.display_name.is_empty() { name } else { &server.display_name },
            "active": server.state.is_active(),
            "ready": server.state.is_ready(),
            "pending": server.state.pending(),
            "url": model::server::url(&base, &user, name),
            "api": model::server::api_path(&user, name),
            "page": model::server::page_path(&user, name),
            "last_activity": model::time::wire_or_null(call.app.doors.notes().of_server(server)),
            "cause": told(call, server),
            "usage": model::usage::usage(call, &server.key),
        });
        if name.is_empty() { default = about } else { named.push(about) }
    }
    let url = if active {
        model::server::url(&base, &user, "")
    } else {
        format!("{}spawn/{}", call.hub(), user.name.escaped())
    };
    let values = json!({
        "default_server": default,
        "default_server_api": model::server::api_path(&user, ""),
        "url": url,
        "spawn_url": format!("{}spawn/{}", call.hub(), user.name.escaped()),
        "allow_named_servers": call.settings.hub.allow_named_servers,
        "named_servers": named,
    });
    page(call, "home.html", StatusCode::OK, values)
}
