//! Sharing servers: grant, revoke, and what becomes of shares when something ends or moves. (`spec/rest-api.md` 4.11,
//! `spec/rbac.md` 9.) Codes by which people take a share themselves are next door, in [`super::share_codes`].
//!
//! A share is kept by numbers and without filters, so it follows its owner and its user through renaming by itself. It
//! has no end of its own: whoever removes a user, a group or a server writes what [`end_of_user`], [`end_of_group`] or
//! [`end_of_server`] says, in the same change.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use thiserror::Error;

use super::{Decided, share_codes};
use crate::{
    domain::{
        GroupId, Moment, Policy, Scope, ServerKey, Share, ShareKey, SharedWith, UserId,
        scope::{Granted, Grants, Holder, Resource},
    },
    store::{Image, Write},
};

/// What is shared where nothing else is asked.
pub const DEFAULT_SCOPE: &str = "access:servers";

/// Most scopes one request may name.
pub const MOST_SHARED_SCOPES: usize = 200;

/// Most users and groups one server may be shared with at a time.
pub const MOST_SHARES: usize = 1_000;

/// Most servers that may be shared with one user or group at a time: each counts at each of their requests.
pub const MOST_SHARED_WITH: usize = 1_000;

/// Most shares one owner may have given at a time: they all end in one change, with the owner.
pub const MOST_SHARES_GIVEN: usize = 10_000;

/// Something to be shared.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What.
    pub server: ServerKey,
    /// With whom.
    pub with: SharedWith,
    /// As they were written, with the server's filter or with none; none at all: [`DEFAULT_SCOPE`].
    pub scopes: Vec<String>,
    /// What whoever shares it holds: nothing beyond is given.
    pub by: Granted,
}

/// Why nothing is shared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShareRefused {
    /// No such server.
    #[error("no such server")]
    NoServer,
    /// Nobody to share it with.
    #[error("no such user or group")]
    NoTarget,
    /// Not a scope.
    #[error("no such scope: {0:.100}")]
    Unknown(String),
    /// It is filtered to something else.
    #[error("scope {0:.200} is not about this server")]
    Foreign(String),
    /// Whoever shares it does not hold these.
    #[error("not allowed to share: {0}")]
    Excess(String),
    /// More than [`MOST_SHARED_SCOPES`].
    #[error("at most {MOST_SHARED_SCOPES} scopes can be shared at a time")]
    ManyScopes,
    /// The server has [`MOST_SHARES`] already.
    #[error("this server is shared with {MOST_SHARES} users and groups already: revoke some first")]
    ManyShares,
    /// The owner has [`MOST_SHARES_GIVEN`] already.
    #[error(
        "there are {MOST_SHARES_GIVEN} shares of this owner's servers already: revoke some first"
    )]
    ManyGiven,
    /// The user or group has [`MOST_SHARED_WITH`] already.
    #[error("{MOST_SHARED_WITH} servers are shared with this user or group already")]
    ManyReceived,
    /// The server has [`share_codes::MOST_SHARE_CODES`] codes already, or its owner [`share_codes::MOST_CODES_GIVEN`].
    #[error("there are {0} codes already: delete some first")]
    ManyCodes(usize),
    /// A code is to live shorter or longer than codes may.
    #[error("a code lives for 60 seconds to 365 days")]
    Life,
    /// No code that counts.
    #[error("this code is unknown or has expired")]
    NoCode,
    /// It is their own server.
    #[error("this server is yours already")]
    Own,
}

/// Shares a server, or adds to what is shared.
pub fn grant_share(
    image: &Image,
    policy: &Policy,
    what: Grant,
    now: Moment,
) -> Decided<Arc<Share>, ShareRefused> {
    let scopes = scopes_for(image, policy, &what.server, &what.scopes, &what.by)?;
    let there = match what.with {
        SharedWith::User(id) => image.user(id).is_some(),
        SharedWith::Group(id) => image.group(id).is_some(),
    };
    if !there {
        return Err(ShareRefused::NoTarget);
    }
    add(image, ShareKey { server: what.server, with: what.with }, scopes, now)
}

/// What was asked for this server as it is kept: names without filter, sorted, each once. All of it is held by `by`.
pub(super) fn scopes_for(
    image: &Image,
    policy: &Policy,
    server: &ServerKey,
    asked: &[String],
    by: &Granted,
) -> Result<Vec<String>, ShareRefused> {
    let vocabulary = policy.vocabulary();
    let owner = image.user(server.user).ok_or(ShareRefused::NoServer)?;
    if !server.name.is_default() && image.server(server).is_none() {
        return Err(ShareRefused::NoServer);
    }
    if asked.len() > MOST_SHARED_SCOPES {
        return Err(ShareRefused::ManyScopes);
    }
    let filter = format!("server={}/{}", owner.name, server.name);
    let mut names = BTreeSet::new();
    for text in asked {
        let scope = Scope::new(text);
        if vocabulary.only(scope.base()).is_none() {
            // Nobody holds what only stands for others.
            let stands_for_others = scope.filter().is_none() && scope.is_known(vocabulary);
            return Err(if stands_for_others {
                ShareRefused::Excess(text.clone())
            } else {
                ShareRefused::Unknown(text.clone())
            });
        }
        if scope.filter().is_some_and(|other| other != filter) {
            return Err(ShareRefused::Foreign(text.clone()));
        }
        names.insert(scope.base().to_owned());
    }
    if names.is_empty() {
        names.insert(DEFAULT_SCOPE.to_owned());
    }
    let whole: Vec<_> = names.iter().map(|name| Scope::new(&format!("{name}!{filter}"))).collect();
    let given = Grants::of(vocabulary, &whole).to(&Holder::default());
    let mut excess = given.beyond(by, image).names(vocabulary);
    // Some names grant nothing where the filter is a server. They are no reason to let somebody name them.
    let held = by.on(Resource::Server(owner.name.as_str(), server.name.as_str()), image);
    let missing = names
        .iter()
        .filter(|name| !vocabulary.only(name).is_some_and(|it| held.meets(it)))
        .map(|name| format!("{name}!{filter}"));
    excess.extend(missing);
    if excess.is_empty() {
        return Ok(names.into_iter().collect());
    }
    excess.sort_unstable();
    excess.dedup();
    Err(ShareRefused::Excess(excess.join(", ")))
}

/// A share with these names, and those it has already.
pub(super) fn add(
    image: &Image,
    key: ShareKey,
    names: Vec<String>,
    now: Moment,
) -> Decided<Arc<Share>, ShareRefused> {
    let old = image.share(&key);
    if old.is_none() {
        room(image, &key)?;
    }
    let before = old.map(|share| share.scopes.as_slice()).unwrap_or_default();
    let all: BTreeSet<String> = before.iter().cloned().chain(names).collect();
    let share = Share {
        key,
        scopes: all.into_iter().collect(),
        created: old.map_or(now, |share| share.created),
    };
    match old {
        Some(old) if **old == share => Ok((Vec::new(), old.clone())),
        _ => {
            let share = Arc::new(share);
            Ok((vec![Write::Share(share.clone())], share))
        }
    }
}

/// There must be room for one more.
fn room(image: &Image, key: &ShareKey) -> Result<(), ShareRefused> {
    if image.shares_of(&key.server).nth(MOST_SHARES - 1).is_some() {
        Err(ShareRefused::ManyShares)
    } else if image.shares_by(key.server.user).nth(MOST_SHARES_GIVEN - 1).is_some() {
        Err(ShareRefused::ManyGiven)
    } else if image.shared_with(key.with).nth(MOST_SHARED_WITH - 1).is_some() {
        Err(ShareRefused::ManyReceived)
    } else {
        Ok(())
    }
}

/// Takes scopes out of a share; without any it ends whole. They count where they are written as the wire shows them, with
/// the server's filter; others change nothing. The answer is what remains.
pub fn revoke_share(
    image: &Image,
    key: &ShareKey,
    scopes: &[String],
) -> Decided<Option<Arc<Share>>, Infallible> {
    let found = image.share(key).zip(image.user(key.server.user));
    let Some((share, owner)) = found else { return Ok((Vec::new(), None)) };
    let filter = format!("!server={}/{}", owner.name, key.server.name);
    let revoked: BTreeSet<&str> =
        scopes.iter().filter_map(|text| text.strip_suffix(filter.as_str())).collect();
    let mut left = Share::clone(share);
    left.scopes.retain(|name| !scopes.is_empty() && !revoked.contains(name.as_str()));
    if left.scopes.is_empty() {
        return Ok((vec![Write::ShareGone(key.clone())], None));
    }
    if left == **share {
        return Ok((Vec::new(), Some(share.clone())));
    }
    let left = Arc::new(left);
    Ok((vec![Write::Share(left.clone())], Some(left)))
}

/// Ends one share. False: there is none.
pub fn end_share(image: &Image, key: &ShareKey) -> Decided<bool, Infallible> {
    let found = image.share(key).is_some();
    Ok((found.then(|| Write::ShareGone(key.clone())).into_iter().collect(), found))
}

/// Ends all shares of a server. Codes still count: they are deleted on their own.
pub fn revoke_shares(image: &Image, server: &ServerKey) -> Decided<(), Infallible> {
    Ok((image.shares_of(server).map(|share| gone(share)).collect(), ()))
}

fn gone(share: &Share) -> Write {
    Write::ShareGone(share.key.clone())
}

/// What ends with a server: its shares and their codes.
pub fn end_of_server(image: &Image, server: &ServerKey) -> Vec<Write> {
    let codes = image.share_codes_of(server).map(|code| Write::ShareCodeGone(code.id));
    image.shares_of(server).map(|share| gone(share)).chain(codes).collect()
}

/// What ends with a user: what was shared with them, and shares and codes of all their servers.
pub fn end_of_user(image: &Image, user: UserId) -> Vec<Write> {
    let given = image.shares_by(user).map(|share| gone(share));
    // One's own server may be shared with oneself: that is among the first already.
    let received = image.shared_with(SharedWith::User(user));
    let received = received.filter(|share| share.key.server.user != user).map(|share| gone(share));
    let codes = image.share_codes_by(user).map(|code| Write::ShareCodeGone(code.id));
    given.chain(received).chain(codes).collect()
}

/// What ends with a group: what was shared with it.
pub fn end_of_group(image: &Image, group: GroupId) -> Vec<Write> {
    image.shared_with(SharedWith::Group(group)).map(|share| gone(share)).collect()
}

/// Shares and codes of a server that is called otherwise from now on.
pub fn move_server_shares(image: &Image, from: &ServerKey, to: &ServerKey) -> Vec<Write> {
    let mut writes = Vec::new();
    for share in image.shares_of(from) {
        let mut moved = Share::clone(share);
        moved.key.server.clone_from(to);
        writes.extend([gone(share), Write::Share(Arc::new(moved))]);
    }
    writes.extend(share_codes::moved(image, from, to));
    writes
}

#[cfg(test)]
mod tests;
