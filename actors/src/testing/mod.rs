//! Ports from memory, for tests (feature `testing`): what a test wants to happen is said beforehand, what happened is
//! asked afterwards. Every handle is cheap to clone and keeps its memory over "restarts" of who uses it.

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
pub use spawner::{ScriptedProbe, ScriptedSpawner};
