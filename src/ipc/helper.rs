//! Root ↔ PAM helper: one question, one verdict.

use serde::{Deserialize, Serialize};

/// Root to helper; the password's pipe comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// PAM service, from root's configuration.
    pub service: String,
    /// As typed.
    pub user: String,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// Accounts below this number do not sign in, whatever PAM says.
    pub min_uid: u32,
    /// Groups of the machine of which it is to be said whether the account is in them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Is the name to be that which the account's number has?
    #[serde(default)]
    pub canonical: bool,
    /// Does the pipe hold a one-time code behind the password, with a NUL byte between?
    #[serde(default)]
    pub otp: bool,
}

/// Helper to root, passed on to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Password and account are good. The name is `PAM_USER` as the modules left it, or what [`Question::canonical`]
    /// makes of it.
    Accepted {
        /// Name to use from here on.
        user: String,
        /// Of the groups that were asked for, those that the account is in.
        #[serde(default)]
        groups: Vec<String>,
    },
    /// Not so: for the log.
    Refused {
        /// Which step said no: `authenticate`, `account`.
        step: String,
        /// PAM's code.
        code: i32,
        /// PAM's word for it, and what modules said.
        text: String,
    },
    /// The check itself failed: not "wrong password".
    Failed {
        /// What happened.
        text: String,
    },
    /// The helper did not answer in time and was killed (root's word, not the helper's).
    Timeout {
        /// The limit.
        seconds: u64,
    },
}
