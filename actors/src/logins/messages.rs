//! What may come back from an attempt.

use std::time::Duration;

use thiserror::Error;

use crate::{
    ports::AccountError,
    supervise::{Quarantined, Unavailable},
};

/// Why nobody was signed in. The visitor hears one careful sentence for `Refused`, whatever the reason was.
#[derive(Debug, Clone, Error)]
pub enum SignInRefused {
    /// Wrong password, unknown, invalid, blocked, not allowed: the log knows which.
    #[error("invalid username or password")]
    Refused,
    /// A provider says who it is, and that user may not enter.
    #[error("{name} may not enter")]
    NotAllowed {
        /// As whom.
        name: crate::domain::Username,
    },
    /// Too many attempts of this name or from this address.
    #[error("too many attempts; try again in {} s", retry_after.as_secs())]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// Passwords cannot be checked now: too many at once, no answer, or the provider is down. Not "wrong password".
    #[error("sign-in is not possible at the moment: {0}")]
    Unable(String),
    /// There is no account of the machine for who may enter, or nobody can say. The authenticator has vouched for them, so
    /// they may know.
    #[error(transparent)]
    Account(AccountError),
    /// The user could not be recorded.
    #[error("the sign-in could not be recorded: {0}")]
    NotRecorded(String),
    /// Attempts under this name failed too often for reasons of ours.
    #[error(transparent)]
    Aside(#[from] Quarantined),
    /// The actor did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why nothing can be kept about a user (`auth_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeepRefused {
    /// It is not meant to be.
    #[error("auth_state is not kept: auth.enable_auth_state is off")]
    Off,
    /// The vault did not do it.
    #[error("auth_state cannot be encrypted")]
    Unsealed,
}

/// Sign in by name and password. Answered when the authenticator has, within its limit.
#[derive(Debug, actix::Message)]
#[rtype(result = "Result<std::sync::Arc<crate::domain::User>, SignInRefused>")]
pub(crate) struct Attempt(pub(crate) crate::ports::Credentials);

/// Ask after this user. False: they must sign in again.
#[derive(Debug, actix::Message)]
#[rtype(result = "bool")]
pub(crate) struct Renew(pub(crate) std::sync::Arc<crate::domain::User>);

/// Sign in somebody who comes back from a provider.
#[derive(Debug, actix::Message)]
#[rtype(result = "Result<std::sync::Arc<crate::domain::User>, SignInRefused>")]
pub(crate) struct Arrival {
    /// By which way.
    pub(crate) way: String,
    /// With what.
    pub(crate) back: crate::ports::Return,
}
