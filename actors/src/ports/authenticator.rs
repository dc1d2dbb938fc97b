//! Who is it?

use std::net::IpAddr;

use thiserror::Error;

use super::Boxed;
use crate::domain::Secret;

/// What came in at the sign-in form.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// As typed, blanks at the ends dropped.
    pub username: String,
    /// As typed.
    pub password: Secret,
    /// Who asks, for PAM's `rhost` and the throttle.
    pub from: Option<IpAddr>,
}

/// Somebody an authenticator vouches for. The name is not normalised yet: `logins` does that, once, for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// As the authenticator knows it.
    pub name: String,
    /// `Some` sets or revokes admin; `None` leaves it.
    pub admin: Option<bool>,
    /// Shown as `user_info`.
    pub user_info: Option<serde_json::Value>,
}

/// Why nobody came in.
#[derive(Debug, Clone, Error)]
pub enum LoginError {
    /// Wrong name or password, locked, expired: the visitor hears one careful sentence. The text is for the log.
    #[error("refused: {0}")]
    Refused(String),
    /// The provider did not answer in time.
    #[error("the authenticator did not answer within {0} s")]
    Timeout(u64),
    /// Too many at once; try again.
    #[error("too many sign-ins are being checked")]
    Busy,
    /// The provider is down or broken. The text is for the log.
    #[error("the authenticator failed: {0}")]
    Failed(String),
}

/// Is a person still who they were?
#[derive(Debug, Clone, PartialEq)]
pub enum Refresh {
    /// Nothing changed, or the authenticator cannot tell.
    Same,
    /// These are the facts now.
    Changed(Identity),
    /// Must sign in again.
    Expired,
}

/// Checks passwords.
pub trait Password: Send + Sync {
    /// Who do these credentials belong to?
    fn check<'a>(&'a self, credentials: &'a Credentials)
    -> Boxed<'a, Result<Identity, LoginError>>;
}

/// How people sign in. An authenticator is asked for its flow, never cast to one. (Redirects come with GitHub and OIDC.)
#[non_exhaustive]
pub enum Flow<'a> {
    /// A form with name and password.
    Password(&'a dyn Password),
}

/// A way to sign in.
pub trait Authenticator: Send + Sync {
    /// How.
    fn flow(&self) -> Flow<'_>;
    /// Still who they were?
    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>>;
}
