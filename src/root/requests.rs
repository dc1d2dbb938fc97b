//! What the hub and the proxy say, and what is done about it. Whether it may be done is [`policy`]'s word.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use jovis_actors::domain::{OrderId, ServerName, Username};
use nix::{
    sys::signal::{Signal, kill as send},
    unistd::Pid,
};
use tracing::{info, warn};

use super::{
    birth::{self, Report},
    children::{self, Entry},
    events::{Root, kill},
    policy::{self, Refusal},
    roles::Kind,
    shutdown::Stage,
};
use crate::{
    ipc::{
        Envelope, frame,
        root::{HubSays, ProxyToRoot, ReloadOutcome, RootSays, SignalKind},
    },
    os::process,
};

/// How long a child may take from fork to exec: looking up an account may ask a directory.
const BIRTH: Duration = Duration::from_secs(10);

/// A server between fork and exec.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) order: OrderId,
    pub(super) report: OwnedFd,
    pub(super) until: Instant,
    /// Requests that wait for the outcome.
    pub(super) asked: Vec<Option<u64>>,
}

impl Root {
    /// Does what the hub says. An error ends the hub.
    pub(super) fn hub_said(
        &mut self,
        said: Envelope<HubSays>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let (now, id) = (Instant::now(), said.id);
        let Some(process) = &mut self.hub.process else { return Ok(()) };
        let answer = match said.message {
            HubSays::Hello(hello) => return process.greet(&hello, Kind::Hub),
            _ if !process.greeted => return Err("spoke before its Hello".to_owned()),
            HubSays::Pong => {
                process.ponged(now);
                return Ok(());
            }
            HubSays::Ready => {
                self.hub.became_ready(now);
                return Ok(());
            }
            HubSays::Reloaded(outcome) => {
                reloaded(Kind::Hub, &outcome);
                return Ok(());
            }
            HubSays::Children => {
                let list = frame::seal(&self.children.list()).map_err(|error| error.to_string())?;
                self.hub.say(id, RootSays::Children, vec![list]);
                return Ok(());
            }
            HubSays::Spawn { order, user, server, env, holes } => {
                match self.spawn(id, &order, &user, &server, (env, holes), fds) {
                    Ok(None) => return Ok(()),
                    Ok(Some(answer)) => answer,
                    Err(Refusal(why)) => {
                        warn!(%order, %user, %server, %why, "request denied");
                        RootSays::Denied { why }
                    }
                }
            }
            HubSays::Signal { order, how } => self.signal(&order, how),
            HubSays::Forget { order } => match self.children.entries.get(&order) {
                Some(entry) if entry.exit.is_none() => {
                    warn!(%order, why = "it lives", "request denied");
                    RootSays::Denied { why: "it lives".to_owned() }
                }
                _ => {
                    self.children.forget(&order);
                    RootSays::Done
                }
            },
            HubSays::Pam { user, rhost } => match self.check(id, user, rhost, fds, now) {
                Ok(()) => return Ok(()),
                Err(Refusal(why)) => {
                    warn!(%why, "request denied");
                    RootSays::Denied { why }
                }
            },
        };
        self.hub.say(id, answer, Vec::new());
        Ok(())
    }

    /// Does what the proxy says. An error ends it.
    pub(super) fn proxy_said(&mut self, said: ProxyToRoot) -> Result<(), String> {
        let now = Instant::now();
        let Some(process) = &mut self.proxy.process else { return Ok(()) };
        match said {
            ProxyToRoot::Hello(hello) => return process.greet(&hello, Kind::Proxy),
            _ if !process.greeted => return Err("spoke before its Hello".to_owned()),
            ProxyToRoot::Ready => self.proxy.became_ready(now),
            ProxyToRoot::Pong => process.ponged(now),
            ProxyToRoot::Reloaded(outcome) => reloaded(Kind::Proxy, &outcome),
        }
        Ok(())
    }

    /// Starts a server, or says what became of an order we know. No answer yet: it follows with the birth.
    fn spawn(
        &mut self,
        id: Option<u64>,
        order: &OrderId,
        user: &Username,
        server: &ServerName,
        (env, holes): (BTreeMap<String, String>, BTreeMap<String, String>),
        fds: Vec<OwnedFd>,
    ) -> Result<Option<RootSays>, Refusal> {
        if let Some(birth) = self.births.iter_mut().find(|birth| birth.order == *order) {
            birth.asked.push(id);
            return Ok(None);
        }
        if let Some(Entry { pid, exit, .. }) = self.children.entries.get(order) {
            let (pid, exit) = (*pid, *exit);
            self.hub.say(id, RootSays::Spawned { order: order.clone(), pid }, Vec::new());
            if let Some(exit) = exit {
                self.hub.say(None, RootSays::Exited { order: order.clone(), exit }, Vec::new());
            }
            return Ok(None);
        }
        if self.stage != Stage::Serving {
            return Err(Refusal("jovis is ending".to_owned()));
        }
        let config = &self.setup.config;
        let privileged = self.setting.we.privileged;
        let living = self.children.living();
        let plan = policy::spawn(config, privileged, living, user, env, &holes)?;
        let log = fds.into_iter().next();
        let log = log.ok_or_else(|| Refusal("no log file came with it".to_owned()))?;
        let (min_uid, env_keep) = (config.root.min_uid, &config.spawner.env_keep);
        let born = birth::server(&plan, min_uid, &self.setting, env_keep, &log)
            .and_then(|forked| Ok((process::pidfd(forked.pid)?, forked)));
        let (pidfd, forked) = match born {
            Ok(born) => born,
            Err(error) => {
                warn!(%user, %server, %order, %error, "server not started");
                let (step, errno) = ("fork".to_owned(), process::errno(&error) as i32);
                return Ok(Some(RootSays::Failed { step, errno }));
            }
        };
        let pid = forked.pid;
        let since = process::stat(pid).map_or(0, |stat| stat.since);
        let entry = Entry {
            pid,
            since,
            uid: None,
            user: user.as_str().to_owned(),
            exit: None,
            pidfd: Some(pidfd),
            adopted: false,
        };
        self.children.born(order, entry);
        let until = Instant::now() + BIRTH;
        self.births.push(Birth {
            order: order.clone(),
            report: forked.report,
            until,
            asked: vec![id],
        });
        Ok(None)
    }

    /// Answers for births that are over, one way or the other.
    pub(super) fn look_after_births(&mut self, now: Instant) {
        let mut over = Vec::new();
        let mut index = 0;
        while let Some(birth) = self.births.get(index) {
            let late = Report::Failed { step: "start in time".to_owned(), errno: libc::ETIMEDOUT };
            match birth::outcome(&birth.report) {
                Some(outcome) => over.push((self.births.swap_remove(index), outcome)),
                None if now >= birth.until => {
                    over.push((self.births.swap_remove(index), Err(late)))
                }
                None => index += 1,
            }
        }
        for (Birth { order, asked, .. }, outcome) in over {
            let Some(Entry { pid, user, pidfd, .. }) = self.children.entries.get(&order) else {
                continue;
            };
            let answer = match outcome {
                Ok(()) => {
                    info!(%user, %order, pid, "server started");
                    RootSays::Spawned { order: order.clone(), pid: *pid }
                }
                Err(report) => {
                    warn!(%user, %order, pid, ?report, "server not started");
                    drop(kill(pidfd.as_ref(), libc::SIGKILL));
                    match report {
                        Report::Denied(why) => RootSays::Denied { why },
                        Report::Failed { step, errno } => RootSays::Failed { step, errno },
                    }
                }
            };
            match answer {
                RootSays::Spawned { .. } => self.children.became(&order),
                _ => self.children.forget(&order),
            }
            asked.into_iter().for_each(|id| self.hub.say(id, answer.clone(), Vec::new()));
        }
    }

    fn signal(&mut self, order: &OrderId, how: SignalKind) -> RootSays {
        let Some(entry) = self.children.entries.get(order) else {
            return RootSays::Denied { why: "no such order".to_owned() };
        };
        let sent = match how {
            _ if entry.exit.is_some() => Ok(()),
            SignalKind::Interrupt => kill(entry.pidfd.as_ref(), libc::SIGINT),
            SignalKind::Terminate => kill(entry.pidfd.as_ref(), libc::SIGTERM),
            SignalKind::Kill => kill_family(entry),
        };
        match sent {
            Ok(()) => RootSays::Done,
            Err(error) => {
                RootSays::Failed { step: "signal".to_owned(), errno: process::errno(&error) as i32 }
            }
        }
    }

    fn check(
        &mut self,
        id: Option<u64>,
        user: String,
        rhost: Option<String>,
        fds: Vec<OwnedFd>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let question = policy::pam(&self.setup.config, &self.setting.we, user, rhost)?;
        let pipe = fds.into_iter().next();
        let pipe = pipe.ok_or_else(|| Refusal("no password came with it".to_owned()))?;
        if self.stage != Stage::Serving {
            return Err(Refusal("jovis is ending".to_owned()));
        }
        let limits = self.pam_limits();
        let taken = self.checks.ask(id, question, pipe, &limits, now);
        if taken { Ok(()) } else { Err(Refusal("too many password checks at once".to_owned())) }
    }
}

/// The server and all that belongs to it and runs as the same account.
pub(super) fn kill_family(entry: &Entry) -> std::io::Result<()> {
    let others = children::family(&process::all(), entry.pid);
    kill(entry.pidfd.as_ref(), libc::SIGKILL)?;
    let owner = entry.uid;
    for pid in
        others.into_iter().skip(1).filter(|pid| owner.is_some() && process::uid(*pid) == owner)
    {
        let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Ok(())
}

fn reloaded(kind: Kind, outcome: &ReloadOutcome) {
    let (child, applied) = (kind.name(), outcome.applied.join(" "));
    info!(child, %applied, "role reloaded");
    outcome
        .needs_restart
        .iter()
        .for_each(|setting| warn!(child, %setting, "setting needs restart"));
}

#[cfg(test)]
pub(super) mod tests;
