//! Who may do what. A scope is a name with an optional filter: `access:servers!server=bob/`.
//!
//! A scope is kept raw, as it was written ([`Scope`]); each time it is used it is expanded over the
//! [vocabulary](Vocabulary) for whoever holds it ([`Grants`]), so that what counts is what the owner has then. What is
//! held in the end ([`Granted`]) is a handful of numbers, so nothing is cached and nothing goes stale.
//! (`spec/rbac.md` 1 to 5.)
//!
//! | file | what it holds |
//! |---|---|
//! | [`vocabulary`] | the table of scopes, what each brings with it, an operator's own |
//! | [`granted`] | what somebody holds, what it covers, what two holdings have in common |

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{OAuthClient, ServerName, ServiceName, Username, oauth::ClientOf};

pub mod granted;
#[cfg(test)]
mod tests;
pub mod vocabulary;

pub use granted::{Filter, Granted, Membership, Resource};
pub use vocabulary::{Custom, CustomRefused, Mask, Vocabulary};

/// A scope in its raw form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope(Arc<str>);

impl Scope {
    /// From its text; not checked: see [`Grants::of`].
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

    /// Access to one service: `access:services!service=NAME`.
    pub fn access_service(name: &ServiceName) -> Self {
        Self(format!("access:services!service={name}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the filter.
    pub fn base(&self) -> &str {
        self.0.split_once('!').map_or(&self.0, |(base, _)| base)
    }

    /// The filter as it is written, if any: what follows the first `!`.
    pub fn filter(&self) -> Option<&str> {
        self.0.split_once('!').map(|(_, filter)| filter)
    }

    /// Is it a scope, and is its filter one?
    pub fn is_known(&self, vocabulary: &Vocabulary) -> bool {
        Raw::of(vocabulary, self).is_some()
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A scope understood.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Raw {
    /// `self`: what a user may do with what is one's own.
    Oneself,
    /// `inherit`: whatever the owner may.
    Inherit,
    /// `(no_scope)`: nothing but being known.
    Nothing,
    /// These names, unfiltered.
    Whole(Mask),
    /// These names, where this filter lets them.
    Part(Filter, Mask),
    /// `!user`: these names, for whoever owns the token.
    Own(Mask),
    /// `!server`: these names, for the server that the token's OAuth client is.
    OwnServer(Mask),
    /// `!service`: these names, for the service that owns the token, or that its OAuth client is.
    OwnService(Mask),
}

impl Raw {
    /// Nothing: there is no such scope, or no such filter.
    fn of(vocabulary: &Vocabulary, scope: &Scope) -> Option<Self> {
        match scope.as_str() {
            "self" => return Some(Self::Oneself),
            "inherit" => return Some(Self::Inherit),
            "(no_scope)" => return Some(Self::Nothing),
            _ => {}
        }
        let mask = vocabulary.closure(scope.base())?;
        let of_server = mask.without(vocabulary::OF_USERS);
        Some(match scope.filter() {
            None => Self::Whole(mask),
            Some("user") => Self::Own(mask),
            Some("server") => Self::OwnServer(of_server),
            Some("service") => Self::OwnService(mask),
            Some(text) => match Filter::parse(text)? {
                filter @ Filter::Server(_) => Self::Part(filter, of_server),
                filter => Self::Part(filter, mask),
            },
        })
    }
}

/// Whose a scope is, for what is written without a name: `self`, `!user`, `!server`, `!service`.
#[derive(Debug, Clone, Default)]
pub struct Holder {
    user: Option<Arc<str>>,
    service: Option<Arc<str>>,
    server: Option<Arc<str>>,
}

impl Holder {
    /// A user.
    pub fn user(name: &Username) -> Self {
        Self { user: Some(name.as_str().into()), ..Self::default() }
    }

    /// A service.
    pub fn service(name: &ServiceName) -> Self {
        Self { service: Some(name.as_str().into()), ..Self::default() }
    }

    /// The same with a token that was given to this client. `owner`: of the server the client is, if it is one.
    #[must_use]
    pub fn by_client(mut self, client: &OAuthClient, owner: Option<&Username>) -> Self {
        match (&client.of, owner) {
            (ClientOf::Server(_, server), Some(owner)) => {
                self.server = Some(format!("{owner}/{server}").into());
            }
            (ClientOf::Server(..), None) => {}
            (ClientOf::Service(name), _) => {
                self.service.get_or_insert_with(|| name.as_str().into());
            }
        }
        self
    }
}

/// What a list of raw scopes grants, still without a holder: worked out once for a role, at each use for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    inherit: bool,
    fixed: Granted,
    own: Mask,
    own_server: Mask,
    own_service: Mask,
    oneself: bool,
}

impl Grants {
    /// Of these scopes; those that are none grant nothing.
    pub fn of<'a>(vocabulary: &Vocabulary, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let mut out = Self::default();
        for raw in scopes.into_iter().filter_map(|scope| Raw::of(vocabulary, scope)) {
            match raw {
                Raw::Oneself => out.oneself = true,
                Raw::Inherit => out.inherit = true,
                Raw::Nothing => {}
                Raw::Whole(mask) => out.fixed.add_whole(mask),
                Raw::Part(filter, mask) => out.fixed.add(filter, mask),
                Raw::Own(mask) => out.own = out.own.or(mask),
                Raw::OwnServer(mask) => out.own_server = out.own_server.or(mask),
                Raw::OwnService(mask) => out.own_service = out.own_service.or(mask),
            }
        }
        out
    }

    /// Is `inherit` among them?
    pub fn inherits(&self) -> bool {
        self.inherit
    }

    /// Adds what they grant to this holder. What names something the holder is not grants nothing.
    pub fn give(&self, holder: &Holder, to: &mut Granted) {
        to.add_all(&self.fixed);
        if let Some(user) = &holder.user {
            let own = if self.oneself { self.own.or(vocabulary::OWN) } else { self.own };
            to.add(Filter::User(user.clone()), own);
        }
        if let Some(server) = &holder.server {
            to.add(Filter::Server(server.clone()), self.own_server);
        }
        if let Some(service) = &holder.service {
            to.add(Filter::Service(service.clone()), self.own_service);
        }
    }

    /// What they grant to this holder.
    pub fn to(&self, holder: &Holder) -> Granted {
        let mut out = Granted::default();
        self.give(holder, &mut out);
        out
    }
}

/// What every token of a user tells of its owner: name and groups.
const KNOWN_USER: Mask = Mask::of(&["read:users:name", "read:users:groups"]);
/// What every token of a service tells.
const KNOWN_SERVICE: Mask = Mask::of(&["read:services:name"]);

/// Adds what identifies the owner. (`spec/rbac.md` 5.)
pub fn identify(holder: &Holder, service: bool, to: &mut Granted) {
    match (&holder.user, &holder.service) {
        (Some(user), _) => to.add(Filter::User(user.clone()), KNOWN_USER),
        (None, Some(name)) if service => to.add(Filter::Service(name.clone()), KNOWN_SERVICE),
        (None, _) => {}
    }
}

/// Adds the scope that opens what this client is. `owner`: of the server, if it is one.
pub fn access(client: &OAuthClient, owner: Option<&Username>, to: &mut Granted) {
    const SERVERS: Mask = Mask::of(&["access:servers"]);
    const SERVICES: Mask = Mask::of(&["access:services"]);
    match (&client.of, owner) {
        (ClientOf::Server(_, server), Some(owner)) => {
            to.add(Filter::Server(format!("{owner}/{server}").into()), SERVERS);
        }
        (ClientOf::Server(..), None) => {}
        (ClientOf::Service(name), _) => {
            to.add(Filter::Service(name.as_str().into()), SERVICES);
        }
    }
}
