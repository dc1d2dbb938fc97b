//! Which path prefix leads to which server: wanted routes come from the records, and every proxy is made to agree.
//!
//! [`diff`] compares (pure), [`actor`] keeps the wanted table and one reconciling loop per sink, [`client`] is the door.
//! The hub itself has no route: a proxy sends to it whatever has none.

pub mod actor;
pub mod client;
pub mod diff;
pub mod messages;
mod sink;

#[cfg(test)]
mod tests;

pub use actor::{Actor, Settings};
pub use client::Client;
pub use messages::{RouteError, SinkId};
