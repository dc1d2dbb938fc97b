//! `kill -9` of the hub at every effect of a server's machine, before and after it, in the real process.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    as_root,
    support::{PATIENCE, Plan, Site, crowd::Crowd, scale::full, wait_until},
};

/// Nothing may be pending for longer: `start_timeout + stop_timeout + 5 s`, as this hub has them.
const PENDING: Duration = Duration::from_secs(5 + 5 + 3 + 5);

fn plan() -> Plan {
    Plan::crowd()
        .set("spawner.start_timeout", "5")
        .set("spawner.http_timeout", "5")
        .set("spawner.interrupt_timeout", "1")
        .set("spawner.term_timeout", "1")
        .set("spawner.kill_timeout", "1")
        .set("hub.slow_spawn_timeout", "2")
        .set("hub.slow_stop_timeout", "2")
}

/// Start, a death, the start that follows it, a stop, and a start that fails: what a server's life is made of. No answer
/// of the hub is asked for: it may be dead at any point.
fn life(site: &Site, crowd: &Crowd, good: &str, bad: &str) {
    let settled = |name: &str, runs: bool| {
        let began = Instant::now();
        wait_until(&format!("{name} is settled"), PENDING + PATIENCE, || {
            let server = crowd.said(name);
            let process = crowd.process(name); // panics if there are two
            if runs && server.is_null() && process.is_none() {
                // the request was lost with the hub, or its start was: a person tries again
                let _ = crowd.start(name);
            }
            if !runs && server["ready"] == true {
                let _ = crowd.stop(name);
            }
            match runs {
                true => server["ready"] == true && process.is_some() && crowd.answers(name),
                false => server.is_null() && process.is_none() && !crowd.answers(name),
            }
        });
        assert!(began.elapsed() < PENDING + PATIENCE, "{:?}", began.elapsed());
    };
    let _ = crowd.start(good);
    settled(good, true);
    if let Some(process) = crowd.process(good) {
        process.kill();
        wait_until("it is gone", PATIENCE, || !process.lives());
    }
    settled(good, true);
    let _ = crowd.stop(good);
    settled(good, false);
    let _ = crowd.start(bad);
    wait_until("the failed start is over", PENDING + PATIENCE, || {
        crowd.said(bad).is_null() && crowd.process(bad).is_none()
    });
    assert!(site.servers().iter().all(|it| crowd.processes().iter().any(|(_, p)| p == it)));
}

#[test]
fn the_hub_killed_at_every_effect_leaves_one_server_or_none_and_nothing_pending() {
    as_root!();
    let site = plan().start();
    // a person for each point: deaths of one server count together
    let names = (0..60).flat_map(|n| [format!("anna-{n}"), format!("exit-{n}")]);
    let crowd = Crowd::sign_in(&site, names);
    life(&site, &crowd, "anna-0", "exit-0");
    wait_until("the points are told", PATIENCE, || {
        site.passed().keys().any(|point| point.starts_with("effect:"))
    });
    let points: BTreeSet<String> = site
        .passed()
        .into_keys()
        .filter(|point| point.starts_with("effect:") && !point.ends_with(":Recover"))
        .collect();
    assert!(points.len() >= 12, "{points:?}");
    // a short run takes turns: before one effect, after the next
    let turn = |(n, point): (usize, &String)| {
        let effect = n % (points.len() / 2);
        full() || point.starts_with("effect:before") == effect.is_multiple_of(2)
    };
    let chosen: Vec<_> = points.iter().enumerate().filter(|it| turn(*it)).map(|it| it.1).collect();
    let (mut hit, began) = (0, Instant::now());
    for (n, point) in chosen.iter().enumerate() {
        let hub = site.hub();
        site.arm(&format!("{point} kill 1"));
        life(&site, &crowd, &format!("anna-{}", n + 1), &format!("exit-{}", n + 1));
        // A server is killed only where it does not end in time: on a busy machine in one life, in the next one not.
        assert!(!hub.lives() || point.ends_with(":Kill"), "{point} was not passed");
        hit += u32::from(!hub.lives());
    }
    println!("killed at {hit} points of {}, in {:.1?}", points.len(), began.elapsed());
    // the recovery itself, too: what is found running is found again by the next one
    crowd.start("anna-50").expect("an answer");
    wait_until("it answers", PATIENCE, || crowd.answers("anna-50"));
    let server = crowd.process("anna-50");
    for point in ["effect:before:Recover", "effect:after:Recover"] {
        let hub = site.hub();
        site.leave_armed(&format!("{point} kill 1"));
        hub.kill();
        wait_until("the hub that recovers dies too, and the next one answers", PATIENCE, || {
            let third = site.role("@hub").is_some_and(|now| now != hub);
            third
                && !site.state_dir().join("faults").exists()
                && crowd.said("anna-50")["ready"] == true
        });
        assert_eq!(crowd.process("anna-50"), server, "{point}");
    }
}
