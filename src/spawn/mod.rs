//! Ways to run servers, each behind the port [`jovis_actors::ports::Spawner`].
//!
//! To add one: a file here; its section in `config/sections/spawner.rs` and a variant of `SpawnerClass`; its line in
//! `hub/registry.rs`; a feature in `Cargo.toml` if it brings a dependency; a line in the contract suite; an example.

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "docker")]
pub mod either;
pub mod listeners;
pub mod local;
pub mod output;
pub mod probe;
pub mod processes;
pub mod usage;
