//! Groups: which there are, and one of them with its members and properties.

use http::{Method, StatusCode};
use jovis_actors::{
    accounts::roster::Pattern,
    domain::{
        Group, GroupId, User, quote,
        scope::{Filter, Granted, Mask, Resource},
    },
};
use serde_json::{Map, Value, json};

use super::{act, asked::Asked, enter, is_fragment, told};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form::Form,
};

const READ: Mask = Mask::of(&["read:groups"]);
const CHANGE: Mask = Mask::of(&["groups"]);
const DELETE: Mask = Mask::of(&["delete:groups"]);
const SEEN: Mask = Mask::of(&["read:groups", "read:groups:name", "read:roles:groups"]);
/// The rows of the API for members, and for a group.
pub(super) const MEMBERS: &str = "/api/groups/{group}/users";
const GROUP: &str = "/api/groups/{group}";
const PROPERTIES: &str = "/api/groups/{group}/properties";

/// The page of all groups, or its table alone.
pub(crate) async fn show(call: &mut Call) -> Answer {
    enter(call)?;
    table(call, StatusCode::OK, json!({}))
}

fn table(call: &mut Call, status: StatusCode, more: Value) -> Answer {
    call.may_list(super::LIST_GROUPS)?;
    let mut asked = Asked::of(call);
    let limit = asked.most(call);
    let mut all = matching(call, &asked)?;
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if asked.order() == ("name", true) {
        all.reverse();
    }
    if asked.offset >= all.len() {
        asked.offset = 0;
    }
    let shown = all.iter().skip(asked.offset).take(limit);
    let row = |group: &&Group| {
        let reads = call.covers(READ, Resource::Group(group.name.as_str()));
        json!({
            "name": group.name.as_str(),
            "href": address(call, group),
            "members": reads.then(|| call.image.members_of(group.id).count()),
            "properties": reads.then(|| group.properties.len()),
        })
    };
    let rows: Vec<_> = shown.map(row).collect();
    let address = format!("{}admin/groups", call.hub());
    let mut own = json!({
        "asked": asked.values(),
        "pager": asked.pager(&address, limit, rows.len(), all.len()),
        "rows": rows,
    });
    super::merge(&mut own, more);
    let template = if is_fragment(call) { "admin_groups_table.html" } else { "admin_groups.html" };
    super::show(call, template, "groups", status, own)
}

fn address(call: &Call, group: &Group) -> String {
    format!("{}admin/groups/{}", call.hub(), quote::segment(group.name.as_str()))
}

/// The groups the visitor may list, by a part of the name.
fn matching<'a>(call: &'a Call, asked: &Asked) -> Result<Vec<&'a Group>, Error> {
    let pattern = Some(&*asked.name_filter).filter(|part| !part.is_empty()).map(Pattern::part);
    let granted = &call.known()?.granted;
    let named = |group: &&Group| pattern.as_ref().is_none_or(|it| it.matches(group.name.as_str()));
    Ok(listed(call, granted).filter(named).collect())
}

/// As the API lists them: all, or those that filters name.
fn listed<'a>(call: &'a Call, granted: &'a Granted) -> Box<dyn Iterator<Item = &'a Group> + 'a> {
    if granted.whole().meets(super::LIST_GROUPS) {
        return Box::new(call.image.groups().map(|group| &**group));
    }
    let parts = granted.parts().filter(|(_, mask)| mask.meets(super::LIST_GROUPS));
    Box::new(parts.filter_map(|(filter, _)| match filter {
        Filter::Group(name) => call.image.group_named(name).map(|group| &**group),
        Filter::User(_) | Filter::Server(_) | Filter::Service(_) => None,
    }))
}

/// Makes a group.
pub(crate) async fn make(call: &mut Call) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    let name = form.get("name").unwrap_or_default().trim().to_owned();
    let made = match &*name {
        "" => Err(Error::bad("the group needs a name")),
        name => act::api(call, Method::POST, GROUP, &[("group", name)], None).await,
    };
    match made {
        Ok(_) => super::back(call, &format!("admin/groups/{}", quote::segment(&name)), ""),
        Err(error) => {
            let (status, problem) = told(&error);
            let out = table(call, status, json!({"problem": problem, "new_name": name}))?;
            Ok(answer::with_retry(out, &error))
        }
    }
}

/// The page of one group.
pub(crate) async fn one(call: &mut Call, name: &str) -> Answer {
    enter(call)?;
    let name = name.to_owned();
    group_page(call, &name, StatusCode::OK, json!({}))
}

fn group_page(call: &mut Call, name: &str, status: StatusCode, more: Value) -> Answer {
    let about = Resource::Group(name);
    call.may(SEEN, about)?;
    let group = call.image.group_named(name).cloned().ok_or_else(Error::hidden)?;
    let mut asked = Asked::of(call);
    let limit = asked.most(call);
    let reads = call.covers(READ, about);
    let mut own = json!({
        "name": group.name.as_str(),
        "address": address(call, &group),
        "reads": reads,
        "may_change": call.covers(CHANGE, about),
        "may_delete": call.covers(DELETE, about),
        "members": call.image.members_of(group.id).count(),
    });
    if reads {
        let members = members(call, group.id, &asked);
        if asked.offset >= members.len() {
            asked.offset = 0;
        }
        let shown = members.iter().skip(asked.offset).take(limit);
        let rows: Vec<_> = shown
            .map(|user| {
                let href = format!("{}admin/users/{}", call.hub(), user.name.escaped());
                json!({"name": user.name.as_str(), "href": href})
            })
            .collect();
        let pager = asked.pager(&address(call, &group), limit, rows.len(), members.len());
        let properties = group.properties.iter().map(|(key, value)| {
            json!({"key": key, "value": shown_value(value), "is_text": value.is_string()})
        });
        super::merge(
            &mut own,
            json!({
                "asked": asked.values(),
                "rows": rows,
                "pager": pager,
                "properties": properties.collect::<Vec<_>>(),
            }),
        );
    }
    super::merge(&mut own, more);
    let template = if is_fragment(call) { "admin_members.html" } else { "admin_group.html" };
    super::show(call, template, "groups", status, own)
}

fn members<'a>(call: &'a Call, group: GroupId, asked: &Asked) -> Vec<&'a User> {
    let pattern = Some(&*asked.name_filter).filter(|part| !part.is_empty()).map(Pattern::part);
    let named = |user: &&User| pattern.as_ref().is_none_or(|it| it.matches(user.name.as_str()));
    let mut all: Vec<_> = call.image.members_of(group).map(|user| &**user).filter(named).collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A property as it stands in its field: a text as it is, anything else as JSON.
fn shown_value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The properties that a form wants: pairs of `key` and `value`, in order. One without a key goes. What was no text and has
/// not been touched stays what it was.
fn properties(form: &Form, old: &Map<String, Value>) -> Map<String, Value> {
    let pairs = form.all("key").zip(form.all("value"));
    let kept = pairs.map(|(key, value)| (key.trim(), value)).filter(|(key, _)| !key.is_empty());
    kept.map(|(key, value)| {
        let same = old.get(key).filter(|old| !old.is_string() && shown_value(old) == value);
        (key.to_owned(), same.cloned().unwrap_or_else(|| json!(value)))
    })
    .collect()
}

/// The forms of that page.
pub(crate) async fn act(call: &mut Call, name: &str) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    let name = name.to_owned();
    match done(call, &name, &form).await {
        Ok(true) => {
            let query = Asked::read(|name| call.query.get(name)).query();
            super::back(call, &format!("admin/groups/{}", quote::segment(&name)), &query)
        }
        Ok(false) => super::back(call, "admin/groups", ""),
        Err(error) => {
            let (status, problem) = told(&error);
            let users = form.get("users").filter(|_| form.get("act") == Some("add"));
            let more = json!({"problem": problem, "new_members": users});
            Ok(answer::with_retry(group_page(call, &name, status, more)?, &error))
        }
    }
}

/// Does it; false if the group has gone.
async fn done(call: &mut Call, name: &str, form: &Form) -> Result<bool, Error> {
    let at = [("group", name)];
    match form.get("act").unwrap_or_default() {
        deed @ ("add" | "remove") => {
            let written = form.get("users").unwrap_or_default();
            let users = written.lines().map(str::trim).filter(|name| !name.is_empty());
            let users: Vec<_> = users.collect();
            if users.is_empty() {
                return Err(Error::bad("name one user at least"));
            }
            let method = if deed == "add" { Method::POST } else { Method::DELETE };
            act::api(call, method, MEMBERS, &at, Some(json!({"users": users}))).await?;
            Ok(true)
        }
        "properties" => {
            let old = call.image.group_named(name).map(|group| group.properties.clone());
            let new = properties(form, &old.unwrap_or_default());
            act::api(call, Method::PUT, PROPERTIES, &at, Some(Value::Object(new))).await?;
            Ok(true)
        }
        "delete" => {
            if form.get("sure").is_none() {
                return Err(Error::bad(
                    "nothing was deleted: tick the box to say that you mean it",
                ));
            }
            act::api(call, Method::DELETE, GROUP, &at, None).await?;
            Ok(false)
        }
        _ => Err(Error::bad("the form says nothing to be done")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_in_pairs_and_what_was_not_touched_stays() {
        let old = json!({"n": 1, "list": [1, "a"], "text": "x", "gone": true});
        let form = Form::parse(
            "key=n&value=1&key=list&value=%5B1%5D&key=+text+&value=y&key=&value=z&key=new&value=5",
        );
        let new = properties(&form.unwrap(), old.as_object().unwrap());
        assert_eq!(Value::Object(new), json!({"n": 1, "list": "[1]", "text": "y", "new": "5"}));
    }
}
