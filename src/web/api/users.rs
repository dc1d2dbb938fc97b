//! Users: who am I, and one user.

use http::StatusCode;
use jovis_actors::domain::Scope;
use serde_json::json;

use super::user;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::About,
    model::{token, user::View},
};

/// Any of these opens a user's model.
const VISIBLE: &[&str] = &[
    "read:users",
    "read:users:name",
    "read:servers",
    "read:users:groups",
    "read:users:activity",
    "read:roles:users",
];

/// The caller, as servers and services see their visitors (`spec/rest-api.md` 4.2).
pub(crate) async fn who_am_i(call: &Call) -> Answer {
    let who = call.known().map_err(|error| Error { message: None, ..error })?;
    let name = &who.user.name;
    let mut scopes = who.scopes.clone();
    scopes.sort();
    // For this answer alone: the caller may know its own name and groups.
    let identity = ["read:users:name", "read:users:groups"];
    let seen: Vec<_> = scopes
        .iter()
        .cloned()
        .chain(identity.map(|base| Scope::new(&format!("{base}!user={name}"))))
        .collect();
    let view = View { base: call.base(), scopes: &seen, stopped_too: stopped_too(call) };
    let mut model = view.model(&call.image, &who.user).ok_or_else(Error::hidden)?;
    model["scopes"] = json!(scopes.iter().map(Scope::as_str).collect::<Vec<_>>());
    model["token_id"] = json!(who.token.as_ref().map(|it| token::id(it.id)));
    model["session_id"] = json!(who.token.as_ref().and_then(|it| it.session.as_deref()));
    Ok(answer::json(StatusCode::OK, &model))
}

/// One user.
pub(crate) async fn show(call: &Call, name: &str) -> Answer {
    let who = call.known()?;
    who.may(VISIBLE, About::User(name))?;
    let user = user(call, name)?;
    let view = View { base: call.base(), scopes: &who.scopes, stopped_too: stopped_too(call) };
    let model = view.model(&call.image, &user).ok_or_else(Error::hidden)?;
    Ok(answer::json(StatusCode::OK, &model))
}

/// `include_stopped_servers`: any value but `0` and `false`.
fn stopped_too(call: &Call) -> bool {
    let given = call.query.get("include_stopped_servers");
    given.is_some_and(|text| !matches!(text.to_ascii_lowercase().as_str(), "0" | "false"))
}
