//! When a server that ended by itself is started again: pure.
//!
//! The first two deaths within [`WINDOW`] are answered by a new start after a growing delay, the third by giving up:
//! a server that dies that often would only wear the machine out.

use std::time::Duration;

use crate::{
    domain::{Cause, Moment},
    ports::Exit,
};

/// How long a death is remembered.
pub const WINDOW: Duration = Duration::from_secs(300);

/// So many deaths within [`WINDOW`] are too many.
pub const TOO_MANY: usize = 3;

/// Delay after the first death; doubled with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// Longest delay, before jitter.
const LONGEST: Duration = Duration::from_secs(30);

/// When a server that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Not.
    Never,
    /// When it was killed or left with a status other than 0. An end nobody saw counts as none: nothing says it failed.
    #[default]
    OnFailure,
    /// Always.
    Always,
}

/// What follows a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It stays stopped.
    Stop,
    /// A new start at this moment.
    Wait(Moment),
    /// Too many deaths: only a person's start helps.
    GiveUp,
}

/// The deaths that still count.
pub fn recent(deaths: &[Moment], now: Moment) -> Vec<Moment> {
    // One that has not come yet was before the clock was set back: nobody knows how long ago.
    let fresh = deaths.iter().filter(|death| **death <= now && now.since(**death) < WINDOW);
    let fresh: Vec<_> = fresh.copied().collect();
    // More than this many change nothing, and a record must not grow.
    fresh[fresh.len().saturating_sub(TOO_MANY)..].to_vec()
}

/// How long to wait before the start that follows the `nth` death (1 is the first), with `jitter` (0 to 999, a
/// thousandth each) adding up to half.
pub fn delay(nth: usize, jitter: u64) -> Duration {
    let doublings = u32::try_from(nth.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let plain = (FIRST * 2u32.pow(doublings)).min(LONGEST);
    plain + plain.mul_f64(jitter.min(999) as f64 / 2_000.0)
}

/// What follows this exit of a running server, which is not among `deaths` yet.
pub fn after(policy: Restart, exit: Exit, deaths: &[Moment], now: Moment, jitter: u64) -> After {
    let again = match (policy, exit) {
        (Restart::Never, _) => false,
        (Restart::Always, _) => true,
        (Restart::OnFailure, Exit::Code(0) | Exit::Unknown) => false,
        (Restart::OnFailure, Exit::Code(_) | Exit::Signal(_) | Exit::OutOfMemory) => true,
    };
    let nth = recent(deaths, now).len() + 1;
    match (again, nth >= TOO_MANY) {
        (false, _) => After::Stop,
        (true, true) => After::GiveUp,
        (true, false) => After::Wait(now.plus(delay(nth, jitter))),
    }
}

/// The cause that an exit is.
pub fn cause(exit: Exit) -> Cause {
    match exit {
        Exit::Code(code) => Cause::Exited(code),
        Exit::Signal(signal) => Cause::Signalled(signal),
        Exit::OutOfMemory => Cause::OutOfMemory,
        Exit::Unknown => Cause::Vanished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn the_policy_decides_by_the_exit() {
        let at = |policy, exit| after(policy, exit, &[], Moment(0), 0) != After::Stop;
        for (policy, clean, failed, killed, unseen) in [
            (Restart::Never, false, false, false, false),
            (Restart::OnFailure, false, true, true, false),
            (Restart::Always, true, true, true, true),
        ] {
            assert_eq!(at(policy, Exit::Code(0)), clean, "{policy:?}");
            assert_eq!(at(policy, Exit::Code(1)), failed, "{policy:?}");
            assert_eq!(at(policy, Exit::Signal(9)), killed, "{policy:?}");
            assert_eq!(at(policy, Exit::Unknown), unseen, "{policy:?}");
        }
    }

    #[test]
    fn the_third_death_within_five_minutes_is_the_last() {
        let die = |deaths: &[Moment]| {
            after(Restart::OnFailure, Exit::Code(1), deaths, Moment(1_000 * S), 0)
        };
        assert_eq!(die(&[]), After::Wait(Moment(1_001 * S)));
        assert_eq!(die(&[Moment(999 * S)]), After::Wait(Moment(1_002 * S)));
        assert_eq!(die(&[Moment(701 * S), Moment(999 * S)]), After::GiveUp);
        assert_eq!(die(&[Moment(700 * S), Moment(999 * S)]), After::Wait(Moment(1_002 * S)));
    }

    #[test]
    fn deaths_before_the_clock_was_set_back_do_not_count() {
        let later = [Moment(5_000 * S), Moment(5_001 * S)];
        assert_eq!(recent(&later, Moment(1_000 * S)), []);
        let next = after(Restart::OnFailure, Exit::Code(1), &later, Moment(1_000 * S), 0);
        assert_eq!(next, After::Wait(Moment(1_001 * S)));
    }

    #[test]
    fn delays_grow_to_a_limit_and_jitter_adds_at_most_half() {
        assert_eq!(delay(1, 0), Duration::from_secs(1));
        assert_eq!(delay(3, 0), Duration::from_secs(4));
        assert_eq!(delay(usize::MAX, 0), LONGEST);
        assert!(delay(1, 999) < Duration::from_millis(1_500) && delay(1, 999) > delay(1, 0));
    }
}
