//! Attempts to sign in: throttle, authenticate, normalise, allow, make or update the user.
//!
//! [`ways`] says which ways to sign in there are. [`throttle`] and [`allow`] are pure; [`actor`] puts them in order, `verdict` reads what an
//! authenticator says, `enter` makes a user of it, `renew` asks after people later; [`client`] is the door.

pub mod actor;
pub mod allow;
pub mod client;
mod enter;
pub mod messages;
mod renew;
pub mod throttle;
mod verdict;
pub mod ways;

#[cfg(test)]
mod tests;

pub use actor::{Actor, Settings};
pub use allow::Rules;
pub use client::Client;
pub use messages::{KeepRefused, SignInRefused};
pub use renew::Standings;
pub use ways::{Offer, OfferKind, Way, Ways};
