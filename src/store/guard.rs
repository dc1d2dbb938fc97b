//! Three small files beside the data: the lock, the high-water mark, the reserve.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use jovis_actors::ports::StoreError;

use super::{
    disk::{self, Disk, failed},
    records::sum,
};

/// Bytes kept aside for the moment when the disk is full.
pub(super) const RESERVE: u64 = 16 * 1024 * 1024;

/// Held for as long as it lives: nobody else opens this store.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("store.lock"))
        .map_err(failed("open the lock in the state directory"))?;
    hold(file, dir)
}

/// The same for who may only look: makes nothing that would belong to the wrong user afterwards.
pub(super) fn lock_found(dir: &Path) -> Result<File, StoreError> {
    let file = File::open(dir.join("store.lock"))
        .map_err(failed("open the lock in the state directory (is there a store?)"))?;
    hold(file, dir)
}

fn hold(file: File, dir: &Path) -> Result<File, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Disk {
            doing: "lock the state directory",
            error: format!("another process has the store in {} open", dir.display()),
        }),
        Err(TryLockError::Error(error)) => Err(failed("lock the state directory")(error)),
    }
}

/// Was this lock's name removed while it was held?
pub(super) fn is_deleted(lock: &File) -> bool {
    lock.metadata().is_ok_and(|it| it.nlink() == 0)
}

/// Has a store been begun beside this lock? Then an empty folder is a loss.
pub(super) fn has_begun(lock: &File) -> bool {
    lock.metadata().is_ok_and(|it| it.len() > 0)
}

/// Notes that a store has been begun.
pub(super) fn note_begun(disk: &Disk, lock: &File) -> io::Result<()> {
    let mut file = lock.try_clone()?;
    disk.write(&mut file, b"begun\n")?;
    disk.sync(&file)
}

/// What is known about how far the store has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// There is no such file.
    Missing,
    /// There is one, but it says nothing.
    Unreadable,
    /// At least so many writes were acknowledged.
    Sequence(u64),
}

/// Reads the mark.
pub(super) fn mark(dir: &Path) -> Result<Mark, StoreError> {
    let Some(bytes) =
        disk::read(&dir.join("store.mark")).map_err(failed("read the mark of the store"))?
    else {
        return Ok(Mark::Missing);
    };
    let sequence = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let number = text.strip_prefix("jovis-store-mark 1 ")?.split(' ').next()?.parse().ok()?;
        (text == mark_text(number)).then_some(number)
    });
    Ok(sequence.map_or(Mark::Unreadable, Mark::Sequence))
}

/// Writes the mark. A crash may leave the one before, which is a promise kept too.
pub(super) fn set_mark(disk: &Disk, dir: &Path, sequence: u64) -> io::Result<()> {
    disk.replace(&dir.join("store.mark"), mark_text(sequence).as_bytes())
}

fn mark_text(sequence: u64) -> String {
    let [a, b, c, d, ..] = sum(&[&sequence.to_be_bytes()]);
    format!("jovis-store-mark 1 {sequence} {a:02x}{b:02x}{c:02x}{d:02x}\n")
}

/// Gives the reserve up. True if there was one.
pub(super) fn give_up_reserve(disk: &Disk, dir: &Path) -> bool {
    let path = dir.join("store.reserve");
    path.exists() && disk.remove(&path).is_ok()
}

/// Makes the reserve if there is none and room for it twice over. True if there is one now.
pub(super) fn keep_reserve(disk: &Disk, dir: &Path, size: u64) -> bool {
    let path = dir.join("store.reserve");
    if path.exists() {
        return true;
    }
    if disk.room(dir).map_or(true, |room| room < size.saturating_mul(2)) {
        return false;
    }
    let Ok(file) = disk.create(&path) else {
        return false;
    };
    let length = i64::try_from(size).unwrap_or(i64::MAX);
    if nix::fcntl::posix_fallocate(&file, 0, length).is_ok() && disk.sync(&file).is_ok() {
        return true;
    }
    let _ = disk.remove(&path);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_what_was_written_or_that_it_cannot() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(mark(dir.path()).unwrap(), Mark::Missing);
        set_mark(&Disk::default(), dir.path(), 42).unwrap();
        assert_eq!(mark(dir.path()).unwrap(), Mark::Sequence(42));
        let path = dir.path().join("store.mark");
        let good = std::fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(mark(dir.path()).unwrap(), Mark::Unreadable, "{place}");
        }
    }

    #[test]
    fn a_reserve_takes_room_until_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        assert!(keep_reserve(&disk, dir.path(), 100_000));
        assert_eq!(std::fs::metadata(dir.path().join("store.reserve")).unwrap().len(), 100_000);
        assert!(give_up_reserve(&disk, dir.path()));
        assert!(!give_up_reserve(&disk, dir.path()));
        assert!(!keep_reserve(&disk, dir.path(), u64::MAX / 4), "there is no such room");
    }

    #[test]
    fn a_second_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().to_string().contains("another process"));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
