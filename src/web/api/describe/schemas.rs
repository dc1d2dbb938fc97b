//! The shapes of bodies and answers, as JSON Schema (`spec/rest-api.md` 2). Fields of users, groups and services are there
//! only for callers who may see them.

use serde_json::{Map, Value, json};

/// A reference to a shape of [`all`].
pub(super) fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// What stands in this place of a path.
pub(super) fn place(name: &str) -> &'static str {
    match name {
        "user" => "The name of a user.",
        "server" | "its" => "The name of a server.",
        "group" => "The name of a group.",
        "service" => "The name of a service.",
        "owner" => "The name of the user whose server it is.",
        "id" => "The number of a token: `a` and digits.",
        "token" => "A token.",
        "name" => "The name of a cookie.",
        "value" => "The value of a cookie.",
        _ => "A name.",
    }
}

/// A parameter in the query.
pub(super) fn parameter(name: &str) -> Value {
    let (about, schema) = match name {
        "offset" => ("How many come before.", json!({"type": "integer"})),
        "limit" => {
            ("How many to show at the most; 200 is the most there is.", json!({"type": "integer"}))
        }
        "state" => (
            "Only users with an active server, with a ready one, with none.",
            json!({"enum": ["active", "ready", "inactive"]}),
        ),
        "name_filter" => ("Only names with this in them.", json!({"type": "string"})),
        "sort" => (
            "In which order; with `-` backwards.",
            json!({"enum": ["id", "name", "last_activity", "-id", "-name", "-last_activity"]}),
        ),
        "include_stopped_servers" => ("With servers that do not run.", json!({"type": "boolean"})),
        "code" => ("The code itself.", json!({"type": "string"})),
        "id" => ("The code's number: `sc_` and digits.", json!({"type": "string"})),
        "_xsrf" => ("The form token, where headers cannot be sent.", json!({"type": "string"})),
        _ => ("", json!({})),
    };
    json!({"name": name, "in": "query", "required": false, "description": about, "schema": schema})
}

fn object(required: &[&str], fields: Value) -> Value {
    json!({"type": "object", "required": required, "properties": fields})
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": named(name)})
}

/// A list as it is, or a page of it for clients that say so in `Accept`.
fn pages(name: &str) -> Value {
    json!({"anyOf": [list(name), page(name)]})
}

fn page(name: &str) -> Value {
    object(
        &["items", "_pagination"],
        json!({"items": list(name), "_pagination": named("pagination")}),
    )
}

/// All shapes, by name.
pub(super) fn all() -> Value {
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    let number = json!({"type": "integer"});
    let texts = json!({"type": "array", "items": text});
    let free = json!({"type": "object"});
    let maybe_text = json!({"type": ["string", "null"]});
    let maybe_free = json!({"type": ["object", "null"]});
    let time = json!({"type": ["string", "null"], "format": "date-time"});
    let level = json!({"enum": ["info", "warning"]});
    let pending = json!({"enum": [null, "spawn", "stop", "check", "rename"]});
    let user = json!({
        "kind": {"const": "user"}, "name": text, "admin": flag, "user_info": maybe_free, "roles": texts,
        "groups": texts, "server": maybe_text, "pending": pending, "created": time, "last_activity": time,
        "servers": {"type": "object", "additionalProperties": named("server")}, "auth_state": maybe_free,
    });
    let with = |fields: &Value, more: Value| {
        let mut all = fields.as_object().cloned().unwrap_or_default();
        all.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(all)
    };
    let service = json!({
        "kind": {"const": "service"}, "name": text, "admin": flag, "roles": texts, "url": maybe_text, "prefix": text,
        "command": texts, "pid": number, "info": maybe_free, "display": {"type": ["boolean", "null"]},
    });
    let token = json!({
        "id": text, "kind": {"const": "api_token"}, "user": maybe_text, "service": text, "roles": texts, "scopes": texts,
        "created": time, "last_activity": time, "expires_at": time, "note": text, "session_id": maybe_text,
        "oauth_client": text,
    });
    let identified = json!({"scopes": texts, "token_id": maybe_text, "session_id": maybe_text});
    let who = with(&with(&user, service.clone()), identified);
    let who = with(&who, json!({"kind": {"enum": ["user", "service"]}}));
    let code = json!({
        "server": named("shared_server"), "scopes": texts, "id": text, "created_at": time, "expires_at": time,
        "exchange_count": number, "last_exchanged_at": time, "code": text, "accept_url": text,
        "full_accept_url": maybe_text,
    });
    let class = object(&["class", "version"], json!({"class": text, "version": text}));
    let wish = json!({"display_name": text, "user_options": maybe_free});
    let named_only = object(&["name"], json!({"name": text}));
    let shapes = [
        ("anything", free.clone()),
        ("error", object(&["status", "message"], json!({"status": number, "message": maybe_text}))),
        ("version", object(&["version"], json!({"version": text}))),
        ("message", object(&["message"], json!({"message": text}))),
        (
            "info",
            object(
                &["version", "python", "sys_executable", "spawner", "authenticator"],
                json!({
                    "version": text, "python": text, "sys_executable": text, "spawner": class.clone(),
                    "authenticator": class,
                }),
            ),
        ),
        (
            "pagination",
            object(
                &["offset", "limit", "total", "next"],
                json!({
                    "offset": number, "limit": number, "total": number, "next": maybe_free,
                }),
            ),
        ),
        ("user", object(&["kind", "name"], user)),
        ("users", pages("user")),
        ("user_list", list("user")),
        ("who", object(&["kind", "name", "scopes", "token_id", "session_id"], who)),
        ("new_users", object(&["usernames"], json!({"usernames": texts, "admin": flag}))),
        ("new_user", object(&[], json!({"admin": flag}))),
        ("user_change", object(&[], json!({"name": text, "admin": flag, "auth_state": free}))),
        (
            "activity",
            object(
                &[],
                json!({
                    "last_activity": text,
                    "servers": {"type": "object", "additionalProperties": object(&["last_activity"], json!({"last_activity": text}))},
                }),
            ),
        ),
        (
            "server",
            object(
                &[
                    "name",
                    "full_name",
                    "last_activity",
                    "started",
                    "pending",
                    "ready",
                    "stopped",
                    "url",
                    "user_options",
                    "progress_url",
                ],
                json!({
                    "name": text, "display_name": maybe_text, "full_name": text, "last_activity": time, "started": time,
                    "pending": pending, "ready": flag, "stopped": flag, "url": text, "user_options": maybe_free,
                    "progress_url": text, "full_url": maybe_text, "full_progress_url": maybe_text, "state": maybe_free,
                    "cause": object(&["kind", "message"], json!({"kind": text, "message": text})),
                }),
            ),
        ),
        ("server_wish", object(&[], wish.clone())),
        ("server_change", object(&[], with(&wish, json!({"name": text, "user_options": free})))),
        ("server_end", object(&[], json!({"remove": flag}))),
        (
            "progress",
            object(
                &[],
                json!({
                    "progress": number, "message": text, "html_message": text, "ready": flag, "failed": flag, "url": text,
                }),
            ),
        ),
        ("token", object(&["id", "kind", "scopes", "created", "note"], token.clone())),
        ("tokens", object(&["api_tokens"], json!({"api_tokens": list("token")}))),
        (
            "new_token",
            object(&["id", "kind", "scopes", "token"], with(&token, json!({"token": text}))),
        ),
        (
            "token_wish",
            object(
                &[],
                json!({
                    "note": text, "expires_in": {"type": ["integer", "null"], "minimum": 1}, "scopes": texts, "roles": texts,
                    "auth": free,
                }),
            ),
        ),
        (
            "group",
            object(
                &["kind", "name"],
                json!({
                    "kind": {"const": "group"}, "name": text, "users": texts, "properties": free, "roles": texts,
                }),
            ),
        ),
        ("groups", pages("group")),
        ("group_list", list("group")),
        ("new_groups", object(&["groups"], json!({"groups": texts, "users": texts}))),
        ("members", object(&[], json!({"users": texts}))),
        ("properties", free.clone()),
        ("service", object(&["kind", "name"], service)),
        ("services", json!({"type": "object", "additionalProperties": named("service")})),
        (
            "new_service",
            object(
                &[],
                json!({
                    "url": text, "admin": flag, "display": flag, "info": free, "api_token": text, "oauth_no_confirm": flag,
                    "oauth_client_id": text, "oauth_redirect_uri": text, "oauth_client_allowed_scopes": texts,
                }),
            ),
        ),
        (
            "shared_server",
            object(
                &["user", "name", "url", "ready"],
                json!({
                    "user": named_only.clone(), "name": text, "url": text, "full_url": maybe_text, "ready": flag,
                }),
            ),
        ),
        (
            "share",
            object(
                &["server", "scopes", "kind", "created_at"],
                json!({
                    "server": named("shared_server"), "scopes": texts, "kind": {"enum": ["user", "group"]}, "created_at": time,
                    "user": {"anyOf": [{"type": "null"}, named_only.clone()]},
                    "group": {"anyOf": [{"type": "null"}, named_only]},
                }),
            ),
        ),
        ("shares", page("share")),
        ("share_wish", object(&[], json!({"user": text, "group": text, "scopes": texts}))),
        (
            "share_code",
            object(&["server", "scopes", "id", "created_at", "expires_at", "exchange_count"], code),
        ),
        ("share_codes", page("share_code")),
        (
            "share_code_wish",
            object(
                &[],
                json!({
                    "scopes": texts, "expires_in": {"type": "integer", "minimum": 60, "maximum": 31_536_000},
                }),
            ),
        ),
        ("proxy", object(&[], json!({"api_url": text, "auth_token": text}))),
        (
            "announcement",
            object(
                &["text", "level", "until", "by", "since"],
                json!({"text": text, "level": level, "until": time, "by": maybe_text, "since": time}),
            ),
        ),
        (
            "announcement_wish",
            object(&["text"], json!({"text": text, "level": level, "until": time})),
        ),
        (
            "maintenance",
            object(
                &["active", "message", "until", "drain", "by", "since"],
                json!({
                    "active": flag, "message": text, "until": time, "drain": {"anyOf": [{"type": "null"}, named("drain")]},
                    "by": maybe_text, "since": time,
                }),
            ),
        ),
        (
            "maintenance_wish",
            object(
                &[],
                json!({
                    "message": text, "until": time, "drain": {"anyOf": [{"type": "null"}, named("drain")]},
                }),
            ),
        ),
        (
            "drain",
            object(
                &["servers"],
                json!({
                    "servers": {"enum": ["idle", "all"]}, "idle_seconds": {"type": ["integer", "null"], "minimum": 0},
                    "from": time,
                }),
            ),
        ),
        ("shutdown", object(&[], json!({"proxy": flag, "servers": flag}))),
        (
            "code",
            object(
                &["grant_type", "client_id", "client_secret", "code"],
                json!({
                    "grant_type": {"const": "authorization_code"}, "client_id": text, "client_secret": text, "code": text,
                    "redirect_uri": text, "code_verifier": text,
                }),
            ),
        ),
        (
            "access_token",
            object(
                &["access_token", "expires_in", "token_type", "scope"],
                json!({
                    "access_token": text, "expires_in": number, "token_type": {"const": "Bearer"}, "scope": text,
                }),
            ),
        ),
    ];
    Value::Object(
        shapes.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect::<Map<_, _>>(),
    )
}
