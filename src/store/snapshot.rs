//! Snapshots: the whole image in one file, written beside the work by a thread of its own and believed only when read
//! back.
//!
//! ```text
//! "JOVISSNP" | version u32 | sequence u64 | chain 16 | count u64 | records (length u32 | bytes) | sum 16 of all before
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use jovis_actors::store::Image;
use thiserror::Error;

use super::{
    disk::{self, Disk},
    records::{self, BadRecord, Sum, first_16},
    segment::{self, Point, sum_at, u32_at, u64_at},
};

/// How many good snapshots are kept.
const KEPT: usize = 2;
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"JOVISSNP";
const HEAD: usize = 44;
/// Bytes handed to the file at once.
const CHUNK: usize = 256 * 1024;

/// Why there is no snapshot.
#[derive(Debug, Error)]
pub(super) enum SnapshotError {
    /// The operating system's word.
    #[error("the snapshot could not be written or read")]
    Disk(#[from] io::Error),
    /// A record that can be neither written nor read.
    #[error("a record of the snapshot")]
    Record(#[from] BadRecord),
    /// Made by a newer release.
    #[error("the snapshot has version {0}, written by a newer release")]
    Newer(u32),
    /// Cut short or changed.
    #[error("the snapshot is damaged")]
    Damaged,
    /// The volume would be fuller than it may be. Nothing was begun.
    #[error("there is no room for a snapshot of {0} bytes")]
    NoRoom(u64),
    /// What was read back is not what was written.
    #[error("the snapshot differs from what was written")]
    Differs,
}

/// All snapshots' numbers and files, oldest first. The number says so many writes were acknowledged, even if the
/// content is damaged.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    disk::numbered(folder, "snap")
}

/// Reads and checks one.
pub(super) fn read(path: &Path) -> Result<(Point, Image), SnapshotError> {
    let bytes = fs::read(path)?;
    if bytes.len() < HEAD + 16 || &bytes[..8] != MAGIC {
        return Err(SnapshotError::Damaged);
    }
    let (content, end) = bytes.split_at(bytes.len() - 16);
    if records::sum(&[content]) != end {
        return Err(SnapshotError::Damaged);
    }
    match u32_at(content, 8) {
        VERSION => {}
        other => return Err(SnapshotError::Newer(other)),
    }
    let point = Point { sequence: u64_at(content, 12), chain: sum_at(content, 20) };
    let (mut image, mut count) = (Image::default(), 0);
    for record in segment::records(&content[HEAD..]) {
        image.apply(&records::decode(record.ok_or(SnapshotError::Damaged)?)?);
        count += 1;
    }
    if count == u64_at(content, 36) { Ok((point, image)) } else { Err(SnapshotError::Damaged) }
}

/// Bytes the snapshot of this image will have.
fn size(image: &Image) -> Result<u64, SnapshotError> {
    let mut size = HEAD + 16;
    for write in image.writes() {
        size += 4 + records::encode(&write)?.len();
    }
    Ok(size as u64)
}

/// Writes one and reads it back. What fails takes no room afterwards: the journal needs it.
fn write(disk: &Disk, folder: &Path, image: &Image, at: Point) -> Result<(), SnapshotError> {
    let path = folder.join(format!("{:020}.snap", at.sequence));
    let beside = path.with_extension("tmp");
    let written = write_beside(disk, &beside, image, at)
        .and_then(|()| disk.rename(&beside, &path).map_err(SnapshotError::Disk));
    if let Err(error) = written {
        // What cannot be removed now is swept before the next one.
        let _ = disk.remove(&beside);
        return Err(error);
    }
    let checked =
        disk.sync_folder(folder).map_err(SnapshotError::Disk).and_then(|()| match read(&path)? {
            (point, back) if point == at && &back == image => Ok(()),
            _ => Err(SnapshotError::Differs),
        });
    if checked.is_err() {
        let _ = disk.remove(&path);
    }
    checked
}

fn write_beside(disk: &Disk, beside: &Path, image: &Image, at: Point) -> Result<(), SnapshotError> {
    disk.remove(beside)?;
    let mut file = disk.create(beside)?;
    let mut sums = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = MAGIC.to_vec();
    chunk.extend(VERSION.to_be_bytes());
    chunk.extend(at.sequence.to_be_bytes());
    chunk.extend(at.chain);
    chunk.extend((image.writes().count() as u64).to_be_bytes());
    for write in image.writes() {
        let record = records::encode(&write)?;
        chunk.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_be_bytes());
        chunk.extend(record);
        if chunk.len() > CHUNK {
            sums.update(&chunk);
            disk.write(&mut file, &chunk)?;
            chunk.clear();
        }
    }
    sums.update(&chunk);
    let end: Sum = first_16(sums.finish().as_ref());
    chunk.extend(end);
    disk.write(&mut file, &chunk)?;
    Ok(disk.sync(&file)?)
}

/// Writes a snapshot, then removes those that two good ones make needless. Tells the number of the older good one:
/// nothing before it is needed any more. `None` while there is only one. So many bytes stay `spare` on the volume, or
/// nothing is begun.
fn renew(
    disk: &Disk,
    folder: &Path,
    image: &Image,
    at: Point,
    spare: u64,
) -> Result<Option<u64>, SnapshotError> {
    sweep(disk, folder)?;
    let size = size(image)?;
    if disk.room(folder)? < size.saturating_add(spare) {
        return Err(SnapshotError::NoRoom(size));
    }
    write(disk, folder, image, at)?;
    let mut good = Vec::new();
    for (number, path) in list(folder)?.into_iter().rev() {
        if good.len() == KEPT {
            disk.remove(&path)?;
        } else if number == at.sequence || read(&path).is_ok() {
            good.push(number);
        }
    }
    Ok((good.len() == KEPT).then(|| good[KEPT - 1]))
}

/// Removes what interrupted writers left.
pub(super) fn sweep(disk: &Disk, folder: &Path) -> io::Result<()> {
    for (_, path) in disk::numbered(folder, "tmp")? {
        disk.remove(&path)?;
    }
    Ok(())
}

/// A snapshot in the making.
#[derive(Debug)]
pub(super) struct Running {
    thread: JoinHandle<Result<Option<u64>, SnapshotError>>,
}

impl Running {
    /// Begins one. The image is shared, not copied.
    pub(super) fn begin(
        disk: Disk,
        folder: PathBuf,
        image: Arc<Image>,
        at: Point,
        spare: u64,
    ) -> io::Result<Self> {
        let thread = thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || renew(&disk, &folder, &image, at, spare))?;
        Ok(Self { thread })
    }

    /// Ready to be [finished](Self::finish) without waiting?
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end; see [`renew`].
    pub(super) fn finish(self) -> Result<Option<u64>, SnapshotError> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer of the snapshot panicked").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{image_of, user};

    fn three_records() -> Image {
        image_of(&[user(1, "ada"), user(2, "bob"), user(3, "cleo")])
    }

    #[test]
    fn two_good_snapshots_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let image = three_records();
        let mut older = Vec::new();
        for sequence in [3, 5, 9] {
            let at = Point { sequence, chain: [7; 16] };
            older.push(renew(&Disk::default(), dir.path(), &image, at, 0).unwrap());
            let (_, newest) = list(dir.path()).unwrap().pop().unwrap();
            assert_eq!(read(&newest).unwrap(), (at, image.clone()));
        }
        assert_eq!(older, [None, Some(3), Some(5)]);
        assert_eq!(list(dir.path()).unwrap().len(), 2);
    }

    /// The names in a folder.
    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_one_takes_no_room() {
        let image = three_records();
        let at = Point { sequence: 3, chain: [7; 16] };
        let dir = tempfile::tempdir().unwrap();
        let (disk, calls) = Disk::failing_at([]);
        renew(&disk, dir.path(), &image, at, 0).unwrap();
        let calls = calls.said();
        assert_eq!(calls, ["remove", "create", "write", "sync", "rename", "sync_folder"]);
        for call in 1..=calls.len() as u64 {
            let dir = tempfile::tempdir().unwrap();
            let (disk, _) = Disk::failing_at([call]);
            renew(&disk, dir.path(), &image, at, 0).unwrap_err();
            assert_eq!(names(dir.path()), [""; 0], "call {call} failed");
        }
    }

    #[test]
    fn what_a_failed_one_left_behind_goes_before_the_next() {
        let image = three_records();
        let at = |sequence| Point { sequence, chain: [0; 16] };
        let dir = tempfile::tempdir().unwrap();
        // Writing fails, and so does removing.
        let (disk, _) = Disk::failing_at([3, 4]);
        renew(&disk, dir.path(), &image, at(1), 0).unwrap_err();
        assert!(names(dir.path())[0].ends_with(".tmp"));
        // Its own number is another.
        renew(&disk, dir.path(), &image, at(2), 0).unwrap();
        assert_eq!(names(dir.path()), [format!("{:020}.snap", 2)]);
    }

    #[test]
    fn none_is_begun_without_room_for_it_and_the_reserve() {
        let image = three_records();
        let at = Point { sequence: 3, chain: [7; 16] };
        let dir = tempfile::tempdir().unwrap();
        let needed = size(&image).unwrap();
        let (disk, calls) = Disk::failing_at([]);
        *calls.room.lock().unwrap() = Some(needed + 99);
        let error = renew(&disk, dir.path(), &image, at, 100).unwrap_err();
        assert!(matches!(error, SnapshotError::NoRoom(bytes) if bytes == needed), "{error}");
        assert_eq!(calls.said(), [""; 0], "the disk was not touched");
        *calls.room.lock().unwrap() = Some(needed + 100);
        renew(&disk, dir.path(), &image, at, 100).unwrap();
        let (_, path) = list(dir.path()).unwrap().pop().unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), needed, "the size was told right");
    }

    #[test]
    fn a_damaged_one_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let image = three_records();
        let at = |sequence| Point { sequence, chain: [0; 16] };
        renew(&Disk::default(), dir.path(), &image, at(1), 0).unwrap();
        let (_, path) = list(dir.path()).unwrap().pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 16;
        fs::write(&path, bytes).unwrap();
        assert_eq!(renew(&Disk::default(), dir.path(), &image, at(2), 0).unwrap(), None);
    }

    #[test]
    fn no_part_and_no_flipped_bit_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        write(&Disk::default(), dir.path(), &three_records(), Point::default()).unwrap();
        let (_, path) = list(dir.path()).unwrap().pop().unwrap();
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(read(&path).is_err(), "{length}");
        }
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            fs::write(&path, bad).unwrap();
            assert!(read(&path).is_err(), "{place}");
        }
    }
}
