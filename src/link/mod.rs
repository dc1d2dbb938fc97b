//! The hub's ends of its links: to root (processes, passwords), to the proxy (routes).

pub mod proxy;
pub mod root;
