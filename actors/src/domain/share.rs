//! Shared servers: what a user or a group may do with somebody else's. (`spec/rbac.md` 9.)

use serde::{Deserialize, Serialize};

use super::{GroupId, Moment, ServerKey, TokenHash, UserId};

/// With whom something is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SharedWith {
    /// A user.
    User(UserId),
    /// The members of a group.
    Group(GroupId),
}

/// Which share: one per server and those it is shared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareKey {
    /// What is shared.
    pub server: ServerKey,
    /// With whom.
    pub with: SharedWith,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Which.
    pub key: ShareKey,
    /// Names of scopes, without the filter: that is the server, by whatever name it has. Sorted.
    pub scopes: Vec<String>,
    /// When it was first given.
    pub created: Moment,
}

/// Names a code on the wire as `sc_<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareCodeId(pub u64);

/// A code by which whoever has it gets a share, until it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShareCode {
    /// Its number.
    pub id: ShareCodeId,
    /// Of the code.
    pub hash: TokenHash,
    /// What is shared.
    pub server: ServerKey,
    /// As in [`Share::scopes`].
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Moment,
    /// Not valid from then on.
    pub expires_at: Moment,
    /// How often it was used.
    pub exchange_count: u64,
    /// When it was last used.
    pub last_exchanged: Option<Moment>,
}
