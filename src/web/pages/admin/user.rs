//! One user: looked at, changed, deleted; and new ones.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use jovis_actors::domain::{
    Owner, User, quote,
    scope::{Mask, Resource},
};
use serde_json::{Value, json};

use super::{act, enter, fields, is_fragment, told};
use crate::web::{
    answer::{self, Answer},
    api::{self, names::naming},
    call::Call,
    error::Error,
    form::Form,
    model::user::View,
};

const DELETE: Mask = Mask::of(&["delete:users"]);
const GROUPS: Mask = Mask::of(&["groups"]);
/// The row of the API for a user.
const USER: &str = "/api/users/{user}";
/// Most names in the form for new users; the rest is for the API.
const MOST_NAMES: usize = 5_000;

/// The page of one user; its fields alone for whoever opens a row of the table.
pub(crate) async fn show(call: &mut Call, name: &str) -> Answer {
    enter(call)?;
    let name = name.to_owned();
    page(call, &name, StatusCode::OK, None)
}

fn page(call: &mut Call, name: &str, status: StatusCode, problem: Option<Value>) -> Answer {
    let user = api::user(call, name)?;
    let view = View {
        facts: call.facts(),
        granted: &call.known()?.granted,
        policy: &call.policy,
        notes: call.app.doors.notes(),
        stopped_too: true,
    };
    let Some(Value::Object(model)) = view.model(&call.image, &user) else {
        return Err(Error::hidden());
    };
    let about = Resource::User(user.name.as_str());
    let only = call.query.get("server");
    let servers = model.get("servers").and_then(Value::as_object).into_iter().flatten();
    let servers: Vec<_> = servers
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .filter_map(|(name, it)| {
            Some(json!({"name": name, "fields": fields(it.as_object()?, &[])}))
        })
        .collect();
    let (may_change, may_delete) =
        (call.covers(super::ADMIN_USERS, about), call.covers(DELETE, about));
    let by_admin = call.known()?.is_admin();
    let oneself = call.known()?.user().is_some_and(|own| own.id == user.id);
    let group = |name: &str| json!({"name": name, "href": format!("{}admin/groups/{}", call.hub(), quote::segment(name))});
    let groups = model
        .get("groups")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).map(group).collect::<Vec<_>>());
    let mut own = json!({
        "name": user.name.as_str(),
        "is_admin": model.get("admin"),
        "groups": groups,
        "fields": fields(&model, &["servers"]),
        "servers": servers,
        "address": format!("{}admin/users/{}", call.hub(), user.name.escaped()),
        "may_change": may_change && (by_admin || !user.admin),
        "may_make_admin": by_admin,
        "may_delete": may_delete && !oneself,
        "oneself": oneself,
        "may_group": call.known()?.granted.any().meets(GROUPS),
        "problem": problem,
    });
    if may_delete {
        own["goes"] = goes(call, &user);
    }
    let template = if is_fragment(call) { "admin_fields.html" } else { "admin_user.html" };
    super::show(call, template, "users", status, own)
}

/// What goes along with a user, in numbers.
fn goes(call: &Call, user: &User) -> Value {
    let image = &call.image;
    let servers = image.servers_of(user.id);
    let running = servers.filter(|server| server.state.is_active()).count();
    json!({
        "servers": image.servers_of(user.id).count(),
        "running": running,
        "tokens": image.tokens_of(&Owner::User(user.id)).count(),
        "groups": image.groups_of(user.id).count(),
        "shares": image.shares_by(user.id).count(),
    })
}

/// The forms of that page.
pub(crate) async fn act(call: &mut Call, name: &str) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    let name = name.to_owned();
    match done(call, &name, &form).await {
        Ok(Some(name)) => super::back(call, &format!("admin/users/{}", quote::segment(&name)), ""),
        Ok(None) => super::back(call, "admin", ""),
        Err(error) => {
            let (status, problem) = told(&error);
            Ok(answer::with_retry(page(call, &name, status, Some(problem))?, &error))
        }
    }
}

/// Does it; the user's name then, unless there is no such user any more.
async fn done(call: &mut Call, name: &str, form: &Form) -> Result<Option<String>, Error> {
    let names = [("user", name)];
    match form.get("act").unwrap_or_default() {
        "change" => {
            let user = api::user(call, name)?;
            let mut body = serde_json::Map::new();
            let written = form.get("name").unwrap_or_default().trim();
            if written != user.name.as_str() {
                body.insert("name".to_owned(), json!(written));
            }
            let admin = form.get("admin").is_some();
            if admin != user.admin {
                body.insert("admin".to_owned(), json!(admin));
            }
            if body.is_empty() {
                return Ok(Some(name.to_owned()));
            }
            act::api(call, Method::PATCH, USER, &names, Some(Value::Object(body))).await?;
            Ok(call.image.user(user.id).map(|user| user.name.to_string()))
        }
        "delete" => {
            if form.get("sure").is_none() {
                return Err(Error::bad(
                    "nothing was deleted: tick the box to say that you mean it",
                ));
            }
            act::api(call, Method::DELETE, USER, &names, None).await?;
            Ok(None)
        }
        deed @ ("join" | "leave") => {
            let group = form.get("group").unwrap_or_default().trim();
            let method = if deed == "join" { Method::POST } else { Method::DELETE };
            let body = json!({"users": [name]});
            let at = [("group", group)];
            act::api(call, method, super::groups::MEMBERS, &at, Some(body)).await?;
            Ok(Some(name.to_owned()))
        }
        _ => Err(Error::bad("the form says nothing to be done")),
    }
}

/// The form for new users.
pub(crate) async fn add(call: &mut Call) -> Answer {
    enter(call)?;
    call.may(super::ADMIN_USERS, Resource::Hub)?;
    let own = json!({"may_make_admin": call.known()?.is_admin()});
    super::show(call, "admin_add.html", "users", StatusCode::OK, own)
}

/// Makes them, and says of each name what came of it.
pub(crate) async fn make(call: &mut Call) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    call.may(super::ADMIN_USERS, Resource::Hub)?;
    let written = form.get("usernames").unwrap_or_default().to_owned();
    let admin = form.get("admin").is_some();
    let mut own = json!({
        "may_make_admin": call.known()?.is_admin(), "usernames": written, "admin": admin,
    });
    let outcome = make_all(call, &written, admin).await;
    let status = match outcome {
        Ok(report) => {
            // What could not be made stays in the form, to be mended.
            let left = report.iter().filter(|it| it["outcome"] == "invalid");
            let left: Vec<_> = left.filter_map(|it| it["name"].as_str()).collect();
            own["usernames"] = json!(left.join("\n"));
            own["report"] = json!(report);
            StatusCode::OK
        }
        Err(error) => {
            let (status, problem) = told(&error);
            own["problem"] = problem;
            status
        }
    };
    super::show(call, "admin_add.html", "users", status, own)
}

async fn make_all(call: &mut Call, written: &str, admin: bool) -> Result<Vec<Value>, Error> {
    let names: Vec<&str> = written.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    if names.is_empty() {
        return Err(Error::bad("name one user at least"));
    }
    if names.len() > MOST_NAMES {
        return Err(jovis_actors::accounts::UserRefused::Many.into());
    }
    let naming = naming(call)?;
    let mut seen = BTreeSet::new();
    let (mut report, mut new) = (Vec::new(), Vec::new());
    for written in names {
        let (name, outcome) = match naming.written(written) {
            Err(why) => {
                report.push(json!({"name": written, "outcome": "invalid", "why": why.to_string()}));
                continue;
            }
            Ok(name) if call.image.user_named(name.as_str()).is_some() => (name, "exists"),
            Ok(name) if !seen.insert(name.clone()) => (name, "twice"),
            Ok(name) => {
                new.push(written);
                (name, "made")
            }
        };
        let href = format!("{}admin/users/{}", call.hub(), name.escaped());
        report.push(json!({"name": name.as_str(), "outcome": outcome, "href": href}));
    }
    if !new.is_empty() {
        let body = json!({"usernames": new, "admin": admin});
        act::api(call, Method::POST, "/api/users", &[], Some(body)).await?;
    }
    Ok(report)
}
