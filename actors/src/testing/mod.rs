//! Ports from memory, for tests (feature `testing`): what a test wants to happen is said beforehand, what happened is
//! asked afterwards. Every handle is cheap to clone and keeps its memory over "restarts" of who uses it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    domain::{Moment, User, UserId, Username},
    logins::{Way, Ways},
    ports::Authenticator,
};

pub mod accounts;
pub mod authenticator;
pub mod clock;
pub mod entropy;
pub mod journal;
pub mod routes;
pub mod spawner;

pub use accounts::ScriptedAccounts;
pub use authenticator::{ScriptedAuthenticator, ScriptedRedirect};
pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use journal::MemoryJournal;
pub use routes::MemoryRoutes;
pub use spawner::{NextStart, ScriptedProbe, ScriptedSpawner};

/// This authenticator as the only way to sign in.
pub fn the_way(authenticator: Arc<dyn Authenticator>) -> Ways {
    Arc::new(ArcSwap::from_pointee(vec![Way::first(authenticator)]))
}

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
