//! Attempts to sign in: throttle, authenticate, normalise, allow, make or update the user.
//!
//! [`throttle`] and [`allow`] are pure; [`actor`] puts them in order; [`client`] is the door.

pub mod actor;
pub mod allow;
pub mod client;
pub mod messages;
pub mod throttle;

#[cfg(test)]
mod tests;

pub use actor::{Actor, Settings};
pub use allow::Rules;
pub use client::Client;
pub use messages::SignInRefused;
