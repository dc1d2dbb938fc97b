//! The way back: reads a backup (or a snapshot, or another store's folder) as a whole, and puts it in the place of the
//! store that is there.
//!
//! ```text
//! 1  the new snapshot is written beside, synced, read back            nothing has changed yet
//! 2  store.mark says how far what is there has been, or what comes    from here on no start begins an empty store
//! 3  journal, sled, snapshots go to store.DATE                        a start now stops: the mark is ahead of nothing
//! 4  the new snapshot takes its place                                 …
//! 5  store.mark says how far the backup has been                      done
//! ```
//!
//! Killed in between, it is done again: a hub that is started meanwhile refuses, and says how to restore.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use jovis_actors::{ports::StoreError, store::Image};
use thiserror::Error;

use super::{
    backup::{self, BackupError, Summary},
    disk::Disk,
    guard::{self, Mark},
    journal,
    open::{Paths, Unfit, replay},
    peek, records,
    segment::Point,
    snapshot::{self, SnapshotError},
};

/// Why nothing was restored. Until the last step nothing is lost either.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Neither a backup nor a snapshot nor a store.
    #[error("{path} is no backup: {why}")]
    NoBackup {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The journal does not continue what was read.
    #[error("the journal does not continue it: {0}")]
    Gap(String),
    /// The state directory's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in place now is not what was to be restored.
    #[error("what was restored is not what the backup holds; what was there before is in {0}")]
    Differs(String),
    /// The operating system's word.
    #[error("could not {0}")]
    Io(&'static str, #[source] io::Error),
}

/// What was read, whole and right.
#[derive(Debug)]
pub struct Held {
    image: Image,
    at: Point,
    /// What it holds.
    pub summary: Summary,
}

impl Held {
    fn new(image: Image, at: Point, made: u64) -> Self {
        let summary = Summary::of(&image, at, made);
        Self { image, at, summary }
    }

    /// All records.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A checksum of all records, which two stores share only if they hold the same.
    ///
    /// # Errors
    ///
    /// A record that cannot be written down.
    pub fn digest(&self) -> Result<String, RestoreError> {
        let mut total = 0_u128;
        for write in self.image.writes() {
            let bytes = records::encode(&write)
                .map_err(|error| RestoreError::Io("sum up", io::Error::other(error)))?;
            total = total.wrapping_add(u128::from_be_bytes(records::sum(&[&bytes])));
        }
        Ok(format!("{total:032x}"))
    }

    /// Adds what a store's journal holds behind it, up to change `to` if that is given: a point in time.
    ///
    /// # Errors
    ///
    /// The journal is of another history, or begins too late, or ends before `to`.
    pub fn follow(self, journal: &Path, to: Option<u64>) -> Result<Self, RestoreError> {
        let found = journal::read(journal, to, 0)?;
        let (image, at) = replay(self.at, self.image, &found, 0).map_err(|error| match error {
            Unfit::Gap(why) => RestoreError::Gap(why),
            Unfit::Fatal(error) => RestoreError::Store(error),
        })?;
        if to.is_some_and(|to| at.sequence != to) {
            let sequence = at.sequence;
            return Err(RestoreError::Gap(format!(
                "no group of changes ends there; the last one before it ends with change {sequence}"
            )));
        }
        Ok(Self::new(image, at, self.summary.made))
    }
}

/// Reads and checks all of a backup, of a snapshot, or of the store in a folder that no hub has open.
///
/// # Errors
///
/// It is not one, or not whole, or a newer release's.
pub fn examine(path: &Path) -> Result<Held, RestoreError> {
    let refuse = |why: String| RestoreError::NoBackup { path: path.display().to_string(), why };
    if path.is_dir() {
        let (image, at) = peek::peek(&Paths::new(path))?;
        return Ok(Held::new(image, at, backup::now()));
    }
    let reading = |error| RestoreError::Io("read the backup", error);
    let mut file = File::open(path).map_err(reading)?;
    let about = file.metadata().map_err(reading)?;
    let mut magic = Vec::new();
    file.by_ref().take(8).read_to_end(&mut magic).map_err(reading)?;
    file.seek(SeekFrom::Start(0)).map_err(reading)?;
    let written =
        about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let (told, begins) = if magic == backup::MAGIC {
        match backup::head_of(&mut file) {
            Ok(Ok((summary, begins))) => (Some(summary), begins),
            Ok(Err(why)) => return Err(refuse(why.to_owned())),
            Err(BackupError::Disk(error)) => return Err(reading(error)),
            Err(other) => return Err(refuse(other.to_string())),
        }
    } else {
        (None, 0)
    };
    let outcome = snapshot::load(file, about.len() - begins);
    let (at, image) = outcome.map_err(|error| match error {
        SnapshotError::Disk(error) => reading(error),
        SnapshotError::Record(error) => refuse(error.to_string()),
        other => refuse(other.to_string()),
    })?;
    let made = told.as_ref().map(|it| it.made).or(written.map(|it| it.as_secs()));
    let mut held = Held::new(image, at, made.unwrap_or(0));
    if let Some(told) = told {
        held.summary.release.clone_from(&told.release);
        if held.summary != told {
            return Err(refuse("it does not hold what its head says".to_owned()));
        }
    }
    Ok(held)
}

/// Puts it in the place of the store in this state directory, as its owner. What was there is kept in the folder that is
/// returned, if there was anything.
///
/// # Errors
///
/// A hub has the store open, the disk is full, or the operating system refuses.
pub fn restore(held: &Held, state: &Path, stamp: &str) -> Result<Option<PathBuf>, RestoreError> {
    let io = |what: &'static str| move |error| RestoreError::Io(what, error);
    let _lock = guard::lock(state)?;
    let (disk, paths) = (Disk::default(), Paths::new(state));
    let sync = |folder: &Path| disk.sync_folder(folder).map_err(io("sync a folder"));

    let fresh = state.join("store.restored");
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io("remove what an interrupted restore left")(error));
        }
        _ => {}
    }
    disk.folder(&fresh).map_err(io("make a folder"))?;
    snapshot::write(&disk, &fresh, &held.image, held.at).map_err(|error| match error {
        SnapshotError::Disk(error) => io("write the snapshot")(error),
        other => io("write the snapshot")(io::Error::other(other)),
    })?;
    sync(state)?;

    let before = guard::mark(state)?;
    let reached = if let Mark::Sequence(sequence) = before { sequence } else { 0 };
    // At least one, so that what has gone is missed.
    let guarding = reached.max(held.at.sequence).max(1);
    guard::set_mark(&disk, state, guarding).map_err(io("write the mark"))?;
    sync(state)?;

    let aside = state.join(format!("store.{stamp}"));
    let there = |path: &&PathBuf| path.symlink_metadata().is_ok();
    let old: Vec<_> =
        [&paths.journal, &paths.sled, &paths.snapshots].into_iter().filter(there).collect();
    if !old.is_empty() {
        disk.folder(&aside).map_err(io("make a folder for the old store"))?;
        if let Mark::Sequence(sequence) = before {
            guard::set_mark(&disk, &aside, sequence).map_err(io("keep the old mark"))?;
        }
        for path in &old {
            let name = path.file_name().expect("the store's folders have names");
            disk.rename(path, &aside.join(name)).map_err(io("set the old store aside"))?;
        }
        sync(&aside)?;
    }
    disk.rename(&fresh, &paths.snapshots).map_err(io("put the snapshot in place"))?;
    sync(state)?;
    guard::set_mark(&disk, state, held.at.sequence).map_err(io("write the mark"))?;
    sync(state)?;
    // Not believed before it was seen: this is what a hub will read.
    match peek::peek(&paths) {
        Ok((image, at)) if image == held.image && at == held.at => {}
        Ok(_) => return Err(RestoreError::Differs(aside.display().to_string())),
        Err(error) => return Err(error.into()),
    }
    Ok((!old.is_empty()).then_some(aside))
}

#[cfg(test)]
mod tests;
