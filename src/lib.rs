//! What the hub does: sockets, disk, processes, HTTP, PAM. What it decides is in `jovis-actors`.

pub mod auth;
pub mod channel;
pub mod cli;
pub mod config;
pub mod hub;
pub mod ipc;
pub mod link;
pub mod os;
pub mod spawn;
pub mod store;
pub mod telemetry;
pub mod proxy;
