//! Tokens: only their hashes are kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClientId, Moment, Scope, ServiceName, UserId};

/// Names a token on the wire as `a<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenId(pub u64);

/// SHA-256 of a token. Tokens are random (128 bits and more), so a slow hash would gain nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; 32]);

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// A user's.
    User(UserId),
    /// A service's.
    Service(ServiceName),
}

/// A token as it is kept. There may be a million: what many say alike is shared by those that were read together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Whose it is.
    pub owner: Owner,
    /// Of the secret.
    pub hash: TokenHash,
    /// Raw scopes (not expanded; `inherit` allowed).
    pub scopes: Arc<[Scope]>,
    /// When it was made.
    pub created: Moment,
    /// Not valid from then on; none: for ever.
    pub expires_at: Option<Moment>,
    /// Last use.
    pub last_activity: Option<Moment>,
    /// For people. A server's own starts with `Server at `.
    pub note: Arc<str>,
    /// The OAuth client it was given to; none for plain API tokens (on the wire: `jupyterhub`).
    pub client: Option<ClientId>,
    /// The browser session it was given in; signing out there ends it.
    pub session: Option<Arc<str>>,
}

impl Token {
    /// Does it still count?
    pub fn is_valid(&self, now: Moment) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Is it a server's own? Its use is not the user's activity (`spec/rest-api.md` 1.2).
    pub fn is_servers_own(&self) -> bool {
        self.note.starts_with("Server at ")
    }
}
