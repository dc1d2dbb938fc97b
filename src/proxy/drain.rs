//! The proxy's own life: waiting for its routes, open, draining, gone; and who is still there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// How far the proxy's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Routes may be missing: nobody is let in.
    Waiting,
    /// Visitors are let in.
    Open,
    /// Nobody new; those in hand are finished.
    Draining,
    /// Everybody out.
    Gone,
}

/// Waits until the phase has come at least this far.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, least: Phase) {
    // Its sender lives in the shared state; if that is gone, so is everything.
    let _ = phase.wait_for(|now| *now >= least).await;
}

/// Counts connections and tunnels.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<AtomicUsize>);

/// One of them, until dropped; of one crowd, and perhaps of another too.
#[derive(Debug)]
pub(super) struct Present(Arc<AtomicUsize>, Option<Box<Present>>);

impl Present {
    /// Also one of another crowd.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.1 = Some(Box::new(other));
        self
    }
}

impl Crowd {
    /// One more.
    pub(super) fn enter(&self) -> Present {
        self.0.fetch_add(1, SeqCst);
        Present(self.0.clone(), None)
    }

    /// How many are there?
    pub(super) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Waits until all have left, at most this long. How many haven't?
    pub(super) async fn left(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        while self.count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.count()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
