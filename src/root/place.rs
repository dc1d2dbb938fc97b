//! Where things lie: the runtime directory (root's own) and the state directory (the hub's).

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::{Gid, Uid, fchown},
};

use super::{StartError, policy::Ourselves};
use crate::{
    config::{Config, runtime},
    os::users::Account,
};

/// How long a starting root waits for the one before it and its roles to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The folder for certificates that the proxy gets by itself, in the state directory.
const ACME: &str = "acme";

fn failed(what: &Path) -> impl Fn(io::Error) -> StartError + '_ {
    move |error| StartError::Failed(format!("{}: {error}", what.display()))
}

/// Makes or checks the runtime directory, and holds its lock.
pub(super) fn runtime(
    config: &Config,
    we: &Ourselves,
    state: &Path,
) -> Result<(PathBuf, File), StartError> {
    let name = config.hub.name.as_str();
    let dir = runtime::directory(config, we.privileged, state).map_err(StartError::Refused)?;
    DirBuilder::new().recursive(true).mode(0o711).create(&dir).map_err(failed(&dir))?;
    let found = fs::symlink_metadata(&dir).map_err(failed(&dir))?;
    if !found.is_dir() || found.uid() != we.uid {
        return Err(StartError::Refused(format!("{} is not our own folder", dir.display())));
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).map_err(failed(&dir))?;
    let path = dir.join("lock");
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let lock = options.open(&path).map_err(failed(&path))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok((dir, lock)),
            Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(StartError::Busy(format!("another jovis named {name:?} is running")));
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(100)),
        }
    }
}

/// The proxy's folder for certificates that it gets by itself, below the state directory: made or checked. (The hub may
/// put something else in its place; then it is refused.)
pub(super) fn acme(state: BorrowedFd<'_>, we: &Ourselves, proxy: &Account) -> io::Result<OwnedFd> {
    match mkdirat(state, ACME, Mode::S_IRWXU) {
        Err(errno) if errno != Errno::EEXIST => return Err(errno.into()),
        _ => {}
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = File::from(openat(state, ACME, flags, Mode::empty())?);
    match hand_over(&folder, we, proxy)? {
        Ok(()) => Ok(folder.into()),
        Err(uid) => Err(io::Error::other(format!("{ACME} holds files and belongs to user {uid}"))),
    }
}

/// A folder becomes that account's only if we made it or find it empty; else its owner is told. Nobody else can enter it.
fn hand_over(folder: &File, we: &Ourselves, whose: &Account) -> io::Result<Result<(), u32>> {
    let found = folder.metadata()?;
    if found.uid() != whose.uid {
        let inside = fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))?.next();
        if inside.is_some() || found.uid() != we.uid || !we.privileged {
            return Ok(Err(found.uid()));
        }
        fchown(folder, Some(Uid::from_raw(whose.uid)), Some(Gid::from_raw(whose.gid)))?;
    }
    if found.mode() & 0o077 != 0 {
        fchmod(folder.as_fd(), Mode::S_IRWXU)?;
    }
    Ok(Ok(()))
}

/// Makes or checks the state directory. It becomes the hub's only if we made it or find it empty.
pub(super) fn state(
    config: &Config,
    we: &Ourselves,
    hub: &Account,
) -> Result<(PathBuf, OwnedFd), StartError> {
    let path = std::path::absolute(&config.hub.state_dir).map_err(failed(&config.hub.state_dir))?;
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed(parent))?;
    }
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(&path)(error));
        }
        _ => {}
    }
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let dir = options.open(&path).map_err(failed(&path))?;
    match hand_over(&dir, we, hub).map_err(failed(&path))? {
        Ok(()) => {}
        Err(uid) => {
            return Err(StartError::Refused(format!(
                "hub.state_dir {} holds files and belongs to user {uid}, not to {} ({})",
                path.display(),
                hub.name,
                hub.uid,
            )));
        }
    }
    Ok((path, dir.into()))
}

#[cfg(test)]
mod tests {
    use nix::unistd::geteuid;

    use super::*;

    fn hub(uid: u32) -> Account {
        let (home, shell) = ("/".into(), "/bin/sh".into());
        Account { name: "hub".to_owned(), uid, gid: uid, groups: vec![uid], home, shell }
    }

    fn we() -> Ourselves {
        let uid = geteuid().as_raw();
        Ourselves { privileged: uid == 0, uid, hub: uid, proxy: uid }
    }

    fn config(dir: &Path) -> Config {
        let mut config = Config::default();
        config.hub.state_dir = dir.to_owned();
        config
    }

    #[test]
    fn the_state_directory_is_made_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("a/b"));
        for _ in 0..2 {
            let (path, _) = state(&config, &we(), &hub(we().uid)).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
            fs::write(path.join("file"), "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn a_directory_changes_hands_only_while_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(state(&config, &we(), &hub(54_321)), Err(StartError::Refused(_))));
        fs::remove_file(dir.path().join("file")).unwrap();
        let given = state(&config, &we(), &hub(54_321));
        let owner = fs::metadata(dir.path()).unwrap().uid();
        assert_eq!(given.is_ok(), we().privileged);
        assert_eq!(owner, if we().privileged { 54_321 } else { we().uid });
    }

    #[test]
    fn the_folder_for_certificates_is_the_proxys_alone() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let (state, path) = (open(), dir.path().join(ACME));
        for _ in 0..2 {
            acme(state.as_fd(), &we(), &hub(we().uid)).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Given away while it is empty; what holds somebody's files, or is a link, is nobody's.
        assert_eq!(acme(state.as_fd(), &we(), &hub(54_321)).is_ok(), we().privileged);
        fs::write(path.join("file"), "").unwrap();
        assert!(acme(state.as_fd(), &we(), &hub(54_322)).is_err());
        fs::rename(&path, dir.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("aside"), &path).unwrap();
        assert!(acme(state.as_fd(), &we(), &hub(we().uid)).is_err());
    }

    #[test]
    fn a_link_is_no_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(state(&config(&link), &we(), &hub(we().uid)).is_err());
    }

    #[test]
    fn the_name_stays_below_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "../x", "a/b", ".x", &"x".repeat(65)] {
            let mut config = config(dir.path());
            config.hub.name = bad.to_owned();
            let outcome = runtime(&config, &we(), dir.path());
            assert!(matches!(outcome, Err(StartError::Refused(_))), "{bad:?}");
        }
    }
}
