//! Backups are what the store was, damaged ones are refused, and a restore can be killed anywhere.

use std::sync::Arc;

use jovis_actors::{
    ports::{Journal as _, StoreError},
    store::{self, Write},
    supervise::Supervisor,
    testing::SeededEntropy,
};

use super::*;
use crate::store::{
    DiskJournal,
    backup::{create, write},
    tests::{image_of, one_of_each, user},
};

/// A store with these changes, closed again.
fn store_with(dir: &Path, writes: &[Write]) -> (Image, u64) {
    let mut journal = DiskJournal::new(dir.to_owned());
    let mut sequence = journal.load().unwrap().sequence;
    for write in writes {
        journal.append(sequence + 1, std::slice::from_ref(write)).unwrap();
        sequence += 1;
    }
    (image_of(writes), sequence)
}

fn many() -> Vec<Write> {
    (1..=40).map(|id| user(id, &format!("user{id}"))).collect()
}

fn backup_of(image: &Image, at: Point, path: &Path) {
    write(&mut create(path).unwrap(), image, at).unwrap();
}

#[test]
fn a_backup_holds_one_of_each_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let writes: Vec<_> =
        one_of_each().into_iter().filter(|write| !records::place(write).gone).collect();
    let image = image_of(&writes);
    let at = Point { sequence: 77, chain: [3; 16] };
    let summary = write(&mut create(&path).unwrap(), &image, at).unwrap();
    let held = examine(&path).unwrap();
    assert_eq!((held.image(), held.at, &held.summary), (&image, at, &summary));
    let counts = (summary.users, summary.servers, summary.tokens, summary.clients, summary.codes);
    assert_eq!(counts, (1, 1, 1, 1, 1));
    let text = summary.to_string();
    assert!(text.contains("after change 77: 1 users, 1 servers, 1 tokens"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn no_part_of_a_backup_and_no_flipped_bit_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    backup_of(&image_of(&many()[..3]), Point::default(), &path);
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(examine(&path).is_err(), "{length}");
    }
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        fs::write(&path, bad).unwrap();
        assert!(matches!(examine(&path), Err(RestoreError::NoBackup { .. })), "{place}");
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert!(examine(&path).is_err(), "something behind it");
}

#[test]
fn a_newer_releases_backup_is_refused_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    backup_of(&image_of(&many()[..1]), Point::default(), &path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[11] = 9;
    let length = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let end = records::sum(&[&bytes[..16 + length]]);
    bytes[16 + length..32 + length].copy_from_slice(&end);
    fs::write(&path, bytes).unwrap();
    let why = examine(&path).unwrap_err().to_string();
    assert!(why.contains("newer release"), "{why}");
}

#[test]
fn what_is_restored_opens_and_the_old_store_is_kept() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (image, sequence) = store_with(here.path(), &many());
    let path = here.path().join("b");
    let file = &mut create(&path).unwrap();
    let summary = crate::store::offline(here.path(), file).unwrap();
    assert_eq!((summary.users, summary.sequence), (40, sequence));
    // Where there was another store, further on, before.
    store_with(there.path(), &[many(), vec![user(90, "other")], many()].concat());
    let held = examine(&path).unwrap();
    let aside = restore(&held, there.path(), "before").unwrap().unwrap();
    let mut journal = DiskJournal::new(there.path().to_owned());
    let loaded = journal.load().unwrap();
    assert_eq!((&loaded.image, loaded.sequence), (&image, sequence));
    journal.append(sequence + 1, &[user(99, "late")]).unwrap();
    drop(journal);
    let again = examine(there.path()).unwrap();
    assert_eq!(again.summary.users, 41);
    assert_ne!(again.digest().unwrap(), held.digest().unwrap());
    // What was set aside is a whole store.
    assert_eq!(examine(&aside).unwrap().summary.users, 41);
    assert!(examine(&aside).unwrap().image().user_named("other").is_some());
}

#[test]
fn a_running_hub_is_not_restored_over_and_not_read_past() {
    let dir = tempfile::tempdir().unwrap();
    store_with(dir.path(), &many());
    let held = examine(dir.path()).unwrap();
    let mut running = DiskJournal::new(dir.path().to_owned());
    running.load().unwrap();
    let error = restore(&held, dir.path(), "x").unwrap_err().to_string();
    assert!(error.contains("another process has the store"), "{error}");
    let mut file = tempfile::tempfile().unwrap();
    assert!(crate::store::offline(dir.path(), &mut file).is_err());
}

#[test]
fn a_journal_takes_a_backup_to_any_point_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    store_with(dir.path(), &many()[..10]);
    crate::store::offline(dir.path(), &mut create(&path).unwrap()).unwrap();
    store_with(dir.path(), &many()[10..]);
    let journal = dir.path().join("journal");
    let users = |to| examine(&path).unwrap().follow(&journal, to).unwrap().summary.users;
    assert_eq!((users(Some(10)), users(Some(25)), users(None)), (10, 25, 40));
    assert!(examine(&path).unwrap().follow(&journal, Some(41)).is_err());
    // Another history's journal is not taken.
    let other = tempfile::tempdir().unwrap();
    store_with(other.path(), &(50..90).map(|id| user(id, &format!("u{id}"))).collect::<Vec<_>>());
    let error = examine(&path).unwrap().follow(&other.path().join("journal"), None).unwrap_err();
    assert!(matches!(error, RestoreError::Gap(_)), "{error}");
}

/// Whatever step a kill comes behind, the next start has the old store, the new one, or says how to restore; and doing it
/// again ends well.
#[test]
fn a_restore_that_was_killed_anywhere_is_done_again() {
    let origin = tempfile::tempdir().unwrap();
    let (old, reached) = store_with(origin.path(), &many());
    let source = tempfile::tempdir().unwrap();
    store_with(source.path(), &many()[..7]);
    let held = examine(source.path()).unwrap();
    let snapshot = |dir: &Path| {
        fs::create_dir(dir).unwrap();
        snapshot::write(&Disk::default(), dir, &held.image, held.at).unwrap();
    };
    // The states between the steps, by hand: the steps are renames and whole files.
    for steps in 0..=6 {
        let dir = tempfile::tempdir().unwrap();
        store_with(dir.path(), &many());
        let at = |name: &str| dir.path().join(name);
        let doings: [&dyn Fn(); 6] = [
            &|| snapshot(&at("store.restored")),
            &|| fs::create_dir(at("store.a")).unwrap(),
            &|| fs::rename(at("journal"), at("store.a/journal")).unwrap(),
            &|| fs::rename(at("sled"), at("store.a/sled")).unwrap(),
            &|| fs::rename(at("snapshots"), at("store.a/snapshots")).unwrap(),
            &|| fs::rename(at("store.restored"), at("snapshots")).unwrap(),
        ];
        let mut marking = DiskJournal::new(dir.path().to_owned());
        let image = Arc::new(marking.load().unwrap().image);
        marking.idle(&image, reached).unwrap();
        drop(marking);
        doings[..steps].iter().for_each(|step| step());
        match DiskJournal::new(dir.path().to_owned()).load() {
            Ok(loaded) => assert!(steps <= 4 && loaded.image == old, "step {steps}"),
            Err(StoreError::Damaged(why)) => {
                assert!(steps >= 4 && why.contains("jovis restore"), "step {steps}: {why}");
            }
            Err(other) => panic!("step {steps}: {other}"),
        }
        restore(&held, dir.path(), "again").unwrap();
        let loaded = DiskJournal::new(dir.path().to_owned()).load().unwrap();
        assert_eq!((&loaded.image, loaded.sequence), (&held.image, 7), "step {steps}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_store_is_backed_up_without_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let journal = DiskJournal::new(dir.path().to_owned());
    let backups = journal.backups();
    let (client, child) = store::open(Box::new(journal), store::Settings::default()).unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let _running = Supervisor::new("test", entropy).child(child).start();
    for n in 1..=50 {
        client
            .change(move |_| {
                Ok::<_, std::convert::Infallible>((vec![user(n, &format!("u{n}"))], ()))
            })
            .await
            .unwrap();
    }
    let path = dir.path().join("b");
    let begun = std::time::Instant::now();
    let summary = backups.make(&client, create(&path).unwrap().into()).await.unwrap();
    println!("row 53: 50 users backed up in {:?}", begun.elapsed());
    assert_eq!((summary.users, summary.sequence), (50, 50));
    assert_eq!(examine(&path).unwrap().image(), &*client.image());
    // And the door is open for the next one, but for one at a time.
    let (one, two) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let both = tokio::join!(backups.make(&client, one.into()), backups.make(&client, two.into()));
    assert!(both.0.is_ok() && matches!(both.1, Err(BackupError::Busy)), "{both:?}");
}
