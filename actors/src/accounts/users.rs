//! Users: signing in and out, as far as it is recorded; made, changed and deleted by those who may.
//! (`spec/auth-and-spawn.md` 1.1, `spec/oauth-and-cookies.md` 4, `spec/rest-api.md` 4.3.)

use std::{
    collections::{BTreeSet, HashSet},
    convert::Infallible,
    sync::Arc,
};

use thiserror::Error;

use super::{Decided, oauth, servers, shares};
use crate::{
    domain::{External, Moment, Owner, User, UserId, Username},
    store::{Image, Write},
};

/// Most users made by one request: what is written at once is bounded.
pub const MOST_USERS: usize = 5_000;

/// Why users are not made, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UserRefused {
    /// No such user.
    #[error("no such user")]
    NoUser,
    /// There is one of that name.
    #[error("user {0} exists already")]
    Exists(Username),
    /// There is one of each name.
    #[error("all {0} users exist already")]
    AllExist(usize),
    /// More than [`MOST_USERS`] at once.
    #[error("at most {MOST_USERS} users are made at once")]
    Many,
    /// The new name is another's.
    #[error("the name {0} is taken")]
    Taken(Username),
    /// Who gets another name has no servers then: paths and clients of those that run hold the old one.
    #[error("a server of this user is active: stop it before the user gets another name")]
    Active,
    /// Who is deleted has no servers any more.
    #[error("a server of this user is still being stopped: try again later")]
    Stopping,
    /// Only administrators make administrators, or change them.
    #[error("only administrators can do that")]
    NotAdmin,
}

/// Ends all tokens of this user that were given in this browser session, and codes not exchanged yet; for the life of a
/// code none is given there any more.
pub fn sign_out(
    image: &Image,
    user: UserId,
    session: &str,
    now: Moment,
) -> Decided<(), Infallible> {
    let tokens = image
        .tokens_of(&Owner::User(user))
        .filter(|token| token.session.as_deref() == Some(session))
        .map(|token| Write::TokenGone(token.id));
    let codes = image
        .codes()
        .filter(|code| code.user == user && code.session.as_deref() == Some(session))
        .map(|code| Write::CodeGone(code.hash));
    let ended = oauth::end_session(image, user, session, now);
    Ok((tokens.chain(codes).chain(ended).collect(), ()))
}

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// By this name.
    pub name: Username,
    /// See [`User::cookie_id`].
    pub cookie_id: String,
}

pub(super) fn made(id: u64, new: NewUser, admin: bool, now: Moment) -> User {
    User {
        id: UserId(id),
        name: new.name,
        admin,
        created: now,
        last_activity: None,
        cookie_id: new.cookie_id,
        user_info: None,
    }
}

/// Makes one user.
pub fn create_user(
    image: &Image,
    new: NewUser,
    admin: bool,
    now: Moment,
) -> Decided<Arc<User>, UserRefused> {
    if image.user_named(new.name.as_str()).is_some() {
        return Err(UserRefused::Exists(new.name));
    }
    let id = image.next_id();
    let user = Arc::new(made(id, new, admin, now));
    Ok((vec![Write::IdsUsed(id), Write::User(user.clone())], user))
}

/// Makes those of these users that do not exist yet; the answer is them. Nothing is changed about the others.
pub fn create_users(
    image: &Image,
    new: Vec<NewUser>,
    admin: bool,
    now: Moment,
) -> Decided<Vec<Arc<User>>, UserRefused> {
    if new.len() > MOST_USERS {
        return Err(UserRefused::Many);
    }
    let asked = new.len();
    let mut seen = HashSet::new();
    let fresh = new.into_iter().filter(|new| {
        image.user_named(new.name.as_str()).is_none() && seen.insert(new.name.clone())
    });
    let ids = image.next_id()..;
    let users: Vec<_> =
        ids.zip(fresh).map(|(id, new)| Arc::new(made(id, new, admin, now))).collect();
    let Some(last) = users.last() else { return Err(UserRefused::AllExist(asked)) };
    let used = std::iter::once(Write::IdsUsed(last.id.0));
    Ok((used.chain(users.iter().cloned().map(Write::User)).collect(), users))
}

/// What is to be changed about a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// Another name. The present one is none.
    pub name: Option<Username>,
    /// Administrator, or not any more.
    pub admin: Option<bool>,
    /// What is kept about the user from now on, sealed (`auth_state`).
    pub kept: Option<String>,
}

/// Changes a user; `by_admin`: an administrator asks. All that belongs to the user goes by number, so with another name
/// nothing is lost, and whoever gets the old one inherits nothing.
pub fn change_user(
    image: &Image,
    id: UserId,
    change: UserChange,
    by_admin: bool,
    now: Moment,
) -> Decided<Arc<User>, UserRefused> {
    let known = image.user(id).ok_or(UserRefused::NoUser)?;
    if !by_admin && (known.admin || change.admin == Some(true)) {
        return Err(UserRefused::NotAdmin);
    }
    let mut user = User::clone(known);
    user.admin = change.admin.unwrap_or(user.admin);
    if let Some(name) = change.name.filter(|name| *name != known.name) {
        if image.user_named(name.as_str()).is_some() {
            return Err(UserRefused::Taken(name));
        }
        if is_active(image, id) {
            return Err(UserRefused::Active);
        }
        user.name = name;
    }
    let mut writes = Vec::new();
    if let Some(kept) = change.kept {
        // Who they are elsewhere and when that was last asked stays; whom nobody has vouched for belongs to the first way.
        let before = image.external(id).map(|it| External::clone(it));
        let none = External {
            user: id,
            subjects: Vec::new(),
            way: String::new(),
            kept: None,
            checked: now,
        };
        let external = External { kept: Some(kept), ..before.unwrap_or(none) };
        writes.push(Write::External(Arc::new(external)));
    }
    if user == **known {
        return Ok((writes, known.clone()));
    }
    let user = Arc::new(user);
    writes.insert(0, Write::User(user.clone()));
    Ok((writes, user))
}

/// The end of a user, and of everything that is the user's: servers' records with their OAuth clients and what was given
/// to those, tokens, codes, memberships, shares given and taken, codes for shares.
pub fn delete_user(image: &Image, id: UserId) -> Decided<(), UserRefused> {
    image.user(id).ok_or(UserRefused::NoUser)?;
    if is_active(image, id) {
        return Err(UserRefused::Stopping);
    }
    let mut writes = Vec::new();
    for server in image.servers_of(id) {
        writes.extend(servers::leave(image, server));
        writes.push(Write::ServerGone(server.key.clone()));
    }
    let gone = |write: &Write| match write {
        Write::TokenGone(id) => Some(*id),
        _ => None,
    };
    let with_servers: BTreeSet<_> = writes.iter().filter_map(gone).collect();
    let tokens = image.tokens_of(&Owner::User(id)).map(|token| token.id);
    writes.extend(tokens.filter(|id| !with_servers.contains(id)).map(Write::TokenGone));
    let codes = image.codes().filter(|code| code.user == id);
    writes.extend(codes.map(|code| Write::CodeGone(code.hash)));
    writes.extend(image.groups_of(id).map(|group| Write::MemberGone(group.id, id)));
    writes.extend(shares::end_of_user(image, id));
    writes.extend(image.external(id).map(|_| Write::ExternalGone(id)));
    writes.push(Write::UserGone(id));
    Ok((writes, ()))
}

fn is_active(image: &Image, user: UserId) -> bool {
    image.servers_of(user).any(|server| server.state.is_active())
}
