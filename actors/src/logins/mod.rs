//! Attempts to sign in: throttle, authenticate, normalise, allow, make or update the user.

pub mod client;
pub mod messages;

pub use client::Client;
pub use messages::SignInRefused;
