use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

/// How people sign in and who may.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The authenticator: `Pam(..)` or `Dummy(..)`.
    pub class: AuthClass,
    /// Further ways to sign in, beside `class`: the sign-in page shows them all. Each is a `(name: .., prefix: .., class: ..)`.
    pub others: Vec<OtherAuth>,
    /// Send visitors to the provider at once, where that is the only way to sign in.
    pub auto_login: bool,
    /// In place of the sign-in form: a template of HTML, with `login_url`, `action`, `xsrf`, `username`, `login_error`, `next`.
    pub custom_html: String,
    /// Everybody who can be authenticated may sign in (except blocked users).
    pub allow_all: bool,
    /// Who may sign in. With no allow rule at all, PAM and dummy let everybody in, and say so in the log.
    #[serde(alias = "whitelist")]
    pub allowed_users: BTreeSet<String>,
    /// Users already known to the hub may sign in. Unset: true exactly when `allowed_users` is set.
    pub allow_existing_users: Option<bool>,
    /// Who may not, whatever else says so.
    pub blocked_users: BTreeSet<String>,
    /// Who is an administrator (and so may sign in). Taking a name out does not revoke.
    pub admin_users: BTreeSet<String>,
    /// Other names for some users, looked up after lower-casing.
    pub username_map: BTreeMap<String, String>,
    /// Make an account on this machine for a new user who has none. Not built yet: make accounts by hand.
    pub create_system_users: bool,
}

/// A further way to sign in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherAuth {
    /// What the sign-in page calls it.
    pub name: String,
    /// Put before the names it vouches for: the same name at two providers need not be the same person. Empty: it is.
    pub prefix: String,
    /// The authenticator: `Pam(..)` or `Dummy(..)`.
    pub class: AuthClass,
}

impl Auth {
    /// All authenticators, the first one first.
    pub fn classes(&self) -> impl Iterator<Item = &AuthClass> {
        std::iter::once(&self.class).chain(self.others.iter().map(|other| &other.class))
    }

    /// PAM, if it is one of them.
    pub fn pam(&self) -> Option<&Pam> {
        self.classes().find_map(|class| match class {
            AuthClass::Pam(pam) => Some(pam),
            AuthClass::Dummy(_) => None,
        })
    }
}

/// The authenticator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AuthClass {
    /// Unix accounts, by PAM.
    Pam(Pam),
    /// Any name. For trying things out, on loopback only.
    Dummy(Dummy),
}

impl Default for AuthClass {
    fn default() -> Self {
        Self::Pam(Pam::default())
    }
}

/// Unix accounts, by PAM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pam {
    /// The PAM service: the file in /etc/pam.d.
    pub service: String,
    /// Seconds a check may take; then its process is killed.
    pub timeout: Seconds,
    /// Checks at once; further ones wait, at most as long as a check may take.
    pub concurrency: u16,
}

impl Default for Pam {
    fn default() -> Self {
        Self { service: "login".to_owned(), timeout: Seconds::new(30), concurrency: 16 }
    }
}

/// Any name.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dummy {
    /// The password of all. Empty: any password.
    pub password: String,
    /// Allow listening on other addresses than loopback.
    pub allow_remote: bool,
}

impl fmt::Debug for Dummy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dummy")
            .field("password", &"***")
            .field("allow_remote", &self.allow_remote)
            .finish()
    }
}
