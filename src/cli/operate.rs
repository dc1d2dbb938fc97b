//! Commands to a jovis that runs. They find it by the same configuration it was started with, and speak to its control
//! socket (`ipc/control.rs`).
//!
//! Exit codes: 0 done; 1 refused; 3 reloaded, but something waits for a restart; 69 no such jovis runs; 75 no answer in
//! time; 77 one may not; 78 the new configuration is wrong.

use std::{
    fs,
    io::{self, Write},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf, absolute},
    thread::sleep,
    time::{Duration, Instant},
};

use clap::{Subcommand, ValueEnum};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::Uid,
};
use serde_json::Value;

use super::{EXIT_CONFIG, status, store};
use crate::{
    config::{Config, Effective, load::DEFAULT_FILE, runtime},
    ipc::{
        control::{
            Answer, Filter, LONGEST_ANSWER, Part, Request, RootStatus, Servers, UpgradeStatus,
        },
        reload::ReloadReport,
    },
    os::{fd, packets, process},
};

/// Reloaded, but something waits for a restart.
const EXIT_NEEDS_RESTART: u8 = 3;
/// No such jovis runs (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;
/// No answer in time (`EX_TEMPFAIL`).
const EXIT_LATE: u8 = 75;
/// One may not (`EX_NOPERM`).
const EXIT_NOT_YOURS: u8 = 77;

/// How long root may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the hub may take over its half of the status.
const HUB: Duration = Duration::from_secs(2);
/// How long an upgrade may take: its trials, and going back.
const UPGRADED: Duration = Duration::from_secs(120);
/// How long a backup may take.
const BACKUP: Duration = Duration::from_secs(3600);
/// How long a role may take to drain, go and come again; `proxy.drain` can be long.
const REPLACED: Duration = Duration::from_secs(24 * 3600);

/// What can be asked of a running jovis.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Operate {
    /// Have the running jovis read its configuration again; says what became of it.
    Reload,
    /// Start a fresh process for the hub or the proxy; comes back when it serves. User servers stay.
    Restart {
        /// Which.
        role: Role,
    },
    /// Go over to another program while everything runs on; comes back when it serves, or the one of before does again.
    Upgrade {
        /// The new program; otherwise the file the running one was started from, as it is now.
        #[arg(value_name = "BINARY")]
        program: Option<PathBuf>,
    },
    /// End the running jovis; comes back when it is gone.
    Stop {
        /// What becomes of user servers; otherwise as `shutdown.servers` says.
        #[arg(long, value_name = "WHAT")]
        servers: Option<What>,
        /// At once: nothing is drained.
        #[arg(long)]
        now: bool,
    },
    /// Tell what happens in the running jovis as it happens: the events of all its processes, as far as they are logged.
    Events {
        /// Until interrupted; there is no other way yet.
        #[arg(short = 'F', long, required = true)]
        follow: bool,
        /// No lesser than error, warn, info, debug or trace.
        #[arg(long, value_name = "LEVEL")]
        level: Option<String>,
        /// Events of this name (several: any of them).
        #[arg(long, value_name = "NAME")]
        event: Vec<String>,
        /// Events about this user.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Events of this process (several: any of them).
        #[arg(long, value_name = "ROLE")]
        role: Vec<Teller>,
        /// As JSON, a line for each.
        #[arg(long)]
        json: bool,
    },
    /// Say how the running jovis is.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Roles that can be started anew alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Who decides.
    Hub,
    /// Who carries the bytes.
    Proxy,
}

/// Who tells events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Teller {
    /// The parent of all.
    Root,
    /// Who decides.
    Hub,
    /// Who carries the bytes.
    Proxy,
}

/// What becomes of user servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// They stay.
    Keep,
    /// They go too.
    Stop,
}

/// Why there is nobody to talk to, or nothing to hear: for people, with an exit code.
struct Failed(u8, String);

/// A conversation with a running jovis.
struct Talk(OwnedFd);

impl Talk {
    /// Asks the one that listens there.
    fn begin(socket: &Path, request: &Request, fds: &[OwnedFd]) -> io::Result<Self> {
        let link = packets::connect(socket, PATIENCE)?;
        let bytes = serde_json::to_vec(request).expect("a request is plain data");
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        match fd::send(link.as_fd(), &bytes, &fds) {
            // Sent away unheard: why, is there to be read.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(Self(link)),
        }
    }

    /// The next answer; none: nothing more comes.
    fn next(&self, until: Instant) -> io::Result<Option<Value>> {
        loop {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            let mut one = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut one, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            match fd::recv(self.0.as_fd(), LONGEST_ANSWER) {
                Ok((bytes, _)) if bytes.is_empty() => return Ok(None),
                Ok((bytes, _)) => return Ok(Some(serde_json::from_slice(&bytes)?)),
                Err(error) if fd::would_block(&error) => {}
                // It ended with something of ours unread: told once, before what it still said.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next answer, which must come.
    fn answer(&self, until: Instant) -> Result<Answer, Failed> {
        match self.next(until).map(|value| value.map(serde_json::from_value)) {
            Ok(Some(Ok(Answer::Refused { why }))) => Err(Failed(1, why)),
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(error))) => Err(Failed(1, format!("it answers something else: {error}"))),
            Ok(None) => Err(Failed(EXIT_LATE, "it went away without an answer".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(Failed(EXIT_LATE, "it does not answer in time".to_owned()))
            }
            Err(error) => Err(Failed(1, error.to_string())),
        }
    }
}

/// Waits for what comes of an upgrade. Root does not answer while it goes over, so it is asked again and again.
fn upgraded(socket: &Path, out: &mut dyn Write) -> Result<u8, Failed> {
    let until = Instant::now() + UPGRADED;
    while Instant::now() < until {
        sleep(Duration::from_millis(100));
        let Ok(talk) = Talk::begin(socket, &Request::Status, &[]) else { continue };
        let Ok(Answer::Root(root)) = talk.answer(Instant::now() + Duration::from_secs(2)) else {
            continue;
        };
        match root.upgrade {
            UpgradeStatus { under_way: true, .. } => {}
            UpgradeStatus { refused: Some(why), .. } => return Err(Failed(1, why)),
            UpgradeStatus { done: Some(version), .. } => {
                let _ = writeln!(out, "upgraded: {version} serves");
                return Ok(0);
            }
            UpgradeStatus { .. } => {}
        }
    }
    Err(Failed(
        EXIT_LATE,
        "it is not known what came of the upgrade: ask for the status".to_owned(),
    ))
}

/// Does it; the exit code.
pub(super) fn run(
    operate: &Operate,
    named: Option<&Path>,
    loaded: Result<Effective, String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let done = locate(named, loaded).and_then(|socket| act(operate, &socket, out));
    done.unwrap_or_else(|Failed(code, why)| {
        let _ = writeln!(err, "jovis: {}", plain(&why));
        code
    })
}

fn act(operate: &Operate, socket: &Path, out: &mut dyn Write) -> Result<u8, Failed> {
    let ask = |request: &Request| {
        Talk::begin(socket, request, &[]).map_err(|error| unreachable(socket, &error))
    };
    match operate {
        Operate::Reload => match ask(&Request::Reload)?.answer(Instant::now() + PATIENCE)? {
            Answer::Reloaded(outcome) => Ok(told(&outcome, out)),
            other => Err(unexpected(&other)),
        },
        Operate::Restart { role } => {
            let role = match role {
                Role::Hub => Part::Hub,
                Role::Proxy => Part::Proxy,
            };
            ask(&Request::Restart { role })?.answer(Instant::now() + REPLACED)?;
            let _ = writeln!(out, "restarted");
            Ok(0)
        }
        Operate::Upgrade { program } => {
            let program = program.as_deref().map(absolute).transpose();
            let program = program.map_err(|error| Failed(1, error.to_string()))?;
            ask(&Request::Upgrade { program })?.answer(Instant::now() + PATIENCE)?;
            upgraded(socket, out)
        }
        Operate::Stop { servers, now } => {
            let servers = match servers {
                None => Servers::Default,
                Some(What::Keep) => Servers::Keep,
                Some(What::Stop) => Servers::Stop,
            };
            let talk = ask(&Request::Stop { servers, now: *now })?;
            let root = packets::listening_process(talk.0.as_fd()).ok();
            let root = root.and_then(|pid| Some((pid, process::stat(pid)?.since)));
            talk.answer(Instant::now() + PATIENCE)?;
            // The end of the link is root's end; only the shutdown's own limits bound it.
            while talk.next(Instant::now() + REPLACED).is_ok_and(|more| more.is_some()) {}
            // Its descriptors go a moment before it does.
            let lives = |(pid, since)| {
                process::stat(pid).is_some_and(|stat| stat.since == since && !stat.ended)
            };
            let until = Instant::now() + PATIENCE;
            while root.is_some_and(lives) && Instant::now() < until {
                sleep(Duration::from_millis(5));
            }
            let _ = writeln!(out, "stopped");
            Ok(0)
        }
        Operate::Events { follow: _, level, event, user, role, json } => {
            let fields = user.iter().map(|name| ("user".to_owned(), name.clone())).collect();
            let filter = Filter { level: level.clone(), events: event.clone(), fields };
            let part = |teller: &Teller| match teller {
                Teller::Root => Part::Root,
                Teller::Hub => Part::Hub,
                Teller::Proxy => Part::Proxy,
            };
            let roles = role.iter().map(part).collect();
            follow(&ask(&Request::Events { roles, filter })?, *json, out)
        }
        Operate::Status { json } => {
            let talk = ask(&Request::Status)?;
            let Answer::Root(root) = talk.answer(Instant::now() + PATIENCE)? else {
                return Err(Failed(1, "root says something else".to_owned()));
            };
            if !json {
                status::root(&root, out);
            }
            let hub = talk.answer(Instant::now() + HUB).map_err(|Failed(_, why)| why);
            match json {
                true => status::json(&root, &hub, out),
                false => status::hub(&hub, out),
            }
            Ok(if hub.is_ok() { 0 } else { EXIT_LATE })
        }
    }
}

/// Passes on what is told, until jovis is gone or nobody reads any more.
fn follow(talk: &Talk, json: bool, out: &mut dyn Write) -> Result<u8, Failed> {
    loop {
        let event = match talk.next(Instant::now() + PATIENCE) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
            Err(error) => return Err(Failed(1, error.to_string())),
            Ok(None) => return Err(Failed(EXIT_UNAVAILABLE, "jovis is gone".to_owned())),
            Ok(Some(event)) => event,
        };
        if let (Some("refused"), Some(why)) = (event["answer"].as_str(), event["why"].as_str()) {
            return Err(Failed(1, why.to_owned()));
        }
        let line = if json { event.to_string() } else { plain(&sentence(&event)) };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return Ok(0);
        }
    }
}

/// An event as a line of the log for people.
fn sentence(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("?");
    let mut line = format!("{} {} {}: ", text("time"), text("level"), text("role"));
    line.push_str(text("event"));
    let known = ["time", "level", "role", "target", "event"];
    let fields = event.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !known.contains(&name.as_str())) {
        line.push_str(&format!(" {name}={value}"));
    }
    line.replace('\n', "\\n")
}

/// `jovis backup`: by the hub that has the store open, or of the files where none has.
pub(super) fn backup(config: &Config, to: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let socket = match socket(config) {
        Ok(socket) => socket,
        Err(Failed(code, why)) => {
            let _ = writeln!(err, "jovis: {}", plain(&why));
            return code;
        }
    };
    // Who connects and says nothing is no trouble to it.
    let outcome = match packets::connect(&socket, PATIENCE) {
        Ok(_) => store::backup_running(config, to, |file| by_hub(&socket, file), out),
        Err(_) => store::backup(config, to, out),
    };
    store::told(outcome, err)
}

fn by_hub(socket: &Path, file: OwnedFd) -> Result<(), String> {
    let talk = Talk::begin(socket, &Request::Backup, &[file]).map_err(|error| error.to_string())?;
    match talk.answer(Instant::now() + BACKUP).map_err(|Failed(_, why)| why)? {
        Answer::BackedUp { .. } => Ok(()),
        other => Err(unexpected(&other).1),
    }
}

/// What came of a reload, for people; the exit code.
fn told(report: &ReloadReport, out: &mut dyn Write) -> u8 {
    status::reloaded(report, out);
    match report {
        ReloadReport { refused: true, .. } => EXIT_CONFIG,
        ReloadReport { findings, .. } if !findings.is_empty() => 1,
        ReloadReport { needs_restart, .. } if !needs_restart.is_empty() => EXIT_NEEDS_RESTART,
        _ => 0,
    }
}

fn unexpected(answer: &Answer) -> Failed {
    Failed(1, format!("it answers something else: {answer:?}"))
}

fn unreachable(socket: &Path, error: &io::Error) -> Failed {
    let name = socket.parent().and_then(Path::file_name).unwrap_or_default().display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let at = socket.display();
            Failed(EXIT_UNAVAILABLE, format!("no jovis named {name} is running (nobody at {at})"))
        }
        io::ErrorKind::PermissionDenied => {
            let why = "belongs to another account: only root, and who started it, may";
            Failed(EXIT_NOT_YOURS, format!("jovis {name} {why}"))
        }
        _ => Failed(1, format!("{}: {error}", socket.display())),
    }
}

/// Where the control socket of the jovis with this configuration is.
fn socket(config: &Config) -> Result<PathBuf, Failed> {
    let privileged = Uid::effective().is_root();
    let found = absolute(&config.hub.state_dir).map_err(|error| error.to_string());
    let found = found.and_then(|state| runtime::directory(config, privileged, &state));
    found.map(|dir| dir.join(runtime::CONTROL)).map_err(|why| Failed(EXIT_CONFIG, why))
}

/// The control socket of the jovis with this configuration. A file that is wrong by now, as it may well be before
/// `reload`, does not tell the name any more: then it is the running jovis that was started with this file.
fn locate(named: Option<&Path>, loaded: Result<Effective, String>) -> Result<PathBuf, Failed> {
    let privileged = Uid::effective().is_root();
    let wrong = match loaded {
        Ok(effective) => return socket(&effective.config),
        Err(wrong) => Failed(EXIT_CONFIG, wrong.trim_end().to_owned()),
    };
    let Ok(file) = absolute(named.unwrap_or(Path::new(DEFAULT_FILE))) else { return Err(wrong) };
    let folders = runtime::folder(privileged).and_then(|folder| fs::read_dir(folder).ok());
    let sockets =
        folders.into_iter().flatten().flatten().map(|it| it.path().join(runtime::CONTROL));
    let ours = |socket: &PathBuf| with_file(socket).is_some_and(|theirs| theirs == file);
    sockets.into_iter().find(ours).ok_or(wrong)
}

/// The file of the jovis that listens there.
fn with_file(socket: &Path) -> Option<PathBuf> {
    let talk = Talk::begin(socket, &Request::Status, &[]).ok()?;
    match talk.answer(Instant::now() + HUB) {
        Ok(Answer::Root(RootStatus { file, .. })) => file,
        _ => None,
    }
}

/// Nothing in it moves a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    let one = |c: char| match c {
        '\n' | ' '..='~' => c.to_string(),
        c if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
            c.escape_default().to_string()
        }
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

/// A value's name as it stands in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("?").to_owned()
}
