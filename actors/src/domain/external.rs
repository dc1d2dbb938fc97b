//! Who a user is elsewhere.

use serde::{Deserialize, Serialize};

use super::{Moment, UserId};

/// Somebody at a provider. The pair stays when names and addresses change, and is never given to anybody else (OpenID
/// Connect Core 1.0, section 5.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Who vouches: an address.
    pub issuer: String,
    /// For whom: the provider's own word.
    pub id: String,
}

/// What providers said about one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// Whose it is.
    pub user: UserId,
    /// Who the user is elsewhere: at most one of each issuer.
    pub subjects: Vec<Subject>,
    /// By which way the user signed in last.
    pub way: String,
    /// What the authenticator keeps about the user, sealed.
    pub kept: Option<String>,
    /// When the authenticator last said that the user is still who they were.
    pub checked: Moment,
}

impl External {
    /// Who the user is for this issuer.
    pub fn of(&self, issuer: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.issuer == issuer)
    }
}
