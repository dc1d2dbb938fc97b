//! Restart now, later, or give up: pure. The supervisor asks, sleeps and restarts.
//!
//! ```text
//!   exits within `period`:   1        2            3              …   intensity      intensity + 1
//!   verdict:                now   after first  after 2·first   …    capped         give up
//! ```
//!
//! Every delay is drawn between half and all of what the row says, so that children which failed for one reason do
//! not come back in step.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How often a child may be restarted, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many exits within [`Limits::period`] are survived; one more is given up on. Zero: never restarted.
    pub intensity: u32,
    /// The span in which exits are counted. Longer than all delays of a full window together, or a storm never ends:
    /// see [`Limits::can_give_up`].
    pub period: Duration,
    /// The delay before the second restart in a window; it doubles with each one. (The first is immediate.)
    pub first_delay: Duration,
    /// No delay is longer.
    pub longest_delay: Duration,
}

impl Default for Limits {
    /// Five exits in ten seconds (`RELIABILITY.md`, row 8), delays from 50 ms to 1 s.
    fn default() -> Self {
        Self {
            intensity: 5,
            period: Duration::from_secs(10),
            first_delay: Duration::from_millis(50),
            longest_delay: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The longest that may be waited before the restart that follows the `exits`-th exit of a window.
    pub fn delay(&self, exits: u32) -> Duration {
        let Some(doublings) = exits.checked_sub(2) else {
            return Duration::ZERO;
        };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.longest_delay)
    }

    /// Does a child that dies at once, every time, exceed the window? False means that the delays stretch the exits
    /// over more than a period, so the supervisor would restart it for ever.
    pub fn can_give_up(&self) -> bool {
        let waited: Duration = (1..=self.intensity)
            .map(|n| self.delay(n))
            .fold(Duration::ZERO, Duration::saturating_add);
        waited < self.period
    }
}

/// What to do after an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Restart at once.
    Now,
    /// Restart after this delay.
    After(Duration),
    /// Too often: let the parent decide.
    GiveUp,
}

/// The recent exits of one child.
#[derive(Debug, Clone, Default)]
pub struct Window {
    exits: VecDeque<Instant>,
}

impl Window {
    /// Notes an exit at `now` and says what to do. `random` is any number; it only moves the delay within its upper
    /// half.
    pub fn exit(&mut self, limits: &Limits, now: Instant, random: u64) -> Verdict {
        while self.exits.front().is_some_and(|then| now.duration_since(*then) >= limits.period) {
            self.exits.pop_front();
        }
        self.exits.push_back(now);
        let exits = u32::try_from(self.exits.len()).unwrap_or(u32::MAX);
        if exits > limits.intensity {
            return Verdict::GiveUp;
        }
        match limits.delay(exits) {
            Duration::ZERO => Verdict::Now,
            longest => Verdict::After(jittered(longest, random)),
        }
    }
}

/// Between half of `longest` and all of it.
pub fn jittered(longest: Duration, random: u64) -> Duration {
    let half = longest / 2;
    let span = u64::try_from((longest - half).as_nanos()).unwrap_or(u64::MAX);
    half + Duration::from_nanos(random % span.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(intensity: u32) -> Limits {
        Limits { intensity, ..Limits::default() }
    }

    fn origin() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_wait_longer() {
        let (limits, mut window, now) = (limits(5), Window::default(), origin());
        let verdicts: Vec<_> = (0..6).map(|_| window.exit(&limits, now, u64::MAX)).collect();
        assert_eq!(verdicts[0], Verdict::Now);
        assert_eq!(verdicts[5], Verdict::GiveUp);
        let longest: Vec<_> = (1..=7).map(|n| limits.delay(n).as_millis()).collect();
        assert_eq!(longest, [0, 50, 100, 200, 400, 800, 1000]);
    }

    #[test]
    fn old_exits_are_forgotten() {
        let (limits, mut window, now) = (limits(1), Window::default(), origin());
        for n in 0..100 {
            assert_eq!(window.exit(&limits, now + limits.period * n, 0), Verdict::Now);
        }
        assert_eq!(window.exit(&limits, now + limits.period * 99, 0), Verdict::GiveUp);
    }

    #[test]
    fn an_intensity_of_zero_never_restarts() {
        assert_eq!(Window::default().exit(&limits(0), origin(), 0), Verdict::GiveUp);
    }

    #[test]
    fn the_defaults_end_a_storm() {
        assert!(Limits::default().can_give_up());
        assert!(!Limits { period: Duration::from_millis(100), ..limits(5) }.can_give_up());
    }

    proptest! {
        #[test]
        fn a_delay_lies_in_the_upper_half(ms in 1u64..100_000, random: u64) {
            let longest = Duration::from_millis(ms);
            let drawn = jittered(longest, random);
            prop_assert!(drawn >= longest / 2 && drawn <= longest);
        }

        #[test]
        fn exactly_the_intensity_is_survived_in_one_period(
            intensity in 0u32..20,
            gaps in proptest::collection::vec(0u64..400, 0..60),
        ) {
            let limits = limits(intensity);
            let (mut window, mut now) = (Window::default(), origin());
            let mut exits: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap * 10);
                exits.push(now);
                let recent = exits.iter().filter(|then| now.duration_since(**then) < limits.period).count();
                let given_up = window.exit(&limits, now, gap) == Verdict::GiveUp;
                prop_assert_eq!(given_up, recent > intensity as usize);
            }
        }

        #[test]
        fn delays_never_shrink_within_a_window(exits in 1u32..200) {
            let limits = Limits::default();
            prop_assert!(limits.delay(exits) <= limits.delay(exits + 1));
            prop_assert!(limits.delay(exits) <= limits.longest_delay);
        }
    }
}
