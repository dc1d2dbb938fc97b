//! The service model (`spec/rest-api.md` 2.5): each field only for callers who hold a scope for it.

use jovis_actors::domain::{Service, scope::Mask};
use serde_json::{Map, Value, json};

use super::user::role_names;
use crate::web::call::Call;

const NAME: Mask = Mask::of(&["read:services", "read:services:name", "read:roles:services"]);
const READ: Mask = Mask::of(&["read:services"]);
const ROLES: Mask = Mask::of(&["read:roles:services"]);

/// The model for whoever holds this on the service; nothing if no field is visible.
pub(crate) fn model(call: &Call, service: &Service, held: Mask) -> Option<Value> {
    if !held.meets(NAME) {
        return None;
    }
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("kind", json!("service"));
    put("name", json!(service.name.as_str()));
    put("admin", json!(service.admin));
    if held.meets(ROLES) {
        put("roles", json!(role_names(call.policy.of_service(&service.name, service.admin))));
    }
    if held.meets(READ) {
        let prefix = call.facts().service_prefix(&service.name);
        put("url", json!(service.url.as_deref().unwrap_or_default()));
        put("prefix", json!(service.url.as_ref().map_or("", |_| &*prefix)));
        put("command", json!(service.command));
        put("pid", json!(call.app.pids.load().get(service.name.as_str()).unwrap_or(&0)));
        put("info", json!(service.info));
        put("display", json!(service.display));
    }
    Some(Value::Object(out))
}
