//! JSON shapes under their wire names, made from domain values (`spec/rest-api.md` 2). The names and quirks are
//! JupyterHub's and live nowhere else.

pub(crate) mod group;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod share;
pub(crate) mod time;
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod user;
