//! Stores and records of older releases.
//!
//! A record carries the version of its form and is read for ever: what is older goes through a step per version up to the
//! present form. `store.format` says in which version the whole store was last settled. Where that is an older one,
//! opening goes like this; killed anywhere, the next start does it again:
//!
//! ```text
//! 1  store.format-N/  journal and snapshots as they are, by further names for the same files: no room, no time
//! 2  the usual opening; older records are read through their steps
//! 3  a snapshot in the new form, read back                        nothing was acknowledged in the new form yet
//! 4  store.format says the new version
//! ```
//!
//! The way back to the older release is `jovis restore STATE/store.format-N`, run with that release. An older release
//! refuses records of a newer one with a word.
//!
//! To change a record's form: raise `records::VERSION`, add a step to [`STEPS`], keep the old fixtures. Steps see JSON, also
//! of what is packed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jovis_actors::{ports::StoreError, store::Write};
use serde_json::Value;

use super::{
    disk::{self, Disk, failed},
    guard::{self, Mark},
    open::{Paths, newer},
    packed::{self, Known},
    records::{BadRecord, VERSION, sum},
};

/// Turns one version's JSON of a write into that of the next one.
type Step = fn(&mut Value) -> Result<(), String>;

/// The first leads from version [`OLDEST`] to the next one, and so on up to [`VERSION`].
#[cfg(not(test))]
const STEPS: &[Step] = &[from_1];
#[cfg(test)]
const STEPS: &[Step] = &[tests::from_0, from_1];

/// The oldest version there is a way from.
#[cfg(not(test))]
const OLDEST: u8 = 1;
/// Tests have an older one than there ever was.
#[cfg(test)]
const OLDEST: u8 = 0;

const _: () = assert!(OLDEST as usize + STEPS.len() == VERSION as usize, "a step for each version");

/// Version 2 only packs what version 1 had as JSON.
#[expect(clippy::unnecessary_wraps, reason = "it is a step")]
fn from_1(_: &mut Value) -> Result<(), String> {
    Ok(())
}

/// A record of an older version.
pub(super) fn decode(version: u8, bytes: &[u8]) -> Result<Write, BadRecord> {
    let unreadable = |why: String| BadRecord::Unreadable(format!("version {version}: {why}"));
    let skip = version.checked_sub(OLDEST).ok_or_else(|| unreadable("unknown".to_owned()))?;
    let value = if packed::is_packed(bytes) {
        serde_json::to_value(packed::decode(bytes, &mut Known::default())?)
    } else {
        serde_json::from_slice(bytes)
    };
    let mut value = value.map_err(|error| unreadable(error.to_string()))?;
    for step in STEPS.iter().skip(usize::from(skip)) {
        step(&mut value).map_err(unreadable)?;
    }
    serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))
}

/// What is to be done when this store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing: it is settled in the present form.
    Nothing,
    /// It is new, or of a release that did not note the version: the present one's.
    Note,
    /// It was last settled in this older version.
    From(u8),
}

fn note(version: u8) -> String {
    let [a, b, ..] = sum(&[&[version]]);
    format!("jovis-store-format {version} {a:02x}{b:02x}\n")
}

fn file(dir: &Path) -> PathBuf {
    dir.join("store.format")
}

/// What does `store.format` say? A store without one is of the oldest version: release 0.1.0 made none.
pub(super) fn due(paths: &Paths) -> Result<Due, StoreError> {
    let text = disk::read(&file(&paths.dir)).map_err(failed("read store.format"))?;
    let version = match text {
        None => OLDEST,
        Some(text) => {
            let text = String::from_utf8_lossy(&text);
            let mut words = text.strip_prefix("jovis-store-format ").unwrap_or("").split(' ');
            let number = words.next().and_then(|it| it.parse().ok());
            // Damaged: records say their version themselves, so nothing is misread. Settling again does no harm.
            number.filter(|number| text == note(*number)).unwrap_or(OLDEST)
        }
    };
    match version {
        VERSION if !file(&paths.dir).exists() => Ok(Due::Note),
        VERSION => Ok(Due::Nothing),
        older if older < VERSION => {
            let empty = guard::mark(&paths.dir)? == Mark::Missing
                && !paths.sled.exists()
                && disk::numbered(&paths.journal, "log")
                    .map_err(failed("list the journal"))?
                    .is_empty();
            Ok(if empty { Due::Note } else { Due::From(older) })
        }
        other => Err(newer("store.format", other.into())),
    }
}

/// Keeps the store as it is before anything is written in the new form. What an interrupted attempt kept is used.
pub(super) fn keep(disk: &Disk, paths: &Paths, version: u8) -> io::Result<PathBuf> {
    let kept = paths.dir.join(format!("store.format-{version}"));
    if kept.exists() {
        return Ok(kept);
    }
    let beside = paths.dir.join(format!("store.format-{version}.tmp"));
    match fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.folder(&beside)?;
    for (from, kind) in [(&paths.journal, "log"), (&paths.snapshots, "snap")] {
        let to = beside.join(from.file_name().expect("the store's folders have names"));
        disk.folder(&to)?;
        for (_, path) in disk::numbered(from, kind)? {
            disk.link(&path, &to.join(path.file_name().expect("it was listed")))?;
        }
        disk.sync_folder(&to)?;
    }
    if let Ok(Mark::Sequence(sequence)) = guard::mark(&paths.dir) {
        guard::set_mark(disk, &beside, sequence)?;
    }
    disk.sync_folder(&beside)?;
    disk.rename(&beside, &kept)?;
    disk.sync_folder(&paths.dir)?;
    Ok(kept)
}

/// The whole store can be read in the present form from now on.
pub(super) fn settled(disk: &Disk, paths: &Paths) -> io::Result<()> {
    disk.replace(&file(&paths.dir), note(VERSION).as_bytes())?;
    disk.sync_folder(&paths.dir)
}

#[cfg(test)]
mod tests;
