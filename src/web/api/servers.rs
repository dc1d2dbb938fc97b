//! Servers: look at, start, stop (`spec/rest-api.md` 4.6).

use http::StatusCode;
use jovis_actors::{
    domain::{
        ServerState, Stopper, User,
        scope::{Mask, Resource},
    },
    spawners::{Ask, Begun, StopAsk, StopRefused},
};
use serde_json::{Map, Value};

use super::{failure, key_to_start, server, user};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::{By, Who},
    model,
};

/// One server, running or not.
pub(crate) async fn show(call: &Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let server = server(call, &user, server_name)?;
    let about = Resource::Server(name, server_name);
    let state = call.covers(Mask::of(&["admin:server_state"]), about);
    let model = model::server::model(call.base(), &user, &server, state);
    Ok(answer::json(StatusCode::OK, &model))
}

/// Starts a server; waits `slow_spawn_timeout`, then says "pending".
pub(crate) async fn start(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let key = key_to_start(call, &user, server_name)?;
    let mut ask = read(call.json().await?)?;
    if key.name.is_default() {
        ask.display_name = None;
    }
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
    let ask = StopAsk { by: stopper(call.known()?, &user), remove };
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
        call.app.doors.drop_server(key).await?;
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Who has this user's server stopped; nothing if it is the user. A client that may end everybody's servers and start
/// nobody's is there to cull: that is all such rights are good for.
fn stopper(who: &Who, owner: &User) -> Option<Stopper> {
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

/// Most bytes of options, as JSON: they are kept with the server's record.
const OPTIONS: usize = 64 * 1024;

/// With what to start. An object with neither known key is a client's of before 6.0: all of it is options.
fn read(body: Option<Value>) -> Result<Ask, Error> {
    let mut fields = match body {
        None | Some(Value::Bool(false)) => return Ok(Ask::default()),
        Some(Value::Array(items)) if items.is_empty() => return Ok(Ask::default()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    if fields.is_empty() {
        return Ok(Ask::default());
    }
    let (name, options) = (fields.remove("display_name"), fields.remove("user_options"));
    if name.is_none() && options.is_none() {
        return Ok(Ask { options: Some(chosen(fields)?), display_name: None });
    }
    let display_name = match name {
        None => None,
        Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
        Some(_) => return Err(Error::bad("display_name must be a string")),
    };
    let display_name = display_name.map(shown).transpose()?;
    let options = match options {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(chosen(options)?),
        Some(_) => return Err(Error::bad("user_options must be an object")),
    };
    Ok(Ask { options, display_name })
}

/// A display name, if it can be one.
pub(crate) fn shown(name: String) -> Result<String, Error> {
    let bad = || Error::bad("display_name must have 1 to 255 visible characters");
    if shows(&name) { Ok(name) } else { Err(bad()) }
}

/// Options for a server, if they are not too many.
pub(crate) fn chosen(options: Map<String, Value>) -> Result<Value, Error> {
    let options = Value::Object(options);
    if options.to_string().len() > OPTIONS {
        return Err(Error::bad("the options for the server have more than 64 KiB"));
    }
    Ok(options)
}

/// Can this be shown as a name: nothing invisible, no blanks at the ends or in pairs?
fn shows(name: &str) -> bool {
    (1..=255).contains(&name.chars().count())
        && !name.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' '))
        && !name.contains("  ")
        && name.trim() == name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_the_body_are_read() {
        assert_eq!(read(None).unwrap(), Ask::default());
        assert_eq!(read(Some(json!({}))).unwrap(), Ask::default());
        assert_eq!(read(Some(json!({"image": "a"}))).unwrap().options, Some(json!({"image": "a"})));
        let new = read(Some(json!({"display_name": "Lab 1", "user_options": {"a": 1}, "b": 2})));
        let wanted = Ask { options: Some(json!({"a": 1})), display_name: Some("Lab 1".to_owned()) };
        assert_eq!(new.unwrap(), wanted);
        assert_eq!(read(Some(json!({"user_options": null}))).unwrap(), Ask::default());
    }

    #[test]
    fn wrong_types_are_bad_requests() {
        for bad in [
            json!([1]),
            json!("a"),
            json!({"display_name": 1}),
            json!({"user_options": []}),
            json!({"display_name": " a"}),
            json!({"display_name": "a  b"}),
            json!({"display_name": "a\u{7}"}),
            json!({"display_name": "a".repeat(256)}),
        ] {
            assert_eq!(read(Some(bad.clone())).unwrap_err().status.as_u16(), 400, "{bad}");
        }
    }
}
