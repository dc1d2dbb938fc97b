//! `jovis backup`, of a store that no hub has open or by the hub that has; and `jovis restore`.

use std::{
    error::Error,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, chown},
    },
    path::{Path, PathBuf},
};

use clap::Args;
use nix::unistd::Uid;

use crate::{
    config::Config,
    os::{
        process,
        users::{self, Account},
    },
    store::{self, Summary},
    telemetry::chain,
};

/// What `jovis restore` is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Restore {
    /// A backup, a snapshot (`snapshots/N.snap` of a state directory), or the folder of a store.
    from: PathBuf,
    /// Only check it as a whole, and say what it holds.
    #[arg(long)]
    verify: bool,
    /// Add what the journal in this folder holds behind it (`journal` of a state directory, or a copy of one).
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// Of the journal, no change behind this one.
    #[arg(long, value_name = "CHANGE", requires = "journal")]
    to: Option<u64>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The exit code of a command.
pub(super) fn told<T>(outcome: Outcome<T>, err: &mut dyn Write) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(error) => {
            let _ = writeln!(err, "jovis: {}", chain(&*error));
            1
        }
    }
}

/// Now, as part of a file's name.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string()
}

/// A backup in the making: beside its place until it is whole.
#[derive(Debug)]
pub(super) struct Draft {
    beside: PathBuf,
    path: PathBuf,
    /// Empty, for its owner alone.
    pub(super) file: File,
}

impl Draft {
    /// For this file, which must not be there, or for a new one in this folder.
    pub(super) fn begin(to: &Path, hub: &str) -> Outcome<Self> {
        let path = if to.is_dir() {
            to.join(format!("jovis-{hub}-{}.backup", stamp()))
        } else {
            to.to_owned()
        };
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} is there already and stays as it is", path.display()).into());
        }
        let mut name = OsString::from(path.file_name().ok_or("a backup needs a name")?);
        name.push(".part");
        let beside = path.with_file_name(name);
        let failed = |error| format!("{}: {error}", beside.display());
        let file = store::create_backup(&beside).map_err(failed)?;
        Ok(Self { beside, path, file })
    }

    /// It is whole: it gets its name.
    pub(super) fn keep(self, summary: &Summary, out: &mut dyn Write) -> Outcome<()> {
        let failed = |error| format!("{}: {error}", self.path.display());
        // Unlike renaming, this does not replace what somebody else has put there meanwhile.
        fs::hard_link(&self.beside, &self.path).map_err(failed)?;
        fs::remove_file(&self.beside).map_err(failed)?;
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|it| it.sync_all())
            .map_err(failed)?;
        let _ = writeln!(out, "{}: {summary}", self.path.display());
        Ok(())
    }

    /// It is none.
    pub(super) fn drop_it(self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// `jovis backup` while no hub runs.
pub(super) fn backup(config: &Config, to: &Path, out: &mut dyn Write) -> Outcome<()> {
    let mut draft = Draft::begin(to, &config.hub.name)?;
    match store::offline(&std::path::absolute(&config.hub.state_dir)?, &mut draft.file) {
        Ok(summary) => draft.keep(&summary, out),
        Err(error) => {
            draft.drop_it();
            Err(error.into())
        }
    }
}

/// `jovis backup` while one runs: `ask` has the hub write into the file. Read back here, so that what gets the name is
/// whole whatever the hub says.
pub(super) fn backup_running(
    config: &Config,
    to: &Path,
    ask: impl FnOnce(OwnedFd) -> Result<(), String>,
    out: &mut dyn Write,
) -> Outcome<()> {
    let draft = Draft::begin(to, &config.hub.name)?;
    let written = draft.file.try_clone().map_err(|error| error.to_string());
    let held = written
        .and_then(|file| ask(file.into()))
        .and_then(|()| store::examine(&draft.beside).map_err(|error| chain(&error).to_string()));
    match held {
        Ok(held) => draft.keep(&held.summary, out),
        Err(why) => {
            draft.drop_it();
            Err(why.into())
        }
    }
}

/// `jovis restore`.
pub(super) fn restore(config: &Config, what: &Restore, out: &mut dyn Write) -> Outcome<()> {
    let mut held = store::examine(&what.from)?;
    if let Some(journal) = &what.journal {
        held = held.follow(journal, what.to)?;
    }
    let _ = writeln!(out, "{}: {}", what.from.display(), held.summary);
    let _ = writeln!(out, "whole and undamaged; checksum of all records {}", held.digest()?);
    if what.verify {
        return Ok(());
    }
    let state = std::path::absolute(&config.hub.state_dir)?;
    become_owner(config, &state)?;
    let aside = store::restore(&held, &state, &stamp())?;
    let _ = writeln!(out, "{}: restored", state.display());
    if let Some(aside) = aside {
        let _ = writeln!(out, "what was there before is in {}", aside.display());
    }
    Ok(())
}

/// Whoever owns the state directory (made if there is none) does the rest: root trusts nothing in it.
fn become_owner(config: &Config, state: &Path) -> Outcome<()> {
    let failed = |error: io::Error| format!("{}: {error}", state.display());
    match fs::DirBuilder::new().mode(0o700).create(state) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(error).into());
        }
        _ => {}
    }
    let we = Uid::effective().as_raw();
    let found = fs::symlink_metadata(state).map_err(failed)?;
    if !found.is_dir() {
        return Err(format!("{} is no folder", state.display()).into());
    }
    if we != 0 {
        return Ok(());
    }
    let owner = if found.uid() == 0 && fs::read_dir(state).map_err(failed)?.next().is_none() {
        let name = &config.root.hub_user;
        let hub = users::by_name(name)?
            .ok_or_else(|| format!("root.hub_user: there is no account {name:?}"))?;
        chown(state, Some(hub.uid), Some(hub.gid)).map_err(failed)?;
        hub
    } else {
        users::by_uid(found.uid())?.unwrap_or_else(|| Account {
            name: found.uid().to_string(),
            uid: found.uid(),
            gid: found.gid(),
            groups: vec![found.gid()],
            home: "/".into(),
            shell: "/bin/sh".into(),
        })
    };
    if owner.uid != 0 {
        process::become_account(&owner)
            .map_err(|error| format!("become {}: {error:?}", owner.name))?;
    }
    Ok(())
}
