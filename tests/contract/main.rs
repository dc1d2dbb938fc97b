//! What every implementation of a port must do, whatever it is made of. A suite is one function, generic over a small
//! world in which the implementation lives; each implementation is a line at the end of its file.
//!
//! | file | port | held to it |
//! |---|---|---|
//! | `store.rs` | `Journal` | disk, memory |
//! | `authenticator.rs` | `Authenticator` | PAM (root by script, real helper), dummy, scripted |
//! | `spawner.rs` | `Spawner` | local processes, containers (`docker.rs`, `docker_faults.rs`), scripted |
//! | `routes.rs` | `RouteSink` | the link to a proxy (in-test peer, real proxy), memory |
//!
//! The disk under `Journal` has files of its own: `anomalies.rs` (the k-th call fails, for all k), `power.rs` (power
//! cuts), `damage.rs` (files that were cut, altered, lost), `memory.rs` (none left); `shim.rs` and `shim.c` stand between a child and its disk.
//!
//! `root.rs` is what the hub's side of PAM and local processes talks to.

#[path = "../support/mod.rs"]
pub mod support;

#[cfg(feature = "faults")]
mod anomalies;
mod authenticator;
#[cfg(feature = "faults")]
mod damage;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "docker")]
mod docker_faults;
#[cfg(feature = "faults")]
mod memory;
#[cfg(feature = "faults")]
mod power;
mod root;
mod routes;
#[cfg(feature = "faults")]
mod shim;
mod spawner;
mod store;
