//! Reads a store that nobody has open, and changes nothing. Snapshots and journal are enough: a segment of the journal
//! goes only when two verified snapshots are younger. sled is left alone, because it cannot be opened without writing.

use jovis_actors::{ports::StoreError, store::Image};

use super::{
    disk::failed,
    guard::{self, Mark},
    journal,
    open::{Paths, Unfit, damaged, newer, replay},
    records::BadRecord,
    segment::Point,
    snapshot::{self, SnapshotError},
};

/// The whole of it, and where it stands.
pub(super) fn peek(paths: &Paths) -> Result<(Image, Point), StoreError> {
    let snapshots = snapshot::list(&paths.snapshots).map_err(failed("list the snapshots"))?;
    let newest = snapshots.last().map_or(0, |(number, _)| *number);
    let found = journal::read(&paths.journal, None, newest)?;
    let marked = match guard::mark(&paths.dir)? {
        Mark::Sequence(sequence) => sequence,
        Mark::Missing if found.segments == 0 && snapshots.is_empty() => {
            let dir = paths.dir.display();
            return Err(StoreError::Damaged(format!("there is no store in {dir}")));
        }
        Mark::Missing | Mark::Unreadable => 0,
    };
    let floor = marked.max(found.reaches).max(newest);
    let mut reasons = Vec::new();
    for (number, path) in snapshots.iter().rev() {
        match snapshot::read(path) {
            Ok((at, image)) => match replay(at, image, &found, floor) {
                Ok(whole) => return Ok(whole),
                Err(Unfit::Fatal(error)) => return Err(error),
                Err(Unfit::Gap(why)) => reasons.push(format!("from snapshot {number}: {why}")),
            },
            Err(SnapshotError::Newer(version)) => return Err(newer("a snapshot", version)),
            Err(SnapshotError::Record(BadRecord::Newer(version))) => {
                return Err(newer("a snapshot", version.into()));
            }
            Err(error) => reasons.push(format!("snapshot {number}: {error}")),
        }
    }
    match replay(Point::default(), Image::default(), &found, floor) {
        Ok(whole) => Ok(whole),
        Err(Unfit::Fatal(error)) => Err(error),
        Err(Unfit::Gap(why)) => {
            reasons.push(format!("from the journal alone: {why}"));
            Err(damaged(paths, floor, &reasons))
        }
    }
}
