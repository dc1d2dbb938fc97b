//! The proxy's own life: waiting for its routes, open, retiring, draining, gone; and who is still there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// How often the crowd is counted, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How far the proxy's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Routes may be missing: nobody is let in.
    Waiting,
    /// Visitors are let in.
    Open,
    /// Nobody new; connections end when their next answer has been given, or nothing is asked any more. (Closing those
    /// at rest at once would cut requests that are on their way.)
    Retiring,
    /// Nobody new; what is in hand is finished, connections at rest are closed.
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

    /// Waits until all have left, at most until then. How many haven't?
    pub(super) async fn left(&self, deadline: Instant) -> usize {
        while self.count() > 0 && Instant::now() < deadline {
            // Often where it is about seconds, seldom where it is about a day.
            let left = deadline - Instant::now();
            tokio::time::sleep((left / 256).clamp(LOOK.0, LOOK.1)).await;
        }
        self.count()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
