use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jovis_actors::domain::{Naming, Seconds};
use serde::{Deserialize, Serialize};

use super::providers::{GitHub, Oidc};

/// How people sign in and who may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The authenticator: `Pam(..)`, `GitHub(..)`, `Oidc(..)` or `Dummy(..)`.
    pub class: AuthClass,
    /// Further ways to sign in, beside `class`: the sign-in page shows them all. Each is a `(name: .., prefix: .., class: ..)`.
    pub others: Vec<OtherAuth>,
    /// Send visitors to the provider at once, where that is the only way to sign in.
    pub auto_login: bool,
    /// The same for visitors whom a server or a service sends here to sign in, even where `auto_login` is not set.
    pub auto_login_oauth2_authorize: bool,
    /// What people read whom their provider vouches for and no rule lets in; `{name}` in it becomes their name. Empty: a
    /// sentence of ours.
    pub custom_403_message: String,
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
    /// Are users in exactly the groups that their authenticator says, each time they sign in? (GitHub: organisations, and
    /// teams as `organisation:team`. OpenID: `groups_claim`.) Groups that are new are made.
    pub manage_groups: bool,
    /// Who is in one of these may sign in: of a provider's people, by its groups, which needs `manage_groups`; with PAM by
    /// the groups of this machine that the account is in, as it signs in.
    pub allowed_groups: BTreeSet<String>,
    /// Who is in one of these is an administrator, and who is in none is not, unless named in `admin_users`. Whose groups:
    /// as for `allowed_groups`.
    pub admin_groups: BTreeSet<String>,
    /// Keep what a provider gives us to act for a person (tokens), sealed with the first key of the variable
    /// `JUPYTERHUB_CRYPT_KEY`? Without it nobody is asked after between two sign-ins. The server of a user gets of it what
    /// `spawner.auth_state_environment` says, and who holds the scope `admin:auth_state` can read it.
    pub enable_auth_state: bool,
    /// Seconds after which a provider is asked again whether somebody is still who they were, when they come. 0: never.
    pub auth_refresh_age: Seconds,
    /// Ask a provider before each start of a server, too, whether its user is still who they were, also where
    /// `auth_refresh_age` is 0? Who has to sign in again gets no server until then. Unset: where `enable_auth_state` is set.
    pub refresh_pre_spawn: Option<bool>,
    /// Seconds for which people stay signed in whose provider cannot be asked after them. Nobody new comes in meanwhile.
    pub auth_refresh_grace: Seconds,
    /// Other names for some users, looked up after lower-casing.
    pub username_map: BTreeMap<String, String>,
    /// A regular expression that the whole of each name must fit, after `username_map`: of who signs in, and of who is
    /// added. Empty: any. Users whom the hub knows stay, and cannot sign in while theirs does not fit.
    pub username_pattern: String,
    /// Make an account on this machine for whoever is let in and has none, also for users that an administrator adds.
    /// Deleting a user never removes an account. Needs root.
    pub create_system_users: bool,
    /// The command that makes an account, a program by its whole path and its arguments; no shell is involved.
    /// `USERNAME` in it becomes the name, `--uid N` follows where `uids` has one, then the name.
    pub add_user_cmd: Vec<String>,
    /// Numbers for some accounts to be made.
    pub uids: BTreeMap<String, u32>,
    /// Permissions of the home folder of an account that was made, in octal: 0700, 0710, 0711, 0750, 0751 or 0755.
    pub home_mode: String,
}

impl Default for Auth {
    fn default() -> Self {
        let cmd = ["/usr/sbin/useradd", "--create-home", "--shell", "/bin/bash"];
        Self {
            class: AuthClass::default(),
            others: Vec::new(),
            auto_login: false,
            auto_login_oauth2_authorize: false,
            custom_403_message: String::new(),
            custom_html: String::new(),
            allow_all: false,
            allowed_users: BTreeSet::new(),
            allow_existing_users: None,
            blocked_users: BTreeSet::new(),
            admin_users: BTreeSet::new(),
            manage_groups: false,
            allowed_groups: BTreeSet::new(),
            admin_groups: BTreeSet::new(),
            enable_auth_state: false,
            auth_refresh_age: Seconds::new(300),
            refresh_pre_spawn: None,
            auth_refresh_grace: Seconds::new(24 * 3600),
            username_map: BTreeMap::new(),
            username_pattern: String::new(),
            create_system_users: false,
            add_user_cmd: cmd.map(ToOwned::to_owned).into(),
            uids: BTreeMap::new(),
            home_mode: "0700".to_owned(),
        }
    }
}

/// What `home_mode` may be: the owner everything, others no writing.
const HOME_MODES: [u32; 6] = [0o700, 0o710, 0o711, 0o750, 0o751, 0o755];

/// A further way to sign in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherAuth {
    /// What the sign-in page calls it.
    pub name: String,
    /// Put before the names it vouches for: the same name at two providers need not be the same person. Empty: it is.
    pub prefix: String,
    /// The authenticator: `Pam(..)`, `GitHub(..)`, `Oidc(..)` or `Dummy(..)`.
    pub class: AuthClass,
}

impl Auth {
    /// All authenticators, the first one first.
    pub fn classes(&self) -> impl Iterator<Item = &AuthClass> {
        std::iter::once(&self.class).chain(self.others.iter().map(|other| &other.class))
    }

    /// Is there a rule that lets somebody in? (`admin_users` is none: it makes administrators.)
    pub fn has_allow_rule(&self) -> bool {
        self.allow_all
            || !self.allowed_users.is_empty()
            || self.allow_existing_users == Some(true)
            || !self.allowed_groups.is_empty()
    }

    /// Are all ways such that everybody they know may sign in, where there is no rule? PAM and dummy are.
    pub fn is_open(&self) -> bool {
        self.classes().all(|class| matches!(class, AuthClass::Pam(_) | AuthClass::Dummy(_)))
    }

    /// May everybody sign in because nobody said who may?
    pub fn lets_everybody_in(&self) -> bool {
        self.is_open() && !self.has_allow_rule()
    }

    /// The home folder's permissions; for its owner alone where the setting is none of those it may be.
    pub fn home_mode(&self) -> u32 {
        self.valid_home_mode().unwrap_or(0o700)
    }

    /// The same; none: the setting is something else.
    pub fn valid_home_mode(&self) -> Option<u32> {
        let mode = u32::from_str_radix(&self.home_mode, 8).ok()?;
        HOME_MODES.contains(&mode).then_some(mode)
    }

    /// Groups of which it is asked whether somebody is in them.
    pub fn groups(&self) -> BTreeSet<&String> {
        self.allowed_groups.union(&self.admin_groups).collect()
    }

    /// Whose name each is.
    ///
    /// # Errors
    ///
    /// `username_pattern` is no regular expression. In words.
    pub fn naming(&self) -> Result<Naming, String> {
        Naming::new(&self.username_map, &self.username_pattern)
    }

    /// PAM, if it is one of them.
    pub fn pam(&self) -> Option<&Pam> {
        self.classes().find_map(|class| match class {
            AuthClass::Pam(pam) => Some(pam),
            AuthClass::Dummy(_) | AuthClass::GitHub(_) | AuthClass::Oidc(_) => None,
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
    /// People of GitHub.
    GitHub(GitHub),
    /// People of a provider of OpenID Connect.
    Oidc(Oidc),
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
    /// Is the user's name that which the account's number has, whatever was typed? Where several names lead to one account,
    /// as with some directories. Who has no account does not sign in then.
    pub pam_normalize_username: bool,
    /// Has the sign-in form a field for a one-time code? PAM's first question is answered with the password then, the second
    /// with the code, and a third is refused. Otherwise each question is answered with the password.
    pub request_otp: bool,
    /// What the field is called.
    pub otp_prompt: String,
}

impl Default for Pam {
    fn default() -> Self {
        Self {
            service: "login".to_owned(),
            timeout: Seconds::new(30),
            concurrency: 16,
            pam_normalize_username: false,
            request_otp: false,
            otp_prompt: "OTP:".to_owned(),
        }
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
