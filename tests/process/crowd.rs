//! Bad neighbours: starts that fail, hang or crash beside starts that are well.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{
        PATIENCE, Plan,
        crowd::Crowd,
        scale::{full, scaled},
        wait_until,
    },
};

/// Starts and stops each of these in turn; how long each start took until it answered through the proxy.
fn starts(crowd: &Crowd, names: &[String]) -> Vec<Duration> {
    let mut took = Vec::new();
    for name in names {
        let began = Instant::now();
        let status = crowd.start(name).expect("an answer");
        assert!(matches!(status, 201 | 202), "{name}: {status}");
        wait_until("it answers", PATIENCE, || crowd.answers(name));
        took.push(began.elapsed());
    }
    for name in names {
        let status = crowd.stop(name).expect("an answer");
        assert!(matches!(status, 202 | 204), "{name}: {status}");
        wait_until("it has stopped", PATIENCE, || crowd.process(name).is_none());
    }
    took.sort_unstable();
    took
}

#[test]
fn healthy_starts_are_not_slowed_by_those_that_fail_hang_and_crash_beside_them() {
    as_root!();
    let count = scaled(15, 50);
    let site = Plan::crowd()
        .set("spawner.http_timeout", "6")
        .set("hub.slow_spawn_timeout", "1")
        .set("spawner.interrupt_timeout", "1")
        .set("spawner.term_timeout", "1")
        .start();
    let words = ["exit", "hang", "silent", "broken", "die"];
    let bad = (0..count).map(|n| format!("{}-{n}", words[n % words.len()]));
    let good: Vec<String> = (0..count).map(|n| format!("anna-{n}")).collect();
    let crowd = Crowd::sign_in(&site, bad.chain(good.iter().cloned()));
    let bad = &crowd.names[..count];

    starts(&crowd, &good); // the first has pages to load and homes to make
    let without = starts(&crowd, &good);
    let over = std::sync::atomic::AtomicBool::new(false);
    let (with, tries) = thread::scope(|scope| {
        // all the time something is failing, hanging or crashing; a person who tries again once a second
        let trying = scope.spawn(|| {
            let mut tries = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for name in bad {
                    let status = crowd.start(name).map_err(|error| error.to_string());
                    assert!(
                        matches!(status, Ok(201 | 202 | 400 | 500 | 503)),
                        "{name}: {status:?}"
                    );
                    tries += 1;
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
            }
            tries
        });
        wait_until("some hang by now", PATIENCE, || {
            crowd.processes().iter().filter(|(name, _)| !name.starts_with("exit")).count() >= 3
        });
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| starts(&crowd, &good)));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        let tries = trying.join().expect("every try has an answer");
        (result.expect("healthy starts succeed"), tries)
    });
    let median = |all: &[Duration]| all[all.len() / 2];
    let (plain, beside) = (median(&without), median(&with));
    println!(
        "bad neighbours: {count} healthy starts: median {plain:.1?} alone, {beside:.1?} beside {count} that fail ({tries} \
         tries)"
    );
    assert_eq!(with.len(), count);
    // a start takes some hundredths of a second here: what a busy machine adds is more than a quarter
    let slack = if full() { plain / 4 } else { plain / 4 + Duration::from_millis(100) };
    assert!(beside <= plain + slack, "{plain:?} alone, {beside:?} beside them");
    // and none of the bad ones stays pending for longer than its limits
    wait_until("nothing is pending any more", Duration::from_secs(6 + 2 + 5) * 2, || {
        bad.iter().filter(|name| !name.starts_with("die")).all(|name| crowd.said(name).is_null())
    });
}
