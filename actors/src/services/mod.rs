//! Managed services: programs the hub starts and keeps running, known by name instead of by user.
//!
//! | file | what it is |
//! |---|---|
//! | [`keep`] | what is to be done, from what is wanted and what runs: pure |
//! | [`env`] | what a service finds in its environment: pure |
//!
//! A user's server lives by [`crate::spawner::machine`], whose every step is recorded, because people wait for it. Nobody
//! waits for a service: what is wanted stands in the configuration, what runs in root's table, which outlives the hub.
//! So there is no record of its life, and starting is comparing: a new hub finds what runs and goes on from there.

pub mod env;
pub mod keep;
