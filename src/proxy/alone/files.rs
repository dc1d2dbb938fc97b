//! Files that the command line names.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use zeroize::Zeroizing;

/// A file's bytes; why not, in words with the flag that names it.
pub(super) fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

/// The same of a secret, which is wiped after use.
pub(super) fn read_secret(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    read(flag, path).map(Zeroizing::new)
}

/// Does a passphrase belong to this key (PEM)?
pub(super) fn is_encrypted(pem: &[u8]) -> bool {
    let has = |word: &[u8]| pem.windows(word.len()).any(|part| part == word);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// A file with the number of our process, taken away when dropped.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        fs::write(path, process::id().to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another one's by now: it stays. Gone already: as it should be.
        if fs::read_to_string(&self.0).is_ok_and(|pid| pid == process::id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_keys_are_known() {
        for (pem, encrypted) in [
            (&b"-----BEGIN PRIVATE KEY-----\nAA"[..], false),
            (b"x\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA", true),
            (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", true),
            (b"", false),
        ] {
            assert_eq!(is_encrypted(pem), encrypted);
        }
    }

    #[test]
    fn a_pid_file_goes_if_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), process::id().to_string());
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(file);
        assert!(path.exists());
    }
}
