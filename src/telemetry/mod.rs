//! What the processes say about themselves: [`logs`].

pub mod logs;

pub use logs::chain;
