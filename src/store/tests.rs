//! The store as a whole: the k-th operation fails for every k, files are cut, bits flip, parts vanish.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jovis_actors::{
    domain::{
        ClientId, External, Group, GroupId, GroupName, Moment, OAuthClient, OAuthCode, Owner,
        Scope, Server, ServerKey, ServerName, Service, ServiceName, Share, ShareCode, ShareCodeId,
        ShareKey, SharedWith, Subject, Token, TokenHash, TokenId, User, UserId, Username,
        notice::{Announcement, Drain, Drained, Level, Maintenance},
        oauth::ClientOf,
    },
    ports::{Journal as _, StoreError},
    store::{Image, Write},
};
use proptest::prelude::*;

use super::{DiskJournal, port::Limits};

/// Lets one writing system call fail, or all from one on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    calls: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
    /// Single ones besides.
    at: Vec<u64>,
    full: bool,
    said: Mutex<Vec<&'static str>>,
    /// What the volume says is left, if not the truth.
    pub(super) room: Mutex<Option<u64>>,
}

impl Faults {
    /// The calls with these numbers fail.
    pub(super) fn at(calls: &[u64]) -> Self {
        Self { at: calls.to_vec(), ..Self::default() }
    }

    /// The calls since this was last asked.
    pub(super) fn said(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }

    pub(super) fn next(&self, name: &'static str) -> io::Result<()> {
        self.said.lock().unwrap().push(name);
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        let range = self.from.load(Relaxed)..self.to.load(Relaxed);
        if range.contains(&call) || self.at.contains(&call) {
            let number = if self.full { 28 } else { 5 };
            return Err(io::Error::from_raw_os_error(number));
        }
        Ok(())
    }
}

pub(super) fn user(id: u64, name: &str) -> Write {
    Write::User(Arc::new(User {
        id: UserId(id),
        name: Username::new(name).unwrap(),
        admin: false,
        created: Moment(1),
        last_activity: None,
        cookie_id: "c".to_owned(),
        user_info: None,
    }))
}

pub(super) fn image_of(writes: &[Write]) -> Image {
    let mut image = Image::default();
    for write in writes {
        image.apply(write);
    }
    image
}

/// Each kind of record and its end, then the ids. The fixture holds the same.
pub(super) fn one_of_each() -> Vec<Write> {
    let (ada, lab) = (Username::new("ada").unwrap(), ServerName::new("lab").unwrap());
    let key = ServerKey { user: UserId(1), name: lab.clone() };
    let client = ClientId::of_server(&ada, &lab);
    let share = ShareKey { server: key.clone(), with: SharedWith::Group(GroupId(4)) };
    let token = Token {
        id: TokenId(3),
        owner: Owner::User(UserId(1)),
        hash: TokenHash([7; 32]),
        scopes: [Scope::new("inherit")].into(),
        created: Moment(5),
        expires_at: Some(Moment(6)),
        last_activity: None,
        note: "a note".into(),
        client: Some(client.clone()),
        session: Some("s".into()),
    };
    vec![
        user(1, "ada"),
        Write::UserGone(UserId(1)),
        Write::Server(Arc::new(Server::new(key.clone()))),
        Write::ServerGone(key),
        Write::Token(Arc::new(token)),
        Write::TokenGone(TokenId(3)),
        Write::Client(Arc::new(OAuthClient {
            id: client.clone(),
            secret: TokenHash([8; 32]),
            redirect_uri: "/user/ada/lab/oauth_callback".to_owned(),
            description: "a server".to_owned(),
            allowed_scopes: vec![Scope::access_server(&ada, &lab)],
            of: ClientOf::Server(UserId(1), lab),
        })),
        Write::ClientGone(client.clone()),
        Write::Code(Arc::new(OAuthCode {
            hash: TokenHash([9; 32]),
            client,
            user: UserId(1),
            scopes: Vec::new(),
            session: None,
            challenge: None,
            expires_at: Moment(9),
            used: None,
        })),
        Write::CodeGone(TokenHash([9; 32])),
        Write::IdsUsed(12),
        Write::Group(Arc::new(Group {
            id: GroupId(4),
            name: GroupName::new("physics").unwrap(),
            properties: Arc::new([("room".to_owned(), "E 2".into())].into_iter().collect()),
        })),
        Write::GroupGone(GroupId(4)),
        Write::Member(GroupId(4), UserId(1)),
        Write::MemberGone(GroupId(4), UserId(1)),
        Write::Service(Arc::new(Service {
            name: ServiceName::new("culler").unwrap(),
            admin: false,
            url: Some("http://127.0.0.1:9".to_owned()),
            display: true,
            info: serde_json::Map::new(),
            oauth_no_confirm: false,
            oauth_client_allowed_scopes: vec![Scope::new("read:users!user")],
            command: vec!["cull".to_owned()],
            configured: true,
        })),
        Write::ServiceGone(ServiceName::new("culler").unwrap()),
        Write::Share(Arc::new(Share {
            key: share.clone(),
            scopes: vec!["access:servers".to_owned()],
            created: Moment(7),
        })),
        Write::ShareGone(share.clone()),
        Write::ShareCode(Arc::new(ShareCode {
            id: ShareCodeId(5),
            hash: TokenHash([6; 32]),
            server: share.server,
            scopes: vec!["access:servers".to_owned()],
            created: Moment(7),
            expires_at: Moment(8),
            exchange_count: 1,
            last_exchanged: Some(Moment(7)),
        })),
        Write::ShareCodeGone(ShareCodeId(5)),
        Write::Announcement(Arc::new(Announcement {
            text: "Down on Friday".to_owned(),
            level: Level::Warning,
            until: Some(Moment(9)),
            by: "ada".to_owned(),
            since: Moment(8),
        })),
        Write::AnnouncementGone,
        Write::Maintenance(Arc::new(Maintenance {
            message: "New disks".to_owned(),
            until: None,
            drain: Some(Drain { whom: Drained::Idle(600), from: Moment(9) }),
            by: "ada".to_owned(),
            since: Moment(8),
        })),
        Write::MaintenanceGone,
        Write::External(Arc::new(External {
            user: UserId(1),
            subjects: vec![Subject { issuer: "https://idp".to_owned(), id: "17".to_owned() }],
            way: String::new(),
            kept: Some("1.sealed".to_owned()),
            checked: Moment(9),
        })),
        Write::ExternalGone(UserId(1)),
    ]
}

/// A journal in this folder with small limits.
fn journal(dir: &Path) -> DiskJournal {
    let mut journal = DiskJournal::new(dir.to_owned());
    journal.limits = Limits::hasty();
    journal
}

/// The `n`-th group of a fixed story.
fn group(n: u64) -> Vec<Write> {
    let mut writes = vec![user(n + 1, &format!("user{n}")), Write::IdsUsed(n + 1)];
    if n % 3 == 2 {
        writes.push(Write::UserGone(UserId(n)));
    }
    writes
}

/// The image after so many groups of the story, and its number.
fn after(groups: u64) -> (Image, u64) {
    let writes: Vec<Write> = (0..groups).flat_map(group).collect();
    (image_of(&writes), writes.len() as u64)
}

/// Waits until idling has taken in the snapshot that is under way. Its file alone says too little: it is read back first.
fn settle(journal: &mut DiskJournal, image: &Arc<Image>, sequence: u64) {
    let begun = Instant::now();
    while journal.open.as_ref().is_some_and(|open| open.snapshot != Some(sequence)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no snapshot {sequence}");
        journal.idle(image, sequence).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A rested store with two snapshots, several segments and changes behind the last snapshot: (image, number).
fn rested(dir: &Path) -> (Image, u64) {
    let mut journal = journal(dir);
    journal.load().unwrap();
    let (mut image, mut sequence) = (Image::default(), 0);
    for n in 0..24 {
        let writes = group(n);
        journal.append(sequence + 1, &writes).unwrap();
        writes.iter().for_each(|write| image.apply(write));
        sequence += writes.len() as u64;
        if n == 7 || n == 15 {
            journal.limits.grown = 0;
            settle(&mut journal, &Arc::new(image.clone()), sequence);
            journal.limits.grown = u64::MAX;
        }
    }
    journal.idle(&Arc::new(image.clone()), sequence).unwrap();
    (image, sequence)
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

/// All files of the store that hold anything, relative to its folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path).unwrap().len() > 0 && !path.ends_with("store.reserve") {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Damages a copy of a rested store and opens it: all is there, or it says that it is damaged. Returns whether all was.
fn survives(original: &Path, expected: &(Image, u64), what: &str, damage: impl Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    copy(original, dir.path());
    damage(dir.path());
    let mut damaged = journal(dir.path());
    match damaged.load() {
        Ok(loaded) => {
            assert_eq!((&loaded.image, loaded.sequence), (&expected.0, expected.1), "{what}");
            // And it goes on from there.
            damaged.append(loaded.sequence + 1, &[user(900, "late")]).unwrap();
            drop(damaged);
            let again = journal(dir.path()).load().unwrap();
            assert_eq!(again.sequence, expected.1 + 1, "{what}: {:?}", again.repairs);
            assert!(again.image.user_named("late").is_some(), "{what}");
            true
        }
        Err(StoreError::Damaged(why)) => {
            assert!(why.contains("backup"), "{what}: {why}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn a_new_store_is_empty_and_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = journal(dir.path()).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence, loaded.repairs), (Image::default(), 0, vec![]));
    let again = journal(dir.path()).load().unwrap();
    assert_eq!((again.sequence, again.repairs), (0, vec![]));
}

#[test]
fn a_rested_store_opens_without_repairs() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    assert_eq!(expected, after(24));
    for _ in 0..3 {
        let loaded = journal(dir.path()).load().unwrap();
        assert_eq!((loaded.image, loaded.sequence), expected.clone());
        assert_eq!(loaded.repairs, Vec::<String>::new());
    }
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 2);
}

#[test]
fn segments_go_when_two_snapshots_are_younger() {
    let dir = tempfile::tempdir().unwrap();
    rested(dir.path());
    assert!(!dir.path().join("journal/0000000001.log").exists());
    assert!(files(&dir.path().join("journal")).len() > 2);
}

#[test]
fn a_second_opener_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = journal(dir.path());
    first.load().unwrap();
    let error = journal(dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
    drop(first);
    journal(dir.path()).load().unwrap();
}

#[test]
fn every_single_file_may_be_cut_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    for file in files(dir.path()) {
        for percent in [0, 1, 10, 25, 50, 75, 99] {
            let what = format!("{} cut to {percent} %", file.display());
            let whole = survives(dir.path(), &expected, &what, |copy| {
                let path = copy.join(&file);
                let length = fs::metadata(&path).unwrap().len() * percent / 100;
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
            });
            assert!(whole, "{what}: one damaged part is repaired from the others");
        }
    }
}

#[test]
fn every_single_bit_may_flip() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    let files = files(dir.path());
    for trial in 0..100 {
        let file = &files[trial % files.len()];
        let what = format!("trial {trial}: {}", file.display());
        let whole = survives(dir.path(), &expected, &what, |copy| {
            let path = copy.join(file);
            let mut bytes = fs::read(&path).unwrap();
            // Spread evenly by the golden ratio; the same places every time.
            let place = (bytes.len() as f64 * (trial as f64 * 0.618_033_99).fract()) as usize;
            bytes[place] ^= 1 << (trial % 8);
            fs::write(path, bytes).unwrap();
        });
        assert!(whole, "{what}");
    }
}

#[test]
fn every_single_part_may_vanish() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    for part in files(dir.path()) {
        let what = format!("{} deleted", part.display());
        assert!(survives(dir.path(), &expected, &what, |copy| {
            fs::remove_file(copy.join(&part)).unwrap();
        }));
    }
    for part in ["journal", "sled", "snapshots"] {
        assert!(survives(dir.path(), &expected, part, |copy| {
            fs::remove_dir_all(copy.join(part)).unwrap();
        }));
    }
}

#[test]
fn a_store_that_lost_too_much_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    for parts in [&["journal", "sled"][..], &["journal", "sled", "snapshots"]] {
        let what = format!("{parts:?} deleted");
        assert!(
            !survives(dir.path(), &expected, &what, |copy| {
                parts.iter().for_each(|part| fs::remove_dir_all(copy.join(part)).unwrap());
            }),
            "{what}"
        );
    }
}

#[test]
fn two_damaged_files_lose_nothing_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    let files = files(dir.path());
    let (mut whole, mut refused) = (0, 0);
    for (n, one) in files.iter().enumerate() {
        for (m, other) in files.iter().enumerate().skip(n + 1) {
            let what = format!("{} and {}", one.display(), other.display());
            let fine = survives(dir.path(), &expected, &what, |copy| {
                for file in [one, other] {
                    let path = copy.join(file);
                    let length = fs::metadata(&path).unwrap().len();
                    match (n + m) % 3 {
                        0 => fs::remove_file(path).unwrap(),
                        1 => fs::write(path, vec![0; usize::try_from(length).unwrap()]).unwrap(),
                        _ => {
                            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                            file.set_len(length * 2 / 3).unwrap();
                        }
                    }
                }
            });
            if fine { whole += 1 } else { refused += 1 }
        }
    }
    assert!(whole > refused && refused > 0, "{whole} {refused}");
}

#[test]
fn the_advice_for_a_lost_store_helps() {
    let dir = tempfile::tempdir().unwrap();
    rested(dir.path());
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let mut refused = journal(dir.path());
    let error = refused.load().unwrap_err().to_string();
    assert!(error.contains("snapshots"), "{error}");
    drop(refused);
    // A snapshot alone does not say that it is the end; only a mark that is put there on purpose does.
    fs::remove_file(dir.path().join("store.mark")).unwrap();
    let error = journal(dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("jovis restore"), "{error}");
    super::guard::set_mark(&super::disk::Disk::default(), dir.path(), after(16).1).unwrap();
    let loaded = journal(dir.path()).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), after(16));
}

#[test]
fn yesterdays_part_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let mut first = journal(dir.path());
    first.load().unwrap();
    first.append(1, &group(0)).unwrap();
    first.idle(&Arc::new(after(1).0), after(1).1).unwrap();
    drop(first);
    copy(dir.path(), old.path());
    let mut second = journal(dir.path());
    second.load().unwrap();
    second.append(after(1).1 + 1, &group(1)).unwrap();
    second.idle(&Arc::new(after(2).0), after(2).1).unwrap();
    drop(second);
    for (parts, whole) in
        [(&["sled"][..], true), (&["journal"], true), (&["sled", "journal"], false)]
    {
        let fine = survives(dir.path(), &after(2), &format!("{parts:?}"), |here| {
            for part in parts {
                fs::remove_dir_all(here.join(part)).unwrap();
                copy(&old.path().join(part), &here.join(part));
            }
        });
        assert_eq!(fine, whole, "{parts:?}");
    }
}

#[test]
fn a_record_that_sled_lost_or_changed_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    let some = super::records::place(&user(24, "user23")).key;
    for new in [None, Some(super::records::encode(&user(24, "mallory")).unwrap())] {
        let whole = survives(dir.path(), &expected, "sled altered", |copy| {
            let db = ::sled::open(copy.join("sled")).unwrap();
            let old = match &new {
                None => db.remove(&some).unwrap(),
                Some(new) => db.insert(&some, new.clone()).unwrap(),
            };
            assert!(old.is_some());
            db.flush().unwrap();
        });
        assert!(whole);
    }
}

#[test]
fn sled_is_verified_beside_the_work_and_made_anew_if_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (image, sequence) = rested(dir.path());
    let image = Arc::new(image);
    let key = super::records::place(&user(24, "user23")).key;
    let altered = super::records::encode(&user(24, "mallory")).unwrap();
    let db = ::sled::open(dir.path().join("sled")).unwrap();
    db.insert(&key, altered.clone()).unwrap().unwrap();
    db.flush().unwrap();
    drop(db);
    let mut subject = journal(dir.path());
    let loaded = subject.load().unwrap();
    assert_eq!((&loaded.image, loaded.sequence), (&*image, sequence));
    assert_eq!(loaded.repairs, Vec::<String>::new(), "nobody waits for that");
    // What comes meanwhile is not built on it.
    let more = user(900, "late");
    subject.append(sequence + 1, std::slice::from_ref(&more)).unwrap();
    let (mut after, sequence) = (Image::clone(&image), sequence + 1);
    after.apply(&more);
    let after = Arc::new(after);
    let begun = Instant::now();
    while !dir.path().join("sled.damaged").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it was not noticed");
        subject.idle(&after, sequence).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(subject);
    let db = ::sled::open(dir.path().join("sled")).unwrap();
    assert_ne!(db.get(&key).unwrap().unwrap(), altered);
    drop(db);
    // Alone it has all of it.
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    let loaded = journal(dir.path()).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), (Image::clone(&after), sequence));
}

#[test]
fn what_sled_alone_knows_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut image, sequence) = rested(dir.path());
    let mut subject = journal(dir.path());
    subject.load().unwrap();
    let segments = files(&dir.path().join("journal"));
    // No housekeeping comes after this: the mark does not tell of it, nor does a segment's header.
    let more = [user(900, "late"), user(901, "later")];
    for (number, write) in (sequence + 1..).zip(&more) {
        subject.append(number, std::slice::from_ref(write)).unwrap();
        image.apply(write);
    }
    drop(subject);
    for segment in files(&dir.path().join("journal")) {
        if !segments.contains(&segment) {
            fs::remove_file(dir.path().join("journal").join(segment)).unwrap();
        }
    }
    let loaded = journal(dir.path()).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), (image, sequence + 2), "{:?}", loaded.repairs);
}

#[test]
fn parts_of_two_stores_are_not_mixed() {
    let (dir, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let story = [vec![user(1, "ada")], vec![user(2, "bob")], vec![user(3, "cleo")]];
    let others = [vec![user(1, "eve")], vec![user(2, "mallory")]];
    for (dir, story) in [(&dir, &story[..]), (&foreign, &others)] {
        for (n, group) in (1..).zip(story) {
            let mut subject = journal(dir.path());
            let mut image = subject.load().unwrap().image;
            subject.append(n, group).unwrap();
            group.iter().for_each(|write| image.apply(write));
            // With a mark nothing needs to be written again, so that each group stays in a file of its own.
            subject.idle(&Arc::new(image), n).unwrap();
        }
    }
    let expected = (image_of(&story.concat()), 3);
    let farther = tempfile::tempdir().unwrap();
    copy(foreign.path(), farther.path());
    let mut subject = journal(farther.path());
    subject.load().unwrap();
    subject.append(3, &[user(3, "trudy")]).unwrap();
    drop(subject);
    assert!(survives(dir.path(), &expected, "a foreign sled as far as ours", |copy_| {
        fs::remove_dir_all(copy_.join("sled")).unwrap();
        copy(&farther.path().join("sled"), &copy_.join("sled"));
    }));
    // All of the journal is there: it tells that this sled is another's.
    let taken = |copy_: &Path| {
        fs::remove_dir_all(copy_.join("sled")).unwrap();
        copy(&foreign.path().join("sled"), &copy_.join("sled"));
    };
    assert!(survives(dir.path(), &expected, "a foreign sled", taken));
    // Only the last change is there: nothing must be put on top of another's records.
    assert!(!survives(dir.path(), &expected, "a foreign sled, half a journal", |copy| {
        taken(copy);
        fs::remove_file(copy.join("journal/0000000001.log")).unwrap();
        fs::remove_file(copy.join("journal/0000000002.log")).unwrap();
    }));
}

#[test]
fn a_segment_s_header_alone_tells_how_far_the_store_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = journal(dir.path());
    subject.load().unwrap();
    subject.append(1, &group(0)).unwrap();
    subject.append(after(1).1 + 1, &group(1)).unwrap();
    subject.load().unwrap();
    drop(subject);
    let refused = !survives(dir.path(), &after(2), "cut, without sled and mark", |copy| {
        fs::remove_dir_all(copy.join("sled")).unwrap();
        fs::remove_file(copy.join("store.mark")).unwrap();
        let path = copy.join("journal/0000000001.log");
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    });
    assert!(refused);
}

#[test]
fn a_newer_release_s_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    rested(dir.path());
    let newest = files(&dir.path().join("journal")).pop().unwrap();
    let path = dir.path().join("journal").join(newest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[11] = 2;
    let sum = super::records::sum(&[&bytes[..44]]);
    bytes[44..60].copy_from_slice(&sum);
    fs::write(&path, &bytes).unwrap();
    let error = journal(dir.path()).load().unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("newer release")), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn ids_stay_used_after_their_records_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = journal(dir.path());
    first.load().unwrap();
    first.append(1, &[user(7, "ada")]).unwrap();
    first.append(2, &[Write::UserGone(UserId(7))]).unwrap();
    drop(first);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let loaded = journal(dir.path()).load().unwrap();
    assert_eq!((loaded.sequence, loaded.image.next_id()), (2, 8));
}

#[test]
fn a_deleted_journal_takes_no_more_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = journal(dir.path());
    first.load().unwrap();
    first.append(1, &group(0)).unwrap();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let error = first.append(after(1).1 + 1, &group(1)).unwrap_err().to_string();
    assert!(error.contains("deleted"), "{error}");
    let loaded = first.load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), after(1), "sled has it");
}

#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let calls = Arc::new(Faults::default());
    let mut subject = journal(dir.path());
    subject.load().unwrap();
    subject.disk.faults = Some(calls.clone());
    // The disk is handed on when loading.
    subject.load().unwrap();
    let said = || calls.said();
    said();
    subject.append(1, &group(0)).unwrap();
    assert_eq!(said(), ["write", "sync"], "a reload begins a segment at once");
    subject.rotate();
    subject.append(after(1).1 + 1, &group(1)).unwrap();
    assert_eq!(said(), ["create", "write", "sync", "sync_folder", "write", "sync"]);
    let (image, sequence) = after(2);
    subject.limits.grown = u64::MAX;
    settle(&mut subject, &Arc::new(image), sequence);
    drop(subject);
    let all = said().join(" ");
    for file in ["remove create write sync rename", "create write sync rename sync_folder"] {
        assert!(all.contains(file), "a file has its name only when its content is there: {all}");
    }
}

/// Does the whole story with faults, reloading after each failed append as the store actor does. Returns how many
/// calls there were.
fn story(dir: &Path, from: u64, to: u64, full: bool) -> u64 {
    let faults = Arc::new(Faults { from: from.into(), to: to.into(), full, ..Faults::default() });
    let mut subject = journal(dir);
    subject.limits.grown = 500;
    subject.disk.faults = Some(faults.clone());
    let mut sequence = 0;
    let mut image = Image::default();
    let mut tries = 0;
    let mut loaded = false;
    let mut n = 0;
    // Nobody was told what became of the last group.
    let mut open_end = false;
    while n < 9 && tries < 12 {
        if !loaded {
            tries += 1;
            match subject.load() {
                Ok(found) => {
                    assert_eq!((&found.image, found.sequence), (&image, sequence), "{from}");
                    (loaded, open_end) = (true, false);
                }
                Err(StoreError::Full | StoreError::Disk { .. }) => continue,
                Err(other) => panic!("{from}: {other}"),
            }
        }
        let writes = group(n);
        match subject.append(sequence + 1, &writes) {
            Ok(()) => {
                writes.iter().for_each(|write| image.apply(write));
                sequence += writes.len() as u64;
                n += 1;
            }
            Err(error) => {
                open_end = matches!(error, StoreError::Uncertain { .. });
                assert!(open_end || matches!(error, StoreError::Full) == full, "{error}");
                loaded = false;
                continue;
            }
        }
        subject.idle(&Arc::new(image.clone()), sequence).unwrap();
    }
    drop(subject);
    // Crash here. What was acknowledged is there, and what was refused is not.
    let found = journal(dir).load().unwrap();
    let found = (found.image, found.sequence);
    assert!(
        found == after(n) || open_end && found == after(n + 1),
        "fault {from}: {} changes, acknowledged {sequence}, {open_end}",
        found.1
    );
    faults.calls.load(Relaxed)
}

#[test]
fn when_any_one_call_fails_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let calls = story(dir.path(), u64::MAX, u64::MAX, false);
    assert!(calls > 40, "{calls}");
    for full in [false, true] {
        for call in 1..=calls {
            let dir = tempfile::tempdir().unwrap();
            story(dir.path(), call, call + 1, full);
        }
    }
}

#[test]
fn when_all_calls_fail_from_one_on_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let calls = story(dir.path(), u64::MAX, u64::MAX, false);
    for call in (1..=calls).step_by(2) {
        let dir = tempfile::tempdir().unwrap();
        story(dir.path(), call, u64::MAX, call % 4 == 1);
    }
}

/// One group is acknowledged and one refused, as its sync fails; so do these later calls, counted from that sync. Then
/// the store is loaded again until it is ready, or six times, and crashes. Tells the calls from the sync on, if it was.
fn refused(later: &[u64]) -> Option<Vec<&'static str>> {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = journal(dir.path());
    subject.load().unwrap();
    subject.append(1, &group(0)).unwrap();
    // Calls one and two: the frame is written, and may be whole on the medium when the sync says that it failed.
    let failing: Vec<u64> = [2].into_iter().chain(later.iter().map(|call| call + 2)).collect();
    let faults = Arc::new(Faults::at(&failing));
    let open = subject.open.as_mut().unwrap();
    subject.disk.faults = Some(faults.clone());
    open.journal.disk = subject.disk.clone();
    subject.append(after(1).1 + 1, &group(1)).unwrap_err();
    let ready = (0..6).any(|_| match subject.load() {
        Ok(found) => {
            assert_eq!((found.image, found.sequence), after(1), "{later:?}");
            true
        }
        Err(StoreError::Disk { .. }) => false,
        Err(other) => panic!("{later:?}: {other}"),
    });
    drop(subject);
    if ready {
        let found = journal(dir.path()).load().unwrap();
        assert_eq!((found.image, found.sequence), after(1), "{later:?}: a refused group is back");
    }
    ready.then(|| faults.said().split_off(2))
}

#[test]
fn no_order_of_reloads_brings_a_refused_group_back() {
    let calls = refused(&[]).unwrap();
    let plain =
        ["cut", "folder", "folder", "sync_folder", "create", "write", "sync", "sync_folder"];
    assert_eq!(calls, plain);
    for one in 1..=14 {
        for other in one..=14 {
            let some = refused(&[1, one, other]);
            assert!(some.is_some(), "{one} {other}: it recovers");
        }
    }
    // No room for a new segment, and cutting fails until the third load.
    let calls = refused(&[1, 5, 6, 10, 11, 15]).unwrap();
    let cuts = calls.iter().filter(|call| **call == "cut").count();
    assert_eq!(cuts, 4, "{calls:?}");
    // Nothing works any more: then it never says that it is ready.
    assert!(refused(&(1..500).collect::<Vec<_>>()).is_none());
}

/// A store with one acknowledged group and one whose sync failed, which could not be cut off either; then its process
/// ended. Length of the acknowledged part of its only segment.
fn uncertain(dir: &Path) -> u64 {
    let mut subject = journal(dir);
    subject.load().unwrap();
    subject.append(1, &group(0)).unwrap();
    let segment = dir.join("journal/0000000001.log");
    let length = fs::metadata(&segment).unwrap().len();
    let open = subject.open.as_mut().unwrap();
    // Calls: write, sync, cut.
    subject.disk.faults = Some(Arc::new(Faults::at(&[2, 3])));
    open.journal.disk = subject.disk.clone();
    let error = subject.append(after(1).1 + 1, &group(1)).unwrap_err();
    assert!(matches!(error, StoreError::Uncertain { .. }), "nobody was told a lie: {error}");
    assert!(fs::metadata(segment).unwrap().len() > length);
    length
}

/// What a kernel does that could not write a page and said so once: it forgets it sooner or later.
fn forget_the_page(dir: &Path, length: u64) {
    let path = dir.join("journal/0000000001.log");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    fs::remove_dir_all(dir.join("sled")).unwrap();
}

#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let length = uncertain(dir.path());
    let mut subject = journal(dir.path());
    let loaded = subject.load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), after(2), "all of it, since some of it counts");
    takes_the_third_group_and_keeps_it(subject, dir.path(), length);
}

/// It goes on from the second group, and what counted does not hang on what only the page cache held.
fn takes_the_third_group_and_keeps_it(mut subject: DiskJournal, dir: &Path, length: u64) {
    subject.append(after(2).1 + 1, &group(2)).unwrap();
    drop(subject);
    forget_the_page(dir, length);
    let loaded = journal(dir).load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), after(3));
}

#[test]
fn what_is_to_be_written_again_waits_for_room_and_nothing_is_built_on_it_before() {
    let dir = tempfile::tempdir().unwrap();
    let length = uncertain(dir.path());
    let mut subject = journal(dir.path());
    // Opening makes two folders and syncs one; then nothing works for want of room.
    let faults =
        Arc::new(Faults { from: 4.into(), to: u64::MAX.into(), full: true, ..Faults::default() });
    subject.disk.faults = Some(faults.clone());
    let loaded = subject.load().unwrap();
    assert_eq!((loaded.image, loaded.sequence), after(2), "it is read");
    for _ in 0..3 {
        let error = subject.append(after(2).1 + 1, &group(2)).unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error}");
        assert!(matches!(subject.idle(&Arc::new(after(2).0), after(2).1), Err(StoreError::Full)));
    }
    assert_eq!(super::guard::mark(dir.path()).unwrap(), super::guard::Mark::Sequence(0));
    faults.from.store(u64::MAX, Relaxed);
    takes_the_third_group_and_keeps_it(subject, dir.path(), length);
}

#[test]
fn where_all_was_deleted_but_the_lock_nothing_begins() {
    let dir = tempfile::tempdir().unwrap();
    rested(dir.path());
    for part in ["journal", "sled", "snapshots"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
    }
    fs::remove_file(dir.path().join("store.mark")).unwrap();
    let error = journal(dir.path()).load().unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(why) if why.contains("backup")), "{error}");
}

#[test]
fn housekeeping_notices_what_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rested(dir.path());
    for part in ["journal", "store.lock"] {
        let here = tempfile::tempdir().unwrap();
        copy(dir.path(), here.path());
        let mut subject = journal(here.path());
        subject.load().unwrap();
        let path = here.path().join(part);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let error = subject.idle(&Arc::new(expected.0.clone()), expected.1).unwrap_err();
        assert!(error.to_string().contains("deleted while in use"), "{part}: {error}");
        // The rest of it is enough.
        let loaded = subject.load().unwrap();
        assert_eq!((loaded.image, loaded.sequence), expected.clone(), "{part}");
        subject.append(expected.1 + 1, &[user(900, "late")]).unwrap();
    }
}

#[test]
fn a_refused_group_is_gone_before_anybody_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = journal(dir.path());
    subject.disk.faults = Some(Arc::new(Faults::default()));
    subject.load().unwrap();
    subject.append(1, &group(0)).unwrap();
    let faults = subject.disk.faults.clone().unwrap();
    let next = faults.calls.load(Relaxed) + 1;
    // The write succeeds, the sync does not.
    faults.from.store(next + 1, Relaxed);
    faults.to.store(next + 2, Relaxed);
    subject.append(after(1).1 + 1, &group(1)).unwrap_err();
    // A crash before any reload.
    drop(subject);
    let found = journal(dir.path()).load().unwrap();
    assert_eq!((found.image, found.sequence), after(1));
}

#[test]
fn a_snapshot_waits_for_room_and_then_comes() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let mut subject = journal(dir.path());
    subject.disk.faults = Some(faults.clone());
    subject.load().unwrap();
    subject.append(1, &group(0)).unwrap();
    let (image, sequence) = after(1);
    let image = Arc::new(image);
    let snapshots = dir.path().join("snapshots");
    *faults.room.lock().unwrap() = Some(4_096);
    let begun = Instant::now();
    while !subject.told {
        subject.idle(&image, sequence).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "it was refused");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
    // While there is no room it does not even begin, and the journal's segment is not ended for nothing.
    faults.said();
    for _ in 0..5 {
        subject.idle(&image, sequence).unwrap();
    }
    assert!(subject.open.as_ref().unwrap().running.is_none());
    assert!(!faults.said().contains(&"create"));
    subject.append(sequence + 1, &group(1)).unwrap();
    *faults.room.lock().unwrap() = None;
    let (image, sequence) = after(2);
    settle(&mut subject, &Arc::new(image), sequence);
    assert!(!subject.told);
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 1);
}

/// Writes that the hub could make: names and hashes belong to one record at a time.
fn any_write() -> impl Strategy<Value = Write> {
    let id = 1_u64..20;
    prop_oneof![
        (id.clone(), any::<bool>()).prop_map(|(id, renamed)| {
            user(id, &format!("u{id}{}", if renamed { "é" } else { "" }))
        }),
        id.clone().prop_map(|id| Write::UserGone(UserId(id))),
        (id.clone(), "[a-z]{0,3}").prop_map(|(id, name)| {
            let name = ServerName::new(&name).unwrap();
            Write::Server(Arc::new(Server::new(ServerKey { user: UserId(id), name })))
        }),
        id.clone().prop_map(|id| {
            Write::ServerGone(ServerKey { user: UserId(id), name: ServerName::default_server() })
        }),
        (id.clone(), any::<Option<i64>>()).prop_map(|(id, end)| {
            Write::Token(Arc::new(Token {
                id: TokenId(id),
                owner: Owner::User(UserId(id % 3)),
                hash: TokenHash([u8::try_from(id).unwrap(); 32]),
                scopes: [Scope::new("inherit")].into(),
                created: Moment(1),
                expires_at: end.map(Moment),
                last_activity: None,
                note: "\u{1f980}\n".into(),
                client: None,
                session: None,
            }))
        }),
        id.clone().prop_map(|id| Write::TokenGone(TokenId(id))),
        id.prop_map(Write::IdsUsed),
        proptest::sample::select(one_of_each()[6..].to_vec()),
    ]
}

proptest! {
    #[test]
    fn gathering_is_applying_one_after_the_other(
        writes in proptest::collection::vec(any_write(), 0..60),
    ) {
        prop_assert_eq!(Image::gather(writes.clone()), image_of(&writes));
        let image = image_of(&writes);
        prop_assert_eq!(Image::gather(image.writes()), image);
    }

    #[test]
    fn any_write_is_read_as_it_was_written(write in any_write()) {
        let bytes = super::records::encode(&write).unwrap();
        prop_assert_eq!(super::records::decode(&bytes), Ok(write));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_writes_are_found_again(
        groups in proptest::collection::vec(proptest::collection::vec(any_write(), 1..8), 1..12),
        reopen in 0_usize..12,
        without in 0_usize..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut subject = journal(dir.path());
        subject.load().unwrap();
        let (mut image, mut sequence) = (Image::default(), 0);
        for (n, group) in groups.iter().enumerate() {
            subject.append(sequence + 1, group).unwrap();
            group.iter().for_each(|write| image.apply(write));
            sequence += group.len() as u64;
            subject.idle(&Arc::new(image.clone()), sequence).unwrap();
            if n == reopen {
                let found = subject.load().unwrap();
                prop_assert_eq!((&found.image, found.sequence), (&image, sequence));
            }
        }
        drop(subject);
        if let Some(part) = ["sled", "snapshots", "store.mark"].get(without) {
            let path = dir.path().join(part);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let found = journal(dir.path()).load().unwrap();
        prop_assert_eq!((found.image, found.sequence), (image, sequence));
    }
}
