//! Users made, changed and deleted (`spec/rest-api.md` 4.3).

use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewUser, UserChange},
    domain::{User, UserId, Username},
    spawners::{StopAsk, StopRefused},
};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tracing::warn;

use super::view;
use crate::web::{
    answer::{self, Answer},
    api::{
        fields::{self, Kind},
        names::naming,
        servers::stopper,
        user,
    },
    call::Call,
    error::Error,
};

/// Fields of a user. When one is made only `admin` counts.
const FIELDS: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("admin", Kind::Flag),
    ("groups", Kind::List),
    ("roles", Kind::List),
    ("auth_state", Kind::Object),
];

/// The same with the names of several.
const SEVERAL: &[(&str, Kind)] = &[
    ("usernames", Kind::List),
    ("name", Kind::Text),
    ("admin", Kind::Flag),
    ("groups", Kind::List),
    ("roles", Kind::List),
    ("auth_state", Kind::Object),
];

/// What can be changed. Groups have paths of their own, roles stand in the configuration.
const CHANGES: &[(&str, Kind)] =
    &[("name", Kind::Text), ("admin", Kind::Flag), ("auth_state", Kind::Object)];

/// For so many users at once the machine is asked for their accounts.
const AT_ONCE: usize = 32;

/// Makes several; those who exist are passed over.
pub(crate) async fn create_several(call: &mut Call) -> Answer {
    let body = fields::read(call.json().await?, SEVERAL)?.unwrap_or_default();
    let names = fields::texts(&body, "usernames")?.filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| Error::bad("usernames must name one user at least"))?;
    if names.len() > accounts::MOST_USERS {
        return Err(accounts::UserRefused::Many.into());
    }
    let admin = admin(call, &body)?;
    let naming = naming(call)?;
    let (mut good, mut bad) = (Vec::with_capacity(names.len()), Vec::new());
    for written in names {
        match naming.written(written) {
            Ok(name) => good.push(new(call, name)),
            Err(_) => bad.push(written),
        }
    }
    if !bad.is_empty() {
        return Err(Error::bad(format!("not the names of users: {}", bad.join(", "))));
    }
    let unknown = good.iter().filter(|new| call.image.user_named(new.name.as_str()).is_none());
    let unknown: Vec<_> = unknown.map(|new| new.name.clone()).collect();
    machine(call, unknown).await?;
    let users = call.change(move |image, _, now| accounts::create_users(image, good, admin, now));
    let users = users.await?;
    let models = users.iter().map(|it| seen(call, it.id)).collect::<Result<_, _>>()?;
    Ok(answer::json(StatusCode::CREATED, &Value::Array(models)))
}

/// Makes one, by the name as it stands in the path.
pub(crate) async fn create(call: &mut Call, name: &str) -> Answer {
    let body = call.json().await?;
    if call.image.user_named(name).is_some() {
        return Err(Error::conflict(format!("user {name} exists already")));
    }
    let body = fields::read(body, FIELDS)?.unwrap_or_default();
    let admin = admin(call, &body)?;
    let new = new(call, naming(call)?.exact(name).map_err(Error::bad)?);
    machine(call, vec![new.name.clone()]).await?;
    let made = call.change(move |image, _, now| accounts::create_user(image, new, admin, now));
    let id = made.await?.id;
    Ok(answer::json(StatusCode::CREATED, &seen(call, id)?))
}

/// New users have accounts of the machine, where that is needed. (JupyterHub: `LocalAuthenticator.add_user`.) Those that
/// were made stay, whatever becomes of the others.
async fn machine(call: &Call, names: Vec<Username>) -> Result<(), Error> {
    if !call.settings.accounts().asks(false) {
        return Ok(());
    }
    let mut names = names.into_iter();
    let mut asked = JoinSet::new();
    loop {
        for name in names.by_ref().take(AT_ONCE - asked.len()) {
            let app = call.app.clone();
            asked.spawn(async move { (app.doors.account(&name).await, name) });
        }
        match asked.join_next().await {
            None => return Ok(()),
            Some(Ok((Ok(()), _))) => {}
            Some(Ok((Err(error), name))) => {
                warn!(user = %name, %error, "user not added");
                return Err(error.into());
            }
            Some(Err(error)) => return Err(Error::unable(error)),
        }
    }
}

/// Changes one: another name, administrator or not, what is kept about the user.
pub(crate) async fn change(call: &mut Call, name: &str) -> Answer {
    let id = user(call, name)?.id;
    let body = fields::read(call.json().await?, CHANGES)?;
    let body = body.ok_or_else(|| Error::bad("expected an object"))?;
    let written = body.get("name").and_then(Value::as_str);
    let naming = naming(call)?;
    let name = written.map(|name| naming.written(name)).transpose().map_err(Error::bad)?;
    let kept = body.get("auth_state").map(|state| call.app.doors.seal(state)).transpose()?;
    let change = UserChange { name, admin: body.get("admin").and_then(Value::as_bool), kept };
    let by_admin = call.known()?.is_admin();
    call.change(move |image, _, now| accounts::change_user(image, id, change, by_admin, now))
        .await?;
    let mut model = seen(call, id)?;
    // Whoever may change it may know it: this answer tells it in any case.
    model["auth_state"] = json!(call.app.doors.auth_state(&call.image, id));
    Ok(answer::json(StatusCode::OK, &model))
}

/// Stops all servers of a user, then deletes the user with all that is the user's.
pub(crate) async fn delete(call: &mut Call, name: &str) -> Answer {
    let user = user(call, name)?;
    if call.known()?.user().is_some_and(|own| own.id == user.id) {
        return Err(Error::bad("you cannot delete yourself"));
    }
    stop_all(call, &user).await?;
    let id = user.id;
    call.change(move |image, _, _| accounts::delete_user(image, id)).await?;
    let auth = &call.settings.auth;
    let lists =
        [("auth.allowed_users", &auth.allowed_users), ("auth.admin_users", &auth.admin_users)];
    let named = |name: &String| Username::normalise(name).is_ok_and(|name| name == user.name);
    if let Some((setting, _)) = lists.into_iter().find(|(_, names)| names.iter().any(named)) {
        warn!(user = %user.name, setting, "deleted user may return");
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Has the user's servers stopped, also those being started, and waits `slow_stop_timeout` for all of them together. Who
/// starts another meanwhile is told by the decision to come.
async fn stop_all(call: &Call, user: &User) -> Result<(), Error> {
    let active = call.image.servers_of(user.id).filter(|server| server.state.is_active());
    let active: Vec<_> = active.map(|server| server.key.clone()).collect();
    let by = stopper(call.known()?, user);
    for key in &active {
        let ask = StopAsk { by: by.clone(), remove: false };
        match call.app.doors.stop(key.clone(), ask).await {
            Ok(()) | Err(StopRefused::NotRunning) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    let end = call.app.clock.instant() + call.settings.hub.slow_stop_timeout.duration();
    for key in &active {
        let left = end.saturating_duration_since(call.app.clock.instant());
        if !call.app.doors.settled(key, left).await {
            return Err(accounts::UserRefused::Stopping.into());
        }
    }
    Ok(())
}

/// Is the new user to be an administrator? Only those make such.
fn admin(call: &Call, body: &Map<String, Value>) -> Result<bool, Error> {
    let admin = body.get("admin").and_then(Value::as_bool).unwrap_or(false);
    if admin && !call.known()?.is_admin() {
        return Err(accounts::UserRefused::NotAdmin.into());
    }
    Ok(admin)
}

fn new(call: &Call, name: Username) -> NewUser {
    NewUser { name, cookie_id: call.app.entropy.hex(16) }
}

/// A user as the caller sees it. Who made or renamed one knows the name at least.
fn seen(call: &Call, id: UserId) -> Result<Value, Error> {
    let user = call.image.user(id).ok_or_else(Error::hidden)?;
    let model = view(call, &call.known()?.granted).model(&call.image, user);
    Ok(model.unwrap_or_else(|| json!({"kind": "user", "name": user.name.as_str()})))
}
