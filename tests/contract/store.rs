//! The port `Journal`: what is appended is loaded, in order, whole groups only, also after a crash.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jovis::store::DiskJournal;
use jovis_actors::{
    domain::{Moment, User, UserId, Username},
    ports::{Journal, StoreError},
    store::{Image, Write},
    testing::MemoryJournal,
};

/// Writes in each group of the story.
pub(crate) const GROUP: u64 = 3;

fn user(id: u64, name: &str) -> Write {
    Write::User(Arc::new(User {
        id: UserId(id),
        name: Username::new(name).unwrap(),
        admin: id.is_multiple_of(2),
        created: Moment(1),
        last_activity: None,
        cookie_id: "c".to_owned(),
        user_info: None,
    }))
}

/// The `n`-th group of the story: a user comes, is changed, and an old one goes.
pub(crate) fn group(n: u64) -> Vec<Write> {
    let id = n + 1;
    vec![
        user(id, &format!("new{id}")),
        user(id, &format!("user{id}")),
        Write::UserGone(UserId(id.saturating_sub(50))),
    ]
}

pub(crate) fn after(groups: u64) -> Image {
    let mut image = Image::default();
    (0..groups).flat_map(group).for_each(|write| image.apply(&write));
    image
}

/// Runs the suite. `open` gives the port on the same storage each time, as after a restart of the process.
fn contract<J: Journal>(open: impl Fn() -> J) {
    let mut journal = open();
    let empty = journal.load().unwrap();
    assert_eq!((empty.image, empty.sequence), (Image::default(), 0), "it begins empty");

    for n in 0..5 {
        journal.append(n * GROUP + 1, &group(n)).unwrap();
    }
    let again = journal.load().unwrap();
    assert_eq!((again.image, again.sequence), (after(5), 5 * GROUP), "loading twice is no harm");
    journal.append(5 * GROUP + 1, &group(5)).unwrap();
    journal.idle(&Arc::new(after(6)), 6 * GROUP).unwrap();
    drop(journal);

    let mut journal = open();
    let loaded = journal.load().unwrap();
    assert_eq!(
        (loaded.image, loaded.sequence),
        (after(6), 6 * GROUP),
        "what is appended is loaded"
    );
    assert_eq!(loaded.repairs, Vec::<String>::new());

    journal.append(6 * GROUP + 1, &group(6)).unwrap();
    drop(journal);

    let loaded = open().load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), (after(7), 7 * GROUP), "in order");
}

#[test]
fn a_gap_in_the_numbers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::new(dir.path().to_owned());
    assert!(journal.append(1, &group(0)).is_err(), "not loaded yet");
    journal.load().unwrap();
    for wrong in [0, 2, 999] {
        let error = journal.append(wrong, &group(0)).unwrap_err();
        assert!(matches!(error, StoreError::Disk { .. }), "{error}");
        assert_eq!(journal.load().unwrap().sequence, 0);
    }
    journal.append(1, &group(0)).unwrap();
    journal.append(1 + GROUP, &[]).unwrap();
    assert_eq!(journal.load().unwrap().sequence, GROUP);
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::new(dir.path().to_owned());
    journal.load().unwrap();
    let Write::User(user) = user(1, "ada") else { unreachable!() };
    let user = User { cookie_id: "x".repeat(300_000), ..(*user).clone() };
    let long = Write::User(Arc::new(user));
    assert!(journal.fits(&long).unwrap_err().contains("longer"));
    let error = journal.append(1, &[long]).unwrap_err();
    assert!(error.to_string().contains("longer"), "{error}");
    assert_eq!(journal.load().unwrap().sequence, 0);
}

#[test]
fn what_could_not_be_read_again_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = DiskJournal::new(dir.path().to_owned());
    let nested = |depth: usize| {
        let Write::User(user) = user(1, "ada") else { unreachable!() };
        let deep = (0..depth).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
        let user_info = Some(deep);
        Write::User(Arc::new(User { user_info, ..(*user).clone() }))
    };
    assert_eq!(journal.fits(&nested(64)), Ok(()));
    assert!(journal.fits(&nested(130)).is_err());
}

#[test]
fn the_journal_in_memory_keeps_the_contract() {
    let journal = MemoryJournal::default();
    contract(|| journal.clone());
}

#[test]
fn the_journal_on_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(|| DiskJournal::new(dir.path().to_owned()));
}

#[test]
fn the_journal_on_disk_keeps_the_contract_through_a_descriptor() {
    use std::os::fd::AsRawFd as _;
    let dir = tempfile::tempdir().unwrap();
    let held = fs::File::open(dir.path()).unwrap();
    contract(|| DiskJournal::new(format!("/proc/self/fd/{}", held.as_raw_fd()).into()));
}

#[test]
fn a_state_directory_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = DiskJournal::new(dir.path().join("gone")).load().unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error}");
    assert!(!dir.path().join("gone").exists());
}

/// Names the folder in which the child of the test below writes.
const CHILD: &str = "JOVIS_CONTRACT_STORE_CHILD";

/// Not a test: what the child of the test below does until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Path::new(&dir);
    let mut acknowledged =
        OpenOptions::new().append(true).create(true).open(dir.join("acknowledged")).unwrap();
    let mut journal = DiskJournal::new(dir.join("state"));
    let loaded = journal.load().unwrap();
    let mut image = loaded.image;
    // Long enough for any patience of the parent.
    for n in loaded.sequence / GROUP..1_000_000 {
        let group = group(n);
        journal.append(n * GROUP + 1, &group).unwrap();
        acknowledged.write_all(&(n + 1).to_be_bytes()).unwrap();
        group.iter().for_each(|write| image.apply(write));
        if n % 16 == 0 {
            journal.idle(&Arc::new(image.clone()), (n + 1) * GROUP).unwrap();
        }
    }
}

/// Groups that the child said it had made durable.
fn acknowledged(dir: &Path) -> u64 {
    let bytes = fs::read(dir.join("acknowledged")).unwrap_or_default();
    bytes.chunks_exact(8).last().map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()))
}

/// A child that does not outlive its test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    let begun = Instant::now();
    let (mut rounds, mut before) = (0_u64, 0);
    while rounds < 10 || begun.elapsed() < Duration::from_secs(4) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::child", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut writer = Writer(child);
        let waiting = Instant::now();
        // Another number of groups in each round, so that the end comes at any step of one.
        let target = before + 1 + rounds * 7 % 41;
        while acknowledged(dir.path()) < target {
            assert!(waiting.elapsed() < Duration::from_secs(60), "round {rounds} stands still");
            if let Some(status) = writer.0.try_wait().unwrap() {
                panic!("round {rounds}: the child ended by itself: {status}");
            }
        }
        drop(writer);
        let promised = acknowledged(dir.path());
        let loaded = DiskJournal::new(dir.path().join("state")).load().unwrap();
        assert_eq!(loaded.sequence % GROUP, 0, "round {rounds}: half a group");
        let found = loaded.sequence / GROUP;
        assert!(
            (promised..=promised + 1).contains(&found),
            "round {rounds}: {found} of {promised}"
        );
        assert!(loaded.image == after(found), "round {rounds}: another image");
        (rounds, before) = (rounds + 1, found);
    }
}

/// Names the file system of 64 MiB on which the child of the test below writes.
const SMALL: &str = "JOVIS_CONTRACT_STORE_SMALL";

/// Not a test: what the child of the test below does on a disk of its own.
#[test]
fn child_on_a_small_disk() {
    let Some(disk) = std::env::var_os(SMALL) else {
        return;
    };
    let disk = Path::new(&disk);
    let state = disk.join("state");
    fs::create_dir(&state).unwrap();
    let mut journal = DiskJournal::new(state.clone());
    journal.load().unwrap();
    let mut n = 0;
    // Appends until refused, at most so often.
    let fill = |journal: &mut DiskJournal, n: &mut u64, most: u64| {
        for _ in 0..most {
            match journal.append(*n * GROUP + 1, &group(*n)) {
                Ok(()) => *n += 1,
                Err(StoreError::Full) => return true,
                Err(other) => panic!("{other}"),
            }
        }
        false
    };
    for _ in 0..3 {
        assert!(!fill(&mut journal, &mut n, 50));
        journal.idle(&Arc::new(after(n)), n * GROUP).unwrap();
        assert!(state.join("store.reserve").exists());

        let mut ballast = fs::File::create(disk.join("ballast")).unwrap();
        while ballast.write_all(&[1; 4_096]).is_ok() {}
        assert!(fill(&mut journal, &mut n, 10_000), "the disk is full");
        assert!(!state.join("store.reserve").exists(), "the reserve was given up");
        let loaded = journal.load().unwrap();
        assert_eq!((loaded.image, loaded.sequence), (after(n), n * GROUP));
        assert!(!fill(&mut journal, &mut n, 10), "the reserve is room");

        while ballast.write_all(&[1; 4_096]).is_ok() {}
        assert!(fill(&mut journal, &mut n, 10_000), "full again");
        journal.load().unwrap();
        journal.idle(&Arc::new(after(n)), n * GROUP).unwrap();
        drop(journal);
        journal = DiskJournal::new(state.clone());
        let loaded = journal.load().unwrap();
        assert_eq!(
            (loaded.image, loaded.sequence),
            (after(n), n * GROUP),
            "a start on a full disk"
        );

        drop(ballast);
        fs::remove_file(disk.join("ballast")).unwrap();
        let begun = Instant::now();
        while fill(&mut journal, &mut n, 1) {
            assert!(begun.elapsed() < Duration::from_secs(5), "it recovers by itself");
            journal.load().unwrap();
        }
        let loaded = journal.load().unwrap();
        assert_eq!((loaded.image, loaded.sequence), (after(n), n * GROUP));
    }
    drop(journal);
    let loaded = DiskJournal::new(state).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), (after(n), n * GROUP));
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing() {
    let unshare =
        |command: &mut Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let may =
        unshare(Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]));
    if !may.is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: no mount namespace here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64m none \"$1\" && exec \"$0\" --exact store::child_on_a_small_disk --nocapture";
    let done = unshare(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(dir.path())
            .env(SMALL, dir.path()),
    )
    .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let counted = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && counted.contains("1 passed"), "{counted}\n{said}");
}
