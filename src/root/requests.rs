//! What the hub and the proxy say, and what is done about it. Whether it may be done is [`policy`]'s word.

use std::{
    collections::BTreeMap,
    mem,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use jovis_actors::{
    domain::{OrderId, ServerName, Username, options::Chosen},
    ports::Exit,
};
use nix::errno::Errno;
use tracing::{info, warn};

use super::{
    birth,
    children::Entry,
    events::Root,
    policy::{self, Plan, Refusal},
    roles::{Kind, Role},
    shutdown::Stage,
};
use crate::{
    config::sections::ShutdownServers,
    ipc::{
        Envelope, frame,
        reload::ReloadOutcome,
        root::{HubSays, ProxyToRoot, RootSays, SignalKind},
    },
    os::process::{self, StepFailed, io_step},
};

/// How long a child may take from fork to exec: looking up an account may ask a directory.
const BIRTH: Duration = Duration::from_secs(10);

/// Descriptors that are not for children, each of which costs one: births, helpers, sockets, links.
const RESERVED_FILES: u64 = 256;

/// What to answer now (none: later, or nothing), or why it is not done.
type Outcome = Result<Option<RootSays>, Refusal>;

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
        let order = match &said.message {
            HubSays::Spawn { order, .. }
            | HubSays::Serve { order, .. }
            | HubSays::Signal { order, .. } => Some(order.to_string()),
            _ => None,
        };
        let outcome = match said.message {
            HubSays::Hello(hello) => return process.greet(&hello, Kind::Hub),
            _ if !process.greeted => return Err("spoke before its Hello".to_owned()),
            HubSays::Pong => {
                process.ponged(now);
                Ok(None)
            }
            HubSays::Ready => {
                self.hub.became_ready(now);
                Ok(None)
            }
            HubSays::Reloaded(outcome) => {
                self.reloads.heard(Kind::Hub, outcome);
                Ok(None)
            }
            HubSays::Children => {
                let list = frame::seal(&self.children.list()).map_err(|error| error.to_string())?;
                self.hub.say(id, RootSays::Children, vec![list]);
                Ok(None)
            }
            HubSays::Spawn { order, user, server, env, holes, chosen } => {
                self.spawn(id, &order, (&user, &server), (env, holes, chosen), fds)
            }
            HubSays::Serve { order, service, env } => self.serve(id, &order, service, env, fds),
            HubSays::Signal { order, how } => self.signal(&order, how),
            HubSays::Forget { order } => self.forget(&order),
            HubSays::Stop { servers } => self.stop_for_hub(servers, now),
            HubSays::Account { user } => self.account(id, &user, now),
            HubSays::Pam { user, rhost } => self.check(id, user, rhost, fds, now),
        };
        let answer = outcome.unwrap_or_else(|refusal| {
            warn!(order, why = %refusal, "request denied");
            Some(refusal.into())
        });
        if let Some(answer) = answer {
            self.hub.say(id, answer, Vec::new());
        }
        Ok(())
    }

    /// Starts a server, or says what became of an order we know. No answer yet: it follows with the birth.
    fn spawn(
        &mut self,
        id: Option<u64>,
        order: &OrderId,
        (user, server): (&Username, &ServerName),
        (env, holes, chosen): (BTreeMap<String, String>, BTreeMap<String, String>, Option<Chosen>),
        fds: Vec<OwnedFd>,
    ) -> Outcome {
        if self.answers_known(id, order) {
            return Ok(None);
        }
        let (config, privileged) = (&self.setup.config, self.setting.we.privileged);
        let plan = policy::spawn(config, privileged, self.count(), user, env, (&holes, chosen))?;
        self.bear(id, order, &plan, (server.as_str(), None), fds)
    }

    /// Starts a service, unless a process of it lives. Otherwise as [`Self::spawn`].
    fn serve(
        &mut self,
        id: Option<u64>,
        order: &OrderId,
        service: String,
        env: BTreeMap<String, String>,
        fds: Vec<OwnedFd>,
    ) -> Outcome {
        if self.answers_known(id, order) {
            return Ok(None);
        }
        let of_it =
            |entry: &Entry| entry.service.as_ref() == Some(&service) && entry.exit.is_none();
        if self.children.entries.values().any(of_it) {
            return Err(Refusal(format!("service {service} runs already")));
        }
        let (config, privileged) = (&self.setup.config, self.setting.we.privileged);
        let plan = policy::service(config, privileged, self.count(), &service, env)?;
        self.bear(id, order, &plan, ("", Some(service)), fds)
    }

    /// Says what became of an order we know, now or when its birth is over. False: we do not know it.
    fn answers_known(&mut self, id: Option<u64>, order: &OrderId) -> bool {
        if let Some(birth) = self.births.iter_mut().find(|birth| birth.order == *order) {
            birth.asked.push(id);
            return true;
        }
        let Some(Entry { pid, exit, .. }) = self.children.entries.get(order) else { return false };
        let (pid, exit) = (*pid, *exit);
        self.hub.say(id, RootSays::Spawned { order: order.clone(), pid }, Vec::new());
        if let Some(exit) = exit {
            self.hub.say(None, RootSays::Exited { order: order.clone(), exit }, Vec::new());
        }
        true
    }

    /// How many children live, and how many may.
    fn count(&self) -> (usize, u64) {
        let most = self.setting.open_files.1.saturating_sub(RESERVED_FILES);
        (self.children.living(), most.min(self.setup.config.root.max_children.into()))
    }

    fn bear(
        &mut self,
        id: Option<u64>,
        order: &OrderId,
        plan: &Plan,
        (server, service): (&str, Option<String>),
        fds: Vec<OwnedFd>,
    ) -> Outcome {
        if self.stage != Stage::Serving {
            return Err(Refusal("jovis is ending".to_owned()));
        }
        let config = &self.setup.config;
        let api = plan.given.get("JUPYTERHUB_API_URL").and_then(|url| self.sockets.behind(url));
        let log = fds.into_iter().next();
        let log = log.ok_or_else(|| Refusal("no log file came with it".to_owned()))?;
        let (min_uid, env_keep) = (config.root.min_uid, &config.spawner.env_keep);
        let user = plan.user.clone();
        // In the table before it does anything: whatever becomes of us, no server runs that nobody knows.
        let note = |pid| {
            let entry = Entry {
                pid,
                since: process::stat(pid).map_or(0, |stat| stat.since),
                uid: None,
                user: user.clone(),
                api,
                service,
                exit: None,
                pidfd: Some(process::pidfd(pid)?),
                adopted: false,
            };
            self.children.born(order, entry);
            Ok(())
        };
        let act = || birth::server(plan, min_uid, &self.setting, env_keep, log.as_fd());
        let forked = match io_step("fork", birth::fork(note, act)) {
            Ok((forked, ())) => forked,
            Err(error) => {
                warn!(%user, server, %order, %error, "server process not started");
                self.children.forget(order);
                return Ok(Some(error.into()));
            }
        };
        let (order, until) = (order.clone(), Instant::now() + BIRTH);
        self.births.push(Birth { order, report: forked.report, until, asked: vec![id] });
        Ok(None)
    }

    /// Answers for births that are over, one way or the other.
    pub(super) fn look_after_births(&mut self, now: Instant) {
        let mut over = Vec::new();
        self.births.retain_mut(|birth| {
            let late = || Err(StepFailed::new("start in time", Errno::ETIMEDOUT).into());
            let late = || (now >= birth.until).then(late);
            let Some(outcome) = birth::outcome(&birth.report).or_else(late) else { return true };
            over.push((birth.order.clone(), mem::take(&mut birth.asked), outcome));
            false
        });
        for (order, asked, outcome) in over {
            let Some(entry) = self.children.entries.get(&order) else { continue };
            let (user, pid) = (&entry.user, entry.pid);
            let answer = match outcome {
                Ok(()) => {
                    info!(%user, %order, pid, "server process started");
                    self.children.became(&order);
                    RootSays::Spawned { order, pid }
                }
                Err(why) => {
                    warn!(%user, %order, pid, error = ?why, "server process not started");
                    drop(entry.signal(libc::SIGKILL));
                    self.children.forget(&order);
                    if asked.is_empty() {
                        // The hub that asked is gone; the next one has found it living in our list.
                        let exit = Exit::Unknown;
                        self.hub.say(None, RootSays::Exited { order, exit }, Vec::new());
                    }
                    why
                }
            };
            asked.into_iter().for_each(|id| self.hub.say(id, answer.clone(), Vec::new()));
        }
    }

    fn signal(&self, order: &OrderId, how: SignalKind) -> Outcome {
        let entry = self.children.entries.get(order);
        let entry = entry.ok_or_else(|| Refusal("no such order".to_owned()))?;
        let sent = match how {
            _ if entry.exit.is_some() => Ok(()),
            SignalKind::Interrupt => entry.signal(libc::SIGINT),
            SignalKind::Terminate => entry.signal(libc::SIGTERM),
            SignalKind::Kill => entry.kill_family(&process::all()),
        };
        Ok(Some(io_step("signal", sent).map_or_else(RootSays::from, |()| RootSays::Done)))
    }

    fn forget(&mut self, order: &OrderId) -> Outcome {
        if self.children.entries.get(order).is_some_and(|entry| entry.exit.is_none()) {
            return Err(Refusal("it lives".to_owned()));
        }
        self.children.forget(order);
        Ok(Some(RootSays::Done))
    }

    /// Begins to end, once: asking again does not make haste.
    fn stop_for_hub(&mut self, servers: Option<bool>, now: Instant) -> Outcome {
        let serves = self.hub.process.as_ref().is_some_and(|hub| hub.ready.is_some());
        policy::stop(serves)?;
        let configured = self.setup.config.shutdown.servers == Some(ShutdownServers::Stop);
        let servers = servers.unwrap_or(configured);
        info!(servers, hard = false, "stop asked for");
        if self.stage == Stage::Serving {
            self.leave(servers, now);
        }
        Ok(Some(RootSays::Done))
    }

    /// Has an account looked up, or made. No answer yet.
    fn account(&mut self, id: Option<u64>, user: &Username, now: Instant) -> Outcome {
        if self.stage != Stage::Serving {
            return Err(Refusal("jovis is ending".to_owned()));
        }
        self.newcomers.ask(id, policy::look(&self.setup.config, user)?, now)?;
        Ok(None)
    }

    fn check(
        &mut self,
        id: Option<u64>,
        user: String,
        rhost: Option<String>,
        fds: Vec<OwnedFd>,
        now: Instant,
    ) -> Outcome {
        let question = policy::pam(&self.setup.config, &self.setting.we, user, rhost)?;
        let pipe = fds.into_iter().next();
        let pipe = pipe.ok_or_else(|| Refusal("no password came with it".to_owned()))?;
        if self.stage != Stage::Serving {
            return Err(Refusal("jovis is ending".to_owned()));
        }
        let limits = self.pam_limits();
        self.checks.ask(id, question, pipe, &limits, now)?;
        Ok(None)
    }
}

/// Does what a proxy says: what it made of a reload is for the caller. An error ends it.
pub(super) fn proxy_said(
    role: &mut Role,
    said: ProxyToRoot,
) -> Result<Option<ReloadOutcome>, String> {
    let now = Instant::now();
    let Some(process) = &mut role.process else { return Ok(None) };
    match said {
        ProxyToRoot::Hello(hello) => process.greet(&hello, Kind::Proxy)?,
        _ if !process.greeted => return Err("spoke before its Hello".to_owned()),
        ProxyToRoot::Ready => role.became_ready(now),
        ProxyToRoot::Pong => process.ponged(now),
        ProxyToRoot::Reloaded(outcome) => return Ok(Some(outcome)),
    }
    Ok(None)
}

#[cfg(test)]
pub(super) mod tests;
