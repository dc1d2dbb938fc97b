//! All users' servers: limits ([`admit`], pure), who waits for room ([`queue`], pure), the registry of spawner actors and recovery after a restart
//! ([`actor`]), the door ([`client`]).

pub mod actor;
pub mod admit;
pub mod client;
#[cfg(test)]
pub(crate) mod doubles;
pub mod messages;
pub mod queue;
pub mod reconcile;
#[cfg(test)]
mod tests;

pub use actor::Actor;
pub use admit::{Limits, admit_in};
pub use client::Client;
pub use messages::{Ask, Begun, Event, Report, StartRefused, StopAsk, StopRefused, Trouble};
pub use queue::Place;
