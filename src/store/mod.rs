//! The store on disk: the port `Journal` over an append-only journal, sled and snapshots.
//!
//! ```text
//! STATE/
//!   store.lock            held while a hub runs: nobody opens the store twice
//!   store.format          the version of records it was settled in; see `migrate`
//!   store.mark            how far the store has been (about once a second): it never starts emptier than that
//!   store.reserve         room that is given up when the disk is full
//!   journal/N.log         every change, in order; synced before anybody is answered
//!   sled/                 the same records by key, lazily; the base where snapshot and journal are not enough
//!   snapshots/N.snap      the image after change N, verified; two are kept; the newest is the usual base at opening
//! ```
//!
//! The journal is the truth; sled and snapshots spare us reading all of it. Each of the three can prove by a checksum
//! what it holds and where it stands in one chain, so opening (`open`) can compare them and repair what is damaged
//! from the others, or stop and say how to restore. It never guesses and never starts emptier than it was.
//!
//! Reading order: `port` (what happens for one group of writes), `open` (what is the truth?), `segment` (bytes of
//! the journal), `journal` (its files), `snapshot`, `sled`, `records` (one write as bytes), `guard` (lock,
//! mark, reserve), `disk` (all writing system calls, so that tests can fail the k-th); `backup`, `peek` (a store nobody has
//! open) and `restore`.
//!
//! To change a record's form: see `migrate`.

mod backup;
mod decode;
mod disk;
mod guard;
mod journal;
mod migrate;
mod open;
mod packed;
mod peek;
mod port;
mod records;
mod restore;
mod segment;
mod sled;
mod snapshot;

#[cfg(test)]
mod tests;

pub use self::sled::hangs as sled_hangs;
pub use backup::{BackupError, Backups, Summary, create as create_backup, offline};
pub use port::DiskJournal;
pub use restore::{Held, RestoreError, examine, restore};

use std::{io, path::Path};

/// Does this release understand the newest snapshot here? Also while a hub runs; changes nothing.
pub fn readable(dir: &Path) -> Result<(), String> {
    // One that is older than two others goes while we look: then there is a newer one.
    for _ in 0..3 {
        let found = snapshot::list(&dir.join("snapshots"));
        let newest = match found {
            Ok(found) => found.into_iter().next_back(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.to_string()),
        };
        let Some((_, path)) = newest else { return Ok(()) };
        match snapshot::read(&path) {
            Err(snapshot::SnapshotError::Disk(error))
                if error.kind() == io::ErrorKind::NotFound => {}
            read => return read.map(drop).map_err(|error| error.to_string()),
        }
    }
    Err("its snapshots come and go".to_owned())
}
