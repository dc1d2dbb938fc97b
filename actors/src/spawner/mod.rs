//! One user's servers, each a state machine. Begin with [`machine`].

pub mod machine;
pub mod restart;

pub use restart::Restart;
