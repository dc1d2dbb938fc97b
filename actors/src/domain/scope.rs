//! Who may do what. A scope is a name with an optional filter: `access:servers!server=bob/`.
//!
//! Here: the form of a scope, and what the fixed roles hold. Expansion over the whole hierarchy comes with the whole
//! REST API; what single-user servers need is decided by [`Scope::covers_server`] and [`own_scopes`].

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ServerName, Username};

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

/// What `self` expands to for a user (`spec/rbac.md` 4.1): every own resource.
const SELF: &[&str] = &[
    "access:servers",
    "delete:servers",
    "read:servers",
    "read:shares",
    "read:tokens",
    "read:users",
    "read:users:activity",
    "read:users:groups",
    "read:users:name",
    "read:users:shares",
    "servers",
    "start:servers",
    "tokens",
    "users:activity",
    "users:shares",
];

/// What the role `admin` expands to (`spec/rbac.md` 2 and 3).
const ADMIN: &[&str] = &[
    "access:servers",
    "access:services",
    "admin-ui",
    "admin:auth_state",
    "admin:groups",
    "admin:server_state",
    "admin:servers",
    "admin:services",
    "admin:users",
    "delete:groups",
    "delete:servers",
    "delete:users",
    "groups",
    "groups:shares",
    "list:groups",
    "list:services",
    "list:users",
    "proxy",
    "read:groups",
    "read:groups:name",
    "read:groups:shares",
    "read:hub",
    "read:metrics",
    "read:roles",
    "read:roles:groups",
    "read:roles:services",
    "read:roles:users",
    "read:servers",
    "read:services",
    "read:services:name",
    "read:shares",
    "read:tokens",
    "read:users",
    "read:users:activity",
    "read:users:groups",
    "read:users:name",
    "read:users:shares",
    "servers",
    "shares",
    "shutdown",
    "start:servers",
    "tokens",
    "users",
    "users:activity",
    "users:shares",
];

/// Everything a user holds: the role `user`, and the role `admin` where set.
pub fn own_scopes(user: &Username, admin: bool) -> Vec<Scope> {
    let own = SELF.iter().map(|name| Scope::new(&format!("{name}!user={user}")));
    let all = ADMIN.iter().filter(|_| admin).map(|name| Scope::new(name));
    own.chain(all).collect()
}

/// The effective scopes of a token: its raw scopes expanded for the owner, cut to what the owner holds, and the two
/// identify scopes every token of a user carries. Sorted.
pub fn effective(raw: &[Scope], owner: &Username, admin: bool) -> Vec<Scope> {
    let held = own_scopes(owner, admin);
    let mut out = vec![
        Scope::new(&format!("read:users:name!user={owner}")),
        Scope::new(&format!("read:users:groups!user={owner}")),
    ];
    for scope in raw {
        match scope.as_str() {
            "inherit" => out.extend(held.iter().cloned()),
            "self" => out.extend(own_scopes(owner, false)),
            text => {
                let filled = match scope.filter() {
                    Some(("user", "")) => Scope::new(&format!("{}!user={owner}", scope.base())),
                    _ => Scope::new(text),
                };
                out.extend(narrow(&filled, &held, owner));
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The part of one scope that lies within what is held.
fn narrow(scope: &Scope, held: &[Scope], owner: &Username) -> Option<Scope> {
    let covered = |other: &Scope| {
        other.base() == scope.base()
            && match (other.filter(), scope.filter()) {
                (None, _) => true,
                (Some(a), Some(b)) if a == b => true,
                (Some(("user", name)), Some(("server", which))) => {
                    which.split_once('/').is_some_and(|(user, _)| user == name)
                }
                _ => false,
            }
    };
    if held.iter().any(covered) {
        return Some(scope.clone());
    }
    // Asked without filter, held for oneself only: what is left is one's own.
    let own = Scope::new(&format!("{}!user={owner}", scope.base()));
    (scope.filter().is_none() && held.contains(&own)).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scopes: &[Scope]) -> Vec<&str> {
        scopes.iter().map(Scope::as_str).collect()
    }

    #[test]
    fn a_token_never_outgrows_its_owner() {
        let bob = Username::new("bob").unwrap();
        let raw = [
            Scope::new("admin:users"),
            Scope::new("access:servers!server=bob/"),
            Scope::new("access:servers!user=eve"),
        ];
        assert_eq!(
            texts(&effective(&raw, &bob, false)),
            [
                "access:servers!server=bob/",
                "read:users:groups!user=bob",
                "read:users:name!user=bob"
            ]
        );
        assert!(
            effective(&[Scope::new("inherit")], &bob, true).contains(&Scope::new("admin:users"))
        );
        assert_eq!(
            effective(&[Scope::new("users:activity!user")], &bob, false)[2].as_str(),
            "users:activity!user=bob"
        );
    }

    #[test]
    fn filters_select_servers() {
        let (bob, lab) = (Username::new("bob").unwrap(), ServerName::new("lab").unwrap());
        let covers = |text: &str| Scope::new(text).covers_server("access:servers", &bob, &lab);
        assert!(
            covers("access:servers")
                && covers("access:servers!user=bob")
                && covers("access:servers!server=bob/lab")
        );
        assert!(
            !covers("access:servers!server=bob/")
                && !covers("access:servers!user=bo")
                && !covers("access:services")
        );
    }
}
