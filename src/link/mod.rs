//! The hub's ends of its links: to root (processes, passwords, accounts), to the proxy (routes).

pub mod accounts;
pub mod proxy;
pub mod root;
