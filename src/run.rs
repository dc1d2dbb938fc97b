//! From a checked configuration to a running root.

use std::{fs::OpenOptions, io, os::fd::OwnedFd, os::unix::fs::OpenOptionsExt, process::ExitCode};

use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::{
    config::{
        Config,
        check::{self, Severity},
        load::Effective,
        sections::Log,
        world::Machine,
    },
    os::process,
    root::{self, Setup},
    telemetry::logs::{self, LogHandle, Output},
};

/// Runs jovis in this process until it is told to stop.
pub fn run(effective: Effective) -> ExitCode {
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
            return ExitCode::from(78);
        }
    };
    root::run(Setup {
        config,
        reload: Box::new(move || reload(&effective)),
        relog: Box::new(move |log| relog(&logs, log)),
    })
}

/// Standard output and error go to `log.file` from now on, our own and those of roles to come: that file. None set: they
/// stay as they are.
fn direct(log: &Log) -> io::Result<Option<OwnedFd>> {
    if log.file.as_os_str().is_empty() {
        return Ok(None);
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&log.file)?;
    dup2_stdout(&file)?;
    dup2_stderr(&file)?;
    Ok(Some(file.into()))
}

/// New log settings, or the same file again after it was moved away.
fn relog(logs: &LogHandle, log: &Log) -> Result<Option<OwnedFd>, String> {
    let failed = |error: io::Error| format!("log.file {}: {error}", log.file.display());
    let file = direct(log).map_err(failed)?;
    if let Some(file) = &file {
        logs.set_output(file.try_clone().map_err(failed)?.into());
    }
    logs.set_level(&log.level).map_err(|error| error.to_string())?;
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
