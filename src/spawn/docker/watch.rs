//! Who waits for the end of which order. The engine's stream of events rings for them; whether it has really ended each
//! asks by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jovis_actors::domain::OrderId;
use tokio::sync::watch;

/// All who wait.
#[derive(Debug, Default)]
pub struct Bells(Mutex<HashMap<OrderId, watch::Sender<()>>>);

/// One who waits.
#[derive(Debug)]
pub struct Bell {
    order: OrderId,
    all: Arc<Bells>,
    heard: watch::Receiver<()>,
}

impl Bells {
    /// From now on this order's ringing is heard.
    pub fn listen(self: &Arc<Self>, order: &OrderId) -> Bell {
        let heard =
            self.table().entry(order.clone()).or_insert_with(|| watch::channel(()).0).subscribe();
        Bell { order: order.clone(), all: self.clone(), heard }
    }

    /// Something has happened to this order.
    pub fn ring(&self, order: &OrderId) {
        if let Some(bell) = self.table().get(order) {
            bell.send_replace(());
        }
    }

    /// Nobody knows what has happened meanwhile, except that these live.
    pub fn ring_all_but(&self, alive: &HashSet<OrderId>) {
        for (_, bell) in self.table().iter().filter(|(order, _)| !alive.contains(*order)) {
            bell.send_replace(());
        }
    }

    // A panic elsewhere leaves whole entries behind.
    fn table(&self) -> MutexGuard<'_, HashMap<OrderId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    /// Resolves when it has rung since this was asked for the last time.
    pub async fn rung(&mut self) {
        if self.heard.changed().await.is_err() {
            // Its sender stands in the table as long as we do.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut table = self.all.table();
        // We are still counted.
        if table.get(&self.order).is_some_and(|bell| bell.receiver_count() <= 1) {
            table.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_hears_and_nobody_is_left_behind() {
        let bells = Arc::<Bells>::default();
        let (one, two) = (OrderId::from_bytes([1; 16]), OrderId::from_bytes([2; 16]));
        let (mut first, mut again, mut other) =
            (bells.listen(&one), bells.listen(&one), bells.listen(&two));
        bells.ring(&one);
        first.rung().await;
        again.rung().await;
        bells.ring_all_but(&HashSet::from([one.clone()]));
        other.rung().await;
        assert!(!first.heard.has_changed().unwrap());
        drop(first);
        bells.ring(&one);
        again.rung().await;
        drop((again, other));
        assert!(bells.table().is_empty());
    }
}
