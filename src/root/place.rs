//! Where things lie: the runtime directory (root's own) and the state directory (the hub's).

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::stat::{Mode, fchmod},
    unistd::{Gid, Uid, fchown},
};

use super::{StartError, policy::Ourselves};
use crate::{
    config::{Config, runtime},
    os::users::Account,
};

/// How long a starting root waits for the one before it and its roles to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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
    let found = dir.metadata().map_err(failed(&path))?;
    if found.uid() != hub.uid {
        let empty = fs::read_dir(&path).map_err(failed(&path))?.next().is_none();
        if !empty || found.uid() != we.uid || !we.privileged {
            return Err(StartError::Refused(format!(
                "hub.state_dir {} holds files and belongs to user {}, not to {} ({})",
                path.display(),
                found.uid(),
                hub.name,
                hub.uid,
            )));
        }
        let (uid, gid) = (Uid::from_raw(hub.uid), Gid::from_raw(hub.gid));
        fchown(&dir, Some(uid), Some(gid)).map_err(|e| failed(&path)(e.into()))?;
    }
    if found.mode() & 0o077 != 0 {
        fchmod(dir.as_fd(), Mode::S_IRWXU).map_err(|e| failed(&path)(e.into()))?;
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
