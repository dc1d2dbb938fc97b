//! What came of a reload, for the log, for `jovis reload` and for `jovis status`.

use serde::{Deserialize, Serialize};

/// What a role made of a new configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Which reload root asked for.
    pub serial: u64,
    /// What the role could not take on and keeps as it was, in words.
    pub kept: Vec<String>,
}

/// What came of a reload in all roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// When it was over, in seconds since 1970.
    pub at: u64,
    /// Nothing was changed: [`ReloadReport::findings`] says why.
    pub refused: bool,
    /// All that is wrong; or, of a reload that was not refused, what a role could not take on.
    pub findings: Vec<String>,
    /// Settings that took effect.
    pub applied: Vec<String>,
    /// Settings that hold for servers that start from now on.
    pub next_start: Vec<String>,
    /// Settings that took effect by another socket or certificate.
    pub rebound: Vec<String>,
    /// Settings that stay as they were until jovis is started anew.
    pub needs_restart: Vec<String>,
}
