//! Files that were cut, altered, deleted or put back (RELIABILITY.md, rows 17 and 18): the store opens with everything
//! that was acknowledged, or stops and says how to restore. It never starts emptier, never hangs, never panics.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use jovis::store::DiskJournal;
use jovis_actors::{
    domain::{Moment, User, UserId, Username},
    ports::{Journal as _, StoreError},
    store::{Image, Write},
};

use super::shim::scratch;
use crate::support::scale;

/// A store opens within this, or it hangs.
const OPENING: Duration = Duration::from_secs(60);

/// Groups of the story.
const GROUPS: u64 = 54;

/// So long that files of a megabyte come of it.
fn group(n: u64) -> Vec<Write> {
    let user = |id: u64, name: String| {
        Write::User(Arc::new(User {
            id: UserId(id),
            name: Username::new(&name).unwrap(),
            admin: false,
            created: Moment(1),
            last_activity: None,
            cookie_id: format!("{:x}", u128::from(id) << 64 | 0xfeed).repeat(1_000),
            user_info: None,
        }))
    };
    vec![user(n + 1, format!("new{n}")), user(n + 1, format!("user{n}"))]
}

fn after(groups: u64) -> Image {
    let mut image = Image::default();
    (0..groups).flat_map(group).for_each(|write| image.apply(&write));
    image
}

/// A store that has rested, with two snapshots and a journal behind each; in `yesterday` what it was before the last
/// groups, after a rest too.
fn rested(dir: &Path, yesterday: &Path) {
    let mut journal = DiskJournal::new(dir.to_owned()).hasty();
    journal.load().unwrap();
    for n in 0..GROUPS {
        journal.append(n * 2 + 1, &group(n)).unwrap();
        let image = Arc::new(after(n + 1));
        let snapshot = dir.join(format!("snapshots/{:020}.snap", (n + 1) * 2));
        match n + 1 {
            20 | 40 => {
                let begun = Instant::now();
                while !snapshot.exists() {
                    assert!(begun.elapsed() < OPENING, "no snapshot at {n}");
                    journal.idle(&image, (n + 1) * 2).unwrap();
                    thread::sleep(Duration::from_millis(2));
                }
            }
            30 => {
                journal.idle(&image, (n + 1) * 2).unwrap();
                drop(journal);
                copy(dir, yesterday);
                journal = DiskJournal::new(dir.to_owned()).hasty();
                journal.load().unwrap();
            }
            _ => {}
        }
    }
    let image = Arc::new(after(GROUPS));
    // Once more, so that a snapshot that is under way is taken in.
    for _ in 0..2 {
        journal.idle(&image, GROUPS * 2).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn copy_file(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

/// All files that hold anything, relative to the folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.metadata().unwrap().len() > 0 && !path.ends_with("store.reserve") {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

/// What became of a damaged store.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Everything is there.
    Whole,
    /// It stopped and said how to restore.
    Stopped,
}

/// Opens it on a thread of its own, which must neither panic nor hang.
fn open(dir: &Path, what: &str) -> Result<(DiskJournal, u64, Image), StoreError> {
    let (tell, told) = mpsc::sync_channel(1);
    let dir = dir.to_owned();
    thread::spawn(move || {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut journal = DiskJournal::new(dir).hasty();
            journal.load().map(|loaded| (journal, loaded.sequence, loaded.image))
        }));
        let _ = tell.send(opened);
    });
    match told.recv_timeout(OPENING) {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => panic!("{what}: opening panicked"),
        Err(_) => panic!("{what}: opening hangs"),
    }
}

/// A damage to a copy, and how the copy came through it.
struct Case {
    what: String,
    damage: Box<dyn Fn(&Path) + Send + Sync>,
}

impl Case {
    fn new(what: String, damage: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        Self { what, damage: Box::new(damage) }
    }

    fn run(&self, original: &Path) -> Fate {
        let dir = scratch();
        copy(original, dir.path());
        (self.damage)(dir.path());
        let what = &self.what;
        match open(dir.path(), what) {
            Ok((mut journal, sequence, image)) => {
                assert_eq!(sequence, GROUPS * 2, "{what}: it starts with less");
                assert!(image == after(GROUPS), "{what}: other records");
                journal.append(sequence + 1, &group(GROUPS)).unwrap();
                drop(journal);
                let (_, sequence, image) =
                    open(dir.path(), what).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(sequence, GROUPS * 2 + 2, "{what}: what came after is lost");
                assert!(image == after(GROUPS + 1), "{what}: other records afterwards");
                Fate::Whole
            }
            Err(StoreError::Damaged(why)) => {
                assert!(why.contains("restore"), "{what}: it does not say how: {why}");
                Fate::Stopped
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
}

/// Runs them on two threads; those that stopped.
fn run_all(original: &Path, cases: &[Case]) -> BTreeSet<String> {
    let (next, stopped) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    if case.run(original) == Fate::Stopped {
                        stopped.lock().unwrap().insert(case.what.clone());
                    }
                }
            });
        }
    });
    stopped.into_inner().unwrap()
}

/// The files to damage: all of them in a whole run, else every one but most of the journal's alike segments.
fn chosen(dir: &Path) -> Vec<PathBuf> {
    let mut files = files(dir);
    let segments: Vec<PathBuf> =
        files.iter().filter(|file| file.starts_with("journal")).cloned().collect();
    let last = segments.len() - 1;
    let few = [0, last / 2, last - 1, last].map(|n| segments[n].clone());
    files.retain(|file| scale::full() || !segments.contains(file) || few.contains(file));
    files
}

/// A rested store and yesterday's.
fn stores() -> (tempfile::TempDir, tempfile::TempDir) {
    let (today, yesterday) = (scratch(), scratch());
    rested(today.path(), yesterday.path());
    (today, yesterday)
}

fn length(dir: &Path, file: &Path) -> usize {
    usize::try_from(fs::metadata(dir.join(file)).unwrap().len()).unwrap()
}

fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn row_17_a_file_cut_at_any_length_loses_nothing() {
    let (today, _yesterday) = stores();
    let dir = today.path();
    let mut cases = Vec::new();
    let mut longest = 0;
    for file in chosen(dir) {
        let full = length(dir, &file);
        longest = longest.max(full);
        let shares = [0, 1, 10, 25, 50, 75, 99].map(|percent| full * percent / 100);
        let less = [1, 10, 100, 1_000, 10_000, 64_000, 512_000, 1_000_000];
        let lengths: BTreeSet<usize> = shares
            .into_iter()
            .chain(less.iter().filter_map(|less| full.checked_sub(*less)))
            .collect();
        for length in lengths {
            let file = file.clone();
            let what = format!("{} cut from {full} to {length}", file.display());
            cases.push(Case::new(what, move |copy| {
                let file = OpenOptions::new().write(true).open(copy.join(&file)).unwrap();
                file.set_len(length as u64).unwrap();
            }));
        }
    }
    assert!(longest > 1_000_000, "{longest}");
    let begun = Instant::now();
    let stopped = run_all(dir, &cases);
    println!("row 17: {} cuts, all whole, {:?}", cases.len(), begun.elapsed());
    assert_eq!(stopped, BTreeSet::new(), "one damaged file is repaired from the others");
}

#[test]
fn row_18_bits_that_flip_and_pages_that_change_lose_nothing() {
    let (today, _yesterday) = stores();
    let dir = today.path();
    let files = chosen(dir);
    let mut cases = Vec::new();
    let places = scale::scaled(160, 1_000);
    for trial in 0..places {
        let file = files[trial % files.len()].clone();
        // Spread evenly by the golden ratio; the same places every time.
        let share = (trial as f64 * 0.618_033_99).fract();
        let at = (length(dir, &file) as f64 * share) as usize;
        let what = format!("{}: bit {} of byte {at} flipped", file.display(), trial % 8);
        cases.push(Case::new(what, move |copy| {
            alter(&copy.join(&file), |bytes| bytes[at] ^= 1 << (trial % 8));
        }));
    }
    const PAGE: usize = 4_096;
    for file in &files {
        let pages = length(dir, file) / PAGE;
        for place in (0..=pages).step_by((pages / scale::scaled(3, 12)).max(1)) {
            let zeroed = file.clone();
            let what = format!("{}: page {place} zeroed", file.display());
            cases.push(Case::new(what, move |copy| {
                alter(&copy.join(&zeroed), |bytes| {
                    let (from, end) = (place * PAGE, bytes.len());
                    bytes[from.min(end)..(from + PAGE).min(end)].fill(0);
                });
            }));
            let (swapped, other) = (file.clone(), (place * 7 + 1) % pages.max(1));
            if place < pages && other != place {
                let what = format!("{}: pages {place} and {other} swapped", file.display());
                cases.push(Case::new(what, move |copy| {
                    alter(&copy.join(&swapped), |bytes| {
                        for byte in 0..PAGE {
                            bytes.swap(place * PAGE + byte, other * PAGE + byte);
                        }
                    });
                }));
            }
        }
    }
    let begun = Instant::now();
    let stopped = run_all(dir, &cases);
    println!(
        "row 18: {places} flipped bits and {} pages zeroed or swapped in {} files, all whole, {:?}",
        cases.len() - places,
        files.len(),
        begun.elapsed()
    );
    assert_eq!(stopped, BTreeSet::new(), "one damaged file is repaired from the others");
}

#[test]
fn row_18_files_that_vanish_or_are_yesterday_s_lose_nothing_in_silence() {
    let (today, yesterday) = stores();
    let dir = today.path();
    let mut cases = Vec::new();
    let folders = ["journal", "sled", "snapshots"].map(PathBuf::from);
    for part in chosen(dir).into_iter().chain(folders.clone()) {
        let what = format!("{} deleted", part.display());
        cases.push(Case::new(what, move |copy| remove(&copy.join(&part))));
    }
    let old = yesterday.path().to_owned();
    for part in chosen(&old).into_iter().chain(folders) {
        let what = format!("{} is yesterday's", part.display());
        let old = old.clone();
        cases.push(Case::new(what, move |dir| {
            let (from, to) = (old.join(&part), dir.join(&part));
            if to.exists() {
                remove(&to);
            }
            if from.is_dir() { copy(&from, &to) } else { copy_file(&from, &to) }
        }));
    }
    let stopped = run_all(dir, &cases);
    assert_eq!(stopped, BTreeSet::new(), "one lost part is repaired from the others");
    let single = cases.len();

    // Too much at once: a stop, never an older or emptier store.
    let all = ["journal", "sled", "snapshots", "store.mark"];
    let mut cases = Vec::new();
    for kept in 0..all.len() {
        let old = old.clone();
        cases.push(Case::new(format!("all but {} is yesterday's", all[kept]), move |dir| {
            for part in all.iter().enumerate().filter_map(|(n, part)| (n != kept).then_some(part)) {
                let (from, to) = (old.join(part), dir.join(part));
                remove(&to);
                if from.is_dir() { copy(&from, &to) } else { copy_file(&from, &to) }
            }
        }));
        cases.push(Case::new(format!("all but {} is deleted", all[kept]), move |dir| {
            for part in all.iter().enumerate().filter_map(|(n, part)| (n != kept).then_some(part)) {
                remove(&dir.join(part));
            }
        }));
    }
    cases.push(Case::new("everything but the lock is deleted".to_owned(), move |dir| {
        all.iter().for_each(|part| remove(&dir.join(part)));
    }));
    let stopped = run_all(dir, &cases);
    println!(
        "row 18: {single} files or folders deleted or yesterday's, all whole; of {} greater losses {} stopped with the \
         way to restore, the others were whole",
        cases.len(),
        stopped.len()
    );
    for must in [
        "all but store.mark is yesterday's",
        "all but store.mark is deleted",
        "all but snapshots is yesterday's",
        "all but snapshots is deleted",
    ] {
        assert!(stopped.contains(must), "{must}: {stopped:?}");
    }
    assert!(stopped.contains("everything but the lock is deleted"), "{stopped:?}");
}
