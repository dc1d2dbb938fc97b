//! Upgrade in place: another program takes over as root, then as hub, then as proxy, and people notice nothing. What
//! does not prove itself on the way is undone.
//!
//! ```text
//!   asked ─ rehearsal ─ store ─ exec ║ new root: hub replaced ─ proxy replaced ─ done
//!             │          │       │   ║   │ takeover fails, │ hub or proxy ends twice, or is late
//!             └─ refused ┴───────┘   ║   └───── exec ◀─────┘ of the program before, which replaces the hub again
//! ```
//!
//! The rehearsal is a child: the new program reads the configuration and takes over copies of everything we have, as it
//! will when it is us, and leaves. A second child, as the hub's account, reads the store. So what can be wrong with a
//! program shows while nothing depends on it. `reexec.rs` is the exec itself.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jovis_actors::ports::Exit;
use tracing::{error, info};

use super::{birth, events::Root, notify, reexec::Way, roles::Role, shutdown::Stage};
use crate::{
    ipc::{control::UpgradeStatus, root::RootSays},
    os::{
        fd,
        process::{self, StepFailed},
        reexec,
    },
};

/// How long the checks of a new program may take together.
const TRIAL: Duration = Duration::from_secs(8);
/// How long a hub that was told to go may take.
const LEAVING: Duration = Duration::from_secs(4);
/// From then on: how long until the new hub serves.
const HUB: Duration = Duration::from_secs(8);
/// Most of what a rehearsal says that is kept.
const SAID: usize = 4096;
/// A new hub or proxy may fail once: it may be chance.
const CHANCES: u32 = 2;

/// Where an upgrade stands.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    trial: Option<Trial>,
    after: Option<After>,
    /// What became of the last one: which version runs since, or why it does not.
    pub(super) last: Option<Result<String, String>>,
}

/// A program that is being tried.
#[derive(Debug)]
struct Trial {
    program: OwnedFd,
    path: PathBuf,
    pid: i32,
    /// Until it has become the program.
    report: OwnedFd,
    /// What it says.
    output: OwnedFd,
    said: Vec<u8>,
    until: Instant,
    store: bool,
}

/// We are the new program.
#[derive(Debug)]
struct After {
    /// The one before.
    kept: OwnedFd,
    path: PathBuf,
    env: Vec<(String, String)>,
    from: String,
    began: Instant,
    step: Step,
    failures: u32,
}

#[derive(Debug)]
enum Step {
    /// The hub of the program before goes, ours comes.
    Hub { before: Option<i32>, seen: Option<i32>, until: Instant },
    /// A proxy of ours takes over.
    Proxy,
}

impl Upgrade {
    /// What to poll.
    pub(super) fn interest(&self) -> Option<BorrowedFd<'_>> {
        self.trial.as_ref().map(|trial| trial.output.as_fd())
    }

    /// Is one under way?
    pub(super) fn busy(&self) -> bool {
        self.trial.is_some() || self.after.is_some()
    }

    /// For operators.
    pub(super) fn status(&self) -> UpgradeStatus {
        let last = self.last.as_ref();
        UpgradeStatus {
            under_way: self.busy(),
            done: last.and_then(|last| last.as_ref().ok()).cloned(),
            refused: last.and_then(|last| last.as_ref().err()).cloned(),
        }
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let trial = self.trial.as_ref().map(|trial| trial.until);
        let hub = self.after.as_ref().and_then(|after| match &after.step {
            Step::Hub { until, .. } => Some(*until),
            Step::Proxy => None,
        });
        trial.into_iter().chain(hub).min()
    }
}

impl Root {
    /// Begins an upgrade to the program at this path (none: where we were started from). What becomes of it is in
    /// `Upgrade::last`, and in the log.
    pub(super) fn upgrade(&mut self, path: Option<&Path>, now: Instant) -> Result<(), String> {
        let path = path.unwrap_or(&self.setup.program).to_owned();
        let begun = self.try_upgrade(&path, now);
        if let Err(why) = &begun {
            error!(program = %path.display(), why, "upgrade refused");
            self.upgrade.last = Some(Err(why.clone()));
        }
        begun
    }

    fn try_upgrade(&mut self, path: &Path, now: Instant) -> Result<(), String> {
        if self.stage != Stage::Serving || self.upgrade.busy() {
            return Err("jovis is ending, or an upgrade is under way".to_owned());
        }
        let program = open(path).map_err(|error| error.to_string())?;
        info!(program = %path.display(), now = env!("CARGO_PKG_VERSION"), "upgrade begun");
        self.upgrade.last = None;
        self.begin_trial(program, path.to_owned(), now + TRIAL, false)
    }

    fn begin_trial(
        &mut self,
        program: OwnedFd,
        path: PathBuf,
        until: Instant,
        store: bool,
    ) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let (output, writer) = fd::pipe().map_err(failed)?;
        fd::set_nonblocking(output.as_fd(), true).map_err(failed)?;
        let (baggage, mut keep) =
            self.pack(&[program.as_fd()], (&path, &self.setup.program)).map_err(failed)?;
        let mut argv = Way::Rehearsal { state: baggage_number(&baggage) }.words();
        argv.extend(self.setup.arguments.clone());
        keep.push(baggage_number(&baggage));
        let env: Vec<_> = self.setting.env.clone().into_iter().collect();
        let we = (&self.accounts.0, self.setting.we.privileged);
        let place = reexec::path(program.as_fd());
        let act = || match store {
            false => birth::rehearsal(&place, &argv, &env, &keep, &writer),
            true => birth::trial(program.as_fd(), we, self.state.as_fd(), &writer),
        };
        let (forked, ()) = birth::fork(|_| Ok(()), act).map_err(failed)?;
        let (pid, report, said) = (forked.pid, forked.report, Vec::new());
        let trial = Trial { program, path, pid, report, output, said, until, store };
        self.upgrade.trial = Some(trial);
        Ok(())
    }

    /// A child has ended that may be the one that is tried.
    pub(super) fn trial_ended(&mut self, pid: i32, exit: Exit) {
        let Some(mut trial) = self.upgrade.trial.take_if(|trial| trial.pid == pid) else { return };
        trial.listen();
        let outcome = match (birth::outcome(&trial.report), exit) {
            (Some(Err(RootSays::Failed { step, errno })), _) => {
                Err(format!("it does not start: {}", StepFailed { step, errno }))
            }
            (Some(Err(why)), _) => Err(format!("it does not start: {why:?}")),
            (_, Exit::Code(0)) => Ok(()),
            (_, exit) => Err(format!("{}{exit:?}", trial.words())),
        };
        let next = match outcome {
            Err(why) => Err(why),
            Ok(()) if !trial.store => {
                self.begin_trial(trial.program, trial.path.clone(), trial.until, true)
            }
            Ok(()) => Err(self.go(trial.program.as_fd(), &trial.path)),
        };
        if let Err(why) = next {
            error!(program = %trial.path.display(), why, "upgrade refused");
            self.upgrade.last = Some(Err(why));
        }
    }

    /// Goes on with what is under way.
    pub(super) fn tend_upgrade(&mut self, now: Instant) {
        if let Some(trial) = &mut self.upgrade.trial {
            trial.listen();
        }
        if let Some(trial) = self.upgrade.trial.take_if(|trial| now >= trial.until) {
            // Not reaped: the number is still its own.
            process::kill_child(trial.pid);
            let why = format!("{}no answer within {} s", trial.words(), TRIAL.as_secs());
            error!(program = %trial.path.display(), why, "upgrade refused");
            self.upgrade.last = Some(Err(why));
        }
        let Some(after) = &mut self.upgrade.after else { return };
        let mut failed = None;
        match &mut after.step {
            Step::Hub { before, seen, until } => {
                let current = self.hub.process.as_ref().map(|process| process.pid);
                let ours = current.filter(|pid| Some(*pid) != *before);
                if seen.is_some() && *seen != ours {
                    after.failures += 1;
                }
                *seen = ours.or(*seen).filter(|_| ours.is_some());
                if ours.is_some() && self.hub.is_ready() {
                    (after.step, after.failures) = (Step::Proxy, 0);
                    if let Err(error) = self.replace_proxy(now) {
                        failed = Some(format!("no proxy could be started: {error}"));
                    }
                } else if after.failures >= CHANCES {
                    failed = Some(format!("the hub ended {CHANCES} times before it served"));
                } else if now >= *until {
                    failed = Some(format!("the hub did not serve within {} s", HUB.as_secs()));
                }
            }
            Step::Proxy => match self.generations.outcome.take() {
                None => {}
                Some(Ok(())) => return self.upgraded(now),
                Some(Err(why)) if why == super::generations::ENDED => {
                    after.failures += 1;
                    if after.failures >= CHANCES {
                        failed = Some(format!("the proxy ended {CHANCES} times before it served"));
                    } else if let Err(error) = self.replace_proxy(now) {
                        failed = Some(format!("no proxy could be started: {error}"));
                    }
                }
                Some(Err(why)) => failed = Some(format!("the proxy: {why}")),
            },
        }
        if let Some(why) = failed {
            self.roll_back(&why);
        }
    }

    fn upgraded(&mut self, now: Instant) {
        let Some(After { from, began, .. }) = self.upgrade.after.take() else { return };
        let took_ms = super::baggage::millis(now.duration_since(began));
        let to = env!("CARGO_PKG_VERSION");
        info!(was = from, now = to, took_ms, "upgrade done");
        self.upgrade.last = Some(Ok(to.to_owned()));
        // What has changed in the file; ends with telling systemd that we are ready.
        self.begin_reload(None);
    }

    /// The program before shall be us again.
    fn roll_back(&mut self, why: &str) {
        let Some(after) = self.upgrade.after.take() else { return };
        error!(why, was = %after.from, "upgrade rolls back");
        self.generations.give_up("the upgrade is rolled back");
        if let (Some(hub), false) = (&self.hub.process, self.hub.is_ready()) {
            hub.kill();
        }
        let back = |state| Way::Back { state, why: why.to_owned() };
        let paths = (&*self.setup.program, &*after.path);
        let failed = self.exec(&[after.kept.as_fd()], paths, &after.env, back);
        // Better this program than none.
        error!(error = %failed, "upgrade stays as it is");
        self.upgrade.last = Some(Err(why.to_owned()));
    }

    /// We are the new program: what was begun goes on.
    pub(super) fn arrived(
        &mut self,
        (kept, path, env): (OwnedFd, PathBuf, Vec<(String, String)>),
        from: String,
        now: Instant,
    ) {
        info!(was = from, now = env!("CARGO_PKG_VERSION"), "root replaced");
        let before = self.hub.process.as_ref().map(|process| process.pid);
        let step = Step::Hub { before, seen: None, until: now + HUB };
        self.upgrade.after = Some(After { kept, path, env, from, began: now, step, failures: 0 });
        retire(&mut self.hub, now);
    }

    /// We are the program before, again.
    pub(super) fn returned(&mut self, why: &str, now: Instant) {
        error!(why, now = env!("CARGO_PKG_VERSION"), "upgrade rolled back");
        self.upgrade.last = Some(Err(why.to_owned()));
        notify("READY=1");
        retire(&mut self.hub, now);
    }
}

/// This hub goes, and another one comes as soon as it has gone.
fn retire(hub: &mut Role, now: Instant) {
    hub.say(None, RootSays::Retire, Vec::new());
    hub.leaves(now + LEAVING);
}

fn baggage_number(baggage: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    baggage.as_raw_fd()
}

/// A program that only root could have put there: it will be root.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    let ours = found.uid() == 0 || found.uid() == nix::unistd::geteuid().as_raw();
    if !found.is_file() || !ours || found.mode() & 0o022 != 0 {
        let what = "it is no plain file that nobody else can write to";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(file.into())
}

impl Trial {
    /// Reads what it has said.
    fn listen(&mut self) {
        let mut bytes = [0; 1024];
        let Ok(copy) = self.output.try_clone() else { return };
        let mut output = File::from(copy);
        while let Ok(size @ 1..) = output.read(&mut bytes) {
            let room = SAID.saturating_sub(self.said.len());
            self.said.extend(&bytes[..size.min(room)]);
        }
    }

    /// What it has said, for a log.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.said).trim().replace('\n', "; ");
        if text.is_empty() { text } else { text + ": " }
    }
}
