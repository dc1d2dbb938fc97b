//! All users' servers: limits, the registry of spawner actors, recovery after a restart.

pub mod client;
pub mod messages;

pub use client::Client;
pub use messages::{Ask, Begun, Event, Report, StartRefused, StopRefused, Trouble};
