//! How actors are kept alive. actix's own supervisor does not see panics, so this one is ours.
//!
//! [`start`](mod@start) makes an actor and reports how it ended; [`window`] decides (pure) whether to restart; [`supervisor`]
//! does it for a fixed list of children, each described by a [`spec`]; [`name`] is how others reach an actor that may
//! have been restarted. An actor that could die over the same input again and again puts it in [`quarantine`].
//! How they are doing stands in their
//! [`health`]. Every [`message`] passes a point where tests can make its actor fail ([`faults`]).
//!
//! To put an actor under supervision: make its name with [`named`], give the publisher to [`ChildSpec::actor`], the
//! name to its client, and the spec to a [`Supervisor`]. A child that is not an actor is a [`ChildSpec::task`]. Who
//! owns a changing number of actors uses [`start`](fn@start) and [`window::Window`] directly.

pub mod faults;
pub mod health;
pub mod message;
pub mod name;
pub mod quarantine;
pub mod spec;
pub mod start;
pub mod supervisor;
pub mod window;

pub use health::{Chart, Health};
pub use message::On;
pub(crate) use message::handles;
pub use name::{Name, Publisher, Unavailable, named};
pub use quarantine::{Pass, Quarantine, Quarantined};
pub use spec::{Alive, ChildSpec, Restart};
pub use start::{Ended, Quit, QuitSignal, Running, quit, start};
pub(crate) use start::{caught, how_it_ended};
pub use supervisor::{Escalated, Supervision, Supervisor};
pub use window::Limits;
