//! Role hub: puts everything together and keeps it going.
//!
//! [`boot`] is the order of birth and death; [`registry`] turns configuration into an authenticator and a spawner;
//! `sync` makes roles and records what the
//! configuration wants; `services` keeps managed services running; `control` answers
//! operators; [`settings`] turns it into what the actors need; [`world`] is clock and random numbers.

pub mod boot;
mod control;
#[cfg(feature = "faults")]
mod faults;
pub mod registry;
mod reload;
mod services;
pub mod settings;
mod sync;
pub mod threads;
mod vault;
pub mod world;

pub use boot::{main, trial};
