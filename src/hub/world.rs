//! The real clock and the real random numbers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jovis_actors::{
    domain::{Moment, TokenHash},
    ports::{Clock, Entropy},
};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use tracing::{info, warn};

/// So many microseconds the wall clock is wrong, on purpose.
#[cfg(feature = "faults")]
static SHIFT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

/// From now on the wall clock is wrong by so many seconds; durations stay right.
#[cfg(feature = "faults")]
pub(super) fn shift(seconds: i64) {
    SHIFT.store(seconds.saturating_mul(1_000_000), std::sync::atomic::Ordering::Relaxed);
}

/// The machine's clocks.
///
/// The wall clock is held against the monotonic one: it may be put forward, but never behind what has passed since the hub
/// began, so a clock that is put back revives nothing that has expired. One that was wrong when the hub began is believed
/// until the hub is restarted; the log says so ([`SystemClock::behind`]).
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    began: (Moment, Instant),
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { began: (wall(), Instant::now()) }
    }
}

/// The wall clock as it is.
fn wall() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    #[cfg(feature = "faults")]
    let now = now.saturating_add(SHIFT.load(std::sync::atomic::Ordering::Relaxed));
    Moment(now)
}

impl SystemClock {
    /// What has passed since the hub began, as a moment.
    fn passed(&self) -> Moment {
        self.began.0.plus(self.began.1.elapsed())
    }

    /// How far the wall clock was put back since the hub began.
    pub fn behind(&self) -> Duration {
        self.passed().since(wall())
    }
}

/// Says when the wall clock was put back, and when that is over.
pub(super) async fn watch(clock: SystemClock) {
    const NOTEWORTHY: Duration = Duration::from_secs(60);
    let mut turns = tokio::time::interval(Duration::from_secs(5));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = false;
    loop {
        turns.tick().await;
        let behind = clock.behind();
        match (behind > NOTEWORTHY, said) {
            (true, false) => warn!(?behind, "wall clock was put back"),
            (false, true) => info!("wall clock is right again"),
            _ => {}
        }
        said = behind > NOTEWORTHY;
    }
}

impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        wall().max(self.passed())
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
