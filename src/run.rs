//! From a checked configuration to a running root.

use std::{
    env, fs::OpenOptions, os::fd::BorrowedFd, os::unix::fs::OpenOptionsExt, process::ExitCode,
};

use crate::{
    config::{
        Config,
        check::{self, Severity},
        load::Effective,
        secret,
        world::Machine,
    },
    root::{self, Secrets, Setup},
    telemetry::logs::{self, Output},
};

/// The variable that holds the key that signs cookies, in hex; goes before the file.
const COOKIE_SECRET: &str = "JPY_COOKIE_SECRET";

/// Runs jovis in this process until it is told to stop.
pub fn run(effective: Effective) -> ExitCode {
    let log = &effective.config.log;
    let output = if log.file.as_os_str().is_empty() {
        Ok(Output::Stderr)
    } else {
        let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(&log.file);
        opened.map(Output::File)
    };
    let started = output.map_err(|error| error.to_string()).and_then(|output| {
        logs::init_root(log, output).map_err(|error| logs::chain(&error).to_string())
    });
    if let Err(error) = started {
        eprintln!("jovis: the log cannot be opened: {error}");
        return ExitCode::from(78);
    }
    let config = effective.config.clone();
    root::run(Setup {
        config,
        reload: Box::new(move || reload(&effective)),
        secrets: Box::new(secrets),
    })
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

fn secrets(config: &Config, state: BorrowedFd<'_>) -> Result<Secrets, String> {
    let said = |error: secret::SecretError| logs::chain(&error).to_string();
    let variable = env::var_os(COOKIE_SECRET);
    let cookie_secret =
        secret::cookie_secret(variable.as_deref(), &config.hub, state).map_err(said)?;
    let tls = secret::tls(&config.hub).map_err(said)?;
    let (certificate, key) = match tls {
        Some(tls) => (tls.certificate, tls.key),
        None => (Vec::new(), jovis_actors::domain::Secret::new(Vec::new())),
    };
    Ok(Secrets { cookie_secret, certificate, key })
}
