//! What the processes say about themselves: [`logs`]; [`events`], the catalogue of what stands in
//! them; [`metrics`], the numbers of the hub.

pub mod events;
pub mod logs;
pub mod metrics;

pub use logs::chain;
