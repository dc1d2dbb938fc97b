//! What the processes say about themselves: [`logs`], and [`events`], the catalogue of what stands in them.

pub mod events;
pub mod logs;

pub use logs::chain;
