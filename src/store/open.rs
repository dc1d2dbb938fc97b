//! What is the truth? Chooses the base, replays the journal behind it, and repairs what disagrees.
//!
//! ```text
//! floor      how far the store has been at least: mark, snapshots' names, segments' headers, sled's place
//! bases      the newest good snapshot; else the older one; else nothing, if the journal reaches back to the first write;
//!            else sled, if all its records are right
//! a base     counts if the journal continues it without a gap, in the same chain, up to the floor
//! no base    stop, and say how to restore
//! ```
//!
//! A snapshot comes before sled because a start waits for it: one file from its beginning to its end, under one sum,
//! decoded by as many threads as there are, a million records in less than a second. sled takes four for that, and is
//! verified by its own thread once people are served; what it says about its place counts at once, so that a sled that
//! knows more than the files is asked for all of it.
//!
//! Nothing is changed on disk before a base counts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

use jovis_actors::{ports::StoreError, store::Image};

use super::{
    decode,
    disk::{Disk, failed},
    guard::{self, Mark},
    journal::{self, Entry, Found},
    records::{self, BadRecord},
    segment::{self, Point},
    sled::{self, Bad, Base, Opened},
    snapshot::{self, SnapshotError},
};

/// The folders of the store.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) sled: PathBuf,
    pub(super) snapshots: PathBuf,
}

impl Paths {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            journal: dir.join("journal"),
            sled: dir.join("sled"),
            snapshots: dir.join("snapshots"),
        }
    }
}

/// The truth, and what it was made from.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) image: Image,
    pub(super) at: Point,
    pub(super) found: Found,
    /// Brought up to `at`; `None` if it must do without for now.
    pub(super) base: Option<Box<Base>>,
    /// Newest snapshot, if any.
    pub(super) snapshot: Option<u64>,
    /// How far the mark says it has been.
    pub(super) marked: u64,
    /// So far it is on the medium for certain; what the journal holds behind may be in the page cache only.
    pub(super) durable: u64,
    pub(super) repairs: Vec<String>,
}

/// Why a base does not count.
pub(super) enum Unfit {
    /// The journal does not continue it, or not far enough.
    Gap(String),
    /// What nobody can go on with.
    Fatal(StoreError),
}

/// Opens the store. `acknowledged` is where this process knows it to be, if it had it open before.
pub(super) fn open(
    disk: &Disk,
    paths: &Paths,
    lock: &File,
    acknowledged: Option<Point>,
) -> Result<Truth, StoreError> {
    let mark = guard::mark(&paths.dir)?;
    let snapshots = snapshot::list(&paths.snapshots).map_err(failed("list the snapshots"))?;
    let had_sled = paths.sled.join("db").exists();
    // Beside the rest. A missing one is made later: opening would make it now.
    let sled = had_sled.then(|| sled::begin(&paths.sled));
    let (found, first) = read_files(paths, &snapshots, acknowledged);
    let opened = sled.map(sled::Opening::wait);
    let found = found?;
    let fresh = acknowledged.is_none()
        && !guard::has_begun(lock)
        && mark == Mark::Missing
        && found.segments == 0
        && snapshots.is_empty()
        && !paths.sled.exists();
    if fresh {
        return begin(disk, paths, lock, found);
    }

    let mut repairs = found.notes.clone();
    match mark {
        Mark::Missing => repairs.push("store.mark was missing".to_owned()),
        Mark::Unreadable => repairs.push("store.mark was unreadable".to_owned()),
        Mark::Sequence(_) => {}
    }
    let marked = if let Mark::Sequence(sequence) = mark { sequence } else { 0 };
    // All of these were written after what they tell of had been synced.
    let durable = marked
        .max(found.reaches)
        .max(snapshots.last().map_or(0, |(number, _)| *number))
        .max(acknowledged.map_or(0, |it| it.sequence));

    let (mut base, mut sled_bad) = (None, None);
    match opened {
        None => {}
        Some(Opened::Found(good)) => base = Some(good),
        Some(Opened::Empty(empty)) => {
            drop(empty);
            sled_bad = Some("it was empty".to_owned());
        }
        Some(Opened::Unavailable(why)) => {
            repairs.push(format!("sled cannot be opened for now: {why}"));
        }
        Some(Opened::Bad(Bad::Damaged(why))) => sled_bad = Some(why),
        Some(Opened::Bad(Bad::Newer(version))) => return Err(newer("sled", version.into())),
    }

    let mut files = Files {
        found: &found,
        snapshots: &snapshots,
        durable,
        durable_by_mark: marked.max(acknowledged.map_or(0, |it| it.sequence)),
        // An empty store has nothing but a mark.
        may_be_empty: mark == Mark::Sequence(0),
        newest: snapshots.last().map(|(number, _)| *number),
        repairs: &mut repairs,
        reasons: Vec::new(),
    };
    let mut truth = files.truth(first)?;
    let (newest, mut reasons) = (files.newest, files.reasons);
    let (mut floor, mut from_sled) = (durable, false);
    if let Some(sled) = &mut base
        && truth.as_ref().is_none_or(|(_, at)| at.sequence < sled.at().sequence)
    {
        match sled.read() {
            Ok(image) => {
                floor = floor.max(sled.at().sequence);
                let from_files = truth.take().filter(|(_, at)| at.sequence >= floor);
                match replay(sled.at(), image, &found, floor) {
                    Ok(done) => (truth, from_sled) = (Some(done), true),
                    Err(Unfit::Fatal(error)) => return Err(error),
                    Err(Unfit::Gap(why)) => {
                        reasons.push(format!("from sled: {why}"));
                        truth = from_files;
                    }
                }
            }
            Err(Bad::Newer(version)) => return Err(newer("sled", version.into())),
            Err(Bad::Damaged(why)) => (base, sled_bad) = (None, Some(why)),
        }
    }
    if let Some(why) = &sled_bad {
        reasons.push(format!("sled: {why}"));
    }
    let Some((image, at)) = truth else {
        return Err(damaged(paths, floor, &reasons));
    };
    if let Some(known) = acknowledged
        && known != at
    {
        return Err(damaged(
            paths,
            known.sequence,
            &[format!("what is on disk ends with change {} of another history", at.sequence)],
        ));
    }

    // From here on the truth is known, and what disagrees is made anew.
    if found.entries.last().is_none_or(|last| last.end.sequence < at.sequence) && at.sequence > 0 {
        let end = found.entries.last().map_or(0, |last| last.end.sequence);
        if found.segments == 0 || !found.notes.is_empty() || end > 0 {
            repairs.push(format!(
                "the journal ended with change {end}; changes up to {} were in {}",
                at.sequence,
                if from_sled { "sled" } else { "a snapshot" }
            ));
        }
    }
    let base = match base {
        Some(base) => match way(&found, base.at()) {
            Ok((entries, end)) if end == at => match catch_up(base, &found, &entries, from_sled) {
                Ok(base) => Some(base),
                Err(error) => {
                    repairs.push(format!("sled cannot be brought up to date: {error}"));
                    None
                }
            },
            Ok(_) | Err(_) => {
                drop(base);
                renew(disk, paths, "its place does not fit the journal", &image, at, &mut repairs)
            }
        },
        None => match sled_bad {
            Some(why) => renew(disk, paths, &why, &image, at, &mut repairs),
            // Unavailable for now.
            None if had_sled => None,
            None => renew(disk, paths, "it was missing", &image, at, &mut repairs),
        },
    };
    // A store of a release that did not say so. Where it cannot be said now it is next time.
    if !guard::has_begun(lock) {
        let _ = guard::note_begun(disk, lock);
    }
    Ok(Truth { image, at, found, base, snapshot: newest, marked, durable, repairs })
}

/// All segments of the journal, and the newest snapshot.
type FilesRead = (Result<Found, StoreError>, Option<Result<(Point, Image), SnapshotError>>);

/// Reads what nearly every opening needs, side by side.
fn read_files(
    paths: &Paths,
    snapshots: &[(u64, PathBuf)],
    acknowledged: Option<Point>,
) -> FilesRead {
    let settled = snapshots.last().map_or(0, |(number, _)| *number);
    thread::scope(|scope| {
        let newest = snapshots.last().map(|(_, path)| {
            let thread = thread::Builder::new().name("snapshot".to_owned());
            thread.spawn_scoped(scope, || snapshot::read(path))
        });
        let known = acknowledged.map(|it| it.sequence);
        let found = journal::read(&paths.journal, known, settled);
        let newest = newest.map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or(Err(SnapshotError::Damaged)),
            Err(error) => Err(SnapshotError::Disk(error)),
        });
        (found, newest)
    })
}

/// Snapshots and journal, without sled.
struct Files<'a> {
    found: &'a Found,
    snapshots: &'a [(u64, PathBuf)],
    durable: u64,
    durable_by_mark: u64,
    may_be_empty: bool,
    /// The newest snapshot, unless a new one is due.
    newest: Option<u64>,
    repairs: &'a mut Vec<String>,
    /// Why what does not count does not.
    reasons: Vec<String>,
}

impl Files<'_> {
    /// What they make, if that is all that is known to be durable. The newest snapshot was read already.
    fn truth(
        &mut self,
        mut newest: Option<Result<(Point, Image), SnapshotError>>,
    ) -> Result<Option<(Image, Point)>, StoreError> {
        for (number, path) in self.snapshots.iter().rev() {
            let name = format!("snapshot {number}");
            match newest.take().unwrap_or_else(|| snapshot::read(path)) {
                // The journal always reaches as far as the newest snapshot. One that does not has lost its end, and with
                // it perhaps more than the snapshot holds; unless the mark is of a backup that was put in place.
                Ok((at, _))
                    if self.found.end() < at.sequence && self.durable_by_mark < at.sequence =>
                {
                    self.reasons.push(format!(
                        "from {name}: the journal ends with change {}, so that what came after the snapshot is not known",
                        self.found.end()
                    ));
                }
                Ok((at, image)) => match replay(at, image, self.found, self.durable) {
                    Ok(done) => return Ok(Some(done)),
                    Err(Unfit::Fatal(error)) => return Err(error),
                    Err(Unfit::Gap(why)) => self.reasons.push(format!("from {name}: {why}")),
                },
                Err(SnapshotError::Newer(version)) => return Err(newer(&name, version)),
                Err(SnapshotError::Record(BadRecord::Newer(version))) => {
                    return Err(newer(&name, version.into()));
                }
                Err(error) => {
                    // A new one is due.
                    self.newest = None;
                    self.repairs.push(format!("{name} is unusable: {error}"));
                    self.reasons.push(format!("{name}: {error}"));
                }
            }
        }
        match replay(Point::default(), Image::default(), self.found, self.durable) {
            Ok(done) if done.1.sequence > 0 || self.may_be_empty => return Ok(Some(done)),
            Ok(_) => self.reasons.push("nothing is left that holds a record".to_owned()),
            Err(Unfit::Fatal(error)) => return Err(error),
            Err(Unfit::Gap(why)) => self.reasons.push(format!("from the journal alone: {why}")),
        }
        Ok(None)
    }
}

/// A new store: the mark first, so that from now on an empty folder is a loss. The lock says so too, which nobody
/// removes who removes the data.
fn begin(disk: &Disk, paths: &Paths, lock: &File, found: Found) -> Result<Truth, StoreError> {
    let beginning = failed("begin a store");
    guard::set_mark(disk, &paths.dir, 0).map_err(&beginning)?;
    disk.sync_folder(&paths.dir).map_err(&beginning)?;
    guard::note_begun(disk, lock).map_err(&beginning)?;
    let base = match sled::open(&paths.sled) {
        Opened::Empty(mut base) => {
            base.fill(&Image::default(), Point::default()).is_ok().then_some(base)
        }
        _ => None,
    };
    Ok(Truth {
        image: Image::default(),
        at: Point::default(),
        found,
        base,
        snapshot: None,
        marked: 0,
        durable: 0,
        repairs: Vec::new(),
    })
}

/// The frames that lead on from this place, one after the other without a gap, and where they end; or what is missing.
fn way(found: &Found, from: Point) -> Result<(Vec<&Entry>, Point), String> {
    let (mut entries, mut at) = (Vec::new(), from);
    for entry in &found.entries {
        if entry.end.sequence == at.sequence && entry.end.chain != at.chain {
            return Err(format!("the journal has another change {} than this", at.sequence));
        }
        if entry.end.sequence <= at.sequence {
            continue;
        }
        if entry.first != at.sequence + 1 || entry.before != at.chain {
            return Err(format!(
                "changes {} to {} are not in the journal",
                at.sequence + 1,
                entry.first.saturating_sub(1).max(at.sequence + 1)
            ));
        }
        entries.push(entry);
        at = entry.end;
    }
    Ok((entries, at))
}

/// Applies the journal's frames behind `at`, which must continue it and reach `floor`.
pub(super) fn replay(
    at: Point,
    mut image: Image,
    found: &Found,
    floor: u64,
) -> Result<(Image, Point), Unfit> {
    let (entries, end) = way(found, at).map_err(Unfit::Gap)?;
    if end.sequence < floor {
        return Err(Unfit::Gap(format!(
            "changes {} to {floor} are not in the journal",
            end.sequence + 1
        )));
    }
    let fed = decode::all(|take| {
        for entry in entries {
            let frame = found.frame(entry)?;
            for record in segment::records(&frame[segment::FRAME_HEAD..]) {
                take(record.ok_or_else(|| unreadable(entry.first, &"a wrong length"))?);
            }
        }
        Ok(())
    });
    let (fed, decoded) = fed.map_err(failed("read the journal")).map_err(Unfit::Fatal)?;
    fed.map_err(Unfit::Fatal)?;
    let decoded = decoded.map_err(|error| {
        Unfit::Fatal(match error {
            BadRecord::Newer(version) => newer("the journal", version.into()),
            other => unreadable(at.sequence + 1, &other),
        })
    })?;
    // More than there was: then all of it is made at once.
    if end.sequence - at.sequence > image.len() as u64 {
        return Ok((Image::gather(image.writes().chain(decoded)), end));
    }
    decoded.for_each(|write| image.apply(&write));
    Ok((image, end))
}

fn unreadable(behind: u64, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("the journal behind {behind}: {why}"))
}

/// Has sled do what the journal holds behind its place, and before that, unless all of it was just read, look through
/// its records.
fn catch_up(
    mut base: Box<Base>,
    found: &Found,
    entries: &[&Entry],
    verified: bool,
) -> Result<Box<Base>, String> {
    if !verified {
        base.verify()?;
    }
    for entry in entries {
        let frame = found.frame(entry).map_err(|error| error.to_string())?;
        let records = segment::records(&frame[segment::FRAME_HEAD..]);
        let group: Result<Vec<_>, BadRecord> = records
            .flatten()
            .map(|record| Ok((records::decode(record)?, record.to_vec())))
            .collect();
        let group = group.map_err(|error| error.to_string())?;
        base.apply(group.iter().map(|(write, record)| (write, record.clone())), entry.end)?;
    }
    Ok(base)
}

/// Sets sled aside, if it is there, and makes it anew from the image; without it if that fails.
pub(super) fn renew(
    disk: &Disk,
    paths: &Paths,
    why: &str,
    image: &Image,
    at: Point,
    repairs: &mut Vec<String>,
) -> Option<Box<Base>> {
    if sled::hangs() {
        // Nothing is moved for a database that could not be opened.
        repairs.push(format!("sled is unusable ({why}) until the hub is started again"));
        return None;
    }
    let aside = paths.dir.join("sled.damaged");
    if paths.sled.exists() {
        let moved = match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => disk.rename(&paths.sled, &aside),
        };
        if let Err(error) = moved {
            repairs.push(format!("sled is unusable ({why}) and cannot be set aside: {error}"));
            return None;
        }
        repairs.push(format!("sled was set aside as sled.damaged and made anew: {why}"));
    } else {
        repairs.push(format!("sled was made anew: {why}"));
    }
    match sled::open(&paths.sled) {
        Opened::Empty(mut base) => match base.fill(image, at) {
            Ok(()) => Some(base),
            Err(error) => {
                repairs.push(format!("sled cannot be made anew: {error}"));
                None
            }
        },
        other => {
            repairs.push(format!("sled cannot be made anew: {other:?}"));
            None
        }
    }
}

pub(super) fn newer(what: &str, version: u32) -> StoreError {
    StoreError::Damaged(format!(
        "{what} holds records of version {version}, written by a newer release; run that one, or restore a backup made \
         by this one"
    ))
}

pub(super) fn damaged(paths: &Paths, floor: u64, reasons: &[String]) -> StoreError {
    // The hub knows its folder by a descriptor, people by a path.
    let dir = fs::read_link(&paths.dir).unwrap_or_else(|_| paths.dir.clone());
    let dir = dir.display();
    let best = snapshot::list(&paths.snapshots)
        .unwrap_or_default()
        .into_iter()
        .rev()
        .find(|(_, path)| snapshot::read(path).is_ok());
    let last = match best {
        Some((number, _)) => format!(
            ". Without a newer backup, `jovis restore {dir}/snapshots/{number:020}.snap` goes back to change {number} \
             and loses what came after it"
        ),
        None => String::new(),
    };
    StoreError::Damaged(format!(
        "the store in {dir} had at least {floor} changes and they cannot all be found ({}). Nothing was altered. Stop \
         jovis; `jovis restore --verify FILE` says what a backup holds; `jovis restore FILE` puts it in place and keeps \
         what is there now beside it{last}",
        reasons.join("; ")
    ))
}
