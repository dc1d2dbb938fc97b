//! The home page: one's servers, how they are and what they take, and what one can do with them. It works without
//! scripts: starting is a link, everything else a form that comes back here. With them it looks from time to time
//! whether something has changed (`?live`, which gives the servers alone and is no activity).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewServer},
    domain::{
        Cause, ClientId, Owner, Server, ServerKey, ServerName, ServerState, SharedWith, User, role,
        scope::{Mask, Resource},
        slug,
    },
    spawners::{Ask, StopAsk, StopRefused},
};
use serde_json::{Value, json};

use super::{options, page, shares, trouble};
use crate::web::{
    answer::{self, Answer},
    api::{self, named},
    call::Call,
    error::Error,
    model, terminal,
};

/// What starts, and makes, servers.
const START: Mask = Mask::of(&["start:servers"]);
/// What stops and removes them.
const STOP: Mask = Mask::of(&["delete:servers"]);

/// Lines of a server's own output that the page shows.
const LINES: usize = 20;

/// How long a server that is to be started again may take to stop.
const RESTART: Duration = Duration::from_secs(300);

/// The form for a new server as it was sent, where it is not as it should be.
#[derive(Default)]
struct Typed {
    name: String,
    wrong: Option<String>,
}

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let template = if call.query.get("live").is_some() { "home_servers.html" } else { "home.html" };
    let values = values(call, &Typed::default())?;
    page(call, template, StatusCode::OK, values)
}

/// Does what a form of the page asks for.
pub(crate) async fn act(call: &mut Call) -> Answer {
    let form = call.form(64 * 1024).await?;
    call.require_xsrf(Some(&form))?;
    let user = call.person()?.clone();
    let name = form.get("server").unwrap_or_default();
    match form.get("action") {
        Some("stop") => {
            stop(call, &user, name).await?;
        }
        Some("restart") => return restart(call, &user, name).await,
        Some("delete") => delete(call, &user, name).await?,
        Some("add") => {
            let typed = form.get("display_name").unwrap_or_default();
            if let Err(error) = add(call, &user, typed).await {
                return refused(call, typed, error);
            }
        }
        _ => return Err(Error::bad("the form names nothing that can be done")),
    }
    Ok(answer::found(&format!("{}home", call.hub())))
}

/// Stops a server, and waits a little for it. True: it is at rest.
async fn stop(call: &mut Call, user: &User, name: &str) -> Result<bool, Error> {
    call.may(STOP, Resource::Server(user.name.as_str(), name))?;
    let server = api::server(call, user, name)?;
    let key = server.key.clone();
    if !matches!(server.state, ServerState::Stopping { .. }) {
        match call.app.doors.stop(key.clone(), StopAsk::default()).await {
            Ok(()) | Err(StopRefused::NotRunning) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    let patience = call.settings.hub.slow_stop_timeout.duration();
    Ok(call.app.doors.settled(&key, patience).await)
}

/// Stops a server and starts it as it was, and leads to where one watches that.
async fn restart(call: &mut Call, user: &User, name: &str) -> Answer {
    call.may(START, Resource::Server(user.name.as_str(), name))?;
    call.vouched(user.id).await?;
    let key = api::server(call, user, name)?.key.clone();
    if stop(call, user, name).await? {
        call.app.doors.start(key, again()).await?;
    } else {
        let app = call.app.clone();
        tokio::spawn(async move {
            if app.doors.settled(&key, RESTART).await
                && let Err(error) = app.doors.start(key.clone(), again()).await
            {
                let user = app.doors.image().called(key.user);
                tracing::warn!(user, server = %key.name, %error, "server not started again");
            }
        });
    }
    let path = model::server::page_path(user, name);
    Ok(answer::found(&format!("{}spawn-pending/{path}", call.hub())))
}

/// As last time; where there is no room, when there is.
fn again() -> Ask {
    Ask { waits: true, ..Ask::default() }
}

/// Removes a named server at rest.
async fn delete(call: &mut Call, user: &User, name: &str) -> Result<(), Error> {
    call.may(STOP, Resource::Server(user.name.as_str(), name))?;
    let server = api::server(call, user, name)?;
    if server.key.name.is_default() {
        return Err(Error::bad("the default server cannot be removed"));
    }
    if server.state.is_active() {
        return Err(accounts::ServerRefused::Active.into());
    }
    let key = server.key.clone();
    call.change(move |image, _, _| accounts::drop_server(image, &key)).await
}

/// Makes a named server of what people call it.
async fn add(call: &mut Call, user: &Arc<User>, typed: &str) -> Result<(), Error> {
    call.may(START, Resource::Server(user.name.as_str(), ""))?;
    let words = call.words();
    let shown = slug::tidy(typed);
    if shown.is_empty() {
        return Err(Error::bad(words.say("Give the server a name.")));
    }
    let shown = named::shown(shown).map_err(|_| {
        Error::bad(words.say("A name has at most 255 characters, all of which can be seen."))
    })?;
    let same = |server: &&Arc<Server>| server.display_name == shown;
    if call.image.servers_of(user.id).any(|server| same(&server)) {
        return Err(Error::conflict(words.say("You have a server of that name already.")));
    }
    let id = user.id;
    let taken = |name: &ServerName| {
        call.image.server(&ServerKey { user: id, name: name.clone() }).is_some()
    };
    let name = slug::slug(&shown, taken);
    let name = name.ok_or_else(|| Error::conflict(words.say("Please choose another name.")))?;
    let key = named::key(call, user, name.as_str())?;
    let limit = call.settings.hub.named_server_limit_per_user;
    let new = NewServer { key, display_name: Some(shown), options: None, limit };
    call.change(move |image, _, _| accounts::create_server(image, new)).await?;
    Ok(())
}

/// The page again, with what is wrong with the name beside its field.
fn refused(call: &mut Call, typed: &str, error: Error) -> Answer {
    let Some(message) = error.message.clone().filter(|_| error.status.is_client_error()) else {
        return Err(error);
    };
    let typed = Typed { name: typed.to_owned(), wrong: Some(message) };
    let values = values(call, &typed)?;
    page(call, "home.html", error.status, values)
}

fn values(call: &Call, typed: &Typed) -> Result<Value, Error> {
    let user = call.person()?.clone();
    let mut default = card(call, &user, &*api::server(call, &user, "")?);
    let mut named: Vec<Value> = Vec::new();
    for server in call.image.servers_of(user.id) {
        let card = card(call, &user, server);
        if server.key.name.is_default() { default = card } else { named.push(card) }
    }
    let url = if default["active"] == json!(true) {
        model::server::url(call.facts(), &user, "")
    } else {
        format!("{}spawn/{}", call.hub(), user.name.escaped())
    };
    let limit = call.settings.hub.named_server_limit_per_user as usize;
    let left = (limit != 0).then(|| limit.saturating_sub(named.len()));
    let received = call.covers(shares::RECEIVED, Resource::User(user.name.as_str()));
    let through = || call.image.groups_of(user.id).map(|group| SharedWith::Group(group.id));
    let received = received
        && std::iter::once(SharedWith::User(user.id))
            .chain(through())
            .any(|with| call.image.shared_with(with).next().is_some());
    // Whoever administrates may look into other people's servers, unless the operator has taken that away: they are told.
    let admins = call.policy.role(role::ADMIN);
    let opened =
        admins.is_some_and(|it| it.scopes.iter().any(|it| it.as_str() == "access:servers"));
    Ok(json!({
        "guests": guests(call, &user),
        "opened_by_admins": opened && !user.admin,
        "shared_with_me": received,
        "default_server": default,
        "default_server_api": model::server::api_path(&user, ""),
        "url": url,
        "spawn_url": format!("{}spawn/{}", call.hub(), user.name.escaped()),
        "allow_named_servers": call.settings.hub.allow_named_servers,
        "named_servers": named,
        "named_server_limit": limit,
        "named_servers_left": left,
        "typed_name": typed.name,
        "name_wrong": typed.wrong,
    }))
}

/// Who else has been let into servers of this user and can still be in them: there is a token for it.
fn guests(call: &Call, user: &User) -> String {
    let clients = call
        .image
        .servers_of(user.id)
        .map(|server| ClientId::of_server(&user.name, &server.key.name));
    let tokens =
        clients.flat_map(|client| call.image.tokens_for(&client).cloned().collect::<Vec<_>>());
    let others = tokens.filter_map(|token| match &token.owner {
        Owner::User(id) if *id != user.id && token.is_valid(call.now) => call.image.user(*id),
        _ => None,
    });
    let names: BTreeSet<&str> = others.map(|other| other.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What the page tells of one server.
fn card(call: &Call, user: &User, server: &Server) -> Value {
    let (name, words) = (server.key.name.as_str(), call.words());
    let cause = server.state.cause().filter(|cause| **cause != Cause::Stopped);
    let (state, kind, said) = match &server.state {
        state if state.is_ready() => ("running", "good", words.say("Running")),
        state if state.is_queued() => ("starting", "warn", words.say("Waiting for room")),
        state if state.pending() == Some("spawn") => ("starting", "warn", words.say("Starting")),
        state if state.pending().is_some() => ("stopping", "warn", words.say("Stopping")),
        _ if cause.is_some_and(is_trouble) => ("failed", "bad", words.say("Ended")),
        _ => ("stopped", "", words.say("Not running")),
    };
    let last = call.app.doors.trouble(&server.key).or_else(|| api::failure(call, server));
    let last = last.filter(|it| cause == Some(&it.cause) && !it.tail.trim().is_empty());
    let tail = last.as_ref().map_or("", |it| &it.tail);
    let chooses = options::asks(call, user);
    let advice = cause.filter(|cause| is_trouble(cause));
    let advice = advice.map(|cause| trouble::advice(cause, tail, chooses));
    let used = call.app.doors.notes().of_server(server);
    let may = |needed| call.covers(needed, Resource::Server(user.name.as_str(), name));
    json!({
        "name": name,
        "display_name": if server.display_name.is_empty() { name } else { &server.display_name },
        "state": state,
        "badge": kind,
        "state_words": said,
        "active": server.state.is_active(),
        "ready": server.state.is_ready(),
        "pending": server.state.pending(),
        "url": model::server::url(call.facts(), user, name),
        "api": model::server::api_path(user, name),
        "page": model::server::page_path(user, name),
        "started": server.started.filter(|_| server.state.is_active()).map(time),
        "used": used.map(time),
        "last_activity": model::time::wire_or_null(used),
        "profile": profile(call, server),
        "usage": model::usage::usage(call, &server.key),
        "cause": cause.map(|cause| trouble::cause(words, cause)),
        "advice": advice.map(|text| words.say(text)),
        "tail": last.as_ref().map(|it| terminal::last_lines(&it.tail, LINES)),
        "may_start": may(START),
        "may_stop": may(STOP),
        "may_share": may(shares::SHARES),
    })
}

fn time(moment: jovis_actors::domain::Moment) -> Value {
    json!({ "wire": model::time::wire(moment), "plain": model::time::plain(moment) })
}

/// Did something go wrong? A server that its kernel's own menu shut down exits with 0.
fn is_trouble(cause: &Cause) -> bool {
    !cause.is_asked_for() && *cause != Cause::Exited(0)
}

/// What of the offered kinds it was started as.
fn profile(call: &Call, server: &Server) -> Option<String> {
    let chosen = server.user_options.as_ref()?.get("profile")?;
    let text = chosen.as_str().or_else(|| chosen.get(0)?.as_str())?;
    let known = call.settings.spawner.profiles.iter().find(|it| it.slug == text);
    let shown = known.map(|it| it.display_name.as_str()).filter(|shown| !shown.is_empty());
    Some(shown.unwrap_or(text).to_owned()).filter(|text| !text.is_empty())
}
