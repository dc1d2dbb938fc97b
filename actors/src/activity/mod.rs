//! Last activity: told often, kept in memory, written together every `activity_resolution` (a crash may lose so much
//! of it and nothing else).

pub mod client;

pub use client::Client;
