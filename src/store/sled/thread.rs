//! The thread that has sled: opens it, tells, and does what it is handed until nobody is left who could, or until it fails.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use jovis_actors::store::{Image, Write};
use tracing::warn;

use super::{Bad, Base, Group, Job, Life, Opened, Shared};
use crate::{
    os::memory,
    store::{
        decode,
        records::{self, BadRecord},
        segment::{Point, sum_at, u64_at},
    },
};

const META: &[u8] = &[0];
const META_VERSION: u8 = 1;
const META_LENGTH: usize = 1 + 8 + 16 + 8 + 16 + 16;
/// Bytes of sled's cache; its default is a gigabyte. What it does not hold is in the page cache; in memory it takes twice
/// as much.
const CACHE: u64 = 4 * 1024 * 1024;
/// A closed database may hold its lock for a moment longer.
const UNLOCKING: Duration = Duration::from_secs(1);
/// Records between two signs of life; also in one batch when all is written anew.
const BATCH: usize = 4_096;
/// Longest rest between two batches that are verified.
const REST: Duration = Duration::from_millis(100);

/// The thread's life.
pub(super) fn live(path: &Path, tell: &mpsc::SyncSender<Opened>, life: &Arc<Life>) {
    let opened = catch_unwind(|| open_here(path)).unwrap_or_else(|_| {
        Err(Opened::Bad(Bad::Damaged("sled panicked when opening".to_owned())))
    });
    let (records, empty) = match opened {
        Ok(opened) => opened,
        Err(other) => {
            // Nobody listens any more: too late.
            let _ = tell.send(other);
            return;
        }
    };
    let (jobs, inbox) = mpsc::channel();
    let (alive, ended) = mpsc::sync_channel(0);
    let shared = Arc::new(Shared { life: life.clone(), ..Shared::default() });
    let base = Base::new(records.at, jobs, shared.clone(), ended);
    let mut alive = Some(alive);
    if let Err(unheard) = tell.send(if empty { Opened::Empty(base) } else { Opened::Found(base) }) {
        // Whoever drops it waits for this thread's end, and that is this thread.
        drop(alive.take());
        drop(unheard);
    }
    work(records, &inbox, &shared);
    drop(alive);
}

fn work(mut records: Records, inbox: &mpsc::Receiver<Job>, shared: &Shared) {
    for job in inbox {
        let bytes = match &job {
            Job::Write(group) => group.bytes,
            Job::Verify | Job::Read(_) | Job::Fill(..) | Job::Flush => 0,
        };
        let done = catch_unwind(AssertUnwindSafe(|| records.act(job, shared)));
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some("sled panicked".to_owned()),
        };
        if failed.is_some() {
            *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = failed;
            break;
        }
        shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        shared.done.fetch_add(1, Ordering::Relaxed);
        shared.steps.fetch_add(1, Ordering::Relaxed);
    }
    // Closing writes and syncs once more, and sled panics when that fails.
    if catch_unwind(AssertUnwindSafe(|| drop(records))).is_err() {
        warn!("sled panicked when closing");
    }
}

/// The database, where it says it stands, and whether it holds nothing at all, not even that.
fn open_here(path: &Path) -> Result<(Records, bool), Opened> {
    let damaged = |why: &str| Opened::Bad(Bad::Damaged(why.to_owned()));
    let failed = |error: ::sled::Error| Opened::Bad(Bad::Damaged(error.to_string()));
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
                _ => return Err(failed(::sled::Error::Io(error))),
            },
            Err(error) => return Err(failed(error)),
        }
    };
    let file = match File::open(path.join("db")) {
        Ok(file) => file,
        Err(error) => return Err(Opened::Unavailable(error.to_string())),
    };
    let mut records = Records { db, file, at: Point::default(), count: 0, digest: 0, ids: 0 };
    let Some(meta) = records.db.get(META).map_err(failed)? else {
        return match records.db.first().map_err(failed)? {
            None => Ok((records, true)),
            Some(_) => Err(damaged("it was not finished")),
        };
    };
    if let Some(&newer) = meta.first().filter(|&&version| version > META_VERSION) {
        return Err(Opened::Bad(Bad::Newer(newer)));
    }
    if meta.len() != META_LENGTH {
        return Err(damaged("its place is gone"));
    }
    records.at = Point { sequence: u64_at(&meta, 1), chain: sum_at(&meta, 9) };
    (records.count, records.digest) = (u64_at(&meta, 25), u128::from_be_bytes(sum_at(&meta, 33)));
    if records.meta()[..] != meta[..] {
        return Err(damaged("its place is not readable"));
    }
    let used = records.db.get(records::IDS).map_err(failed)?;
    match used.map(|used| records::decode(&used)) {
        Some(Ok(Write::IdsUsed(ids))) => records.ids = ids,
        Some(Err(BadRecord::Newer(version))) => return Err(Opened::Bad(Bad::Newer(version))),
        // All of it is looked at before it counts.
        Some(_) | None => {}
    }
    Ok((records, false))
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

/// Number and digest of records as they are met.
#[derive(Default)]
struct Tally {
    count: u64,
    digest: u128,
}

impl Tally {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(one(key, value));
    }
}

/// A record's part of the digest, which is a sum, so that it can be kept up to date record by record.
fn one(key: &[u8], value: &[u8]) -> u128 {
    u128::from_be_bytes(records::sum(&[&(key.len() as u64).to_be_bytes(), key, value]))
}

impl Records {
    fn act(&mut self, job: Job, shared: &Shared) -> Result<(), String> {
        match job {
            Job::Verify => {
                let verified = self.verify(shared);
                shared.verifying.store(false, Ordering::Relaxed);
                verified
            }
            Job::Read(tell) => {
                let read = self.read(shared);
                let failed = match &read {
                    Ok(_) => Ok(()),
                    Err(bad) => Err(format!("{bad:?}")),
                };
                // If nobody waits any more nobody needs it.
                drop(tell.send(read.map(Box::new)));
                failed
            }
            Job::Write(group) => self.write(group, true),
            Job::Fill(image, at) => self.fill(&image, at, shared),
            Job::Flush => {
                self.db.flush().map_err(|error| error.to_string())?;
                self.file.sync_data().map_err(|error| error.to_string())
            }
        }
    }

    /// Its place, number and digest as they are kept.
    fn meta(&self) -> Vec<u8> {
        let mut bytes = vec![META_VERSION];
        bytes.extend(self.at.sequence.to_be_bytes());
        bytes.extend(self.at.chain);
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(self.digest.to_be_bytes());
        bytes.extend(records::sum(&[&bytes]));
        bytes
    }

    /// All records in the order of their keys.
    fn each(
        &self,
        shared: &Shared,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        for (number, pair) in self.db.iter().enumerate() {
            let (key, value) = pair.map_err(|error| error.to_string())?;
            if number.is_multiple_of(BATCH) {
                shared.steps.fetch_add(1, Ordering::Relaxed);
            }
            if key != META {
                take(&key, &value)?;
            }
        }
        Ok(())
    }

    fn check(&self, found: &Tally) -> Result<(), String> {
        if (found.count, found.digest) == (self.count, self.digest) {
            return Ok(());
        }
        Err(format!("it holds {} records where there were {}, or others", found.count, self.count))
    }

    /// Takes half of a processor at most: those who are served need it, and nobody waits for this.
    fn verify(&self, shared: &Shared) -> Result<(), String> {
        let (mut found, mut begun) = (Tally::default(), Instant::now());
        self.each(shared, |key, value| {
            found.add(key, value);
            if found.count.is_multiple_of(BATCH as u64) {
                if shared.closing.load(Ordering::Relaxed) {
                    return Err("it was closed before it was verified".to_owned());
                }
                thread::sleep(begun.elapsed().min(REST));
                begun = Instant::now();
            }
            Ok(())
        })?;
        memory::give_back();
        self.check(&found)
    }

    fn read(&self, shared: &Shared) -> Result<Image, Bad> {
        let mut found = Tally::default();
        let (fed, decoded) = decode::all(|take| {
            self.each(shared, |key, value| {
                found.add(key, value);
                take(value);
                Ok(())
            })
        })
        .map_err(|error| Bad::Damaged(error.to_string()))?;
        fed.and_then(|()| self.check(&found)).map_err(Bad::Damaged)?;
        match decoded {
            Ok(decoded) => Ok(Image::gather(decoded)),
            Err(BadRecord::Newer(version)) => Err(Bad::Newer(version)),
            Err(error) => Err(Bad::Damaged(error.to_string())),
        }
    }

    /// One batch; without `whole` it leaves no place in the history, so that it is not believed.
    fn write(&mut self, group: Group, whole: bool) -> Result<(), String> {
        let Group { mut last, ids, to, .. } = group;
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
                self.digest = self.digest.wrapping_add(one(&key, &new));
                batch.insert(key, new);
            } else {
                batch.remove(key);
            }
        }
        if whole {
            batch.insert(META, self.meta());
        }
        self.db.apply_batch(batch).map_err(|error| error.to_string())
    }

    fn fill(&mut self, image: &Image, at: Point, shared: &Shared) -> Result<(), String> {
        let mut writes = image.writes().peekable();
        while writes.peek().is_some() {
            let mut group = Group { to: at, ..Group::default() };
            for write in writes.by_ref().take(BATCH) {
                let bytes = records::encode(&write).map_err(|error| error.to_string())?;
                group.add(&write, bytes);
            }
            let whole = writes.peek().is_none();
            self.write(group, whole)?;
            shared.steps.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
