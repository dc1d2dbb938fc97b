//! What `testing` cannot give to tests that pause time: a store without a thread of its own (time would run on while
//! that works), a clock that follows the paused one, and numbers that tell which secret a digest is of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::{
    domain::{Moment, TokenHash},
    ports::{Clock, Entropy, StoreError},
    store::{self, Image, Write},
    testing,
};

pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Time stands still; numbers count up.
pub(crate) struct Fixed(pub(crate) AtomicU64);

impl Clock for Fixed {
    fn moment(&self) -> Moment {
        Moment(1_000_000_000)
    }
    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        let turn = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        bytes.iter_mut().rev().zip(turn.iter().rev()).for_each(|(byte, new)| *byte = *new);
    }
    fn digest(&self, secret: &str) -> TokenHash {
        let mut hash = [0; 32];
        hash.iter_mut().zip(secret.bytes()).for_each(|(byte, new)| *byte = new);
        TokenHash(hash)
    }
}

/// A store without a disk; with `full` set it takes nothing.
pub(crate) fn store(image: Image, full: Arc<AtomicBool>) -> store::Client {
    let image = Arc::new(ArcSwap::from_pointee(image));
    let (published, watched) = watch::channel(0);
    let (queue, mut waiting) = mpsc::channel::<store::client::Pending>(100);
    let held = image.clone();
    tokio::spawn(async move {
        while let Some(pending) = waiting.recv().await {
            let mut next = (*held.load_full()).clone();
            let writes = (pending.decide)(&next);
            if full.load(Ordering::SeqCst) {
                let _ = pending.done.send(Err(StoreError::Full));
                continue;
            }
            writes.iter().for_each(|write| next.apply(write));
            held.store(Arc::new(next));
            published.send_modify(|turn| *turn += 1);
            let _ = pending.done.send(Ok(()));
        }
    });
    store::Client { image, published: watched, queue, patience: LONG }
}

/// Bob and Eve.
pub(crate) fn people() -> Image {
    let mut image = Image::default();
    for (id, name) in [(1, "bob"), (2, "eve")] {
        image.apply(&Write::User(Arc::new(testing::user(id, name))));
    }
    image
}
