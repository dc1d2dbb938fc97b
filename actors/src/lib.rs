//! What the hub decides.
//!
//! This package has no socket, file, process, wall clock or random number of its own: it asks a port
//! (a trait) or is told. Cargo keeps it so: nothing that does I/O is among its dependencies.
//!
//! Reading order: [`tree`] (who supervises whom, one page), [`spawner::machine`] (one server's life, drawn),
//! [`domain`] (the values), [`ports`] (what the deciders need from the world), [`supervise`] (how an actor is
//! kept alive), then whichever actor you came for.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | values and pure rules: names, users, servers, tokens, scopes |
//! | [`ports`] | traits the outside implements: journal, authenticator, spawner, route sink, clock, entropy |
//! | [`supervise`] | child specs, restarts with backoff, names that survive restarts |
//! | [`store`] | the one writer: decides on an image, journals, publishes |
//! | [`accounts`] | rules for changing users, tokens and OAuth clients, as decisions for the store |
//! | [`logins`] | attempts to sign in: throttle, authenticate, allow, make the user |
//! | [`spawner`] | one actor per user: a state machine per server of that user |
//! | [`spawners`] | all of them: limits, registry, recovery |
//! | [`routes`] | wanted routes, reconciled with every proxy |
//! | [`activity`] | last activity in, grouped, written seldom |
//! | [`services`] | managed services (thin so far) |
//! | [`janitor`] | removes what has expired |
//! | [`tree`] | the supervision tree |
//! | `testing` | memory ports for tests (feature `testing`) |

pub mod accounts;
pub mod activity;
pub mod domain;
pub mod janitor;
pub mod logins;
pub mod ports;
pub mod routes;
pub mod services;
pub mod spawner;
pub mod spawners;
pub mod store;
pub mod supervise;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;
