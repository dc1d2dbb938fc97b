//! What time is it?

use std::time::Instant;

use crate::domain::Moment;

/// The two clocks. Waiting is tokio's business (which tests can pause); this is for stamps and comparisons.
pub trait Clock: Send + Sync {
    /// The wall clock: for records.
    fn moment(&self) -> Moment;
    /// The monotonic clock: for spans.
    fn instant(&self) -> Instant;
}
