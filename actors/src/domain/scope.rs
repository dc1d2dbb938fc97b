//! Who may do what. A scope is a name with an optional filter: `access:servers!server=bob/`.
//!
//! Here: the form of a scope, what the fixed roles hold, and what a token may do. Scopes are kept raw, as they were
//! written; they are expanded over `table` each time they are used, so that what counts is what the owner holds then.
//! Groups, and scopes of an operator's own, come with the whole REST API.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use super::{ServerName, Username};

mod table;
#[cfg(test)]
mod tests;

/// A scope in its raw form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope(Arc<str>);

impl Scope {
    /// From its text; not checked against the table of scopes.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Access to one server: `access:servers!server=USER/SERVER`.
    pub fn access_server(user: &Username, server: &ServerName) -> Self {
        Self(format!("access:servers!server={user}/{server}").into())
    }

    /// Access to all of one user's servers: `access:servers!user=USER`.
    pub fn access_user(user: &Username) -> Self {
        Self(format!("access:servers!user={user}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the filter.
    pub fn base(&self) -> &str {
        self.0.split_once('!').map_or(&self.0, |(base, _)| base)
    }

    /// The filter, if any: `(kind, value)`; the value is empty for `!user` and `!server`.
    pub fn filter(&self) -> Option<(&str, &str)> {
        let (_, filter) = self.0.split_once('!')?;
        Some(filter.split_once('=').unwrap_or((filter, "")))
    }

    /// Does it stand in the table, or is it one of the names with a meaning of their own; and is its filter one?
    pub fn is_known(&self) -> bool {
        matches!(self.as_str(), "self" | "inherit" | "(no_scope)")
            || (table::find(self.base()).is_some() && Filter::of(self).is_some())
    }

    /// Does holding this scope open this resource? (`spec/rbac.md` 5.1 without groups.)
    pub fn covers_server(&self, base: &str, user: &Username, server: &ServerName) -> bool {
        self.base() == base
            && match self.filter() {
                None => true,
                Some(("user", name)) => name == user.as_str(),
                Some(("server", which)) => {
                    which.split_once('/') == Some((user.as_str(), server.as_str()))
                }
                Some(_) => false,
            }
    }

    /// Does holding this scope cover this user?
    pub fn covers_user(&self, base: &str, user: &Username) -> bool {
        self.base() == base
            && match self.filter() {
                None => true,
                Some(("user", name)) => name == user.as_str(),
                Some(_) => false,
            }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What restricts a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter<'a> {
    /// Nothing.
    All,
    /// `!user`: whoever owns the token.
    Own,
    /// `!server`, `!service`: what the token's OAuth client is. Plain tokens have none.
    OwnClient,
    /// `!user=NAME`.
    User(&'a str),
    /// `!server=USER/SERVER`.
    Server(&'a str),
    /// `!group=NAME`, `!service=NAME`: holds what is written just so, no more.
    Other,
}

impl<'a> Filter<'a> {
    /// None: it is not well-formed.
    fn of(scope: &'a Scope) -> Option<Self> {
        let Some((_, text)) = scope.0.split_once('!') else { return Some(Self::All) };
        match text.split_once('=') {
            None if text == "user" => Some(Self::Own),
            None if matches!(text, "server" | "service") => Some(Self::OwnClient),
            Some(("server", which)) => match which.split_once('/') {
                Some((user, _)) if !user.is_empty() => Some(Self::Server(which)),
                Some(_) | None => None,
            },
            Some((_, "")) | None => None,
            Some(("user", name)) => Some(Self::User(name)),
            Some(("group" | "service", _)) => Some(Self::Other),
            Some(_) => None,
        }
    }
}

/// What `self` and the role `admin` expand to.
static SELF: LazyLock<Vec<&str>> = LazyLock::new(|| table::closure(table::SELF));
static ADMIN: LazyLock<Vec<&str>> = LazyLock::new(|| table::closure(table::ADMIN));

/// Everything a user holds, expanded: the role `user`, and the role `admin` where set. Sorted.
pub fn own_scopes(user: &Username, admin: bool) -> Vec<Scope> {
    let own = SELF.iter().filter(|name| !admin || ADMIN.binary_search(name).is_err());
    let own = own.map(|name| Scope::new(&format!("{name}!user={user}")));
    let all = ADMIN.iter().filter(|_| admin).map(|name| Scope::new(name));
    let mut out: Vec<_> = own.chain(all).collect();
    out.sort();
    out
}

/// A raw scope with all it brings, for this owner: `self` resolved, `!user` filled in. Nothing, where it is not known,
/// names something the owner is not, or is `inherit`, which says no more than its owner. (`spec/rbac.md` 3 and 4.)
pub fn expand(scope: &Scope, owner: &Username) -> Vec<Scope> {
    if scope.as_str() == "self" {
        return SELF.iter().map(|name| Scope::new(&format!("{name}!user={owner}"))).collect();
    }
    let names = table::closure(&[scope.base()]);
    let filtered = |filter: &str| -> Vec<Scope> {
        names.iter().map(|name| Scope::new(&format!("{name}{filter}"))).collect()
    };
    let written = &scope.0[scope.base().len()..];
    match Filter::of(scope) {
        None | Some(Filter::OwnClient) => Vec::new(),
        Some(Filter::Own) => filtered(&format!("!user={owner}")),
        Some(Filter::All | Filter::User(_) | Filter::Other) => filtered(written),
        // A server is not its user: nothing is read about that one.
        Some(Filter::Server(_)) => {
            let mut scopes = filtered(written);
            scopes.retain(|scope| !scope.base().starts_with("read:user"));
            scopes
        }
    }
}

/// Does this user hold all that this raw scope stands for? Not, where it is not known.
pub fn holds(scope: &Scope, owner: &Username, admin: bool) -> bool {
    let held = own_scopes(owner, admin);
    let covered = |it: &Scope| held.iter().any(|held| both(held, it).as_ref() == Some(it));
    scope.is_known() && expand(scope, owner).iter().all(covered)
}

/// The effective scopes of a token: its raw scopes expanded for the owner, and the two identify scopes every token of a
/// user carries, cut to what the owner holds. Sorted. (`spec/rbac.md` 5.)
pub fn effective(raw: &[Scope], owner: &Username, admin: bool) -> Vec<Scope> {
    let held = own_scopes(owner, admin);
    if raw.iter().any(|scope| scope.as_str() == "inherit") {
        return held;
    }
    let identity = ["read:users:name!user", "read:users:groups!user"].map(Scope::new);
    let asked = raw.iter().chain(&identity).flat_map(|scope| expand(scope, owner));
    let mut out: Vec<_> =
        asked.flat_map(|scope| held.iter().filter_map(move |held| both(held, &scope))).collect();
    out.sort();
    out.dedup();
    reduce(out)
}

/// What two scopes have in common. (`spec/rbac.md` 5.1 without groups.)
fn both(a: &Scope, b: &Scope) -> Option<Scope> {
    if a.base() != b.base() {
        return None;
    }
    let within =
        |server: &str, user: &str| server.split_once('/').is_some_and(|(it, _)| it == user);
    let common = match (Filter::of(a)?, Filter::of(b)?) {
        (Filter::All, _) => b,
        (_, Filter::All) => a,
        (Filter::User(user), Filter::Server(server)) if within(server, user) => b,
        (Filter::Server(server), Filter::User(user)) if within(server, user) => a,
        _ if a == b => a,
        _ => return None,
    };
    Some(common.clone())
}

/// Without what stands there unfiltered too. `scopes` are sorted.
fn reduce(scopes: Vec<Scope>) -> Vec<Scope> {
    let whole: Vec<_> = scopes.iter().filter(|it| it.filter().is_none()).cloned().collect();
    let swallowed = |it: &Scope| {
        it.filter().is_some() && whole.binary_search_by(|held| held.as_str().cmp(it.base())).is_ok()
    };
    scopes.into_iter().filter(|it| !swallowed(it)).collect()
}
