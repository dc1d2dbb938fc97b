//! Messages between processes: one JSON datagram each over `SOCK_SEQPACKET`, at most [`frame::LIMIT`] bytes, with
//! descriptors beside them. What can grow goes as JSON in a sealed memfd whose descriptor the datagram carries.
//!
//! Every link opens with [`Hello`]; another version ends it. Every request has an id and every answer repeats it;
//! events have none. [`frame`] is the envelope, one file per link holds its vocabulary.
//!
//! To add a message: a variant in the vocabulary, its arm in `root/policy.rs` (or in the receiving role), a row in
//! the test of that file; raise [`VERSION`] if an older peer would misunderstand.

use serde::{Deserialize, Serialize};

pub mod account;
pub mod control;
pub mod frame;
pub mod helper;
pub mod proxy;
pub mod reload;
pub mod root;

/// Raised when an older peer would misunderstand.
pub const VERSION: u32 = 1;

/// First message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// Who speaks: `root`, `hub`, `proxy`.
    pub role: String,
    /// Version of the program, for the log.
    pub build: String,
}

/// A message with the id that ties answers to requests (none: an event).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// The request's number, repeated by the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What is said.
    #[serde(rename = "m")]
    pub message: M,
}
