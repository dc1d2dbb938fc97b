//! What the hub does: sockets, disk, processes, HTTP, PAM. What it decides is in `jovis-actors`.

pub mod channel;
pub mod config;
pub mod ipc;
pub mod os;
