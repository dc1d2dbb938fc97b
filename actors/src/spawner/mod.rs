//! One user's servers, each a state machine.
//!
//! Begin with [`machine`] (a server's life, drawn), then [`actor`] (carries it out). [`restart`] decides about new
//! starts, [`env`] what a server finds in its environment, [`progress`] what people see. What the steps write is decided
//! by [`crate::accounts::servers`].

pub mod actor;
mod acts;
pub mod env;
pub mod machine;
pub mod messages;
pub mod progress;
pub mod restart;
pub mod ward;

pub use crate::domain::Facts;
pub use actor::{Actor, Kit};
pub use env::Settings;
pub use progress::Board;
pub use restart::Restart;
pub use ward::Ward;
