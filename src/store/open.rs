//! What is the truth? Chooses the base, replays the journal behind it, and repairs what disagrees.
//!
//! ```text
//! floor      how far the store has been at least: mark, snapshots' names, segments' headers, sled
//! bases      sled if all its records are right; else the newest good snapshot; else the older one; else nothing,
//!            if the journal reaches back to the first write
//! a base     counts if the journal continues it without a gap, in the same chain, up to the floor
//! no base    stop, and say how to restore
//! ```
//!
//! Nothing is changed on disk before a base counts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use jovis_actors::{ports::StoreError, store::Image};

use super::{
    disk::{Disk, failed},
    guard::{self, Mark},
    journal::{self, Entry, Found},
    records::{self, BadRecord},
    segment::Point,
    sled::{self, Base, Opened},
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
    let found = journal::read(&paths.journal, acknowledged.map(|it| it.sequence))?;
    let snapshots = snapshot::list(&paths.snapshots).map_err(failed("list the snapshots"))?;
    let had_sled = paths.sled.join("db").exists();
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
    let durable_by_mark = marked.max(acknowledged.map_or(0, |it| it.sequence));
    let mut floor = durable;

    // A missing database is made later: opening would make it now.
    let (mut base, mut sled_image, mut sled_bad) = (None, None, None);
    if had_sled {
        match sled::open(&paths.sled) {
            Opened::Good(good, image) => (base, sled_image) = (Some(good), Some(image)),
            Opened::Empty(empty) => {
                drop(empty);
                sled_bad = Some("it was empty".to_owned());
            }
            Opened::Unavailable(why) => {
                repairs.push(format!("sled cannot be opened for now: {why}"));
            }
            Opened::Damaged(why) => sled_bad = Some(why),
            Opened::Newer(version) => return Err(newer("sled", version.into())),
        }
    }
    floor = floor.max(base.as_ref().map_or(0, |base| base.at().sequence));

    let mut reasons = Vec::new();
    let mut newest = snapshots.last().map(|(number, _)| *number);
    let mut truth = None;
    if let (Some(good), Some(image)) = (&base, sled_image) {
        match replay(good.at(), *image, &found, floor) {
            Ok(done) => truth = Some(done),
            Err(Unfit::Fatal(error)) => return Err(error),
            Err(Unfit::Gap(why)) => reasons.push(format!("from sled: {why}")),
        }
    }
    let from_sled = truth.is_some();
    for (number, path) in snapshots.iter().rev() {
        if truth.is_some() {
            break;
        }
        let name = format!("snapshot {number}");
        match snapshot::read(path) {
            // The journal always reaches as far as the newest snapshot. One that does not has lost its end, and with it
            // perhaps more than the snapshot holds; unless the mark is of a backup that was put in place.
            Ok((at, _)) if found.end() < at.sequence && durable_by_mark < at.sequence => {
                reasons.push(format!(
                    "from {name}: the journal ends with change {}, so that what came after the snapshot is not known",
                    found.end()
                ));
            }
            Ok((at, image)) => match replay(at, image, &found, floor) {
                Ok(done) => truth = Some(done),
                Err(Unfit::Fatal(error)) => return Err(error),
                Err(Unfit::Gap(why)) => reasons.push(format!("from {name}: {why}")),
            },
            Err(SnapshotError::Newer(version)) => return Err(newer(&name, version)),
            Err(SnapshotError::Record(BadRecord::Newer(version))) => {
                return Err(newer(&name, version.into()));
            }
            Err(error) => {
                // A new one is due.
                newest = None;
                repairs.push(format!("{name} is unusable: {error}"));
                reasons.push(format!("{name}: {error}"));
            }
        }
    }
    if truth.is_none() {
        match replay(Point::default(), Image::default(), &found, floor) {
            Ok(done) if done.1.sequence > 0 || mark == Mark::Sequence(0) => truth = Some(done),
            Ok(_) => reasons.push("nothing is left that holds a record".to_owned()),
            Err(Unfit::Fatal(error)) => return Err(error),
            Err(Unfit::Gap(why)) => reasons.push(format!("from the journal alone: {why}")),
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
        Some(base) if from_sled => catch_up(base, &found, at, &mut repairs),
        Some(_) => {
            drop(base);
            renew(disk, paths, "its place does not fit the journal", &image, at, &mut repairs)
        }
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

/// Applies the journal's frames behind `at`, which must continue it and reach `floor`.
pub(super) fn replay(
    mut at: Point,
    mut image: Image,
    found: &Found,
    floor: u64,
) -> Result<(Image, Point), Unfit> {
    for entry in &found.entries {
        if entry.end.sequence == at.sequence && entry.end.chain != at.chain {
            return Err(Unfit::Gap(format!(
                "the journal has another change {} than this",
                at.sequence
            )));
        }
        if entry.end.sequence <= at.sequence {
            continue;
        }
        if entry.first != at.sequence + 1 || entry.before != at.chain {
            return Err(Unfit::Gap(format!(
                "changes {} to {} are not in the journal",
                at.sequence + 1,
                entry.first.saturating_sub(1).max(at.sequence + 1)
            )));
        }
        for write in writes(found, entry).map_err(Unfit::Fatal)? {
            image.apply(&write);
        }
        at = entry.end;
    }
    if at.sequence < floor {
        return Err(Unfit::Gap(format!(
            "changes {} to {floor} are not in the journal",
            at.sequence + 1
        )));
    }
    Ok((image, at))
}

/// A frame's records as writes.
fn writes(found: &Found, entry: &Entry) -> Result<Vec<jovis_actors::store::Write>, StoreError> {
    found
        .records(entry)
        .map(|record| {
            let record = record.ok_or(BadRecord::Unreadable("a wrong length".to_owned()));
            match record.and_then(records::decode) {
                Err(BadRecord::Newer(version)) => Err(newer("the journal", version.into())),
                other => other.map_err(|error| {
                    StoreError::Damaged(format!("the journal behind {}: {error}", entry.first))
                }),
            }
        })
        .collect()
}

/// Brings sled up to the end of the journal; without it if that fails.
fn catch_up(
    mut base: Box<Base>,
    found: &Found,
    at: Point,
    repairs: &mut Vec<String>,
) -> Option<Box<Base>> {
    for entry in &found.entries {
        if entry.end.sequence <= base.at().sequence {
            continue;
        }
        let group = writes(found, entry).ok()?;
        let bytes = found.records(entry).flatten().map(<[u8]>::to_vec);
        if let Err(error) = base.apply(group.iter().zip(bytes), entry.end) {
            repairs.push(format!("sled cannot be brought up to date: {error}"));
            return None;
        }
    }
    (base.at() == at).then_some(base)
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
