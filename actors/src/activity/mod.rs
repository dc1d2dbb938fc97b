//! Last activity: told often, kept in memory, written together every `activity_resolution` (a crash may lose so much
//! of it and nothing else).
//!
//! [`client`] notes (a locked map, never a queue), [`actor`] writes, [`pending`] is what lies between them: pure.

pub mod actor;
pub mod client;
pub mod pending;

#[cfg(test)]
mod tests;

pub use actor::Actor;
pub use client::{Client, Notes};
