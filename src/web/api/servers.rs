//! Servers: look at, start, stop (`spec/rest-api.md` 4.6). What is done to one at rest is in [`named`].

use http::StatusCode;
use jovis_actors::{
    accounts,
    domain::{
        Server, ServerState, Stopper, User,
        scope::{Mask, Resource},
    },
    spawners::{Begun, StopAsk, StopRefused},
};
use serde_json::Value;

use super::{failure, named, server, user};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    choice,
    error::Error,
    guard::{By, Who},
    model,
};

/// One server, running or not.
pub(crate) async fn show(call: &Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let server = server(call, &user, server_name)?;
    Ok(answer::json(StatusCode::OK, &model(call, &user, &server)))
}

/// A server as this caller sees it.
pub(super) fn model(call: &Call, user: &User, server: &Server) -> Value {
    const STATE: Mask = Mask::of(&["admin:server_state"]);
    let about = Resource::Server(user.name.as_str(), server.key.name.as_str());
    model::server::model(
        call.facts(),
        call.app.doors.notes(),
        user,
        server,
        call.covers(STATE, about),
    )
}

/// Starts a server; waits `slow_spawn_timeout`, then says "pending".
pub(crate) async fn start(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let mut ask = named::read(call.json().await?)?;
    call.vouched(user.id).await?;
    ask.options = choice::for_start(call, &user, server_name, ask.options)?;
    let key = named::needed(call, &user, server_name, &mut ask).await?;
    let begun = call.app.doors.start(key.clone(), ask).await?;
    let pending = answer::bare(StatusCode::ACCEPTED, "text/plain");
    if begun == Begun::Already {
        return Ok(pending);
    }
    let patience = call.settings.hub.slow_spawn_timeout.duration();
    if !call.app.doors.settled(&key, patience).await {
        return Ok(pending);
    }
    let image = call.fresh();
    match image.server(&key) {
        Some(server) if server.state.is_ready() => {
            Ok(answer::bare(StatusCode::CREATED, "text/plain"))
        }
        Some(server) if server.state.is_active() => Ok(pending),
        Some(server) => Err(match failure(call, server) {
            Some(trouble) => Error::failed(format!("the start failed: {}", trouble.cause)),
            None => Error::bad("the start was cancelled"),
        }),
        None => Err(Error::hidden()),
    }
}

/// Stops a server; waits `slow_stop_timeout`, then says "pending".
pub(crate) async fn stop(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let body = call.json().await?;
    let remove = match body.as_ref().map(|body| (body.is_object(), body.get("remove"))) {
        None | Some((true, None | Some(Value::Bool(false) | Value::Null))) => false,
        Some((true, Some(Value::Bool(true)))) => true,
        Some(_) => return Err(Error::bad("expected an object with a boolean \"remove\"")),
    };
    if !server_name.is_empty() && !call.settings.hub.allow_named_servers {
        return Err(Error::bad("named servers are not enabled on this hub"));
    }
    if server_name.is_empty() && remove {
        return Err(Error::bad("the default server cannot be removed"));
    }
    let server = server(call, &user, server_name)?;
    let key = server.key.clone();
    let by = stopper(call.known()?, &user).map(|by| idle(call, &server, by));
    let ask = StopAsk { by, remove };
    if matches!(server.state, ServerState::Stopping { .. }) && !remove {
        return Ok(answer::bare(StatusCode::ACCEPTED, "text/plain"));
    }
    match call.app.doors.stop(key.clone(), ask).await {
        Ok(()) | Err(StopRefused::NotRunning) => {}
        Err(refused) => return Err(refused.into()),
    }
    let patience = call.settings.hub.slow_stop_timeout.duration();
    if !call.app.doors.settled(&key, patience).await {
        return Ok(answer::bare(StatusCode::ACCEPTED, "text/plain"));
    }
    if remove {
        // One that ran took its record along; this is for one that was at rest.
        call.change(move |image, _, _| accounts::drop_server(image, &key)).await?;
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Of old: were administrators let into this user's servers by this? Roles do that now.
pub(crate) async fn admin_access(call: &Call, name: &str) -> Answer {
    user(call, name)?;
    if !call.settings.hub.admin_access {
        return Err(Error::forbidden(
            "hub.admin_access is off; give the scope access:servers instead",
        ));
    }
    Ok(answer::bare(StatusCode::OK, "application/json"))
}

/// From so many minutes on it counts how long a culled server had not been used.
const IDLE: u64 = 5;

/// Whoever culls a server that was not used for long, does it for that.
fn idle(call: &Call, server: &Server, by: Stopper) -> Stopper {
    let used = call.app.doors.notes().of_server(server);
    let minutes = used.map_or(0, |used| call.now.since(used).as_secs() / 60);
    match by {
        Stopper::Culler(by) if minutes >= IDLE => Stopper::Idle { by, minutes },
        by => by,
    }
}

/// Who has this user's server stopped; nothing if it is the user. A client that may end everybody's servers and start
/// nobody's is there to cull: that is all such rights are good for.
pub(crate) fn stopper(who: &Who, owner: &User) -> Option<Stopper> {
    const ENDS: Mask = Mask::of(&["delete:servers"]);
    const STARTS: Mask = Mask::of(&["start:servers"]);
    let everybodys = who.granted.whole();
    if who.token.is_some() && everybodys.meets(ENDS) && !everybodys.meets(STARTS) {
        return Some(Stopper::Culler(who.name().to_owned()));
    }
    match &who.by {
        By::User(user) => (user.id != owner.id).then(|| Stopper::User(user.name.clone())),
        By::Service(service) => Some(Stopper::Service(service.name.clone())),
    }
}
