//! What lasts, in a folder that nobody but the proxy's account can enter: files with mode 0600, written whole, synced and
//! renamed, so that a crash leaves the old one or the new one. Each authority has its own, so that trying out with one
//! leaves those of the other as they are.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, fsync, unlinkat},
};
use ring::digest::{SHA256, digest};

/// Longest file, in bytes.
const LONGEST: u64 = 256 << 10;

/// What there is of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Our account with it: its address and its key, JSON.
    Account,
    /// The certificate's key and the certificate, PEM: in one file, so that they always belong together.
    Certificate,
    /// When it may be asked again, JSON.
    Tries,
}

/// The folder, for one authority.
#[derive(Debug)]
pub(super) struct Store {
    folder: OwnedFd,
    /// Stands for the authority in the files' names.
    authority: String,
}

impl Store {
    /// `directory`: the address of the authority's directory.
    pub(super) fn new(folder: OwnedFd, directory: &str) -> Self {
        let hash = digest(&SHA256, directory.as_bytes());
        let authority = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { folder, authority }
    }

    /// The folder, for this authority.
    pub(super) fn of(&self, directory: &str) -> io::Result<Self> {
        Ok(Self::new(self.folder.try_clone()?, directory))
    }

    fn name(&self, kind: Kind) -> String {
        let end = match kind {
            Kind::Account => "account",
            Kind::Certificate => "pem",
            Kind::Tries => "tries",
        };
        format!("{}.{end}", self.authority)
    }

    /// What is in it; none: it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no file of its own, or longer than any of ours.
    pub(super) fn read(&self, kind: Kind) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.folder, self.name(kind).as_str(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "not a file of ours");
        if !file.metadata()?.is_file() {
            return Err(odd());
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST { Err(odd()) } else { Ok(Some(bytes)) }
    }

    /// Puts this in the place of what there is.
    ///
    /// # Errors
    ///
    /// As the system says; then the old one is still there.
    pub(super) fn write(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let name = self.name(kind);
        let draft = format!("{name}.new");
        self.remove(&draft)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&self.folder, draft.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(file);
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat(&self.folder, draft.as_str(), &self.folder, name.as_str())?;
        Ok(fsync(self.folder.as_fd())?)
    }

    /// There is none any more.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub(super) fn forget(&self, kind: Kind) -> io::Result<()> {
        self.remove(&self.name(kind))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn each_authority_has_files_of_its_own_that_are_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(File::open(dir.path()).unwrap().into(), "https://a/");
        let other = store.of("https://b/").unwrap();
        assert_eq!(store.read(Kind::Account).unwrap(), None);
        store.write(Kind::Account, b"one").unwrap();
        store.write(Kind::Account, b"two").unwrap();
        other.write(Kind::Account, b"three").unwrap();
        store.write(Kind::Certificate, b"four").unwrap();
        assert_eq!(store.read(Kind::Account).unwrap().unwrap(), b"two");
        assert_eq!(other.read(Kind::Account).unwrap().unwrap(), b"three");
        store.forget(Kind::Account).unwrap();
        store.forget(Kind::Account).unwrap();
        assert_eq!(store.read(Kind::Account).unwrap(), None);
        let files: Vec<_> = dir.path().read_dir().unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_draft_that_a_crash_left_is_no_obstacle_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(File::open(dir.path()).unwrap().into(), "https://a/");
        let path = |end: &str| dir.path().join(format!("{}.{end}", store.authority));
        std::fs::write(path("pem.new"), "half").unwrap();
        store.write(Kind::Certificate, b"whole").unwrap();
        assert_eq!(store.read(Kind::Certificate).unwrap().unwrap(), b"whole");
        symlink(path("pem"), path("account")).unwrap();
        assert!(store.read(Kind::Account).is_err());
        std::fs::write(path("tries"), vec![b' '; 300 << 10]).unwrap();
        assert!(store.read(Kind::Tries).is_err());
    }
}
