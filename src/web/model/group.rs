//! The group model (`spec/rest-api.md` 2.4): each field only for callers who hold a scope for it.

use jovis_actors::{
    domain::{
        Group, Policy,
        scope::{Granted, Mask, Resource},
    },
    store::Image,
};
use serde_json::{Map, Value, json};

use super::user::role_names;

const NAME: Mask = Mask::of(&["read:groups", "read:groups:name", "read:roles:groups"]);
const READ: Mask = Mask::of(&["read:groups"]);
const ROLES: Mask = Mask::of(&["read:roles:groups"]);

/// The model for whoever holds this; nothing if no field is visible.
pub(crate) fn model(
    image: &Image,
    policy: &Policy,
    group: &Group,
    granted: &Granted,
) -> Option<Value> {
    let held = granted.on(Resource::Group(group.name.as_str()), image);
    if !held.meets(NAME) {
        return None;
    }
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("kind", json!("group"));
    put("name", json!(group.name.as_str()));
    if held.meets(READ) {
        let names = image.members_of(group.id).map(|user| user.name.as_str());
        put("users", json!(names.collect::<Vec<_>>()));
        put("properties", Value::Object(Map::clone(&group.properties)));
    }
    if held.meets(ROLES) {
        put("roles", json!(role_names(policy.of_group(group.name.as_str()))));
    }
    Some(Value::Object(out))
}
