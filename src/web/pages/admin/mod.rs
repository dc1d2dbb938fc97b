//! `{hub}admin` and what lies below it (`spec/pages.md` 8): users with their servers, groups, services, and what concerns
//! the whole hub. Who holds `admin-ui` may open it; what one sees there and may do goes by the same scopes as in the API.
//!
//! All of it works without scripts: a form posts, and comes back to where it was. `static/admin.js` makes the same pages
//! live: it fetches the part that changes (`?fragment=1`), and does with the API what the forms do.
//!
//! | file | what it holds |
//! |---|---|
//! | [`users`] | the table of users and servers, what its buttons do |
//! | [`asked`] | which part of that table is asked for, and how addresses say so |
//! | [`rows`] | its rows |
//! | [`user`] | one user: look at, change, delete; new ones |
//! | [`groups`] | groups and their members |
//! | [`services`] | services |
//! | [`hub`] | announcement, maintenance, the end of the hub |
//! | [`act`] | how forms do what the API does |
//! | [`live`] | what has changed, as a stream |

use http::StatusCode;
use jovis_actors::domain::scope::{Mask, Resource};
use serde_json::{Map, Value, json};

use super::page;
use crate::web::{
    answer::{self, Answer},
    api::notices,
    call::Call,
    error::Error,
};

mod act;
mod asked;
pub(crate) mod groups;
pub(crate) mod hub;
pub(crate) mod live;
mod rows;
pub(crate) mod services;
pub(crate) mod user;
pub(crate) mod users;

const LIST_USERS: Mask = Mask::of(&["list:users"]);
const LIST_GROUPS: Mask = Mask::of(&["list:groups"]);
const LIST_SERVICES: Mask = Mask::of(&["list:services"]);
const ADMIN_USERS: Mask = Mask::of(&["admin:users"]);
const ADMIN_GROUPS: Mask = Mask::of(&["admin:groups"]);

/// Longest form; properties of a group are the largest thing in one.
const FORM: usize = 1 << 20;

/// May the visitor be here at all?
fn enter(call: &Call) -> Result<(), Error> {
    call.may(super::ADMIN, Resource::Hub)
}

/// One of these pages: what all of them show, and its own values.
fn show(call: &mut Call, template: &str, tab: &str, status: StatusCode, own: Value) -> Answer {
    let hub = call.hub();
    let held = call.known()?.granted.any();
    let for_all = |scopes: Mask| call.covers(scopes, Resource::Hub);
    let tabs = [
        ("users", "admin", held.meets(LIST_USERS)),
        ("groups", "admin/groups", held.meets(LIST_GROUPS)),
        ("services", "admin/services", held.meets(LIST_SERVICES)),
        ("hub", "admin/hub", for_all(notices::MAINTAIN.or(ADMIN_USERS))),
    ];
    let tabs = tabs.iter().filter(|(name, _, open)| *open || *name == tab);
    let tabs = tabs.map(|(name, path, _)| json!({"name": name, "href": format!("{hub}{path}")}));
    let mut values = json!({
        "here": "admin",
        "tab": tab,
        "tabs": tabs.collect::<Vec<_>>(),
        "can_make_users": for_all(ADMIN_USERS),
        "can_make_groups": for_all(ADMIN_GROUPS),
        "can_end_hub": for_all(notices::MAINTAIN),
    });
    merge(&mut values, own);
    page(call, template, status, values)
}

fn merge(values: &mut Value, own: Value) {
    if let (Some(fields), Value::Object(own)) = (values.as_object_mut(), own) {
        fields.extend(own);
    }
}

/// Back to a page after its form has done its work: loading that again does nothing.
fn back(call: &Call, path: &str, query: &str) -> Answer {
    let target = crate::web::form::with_query(&format!("{}{path}", call.hub()), query);
    Ok(answer::redirect(StatusCode::SEE_OTHER, &target))
}

/// A refusal as the page shows it above its form, and the status of that page.
fn told(error: &Error) -> (StatusCode, Value) {
    (error.status, json!(error.to_string()))
}

/// Is only the part asked for that changes?
fn is_fragment(call: &Call) -> bool {
    call.query.get("fragment").is_some()
}

/// Fields of a model as a page shows them: sorted, times apart from texts, what has parts as JSON.
fn fields(model: &Map<String, Value>, without: &[&str]) -> Vec<Value> {
    const TIMES: &[&str] = &["created", "last_activity", "started"];
    let shown = model.iter().filter(|(name, _)| !without.contains(&name.as_str()));
    let mut all: Vec<_> = shown
        .map(|(name, value)| match value {
            Value::String(text) if TIMES.contains(&name.as_str()) => {
                json!({"name": name, "time": text})
            }
            Value::String(text) => json!({"name": name, "text": text}),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                json!({"name": name, "text": items.join(", ")})
            }
            Value::Object(_) | Value::Array(_) => {
                let text = serde_json::to_string_pretty(value).unwrap_or_default();
                json!({"name": name, "json": text})
            }
            Value::Null => json!({"name": name, "text": ""}),
            Value::Bool(_) | Value::Number(_) => json!({"name": name, "text": value.to_string()}),
        })
        .collect();
    all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    all
}
