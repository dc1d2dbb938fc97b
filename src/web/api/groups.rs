//! Groups: list, look at, make, fill, describe, delete (`spec/rest-api.md` 4.8).

use http::StatusCode;
use jovis_actors::{
    accounts,
    domain::{
        Group, GroupId, GroupName, Username,
        scope::{Filter, Mask},
    },
};
use serde_json::{Map, Value, json};

use super::{
    fields::{self, Kind},
    names::naming,
    page::Page,
};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    model,
};

/// Fields that may come with a new group; only `users` counts.
const FIELDS: &[(&str, Kind)] =
    &[("name", Kind::Text), ("users", Kind::List), ("roles", Kind::List)];

/// The same with the names of several.
const SEVERAL: &[(&str, Kind)] =
    &[("groups", Kind::List), ("name", Kind::Text), ("users", Kind::List), ("roles", Kind::List)];

/// The groups one may list, oldest first. What is counted is these, too.
pub(crate) async fn list(call: &Call) -> Answer {
    const LIST: Mask = Mask::of(&["list:groups"]);
    let granted = &call.known()?.granted;
    let page = Page::of(call)?;
    let model = |group: &Group| model::group::model(&call.image, &call.policy, group, granted);
    let (groups, total) = if granted.whole().meets(LIST) {
        page.cut(call.image.groups())
    } else {
        let named: Vec<_> = granted
            .parts()
            .filter(|(_, mask)| mask.meets(LIST))
            .filter_map(|(filter, _)| match filter {
                Filter::Group(name) => Some(name),
                Filter::User(_) | Filter::Server(_) | Filter::Service(_) => None,
            })
            .collect();
        if named.is_empty() {
            return Err(Error { message: None, ..Error::forbidden("") });
        }
        let mut groups: Vec<_> =
            named.into_iter().filter_map(|name| call.image.group_named(name)).collect();
        groups.sort_by_key(|group| group.id);
        page.cut(groups.into_iter())
    };
    let items = groups.into_iter().filter_map(|group| model(group)).collect();
    page.answer(call, Value::Array(items), total)
}

/// One group.
pub(crate) async fn show(call: &Call, name: &str) -> Answer {
    let id = group(call, name)?;
    Ok(answer::json(StatusCode::OK, &seen(call, id)?))
}

/// Makes several, each with the same members: all of them or none.
pub(crate) async fn create_several(call: &mut Call) -> Answer {
    let body = fields::read(call.json().await?, SEVERAL)?.unwrap_or_default();
    let names = fields::texts(&body, "groups")?.filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| Error::bad("groups must name one group at least"))?;
    let names = names.into_iter().map(group_name).collect::<Result<Vec<_>, _>>()?;
    let members = members(call, &body)?.unwrap_or_default();
    let groups =
        call.change(move |image, _, _| accounts::create_groups(image, names, &members)).await?;
    let models = groups.iter().map(|group| seen(call, group.id)).collect::<Result<_, _>>()?;
    Ok(answer::json(StatusCode::CREATED, &Value::Array(models)))
}

/// Makes one.
pub(crate) async fn create(call: &mut Call, name: &str) -> Answer {
    let body = call.json().await?;
    if call.image.group_named(name).is_some() {
        return Err(Error::conflict(format!("group {name} exists already")));
    }
    let body = fields::read(body, FIELDS)?.unwrap_or_default();
    let members = members(call, &body)?.unwrap_or_default();
    let names = vec![group_name(name)?];
    let groups =
        call.change(move |image, _, _| accounts::create_groups(image, names, &members)).await?;
    let group = groups.first().ok_or_else(|| Error::failed("no group was made"))?;
    Ok(answer::json(StatusCode::CREATED, &seen(call, group.id)?))
}

/// Adds members.
pub(crate) async fn add(call: &mut Call, name: &str) -> Answer {
    let (group, members) = members_to_change(call, name).await?;
    call.change(move |image, _, _| accounts::add_members(image, group, &members)).await?;
    Ok(answer::json(StatusCode::OK, &seen(call, group)?))
}

/// Takes members out.
pub(crate) async fn remove(call: &mut Call, name: &str) -> Answer {
    let (group, members) = members_to_change(call, name).await?;
    call.change(move |image, _, _| accounts::remove_members(image, group, &members)).await?;
    Ok(answer::json(StatusCode::OK, &seen(call, group)?))
}

/// Replaces all properties.
pub(crate) async fn describe(call: &mut Call, name: &str) -> Answer {
    let group = group(call, name)?;
    let Some(Value::Object(properties)) = call.json().await? else {
        return Err(Error::bad("properties must be an object"));
    };
    call.change(move |image, _, _| accounts::set_properties(image, group, properties)).await?;
    Ok(answer::json(StatusCode::OK, &seen(call, group)?))
}

/// Deletes a group; its members stay users.
pub(crate) async fn delete(call: &mut Call, name: &str) -> Answer {
    let group = group(call, name)?;
    call.change(move |image, _, _| accounts::delete_group(image, group)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// The group of this name, or 404.
fn group(call: &Call, name: &str) -> Result<GroupId, Error> {
    call.image.group_named(name).map(|group| group.id).ok_or_else(Error::hidden)
}

/// A group as the caller sees it. Who may change one may see its name at least.
fn seen(call: &Call, id: GroupId) -> Result<Value, Error> {
    let group = call.image.group(id).ok_or_else(Error::hidden)?;
    let granted = &call.known()?.granted;
    let model = model::group::model(&call.image, &call.policy, group, granted);
    Ok(model.unwrap_or_else(|| json!({"kind": "group", "name": group.name.as_str()})))
}

/// A name that a group can have. Nothing of ours could reach one that is a segment of dots.
fn group_name(name: &str) -> Result<GroupName, Error> {
    let name = GroupName::new(name).map_err(Error::bad)?;
    if matches!(name.as_str(), "." | "..") {
        return Err(Error::bad("a name cannot consist of dots"));
    }
    Ok(name)
}

async fn members_to_change(call: &mut Call, name: &str) -> Result<(GroupId, Vec<Username>), Error> {
    let group = group(call, name)?;
    let body = fields::read(call.json().await?, FIELDS)?.unwrap_or_default();
    let members = members(call, &body)?.ok_or_else(|| Error::bad("users must be a list"))?;
    Ok((group, members))
}

/// The names under `users`; none where there is no such field. A name that is none is nobody's.
fn members(call: &Call, body: &Map<String, Value>) -> Result<Option<Vec<Username>>, Error> {
    let Some(names) = fields::texts(body, "users")? else { return Ok(None) };
    let naming = naming(call)?;
    let user =
        |name: &str| naming.known(name).map_err(|_| Error::bad(format!("no such user: {name}")));
    names.into_iter().map(user).collect::<Result<_, _>>().map(Some)
}
