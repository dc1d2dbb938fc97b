//! Where a running jovis has what lasts as long as it runs: its lock, its children, its control socket. Asked by root,
//! which makes the folder, and by the command line, which looks for one.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::Config;

/// The control socket's name in the runtime directory.
pub const CONTROL: &str = "control";

/// The folder with the runtime directories of all that run on this machine as this account; none: each has its own.
pub fn folder(privileged: bool) -> Option<PathBuf> {
    if privileged {
        return Some(PathBuf::from("/run/jovis"));
    }
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    own.map(|dir| dir.join("jovis"))
}

/// The runtime directory, or why there is none. `state` is the state directory.
pub fn directory(config: &Config, privileged: bool, state: &Path) -> Result<PathBuf, String> {
    let name = config.hub.name.as_str();
    if name.is_empty() || name.len() > 64 || name.contains('/') || name.starts_with('.') {
        return Err(format!("hub.name {name:?} is no name of a folder"));
    }
    Ok(folder(privileged).map_or_else(|| state.join("run"), |folder| folder.join(name)))
}
