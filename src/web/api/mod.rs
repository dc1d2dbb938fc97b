//! The REST API (`spec/rest-api.md` 4). One file per kind of thing; every handler checks scopes before it looks at
//! anything else, then at the path, then at the body.

use std::sync::Arc;

use jovis_actors::{
    domain::{Server, ServerKey, ServerName, ServerState, User},
    spawners::Trouble,
};
use serde_json::Value;

use super::{call::Call, error::Error};

pub(crate) mod activity;
pub(crate) mod authorizations;
pub(crate) mod describe;
pub(crate) mod fields;
pub(crate) mod groups;
pub(crate) mod hub;
pub(crate) mod metrics;
pub(crate) mod named;
pub(crate) mod names;
pub(crate) mod notices;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod proxy;
pub(crate) mod servers;
pub(crate) mod services;
pub(crate) mod share_codes;
pub(crate) mod shares;
pub(crate) mod shutdown;
pub(crate) mod tokens;
pub(crate) mod users;

/// What a body says, where one may be left out: nothing, `{}` and the like count as left out.
pub(crate) fn said(body: Option<Value>) -> Option<Value> {
    body.filter(|body| match body {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    })
}

/// The user of this name, or 404.
pub(crate) fn user(call: &Call, name: &str) -> Result<Arc<User>, Error> {
    call.image.user_named(name).cloned().ok_or_else(Error::hidden)
}

/// The server of this name: the default one always exists, a named one needs a record. Otherwise 404.
pub(crate) fn server(call: &Call, user: &User, name: &str) -> Result<Arc<Server>, Error> {
    let name = ServerName::new(name).map_err(|_| Error::hidden())?;
    let key = ServerKey { user: user.id, name };
    match call.image.server(&key) {
        Some(server) => Ok(server.clone()),
        None if key.name.is_default() => Ok(Arc::new(Server::new(key))),
        None => Err(Error::hidden()),
    }
}

/// Why the last start of this server failed; nothing if it runs, is on its way, or was stopped on request.
pub(crate) fn failure(call: &Call, server: &Server) -> Option<Trouble> {
    if server.state.is_active() {
        return None;
    }
    let key = &server.key;
    let outcome = call.app.doors.report(key).and_then(|report| report.borrow().outcome.clone());
    let trouble = match (outcome, &server.state) {
        // Otherwise it is remembered of another server, which had this name before.
        (Some(Err(trouble)), state) if state.cause() == Some(&trouble.cause) => trouble,
        (_, ServerState::Failed(cause)) => call.app.doors.trouble(key).unwrap_or_else(|| Trouble {
            cause: cause.clone(),
            at: call.now,
            tail: "".into(),
        }),
        _ => return None,
    };
    (!trouble.cause.is_asked_for()).then_some(trouble)
}
