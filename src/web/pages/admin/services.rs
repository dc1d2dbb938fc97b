//! Services: which there are, and whether they run. Tokens and secrets are shown nowhere.

use http::StatusCode;
use jovis_actors::domain::scope::{Mask, Resource};
use serde_json::{Value, json};

use super::enter;
use crate::web::{answer::Answer, call::Call, model::service::model};

const ACCESS: Mask = Mask::of(&["access:services"]);

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    enter(call)?;
    call.may_list(super::LIST_SERVICES)?;
    let mut all = Vec::new();
    for service in call.image.services() {
        let name = service.name.as_str();
        let held = call.known()?.granted.on(Resource::Service(name), &*call.image);
        if !held.meets(super::LIST_SERVICES) {
            continue;
        }
        let Some(model) = model(call, service, held) else { continue };
        let text = |field: &str| model[field].as_str().unwrap_or_default().to_owned();
        let pid = model["pid"].as_i64().unwrap_or(0);
        // Where one may not look further there is nothing to say.
        let state = match model.get("command").and_then(Value::as_array) {
            None => "hidden",
            Some(_) if pid != 0 => "running",
            Some(command) if command.is_empty() => "external",
            Some(_) => "stopped",
        };
        let enter = !text("prefix").is_empty() && call.covers(ACCESS, Resource::Service(name));
        all.push(json!({
            "name": name,
            "admin": model["admin"],
            "state": state,
            "pid": pid,
            "address": text("url"),
            "href": enter.then(|| text("prefix")),
            "configured": service.configured,
            "roles": model["roles"].as_array().map(|roles| {
                roles.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }),
        }));
    }
    super::show(call, "admin_services.html", "services", StatusCode::OK, json!({"list": all}))
}
