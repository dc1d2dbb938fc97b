//! Tables, and what must hold whatever strangers do.

use proptest::prelude::*;

use super::*;

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn address(n: u32) -> Option<IpAddr> {
    Some(IpAddr::V4((0x0a00_0000 + n).into()))
}

fn home() -> Option<IpAddr> {
    Some("192.0.2.1".parse().unwrap())
}

/// A wrong password, if it may be tried.
fn guess(
    it: &mut Throttle,
    name: &str,
    from: Option<IpAddr>,
    now: Instant,
) -> Result<(), Duration> {
    it.begin(name, from, now).map(drop)
}

fn sign_in(it: &mut Throttle, name: &str, from: Option<IpAddr>, now: Instant) {
    let attempt = it.begin(name, from, now).unwrap();
    it.succeeded(attempt, now);
}

#[test]
fn guessing_at_one_name_gets_ever_slower() {
    let (mut throttle, start) = (Throttle::default(), start());
    for _ in 0..FREE {
        guess(&mut throttle, "bob", home(), start).unwrap();
    }
    let mut now = start;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let wait = guess(&mut throttle, "bob", home(), now).unwrap_err();
        assert_eq!(wait.as_secs(), seconds);
        sign_in(&mut throttle, "alice", home(), now);
        now += wait;
        guess(&mut throttle, "bob", home(), now).unwrap();
    }
    for _ in 0..FREE {
        guess(&mut throttle, "bob", home(), now + WINDOW).unwrap();
    }
}

#[test]
fn nobody_is_locked_out_by_a_stranger() {
    let (mut throttle, start) = (Throttle::default(), start());
    for second in 0..3_600 {
        let now = start + Duration::from_secs(second);
        let _ = guess(&mut throttle, "bob", address(1), now);
    }
    let now = start + Duration::from_secs(3_600);
    assert!(guess(&mut throttle, "bob", address(1), now).is_err());
    // Bob has never been here: even so, one stranger leaves him room.
    sign_in(&mut throttle, "bob", home(), now);
}

#[test]
fn a_name_guessed_at_from_many_networks_is_slowed_for_strangers_only() {
    let (mut throttle, now) = (Throttle::default(), start());
    sign_in(&mut throttle, "bob", home(), now);
    let passed = (0..1_000).filter(|n| guess(&mut throttle, "bob", address(*n), now).is_ok());
    assert_eq!(passed.count(), 20);
    let wait = guess(&mut throttle, "bob", address(5_000), now).unwrap_err();
    assert_eq!(wait, OF_NAME);
    sign_in(&mut throttle, "bob", home(), now);
    assert!(guess(&mut throttle, "bob", address(5_000), now + KNOWN).is_ok());
    let later = now + KNOWN;
    for n in 0..100 {
        let _ = guess(&mut throttle, "bob", address(n), later);
    }
    assert!(guess(&mut throttle, "bob", home(), later).is_err(), "a stranger after so long");
}

#[test]
fn success_forgets_what_was_mistyped() {
    let (mut throttle, now) = (Throttle::default(), start());
    for _ in 0..100 {
        for _ in 1..FREE {
            guess(&mut throttle, "bob", home(), now).unwrap();
        }
        sign_in(&mut throttle, "bob", home(), now);
    }
    guess(&mut throttle, "alice", home(), now).unwrap();
}

#[test]
fn guessing_at_many_names_from_one_network_is_slowed_but_a_classroom_is_not() {
    let (mut throttle, now) = (Throttle::default(), start());
    for n in 0..300 {
        guess(&mut throttle, &format!("u{n}"), home(), now).unwrap();
    }
    assert_eq!(guess(&mut throttle, "x", home(), now).unwrap_err(), OF_NETWORK);
    guess(&mut throttle, "x", address(2), now).unwrap();
    let mut classroom = Throttle::default();
    for n in 0..300 {
        let name = format!("u{n}");
        guess(&mut classroom, &name, home(), now).unwrap(); // mistyped
        sign_in(&mut classroom, &name, home(), now);
    }
    // An account of one's own buys no guesses at others'.
    for n in 0..300 {
        guess(&mut classroom, &format!("v{n}"), home(), now).unwrap();
        sign_in(&mut classroom, "u1", home(), now);
    }
    assert!(guess(&mut classroom, "x", home(), now).is_err());
}

#[test]
fn what_is_refused_counts_for_the_network() {
    let (mut throttle, now) = (Throttle::default(), start());
    sign_in(&mut throttle, "eve", home(), now);
    for _ in 0..1_000 {
        let _ = guess(&mut throttle, "bob", home(), now);
    }
    let wait = guess(&mut throttle, "alice", home(), now).unwrap_err();
    assert!(wait > Duration::from_secs(55) && wait <= MINUTE + OF_NETWORK, "{wait:?}");
    assert!(guess(&mut throttle, "bob", address(2), now).is_ok(), "bob's name is not used up");
    sign_in(&mut throttle, "eve", home(), now);
    guess(&mut throttle, "alice", home(), now + wait + OF_NETWORK).unwrap();
}

#[test]
fn an_attempt_nobody_could_decide_does_not_count() {
    let (mut throttle, now) = (Throttle::default(), start());
    for _ in 0..1_000 {
        let attempt = throttle.begin("bob", home(), now).unwrap();
        throttle.undecided(attempt);
    }
    assert!(throttle.pairs.is_empty());
}

#[test]
fn addresses_of_one_network_count_together() {
    let one = network("2001:db8::1".parse().unwrap());
    assert_eq!(one, network("2001:db8::ffff:1".parse().unwrap()));
    assert_ne!(one, network("2001:db8:0:1::1".parse().unwrap()));
    assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), home().unwrap());
}

#[test]
fn memory_is_bounded_and_what_matters_is_kept() {
    let (mut throttle, start) = (Throttle::default(), start());
    for _ in 0..FREE {
        guess(&mut throttle, "bob", home(), start).unwrap();
    }
    for n in 0..200_000 {
        let now = start + Duration::from_nanos(n.into());
        if let Ok(attempt) = throttle.begin(&format!("u{n}"), address(n / 10), now)
            && n % 2 == 0
        {
            throttle.succeeded(attempt, now);
        }
    }
    let sizes = [throttle.pairs.len(), throttle.names.len(), throttle.networks.len()];
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
    assert!(throttle.known.len() <= MOST_KNOWN && throttle.known.len() > MOST_KNOWN / 2);
    assert!(guess(&mut throttle, "bob", home(), start).is_err(), "bob's guesser is remembered");
    for n in 0..100 {
        sign_in(&mut throttle, "mover", address(n), start + MINUTE);
    }
    assert_eq!(throttle.known["mover"].len(), HOMES);
    let long = "ü".repeat(10_000);
    guess(&mut throttle, &long, home(), start + MINUTE * 3).unwrap();
    assert!(throttle.names.keys().all(|name| name.len() <= 256));
}

proptest! {
    /// Bob signed in from home. Whatever others do from elsewhere, he never waits there.
    #[test]
    fn who_succeeded_before_is_never_delayed_by_other_networks(
        steps in proptest::collection::vec((0u8..4, 0u32..40, 0u64..5_000), 1..400),
    ) {
        let (mut throttle, mut now) = (Throttle::default(), start());
        sign_in(&mut throttle, "bob", home(), now);
        for (what, which, millis) in steps {
            now += Duration::from_millis(millis / 50);
            match what {
                0 | 1 => _ = guess(&mut throttle, "bob", address(which), now),
                2 => _ = guess(&mut throttle, &format!("u{which}"), address(which), now),
                _ => {
                    let attempt = throttle.begin("bob", home(), now);
                    prop_assert!(attempt.is_ok(), "{attempt:?}");
                    throttle.succeeded(attempt.unwrap(), now);
                }
            }
        }
        prop_assert!(throttle.begin("bob", home(), now).is_ok());
    }

    /// However it spaces them: 5 at once, 6 more in the first minute, then one a minute; or the window from the start.
    #[test]
    fn a_network_gets_at_most_80_guesses_at_a_name_in_an_hour(
        pauses in proptest::collection::vec(prop_oneof![3 => 0u64..3, 2 => 0u64..70, 1 => 800u64..1_000], 1..400),
        known in any::<bool>(),
    ) {
        let (mut throttle, start) = (Throttle::default(), start());
        if known {
            sign_in(&mut throttle, "bob", home(), start);
        }
        let mut passed: Vec<Instant> = Vec::new();
        let mut now = start;
        for pause in pauses {
            now += Duration::from_secs(pause);
            if let Err(wait) = guess(&mut throttle, "bob", home(), now) {
                now += wait; // an honest announcement: then it is welcome
                prop_assert!(guess(&mut throttle, "bob", home(), now).is_ok());
            }
            passed.push(now);
        }
        for (n, first) in passed.iter().enumerate() {
            let hour = passed[n..].iter().take_while(|it| **it < *first + Duration::from_secs(3_600));
            prop_assert!(hour.count() <= 80);
        }
    }
}
