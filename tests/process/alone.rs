//! `jovis proxy` in the place of configurable-http-proxy: whole processes, by bytes, section by section of
//! `spec/proxy.md`. Where the real one is installed (`.ci/install bench`) the same tables are asked of it too, so that
//! what we take for its behaviour is; where we differ on purpose the table says how.

mod jupyterhub;
mod processes;
mod rest;
mod stand;
mod traffic;

pub(crate) use stand::{Backend, Reply, ask, ports, rest_request};
