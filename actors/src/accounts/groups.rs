//! Groups: made, filled, described, deleted. (`spec/rest-api.md` 4.8.)
//!
//! What one request asks for is done whole or not at all: with one name too many no group is made, with one user unknown
//! nobody is added.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Decided, shares};
use crate::{
    domain::{Group, GroupId, GroupName, UserId, Username},
    store::{Image, Write},
};

/// Most groups made, and most memberships begun or ended, by one request: what is written at once is bounded.
pub const MOST_AT_ONCE: usize = 30_000;

/// Most bytes of properties, as JSON: they are part of the group's record.
pub const MOST_PROPERTIES: usize = 240 * 1024;

/// Why a group is not made, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupRefused {
    /// No such group.
    #[error("no such group")]
    NoGroup,
    /// There is one of that name.
    #[error("group {0} exists already")]
    Exists(GroupName),
    /// One of those to be members is no user.
    #[error("no such user: {0}")]
    NoUser(Username),
    /// More than [`MOST_AT_ONCE`].
    #[error("at most {MOST_AT_ONCE} memberships are changed at once: do it in parts")]
    Many,
    /// More than [`MOST_PROPERTIES`].
    #[error("the properties of a group have at most {MOST_PROPERTIES} bytes")]
    LargeProperties,
}

/// Makes groups, each with these members.
pub fn create_groups(
    image: &Image,
    names: Vec<GroupName>,
    members: &[Username],
) -> Decided<Vec<Arc<Group>>, GroupRefused> {
    if names.len().saturating_mul(members.len().saturating_add(1)) > MOST_AT_ONCE {
        return Err(GroupRefused::Many);
    }
    let members = users(image, members)?;
    let mut seen = HashSet::new();
    let mut groups = Vec::with_capacity(names.len());
    for (id, name) in (image.next_id()..).zip(names) {
        if image.group_named(name.as_str()).is_some() || !seen.insert(name.clone()) {
            return Err(GroupRefused::Exists(name));
        }
        groups.push(Arc::new(Group { id: GroupId(id), name, properties: Arc::default() }));
    }
    let mut writes: Vec<_> = groups.last().map(|it| Write::IdsUsed(it.id.0)).into_iter().collect();
    for group in &groups {
        writes.push(Write::Group(group.clone()));
        writes.extend(members.iter().map(|user| Write::Member(group.id, *user)));
    }
    Ok((writes, groups))
}

/// Adds members. Those who are in it already stay.
pub fn add_members(
    image: &Image,
    group: GroupId,
    members: &[Username],
) -> Decided<(), GroupRefused> {
    let members = fitting(image, group, members)?;
    let new = members.into_iter().filter(|user| !image.is_member(group, *user));
    Ok((new.map(|user| Write::Member(group, user)).collect(), ()))
}

/// Takes members out. Those who are not in it do not matter.
pub fn remove_members(
    image: &Image,
    group: GroupId,
    members: &[Username],
) -> Decided<(), GroupRefused> {
    let members = fitting(image, group, members)?;
    let old = members.into_iter().filter(|user| image.is_member(group, *user));
    Ok((old.map(|user| Write::MemberGone(group, user)).collect(), ()))
}

/// These users, if there is such a group and they are not too many.
fn fitting(
    image: &Image,
    group: GroupId,
    members: &[Username],
) -> Result<Vec<UserId>, GroupRefused> {
    image.group(group).ok_or(GroupRefused::NoGroup)?;
    if members.len() > MOST_AT_ONCE {
        return Err(GroupRefused::Many);
    }
    users(image, members)
}

/// Each once; all must exist.
fn users(image: &Image, names: &[Username]) -> Result<Vec<UserId>, GroupRefused> {
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let user = image.user_named(name.as_str());
        let user = user.ok_or_else(|| GroupRefused::NoUser(name.clone()))?;
        if seen.insert(user.id) {
            ids.push(user.id);
        }
    }
    Ok(ids)
}

/// Replaces all properties.
pub fn set_properties(
    image: &Image,
    group: GroupId,
    properties: Map<String, Value>,
) -> Decided<Arc<Group>, GroupRefused> {
    let known = image.group(group).ok_or(GroupRefused::NoGroup)?;
    if serde_json::to_string(&properties).map_or(usize::MAX, |text| text.len()) > MOST_PROPERTIES {
        return Err(GroupRefused::LargeProperties);
    }
    if *known.properties == properties {
        return Ok((Vec::new(), known.clone()));
    }
    let group = Arc::new(Group { properties: Arc::new(properties), ..Group::clone(known) });
    Ok((vec![Write::Group(group.clone())], group))
}

/// The end of a group, of its memberships, and of what was shared with it.
pub fn delete_group(image: &Image, group: GroupId) -> Decided<(), GroupRefused> {
    image.group(group).ok_or(GroupRefused::NoGroup)?;
    let members = image.members_of(group).map(|user| Write::MemberGone(group, user.id));
    let shares = shares::end_of_group(image, group);
    let writes: Vec<_> = members.chain(shares).chain([Write::GroupGone(group)]).collect();
    if writes.len() > MOST_AT_ONCE {
        return Err(GroupRefused::Many);
    }
    Ok((writes, ()))
}
