//! Seeds, and the search for the smallest plan that fails.

use tokio::time::Instant;

use super::*;

/// A plan of so many acts.
fn plan(seed: u64, acts: usize) -> Vec<(Ms, Act)> {
    let world = World::new(seed);
    let mut draws = 1_000_000_u64;
    let mut draw = |below: u64| {
        draws += 1;
        world.chance(draws, below)
    };
    let mut at = 0;
    (0..acts)
        .map(|_| {
            at += match draw(4) {
                0 => draw(20),
                1 => draw(1_000),
                2 => draw(10_000),
                _ => draw(100_000),
            };
            let user = 1 + draw(USERS);
            let act = match draw(20) {
                0..=6 => Act::Start(user),
                7..=8 => Act::Stop(user),
                9 => Act::Remove(user),
                10..=11 => {
                    let exits = [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::Unknown];
                    Act::Die(user, exits[usize::try_from(draw(4)).unwrap()])
                }
                12 => Act::Crash(draw(3_000)),
                13..=14 => Act::CrashAt(u32::try_from(draw(30)).unwrap()),
                15 => Act::Unreachable(draw(120_000)),
                16 => Act::Full(draw(60_000)),
                17 => Act::Forget,
                18 => Act::Root,
                _ => {
                    let jumps = [3_600, -3_600, 86_400, -86_400, 315_360_000, -315_360_000];
                    Act::Clock(jumps[usize::try_from(draw(6)).unwrap()])
                }
            };
            (at, act)
        })
        .collect()
}

/// The smallest part of it that still fails: one act left out after the other.
fn shrunk(seed: u64, mut plan: Vec<(Ms, Act)>) -> Vec<(Ms, Act)> {
    loop {
        let without = (0..plan.len()).find_map(|index| {
            let mut less = plan.clone();
            less.remove(index);
            run(seed, &less).0.is_err().then_some(less)
        });
        match without {
            Some(less) => plan = less,
            None => return plan,
        }
    }
}

fn check(seed: u64, plan: Vec<(Ms, Act)>) -> u64 {
    let (outcome, steps) = run(seed, &plan);
    if outcome.is_err() {
        let least = shrunk(seed, plan);
        let (why, _) = run(seed, &least);
        let why = why.err().map(|why| why.to_string()).unwrap_or_default();
        panic!("seed {seed}: {why}\n{least:#?}");
    }
    steps
}

#[test]
fn records_world_and_routes_agree_after_any_history() {
    #[expect(clippy::disallowed_methods, reason = "a test may look at how it is run")]
    let variable = |name| std::env::var(name).ok();
    if let Some(seed) = variable("SEED").and_then(|seed| seed.parse().ok()) {
        check(seed, plan(seed, 60));
        return;
    }
    let full = variable("JOVIS_SCALE").is_some_and(|scale| scale == "full");
    let limit = Duration::from_secs(if full { 600 } else { 8 });
    let (begun, mut seeds, mut steps) = (Instant::now(), 0, 0);
    while begun.elapsed() < limit && seeds < 100_000 {
        seeds += 1;
        steps += check(seeds, plan(seeds, 60));
    }
    let rate = steps as f64 / begun.elapsed().as_secs_f64();
    println!("simulator: {seeds} seeds, {steps} steps, {rate:.0} steps/s");
    assert!(seeds >= 100, "{seeds} seeds only");
}

#[test]
fn a_hub_that_ends_at_any_effect_leaves_at_most_one_server_per_order() {
    let mut runs = 0;
    for seed in 1..=40 {
        for effect in 0..40 {
            let plan = vec![
                (10, Act::CrashAt(effect)),
                (20, Act::Start(1)),
                (40_000, Act::Die(1, Exit::Signal(9))),
                (80_000, Act::Stop(1)),
                (300_000, Act::Start(1)),
            ];
            check(seed, plan.clone());
            let removes = |(at, act)| match act {
                Act::Stop(user) => (at, Act::Remove(user)),
                other => (at, other),
            };
            check(seed, plan.into_iter().map(removes).collect());
            runs += 2;
        }
    }
    println!("ends at effects: {runs} runs");
}

/// What is wrong after this history.
fn wrong(mut sim: Sim, history: &[(Ms, Act)]) -> String {
    BROKEN.with(|it| it.borrow_mut().take());
    for (at, act) in history {
        while sim.turn(*at) {}
        sim.act(*act);
    }
    while sim.turn(2_000_000) {}
    sim.agrees();
    BROKEN.with(|it| it.borrow_mut().take()).expect("something is wrong")
}

#[test]
fn an_orphan_that_nobody_looks_for_is_found_out() {
    let mut sim = Sim::new(1);
    sim.world.order(key(1), OrderId::from_bytes([9; 16]), Some(100));
    sim.hub.as_mut().unwrap().due.clear();
    let what = wrong(sim, &[]);
    assert!(what.contains("nobody knows it"), "{what}");
}

#[test]
fn a_spawner_that_guesses_is_found_out() {
    // Away while the hub starts anew: it must say nothing, and it says that there is no such server.
    let seen = (1..=20).filter(|seed| {
        let mut sim = Sim::new(*seed);
        sim.world.guesses = true;
        BROKEN.with(|it| it.borrow_mut().take());
        let history =
            [(10, Act::Start(1)), (100_000, Act::Unreachable(60_000)), (100_100, Act::Crash(10))];
        for (at, act) in history {
            while sim.turn(at) {}
            sim.act(act);
        }
        while sim.turn(2_000_000) {}
        BROKEN.with(|it| it.borrow_mut().take()).is_some_and(|what| what.contains("was dropped"))
    });
    assert!(seen.count() >= 5, "most of twenty servers ran, and each was dropped");
}

#[test]
fn the_clock_may_jump_while_servers_run() {
    for seed in 1..=30 {
        for jump in [3_600, 86_400, 315_360_000] {
            let history = [
                (10, Act::Start(1)),
                (100_000, Act::Clock(jump)),
                (200_000, Act::Die(1, Exit::Signal(9))),
                (200_100, Act::Clock(-2 * jump)),
                (300_000, Act::Start(2)),
                (300_050, Act::Clock(jump)),
                (500_000, Act::Stop(1)),
            ];
            check(seed, history.to_vec());
        }
    }
}
