//! A clock that moves when told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{domain::Moment, ports::Clock};

/// Both clocks, moved together by [`ManualClock::advance`]; the wall clock also alone, as administrators do.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<(Moment, Instant)>>);

impl Default for ManualClock {
    /// It is 2026-01-01.
    fn default() -> Self {
        Self::at(Moment(1_767_225_600_000_000))
    }
}

impl ManualClock {
    /// It is this moment.
    pub fn at(moment: Moment) -> Self {
        Self(Arc::new(Mutex::new((moment, tokio::time::Instant::now().into_std()))))
    }

    /// So much time goes by.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0.plus(by), now.1 + by);
    }

    /// The wall clock is set, forwards or backwards. The monotonic one does not notice.
    pub fn set_wall(&self, moment: Moment) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = moment;
    }
}

impl Clock for ManualClock {
    fn moment(&self) -> Moment {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn instant(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
