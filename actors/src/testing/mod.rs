//! Ports from memory, for tests (feature `testing`): what a test wants to happen is said beforehand, what happened is
//! asked afterwards. Every handle is cheap to clone and keeps its memory over "restarts" of who uses it.

use std::sync::Arc;

use crate::{
    domain::{Moment, User, UserId, Username},
    store::{self, Settings},
    supervise::{Supervision, Supervisor},
};

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

/// A store at work over this journal, on the current runtime. It ends with the supervision. A second one over the same
/// journal is what the hub is after a restart.
pub fn running_store(journal: &MemoryJournal) -> (store::Client, Supervision) {
    let (client, spec) = store::open(Box::new(journal.clone()), Settings::default())
        .expect("a journal from memory opens unless told otherwise");
    let entropy = Arc::new(SeededEntropy::new(1));
    (client, Supervisor::new("test", entropy).child(spec).start())
}
