//! Shares: with whom servers are shared, and what is shared with somebody (`spec/rest-api.md` 4.11).

use std::sync::Arc;

use http::StatusCode;
use jovis_actors::{
    accounts::{self, Grant},
    domain::{
        Group, ServerKey, ServerName, Share, ShareKey, SharedWith,
        scope::{Mask, Resource},
    },
    store::Image,
};
use serde_json::{Map, Value, json};

use super::{page::Page, said, server, tokens::known, user};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    model,
};

/// What lets a caller name a user.
const NAMES_USER: Mask = Mask::of(&["read:users:name"]);
/// What lets a caller name a group.
const NAMES_GROUP: Mask = Mask::of(&["read:groups:name"]);

/// All shares of one owner's servers.
pub(crate) async fn by_owner(call: &Call, owner: &str) -> Answer {
    let owner = user(call, owner)?;
    list(call, call.image.shares_by(owner.id))
}

/// All shares of one server.
pub(crate) async fn of_server(call: &Call, owner: &str, name: &str) -> Answer {
    let key = key(call, owner, name)?;
    list(call, call.image.shares_of(&key))
}

/// Shares a server, or adds to what is shared.
pub(crate) async fn grant(call: &mut Call, owner: &str, name: &str) -> Answer {
    let asked = asked(call).await?;
    let server = key(call, owner, name)?;
    let with = named(call, &asked.with)?;
    let with = with.ok_or_else(|| Error::bad("no such user or group"))?;
    let granted = share(call, server, with, asked.scopes).await?;
    Ok(shown(call, Some(&granted)))
}

/// Whom this names, if the caller may name them; nothing: nobody.
pub(crate) fn named(call: &Call, with: &Named) -> Result<Option<SharedWith>, Error> {
    match with {
        Named::User(name) => may_name(call, NAMES_USER, Resource::User(name))?,
        Named::Group(name) => may_name(call, NAMES_GROUP, Resource::Group(name))?,
    }
    Ok(target(call, with))
}

/// Whom this names.
pub(crate) fn target(call: &Call, with: &Named) -> Option<SharedWith> {
    match with {
        Named::User(name) => call.image.user_named(name).map(|it| SharedWith::User(it.id)),
        Named::Group(name) => call.image.group_named(name).map(|it| SharedWith::Group(it.id)),
    }
}

/// Shares a server, or adds to what is shared.
pub(crate) async fn share(
    call: &mut Call,
    server: ServerKey,
    with: SharedWith,
    scopes: Vec<String>,
) -> Result<Arc<Share>, Error> {
    let what = Grant { server, with, scopes, by: call.known()?.granted.clone() };
    call.change(|image, policy, now| accounts::grant_share(image, policy, what, now)).await
}

/// Unknown names and those of others get the same answer.
fn may_name(call: &Call, needed: Mask, whom: Resource<'_>) -> Result<(), Error> {
    if call.covers(needed, whom) {
        return Ok(());
    }
    Err(Error::forbidden("no access to whom this server is to be shared with"))
}

/// Takes scopes out of a share, or ends it. The answer is what remains: an empty object where nothing does.
pub(crate) async fn revoke(call: &mut Call, owner: &str, name: &str) -> Answer {
    let asked = asked(call).await?;
    for text in &asked.scopes {
        known(&call.policy, text)?;
    }
    let server = key(call, owner, name)?;
    let Some(with) = target(call, &asked.with) else { return Ok(shown(call, None)) };
    let key = ShareKey { server, with };
    let left =
        call.change(move |image, _, _| accounts::revoke_share(image, &key, &asked.scopes)).await?;
    Ok(shown(call, left.as_deref()))
}

/// Ends all shares of a server.
pub(crate) async fn revoke_all(call: &mut Call, owner: &str, name: &str) -> Answer {
    let key = key(call, owner, name)?;
    call.change(move |image, _, _| accounts::revoke_shares(image, &key)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// What is shared with a user, directly or through groups.
pub(crate) async fn with_user(call: &Call, name: &str) -> Answer {
    let user = user(call, name)?;
    let through = |group: &Arc<Group>| {
        call.image.shared_with(SharedWith::Group(group.id)).collect::<Vec<_>>()
    };
    let direct = call.image.shared_with(SharedWith::User(user.id));
    list(call, direct.chain(call.image.groups_of(user.id).flat_map(through)))
}

/// One server that is shared with a user directly.
pub(crate) async fn one_with_user(call: &Call, name: &str, owner: &str, its: &str) -> Answer {
    let with = SharedWith::User(user(call, name)?.id);
    one(call, with, owner, its)
}

/// Leaves it.
pub(crate) async fn leave_as_user(call: &mut Call, name: &str, owner: &str, its: &str) -> Answer {
    let with = SharedWith::User(user(call, name)?.id);
    leave(call, with, owner, its).await
}

/// What is shared with a group.
pub(crate) async fn with_group(call: &Call, name: &str) -> Answer {
    let with = group(call, name)?;
    list(call, call.image.shared_with(with))
}

/// One server that is shared with a group.
pub(crate) async fn one_with_group(call: &Call, name: &str, owner: &str, its: &str) -> Answer {
    let with = group(call, name)?;
    one(call, with, owner, its)
}

/// Leaves it.
pub(crate) async fn leave_as_group(call: &mut Call, name: &str, owner: &str, its: &str) -> Answer {
    let with = group(call, name)?;
    leave(call, with, owner, its).await
}

fn group(call: &Call, name: &str) -> Result<SharedWith, Error> {
    let group = call.image.group_named(name).ok_or_else(Error::hidden)?;
    Ok(SharedWith::Group(group.id))
}

/// The server of this name of the user of this name, or 404.
pub(super) fn key(call: &Call, owner: &str, name: &str) -> Result<ServerKey, Error> {
    let owner = user(call, owner)?;
    Ok(server(call, &owner, name)?.key.clone())
}

/// A share that is there, of whatever server these names are.
fn found(call: &Call, with: SharedWith, owner: &str, its: &str) -> Result<ShareKey, Error> {
    let owner = user(call, owner)?;
    let name = ServerName::new(its).map_err(|_| Error::hidden())?;
    let key = ShareKey { server: ServerKey { user: owner.id, name }, with };
    call.image.share(&key).is_some().then_some(key).ok_or_else(Error::hidden)
}

fn one(call: &Call, with: SharedWith, owner: &str, its: &str) -> Answer {
    let key = found(call, with, owner, its)?;
    Ok(shown(call, call.image.share(&key).map(|share| &**share)))
}

async fn leave(call: &mut Call, with: SharedWith, owner: &str, its: &str) -> Answer {
    let key = found(call, with, owner, its)?;
    if call.change(move |image, _, _| accounts::end_share(image, &key)).await? {
        Ok(answer::empty(StatusCode::NO_CONTENT))
    } else {
        Err(Error::hidden())
    }
}

/// A share, or an empty object.
fn shown(call: &Call, share: Option<&Share>) -> http::Response<axum::body::Body> {
    let model = share.and_then(|share| model::share::model(call.facts(), &call.image, share));
    answer::json(StatusCode::OK, &model.unwrap_or_else(|| json!({})))
}

fn list<'a>(call: &'a Call, shares: impl Iterator<Item = &'a Arc<Share>>) -> Answer {
    let image: &Image = &call.image;
    let page = Page::of(call)?;
    // Oldest first, as the reference has it: it numbers them.
    let mut all: Vec<_> = shares.collect();
    all.sort_by_key(|share| share.created);
    let (items, total) = page.cut(all.into_iter());
    let models: Vec<Value> = items
        .into_iter()
        .filter_map(|share| model::share::model(call.facts(), image, share))
        .collect();
    page.always(call, json!(models), total)
}

/// Whom a body names.
#[derive(Debug, PartialEq)]
pub(crate) enum Named {
    /// A user.
    User(String),
    /// A group.
    Group(String),
}

/// A body of these requests.
#[derive(Debug, PartialEq)]
struct Asked {
    with: Named,
    /// None at all: whatever is the default.
    scopes: Vec<String>,
}

async fn asked(call: &mut Call) -> Result<Asked, Error> {
    read(&fields(call.json().await?)?)
}

/// A body that is an object; one that was left out is an empty one.
pub(super) fn fields(body: Option<Value>) -> Result<Map<String, Value>, Error> {
    match said(body) {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(Error::bad("expected an object")),
    }
}

/// Nothing but these keys.
pub(super) fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::bad(format!("unknown key: {key:.100}"))),
    }
}

/// `scopes`: a list of texts; null and nothing are none.
pub(super) fn scopes(fields: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let bad = || Error::bad("scopes must be a list of strings");
    let items = match fields.get("scopes") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value.as_array().ok_or_else(bad)?,
    };
    items.iter().map(|item| item.as_str().map(ToOwned::to_owned).ok_or_else(bad)).collect()
}

fn read(fields: &Map<String, Value>) -> Result<Asked, Error> {
    only(fields, &["user", "group", "scopes"])?;
    let text = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::bad(format!("{key} must be a string"))),
    };
    let with = match (text("user")?, text("group")?) {
        (Some(name), None) => Named::User(name),
        (None, Some(name)) => Named::Group(name),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Error::bad("give either user or group"));
        }
    };
    Ok(Asked { with, scopes: scopes(fields)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_one_user_or_one_group_and_nothing_unknown() {
        let asked = |body: Value| fields(Some(body)).and_then(|fields| read(&fields));
        for body in [
            json!({"user": "eve"}),
            json!({"user": "eve", "group": null, "scopes": null}),
            json!({"user": "eve", "scopes": []}),
        ] {
            let plain = Asked { with: Named::User("eve".to_owned()), scopes: vec![] };
            assert_eq!(asked(body.clone()), Ok(plain), "{body}");
        }
        let group = asked(json!({"group": "team", "scopes": ["servers"]})).unwrap();
        assert_eq!(group.with, Named::Group("team".to_owned()));
        assert_eq!(group.scopes, ["servers"]);
        for bad in [
            json!({}),
            json!([]),
            json!(["user"]),
            json!("eve"),
            json!(1),
            json!({"user": "eve", "group": "team"}),
            json!({"user": 1}),
            json!({"user": ["eve"]}),
            json!({"user": "eve", "scopes": "servers"}),
            json!({"user": "eve", "scopes": [1]}),
            json!({"user": "eve", "scopes": {}}),
            json!({"user": "eve", "server": "lab"}),
        ] {
            assert_eq!(asked(bad.clone()).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        assert!(fields(None).unwrap().is_empty());
    }
}
