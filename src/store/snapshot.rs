//! Snapshots: the whole image in one file, written beside the work by a thread of its own and believed only when read
//! back.
//!
//! ```text
//! "JOVISSNP" | version u32 | sequence u64 | chain 16 | count u64 | records (length u32 | bytes) | sum 16 of all before
//! ```

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use jovis_actors::store::Image;
use ring::digest;
use thiserror::Error;

use super::{
    decode,
    disk::{self, Disk},
    records::{self, BadRecord, Sum, first_16},
    segment::{Point, sum_at, u32_at, u64_at},
};

/// How many good snapshots are kept.
const KEPT: usize = 2;
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"JOVISSNP";
const HEAD: u64 = 44;
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
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    load(&file, length)
}

/// Reads and checks so many bytes as a snapshot.
pub(super) fn load(from: impl Read, length: u64) -> Result<(Point, Image), SnapshotError> {
    let (at, decoded) = decode::all(|take| {
        parse(from, length, |record| {
            take(record);
            Ok(())
        })
    })?;
    // A record that cannot be read says nothing before the whole turns out right.
    Ok((at?, Image::gather(decoded?)))
}

/// Is the snapshot in these bytes of this very image and place? Takes no second image in memory.
pub(super) fn compare(
    from: impl Read,
    length: u64,
    image: &Image,
    at: Point,
) -> Result<(), SnapshotError> {
    let (mut writes, mut same) = (image.writes(), true);
    let found = parse(from, length, |record| {
        same &= writes
            .next()
            .is_some_and(|write| records::encode(&write).is_ok_and(|expected| expected == record));
        Ok(())
    })?;
    if same && found == at && writes.next().is_none() {
        Ok(())
    } else {
        Err(SnapshotError::Differs)
    }
}

/// Reads so many bytes as a snapshot, one record after the other, and says where it stands. What `take` was given counts
/// only if the whole turns out right: no other error is told of bytes that were damaged.
pub(super) fn parse(
    from: impl Read,
    length: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), BadRecord>,
) -> Result<Point, SnapshotError> {
    let content = length.checked_sub(16).filter(|it| *it >= HEAD).ok_or(SnapshotError::Damaged)?;
    let sums = digest::Context::new(&digest::SHA256);
    let mut from = Summed { from: BufReader::with_capacity(CHUNK, from), left: content, sums };
    let mut head = [0; HEAD as usize];
    from.fill(&mut head)?;
    if &head[..8] != MAGIC {
        return Err(SnapshotError::Damaged);
    }
    let point = Point { sequence: u64_at(&head, 12), chain: sum_at(&head, 20) };
    let (mut count, mut record) = (0, Vec::new());
    let mut trouble = match u32_at(&head, 8) {
        VERSION => None,
        newer => Some(SnapshotError::Newer(newer)),
    };
    while trouble.is_none() && from.left > 0 {
        let mut size = [0; 4];
        from.fill(&mut size)?;
        let size = u32::from_be_bytes(size);
        if u64::from(size) > from.left {
            return Err(SnapshotError::Damaged);
        }
        record.resize(size as usize, 0);
        from.fill(&mut record)?;
        trouble = take(&record).err().map(SnapshotError::Record);
        count += 1;
    }
    let mut rest = vec![0; CHUNK];
    while from.left > 0 {
        let some = usize::try_from(from.left).unwrap_or(CHUNK).min(CHUNK);
        from.fill(&mut rest[..some])?;
    }
    let mut end = [0; 16];
    from.from.read_exact(&mut end).map_err(cut_short)?;
    match trouble {
        _ if first_16(from.sums.finish().as_ref()) != end => Err(SnapshotError::Damaged),
        Some(trouble) => Err(trouble),
        None if count != u64_at(&head, 36) => Err(SnapshotError::Damaged),
        None => Ok(point),
    }
}

/// What is read and summed up as it comes.
struct Summed<R> {
    from: R,
    left: u64,
    sums: digest::Context,
}

impl<R: Read> Summed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(SnapshotError::Damaged)?;
        self.from.read_exact(bytes).map_err(cut_short)?;
        self.sums.update(bytes);
        Ok(())
    }
}

fn cut_short(error: io::Error) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Damaged,
        _ => SnapshotError::Disk(error),
    }
}

/// Bytes the snapshot of this image will have.
pub(super) fn size(image: &Image) -> Result<u64, SnapshotError> {
    let mut size = HEAD + 16;
    for write in image.writes() {
        size += 4 + records::encode(&write)?.len() as u64;
    }
    Ok(size)
}

/// Writes one and reads it back. What fails takes no room afterwards: the journal needs it.
pub(super) fn write(
    disk: &Disk,
    folder: &Path,
    image: &Image,
    at: Point,
) -> Result<(), SnapshotError> {
    let path = folder.join(format!("{:020}.snap", at.sequence));
    let beside = path.with_extension("tmp");
    let written = write_beside(disk, &beside, image, at)
        .and_then(|()| disk.rename(&beside, &path).map_err(SnapshotError::Disk));
    if let Err(error) = written {
        // What cannot be removed now is swept before the next one.
        let _ = disk.remove(&beside);
        return Err(error);
    }
    let checked = disk.sync_folder(folder).map_err(SnapshotError::Disk).and_then(|()| {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        compare(file, length, image, at)
    });
    if checked.is_err() {
        let _ = disk.remove(&path);
    }
    checked
}

fn write_beside(disk: &Disk, beside: &Path, image: &Image, at: Point) -> Result<(), SnapshotError> {
    disk.remove(beside)?;
    let mut file = disk.create(beside)?;
    pour(image, at, &mut |bytes| disk.write(&mut file, bytes))?;
    Ok(disk.sync(&file)?)
}

/// The snapshot's bytes, in pieces.
pub(super) fn pour(
    image: &Image,
    at: Point,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), SnapshotError> {
    let mut sums = digest::Context::new(&digest::SHA256);
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
            out(&chunk)?;
            chunk.clear();
        }
    }
    sums.update(&chunk);
    let end: Sum = first_16(sums.finish().as_ref());
    chunk.extend(end);
    Ok(out(&chunk)?)
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
    use std::fs;

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
