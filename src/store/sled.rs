//! The records in sled: the usual base at opening, brought up to date lazily, never the truth.
//!
//! By itself sled 0.34.7 is not enough: a file cut short may open as an empty database, a flipped bit panics or loses
//! records, `flush` does not sync. So every batch carries the place in the history, the number of records and their
//! digest under a reserved key; at opening all is read and compared. All of it happens on a thread of its own, which may
//! panic, or hang: after an error of the disk a `flush` of sled's may wait for ever. Never `flush_async`: many at once
//! dead-lock.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
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
const UNLOCKING: Duration = Duration::from_secs(1);
/// How long somebody waits who closes it. It may be writing, or hang.
const CLOSING: Duration = Duration::from_secs(2);
/// Groups that may wait for it.
const QUEUE: usize = 64;
/// How long a group waits for a place among them.
const HANDING_OVER: Duration = Duration::from_secs(2);
/// Without an end to what it does for so long, it hangs.
const STANDSTILL: Duration = Duration::from_secs(20);
/// Records in one batch when all is written anew.
const BATCH: usize = 4_096;

/// sled, open and verified: its thread does what it is handed, in order, and nobody waits for it. What it is handed is
/// durable already.
#[derive(Debug)]
pub(super) struct Base {
    /// There until it is dropped.
    jobs: Option<mpsc::SyncSender<Job>>,
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    ended: mpsc::Receiver<()>,
    at: Point,
    /// Handed over so far.
    sent: u64,
    /// Its steps when last looked at, and since when they are so many.
    seen: (u64, Instant),
    dirty: bool,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct Shared {
    done: AtomicU64,
    /// Grows while it works.
    steps: AtomicU64,
    error: Mutex<Option<String>>,
}

/// What the thread is handed.
#[derive(Debug)]
enum Job {
    /// One group: the last of each key, the highest id in it, where it ends.
    Write(BTreeMap<Vec<u8>, Option<Vec<u8>>>, u64, Point),
    /// All records of an image, into an empty database.
    Fill(Box<Image>, Point),
    /// Put on the medium what is not there yet.
    Flush,
}

/// The database on its thread.
struct Records {
    db: ::sled::Db,
    file: File,
    at: Point,
    count: u64,
    digest: u128,
    ids: u64,
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
    let opener = thread::Builder::new().name("sled".to_owned()).spawn(move || live(&path, &tell));
    if let Err(error) = opener {
        return Opened::Unavailable(error.to_string());
    }
    told.recv_timeout(OPENING)
        .unwrap_or_else(|_| Opened::Damaged("sled did not open in time".to_owned()))
}

/// The thread's life: opens, tells, and does what it is handed until nobody is left who could, or until it fails.
fn live(path: &PathBuf, tell: &mpsc::SyncSender<Opened>) {
    let opened = catch_unwind(|| open_here(path))
        .unwrap_or_else(|_| Err(Opened::Damaged("sled panicked when opening".to_owned())));
    let (records, image) = match opened {
        Ok(opened) => opened,
        Err(other) => {
            // Nobody listens any more: too late.
            let _ = tell.send(other);
            return;
        }
    };
    let (jobs, inbox) = mpsc::sync_channel(QUEUE);
    let (alive, ended) = mpsc::sync_channel(0);
    let shared = Arc::new(Shared::default());
    let base = Box::new(Base {
        jobs: Some(jobs),
        shared: shared.clone(),
        ended,
        at: records.at,
        sent: 0,
        seen: (0, Instant::now()),
        dirty: false,
    });
    let opened = match image {
        Some(image) => Opened::Good(base, image),
        None => Opened::Empty(base),
    };
    // If nobody listens any more there is nothing to do.
    drop(tell.send(opened));
    work(records, &inbox, &shared);
    drop(alive);
}

fn work(mut records: Records, inbox: &mpsc::Receiver<Job>, shared: &Shared) {
    for job in inbox {
        let done = catch_unwind(AssertUnwindSafe(|| records.act(job, &shared.steps)));
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some("sled panicked".to_owned()),
        };
        if failed.is_some() {
            *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = failed;
            break;
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
        shared.steps.fetch_add(1, Ordering::Relaxed);
    }
    // Closing writes and syncs once more, and sled panics when that fails.
    if catch_unwind(AssertUnwindSafe(|| drop(records))).is_err() {
        warn!("sled panicked when closing");
    }
}

/// The database and its records; no image if it holds nothing at all, not even a place in the history.
fn open_here(path: &PathBuf) -> Result<(Records, Option<Box<Image>>), Opened> {
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
                    return Err(Opened::Unavailable(error.to_string()));
                }
                // sled's own word for a lock that is held.
                _ if error.to_string().contains("could not acquire lock") => {
                    if begun.elapsed() > UNLOCKING {
                        return Err(Opened::Unavailable(error.to_string()));
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                _ => return Err(Opened::Damaged(error.to_string())),
            },
            Err(error) => return Err(Opened::Damaged(error.to_string())),
        }
    };
    let file = match File::open(path.join("db")) {
        Ok(file) => file,
        Err(error) => return Err(Opened::Unavailable(error.to_string())),
    };
    let Read { image, meta, count, digest, ids } = read(&db)?;
    let open = |at| Records { db, file, at, count, digest, ids };
    match meta {
        None if count == 0 => Ok((open(Point::default()), None)),
        None => Err(Opened::Damaged("it was not finished".to_owned())),
        Some(meta) if meta.first().is_some_and(|&version| version > META_VERSION) => {
            Err(Opened::Newer(meta[0]))
        }
        Some(meta) if meta.len() != META_LENGTH => {
            Err(Opened::Damaged("its place is gone".to_owned()))
        }
        Some(meta) => {
            let at = Point { sequence: u64_at(&meta, 1), chain: sum_at(&meta, 9) };
            if encode_meta(at, count, digest)[..] == meta[..] {
                Ok((open(at), Some(Box::new(image))))
            } else {
                Err(Opened::Damaged(format!(
                    "it holds {count} records where there were {}, or others",
                    u64_at(&meta, 25)
                )))
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
    /// Where it stands, once it has done what it was handed.
    pub(super) fn at(&self) -> Point {
        self.at
    }

    /// Brings it to `to`. After an error, which may be of an earlier call, it must not be used any more.
    pub(super) fn apply<'a>(
        &mut self,
        group: impl IntoIterator<Item = (&'a Write, Vec<u8>)>,
        to: Point,
    ) -> Result<(), String> {
        let (mut last, mut ids) = (BTreeMap::new(), 0);
        for (write, bytes) in group {
            ids = ids.max(records::id_used(write));
            let place = records::place(write);
            last.insert(place.key, (!place.gone).then_some(bytes));
        }
        self.at = to;
        self.hand_over(Job::Write(last, ids, to))
    }

    /// Fills it, which must be [empty](Opened::Empty), with an image. Until the end it counts as unfinished.
    pub(super) fn fill(&mut self, image: &Image, at: Point) -> Result<(), String> {
        self.at = at;
        self.hand_over(Job::Fill(Box::new(image.clone()), at))?;
        self.flush()
    }

    /// Has what is not there yet put on the medium. Errors are as those of [`apply`](Self::apply).
    pub(super) fn flush(&mut self) -> Result<(), String> {
        if !self.dirty {
            return self.progress();
        }
        self.hand_over(Job::Flush)?;
        self.dirty = false;
        Ok(())
    }

    /// Is it doing what it was handed? sled may wait for ever for a write that failed.
    fn progress(&mut self) -> Result<(), String> {
        if let Some(error) = &*self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        let done = self.shared.done.load(Ordering::Relaxed);
        let steps = self.shared.steps.load(Ordering::Relaxed);
        if steps != self.seen.0 || done == self.sent {
            self.seen = (steps, Instant::now());
        }
        match self.seen.1.elapsed() {
            long if long > STANDSTILL => Err(format!("sled stands still for {} s", long.as_secs())),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self, mut job: Job) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            self.progress()?;
            let jobs = self.jobs.as_ref().expect("it is not dropped yet");
            match jobs.try_send(job) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Disconnected(_)) => {
                    self.progress()?;
                    return Err("sled's thread ended".to_owned());
                }
                Err(mpsc::TrySendError::Full(_)) if begun.elapsed() > HANDING_OVER => {
                    return Err(format!("sled has {QUEUE} groups to do"));
                }
                Err(mpsc::TrySendError::Full(back)) => job = back,
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.sent += 1;
        self.dirty = true;
        Ok(())
    }
}

impl Drop for Base {
    /// Lets it finish and close, which takes a moment: the next one to open it wants its lock.
    fn drop(&mut self) {
        self.jobs = None;
        if self.ended.recv_timeout(CLOSING) == Err(mpsc::RecvTimeoutError::Timeout) {
            warn!(limit_s = CLOSING.as_secs(), "sled does not close");
        }
    }
}

impl Records {
    fn act(&mut self, job: Job, steps: &AtomicU64) -> Result<(), String> {
        match job {
            Job::Write(last, ids, to) => self.write(last, ids, to, true),
            Job::Fill(image, at) => self.fill(&image, at, steps),
            Job::Flush => {
                self.db.flush().map_err(|error| error.to_string())?;
                self.file.sync_data().map_err(|error| error.to_string())
            }
        }
    }

    /// One batch; without `whole` it leaves no place in the history, so that it is not believed.
    fn write(
        &mut self,
        mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        ids: u64,
        to: Point,
        whole: bool,
    ) -> Result<(), String> {
        let ids = ids.max(self.ids);
        if ids > self.ids || last.contains_key(records::IDS) {
            let used = records::encode(&Write::IdsUsed(ids)).map_err(|error| error.to_string())?;
            last.insert(records::IDS.to_vec(), Some(used));
        }
        self.ids = ids;
        self.at = to;
        let mut batch = ::sled::Batch::default();
        for (key, new) in last {
            if let Some(old) = self.db.get(&key).map_err(|error| error.to_string())? {
                self.count -= 1;
                self.digest = self.digest.wrapping_sub(one(&key, &old));
            }
            if let Some(new) = new {
                self.count += 1;
                self.digest = add(self.digest, &key, &new);
                batch.insert(key, new);
            } else {
                batch.remove(key);
            }
        }
        if whole {
            batch.insert(META, encode_meta(self.at, self.count, self.digest));
        }
        self.db.apply_batch(batch).map_err(|error| error.to_string())
    }

    fn fill(&mut self, image: &Image, at: Point, steps: &AtomicU64) -> Result<(), String> {
        let mut writes = image.writes().peekable();
        while writes.peek().is_some() {
            let (mut last, mut ids) = (BTreeMap::new(), 0);
            for write in writes.by_ref().take(BATCH) {
                let bytes = records::encode(&write).map_err(|error| error.to_string())?;
                ids = ids.max(records::id_used(&write));
                last.insert(records::place(&write).key, Some(bytes));
            }
            let whole = writes.peek().is_none();
            self.write(last, ids, at, whole)?;
            steps.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
