//! How often may one try? Pure.
//!
//! Failures are counted per name and per address. Some are free; each further one makes the next attempt wait twice as
//! long, up to a limit that keeps guessing slow but does not lock anybody out for good. Success clears the name and
//! forgives the address some failures: many people behind one address sign in, and somebody with an account of his own
//! cannot wipe the slate for guessing at others'. An attempt counts as failed from its beginning, so that many at once
//! gain nothing.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// So many names, and so many addresses, are kept in mind.
pub const MOST: usize = 20_000;

/// A failure is forgotten when no other follows for so long.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Free failures per name.
const FREE_NAME: u32 = 5;

/// Free failures per address: a classroom behind one address mistypes more often than one person.
const FREE_ADDRESS: u32 = 50;

/// Failures a success forgives its address.
const FORGIVEN: u32 = 10;

/// First wait, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    last: Instant,
}

impl Record {
    /// From when on is another attempt welcome?
    fn open_at(&self, free: u32) -> Instant {
        if self.failures < free {
            return self.last;
        }
        let doublings = (self.failures - free).min(16);
        self.last + (WAITS.0 * 2u32.pow(doublings)).min(WAITS.1)
    }
}

/// Counts.
#[derive(Debug, Default)]
pub struct Throttle {
    names: HashMap<String, Record>,
    addresses: HashMap<IpAddr, Record>,
}

impl Throttle {
    /// An attempt begins; or has to wait so long. `name` is normalised, so that spelling gains nothing.
    pub fn begin(
        &mut self,
        name: &str,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Duration> {
        let name = cut(name);
        let from = from.map(network);
        let mut open = now;
        for (record, free) in [
            (self.names.get(name), FREE_NAME),
            (from.and_then(|from| self.addresses.get(&from)), FREE_ADDRESS),
        ] {
            let fresh = record.filter(|it| now.saturating_duration_since(it.last) < WINDOW);
            open = open.max(fresh.map_or(now, |record| record.open_at(free)));
        }
        if open > now {
            return Err(open - now);
        }
        count(&mut self.names, name.to_owned(), now);
        if let Some(from) = from {
            count(&mut self.addresses, from, now);
        }
        Ok(())
    }

    /// It succeeded.
    pub fn succeeded(&mut self, name: &str, from: Option<IpAddr>) {
        self.names.remove(cut(name));
        self.forgive(from, FORGIVEN);
    }

    /// It neither succeeded nor failed: nobody could say.
    pub fn undecided(&mut self, name: &str, from: Option<IpAddr>) {
        if let Some(record) = self.names.get_mut(cut(name)) {
            record.failures = record.failures.saturating_sub(1);
        }
        self.forgive(from, 1);
    }

    fn forgive(&mut self, from: Option<IpAddr>, failures: u32) {
        if let Some(record) = from.and_then(|from| self.addresses.get_mut(&network(from))) {
            record.failures = record.failures.saturating_sub(failures);
        }
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

fn count<K: Eq + Hash + Clone>(records: &mut HashMap<K, Record>, key: K, now: Instant) {
    let fresh = |record: &Record| now.saturating_duration_since(record.last) < WINDOW;
    if records.len() >= MOST && !records.contains_key(&key) {
        records.retain(|_, record| fresh(record));
        if records.len() >= MOST {
            // The quiet tenth goes, so that this is seldom.
            let mut times: Vec<_> = records.values().map(|record| record.last).collect();
            times.sort_unstable();
            let limit = times[MOST / 10];
            records.retain(|_, record| record.last > limit);
        }
    }
    let record = records.entry(key).or_insert(Record { failures: 0, last: now });
    if !fresh(record) {
        record.failures = 0;
    }
    record.failures = record.failures.saturating_add(1);
    record.last = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn home() -> Option<IpAddr> {
        Some("192.0.2.1".parse().unwrap())
    }

    #[test]
    fn guessing_at_one_name_gets_ever_slower() {
        let (mut throttle, start) = (Throttle::default(), start());
        for _ in 0..FREE_NAME {
            throttle.begin("bob", home(), start).unwrap();
        }
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = throttle.begin("bob", home(), now).unwrap_err();
            assert_eq!(wait.as_secs(), seconds);
            throttle.begin("alice", home(), now).unwrap();
            throttle.succeeded("alice", home());
            now += wait;
            throttle.begin("bob", home(), now).unwrap();
        }
        throttle.begin("bob", home(), now + WINDOW).unwrap();
        throttle.begin("bob", home(), now + WINDOW).unwrap();
    }

    #[test]
    fn success_clears_the_name() {
        let (mut throttle, now) = (Throttle::default(), start());
        for _ in 0..10 {
            for _ in 0..FREE_NAME {
                throttle.begin("bob", home(), now).unwrap();
            }
            throttle.succeeded("bob", home());
        }
    }

    #[test]
    fn guessing_at_many_names_from_one_address_is_slowed_but_a_classroom_is_not() {
        let (mut throttle, now) = (Throttle::default(), start());
        for n in 0..FREE_ADDRESS {
            throttle.begin(&format!("u{n}"), home(), now).unwrap();
        }
        assert!(throttle.begin("x", home(), now).is_err());
        throttle.begin("x", Some("192.0.2.2".parse().unwrap()), now).unwrap();
        let mut classroom = Throttle::default();
        for n in 0..300 {
            let name = format!("u{n}");
            classroom.begin(&name, home(), now).unwrap(); // mistyped
            classroom.begin(&name, home(), now).unwrap();
            classroom.succeeded(&name, home());
        }
    }

    #[test]
    fn an_attempt_nobody_could_decide_does_not_count() {
        let (mut throttle, now) = (Throttle::default(), start());
        for _ in 0..100 {
            throttle.begin("bob", home(), now).unwrap();
            throttle.undecided("bob", home());
        }
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let one = network("2001:db8::1".parse().unwrap());
        assert_eq!(one, network("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(one, network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), home().unwrap());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), start());
        for n in 0..MOST as u32 + 10 {
            let from = IpAddr::V4((0x0a00_0000 + n).into());
            let _ =
                throttle.begin(&format!("u{n}"), Some(from), now + Duration::from_micros(n.into()));
        }
        assert!(throttle.names.len() <= MOST && throttle.addresses.len() <= MOST);
    }
}
