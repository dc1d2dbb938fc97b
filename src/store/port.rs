//! The port: what happens for one group of writes, and about once a second.
//!
//! ```text
//! load    see `open`; sled is verified afterwards, by its own thread
//! append  encode -> one frame -> sync -> (durable) -> one batch to sled -> Ok
//! idle    flush and sync sled; note the mark; take in a finished snapshot and drop what it makes needless;
//!         begin a snapshot if one is due; keep the reserve; make a lost sled anew
//! ```
//!
//! Only the journal decides whether a group is durable. When sled fails it is left behind and made anew later: the
//! journal and the snapshots are enough.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jovis_actors::{
    ports::{Journal as Port, Loaded, StoreError},
    store::{Image, Write},
};
use tracing::{debug, info, warn};

use super::{
    backup::Backups,
    disk::{Disk, failed},
    guard,
    journal::{Found, Journal},
    migrate::{self, Due},
    open::{self, Paths, Truth},
    records,
    segment::Point,
    sled::{self, Base},
    snapshot::{self, Running, SnapshotError},
};
use crate::{
    os::memory,
    telemetry::{
        chain,
        metrics::{self, COMMITS},
    },
};

/// How much and how often. Tests take smaller ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes after which a segment ends.
    pub(super) segment: u64,
    /// Bytes of journal after which a snapshot is due.
    pub(super) grown: u64,
    /// Time after which a snapshot is due, if there were writes.
    pub(super) period: Duration,
    /// Time before a failed snapshot or sled is tried again.
    pub(super) pause: Duration,
    /// Bytes of the reserve.
    pub(super) reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment: 16 * 1024 * 1024,
            grown: 32 * 1024 * 1024,
            period: Duration::from_secs(600),
            pause: Duration::from_secs(30),
            reserve: guard::RESERVE,
        }
    }
}

#[cfg(any(test, feature = "faults"))]
impl Limits {
    /// So small that a short story has many of everything.
    pub(super) fn hasty() -> Self {
        Self {
            segment: 600,
            grown: 2_000,
            period: Duration::from_secs(600),
            pause: Duration::ZERO,
            reserve: 4_096,
        }
    }
}

/// The store on disk, as a port. One thread owns it.
#[derive(Debug)]
pub struct DiskJournal {
    pub(super) disk: Disk,
    pub(super) limits: Limits,
    paths: Paths,
    lock: Option<File>,
    backups: Backups,
    /// Where this process knows the store to be, once it has loaded.
    acknowledged: Option<Point>,
    /// The segment of an append that may have failed, and where in it ends what was acknowledged. What stands behind
    /// must never be believed: see [`disown`](Self::disown).
    tail: Option<(File, u64)>,
    /// The log knows that there are no snapshots for now.
    pub(super) told: bool,
    /// It knows that no segment can be begun.
    told_segment: bool,
    /// The log knows that the mark cannot be written for now.
    told_of_mark: bool,
    pub(super) open: Option<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) journal: Journal,
    /// What was found and not yet written once more, for lack of room, and how far it is known to be durable.
    unsecured: Option<Box<(Found, u64)>>,
    base: Option<Box<Base>>,
    /// Why sled was lost.
    base_lost: String,
    /// When to try again after that.
    base_again: Instant,
    marked: u64,
    /// Newest snapshot, if any.
    pub(super) snapshot: Option<u64>,
    /// Bytes the next snapshot needs, as far as the last attempt told.
    needs: u64,
    pub(super) running: Option<(Running, u64)>,
    snapshot_due: Instant,
    reserve_again: Instant,
    /// Is the reserve in place?
    roomy: bool,
}

impl DiskJournal {
    /// A store in this state directory, which must be there; `/proc/self/fd/N` will do. Touches nothing before
    /// [`load`](Port::load).
    pub fn new(dir: PathBuf) -> Self {
        // sled takes a relative path as relative to wherever the process happens to be.
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Self {
            disk: Disk::default(),
            limits: Limits::default(),
            paths: Paths::new(&dir),
            lock: None,
            backups: Backups::default(),
            acknowledged: None,
            tail: None,
            told: false,
            told_segment: false,
            told_of_mark: false,
            open: None,
        }
    }

    /// The door for backups, to be kept by whoever gives this journal away.
    pub fn backups(&self) -> Backups {
        self.backups.clone()
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        if self.lock.as_ref().is_some_and(guard::is_deleted) {
            self.lock = None;
        }
        if self.lock.is_none() {
            self.lock = Some(guard::lock(&self.paths.dir)?);
        }
        for folder in [&self.paths.journal, &self.paths.snapshots] {
            self.disk.folder(folder).map_err(failed("make a folder of the store"))?;
        }
        self.disk.sync_folder(&self.paths.dir).map_err(failed("sync the state directory"))
    }

    /// For tests: segments, snapshots and waits so small that a short story has many of each.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn hasty(mut self) -> Self {
        self.limits = Limits::hasty();
        self
    }

    /// See [`Journal::secure`]. The reserve is room for it.
    fn secure(&self, journal: &mut Journal, found: &Found, durable: u64) -> Result<(), StoreError> {
        let mut done = journal.secure(found, durable);
        if matches!(done, Err(StoreError::Full))
            && guard::give_up_reserve(&self.disk, &self.paths.dir)
        {
            warn!("store reserve given up");
            done = journal.secure(found, durable);
        }
        let frames = done?;
        if frames > 0 {
            debug!(frames, "journal end written again");
        }
        Ok(())
    }

    /// Does what loading could not for lack of room.
    fn secure_now(&mut self) -> Result<(), StoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let done = match &open.unsecured {
            None => Ok(()),
            Some(some) => self.secure(&mut open.journal, &some.0, some.1),
        };
        if done.is_ok() && open.unsecured.take().is_some() {
            self.acknowledged = Some(open.journal.at);
        }
        self.open = Some(open);
        done
    }

    /// The files in use still have their names: a deleted one takes writes and keeps none.
    fn in_place(&self) -> Result<(), StoreError> {
        let lock = || (self.paths.dir.join("store.lock"), "it was deleted while in use".to_owned());
        let deleted = self.lock.as_ref().is_some_and(guard::is_deleted).then(lock);
        let open = self.open.as_ref();
        let of_journal = || open?.journal.out_of_reach().map(|(path, why)| (path.to_owned(), why));
        match deleted.or_else(of_journal) {
            None => Ok(()),
            Some((path, why)) => Err(StoreError::Disk {
                doing: "find its files",
                // The hub knows its folder by a descriptor, people do not.
                error: format!(
                    "{}: {why}",
                    path.strip_prefix(&self.paths.dir).unwrap_or(&path).display()
                ),
            }),
        }
    }

    /// The next append begins a new segment.
    #[cfg(test)]
    pub(super) fn rotate(&mut self) {
        self.open.iter_mut().for_each(|open| open.journal.rotate());
    }

    /// Writes down that all of it can be read in the present form, once that is so.
    fn settle(&self, due: Due, truth: &mut Truth) -> Result<(), StoreError> {
        let settling = failed("settle the store in this release's form");
        match due {
            Due::Nothing => {}
            // An unsettled store is settled at the next start.
            Due::Note => {
                if let Err(error) = migrate::settled(&self.disk, &self.paths) {
                    debug!(%error, "store format not noted");
                }
            }
            Due::From(version) => {
                let (folder, at) = (&self.paths.snapshots, truth.at);
                snapshot::write(&self.disk, folder, &truth.image, at).map_err(
                    |error| match error {
                        SnapshotError::Disk(error) => settling(error),
                        other => settling(io::Error::other(other)),
                    },
                )?;
                truth.snapshot = Some(at.sequence);
                migrate::settled(&self.disk, &self.paths).map_err(&settling)?;
                truth.repairs.push(format!(
                    "records of version {version} were converted; the store as it was is in store.format-{version}"
                ));
            }
        }
        Ok(())
    }

    /// See [`load`](Port::load).
    fn load_all(&mut self) -> Result<Loaded, StoreError> {
        self.close();
        self.prepare()?;
        if let Err(error) = snapshot::sweep(&self.disk, &self.paths.snapshots) {
            warn!(%error, "snapshot leftovers stay");
        }
        let due = match self.acknowledged {
            None => migrate::due(&self.paths)?,
            Some(_) => Due::Nothing,
        };
        if let Due::From(version) = due {
            migrate::keep(&self.disk, &self.paths, version)
                .map_err(failed("keep the store as an older release left it"))?;
        }
        let lock = self.lock.as_ref().expect("it was just taken");
        let mut truth = open::open(&self.disk, &self.paths, lock, self.acknowledged)?;
        self.settle(due, &mut truth)?;
        let (image, at, now) = (truth.image, truth.at, Instant::now());
        let mut journal = Journal::new(
            self.disk.clone(),
            self.paths.journal.clone(),
            &truth.found,
            at,
            self.limits.segment,
        );
        let mut unsecured = None;
        if self.acknowledged.is_none() {
            match self.secure(&mut journal, &truth.found, truth.durable) {
                Ok(()) => {}
                // Reading goes on; no change is taken and nothing is marked before it is done.
                Err(StoreError::Full) => unsecured = Some(Box::new((truth.found, truth.durable))),
                Err(error) => return Err(error),
            }
        } else {
            // What an append left behind that failed is void from now on: a new segment says so, or it is cut off,
            // for which there is always room. While neither can be done, nothing may go on: whoever was told that his
            // change failed would find it after a crash.
            match journal.begin() {
                Ok(()) => (self.tail, self.told_segment) = (None, false),
                Err(error) => {
                    self.disown().map_err(failed("cut off what was refused"))?;
                    if self.told_segment {
                        debug!(%error, "journal segment still missing");
                    } else {
                        warn!(%error, "journal segment missing");
                    }
                    self.told_segment = true;
                }
            }
        }
        if unsecured.is_none() {
            self.acknowledged = Some(at);
        }
        self.open = Some(Open {
            journal,
            unsecured,
            base: truth.base,
            base_lost: "it could not be used".to_owned(),
            base_again: now + self.limits.pause,
            marked: truth.marked,
            snapshot: truth.snapshot,
            needs: 0,
            running: None,
            snapshot_due: if truth.snapshot.is_none() { now } else { now + self.limits.period },
            reserve_again: now,
            roomy: false,
        });
        Ok(Loaded { image, sequence: at.sequence, repairs: truth.repairs })
    }

    /// What was being done when this was called is over, one way or another.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Some((running, _)) = open.running {
            let _ = running.finish();
        }
        // Another segment is begun only when this one is settled.
        self.tail = open.journal.into_tail().or(self.tail.take());
    }

    /// Cuts off what a failed append may have left behind, and waits until that is on the medium.
    fn disown(&mut self) -> io::Result<()> {
        if let Some((file, length)) = &self.tail {
            self.disk.cut(file, *length)?;
        }
        self.tail = None;
        Ok(())
    }
}

impl Port for DiskJournal {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let loaded = self.load_all();
        // For a moment all records were there as bytes too.
        memory::give_back();
        loaded
    }

    fn fits(&self, write: &Write) -> Result<(), String> {
        // What reads back is asked for too: the reader limits depth, the writer does not.
        let read = records::encode(write).and_then(|bytes| records::decode(&bytes));
        read.map(drop).map_err(|error| error.to_string())
    }

    fn append(&mut self, first: u64, group: &[Write]) -> Result<(), StoreError> {
        let wrong = |error: String| StoreError::Disk { doing: "append to the journal", error };
        self.secure_now()?;
        let open = self.open.as_mut().ok_or_else(|| wrong("it is not loaded".to_owned()))?;
        let next = open.journal.at.sequence + 1;
        if first != next {
            return Err(wrong(format!("the next change is {next}, not {first}")));
        }
        if group.is_empty() {
            return Ok(());
        }
        let encoded = group
            .iter()
            .map(records::encode)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(error.to_string()))?;
        let begun = Instant::now();
        let appended = open.journal.append(&encoded);
        metrics::observe(&COMMITS, &[], begun.elapsed());
        if let Err(error) = appended {
            if matches!(error, StoreError::Full)
                && guard::give_up_reserve(&self.disk, &self.paths.dir)
            {
                warn!("store reserve given up");
            }
            self.close();
            // Before anybody hears of it, lest a crash here make it true. If it cannot be done nobody is told that it
            // failed; loading tries again.
            let Err(cut) = self.disown() else { return Err(error) };
            warn!(error = %cut, "refused changes not cut off");
            return Err(match error {
                StoreError::Disk { doing, error } => StoreError::Uncertain {
                    doing,
                    error: format!("{error}, nor cut it off again: {cut}"),
                },
                StoreError::Full => StoreError::Uncertain {
                    doing: "append to the journal",
                    error: format!("the disk is full, nor cut it off again: {cut}"),
                },
                other => other,
            });
        }
        let at = open.journal.at;
        self.acknowledged = Some(at);
        // Durable. Nothing below can take that back.
        let outcome = open.base.as_mut().map(|base| base.apply(group.iter().zip(encoded), at));
        open.note_base(outcome, self.limits.pause);
        Ok(())
    }

    fn idle(&mut self, image: &Arc<Image>, sequence: u64) -> Result<(), StoreError> {
        self.in_place()?;
        self.secure_now()?;
        let Some(open) = self.open.as_mut() else {
            return Ok(());
        };
        let now = Instant::now();
        let outcome = open.base.as_mut().map(|base| base.flush());
        open.note_base(outcome, self.limits.pause);
        let at = open.journal.at;
        if open.marked != at.sequence {
            match guard::set_mark(&self.disk, &self.paths.dir, at.sequence) {
                Ok(()) => (open.marked, self.told_of_mark) = (at.sequence, false),
                Err(error) if self.told_of_mark => debug!(%error, "store mark still not written"),
                Err(error) => {
                    self.told_of_mark = true;
                    warn!(%error, "store mark not written");
                }
            }
        }
        open.take_snapshot_in(&self.limits, &mut self.told);
        if now >= open.reserve_again {
            open.roomy = guard::keep_reserve(&self.disk, &self.paths.dir, self.limits.reserve);
            open.reserve_again = now + self.limits.pause;
        }
        // An image that is not of this very moment can be neither a snapshot nor a new sled.
        if sequence == at.sequence {
            let due = now >= open.snapshot_due || open.journal.grown >= self.limits.grown;
            let idle = open.running.is_none() && open.snapshot.unwrap_or(0) != sequence;
            if idle && due && open.has_room(&self.disk, &self.paths, self.limits.reserve) {
                let folder = self.paths.snapshots.clone();
                open.snapshot_due = now + self.limits.period;
                open.journal.rotate();
                let spare = self.limits.reserve;
                match Running::begin(self.disk.clone(), folder, image.clone(), at, spare) {
                    Ok(running) => open.running = Some((running, sequence)),
                    Err(error) => warn!(%error, "snapshot not begun"),
                }
            }
            // Not before there is room: what is on disk may be whole.
            if open.base.is_none() && open.roomy && now >= open.base_again && !sled::hangs() {
                let mut said = Vec::new();
                let why = &open.base_lost;
                open.base = open::renew(&self.disk, &self.paths, why, image, at, &mut said);
                open.base_again = now + self.limits.pause;
                for what in said {
                    warn!(repair = %what, "store repaired");
                }
            }
        }
        Ok(())
    }

    fn present(&mut self, image: &Arc<Image>, sequence: u64) {
        let at = self.acknowledged.filter(|at| at.sequence == sequence);
        self.backups.begin(image, at);
    }
}

impl Open {
    fn note_base(&mut self, outcome: Option<Result<(), String>>, pause: Duration) {
        if let Some(Err(error)) = outcome {
            warn!(%error, "sled left behind");
            self.base = None;
            self.base_lost = error;
            self.base_again = Instant::now() + pause;
        }
    }

    /// Is there room for a snapshot like the last attempt's? The next one looks for itself; this spares the work.
    fn has_room(&self, disk: &Disk, paths: &Paths, spare: u64) -> bool {
        self.needs == 0
            || disk
                .room(&paths.snapshots)
                .is_ok_and(|room| room >= self.needs.saturating_add(spare))
    }

    /// `told`: the log knows already that snapshots fail.
    fn take_snapshot_in(&mut self, limits: &Limits, told: &mut bool) {
        let Some((running, sequence)) = self.running.take() else {
            return;
        };
        if !running.is_finished() {
            self.running = Some((running, sequence));
            return;
        }
        match running.finish() {
            Ok(older) => {
                self.snapshot = Some(sequence);
                (self.needs, *told) = (0, false);
                info!(sequence, "snapshot written");
                if let Some(Err(error)) = older.map(|older| self.journal.forget(older)) {
                    warn!(%error, "journal segments stay");
                }
            }
            Err(error) => {
                if *told {
                    debug!(error = %chain(&error), "snapshot failed again");
                } else {
                    warn!(error = %chain(&error), "snapshot failed");
                }
                *told = true;
                self.needs = if let SnapshotError::NoRoom(bytes) = error { bytes } else { 0 };
                self.snapshot_due = Instant::now() + limits.pause;
            }
        }
    }
}

impl Drop for DiskJournal {
    fn drop(&mut self) {
        self.close();
        // Closing is not enough while a child that was just forked still has the descriptor.
        if let Some(lock) = self.lock.take() {
            let _ = lock.unlock();
        }
    }
}
