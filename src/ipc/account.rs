//! Root ↔ account helper: is there an account of this name on this machine, and may it be made? One question, one
//! finding, which the hub hears.

use serde::{Deserialize, Serialize};

/// Root to helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountQuestion {
    /// The account's name.
    pub name: String,
    /// Accounts below this number are the system's.
    pub min_uid: u32,
    /// How it is made where it is missing; none: it is not.
    pub make: Option<Make>,
}

/// How an account is made: all of it root's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Make {
    /// Program and arguments, the name among them.
    pub argv: Vec<String>,
    /// The number it must have; none: any from `min_uid` on.
    pub uid: Option<u32>,
    /// Permissions of its home folder.
    pub home_mode: u32,
}

/// Helper to root, and root to hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It is there.
    Exists {
        /// Its number.
        uid: u32,
    },
    /// It has been made.
    Made {
        /// Its number.
        uid: u32,
        /// What is not right about its home folder.
        flaw: Option<String>,
    },
    /// There is none, and none is made.
    Missing,
    /// This name will not do: it is the system's, or none that an account can have. The text is for people.
    Refused {
        /// Why.
        text: String,
    },
    /// Nobody can say, or it could not be made. The text is for the log.
    Failed {
        /// What happened.
        text: String,
    },
}
