//! How often may one try? Pure.
//!
//! Three counts, of failures only; an attempt counts as failed from its beginning, so that many at once gain nothing:
//!
//! | of | limit | against |
//! |---|---|---|
//! | a name from one network | some free, then each waits twice as long, up to a minute | guessing one password |
//! | a name from everywhere | 20 a minute | guessing one password from many networks |
//! | a network | 300 a minute; what is refused here counts too | trying one password on many names, and noise |
//!
//! Nobody must be able to lock somebody else out. So who signed in from a network lately has to wait there for one's
//! own failures only: strangers neither use up that name's limit for it nor, as neighbours, the network's.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// So many names with their networks, so many names and so many networks are kept in mind.
pub const MOST: usize = 20_000;

/// So many names that signed in are kept in mind, each with its last [`HOMES`] networks.
pub const MOST_KNOWN: usize = 10_000;

/// So many networks one name may be known at. Few, so that nobody can push others out by moving about.
const HOMES: usize = 8;

/// Who has not signed in from a network for so long is a stranger there.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Failures of a name from one network are forgotten when no other follows for so long.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Free failures of a name from one network.
const FREE: u32 = 5;

/// First wait after those, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a count over a minute holds.
const MINUTE: Duration = Duration::from_secs(60);

/// What one failure takes of a name's minute: 20 fit in.
const OF_NAME: Duration = Duration::from_secs(3);

/// What one attempt takes of a network's minute: 300 fit in. (A classroom behind one address mistypes more often than
/// one person.)
const OF_NETWORK: Duration = Duration::from_millis(200);

/// An attempt that may be made; to be handed back with what came of it.
#[derive(Debug)]
#[must_use = "an attempt counts as failed until it is handed back"]
pub struct Admitted {
    name: String,
    network: Option<IpAddr>,
    /// Did the name's count take notice?
    charged: bool,
}

/// Failures of a name from one network.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < WINDOW
    }

    /// How long until another attempt is welcome?
    fn wait(&self, now: Instant) -> Duration {
        if self.count < FREE || !self.fresh(now) {
            return Duration::ZERO;
        }
        let doublings = (self.count - FREE).min(16);
        let pause = (WAITS.0 * 2u32.pow(doublings)).min(WAITS.1);
        (self.last + pause).saturating_duration_since(now)
    }
}

/// A minute that fills with attempts and drains with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    filled: Duration,
    at: Instant,
}

impl Bucket {
    fn filled(&self, now: Instant) -> Duration {
        self.filled.saturating_sub(now.saturating_duration_since(self.at))
    }

    fn wait(&self, now: Instant, portion: Duration) -> Duration {
        (self.filled(now) + portion).saturating_sub(MINUTE)
    }

    /// One more. No fuller than two minutes: who stops is heard again soon.
    fn add(&mut self, now: Instant, portion: Duration) {
        *self = Self { filled: (self.filled(now) + portion).min(MINUTE * 2), at: now };
    }
}

/// Counts.
#[derive(Debug, Default)]
pub struct Throttle {
    pairs: HashMap<(String, Option<IpAddr>), Failures>,
    names: HashMap<String, Bucket>,
    networks: HashMap<IpAddr, Bucket>,
    /// Who signed in from where, and when last; the latest network last.
    known: HashMap<String, Vec<(Option<IpAddr>, Instant)>>,
}

impl Throttle {
    /// An attempt begins; or has to wait so long. `name` is normalised, so that spelling gains nothing.
    pub fn begin(
        &mut self,
        name: &str,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<Admitted, Duration> {
        let (name, network) = (cut(name).to_owned(), from.map(network));
        let known = self.knows(&name, network, now);
        let key = (name, network);
        let mut wait = self.pairs.get(&key).map_or(Duration::ZERO, |it| it.wait(now));
        if !known {
            let of_name = self.names.get(&key.0).map(|it| it.wait(now, OF_NAME));
            let network = network.and_then(|network| self.networks.get(&network));
            let of_network = network.map(|it| it.wait(now, OF_NETWORK));
            wait = of_name.into_iter().chain(of_network).fold(wait, Duration::max);
        }
        if let Some(network) = network {
            fill(&mut self.networks, network, now, OF_NETWORK);
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        if !known {
            fill(&mut self.names, key.0.clone(), now, OF_NAME);
        }
        room(&mut self.pairs, &key, MOST, |it| it.fresh(now).then_some((it.count, it.last)));
        let (name, _) = key.clone();
        let record = self.pairs.entry(key).or_insert(Failures { count: 0, last: now });
        if !record.fresh(now) {
            record.count = 0;
        }
        *record = Failures { count: record.count.saturating_add(1), last: now };
        Ok(Admitted { name, network, charged: !known })
    }

    /// It succeeded. What this name failed here before was mistyped: it is forgotten, and nothing else is, so that an
    /// account of one's own is of no use for guessing at others'.
    pub fn succeeded(&mut self, attempt: Admitted, now: Instant) {
        let pair = self.pairs.remove(&(attempt.name.clone(), attempt.network));
        self.forgive(&attempt, pair.map_or(1, |failures| failures.count));
        let Admitted { name, network, .. } = attempt;
        room(&mut self.known, &name, MOST_KNOWN, |homes| {
            let last = homes.last().map(|(_, last)| *last);
            last.filter(|last| now.saturating_duration_since(*last) < KNOWN)
        });
        let homes = self.known.entry(name).or_default();
        homes.retain(|(home, _)| *home != network);
        if homes.len() >= HOMES {
            homes.remove(0);
        }
        homes.push((network, now));
    }

    /// It neither succeeded nor failed: nobody could say.
    pub fn undecided(&mut self, attempt: Admitted) {
        self.forgive(&attempt, 1);
        let key = (attempt.name, attempt.network);
        if let Some(record) = self.pairs.get_mut(&key) {
            record.count = record.count.saturating_sub(1);
            if record.count == 0 {
                self.pairs.remove(&key);
            }
        }
    }

    fn forgive(&mut self, attempt: &Admitted, attempts: u32) {
        let name = self.names.get_mut(&attempt.name).filter(|_| attempt.charged);
        let network = attempt.network.and_then(|network| self.networks.get_mut(&network));
        for (bucket, portion) in [(name, OF_NAME), (network, OF_NETWORK)] {
            if let Some(bucket) = bucket {
                bucket.filled = bucket.filled.saturating_sub(portion.saturating_mul(attempts));
            }
        }
    }

    fn knows(&self, name: &str, network: Option<IpAddr>, now: Instant) -> bool {
        let homes = self.known.get(name).into_iter().flatten();
        homes
            .filter(|(_, last)| now.saturating_duration_since(*last) < KNOWN)
            .any(|(home, _)| *home == network)
    }
}

/// Names are bounded here, whatever was typed.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(256)]
}

/// One household or machine has a whole /64 of IPv6.
fn network(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
        },
    }
}

fn fill<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, key: K, now: Instant, portion: Duration) {
    room(buckets, &key, MOST, |it| Some(it.filled(now)).filter(|filled| !filled.is_zero()));
    buckets.entry(key).or_insert(Bucket { filled: Duration::ZERO, at: now }).add(now, portion);
}

/// Makes room for this key, if it is new and there is none: what counts no more (its worth is none) goes; if that is
/// not enough, the least worthy tenth, so that this is seldom.
fn room<K: Eq + Hash, V, W: Ord + Copy>(
    records: &mut HashMap<K, V>,
    key: &K,
    most: usize,
    worth: impl Fn(&V) -> Option<W>,
) {
    if records.len() < most || records.contains_key(key) {
        return;
    }
    records.retain(|_, it| worth(it).is_some());
    if records.len() < most {
        return;
    }
    let mut worths: Vec<_> = records.values().map(&worth).collect();
    let mut surplus = most / 10 + 1;
    let (_, limit, _) = worths.select_nth_unstable(surplus - 1);
    let limit = *limit;
    records.retain(|_, it| {
        let goes = surplus > 0 && worth(it) <= limit;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests;
