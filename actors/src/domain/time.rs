//! Time as values. Moments come from the clock port; nothing here reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of the wall clock: microseconds since 1970, UTC. For records; never for waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(pub i64);

impl Moment {
    /// So much later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier`; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

/// A span in configuration: whole or fractional seconds, not negative, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(f64);

impl Seconds {
    /// So many whole seconds.
    pub const fn new(seconds: u32) -> Self {
        Self(seconds as f64)
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }

    /// Is it zero (which mostly means "off")?
    pub fn is_zero(self) -> bool {
        self.0 == 0.0
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;
    fn try_from(seconds: f64) -> Result<Self, String> {
        if (0.0..=315_360_000.0).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("{seconds} is not a span in seconds between 0 and 315360000"))
        }
    }
}

impl From<Seconds> for f64 {
    fn from(span: Seconds) -> f64 {
        span.0
    }
}
