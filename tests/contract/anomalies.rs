//! The anomaly loop (RELIABILITY.md, section 5), over every call with which a store touches its disk, sled's included:
//! the k-th fails, for all k, once or for ever, with EIO or ENOSPC, at writing, syncing, renaming, opening or reading,
//! or a write comes out short. Whatever happens, a group is made or it is not, and its caller was told the truth.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jovis::store::{DiskJournal, sled_hangs};
use jovis_actors::ports::{Journal as _, StoreError};

use super::{
    shim::{self, Fault, Shim, scratch},
    store::{GROUP, after, group},
};
use crate::support::scale;

/// Names the folder in which the child of the tests below works.
const CHILD: &str = "JOVIS_CONTRACT_ANOMALIES_CHILD";
/// Where its stories begin: what makes one run differ from the next, the number of its first story, and its time in
/// milliseconds.
const SEED: &str = "JOVIS_CONTRACT_ANOMALIES_SEED";
const FROM: &str = "JOVIS_CONTRACT_ANOMALIES_FROM";
const UNTIL: &str = "JOVIS_CONTRACT_ANOMALIES_UNTIL";

/// No story makes so many calls.
const MOST_CALLS: u64 = 2_000;

/// No story stands still for so long: a sled that hangs as it opens is waited for 30 s, and there may be two in a row.
const STILL: Duration = Duration::from_secs(90);

/// Groups of a story of 201 changes.
const GROUPS: u64 = 67;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The ways in which a call can fail.
const WAYS: [Fault; 6] = {
    let plain = Fault { call: 0, errno: EIO, for_ever: false, short: false, reads: false };
    [
        plain,
        Fault { for_ever: true, ..plain },
        Fault { errno: ENOSPC, ..plain },
        Fault { errno: ENOSPC, for_ever: true, ..plain },
        Fault { errno: ENOSPC, short: true, ..plain },
        Fault { reads: true, ..plain },
    ]
};

/// What was told of a story.
#[derive(Debug, Default)]
struct Told {
    acknowledged: u64,
    refused: u64,
    /// Nobody was told what became of the last group.
    open_end: bool,
    repairs: Vec<String>,
}

/// Lives a whole story in this folder while `fault` happens; then the process is as good as dead. Loads again after each
/// error, as the store's actor does.
fn live(state: &Path, fault: Fault) -> Told {
    let mut told = Told::default();
    let mut journal = DiskJournal::new(state.to_owned()).hasty();
    let (mut loaded, mut failures) = (false, 0);
    fault.arm();
    while told.acknowledged < GROUPS && failures < 12 {
        let n = told.acknowledged;
        if !loaded {
            match journal.load() {
                Ok(found) => {
                    // Before anything was acknowledged by this journal, a group of unknown fate may have been made.
                    assert_eq!(found.sequence % GROUP, 0, "{fault:?}: half a group");
                    let groups = found.sequence / GROUP;
                    let right = groups == n || told.open_end && groups == n + 1;
                    assert!(right, "{fault:?}: {groups} groups, {told:?}");
                    assert!(found.image == after(groups), "{fault:?}: other records");
                    told.acknowledged = groups;
                    told.open_end = false;
                    told.repairs.extend(found.repairs);
                    loaded = true;
                }
                Err(StoreError::Disk { .. } | StoreError::Full) => failures += 1,
                Err(other) => panic!("{fault:?}: {told:?}: {other}"),
            }
            continue;
        }
        match journal.append(n * GROUP + 1, &group(n)) {
            Ok(()) => told.acknowledged += 1,
            Err(error) => {
                told.open_end = matches!(error, StoreError::Uncertain { .. });
                told.refused += 1;
                failures += 1;
                loaded = false;
                continue;
            }
        }
        if n % 4 == 3 {
            let now = told.acknowledged;
            match journal.idle(&Arc::new(after(now)), now * GROUP) {
                Ok(()) | Err(StoreError::Full) => {}
                Err(_) => (loaded, failures) = (false, failures + 1),
            }
        }
        // As after a restart of the process, with housekeeping and without.
        if n % 23 == 19 || n % 23 == 9 {
            drop(journal);
            journal = DiskJournal::new(state.to_owned()).hasty();
            loaded = false;
        }
    }
    told
}

/// After the story: the disk is well again, and a new process opens the store.
fn check(state: &Path, fault: Fault, told: &Told) {
    Fault::NONE.arm();
    let mut journal = DiskJournal::new(state.to_owned()).hasty();
    let loaded = journal.load().unwrap_or_else(|error| panic!("{fault:?}: {told:?}: {error}"));
    let groups = loaded.sequence / GROUP;
    let right = groups == told.acknowledged || told.open_end && groups == told.acknowledged + 1;
    assert!(
        right && loaded.sequence.is_multiple_of(GROUP),
        "{fault:?}: {} changes, {told:?}",
        loaded.sequence
    );
    assert!(loaded.image == after(groups), "{fault:?}: other records");
    journal.append(loaded.sequence + 1, &group(groups)).unwrap();
    drop(journal);
    let again = DiskJournal::new(state.to_owned()).hasty().load().unwrap();
    assert!(again.image == after(groups + 1), "{fault:?}: not what was appended after");
}

/// Not a test: what the child does. It says `begun WAY CALL` before each story. Once sled hangs, which it does in a
/// process until its end, the next child goes on: the last line says how many stories there were, and which is next.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Path::new(&dir);
    let state = dir.join("state");
    let story = |fault: Fault| {
        let _ = fs::remove_dir_all(&state);
        fs::create_dir(&state).unwrap();
        shim::look_at(&state);
        let told = live(&state, fault);
        let calls = shim::calls(dir);
        check(&state, fault, &told);
        (told, calls)
    };
    // What a failed run named last, to have it alone: `ANOMALY="1 128"`.
    if let Ok(one) = std::env::var("ANOMALY") {
        let (way, call) = one.split_once(' ').expect("a way and a call");
        let way = WAYS[way.parse::<usize>().unwrap()];
        let begun = Instant::now();
        let (told, calls) = story(Fault { call: call.parse().unwrap(), ..way });
        println!("{calls} calls {told:?} {:?}", begun.elapsed());
        println!("stories 1 refusals {} next {}", told.refused, usize::MAX);
        return;
    }
    let number = |name: &str| -> u64 { std::env::var(name).unwrap().parse().unwrap() };
    let (seed, from, until) = (number(SEED), number(FROM) as usize, number(UNTIL));
    let (begun, time) = (Instant::now(), Duration::from_millis(until));
    let mut lengths = Vec::new();
    // A call that never comes counts all of them.
    for way in WAYS {
        let (told, calls) = story(Fault { call: u64::MAX >> 1, ..way });
        assert_eq!((told.acknowledged, told.refused), (GROUPS, 0), "{told:?}");
        assert!(calls > 250, "{calls}");
        lengths.push(calls);
    }
    let (mut stories, mut refusals, mut next) = (0, 0, usize::MAX);
    for (number, (way, call)) in order(seed).enumerate().skip(from) {
        if call > lengths[way] {
            continue;
        }
        println!("begun {way} {call}");
        let (told, _) = story(Fault { call, ..WAYS[way] });
        stories += 1;
        refusals += told.refused;
        if sled_hangs() || begun.elapsed() > time {
            next = number + 1;
            break;
        }
    }
    println!("stories {stories} refusals {refusals} next {next}");
}

/// Which call fails in which way, one story after the other: every call in a whole run; else an even spread that begins
/// elsewhere each time.
fn order(seed: u64) -> impl Iterator<Item = (usize, u64)> {
    let step = if scale::full() { 1 } else { 61 };
    (0..step).flat_map(move |round| {
        (0..WAYS.len()).flat_map(move |way| {
            let first = 1 + (seed + round * 17 + way as u64 * 7) % step;
            (first..MOST_CALLS).step_by(step as usize).map(move |call| (way, call))
        })
    })
}

/// A child that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One child's stories from this one on; what its last line tells of it.
fn run(dir: &Path, shim: &Shim, seed: u64, from: usize, time: Duration) -> [usize; 3] {
    let mut command = shim.child("anomalies::child");
    let said = dir.join("said");
    let log = fs::File::create(&said).unwrap();
    command.env(CHILD, dir).env(SEED, seed.to_string()).env(FROM, from.to_string());
    command.env(UNTIL, time.as_millis().to_string());
    command.stdout(log.try_clone().unwrap()).stderr(Stdio::from(log));
    let mut child = Guard(command.spawn().expect("this program can run itself"));
    let said = || fs::read_to_string(&said).unwrap_or_default();
    // A call that fails must not make the store hang: each story ends, or the last line names the one that did not.
    let (mut last, mut since) = (0, Instant::now());
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        let length = said().len();
        if length != last {
            (last, since) = (length, Instant::now());
        }
        assert!(since.elapsed() < STILL, "it hangs: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = said();
    assert!(status.success(), "{text}");
    let told = text.lines().rfind(|line| line.starts_with("stories ")).expect("it came to its end");
    let words: Vec<&str> = told.split(' ').collect();
    [1, 3, 5].map(|at| words[at].parse().expect("a number"))
}

#[test]
fn whichever_call_fails_a_change_is_made_or_it_is_not() {
    let dir = scratch();
    let shim = Shim::make();
    let seed = u64::from(std::process::id());
    let (begun, time) = (Instant::now(), scale::scaled(15, 3_600));
    let time = Duration::from_secs(time);
    let (mut children, mut stories, mut refusals, mut next) = (0, 0, 0, 0);
    while next != usize::MAX && begun.elapsed() < time {
        let left = time.saturating_sub(begun.elapsed());
        let told = run(dir.path(), &shim, seed, next, left);
        children += 1;
        stories += told[0];
        refusals += told[1];
        next = told[2];
    }
    println!(
        "anomaly loop: {stories} stories, {refusals} refusals; sled hung in {} of them",
        children - 1
    );
    assert!(next == usize::MAX || !scale::full(), "not all of them in {time:?}");
    if std::env::var_os("ANOMALY").is_none() {
        assert!(stories >= scale::scaled(30, 1_000), "{stories} stories");
        assert!(refusals > 5, "faults were felt: {refusals}");
    }
}
