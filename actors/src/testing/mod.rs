//! Ports from memory, for tests (feature `testing`): what a test wants to happen is said beforehand, what happened is
//! asked afterwards. Every handle is cheap to clone and keeps its memory over "restarts" of who uses it.

use crate::domain::{Moment, User, UserId, Username};

pub mod authenticator;
pub mod clock;
pub mod entropy;
pub mod journal;
pub mod routes;
pub mod spawner;

pub use authenticator::ScriptedAuthenticator;
pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use journal::MemoryJournal;
pub use routes::MemoryRoutes;
pub use spawner::{NextStart, ScriptedProbe, ScriptedSpawner};

/// A user of this name, of whom nothing else is known.
pub fn user(id: u64, name: &str) -> User {
    User {
        id: UserId(id),
        name: Username::new(name).expect("a test gives a valid name"),
        admin: false,
        created: Moment(0),
        last_activity: None,
        cookie_id: String::new(),
        user_info: None,
    }
}
