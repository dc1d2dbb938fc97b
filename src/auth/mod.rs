//! Ways to sign in, each behind the port [`jovis_actors::ports::Authenticator`].
//!
//! To add one: a file here; its section in `config/sections/` and a variant of `AuthClass`; its line in
//! `hub/registry.rs`; a feature in `Cargo.toml` if it brings a dependency; a line in the contract suite; an example.

pub mod absent;
pub mod dummy;
#[cfg(feature = "oidc")]
pub mod oauth;
pub mod pam;
