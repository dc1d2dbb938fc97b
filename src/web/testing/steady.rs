//! Time and chance of the hub of doubles.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Instant,
};

use jovis_actors::{
    domain::{Moment, TokenHash},
    ports::{Clock, Entropy},
};

use super::digest;

/// A clock that stands until it is set.
pub(crate) struct Still(pub(crate) AtomicI64);

impl Clock for Still {
    fn moment(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// Counts instead of drawing.
pub(super) struct Counting(pub(super) AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let hash = ring::digest::digest(&ring::digest::SHA256, &seed);
        bytes.iter_mut().zip(hash.as_ref().iter().cycle()).for_each(|(to, from)| *to = *from);
    }

    fn digest(&self, secret: &str) -> TokenHash {
        digest(secret)
    }
}
