//! How actors are kept alive. actix's own supervisor does not see panics, so this one is ours.
//!
//! [`start`] makes an actor and reports how it ended; [`window`] decides (pure) whether to restart; [`supervisor`]
//! does it for a fixed list of children; [`name`] is how others reach an actor that may have been restarted.

pub mod name;
pub mod start;

pub use name::{Name, Publisher, Unavailable, named};
pub use start::{Ended, Running, start};
