//! Who is it?

use std::net::IpAddr;

use thiserror::Error;

use super::Boxed;
use crate::domain::{Secret, Subject};

/// What came in at the sign-in form.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Which way in: its name; empty for the first.
    pub way: String,
    /// As typed, blanks at the ends dropped.
    pub username: String,
    /// As typed.
    pub password: Secret,
    /// A one-time code, where the form has a field for one.
    pub otp: Option<Secret>,
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
    /// Who it is for a provider, whatever the name is.
    pub subject: Option<Subject>,
    /// A rule of the authenticator's own lets them in.
    pub allowed: bool,
    /// The groups they are in there; none: nothing is known of that.
    pub groups: Option<Vec<String>>,
    /// Of the groups that rules name, those of the machine that the account is in; none: it is no account of the machine.
    pub unix_groups: Option<Vec<String>>,
    /// What it needs to ask after them later (`auth_state`): a JSON object.
    pub auth_state: Option<Secret>,
}

impl Identity {
    /// A name, and nothing else is known.
    pub fn named(name: String) -> Self {
        Self {
            name,
            admin: None,
            user_info: None,
            subject: None,
            allowed: false,
            groups: None,
            unix_groups: None,
            auth_state: None,
        }
    }
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
    /// What the form calls its field for a one-time code; none: it has none.
    fn otp(&self) -> Option<&str> {
        None
    }
    /// Who do these credentials belong to?
    fn check<'a>(&'a self, credentials: &'a Credentials)
    -> Boxed<'a, Result<Identity, LoginError>>;
}

/// A browser that is sent to a provider. (OAuth 2: RFC 6749 4.1, RFC 7636.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Where it is to come back to, whole.
    pub callback: String,
    /// Comes back with it, unchanged.
    pub state: String,
    /// SHA-256 of a secret that only we and the browser know, base64url: whoever redeems the code has to have it.
    pub challenge: String,
}

/// A browser that comes back.
#[derive(Debug, Clone)]
pub struct Return {
    /// As it was at its departure.
    pub callback: String,
    /// The secret behind [`Departure::challenge`].
    pub verifier: Secret,
    /// What the provider sent along. `state` has been compared already.
    pub query: Vec<(String, String)>,
    /// Who asks.
    pub from: Option<IpAddr>,
}

/// Sends people to a provider, who vouches for them.
pub trait Redirect: Send + Sync {
    /// What people call the provider: "GitHub".
    fn service(&self) -> &str;
    /// Who vouches: the issuer of all its subjects.
    fn issuer(&self) -> &str;
    /// Where the browser is to come back to, whole; empty: where the hub sees itself.
    fn callback(&self) -> &str {
        ""
    }
    /// Where people go after signing out here; empty: nowhere else.
    fn farewell(&self) -> &str {
        ""
    }
    /// Where the browser goes.
    fn depart<'a>(&'a self, departure: &'a Departure) -> Boxed<'a, Result<String, LoginError>>;
    /// Who came back?
    fn arrive<'a>(&'a self, back: &'a Return) -> Boxed<'a, Result<Identity, LoginError>>;
}

/// How people sign in. An authenticator is asked for its flow, never cast to one.
pub enum Flow<'a> {
    /// A form with name and password.
    Password(&'a dyn Password),
    /// A provider elsewhere.
    Redirect(&'a dyn Redirect),
}

/// A way to sign in.
pub trait Authenticator: Send + Sync {
    /// How.
    fn flow(&self) -> Flow<'_>;
    /// Still who they were?
    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>>;
}
