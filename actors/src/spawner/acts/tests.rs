//! How soon a server is noticed, and what its last words say.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::*;
use crate::{
    ports::Boxed,
    testing::{ScriptedSpawner, SeededEntropy},
};

/// A server that answers from this moment on.
struct Late {
    from: Instant,
    asked: AtomicU64,
}

impl Probe for Late {
    fn probe<'a>(&'a self, _: &'a str, _: &'a str) -> Boxed<'a, Result<String, ProbeError>> {
        self.asked.fetch_add(1, SeqCst);
        let answer = match Instant::now() >= self.from {
            true => Ok("6.1.1".to_owned()),
            false => Err(ProbeError::NotYet("refused".to_owned())),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// How late a server that answers after so long is noticed, and how often it was asked.
async fn lateness(after: Duration, seed: u64) -> (Duration, u64) {
    let from = Instant::now() + after;
    let late = Arc::new(Late { from, asked: AtomicU64::new(0) });
    let entropy = Arc::new(SeededEntropy::new(seed));
    let text = String::new;
    let probed = probe(late.clone(), text(), text(), Duration::from_secs(60), entropy).await;
    assert_eq!(probed, Probed::Answered("6.1.1".to_owned()));
    (from.elapsed(), late.asked.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_young_server_is_noticed_within_a_fifth_of_a_second_and_an_old_one_within_one() {
    for seed in 1..=150 {
        let after = Duration::from_millis(97) * u32::try_from(seed).unwrap();
        let (late, asked) = lateness(after, seed).await;
        // The timer counts whole milliseconds.
        assert!(late <= SHORT + Duration::from_millis(2), "{late:?} after {after:?}");
        assert!(asked < 160, "{asked} attempts within {after:?}");
        let (late, asked) = lateness(after + YOUNG, seed).await;
        assert!(late <= PROBE.1 + Duration::from_millis(2), "{late:?} after {after:?} more");
        assert!(asked < 190, "{asked} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_are_not_in_step() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..10 {
        seen.insert(lateness(Duration::from_secs(5), seed).await.0);
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn an_address_in_use_is_told_from_other_words() {
    for (tail, in_use) in [
        ("", false),
        ("Traceback\nOSError: [Errno 98] Address already in use", true),
        ("Error: listen EADDRINUSE: 127.0.0.1:20001", true),
        ("[C ServerApp] ERROR: the port 20001 is already in use\nbye", true),
        ("ModuleNotFoundError: No module named 'x'", false),
    ] {
        assert_eq!(says_address_in_use(tail), in_use, "{tail}");
    }
    let long_ago = format!("Address already in use\n{}", "next\n".repeat(LAST_LINES));
    assert!(!says_address_in_use(&long_ago));
}

#[tokio::test]
async fn only_a_failure_is_asked_for_its_words() {
    let world = ScriptedSpawner::default();
    world.set_log_tail("Address already in use");
    for (n, exit, in_use) in [
        (1, Exit::Code(1), true),
        (2, Exit::Code(0), false),
        (3, Exit::Signal(9), false),
        (4, Exit::Unknown, false),
    ] {
        let order = OrderId::from_bytes([n; 16]);
        let handle = world.plant(&order).handle;
        world.end(&order, exit);
        let second = Duration::from_secs(1);
        let backoff = Backoff::new(second, second, Arc::new(SeededEntropy::new(1)));
        let server = ServerName::default_server();
        let life = Life { user: "bob".to_owned(), server, order: order.clone() };
        let heard = watch(Arc::new(world.clone()), life, handle, backoff).await;
        assert_eq!(heard, Event::Exited { order, exit, address_in_use: in_use });
    }
}
