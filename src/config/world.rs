//! What `check` asks of the machine it runs on.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{look, templates};

/// The facts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Is it a folder?
    pub folder: bool,
}

/// The machine, as far as a configuration depends on it. Tests have one of their own.
pub trait World {
    /// Do we run as root?
    fn is_root(&self) -> bool;
    /// Is there such an account?
    fn account_exists(&self, name: &str) -> bool;
    /// Is there such a group of accounts?
    fn group_exists(&self, _name: &str) -> bool {
        true
    }
    /// May we read this file?
    fn readable(&self, path: &Path) -> bool {
        self.read(path).is_ok()
    }
    /// What there is at this path; `None` if nothing is.
    fn facts(&self, path: &Path) -> Option<FileFacts>;
    /// Where this path leads to once all links are followed; `None` if nothing is there.
    fn real(&self, path: &Path) -> Option<PathBuf> {
        self.facts(path).map(|_| path.to_owned())
    }
    /// Is this account in the group to which the thing at this path belongs?
    fn shares_group(&self, _account: &str, _path: &Path) -> bool {
        false
    }
    /// The content of a small file.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A variable of our environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Where the program lies that we are.
    fn program(&self) -> Option<PathBuf> {
        None
    }
    /// What is wrong with the page templates in these folders, with file and line.
    fn template_fault(&self, _folders: &[PathBuf]) -> Option<String> {
        None
    }
    /// What is wrong with this logo.
    fn logo_fault(&self, _file: &Path) -> Option<String> {
        None
    }
    /// Can this program be found in PATH and run?
    fn program_exists(&self, name: &str) -> bool {
        let runs = |path: &Path| {
            self.facts(path).is_some_and(|facts| !facts.folder && facts.mode & 0o111 != 0)
        };
        if name.contains('/') {
            return runs(Path::new(name));
        }
        let path = self.variable("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| runs(&folder.join(name)))
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The machine we run on.
#[derive(Debug, Clone, Copy)]
pub struct Machine;

impl World for Machine {
    fn is_root(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    fn account_exists(&self, name: &str) -> bool {
        matches!(nix::unistd::User::from_name(name), Ok(Some(_)))
    }

    fn group_exists(&self, name: &str) -> bool {
        // If it cannot be told, it is not said to be missing.
        !matches!(nix::unistd::Group::from_name(name), Ok(None))
    }

    fn readable(&self, path: &Path) -> bool {
        fs::File::open(path).is_ok()
    }

    fn template_fault(&self, folders: &[PathBuf]) -> Option<String> {
        templates::check(folders).err().map(|error| with_cause(&error))
    }

    fn logo_fault(&self, file: &Path) -> Option<String> {
        look::logo(file).err().map(|error| with_cause(&error))
    }

    fn facts(&self, path: &Path) -> Option<FileFacts> {
        let facts = fs::metadata(path).ok()?;
        Some(FileFacts {
            mode: facts.permissions().mode() & 0o7777,
            uid: facts.uid(),
            folder: facts.is_dir(),
        })
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }

    fn program(&self) -> Option<PathBuf> {
        std::env::current_exe().ok()
    }

    fn shares_group(&self, account: &str, path: &Path) -> bool {
        let Ok(facts) = fs::metadata(path) else { return false };
        let Ok(Some(user)) = nix::unistd::User::from_name(account) else { return false };
        let Ok(name) = std::ffi::CString::new(account) else { return false };
        // If it cannot be told, the worse is assumed.
        nix::unistd::getgrouplist(&name, user.gid)
            .map_or(true, |groups| groups.iter().any(|group| group.as_raw() == facts.gid()))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use io::Read as _;
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
