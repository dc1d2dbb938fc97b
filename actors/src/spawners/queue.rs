//! Who is next, when a place becomes free for one more start? Pure.
//!
//! First come, first served; but each server that somebody has already, or has waiting before this one, counts as if this
//! one had come [`YIELDS`] later. So among those who wait people take turns, nobody with many servers goes ahead of people
//! with none who came a little later, and nobody waits for ever: whoever comes late enough stays behind.
//!
//! ```text
//!   came   bob a ── bob b ── eve ── tom (has one)           stands    bob a ── eve ── bob b ── tom
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::domain::{Moment, ServerKey, UserId};

/// So much later one counts for each server one has, or has waiting, already.
pub const YIELDS: Duration = Duration::from_secs(15 * 60);

/// So many servers of one user may wait: nobody fills the queue alone.
pub const OF_ONE: usize = 10;

/// So many admissions are remembered, for the estimate.
const REMEMBERED: usize = 20;
/// And for so long.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// A start that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// Of which server.
    pub key: ServerKey,
    /// Since when.
    pub since: Moment,
}

/// The servers that wait, in the order in which they are started. `has`: how many servers a user has that run or are on
/// their way.
pub fn order(waiting: &[Waits], has: impl Fn(UserId) -> usize) -> Vec<ServerKey> {
    let mut came: Vec<&Waits> = waiting.iter().collect();
    came.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
    let mut before: BTreeMap<UserId, usize> = BTreeMap::new();
    let mut stands: Vec<(Moment, &Waits)> = Vec::with_capacity(came.len());
    for one in came {
        let before = before.entry(one.key.user).or_insert_with(|| has(one.key.user));
        let yields = YIELDS.saturating_mul(u32::try_from(*before).unwrap_or(u32::MAX));
        stands.push((one.since.plus(yields), one));
        *before += 1;
    }
    stands.sort_by(|a, b| (a.0, a.1.since, &a.1.key).cmp(&(b.0, b.1.since, &b.1.key)));
    stands.into_iter().map(|(_, one)| one.key.clone()).collect()
}

/// Why nobody more may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many wait already.
    All(u32),
    /// So many of this user's do.
    OfOne(usize),
}

/// May one more of this user wait? `most`: so many may in all.
pub fn room(waiting: &[Waits], user: UserId, most: u32) -> Result<(), Full> {
    if waiting.len() >= most as usize {
        return Err(Full::All(most));
    }
    let own = waiting.iter().filter(|one| one.key.user == user).count();
    if own >= OF_ONE { Err(Full::OfOne(own)) } else { Ok(()) }
}

/// How fast the queue moves: when the last few left it to be started.
#[derive(Debug, Clone, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// One was started.
    pub fn left(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// How long whoever stands at this place (from 1) will probably wait; nothing while too little is known. It grows
    /// while nobody leaves.
    pub fn estimate(&self, place: usize, now: Instant) -> Option<Duration> {
        let recent = |left: &&Instant| now.saturating_duration_since(**left) <= RECENT;
        let left: Vec<&Instant> = self.0.iter().filter(recent).collect();
        let first = left.first().filter(|_| left.len() > 1)?;
        let each = now.saturating_duration_since(**first) / u32::try_from(left.len()).ok()?;
        each.checked_mul(u32::try_from(place).ok()?)
    }
}

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub position: usize,
    /// Of so many.
    pub of: usize,
    /// So long it will probably take; nothing while that cannot be told.
    pub estimate: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ServerName;

    fn waits(user: u64, name: &str, second: i64) -> Waits {
        let key = ServerKey { user: UserId(user), name: ServerName::new(name).unwrap() };
        Waits { key, since: Moment(second * 1_000_000) }
    }

    fn names(waiting: &[Waits], has: impl Fn(UserId) -> usize) -> Vec<(u64, String)> {
        let all = order(waiting, has).into_iter();
        all.map(|key| (key.user.0, key.name.to_string())).collect()
    }

    #[test]
    fn people_take_turns_and_who_has_servers_yields() {
        let waiting = [
            waits(1, "a", 1),
            waits(1, "b", 2),
            waits(2, "", 3),
            waits(3, "", 0),
            waits(1, "c", 4),
        ];
        let has = |user: UserId| usize::from(user.0 == 3);
        let all = names(&waiting, has);
        let wanted = [(1, "a"), (2, ""), (3, ""), (1, "b"), (1, "c")];
        assert_eq!(all, wanted.map(|(user, name)| (user, name.to_owned())));
    }

    #[test]
    fn nobody_yields_for_ever() {
        let late = i64::try_from(YIELDS.as_secs()).unwrap() + 1;
        let waiting = [waits(1, "", 0), waits(2, "", late)];
        assert_eq!(names(&waiting, |user| usize::from(user.0 == 1))[0].0, 1);
        let sooner = [waits(1, "", 0), waits(2, "", late - 2)];
        assert_eq!(names(&sooner, |user| usize::from(user.0 == 1))[0].0, 2);
    }

    #[test]
    fn the_queue_is_bounded_for_all_and_for_each() {
        let many: Vec<_> = (0..OF_ONE).map(|n| waits(1, &format!("s{n}"), 0)).collect();
        assert_eq!(room(&many, UserId(1), 100), Err(Full::OfOne(OF_ONE)));
        assert_eq!(room(&many, UserId(2), 100), Ok(()));
        assert_eq!(room(&many, UserId(2), 10), Err(Full::All(10)));
        assert_eq!(room(&[], UserId(2), 0), Err(Full::All(0)), "nobody waits");
    }

    #[test]
    fn the_estimate_is_the_recent_pace_and_grows_while_nothing_moves() {
        let (mut pace, begin) = (Pace::default(), tokio::time::Instant::now().into_std());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(pace.estimate(1, at(0)), None);
        pace.left(at(0));
        assert_eq!(pace.estimate(1, at(5)), None, "one alone says nothing");
        pace.left(at(10));
        assert_eq!(pace.estimate(1, at(20)), Some(Duration::from_secs(10)));
        assert_eq!(pace.estimate(3, at(20)), Some(Duration::from_secs(30)));
        assert_eq!(pace.estimate(1, at(60)), Some(Duration::from_secs(30)));
        assert_eq!(pace.estimate(1, at(10_000)), None, "too long ago");
        for n in 0..100 {
            pace.left(at(100 + n));
        }
        assert!(pace.0.len() <= REMEMBERED);
    }

    fn queue() -> impl Strategy<Value = Vec<Waits>> {
        prop::collection::vec((0..6_u64, 0..5_u8, 0..100_000_i64), 0..40).prop_map(|all| {
            let mut seen = std::collections::BTreeSet::new();
            let all = all.into_iter().map(|(user, n, at)| waits(user, &format!("s{n}"), at));
            all.filter(|one| seen.insert(one.key.clone())).collect()
        })
    }

    proptest! {
        #[test]
        fn everybody_stands_once_and_nobody_overtakes_himself(waiting in queue(), has in prop::collection::vec(0..4_usize, 6)) {
            let stands = order(&waiting, |user| has[user.0 as usize]);
            prop_assert_eq!(stands.len(), waiting.len());
            let place = |one: &Waits| stands.iter().position(|key| *key == one.key).unwrap();
            for one in &waiting {
                for other in &waiting {
                    let own = one.key.user == other.key.user;
                    if own && one.since < other.since {
                        prop_assert!(place(one) < place(other));
                    }
                }
            }
        }

        #[test]
        fn whoever_comes_late_enough_stays_behind(waiting in queue(), has in prop::collection::vec(0..4_usize, 6)) {
            let stands = order(&waiting, |user| has[user.0 as usize]);
            let place = |one: &Waits| stands.iter().position(|key| *key == one.key).unwrap();
            for one in &waiting {
                let own = waiting.iter().filter(|it| it.key.user == one.key.user).count();
                let most = YIELDS * u32::try_from(has[one.key.user.0 as usize] + own).unwrap();
                for other in waiting.iter().filter(|other| other.since > one.since.plus(most)) {
                    prop_assert!(place(one) < place(other));
                }
            }
        }

        #[test]
        fn those_with_nothing_are_served_as_they_came(waiting in queue()) {
            let stands = order(&waiting, |_| 0);
            let first = |one: &&Waits| {
                !waiting.iter().any(|it| it.key.user == one.key.user && (it.since, &it.key) < (one.since, &one.key))
            };
            let mut firsts: Vec<_> = waiting.iter().filter(first).collect();
            firsts.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
            let served = stands.iter().filter(|key| firsts.iter().any(|one| one.key == **key));
            prop_assert!(served.eq(firsts.iter().map(|one| &one.key)));
        }
    }
}
