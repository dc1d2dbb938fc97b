//! Started through a `sudo` rule, by somebody who may do nothing else as root (`docs/how-to/without-root.md`): then nothing
//! that root reads or runs by its name may be theirs to change.

use std::path::{Path, PathBuf};

use super::Say;
use crate::config::{Config, world::World};

/// The option that asks for all of this.
const OPTION: &str = "--guarded";

pub(super) fn guard(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let file = say.effective.file.clone();
    if !say.effective.guarded {
        let by_sudo = world.variable("SUDO_UID").is_some_and(|uid| uid != "0");
        if by_sudo && world.is_root() && file.is_some_and(|file| exposed(&file, world).is_some()) {
            let words = "whoever started jovis by sudo can change its configuration, and so become root; where sudo allows them nothing else, read docs/how-to/without-root.md";
            say.note("root", words);
        }
        return;
    }
    if !world.is_root() {
        let words = "is for jovis started as root, through a rule of sudo";
        return say.error(OPTION, words);
    }
    if let Some(given) = say.effective.overrides.first() {
        let words = format!("takes settings from the file only, not by {}", given.option);
        say.error(OPTION, words);
    }
    let Some(file) = file else {
        return say.error(OPTION, "needs the configuration's place: -f and its whole path");
    };
    let program = world.program();
    // A folder of the hub's own, or a file that is made: what lies above counts.
    let above = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let hub = &config.hub;
    let mut places = vec![
        (OPTION, file),
        (OPTION, program.unwrap_or_default()),
        ("hub.state_dir", above(&hub.state_dir)),
        ("hub.cookie_secret_file", above(&hub.cookie_secret_file)),
        ("hub.proxy_auth_token_file", above(&hub.proxy_auth_token_file)),
        ("hub.ssl_key", hub.ssl_key.clone()),
        ("hub.ssl_cert", hub.ssl_cert.clone()),
        ("log.file", above(&config.log.file)),
        ("proxy.client_ca", config.proxy.client_ca.clone()),
        ("proxy.acme.directory_ca", config.proxy.acme.directory_ca.clone()),
    ];
    for one in &config.proxy.certificates {
        places.extend([&one.cert, &one.key].map(|it| ("proxy.certificates", it.clone())));
    }
    for (path, place) in places.into_iter().filter(|(_, place)| !place.as_os_str().is_empty()) {
        if !place.is_absolute() {
            let words = format!("{}: with {OPTION} a path from / is needed", place.display());
            say.error(path, words);
        } else if let Some(open) = exposed(&place, world) {
            let words = format!(
                "{} can be changed by others than root, who could become root by it (needed for {})",
                open.display(),
                place.display()
            );
            say.error(path, words);
        }
    }
}

/// What on the way to this place, as it is written and once links are followed, others than root can change.
pub(super) fn exposed(place: &Path, world: &dyn World) -> Option<PathBuf> {
    let real = world.real(place).unwrap_or_else(|| place.to_owned());
    let open =
        |at: &&Path| world.facts(at).is_some_and(|facts| facts.uid != 0 || facts.mode & 0o022 != 0);
    let found = place.ancestors().chain(real.ancestors()).find(open);
    found.map(Path::to_owned)
}
