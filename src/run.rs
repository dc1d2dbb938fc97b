//! From a checked configuration to a running root.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    panic::{self, AssertUnwindSafe},
    path::{self, Path},
    process::ExitCode,
    sync::OnceLock,
};

use nix::unistd::{Uid, dup2_stderr, dup2_stdout};

use crate::{
    broken,
    cli::{self, Outcome},
    config::{
        Config,
        check::{self, Severity},
        load::Effective,
        sections::Log,
        world::Machine,
    },
    os::process,
    root::{self, Setup, Way},
    telemetry::logs::{self, LogHandle, Output},
};

/// Runs jovis in this process until it is told to stop.
pub fn run(effective: Effective) -> ExitCode {
    let arguments: Vec<_> = arguments().into_iter().skip(1).collect();
    if effective.guarded {
        // What is named by a path from / stays what it is; nothing else lies where somebody else was.
        drop(env::set_current_dir("/"));
    }
    match set_up(effective, arguments) {
        Ok(setup) => root::run(setup),
        Err(code) => code,
    }
}

/// Is this process to take over from a root that is being upgraded? Then it does.
pub fn resumed() -> Option<ExitCode> {
    let (way, arguments) = Way::parse(&arguments())?;
    process::call("jovis");
    way.secure(&arguments);
    let resume = || {
        broken::act("root", !matches!(way, Way::Forth { .. }));
        let words = std::iter::once("jovis".to_owned()).chain(arguments.iter().cloned());
        let begun = match cli::main(words.map(OsString::from)) {
            Outcome::Run(effective) if way.is_rehearsal() => {
                Ok(setup(*effective, arguments.clone(), None))
            }
            Outcome::Run(effective) => set_up(*effective, arguments.clone()),
            Outcome::Exit(_) => return Err(way.fail("its configuration is refused", &arguments)),
        };
        match begun {
            Ok(setup) => root::resume(setup, &way, &arguments),
            Err(_) => Err(way.fail("its log cannot be opened", &arguments)),
        }
    };
    // A panic must not end the one process that everything else depends on.
    Some(match panic::catch_unwind(AssertUnwindSafe(resume)) {
        Ok(Ok(root)) => root.run(),
        Ok(Err(code)) => code,
        Err(_) => way.fail("it panicked", &arguments),
    })
}

fn arguments() -> Vec<String> {
    env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Opens the logs; what root is to be started with.
fn set_up(effective: Effective, arguments: Vec<String>) -> Result<Setup, ExitCode> {
    let config = effective.config.clone();
    let begun = process::open_standard().and_then(|()| direct(&config.log));
    let begun = begun.map_err(|error| error.to_string()).and_then(|_| {
        let logs = logs::init_root(&config.log, Output::Stderr);
        logs.map_err(|error| logs::chain(&error).to_string())
    });
    let logs = match begun {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("jovis: the log {} cannot be opened: {error}", config.log.file.display());
            return Err(ExitCode::from(78));
        }
    };
    Ok(setup(effective, arguments, Some(logs)))
}

fn setup(effective: Effective, arguments: Vec<String>, logs: Option<LogHandle>) -> Setup {
    let tapped = logs.clone();
    Setup {
        config: effective.config.clone(),
        file: effective.file.as_ref().and_then(|file| path::absolute(file).ok()),
        program: env::current_exe().unwrap_or_default(),
        arguments,
        reload: Box::new(move || reload(&effective)),
        tap: Box::new(move |to, filter| match &tapped {
            Some(logs) => logs.tap(to, filter.into()).map_err(|error| error.to_string()),
            None => Ok(()),
        }),
        relog: Box::new(move |log| logs.as_ref().map_or(Ok(None), |logs| relog(logs, log))),
    }
}

/// Standard output and error go to `log.file` from now on, our own and those of roles to come: that file. None set: they
/// stay as they are, or go back to what jovis was started with.
fn direct(log: &Log) -> io::Result<Option<OwnedFd>> {
    static FIRST: OnceLock<[OwnedFd; 2]> = OnceLock::new();
    if log.file.as_os_str().is_empty() {
        let Some([output, error]) = FIRST.get() else { return Ok(None) };
        dup2_stdout(output)?;
        dup2_stderr(error)?;
        return error.try_clone().map(Some);
    }
    let file = open(&log.file)?;
    if FIRST.get().is_none() {
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        let error = io::stderr().as_fd().try_clone_to_owned()?;
        FIRST.get_or_init(|| [output, error]);
    }
    dup2_stdout(&file)?;
    dup2_stderr(&file)?;
    Ok(Some(file.into()))
}

/// Opens the log to append to it: a plain file that has no other name, and no link, because root hands the descriptor to
/// roles without privilege. That nobody else can swap the folders on the way is the configuration's check.
fn open(file: &Path) -> io::Result<File> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let not_plain = || refuse("it is not a plain file with a single name".to_owned());
    let path = path::absolute(file)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return not_plain() };
    let (real, root) = (fs::canonicalize(folder)?, Uid::effective().is_root());
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(flags);
    let log = match options.open(real.join(name)) {
        // A link; a named pipe without a reader.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return not_plain();
        }
        log => log?,
    };
    let found = log.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return not_plain();
    }
    if root && found.uid() != 0 && fs::metadata(&real)?.mode() & 0o022 != 0 {
        return refuse(format!("user {} has put it there", found.uid()));
    }
    Ok(log)
}

/// New log settings, or the same file again after it was moved away.
fn relog(logs: &LogHandle, log: &Log) -> Result<Option<OwnedFd>, String> {
    let failed = |error: io::Error| format!("log.file {}: {error}", log.file.display());
    let file = direct(log).map_err(failed)?;
    if let Some(file) = &file {
        logs.set_output(file.try_clone().map_err(failed)?.into());
    }
    logs.follow(log).map_err(|error| error.to_string())?;
    Ok(file)
}

fn reload(effective: &Effective) -> Result<Config, Vec<String>> {
    let new = effective.reload().map_err(|error| vec![error.to_string()])?;
    let findings = check::check(&new, &Machine);
    if check::is_fatal(&findings) {
        let fatal = findings.iter().filter(|finding| finding.severity == Severity::Error);
        return Err(fatal.map(ToString::to_string).collect());
    }
    Ok(new.config)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn the_log_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for word in [b"one ", b"two "] {
            open(&path).unwrap().write_all(word).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two ");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o137, 0);
        assert!(open(&dir.path().join("none/log")).is_err());
    }

    #[test]
    fn what_is_not_a_plain_file_is_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "").unwrap();
        symlink(at("victim"), at("link")).unwrap();
        symlink(at("new"), at("dangling")).unwrap();
        fs::write(at("first"), "").unwrap();
        fs::hard_link(at("first"), at("second")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        mkfifo(&at("read pipe"), Mode::S_IRWXU).unwrap();
        // One that somebody reads.
        let _both = File::options().read(true).write(true).open(at("read pipe")).unwrap();
        for name in ["link", "dangling", "second", "pipe", "read pipe"] {
            let error = open(&at(name)).unwrap_err();
            assert!(error.to_string().contains("not a plain file"), "{name}: {error}");
        }
        assert!(!at("new").exists());
        assert!(open(Path::new("/")).is_err());
    }

    #[test]
    fn what_another_has_left_in_a_shared_folder_is_not_written_to() {
        if !Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "").unwrap();
        assert!(open(&log).is_ok());
        chown(&log, Some(65_534), None).unwrap();
        assert!(open(&log).is_err());
    }
}
