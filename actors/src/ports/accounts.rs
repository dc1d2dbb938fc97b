//! Accounts of the machine, for users.

use thiserror::Error;

use super::Boxed;
use crate::domain::Username;

/// Which users need an account of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Need {
    /// Nobody does.
    #[default]
    Nobody,
    /// Who is new has to have one: where servers run as their users, one without is of no use.
    New,
    /// Everybody does, and it is made where it is missing.
    Made,
}

impl Need {
    /// Is this user's account asked for? `known`: the hub knows the user already.
    pub fn asks(self, known: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::New => !known,
            Self::Made => true,
        }
    }
}

/// Why somebody has no account. The words are for the person at whom it stops, and name no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccountError {
    /// There is none, and none is made.
    #[error(
        "there is no account {0} on this machine: make it (useradd {0}), or set auth.create_system_users"
    )]
    Missing(Username),
    /// This name cannot have one.
    #[error("{0}")]
    Refused(String),
    /// It could not be looked up, or not be made; may work later.
    #[error("{0}")]
    Failed(String),
}

/// Looks accounts up, and makes them.
pub trait Accounts: Send + Sync {
    /// There is an account of this name when it returns. Asked for again and again it does no more than once.
    fn ensure<'a>(&'a self, name: &'a Username) -> Boxed<'a, Result<(), AccountError>>;
}
