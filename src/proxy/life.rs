//! How long something is there, for those who hold on to what belongs to it.

use std::{
    pin::pin,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

use tokio::sync::Notify;

/// Begins with its owner and is over when he says so, once and for good. One byte, since there are as many as routes.
#[derive(Debug, Default)]
pub(super) struct Life {
    over: AtomicBool,
}

/// Where those wait who wait for an end. Many share one, and look again when it was another's.
static WAITING: [Notify; 256] = [const { Notify::const_new() }; 256];

impl Life {
    /// Is it over?
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Acquire)
    }

    /// It is: whoever waits is told.
    pub(super) fn end(&self) {
        self.over.store(true, Release);
        self.waiting().notify_waiters();
    }

    /// Waits until it is over.
    pub(super) async fn ended(&self) {
        loop {
            let mut told = pin!(self.waiting().notified());
            // From here on a word is not missed, so that what was said before is seen in `over`.
            told.as_mut().enable();
            if self.is_over() {
                return;
            }
            told.await;
        }
    }

    /// Its place: by its address, which stays while anybody waits.
    fn waiting(&self) -> &'static Notify {
        let address = std::ptr::from_ref(self).addr();
        &WAITING[(address >> 5) % WAITING.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn each_hears_of_its_own_end_only() {
        // More than there are places.
        let lives: Vec<_> = (0..1000).map(|_| Arc::new(Life::default())).collect();
        let wait = |life: &Arc<Life>| {
            let life = life.clone();
            tokio::spawn(async move { life.ended().await })
        };
        let waiting: Vec<_> = lives.iter().map(wait).collect();
        for life in lives.iter().step_by(2) {
            life.end();
        }
        for (i, mut waiting) in waiting.into_iter().enumerate() {
            if i % 2 == 0 {
                timeout(Duration::from_secs(10), &mut waiting).await.unwrap().unwrap();
                assert!(lives[i].is_over());
            } else {
                assert!(!lives[i].is_over() && !waiting.is_finished());
                waiting.abort();
            }
        }
        // Who comes late does not wait.
        lives[0].ended().await;
    }
}
