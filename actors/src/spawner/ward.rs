//! What outlives the users' spawner actors: how they are doing, and what they died of.

use std::time::Duration;

use crate::supervise::{Chart, Quarantine};

/// A server's event or act that its actor died of three times is put aside so long.
const ASIDE: Duration = Duration::from_secs(300);

/// Clones share it.
#[derive(Debug, Clone)]
pub struct Ward {
    /// How they are doing, all together.
    pub chart: Chart,
    /// What is put aside, as `user/server: what`.
    pub inputs: Quarantine<String>,
}

impl Default for Ward {
    fn default() -> Self {
        Self { chart: Chart::of_many("spawner"), inputs: Quarantine::new("spawner", ASIDE) }
    }
}
