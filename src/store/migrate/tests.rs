//! A version that never was, and the stores of all releases that were.

use std::{collections::BTreeMap, sync::Arc};

use jovis_actors::{ports::Journal as _, store::Image};

use super::*;
use crate::store::{
    DiskJournal, peek, records, restore,
    segment::{self, Header, Point},
    snapshot,
    tests::{image_of, one_of_each, user},
};

/// Users had a `login`.
pub(super) fn from_0(value: &mut Value) -> Result<(), String> {
    if let Some(Value::Object(user)) = value.get_mut("User") {
        let name = user.remove("login").ok_or("a user without a login")?;
        user.insert("name".to_owned(), name);
    }
    Ok(())
}

/// A write as version 0 had it.
fn old(write: &Write) -> Vec<u8> {
    let mut value = serde_json::to_value(write).unwrap();
    if let Some(Value::Object(user)) = value.get_mut("User") {
        let name = user.remove("name").unwrap();
        user.insert("login".to_owned(), name);
    }
    [vec![0], serde_json::to_vec(&value).unwrap()].concat()
}

fn story() -> Vec<Write> {
    (1..=12).map(|id| user(id, &format!("user{id}"))).collect()
}

/// A store of version 0: a journal of two segments, nothing else but the mark.
fn store_of_version_0(dir: &Path) {
    let disk = Disk::default();
    disk.folder(&dir.join("journal")).unwrap();
    let mut at = Point::default();
    for (number, writes) in [(1, &story()[..5]), (2, &story()[5..])] {
        let mut bytes = Header { number, from: at }.encode();
        for write in writes {
            let (frame, end) = segment::frame(at, &[old(write)]).unwrap();
            bytes.extend(frame);
            at = end;
        }
        fs::write(dir.join(format!("journal/{number:010}.log")), bytes).unwrap();
    }
    guard::set_mark(&disk, dir, at.sequence).unwrap();
}

fn versions(dir: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for (_, path) in snapshot::list(&dir.join("snapshots")).unwrap() {
        let file = fs::File::open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        snapshot::parse(file, length, |record| {
            found.push(record[0]);
            Ok(())
        })
        .unwrap();
    }
    found
}

#[test]
fn row_20_an_old_store_is_converted_with_a_backup_first() {
    let dir = tempfile::tempdir().unwrap();
    store_of_version_0(dir.path());
    let mut journal = DiskJournal::new(dir.path().to_owned());
    let loaded = journal.load().unwrap();
    assert_eq!((&loaded.image, loaded.sequence), (&image_of(&story()), 12));
    assert!(loaded.repairs.iter().any(|it| it.contains("version 0")), "{:?}", loaded.repairs);
    assert_eq!(due(&Paths::new(dir.path())).unwrap(), Due::Nothing);
    let new = versions(dir.path());
    assert!(new.len() == 13 && new.iter().all(|it| *it == VERSION), "{new:?}");
    journal.append(13, &[user(13, "late")]).unwrap();
    drop(journal);
    // The old one is kept as it was, and is not touched by what comes after.
    let kept = dir.path().join("store.format-0");
    assert_eq!(peek::peek(&Paths::new(&kept)).unwrap().0, image_of(&story()));
    let mut again = DiskJournal::new(dir.path().to_owned());
    let loaded = again.load().unwrap();
    assert_eq!(loaded.sequence, 13);
    assert!(!loaded.repairs.iter().any(|it| it.contains("version 0")), "{:?}", loaded.repairs);
    drop(again);
    // And the way back works.
    let held = restore::examine(&kept).unwrap();
    restore::restore(&held, dir.path(), "back").unwrap();
    assert_eq!(DiskJournal::new(dir.path().to_owned()).load().unwrap().sequence, 12);
}

#[test]
fn row_20_a_conversion_that_fails_or_is_killed_anywhere_is_done_again() {
    let mut failed = 0;
    for call in 1.. {
        let dir = tempfile::tempdir().unwrap();
        store_of_version_0(dir.path());
        let mut journal = DiskJournal::new(dir.path().to_owned());
        let (disk, calls) = Disk::failing_at([call]);
        journal.disk = disk;
        let outcome = journal.load();
        let reached = calls.said().len() as u64 >= call;
        drop(journal);
        failed += u64::from(outcome.is_err());
        let mut next = DiskJournal::new(dir.path().to_owned());
        let loaded = next.load().unwrap();
        assert_eq!((&loaded.image, loaded.sequence), (&image_of(&story()), 12), "call {call}");
        drop(next);
        assert_eq!(due(&Paths::new(dir.path())).unwrap(), Due::Nothing, "call {call}");
        let kept = Paths::new(&dir.path().join("store.format-0"));
        assert_eq!(peek::peek(&kept).unwrap().0, image_of(&story()), "call {call}");
        if !reached {
            println!(
                "row 20: each of {} calls of a conversion failed once, {failed} stops",
                call - 1
            );
            assert!(call > 10, "{call}");
            break;
        }
    }
}

#[test]
fn row_20_a_newer_releases_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    DiskJournal::new(dir.path().to_owned()).load().unwrap();
    fs::write(file(dir.path()), note(VERSION + 1)).unwrap();
    let error = DiskJournal::new(dir.path().to_owned()).load().unwrap_err().to_string();
    assert!(error.contains("written by a newer release"), "{error}");
    // So is one whose records are newer, whatever the file says.
    settled(&Disk::default(), &Paths::new(dir.path())).unwrap();
    let (frame, _) = segment::frame(Point::default(), &[vec![VERSION + 1, b'{', b'}']]).unwrap();
    let header = Header { number: 9, from: Point::default() }.encode();
    fs::write(dir.path().join("journal/0000000009.log"), [header, frame].concat()).unwrap();
    let error = DiskJournal::new(dir.path().to_owned()).load().unwrap_err().to_string();
    assert!(error.contains("written by a newer release"), "{error}");
}

/// Everything of an image, a line per record.
fn lines(image: &Image) -> String {
    let all = image.writes().map(|it| serde_json::to_string(&it).unwrap());
    all.collect::<Vec<_>>().join("\n") + "\n"
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes this release's fixture: `UPDATE=1 cargo test --lib store::migrate`. One that is there is never changed.
fn make(folder: &Path) {
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    let mut journal = DiskJournal::new(state.clone());
    journal.limits.reserve = 0;
    let (mut image, mut sequence) = (journal.load().unwrap().image, 0);
    let mut put = |journal: &mut DiskJournal, image: &mut Image, write: Write| {
        journal.append(sequence + 1, std::slice::from_ref(&write)).unwrap();
        image.apply(&write);
        sequence += 1;
        sequence
    };
    for id in 100..120 {
        put(&mut journal, &mut image, user(id, &format!("user{id}")));
    }
    put(&mut journal, &mut image, Write::UserGone(jovis_actors::domain::UserId(107)));
    let mut last = 0;
    for write in one_of_each().into_iter().filter(|write| !records::place(write).gone) {
        last = put(&mut journal, &mut image, write);
    }
    // A snapshot, then changes behind it.
    let shared = Arc::new(image.clone());
    while journal.open.as_ref().is_some_and(|open| open.snapshot != Some(last)) {
        journal.idle(&shared, last).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for id in 130..135 {
        last = put(&mut journal, &mut image, user(id, &format!("user{id}")));
    }
    journal.idle(&Arc::new(image.clone()), last).unwrap();
    drop(journal);
    let _ = fs::remove_file(state.join("store.lock"));
    let _ = fs::remove_file(state.join("store.reserve"));
    fs::write(folder.join("records.jsonl"), lines(&image)).unwrap();
}

#[test]
fn row_20_a_store_of_each_release_opens() {
    let own = fixtures().join(format!("store-{}", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("UPDATE").is_some() && !own.exists() {
        make(&own);
    }
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("store-") {
            continue;
        }
        let expected = fs::read_to_string(folder.join("records.jsonl")).unwrap();
        // As it was left; and each of its parts makes up for the loss of the others, or says that it cannot.
        for without in ["", "sled", "snapshots"] {
            let dir = tempfile::tempdir().unwrap();
            copy(&folder.join("state"), dir.path());
            if !without.is_empty() {
                fs::remove_dir_all(dir.path().join(without)).unwrap();
            }
            let loaded = DiskJournal::new(dir.path().to_owned()).load().unwrap();
            assert_eq!(lines(&loaded.image), expected, "{name} without {without:?}");
            seen.insert(name.clone(), loaded.sequence);
        }
    }
    println!("row 20: {seen:?}");
    assert!(own.exists(), "this release has a fixture: UPDATE=1 cargo test --lib store::migrate");
}
