//! Users: who am I, one user; all of them, and changes of them, in files of their own.

use http::StatusCode;
use jovis_actors::domain::{
    User,
    scope::{self, Granted, Holder, Resource},
};
use serde_json::{Map, Value, json};

use super::user;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::{By, Who},
    model::{self, token, user::View},
};

pub(crate) mod change;
pub(crate) mod list;

/// The caller, as servers and services see their visitors (`spec/rest-api.md` 4.2).
pub(crate) async fn who_am_i(call: &Call) -> Answer {
    let who = call.known().map_err(|error| Error { message: None, ..error })?;
    let mut model = owner(call, who)?;
    model["scopes"] = json!(who.granted.names(call.policy.vocabulary()));
    model["token_id"] = json!(who.token.as_ref().map(|it| token::id(it.id)));
    model["session_id"] = json!(who.token.as_ref().and_then(|it| it.session.as_deref()));
    Ok(answer::json(StatusCode::OK, &model))
}

/// The model of whoever asks. For this answer alone it may know its own name and groups.
fn owner(call: &Call, who: &Who) -> Result<Value, Error> {
    identified(call, &who.by, &who.granted)
}

/// A model as somebody with these scopes sees it, who may know its name and groups in any case.
pub(super) fn identified(call: &Call, who: &By, granted: &Granted) -> Result<Value, Error> {
    let mut granted = granted.clone();
    match who {
        By::User(user) => {
            scope::identify(&Holder::user(&user.name), false, &mut granted);
            view(call, &granted).model(&call.image, user).ok_or_else(Error::hidden)
        }
        By::Service(service) => {
            scope::identify(&Holder::service(&service.name), true, &mut granted);
            let held = granted.on(Resource::Service(service.name.as_str()), &*call.image);
            let mut model = model::service::model(call, service, held).ok_or_else(Error::hidden)?;
            // What is said of a service to itself does not look at how it is shown to people.
            if let Some(fields) = model.as_object_mut() {
                let unset = |key: &str, value: &Value| match key {
                    "display" | "url" => true,
                    "info" => value.as_object().is_some_and(Map::is_empty),
                    _ => false,
                };
                let unset = fields.iter_mut().filter(|(key, value)| unset(key, value));
                unset.for_each(|(_, value)| *value = Value::Null);
            }
            Ok(model)
        }
    }
}

/// A user as somebody with these scopes sees it; nothing if no field is visible.
pub(super) fn seen(call: &Call, user: &User, granted: &Granted) -> Option<Value> {
    view(call, granted).model(&call.image, user)
}

/// How the caller sees users, with these scopes.
fn view<'a>(call: &'a Call, granted: &'a Granted) -> View<'a> {
    View {
        facts: call.facts(),
        granted,
        policy: &call.policy,
        notes: call.app.doors.notes(),
        stopped_too: stopped_too(call),
    }
}

/// One user.
pub(crate) async fn show(call: &Call, name: &str) -> Answer {
    let who = call.known()?;
    let user = user(call, name)?;
    let view = view(call, &who.granted);
    let mut model = view.model(&call.image, &user).ok_or_else(Error::hidden)?;
    // In this answer alone it is told; whether it may be, the model knows.
    if model.get("auth_state").is_some() {
        model["auth_state"] = json!(call.app.doors.auth_state(&call.image, user.id));
    }
    Ok(answer::json(StatusCode::OK, &model))
}

/// `include_stopped_servers`: any value but `0` and `false`.
fn stopped_too(call: &Call) -> bool {
    let given = call.query.get("include_stopped_servers");
    given.is_some_and(|text| !matches!(text.to_ascii_lowercase().as_str(), "0" | "false"))
}
