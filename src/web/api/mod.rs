//! The REST API (`spec/rest-api.md` 4). One file per kind of thing; every handler checks scopes before it looks at
//! anything else, then at the path, then at the body.

use std::sync::Arc;

use jovis_actors::{
    domain::{Server, ServerKey, ServerName, ServerState, User},
    spawners::Trouble,
};

use super::{call::Call, error::Error};

pub(crate) mod activity;
pub(crate) mod hub;
pub(crate) mod metrics;
pub(crate) mod progress;
pub(crate) mod servers;
pub(crate) mod tokens;
pub(crate) mod users;

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

/// The key of a server that is to be started: named servers must be allowed and well named (`spec/rest-api.md` 4.6).
pub(crate) fn key_to_start(call: &Call, user: &User, name: &str) -> Result<ServerKey, Error> {
    if !name.is_empty() && !call.settings.hub.allow_named_servers {
        return Err(Error::bad("named servers are not enabled on this hub"));
    }
    let name = ServerName::new(name).map_err(|_| {
        Error::bad(
            "a server's name has 1 to 30 lower-case letters, digits and single hyphens, and begins with a letter",
        )
    })?;
    Ok(ServerKey { user: user.id, name })
}

/// Why the last start of this server failed; nothing if it runs, is on its way, or was stopped on request.
pub(crate) fn failure(call: &Call, server: &Server) -> Option<Trouble> {
    if server.state.is_active() {
        return None;
    }
    let key = &server.key;
    let outcome = call.app.doors.report(key).and_then(|report| report.borrow().outcome.clone());
    let trouble = match (outcome, &server.state) {
        (Some(Err(trouble)), _) => trouble,
        (_, ServerState::Failed(cause)) => call.app.doors.trouble(key).unwrap_or_else(|| Trouble {
            cause: cause.clone(),
            at: call.now,
            tail: "".into(),
        }),
        _ => return None,
    };
    (!trouble.cause.is_asked_for()).then_some(trouble)
}
