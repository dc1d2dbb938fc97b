//! What administrators tell everybody while the hub runs: an announcement, and maintenance with what it does to servers.

use serde::{Deserialize, Serialize};

use super::Moment;

/// A text on all pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Plain text; addresses in it become links.
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// Not shown from then on; none: until it is withdrawn.
    pub until: Option<Moment>,
    /// Whose it is: the name of a user or a service, as it was then.
    pub by: String,
    /// Since when.
    pub since: Moment,
}

impl Announcement {
    /// Is it shown at this moment?
    pub fn is_shown(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// How much an announcement matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    #[default]
    Info,
    /// Something will not go as usual.
    Warning,
}

/// No server is started while this is there, but for those who may end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// What people read, as plain text; may be empty.
    pub message: String,
    /// When it is expected to be over. It does not end by itself: work takes as long as it takes.
    pub until: Option<Moment>,
    /// Which servers are stopped; none: those that run go on.
    pub drain: Option<Drain>,
    /// Who has begun it: the name of a user or a service, as it was then.
    pub by: String,
    /// Since when.
    pub since: Moment,
}

/// Servers are stopped, and from when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Which.
    pub whom: Drained,
    /// Not before.
    pub from: Moment,
}

/// Which servers are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drained {
    /// Those nobody has used for so many seconds.
    Idle(u32),
    /// All of them.
    All,
}
