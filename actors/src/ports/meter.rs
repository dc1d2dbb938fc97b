//! What a server takes now, as far as whoever runs it can tell.

use crate::{domain::OrderId, usage::Usage};

/// Where the last measurement lies. Asking costs nothing and waits for nobody.
///
/// It is beside [`Spawner`](super::Spawner) and no part of it: one that runs servers elsewhere may have its own, or none.
pub trait Meter: Send + Sync {
    /// What the server of this order took when it was last measured; none: not measured (yet).
    fn usage(&self, order: &OrderId) -> Option<Usage>;
}
