//! How both hubs are set up: the same people, groups, roles and services, as JupyterHub's configuration has them.

use serde_json::{Value, json};

use super::support::Plan;

/// Everybody's.
pub(crate) const PASSWORD: &str = "a password for everybody";

/// The token of a service.
pub(crate) fn service_token(name: &str) -> String {
    format!("{name}-token-of-the-wire-tests")
}

/// Services nobody runs: they only have tokens, roles, and are OAuth clients.
fn services() -> Value {
    let one = |name: &str| json!({ "name": name, "api_token": service_token(name) });
    let back = "http://127.0.0.1:9/back";
    let with = |name: &str, more: Value| {
        let mut all = one(name);
        all.as_object_mut()
            .expect("it is one")
            .extend(more.as_object().expect("it is one").clone());
        all
    };
    json!([
        one("plain"),
        one("reader"),
        one("maker"),
        with("boss-service", json!({ "admin": true, "info": { "note": "an old way" } })),
        with(
            "web",
            json!({
                "oauth_redirect_uri": back,
                "oauth_client_allowed_scopes": ["read:users!user"],
                "info": { "about": "asks first" },
            })
        ),
        with(
            "quiet",
            json!({ "oauth_redirect_uri": back, "oauth_no_confirm": true, "display": false })
        ),
    ])
}

fn roles() -> Value {
    json!([
        {
            "name": "reader",
            "description": "Sees groups, and one user",
            "scopes": ["list:groups", "read:groups", "read:users!user=rita"],
            "services": ["reader"],
        },
        {
            "name": "maker",
            "scopes": ["admin:users", "tokens", "admin:groups", "servers"],
            "services": ["maker"],
        },
        { "name": "visitor", "scopes": ["access:services"], "users": ["vic"] },
        { "name": "staff-role", "scopes": ["list:groups", "read:groups!group=staff"], "groups": ["staff"] },
        { "name": "sheets", "scopes": ["custom:sheets"], "users": ["rex"] },
    ])
}

fn groups() -> Value {
    json!({
        "staff": { "users": ["gil", "gus"], "properties": { "room": 7 } },
        "empty": { "users": [] },
    })
}

fn custom_scopes() -> Value {
    json!({
        "custom:sheets": { "description": "sheets", "subscopes": ["custom:sheets:read"] },
        "custom:sheets:read": { "description": "reading sheets" },
    })
}

/// For the reference: sections of traits.
pub(crate) fn reference(port: u16) -> Value {
    json!({
        "JupyterHub": {
            "hub_port": port,
            "bind_url": "http://127.0.0.1:1/", // the stand-in for a proxy does not listen
            "db_url": "sqlite://",
            "authenticator_class": "dummy",
            "allow_named_servers": true,
            "services": services(),
            "load_roles": roles(),
            "load_groups": groups(),
            "custom_scopes": custom_scopes(),
            "tornado_settings": { "slow_spawn_timeout": 1, "slow_stop_timeout": 1 },
        },
        "Authenticator": { "admin_users": ["boss"], "allow_all": true },
        "DummyAuthenticator": { "password": PASSWORD },
        "Spawner": { "http_timeout": 10 },
    })
}

/// For jovis: the same.
pub(crate) fn ours() -> Plan {
    Plan::crowd()
        .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
        .set("auth.allow_all", "true")
        .set("hub.allow_named_servers", "true")
        .set("hub.slow_spawn_timeout", "1")
        .set("hub.slow_stop_timeout", "1")
        .set("hub.custom_scopes", &by_name(&custom_scopes()))
        .set("services", &list(&services()))
        .set("roles", &list(&roles()))
        .set("load_groups", &by_name(&groups()))
}

/// One entry in RON: its own names bare; what is within them is text, numbers, lists and maps, which JSON writes alike.
fn entry(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>();
    format!("({})", fields.join(", "))
}

fn list(values: &Value) -> String {
    let entries = values.as_array().into_iter().flatten().map(entry).collect::<Vec<_>>();
    format!("[{}]", entries.join(", "))
}

fn by_name(values: &Value) -> String {
    let entries = values.as_object().into_iter().flatten();
    let entries = entries.map(|(name, value)| format!("{name:?}: {}", entry(value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}
