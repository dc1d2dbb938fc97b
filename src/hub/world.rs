//! The real clock and the real random numbers.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jovis_actors::{
    domain::{Moment, TokenHash},
    ports::{Clock, Entropy},
};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The operating system's random numbers.
#[derive(Debug, Clone)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the system has random numbers, or nothing here is safe");
    }

    fn digest(&self, secret: &str) -> TokenHash {
        let hash = digest::digest(&digest::SHA256, secret.as_bytes());
        TokenHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}
