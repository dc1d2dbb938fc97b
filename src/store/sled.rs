//! The records in sled: the usual base at opening, brought up to date lazily, never the truth.
//!
//! By itself sled 0.34.7 is not enough: a file cut short may open as an empty database, a flipped bit panics or loses
//! records, `flush` does not sync. So every batch carries the place in the history, the number of records and their
//! digest under a reserved key; at opening all is read and compared, on a thread of its own that may panic. Never
//! `flush_async`: many at once dead-lock.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use jovis_actors::store::{Image, Write};
use tracing::warn;

use super::{
    records::{self, BadRecord},
    segment::{Point, sum_at, u64_at},
};

const META: &[u8] = &[0];
const META_VERSION: u8 = 1;
const META_LENGTH: usize = 1 + 8 + 16 + 8 + 16 + 16;
/// Bytes of sled's cache; its default is a gigabyte.
const CACHE: u64 = 16 * 1024 * 1024;
/// Batches that are read ahead at opening.
const AHEAD: usize = 4;
/// A million records take three seconds.
const OPENING: Duration = Duration::from_secs(120);
/// A closed database may hold its lock for a moment longer.
const UNLOCKING: Duration = Duration::from_secs(5);
/// Records in one batch when all is written anew.
const BATCH: usize = 4_096;

/// sled, open and verified.
#[derive(Debug)]
pub(super) struct Base {
    /// There until it is dropped.
    db: Option<::sled::Db>,
    file: File,
    at: Point,
    count: u64,
    digest: u128,
    ids: u64,
    dirty: bool,
}

/// What opening found.
#[derive(Debug)]
pub(super) enum Opened {
    /// Number and digest of the records are right.
    Good(Box<Base>, Box<Image>),
    /// It opens and holds nothing at all, not even a place in the history.
    Empty(Box<Base>),
    /// Not now: the disk is full or does not answer. Says nothing about the content.
    Unavailable(String),
    /// It can be set aside.
    Damaged(String),
    /// Made by a newer release: must be left alone.
    Newer(u8),
}

/// Opens (or makes) the database in this folder, which must be absolute, and verifies all of it.
pub(super) fn open(path: &Path) -> Opened {
    let (tell, told) = mpsc::sync_channel(1);
    let path = path.to_owned();
    let opener = thread::Builder::new().name("sled-open".to_owned()).spawn(move || {
        let opened = catch_unwind(|| open_here(&path))
            .unwrap_or_else(|_| Opened::Damaged("sled panicked when opening".to_owned()));
        // Nobody listens any more: too late.
        let _ = tell.send(opened);
    });
    if let Err(error) = opener {
        return Opened::Unavailable(error.to_string());
    }
    told.recv_timeout(OPENING)
        .unwrap_or_else(|_| Opened::Damaged("sled did not open in time".to_owned()))
}

fn open_here(path: &PathBuf) -> Opened {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(CACHE)
        .flush_every_ms(Some(200))
        .mode(::sled::Mode::HighThroughput);
    let begun = Instant::now();
    let db = loop {
        match config.open() {
            Ok(db) => break db,
            Err(::sled::Error::Io(error)) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    return Opened::Unavailable(error.to_string());
                }
                // sled's own word for a lock that is held.
                _ if error.to_string().contains("could not acquire lock") => {
                    if begun.elapsed() > UNLOCKING {
                        return Opened::Unavailable(error.to_string());
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                _ => return Opened::Damaged(error.to_string()),
            },
            Err(error) => return Opened::Damaged(error.to_string()),
        }
    };
    let file = match File::open(path.join("db")) {
        Ok(file) => file,
        Err(error) => return Opened::Unavailable(error.to_string()),
    };
    let Read { image, meta, count, digest, ids } = match read(&db) {
        Ok(read) => read,
        Err(opened) => return opened,
    };
    let base = |at| Box::new(Base { db: Some(db.clone()), file, at, count, digest, ids, dirty: false });
    match meta {
        None if count == 0 => Opened::Empty(base(Point::default())),
        None => Opened::Damaged("it was not finished".to_owned()),
        Some(meta) if meta.first().is_some_and(|&version| version > META_VERSION) => {
            Opened::Newer(meta[0])
        }
        Some(meta) if meta.len() != META_LENGTH => Opened::Damaged("its place is gone".to_owned()),
        Some(meta) => {
            let at = Point { sequence: u64_at(&meta, 1), chain: sum_at(&meta, 9) };
            if encode_meta(at, count, digest)[..] == meta[..] {
                Opened::Good(base(at), Box::new(image))
            } else {
                Opened::Damaged(format!(
                    "it holds {count} records where there were {}, or others",
                    u64_at(&meta, 25)
                ))
            }
        }
    }
}

/// All that is in it.
struct Read {
    image: Image,
    meta: Option<::sled::IVec>,
    count: u64,
    digest: u128,
    ids: u64,
}

/// Keys and values, some at a time.
type Pairs = Vec<(::sled::IVec, ::sled::IVec)>;

/// Reads all records: one thread takes them out of sled, one makes records of them, this one makes the image.
fn read(db: &::sled::Db) -> Result<Read, Opened> {
    let mut all = Read { image: Image::default(), meta: None, count: 0, digest: 0, ids: 0 };
    thread::scope(|scope| {
        let (pairs_to, pairs) = mpsc::sync_channel::<Result<Pairs, Opened>>(AHEAD);
        let (known_to, known) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || {
            let mut records = db.iter();
            loop {
                let some: Result<Pairs, _> = records.by_ref().take(BATCH).collect();
                let some = some.map_err(|error| Opened::Damaged(error.to_string()));
                let last = some.as_ref().map_or(true, Vec::is_empty);
                if pairs_to.send(some).is_err() || last {
                    break;
                }
            }
        });
        scope.spawn(move || {
            let mut reader = records::Reader::default();
            for some in pairs {
                if known_to.send(some.and_then(|some| known_of(&mut reader, some))).is_err() {
                    break;
                }
            }
        });
        for some in known {
            let some = some?;
            for write in &some.writes {
                all.ids = all.ids.max(records::id_used(write));
                all.image.apply(write);
            }
            all.count += some.writes.len() as u64;
            all.digest = all.digest.wrapping_add(some.digest);
            all.meta = some.meta.or(all.meta.take());
        }
        Ok(())
    })?;
    Ok(all)
}

/// Some of the records.
struct Known {
    writes: Vec<Write>,
    digest: u128,
    meta: Option<::sled::IVec>,
}

fn known_of(reader: &mut records::Reader, pairs: Pairs) -> Result<Known, Opened> {
    let mut known = Known { writes: Vec::with_capacity(pairs.len()), digest: 0, meta: None };
    for (key, value) in pairs {
        if key == META {
            known.meta = Some(value);
            continue;
        }
        match reader.decode(&value) {
            Ok(write) if key == records::place(&write).key => known.writes.push(write),
            Ok(_) => return Err(Opened::Damaged("a record is under another's key".to_owned())),
            Err(BadRecord::Newer(version)) => return Err(Opened::Newer(version)),
            Err(error) => return Err(Opened::Damaged(error.to_string())),
        }
        known.digest = add(known.digest, &key, &value);
    }
    Ok(known)
}

/// Digest of a set of records: a sum, so that it can be kept up to date record by record.
fn add(digest: u128, key: &[u8], value: &[u8]) -> u128 {
    digest.wrapping_add(one(key, value))
}

fn one(key: &[u8], value: &[u8]) -> u128 {
    u128::from_be_bytes(records::sum(&[&(key.len() as u64).to_be_bytes(), key, value]))
}

fn encode_meta(at: Point, count: u64, digest: u128) -> Vec<u8> {
    let mut bytes = vec![META_VERSION];
    bytes.extend(at.sequence.to_be_bytes());
    bytes.extend(at.chain);
    bytes.extend(count.to_be_bytes());
    bytes.extend(digest.to_be_bytes());
    bytes.extend(records::sum(&[&bytes]));
    bytes
}

impl Base {
    /// Where it stands.
    pub(super) fn at(&self) -> Point {
        self.at
    }

    /// Brings it to `to`. After an error it must not be used any more.
    pub(super) fn apply<'a>(
        &mut self,
        group: impl IntoIterator<Item = (&'a Write, Vec<u8>)>,
        to: Point,
    ) -> Result<(), String> {
        self.write(group, to, true)
    }

    /// One batch; without `whole` it leaves no place in the history, so that it is not believed.
    fn write<'a>(
        &mut self,
        group: impl IntoIterator<Item = (&'a Write, Vec<u8>)>,
        to: Point,
        whole: bool,
    ) -> Result<(), String> {
        let mut last = BTreeMap::new();
        let mut ids = self.ids;
        for (write, bytes) in group {
            ids = ids.max(records::id_used(write));
            let place = records::place(write);
            last.insert(place.key, (!place.gone).then_some(bytes));
        }
        if ids > self.ids || last.contains_key(records::IDS) {
            let used = records::encode(&Write::IdsUsed(ids)).map_err(|error| error.to_string())?;
            last.insert(records::IDS.to_vec(), Some(used));
        }
        self.ids = ids;
        self.at = to;
        self.guarded(|base| {
            let db = base.db.as_ref().expect("it is dropped last");
            let mut batch = ::sled::Batch::default();
            for (key, new) in last {
                if let Some(old) = db.get(&key)? {
                    base.count -= 1;
                    base.digest = base.digest.wrapping_sub(one(&key, &old));
                }
                if let Some(new) = new {
                    base.count += 1;
                    base.digest = add(base.digest, &key, &new);
                    batch.insert(key, new);
                } else {
                    batch.remove(key);
                }
            }
            if whole {
                batch.insert(META, encode_meta(base.at, base.count, base.digest));
            }
            db.apply_batch(batch)?;
            base.dirty = true;
            Ok(())
        })
    }

    /// Fills it, which must be [empty](Opened::Empty), with an image. Until the end it counts as unfinished.
    pub(super) fn fill(&mut self, image: &Image, at: Point) -> Result<(), String> {
        let mut writes = image.writes().peekable();
        while writes.peek().is_some() {
            let mut some = Vec::new();
            for write in writes.by_ref().take(BATCH) {
                let bytes = records::encode(&write).map_err(|error| error.to_string())?;
                some.push((write, bytes));
            }
            let whole = writes.peek().is_none();
            self.write(some.iter().map(|(write, bytes)| (write, bytes.clone())), at, whole)?;
        }
        self.flush()
    }

    /// Puts on the medium what is not there yet. After an error it must not be used any more.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        if !self.dirty {
            return Ok(());
        }
        self.guarded(|base| base.db.as_ref().map_or(Ok(0), |db| db.flush()).map(|_| ()))?;
        self.file.sync_data().map_err(|error| error.to_string())?;
        self.dirty = false;
        Ok(())
    }

    fn guarded(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), ::sled::Error>,
    ) -> Result<(), String> {
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => Err("sled panicked".to_owned()),
        }
    }
}

impl Drop for Base {
    /// Closing writes and syncs once more, and sled panics when that fails.
    fn drop(&mut self) {
        let db = self.db.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            warn!("sled panicked when closing");
        }
    }
}
