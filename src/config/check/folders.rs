//! The folders in which root opens files by name: who can write into one can put a link in the file's place.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{Say, Severity};
use crate::config::{Config, sections::SpawnerClass, world::World};

/// Who but root can change what is in a folder, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    Owner,
    Anybody,
    /// A group one of our own accounts is in.
    OurGroup,
    /// A group of other accounts, as `/var/log` has on some systems.
    OtherGroup,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "does not belong to root",
            Self::Anybody => "can be written into by everybody",
            Self::OurGroup => "can be written into by a group of the hub's or a server's account",
            Self::OtherGroup => "can be written into by a group",
        })
    }
}

/// Says for each file that root opens by its name whether somebody else could swap it: for the log, which root writes,
/// that is an error; for certificate and key, which it reads, a warning.
pub(super) fn of_roots_files(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    if !world.is_root() {
        return;
    }
    let mut accounts = vec![config.root.hub_user.as_str(), config.root.proxy_user.as_str()];
    if let SpawnerClass::Simple(simple) = &config.spawner.class {
        accounts.push(&simple.user);
    }
    let mut files = vec![
        ("log.file", &config.log.file, Severity::Error),
        ("hub.ssl_key", &config.hub.ssl_key, Severity::Warning),
        ("hub.ssl_cert", &config.hub.ssl_cert, Severity::Warning),
        ("proxy.client_ca", &config.proxy.client_ca, Severity::Warning),
        ("proxy.acme.directory_ca", &config.proxy.acme.directory_ca, Severity::Warning),
    ];
    for one in &config.proxy.certificates {
        files.extend([&one.cert, &one.key].map(|it| ("proxy.certificates", it, Severity::Warning)));
    }
    for (path, file, worst) in files {
        let Some((writer, folder)) = exposed(file, &accounts, world) else { continue };
        let severity = if writer == Writer::OtherGroup { Severity::Warning } else { worst };
        let words = format!(
            "the folder {} {writer}: {} could be swapped for a link there, and root would follow it; take folders \
             that belong to root and that nobody else can write into",
            folder.display(),
            file.display()
        );
        say.add(severity, path, words);
    }
}

/// The folder on the way to this file that is the least safe, if any is not safe. Looks at the way as it is written and
/// as it is once links are followed.
fn exposed(file: &Path, accounts: &[&str], world: &dyn World) -> Option<(Writer, PathBuf)> {
    if file.as_os_str().is_empty() {
        return None;
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let real = [world.real(folder), world.real(file).and_then(|it| Some(it.parent()?.to_owned()))];
    [Some(folder.to_owned())]
        .into_iter()
        .chain(real)
        .flatten()
        .flat_map(|way| way.ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .filter_map(|folder| Some((writer(&folder, accounts, world)?, folder)))
        .min_by_key(|(writer, _)| *writer)
}

fn writer(folder: &Path, accounts: &[&str], world: &dyn World) -> Option<Writer> {
    let facts = world.facts(folder)?;
    if facts.uid != 0 {
        Some(Writer::Owner)
    } else if facts.mode & 0o1000 != 0 {
        // Sticky, as /tmp: nobody replaces what is root's, and what is another's root does not write to.
        None
    } else if facts.mode & 0o002 != 0 {
        Some(Writer::Anybody)
    } else if facts.mode & 0o020 == 0 {
        None
    } else if accounts.iter().any(|account| world.shares_group(account, folder)) {
        Some(Writer::OurGroup)
    } else {
        Some(Writer::OtherGroup)
    }
}
