//! What the hub does: sockets, disk, processes, HTTP, PAM. What it decides is in [`jovis_actors`].
//!
//! One binary, four roles, chosen by the first argument before any thread exists: [`root`] (the parent of everything,
//! started by people through [`cli`] and [`run`]), [`hub`], [`proxy`], [`helper`].
//!
//! | module | what it is | imports |
//! |---|---|---|
//! | [`os`] | the operating system; the only `unsafe` | |
//! | [`ipc`] | messages between processes | `os` |
//! | [`channel`] | a link between processes, for roles with a runtime | `ipc` |
//! | [`config`] | the file, its checks, the slice of each role | |
//! | [`telemetry`] | logs | `config` |
//! | `fetch` | one request to a provider or an authority, one answer | `config` |
//! | [`root`], [`helper`] | privilege; one thread, no runtime | `ipc`, `os`, `config` |
//! | [`proxy`] | every byte of every user | `channel`, `config` |
//! | [`link`] | the hub's ends of its links | `channel` |
//! | [`store`], [`auth`], [`spawn`] | the ports of the actors, for real | `link`, `config` |
//! | [`web`] | HTTP as JupyterHub speaks it | `config`, actors' clients |
//! | [`hub`] | puts all together | all of the above |
//!
//! Which module may import which is a table in `tests/layering.rs`.

pub mod auth;
mod broken;
pub mod channel;
pub mod cli;
pub mod config;
mod fetch;
pub mod helper;
pub mod hub;
pub mod ipc;
pub mod link;
pub mod os;
pub mod proxy;
pub mod root;
mod run;
pub mod spawn;
pub mod store;
pub mod telemetry;
pub mod web;

pub use run::{resumed, run};
