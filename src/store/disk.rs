//! All system calls of the store that write, in one place, so that a test can let the k-th of them fail.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use jovis_actors::ports::StoreError;

/// The disk as the store writes to it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: Option<std::sync::Arc<super::tests::Faults>>,
}

impl Disk {
    /// Makes a folder for the owner alone; no matter if it is there.
    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        self.may_fail("folder")?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a file that must not exist yet.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        self.may_fail("create")?;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    /// Writes all of it.
    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.may_fail("write") {
            // A failed write may have written a part.
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        file.write_all(bytes)
    }

    /// Waits until the content is on the medium.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.may_fail("sync")?;
        file.sync_data()
    }

    /// Cuts a file off behind so many bytes and waits until that is on the medium.
    pub(super) fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        self.may_fail("cut")?;
        file.set_len(length)?;
        // A length alone is not always part of what `sync_data` waits for.
        file.sync_all()
    }

    /// Bytes that may still be written on the volume of this folder.
    pub(super) fn room(&self, folder: &Path) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(room) = self.faults.as_ref().and_then(|faults| *faults.room.lock().unwrap()) {
            return Ok(room);
        }
        let volume = nix::sys::statvfs::statvfs(folder)?;
        Ok(volume.blocks_available().saturating_mul(volume.fragment_size()))
    }

    /// Waits until the names in a folder are on the medium.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.may_fail("sync_folder")?;
        File::open(path)?.sync_all()
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.may_fail("rename")?;
        fs::rename(from, to)
    }

    /// Gives a file a further name.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.may_fail("link")?;
        fs::hard_link(from, to)
    }

    /// Removes a file; no matter if there is none.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.may_fail("remove")?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces a small file as a whole: who reads it sees the old content or the new.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension("tmp");
        self.remove(&beside)?;
        let mut file = self.create(&beside)?;
        self.write(&mut file, bytes)?;
        self.sync(&file)?;
        self.rename(&beside, path)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' twin uses both")]
    fn may_fail(&self, _call: &'static str) -> io::Result<()> {
        Ok(())
    }

    /// One on which the calls with these numbers fail, and what counts them.
    #[cfg(test)]
    pub(super) fn failing_at<const N: usize>(
        calls: [u64; N],
    ) -> (Self, std::sync::Arc<super::tests::Faults>) {
        let faults = std::sync::Arc::new(super::tests::Faults::at(&calls));
        (Self { faults: Some(faults.clone()) }, faults)
    }

    #[cfg(test)]
    fn may_fail(&self, call: &'static str) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.next(call))
    }
}

/// The port's word for an error of the operating system.
pub(super) fn failed(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Disk { doing, error: error.to_string() },
    }
}

/// Reads a whole file; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The numbered files `N.SUFFIX` of a folder, lowest number first; none if there is no such folder.
pub(super) fn numbered(folder: &Path, suffix: &str) -> io::Result<Vec<(u64, std::path::PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(suffix)?.strip_suffix('.')?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}
