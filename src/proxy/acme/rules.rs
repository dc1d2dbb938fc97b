//! When a certificate is renewed, when a failed try is repeated, and which certificate is taken. Pure: moments are
//! seconds since 1970.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::certificate;

/// A day, in seconds.
const DAY: i64 = 24 * 3600;
/// Longest wait that an authority may ask for: its limits are by the week.
const LONGEST: i64 = 7 * DAY;

/// When this certificate (PEM) is to be renewed: now if it is none, or lacks a wanted name; otherwise so many days before
/// its end (0: when a third of its life is left), a little sooner by chance, so that a thousand hubs that were set up in
/// one minute do not all come back in one minute. Never in the first third of its life.
pub(super) fn due(pem: &[u8], names: &[String], before_days: u32, chance: u64) -> i64 {
    let Some((begin, end)) = certificate::validity(pem) else { return 0 };
    if !bears(pem, names) {
        return 0;
    }
    let life = end.saturating_sub(begin).max(0);
    let before = match i64::from(before_days) {
        0 => life / 3,
        days => days * DAY,
    };
    let spread = life / 20;
    let sooner = spread * i64::try_from(chance % 1024).unwrap_or(0) / 1024;
    (end - before - sooner).max(begin + life / 3)
}

/// When it is renewed if the authority would have it between these moments: at one of them by chance, if that is sooner.
/// Not within a certificate's first day, so that an authority that always says `now` has not all of our time. (At once
/// where tests play authorities.)
pub(super) fn sooner(due: i64, pem: &[u8], (start, end): (i64, i64), chance: u64) -> i64 {
    let first = if cfg!(feature = "faults") { 0 } else { DAY };
    let begin = certificate::validity(pem).map_or(0, |(begin, _)| begin);
    let length = i128::from(end) - i128::from(start);
    let share = length.max(0) * i128::from(chance % 1024) / 1024;
    let picked = i64::try_from(i128::from(start) + share).unwrap_or(i64::MAX);
    due.min(picked.max(begin.saturating_add(first)))
}

/// Does the certificate bear all of these names?
fn bears(pem: &[u8], names: &[String]) -> bool {
    let borne = certificate::names(pem);
    names.iter().all(|name| borne.contains(&name.to_ascii_lowercase()))
}

/// Is this what we asked for?
///
/// # Errors
///
/// Why it is not shown to anybody.
pub(super) fn take(chain: &[u8], key: &[u8], names: &[String], now: i64) -> Result<(), String> {
    certificate::fits(chain, key)?;
    if !bears(chain, names) {
        return Err("the certificate is for other names".to_owned());
    }
    match certificate::validity(chain) {
        None => Err("until when the certificate is good cannot be read".to_owned()),
        Some((_, end)) if end <= now => Err("the certificate has ended already".to_owned()),
        Some(_) => Ok(()),
    }
}

/// What lasts of tries: kept on disk, so that a proxy that ends again and again does not ask again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tries {
    /// How many have failed one after the other.
    pub(super) failures: u32,
    /// When the last one began.
    last: i64,
    /// Not before then.
    not_before: i64,
    /// The authority itself wants that.
    told: bool,
}

impl Tries {
    /// One begins now: as it is if nothing more is heard of it.
    pub(super) fn begun(self, now: i64, retry: Duration, chance: u64) -> Self {
        let failures = self.failures.saturating_add(1);
        let pause = pause(failures, retry, chance);
        Self { failures, last: now, not_before: now.saturating_add(pause), told: false }
    }

    /// It failed. `told`: the seconds that the authority wants us to wait.
    pub(super) fn failed(self, now: i64, told: Option<u64>) -> Self {
        let took = now.saturating_sub(self.last).max(0);
        let ours = self.not_before.saturating_add(took);
        let theirs = told.map(|told| i64::try_from(told).unwrap_or(LONGEST).min(LONGEST));
        let theirs = theirs.map(|told| now.saturating_add(told)).filter(|told| *told > ours);
        Self { not_before: theirs.unwrap_or(ours), told: theirs.is_some(), ..self }
    }

    /// It did not fail.
    pub(super) fn over(self) -> Self {
        Self { failures: 0, not_before: 0, told: false, ..self }
    }

    /// An operator has been there and may have mended something: not as long as after so many failures, unless the
    /// authority wants it.
    pub(super) fn hurried(self, retry: Duration) -> Self {
        let soon = self.last.saturating_add(seconds(retry));
        let not_before = if self.told { self.not_before } else { self.not_before.min(soon) };
        Self { not_before, ..self }
    }

    /// When what is due then is tried. A clock that was wrong when a moment was noted makes nobody wait for years.
    pub(super) fn next(&self, due: i64, now: i64, retry: Duration) -> i64 {
        let last = self.last.min(now);
        let noted = self.not_before.min(now.saturating_add(LONGEST));
        due.max(noted).max(last.saturating_add(seconds(retry)))
    }
}

/// After so many failures: `retry`, then ten times as long each time, at most a day; and up to a quarter more by chance.
/// (Let's Encrypt asks for that, and lets five failures an hour pass.)
fn pause(failures: u32, retry: Duration, chance: u64) -> i64 {
    let most = DAY.max(seconds(retry));
    let times = 10_i64.saturating_pow(failures.saturating_sub(1).min(18));
    let pause = seconds(retry).max(1).saturating_mul(times).min(most);
    pause + pause / 4 * i64::try_from(chance % 1024).unwrap_or(0) / 1024
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(DAY).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &[u8] = include_bytes!("../tests/tls/ec-cert.pem");
    const EC_KEY: &[u8] = include_bytes!("../tests/tls/ec-pkcs8.pem");
    const RSA_KEY: &[u8] = include_bytes!("../tests/tls/rsa-pkcs1.pem");
    const MINUTE: Duration = Duration::from_secs(60);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let (begin, end) = certificate::validity(EC).unwrap();
        let (life, ours) = (end - begin, names(&["LocalHost"]));
        assert_eq!(due(EC, &ours, 0, 0), end - life / 3);
        assert_eq!(due(EC, &ours, 30, 0), end - 30 * DAY);
        // By chance, but neither much sooner nor, with any number of days, all the time.
        for chance in [1, 512, 1023, u64::MAX] {
            let early = end - life / 3 - due(EC, &ours, 0, chance);
            assert!((1..=life / 20).contains(&early), "{early}");
        }
        assert_eq!(due(EC, &ours, u32::MAX, 0), begin + life / 3);
    }

    #[test]
    fn an_authority_may_have_it_sooner_but_never_later() {
        let (begin, end) = certificate::validity(EC).unwrap();
        let (due, middle) = (end - 1000, begin + 10 * DAY);
        assert_eq!(sooner(due, EC, (middle, middle + 1024), 512), middle + 512);
        assert_eq!(sooner(due, EC, (end, end + DAY), 0), due);
        assert_eq!(sooner(due, EC, (i64::MIN, i64::MAX), 1023), due);
        let first = if cfg!(feature = "faults") { begin } else { begin + DAY };
        assert_eq!(sooner(due, EC, (0, 1), 0), first);
    }

    #[test]
    fn what_is_none_or_lacks_a_name_is_got_at_once() {
        for pem in [&b""[..], b"garbage", EC_KEY] {
            assert_eq!(due(pem, &names(&["localhost"]), 0, 0), 0);
        }
        assert_eq!(due(EC, &names(&["localhost", "b"]), 0, 0), 0);
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let (_, end) = certificate::validity(EC).unwrap();
        let ours = names(&["localhost"]);
        assert_eq!(take(EC, EC_KEY, &ours, end - 1), Ok(()));
        let table = [
            (EC, RSA_KEY, &ours, 0, "another certificate"),
            (EC, EC_KEY, &names(&["localhost", "b"]), 0, "other names"),
            (EC, EC_KEY, &ours, end, "ended"),
            (EC_KEY, EC_KEY, &ours, 0, "no certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                EC_KEY,
                &ours,
                0,
                "",
            ),
        ];
        for (chain, key, names, now, words) in table {
            let error = take(chain, key, names, now).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn failures_are_repeated_ever_more_seldom() {
        let waits: Vec<_> = (1..7).map(|failures| pause(failures, MINUTE, 0)).collect();
        assert_eq!(waits, [60, 600, 6000, 60_000, DAY, DAY]);
        assert!(pause(1, MINUTE, 1023) < 75 && pause(u32::MAX, MINUTE, 1023) < DAY + DAY / 4);
        assert_eq!(pause(3, Duration::ZERO, 0), 100);
        let mut tries = Tries::default();
        let mut now = 1_000_000;
        for wait in waits {
            tries = tries.begun(now, MINUTE, 0);
            assert_eq!(tries.next(0, now, MINUTE), now + wait);
            // From its end on.
            tries = tries.failed(now + 5, None);
            now = tries.next(0, now, MINUTE);
            assert_eq!(now, tries.last + 5 + wait);
        }
        assert_eq!(tries.over().next(0, now, MINUTE), tries.last + 60);
        assert_eq!(tries.over().begun(now, MINUTE, 0).next(0, now, MINUTE), now + 60);
    }

    #[test]
    fn the_authority_may_want_more_but_not_for_ever() {
        let (now, tries) = (1_000_000, Tries::default().begun(1_000_000, MINUTE, 0));
        assert_eq!(tries.failed(now, Some(3600)).next(0, now, MINUTE), now + 3600);
        assert_eq!(tries.failed(now, Some(5)).next(0, now, MINUTE), now + 60);
        assert_eq!(tries.failed(now, Some(u64::MAX)).next(0, now, MINUTE), now + LONGEST);
        // No operator changes that.
        let told = tries.failed(now, Some(3600)).hurried(MINUTE);
        assert_eq!(told.next(0, now, MINUTE), now + 3600);
    }

    #[test]
    fn an_operator_hurries_it_but_hammers_nobody() {
        let (now, mut tries) = (1_000_000, Tries::default());
        for _ in 0..4 {
            tries = tries.begun(now, MINUTE, 0).failed(now, None);
        }
        assert_eq!(tries.next(0, now, MINUTE), now + 60_000);
        assert_eq!(tries.hurried(MINUTE).next(0, now, MINUTE), now + 60);
        // A certificate that is due again as soon as it is there is not got again at once.
        assert_eq!(tries.over().next(now, now, MINUTE), now + 60);
        assert_eq!(tries.over().next(now + 500, now, MINUTE), now + 500);
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_stop_renewal() {
        let now = 1_000_000;
        let far = Tries::default().begun(now + 100 * 365 * DAY, MINUTE, 0);
        assert_eq!(far.next(0, now, MINUTE), now + LONGEST);
    }
}
