//! Random kills, panics, starts, stops and reloads under load; then everything agrees, nothing is lost, nothing leaks.
//!
//! The seed is printed; `SEED=…` repeats the run (what is done, to whom, and the pauses in between; not how the
//! machine's processors share it out). A short run in `make test`; ten minutes with a thousand deeds in `make chaos`;
//! `JOVIS_CHAOS_SECONDS` for as long as one wants, with `JOVIS_CHAOS_PAUSE` milliseconds between two deeds (`make soak`).

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{
        PATIENCE, Plan, Site,
        crowd::Crowd,
        ledger::{compare, write_down},
        load::{Load, Mix},
        process::Process,
        scale::{full, scaled},
        wait_until,
    },
};

/// Pauses between two deeds are up to twice this: a thousand in ten minutes.
const PAUSE: Duration = Duration::from_millis(450);
/// So many deeds, where no time is given.
const DEEDS_IN_ALL: usize = 1_000;

/// Numbers that a seed determines.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What a token's record takes in memory, in kilobytes: with its indexes, and twice while a snapshot is written.
const RECORD: u64 = 1;

/// What is done to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Start,
    Stop,
    KillServer,
    KillHub,
    KillProxy,
    KillRoot,
    Panic,
    KillAtEffect,
    Stall,
    Pause,
    Reload,
}

/// So often of a hundred.
const DEEDS: [(Deed, usize); 11] = [
    (Deed::Start, 28),
    (Deed::Stop, 14),
    (Deed::KillServer, 14),
    (Deed::KillHub, 8),
    (Deed::KillProxy, 5),
    (Deed::KillRoot, 1),
    (Deed::Panic, 15),
    (Deed::KillAtEffect, 4),
    (Deed::Stall, 3),
    (Deed::Pause, 2),
    (Deed::Reload, 6),
];

fn draw(dice: &mut Dice) -> Deed {
    let mut at = dice.below(DEEDS.iter().map(|(_, share)| share).sum());
    for (deed, share) in DEEDS {
        match at.checked_sub(share) {
            None => return deed,
            Some(rest) => at = rest,
        }
    }
    unreachable!("shares add up")
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Holds {
    descriptors: usize,
    kilobytes: u64,
    threads: u64,
}

fn holds(process: Process) -> Holds {
    let number = |name| {
        let text = process.status(name);
        text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    Holds {
        descriptors: process.descriptors(),
        kilobytes: number("VmRSS"),
        threads: number("Threads"),
    }
}

struct Run {
    site: Site,
    /// Whose servers nobody touches, and whose are started, stopped and killed.
    calm: Crowd,
    wild: Crowd,
    calm_servers: Vec<(String, Process)>,
    done: BTreeMap<Deed, usize>,
}

impl Run {
    fn new() -> Self {
        let site = Plan::crowd()
            .set("spawner.start_timeout", "10")
            .set("spawner.interrupt_timeout", "1")
            .set("spawner.term_timeout", "1")
            .set("spawner.kill_timeout", "2")
            .set("hub.slow_spawn_timeout", "1")
            .set("hub.slow_stop_timeout", "1")
            .set("log.level", "\"info\"")
            .start();
        let calm = Crowd::of(&site, "calm", scaled(8, 30));
        calm.start_all();
        let wild = Crowd::of(&site, "wild", scaled(8, 30));
        wild.start_all();
        let calm_servers = Self::only(&calm, &wild);
        let run = Self { site, calm, wild, calm_servers, done: BTreeMap::new() };
        run.agree();
        run
    }

    /// The processes of the calm; everybody else is one of the wild, and nobody has two.
    fn only(calm: &Crowd, wild: &Crowd) -> Vec<(String, Process)> {
        let all = calm.processes();
        for pair in all.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "two servers of one person");
        }
        let strangers: Vec<_> = all
            .iter()
            .filter(|(name, _)| !calm.names.contains(name) && !wild.names.contains(name))
            .collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        all.into_iter().filter(|(name, _)| calm.names.contains(name)).collect()
    }

    fn act(&mut self, deed: Deed, dice: &mut Dice) {
        *self.done.entry(deed).or_default() += 1;
        let name = dice.of(&self.wild.names).clone();
        let (chance, points) = (dice.below(1_000), jovis_actors::tree::messages());
        match deed {
            // nobody waits for more than an answer, and a hub may be killed over it
            Deed::Start => drop(self.wild.start(&name)),
            Deed::Stop => drop(self.wild.stop(&name)),
            Deed::KillServer => {
                let all = self.wild.processes();
                if let Some((_, process)) = all.iter().find(|(this, _)| *this == name) {
                    process.kill();
                }
            }
            Deed::KillHub => drop(self.site.role("@hub").map(Process::kill)),
            Deed::KillProxy => drop(self.site.role("@proxy").map(Process::kill)),
            Deed::KillRoot => {
                self.site.children();
                self.site.root().kill();
                self.site.ended(PATIENCE);
                self.site.start();
            }
            Deed::Panic => {
                let store = ["store:before:append", "store:after:append"];
                let points: Vec<&str> = points.iter().copied().chain(store).collect();
                self.leave(&format!("{} panic 1", points[chance % points.len()]));
            }
            Deed::KillAtEffect => {
                let effects: Vec<_> = self.site.passed().into_keys().collect();
                let effects: Vec<_> =
                    effects.iter().filter(|it| it.starts_with("effect:")).collect();
                if !effects.is_empty() {
                    self.leave(&format!("{} kill 1", effects[chance % effects.len()]));
                }
            }
            Deed::Stall => {
                self.leave(&format!("{} stall:300 1", points[chance % points.len()]));
            }
            Deed::Pause => {
                if let Some(hub) = self.site.role("@hub") {
                    hub.signal(Signal::SIGSTOP);
                    thread::sleep(Duration::from_millis(chance as u64));
                    hub.signal(Signal::SIGCONT);
                }
            }
            Deed::Reload => {
                let text = fs::read_to_string(&self.site.file).expect("it is there");
                let broken = chance.is_multiple_of(3);
                let other = if broken { text.replacen("port:", "prot:", 1) } else { text.clone() };
                fs::write(&self.site.file, other).expect("it is ours");
                self.site.root().signal(Signal::SIGHUP);
                if broken {
                    // a root that starts anew meanwhile would rightly refuse it
                    thread::sleep(Duration::from_millis(200));
                    fs::write(&self.site.file, text).expect("it is ours");
                }
            }
        }
    }

    /// Arms what the hub will find, this one or the next.
    fn leave(&self, fault: &str) {
        if self.site.state_dir().is_dir() {
            self.site.leave_armed(fault);
        }
    }

    /// World, store and routes say the same of everybody (I3, I4), and it stays so.
    fn agree(&self) {
        self.leave("disarm");
        let armed = self.site.state_dir().join("faults");
        wait_until("nothing is armed", PATIENCE, || !armed.exists());
        let everybody = || self.calm.names.iter().chain(&self.wild.names);
        let differs = || {
            let processes = self.calm.processes();
            everybody().find_map(|name| {
                let said = self.calm.said(name);
                let runs = processes.iter().any(|(this, _)| this == name);
                let (ready, served) = (said["ready"] == true, self.calm.answers(name));
                let fine = said["pending"].is_null() && runs == ready && ready == served;
                (!fine).then(|| {
                    format!("{name}: process {runs}, ready {ready}, routed {served}; {said}")
                })
            })
        };
        let (began, limit) = (Instant::now(), Duration::from_secs(10 + 4 + 5) + PATIENCE);
        while let Some(difference) = differs() {
            assert!(began.elapsed() < limit, "world, store and routes differ: {difference}");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(Self::only(&self.calm, &self.wild), self.calm_servers, "the calm are untouched");
        for (name, server) in &self.calm_servers {
            assert_eq!(self.calm.pid(name), Some(server.pid), "{name}'s route");
        }
        wait_until("no zombie is left", PATIENCE, || self.site.root().zombies() == 0);
    }

    fn resources(&self) -> [(&'static str, Holds); 3] {
        let (root, hub, proxy) = (self.site.root(), self.site.hub(), self.site.proxy());
        [("root", holds(root)), ("hub", holds(hub)), ("proxy", holds(proxy))]
    }
}

/// Within a tenth, and what a fresh process may differ by.
/// `records`: what was written meanwhile and is kept in the hub's memory, by right.
fn no_leak(
    before: &[(&str, Holds); 3],
    after: &[(&str, Holds); 3],
    records: usize,
) -> Result<(), String> {
    for ((role, was), (_, is)) in before.iter().zip(after) {
        let more = |was: u64, is: u64, slack: u64| is > was + was / 10 + slack;
        let room = if *role == "hub" { records as u64 * RECORD } else { 0 };
        if more(was.descriptors as u64, is.descriptors as u64, 8)
            || more(was.kilobytes, is.kilobytes, room + scaled(8_192, 4_096))
            || more(was.threads, is.threads, 4)
        {
            return Err(format!("{role}: {was:?} before, {is:?} after"));
        }
    }
    Ok(())
}

#[test]
fn random_kills_panics_starts_and_stops_under_load_leave_everything_in_step() {
    as_root!();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("chaos") % 1_000_000);
    let seconds = std::env::var("JOVIS_CHAOS_SECONDS").ok().and_then(|it| it.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(scaled(40, 1_500)));
    let pause = std::env::var("JOVIS_CHAOS_PAUSE").ok().and_then(|it| it.parse().ok());
    let pause = 2 * pause.unwrap_or(PAUSE.as_millis() as usize);
    let most = if seconds.is_none() { DEEDS_IN_ALL } else { usize::MAX };
    println!("chaos: SEED={seed}, at most {} s", length.as_secs());
    let mut dice = Dice(seed);
    let mut run = Run::new();
    let load = Load::start(
        &run.site,
        Mix {
            servers: run.calm.names.iter().map(|name| format!("/user/{name}/")).collect(),
            sockets: scaled(16, 100),
            reopen: true,
            requests: 20,
            hub: 5,
            page: Some("/hub/api/user".to_owned()),
            token: Some(run.calm.boss()),
            knocks: 20,
            ..Mix::default()
        },
    );
    let before = run.resources();
    let (over, crowd) = (Arc::new(AtomicBool::new(false)), run.calm.clone());
    let writer = thread::spawn({
        let over = over.clone();
        move || write_down(&crowd, &over)
    });
    let (began, mut deeds, mut checked) = (Instant::now(), 0, Instant::now());
    while began.elapsed() < length && deeds < most {
        thread::sleep(Duration::from_millis(dice.below(pause) as u64));
        let deed = draw(&mut dice);
        run.act(deed, &mut dice);
        deeds += 1;
        if checked.elapsed() > Duration::from_secs(60) {
            run.agree();
            checked = Instant::now();
        }
    }
    run.agree();
    over.store(true, Ordering::Relaxed);
    let (kept, unknown) = writer.join().expect("every acknowledged write is one");
    let after_load = load.so_far();
    // what the load itself holds at the proxy is part of both measures
    let leak_free = Instant::now();
    while let Err(leak) = no_leak(&before, &run.resources(), kept.len()) {
        assert!(leak_free.elapsed() < Duration::from_secs(60), "{leak}; {} writes", kept.len());
        thread::sleep(Duration::from_millis(500));
    }
    let after = run.resources();
    drop(load);
    println!(
        "chaos: SEED={seed}: {deeds} deeds {:?} in {:.0?}; {} writes acknowledged, {unknown} without an answer",
        run.done,
        began.elapsed(),
        kept.len()
    );
    after_load.print("chaos");
    for ((role, was), (_, is)) in before.iter().zip(&after) {
        println!("chaos: {role}: {was:?} before, {is:?} after");
    }
    compare(&run.calm, &kept);
    assert_eq!(after_load.hub.of("no answer"), 0, "{:?}", after_load.hub.failed);
    let done = |deed| run.done.get(&deed).copied().unwrap_or(0);
    // who works at a calm server is disturbed by the end of the proxy, and of root, with whom the proxy goes
    let (proxies, roots) = (done(Deed::KillProxy), done(Deed::KillRoot));
    let requests = &after_load.requests;
    let broken = requests.of("broken") + requests.of("refused");
    assert_eq!(requests.failures(), broken, "{:?}", requests.failed);
    assert!(roots > 0 || requests.of("refused") == 0, "{:?}", requests.failed);
    assert!(roots > 0 || after_load.knocks.failures() == 0, "{:?}", after_load.knocks.failed);
    let cuts = (proxies + roots) * scaled(16, 100);
    assert!(after_load.sockets.failures() <= cuts as u64, "{:?}", after_load.sockets.failed);
    // the log tells of every death of a role, and of nobody's secret
    let lines = run.site.log.since(0);
    let told = lines.iter().filter(|line| line.is("role ended")).count();
    assert!(told >= done(Deed::KillHub) / 2, "{told} ends of roles in the log");
    let secrets = run.calm.secrets().chain(run.wild.secrets()).collect::<Vec<_>>();
    let leaked = lines.iter().find(|line| secrets.iter().any(|it| line.raw.contains(it)));
    assert!(leaked.is_none(), "a token in the log");
    assert!(!full() || seconds.is_some() || deeds == most, "only {deeds} deeds");
}
