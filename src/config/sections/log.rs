use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is logged, how and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter like `info,jovis::proxy=debug`.
    pub level: String,
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// Where to. Empty: standard error. With `Journald` only where there is no journal.
    pub file: PathBuf,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, file: PathBuf::new() }
    }
}

/// Lines for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// To systemd's journal, with fields of their own.
    Journald,
}
