//! What every implementation of a port must do, whatever it is made of. A suite is one function, generic over a small
//! world in which the implementation lives; each implementation is a line at the end of its file.
//!
//! | file | port | held to it |
//! |---|---|---|
//! | `store.rs` | `Journal` | disk, memory |
//! | `authenticator.rs` | `Authenticator` | PAM (root by script, real helper), dummy, scripted |
//! | `spawner.rs` | `Spawner` | local processes, scripted |
//! | `routes.rs` | `RouteSink` | the link to a proxy (in-test peer, real proxy), memory |
//!
//! `root.rs` is what the hub's side of PAM and local processes talks to.

#[path = "../support/mod.rs"]
pub mod support;

mod authenticator;
mod root;
mod routes;
mod spawner;
mod store;
