//! Who there is.

use serde::{Deserialize, Serialize};

use super::{Moment, Username};

/// Names a user for good: renames do not change it, and it is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub u64);

/// A user of the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Key of all that belongs to the user.
    pub id: UserId,
    /// Current name.
    pub name: Username,
    /// May do everything.
    pub admin: bool,
    /// First seen.
    pub created: Moment,
    /// Last use of anything; none before the first.
    pub last_activity: Option<Moment>,
    /// What the login cookie carries (32 hex digits); a new one ends all sessions.
    pub cookie_id: String,
    /// What the authenticator told about the person (`user_info` on the wire).
    pub user_info: Option<serde_json::Value>,
}
