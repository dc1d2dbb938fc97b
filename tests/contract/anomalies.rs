//! The anomaly loop (RELIABILITY.md, section 5), over every call with which a store touches its disk, sled's included:
//! the k-th fails, for all k, once or for ever, with EIO or ENOSPC, at writing, syncing, renaming, opening or reading,
//! or a write comes out short. Whatever happens, a group is made or it is not, and its caller was told the truth.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jovis::store::DiskJournal;
use jovis_actors::ports::{Journal as _, StoreError};

use super::{
    shim::{self, Fault, Shim, scratch},
    store::{GROUP, after, group},
};
use crate::support::scale;

/// Names the folder in which the child of the tests below works.
const CHILD: &str = "JOVIS_CONTRACT_ANOMALIES_CHILD";

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

/// Not a test: what the child does. It says `begun WAY CALL` before each story and, at the end, how many there were.
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
        println!(
            "stories 1 refusals {} calls {calls} {told:?} {:?}",
            told.refused,
            begun.elapsed()
        );
        return;
    }
    let (seed, all) = (u64::from(std::process::id()), scale::full());
    let begun = Instant::now();
    let time = Duration::from_secs(15);
    let (mut stories, mut refusals, mut lengths) = (0, 0, Vec::new());
    // A call that never comes counts all of them.
    for way in WAYS {
        let (told, calls) = story(Fault { call: u64::MAX >> 1, ..way });
        assert_eq!((told.acknowledged, told.refused), (GROUPS, 0), "{told:?}");
        assert!(calls > 250, "{calls}");
        lengths.push(calls);
    }
    let longest = lengths.iter().copied().max().unwrap();
    // Every call if there is time for it; else an even spread that begins elsewhere each time.
    let step = if all { 1 } else { 61 };
    'all: for round in 0..step {
        for (way, fault) in WAYS.into_iter().enumerate() {
            let mut call = 1 + (seed + round * 17 + way as u64 * 7) % step;
            while call <= longest {
                if call <= lengths[way] {
                    println!("begun {way} {call}");
                    let (told, _) = story(Fault { call, ..fault });
                    stories += 1;
                    refusals += told.refused;
                    if !all && begun.elapsed() > time {
                        break 'all;
                    }
                }
                call += step;
            }
        }
    }
    println!("stories {stories} refusals {refusals} calls {longest}");
}

/// A child that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whichever_call_fails_a_change_is_made_or_it_is_not() {
    let dir = scratch();
    let shim = Shim::make();
    let mut command = shim.child("anomalies::child");
    let log = fs::File::create(dir.path().join("said")).unwrap();
    command.env(CHILD, dir.path()).stdout(log.try_clone().unwrap()).stderr(Stdio::from(log));
    let mut child = Guard(command.spawn().expect("this program can run itself"));
    let said = || {
        let mut text = String::new();
        let _ = fs::File::open(dir.path().join("said")).unwrap().read_to_string(&mut text);
        text
    };
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
    println!("anomaly loop: {told}");
    let number = |word: &str| -> u64 {
        let mut words = told.split(' ').skip_while(|it| *it != word);
        words.nth(1).expect("a number").parse().expect("a number")
    };
    assert!(number("stories") >= scale::scaled(30, 1_000), "{told}");
    assert!(number("refusals") > 5, "faults were felt: {told}");
}
