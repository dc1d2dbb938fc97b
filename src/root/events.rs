//! The poll loop: signals, links, births, checks, ends of processes, timers. Everything is tried once a round without
//! blocking; what is still there makes the next poll return at once.

use std::{
    fs::File,
    io, mem,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    time::{Duration, Instant},
};

use jovis_actors::{domain::OrderId, ports::Exit};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tracing::{error, info, warn};

use super::{
    Secrets, Setup, StartError, birth,
    checks::Checks,
    children::Children,
    control::Control,
    generations::{Generations, introduce},
    memory::Memory,
    newcomers::Newcomers,
    notify, place,
    reload::Reloads,
    requests::{self, Birth},
    roles::{Kind, Link, Process, Role},
    shutdown::Stage,
    sockets::Sockets,
    systemd::Heart,
    upgrade::Upgrade,
};
use crate::{
    config::{
        Config,
        sections::Pam,
        slice::{HubSlice, ProxySlice, ToWire},
    },
    ipc::{
        Hello, VERSION,
        frame::FrameError,
        reload::ReloadOutcome,
        root::{Given, RootSays, RootToProxy},
    },
    os::{fd, process, signals::Signals, users::Account},
    telemetry::logs::chain,
};

/// Longest sleep of the loop; pings and deadlines of the order of seconds need no better clock.
const TICK: Duration = Duration::from_secs(1);
/// A round that took longer was none of our doing.
const AWAY: Duration = Duration::from_secs(3);
/// Most messages taken from one link in a round.
const BATCH: usize = 64;

/// All there is.
pub(super) struct Root {
    pub(super) setup: Setup,
    pub(super) setting: birth::Setting,
    pub(super) secrets: Secrets,
    pub(super) accounts: (Account, Account),
    pub(super) state: OwnedFd,
    /// Held as long as we live.
    pub(super) lock: File,
    pub(super) sockets: Sockets,
    pub(super) children: Children,
    pub(super) births: Vec<Birth>,
    pub(super) checks: Checks,
    pub(super) newcomers: Newcomers,
    pub(super) reloads: Reloads,
    pub(super) control: Control,
    memory: Memory,
    pub(super) hub: Role,
    pub(super) proxy: Role,
    pub(super) generations: Generations,
    signals: Signals,
    pub(super) stage: Stage,
    pub(super) began: Instant,
    /// A second signal has come.
    pub(super) hurry: bool,
    pub(super) announced: bool,
    /// When the last round began.
    tended: Instant,
    pub(super) upgrade: Upgrade,
    heart: Heart,
}

impl Root {
    pub(super) fn new(
        setup: Setup,
        setting: birth::Setting,
        accounts: (Account, Account),
        (state, lock): (OwnedFd, File),
        sockets: Sockets,
        children: Children,
        control: Control,
    ) -> Result<Self, StartError> {
        let secrets = Secrets::read(&setup.config, state.as_fd())
            .map_err(|error| StartError::Refused(chain(&error).to_string()))?;
        let caught = [
            libc::SIGCHLD,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGUSR1,
            libc::SIGUSR2,
        ];
        let signals = Signals::catch(&caught).map_err(|e| StartError::Failed(e.to_string()))?;
        let now = Instant::now();
        Ok(Self {
            setup,
            setting,
            secrets,
            accounts,
            state,
            lock,
            sockets,
            children,
            births: Vec::new(),
            checks: Checks::default(),
            newcomers: Newcomers::default(),
            reloads: Reloads::default(),
            control,
            memory: Memory::new(),
            hub: Role::new(Kind::Hub, now),
            proxy: Role::new(Kind::Proxy, now),
            generations: Generations::default(),
            signals,
            stage: Stage::Serving,
            began: now,
            hurry: false,
            announced: false,
            tended: now,
            upgrade: Upgrade::default(),
            heart: Heart::new(),
        })
    }

    pub(super) fn run(mut self) -> ExitCode {
        self.restore_addresses(Instant::now());
        loop {
            self.tend();
            if self.shut_down(Instant::now()) {
                info!("jovis ended");
                return ExitCode::SUCCESS;
            }
            self.wait();
            for order in self.children.adopted_and_gone() {
                self.server_ended(&order, Exit::Unknown);
            }
            for signal in self.signals.take() {
                match signal {
                    libc::SIGHUP => self.begin_reload(None),
                    libc::SIGUSR1 => self.tell_status(Instant::now()),
                    // Refused, it has been logged.
                    libc::SIGUSR2 => _ = self.upgrade(None, Instant::now()),
                    libc::SIGTERM | libc::SIGINT => self.stop(signal, Instant::now()),
                    _ => {}
                }
            }
            self.hear_hub();
            self.hear_proxies();
            self.hear_operators(Instant::now());
            self.look_after_births(Instant::now());
            self.reap();
        }
    }

    /// Sleeps until something happens.
    fn wait(&self) {
        let read = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut wanted: Vec<PollFd<'_>> = self.signals.fds().map(read).collect();
        for role in std::iter::once(&self.hub).chain(self.proxies()) {
            let Some(process) = &role.process else { continue };
            wanted.extend(process.report.as_ref().map(|report| read(report.as_fd())));
            wanted.extend(process.link.interest().map(|(fd, writing)| {
                let more = if writing { PollFlags::POLLOUT } else { PollFlags::empty() };
                PollFd::new(fd, PollFlags::POLLIN | more)
            }));
        }
        wanted.extend(self.births.iter().map(|birth| read(birth.report.as_fd())));
        wanted.extend(self.checks.links().map(read));
        wanted.extend(self.newcomers.links().map(read));
        wanted.extend(self.control.interest().map(read));
        wanted.extend(self.upgrade.interest().map(read));
        wanted.extend(self.children.adopted().map(|(_, pidfd)| read(pidfd)));
        let now = Instant::now();
        let restarts = [&self.hub, &self.proxy].into_iter().filter_map(Role::due);
        let restarts = restarts.filter(|_| self.stage == Stage::Serving);
        let due = restarts
            .chain(self.checks.due())
            .chain(self.newcomers.due())
            .chain(self.reloads.due())
            .chain(self.generations.due())
            .chain(self.upgrade.due())
            .chain(self.heart.due())
            .min();
        let sleep = due.map_or(TICK, |due| due.saturating_duration_since(now).min(TICK));
        // A millisecond more, so that what is due is so when we look.
        let sleep = PollTimeout::try_from(sleep + Duration::from_millis(1)).expect("a second fits");
        match poll(&mut wanted, sleep) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                error!(%error, "poll failed");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Timers, and what a round leaves to do.
    fn tend(&mut self) {
        let now = Instant::now();
        self.memory.look(now);
        let limits = self.pam_limits();
        for (id, answer) in self.checks.step(&limits, now) {
            self.hub.say(id, answer, Vec::new());
        }
        for (ids, answer) in self.newcomers.step(&self.setup.config, &self.setting.we, now) {
            ids.into_iter().for_each(|id| self.hub.say(id, answer.clone(), Vec::new()));
        }
        self.tend_reload(now);
        self.tend_addresses(now);
        self.tend_operators(now);
        // We were away ourselves (stopped, or the machine was): that they did not answer proves nothing.
        if now.duration_since(mem::replace(&mut self.tended, now)) > AWAY {
            warn!("jovis was paused");
            self.hub.forgive(now);
            self.proxies_mut().for_each(|role| role.forgive(now));
        }
        let patience = self.setup.config.root.watchdog.duration();
        self.hub.watch(now, patience, RootSays::Ping);
        self.proxy.watch(now, patience, RootToProxy::Ping);
        self.tend_generations(now);
        self.tend_upgrade(now);
        self.heart.beat(now);
        if self.stage == Stage::Serving {
            for kind in [Kind::Hub, Kind::Proxy] {
                let role = self.role(kind);
                let due = role.process.is_none() && now >= role.not_before;
                if due && let Err(error) = self.start(kind, now) {
                    error!(child = kind.name(), %error, "role not started");
                    self.role(kind).ended(now);
                }
            }
        }
        if !self.announced && self.hub.is_ready() && self.proxy.is_ready() {
            self.announced = true;
            info!(url = %self.sockets.url, "jovis is ready");
            notify(&format!("READY=1\nSTATUS=Serving {}", self.sockets.url));
        }
    }

    pub(super) fn pam_limits(&self) -> Pam {
        self.setup.config.auth.pam().cloned().unwrap_or_default()
    }

    pub(super) fn role(&mut self, kind: Kind) -> &mut Role {
        match kind {
            Kind::Hub => &mut self.hub,
            Kind::Proxy => &mut self.proxy,
        }
    }

    /// Starts hub or proxy and introduces it to the others.
    fn start(&mut self, kind: Kind, now: Instant) -> io::Result<()> {
        self.role(kind).process = Some(self.launch(kind, now)?);
        match kind {
            Kind::Hub => {
                let Self { hub, proxy, generations, .. } = self;
                std::iter::once(proxy)
                    .chain(generations.iter_mut())
                    .try_for_each(|proxy| introduce(hub, proxy))?;
            }
            Kind::Proxy => introduce(&mut self.hub, &mut self.proxy)?,
        }
        self.tap_for_all(kind);
        Ok(())
    }

    /// Makes a hub or proxy and gives it what is its own.
    pub(super) fn launch(&self, kind: Kind, now: Instant) -> io::Result<Process> {
        let hello = Hello {
            version: VERSION,
            role: "root".to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let (ours, theirs) = fd::pair()?;
        let mut link = Link::new(ours);
        let (sockets, privileged) = (&self.sockets, self.setting.we.privileged);
        let slice = self.slice(kind, &self.setup.config, &self.secrets, &sockets.api_url)?;
        let (who, cwd) = match kind {
            Kind::Hub => {
                let mut given = vec![Given::Config, Given::State, Given::HubInner];
                given.resize(given.len() + sockets.apis.len(), Given::HubApi);
                let apis = sockets.apis.iter().map(|api| &api.fd);
                let fds = [&self.state, &sockets.hub_inner].into_iter().chain(apis);
                link.say(None, RootSays::Hello { hello, given }, all(slice, fds)?);
                (&self.accounts.0, Some(self.state.as_fd()))
            }
            Kind::Proxy => {
                let folder = self.acme_folder(&self.setup.config);
                let mut given = vec![Given::Config];
                given.resize(1 + sockets.public.len(), Given::Public);
                given.extend(folder.as_ref().map(|_| Given::Acme));
                let fds = sockets.public.iter().chain(&folder);
                link.say(None, RootToProxy::Hello { hello, given }, all(slice, fds)?);
                (&self.accounts.1, None)
            }
        };
        let name = format!("@{}", kind.name());
        let memory = birth::memory(self.setup.config.root.role_memory);
        let act = || birth::role(&name, Some(who), privileged, cwd, &theirs, memory);
        let (forked, ()) = birth::fork(|_| Ok(()), act)?;
        info!(child = kind.name(), pid = forked.pid, "role started");
        Ok(Process::new(forked.pid, link, forked.report, now))
    }

    /// Where the proxy keeps certificates that it gets by itself, if it shall. Without the folder it gets none; traffic
    /// goes on.
    pub(super) fn acme_folder(&self, config: &Config) -> Option<OwnedFd> {
        if !config.proxy.acme.is_on() {
            return None;
        }
        let opened = place::acme(self.state.as_fd(), &self.setting.we, &self.accounts.1);
        opened.inspect_err(|error| error!(%error, "acme folder unusable")).ok()
    }

    /// What a role is told of a configuration.
    pub(super) fn slice(
        &self,
        kind: Kind,
        config: &Config,
        secrets: &Secrets,
        api_url: &str,
    ) -> io::Result<OwnedFd> {
        let wire = match kind {
            Kind::Hub => {
                let (key, url) = (secrets.cookie_secret.clone(), api_url.to_owned());
                let slice = HubSlice::new(config, key, url, self.setting.we.privileged);
                slice.with_crypt_keys(&secrets.crypt_keys).to_wire()
            }
            Kind::Proxy => {
                let socket = self.sockets.inner_path.to_string_lossy().into_owned();
                let slice = ProxySlice::new(config, secrets.tls.clone(), socket);
                slice.with_token(secrets.proxy_token.clone()).to_wire()
            }
        };
        fd::sealed(&wire)
    }

    fn hear_hub(&mut self) {
        for _ in 0..BATCH {
            let Some(said) = self.hub.process.as_mut().and_then(|p| p.link.hear()) else { return };
            let outcome = said.map(|(envelope, fds)| self.hub_said(envelope, fds));
            end_if_wrong(&mut self.hub, outcome);
        }
    }

    fn hear_proxies(&mut self) {
        // A reload waits for the one that serves.
        for outcome in hear_proxy(&mut self.proxy) {
            self.reloads.heard(Kind::Proxy, outcome);
        }
        self.generations.iter_mut().for_each(|role| drop(hear_proxy(role)));
    }

    /// Collects every child that has ended: roles, servers, helpers, and orphans that came to us.
    pub(super) fn reap(&mut self) {
        while let Some((pid, exit)) = process::reap(-1) {
            let exit = self.memory.explain(exit, Instant::now());
            for kind in [Kind::Hub, Kind::Proxy] {
                if self.role(kind).process.as_ref().is_some_and(|process| process.pid == pid) {
                    self.role_ended(kind, pid, exit);
                }
            }
            let other = |role: &&mut Role| role.process.as_ref().is_some_and(|it| it.pid == pid);
            if let Some(role) = self.generations.iter_mut().find(other) {
                drop(hear_proxy(role));
                info!(child = role.kind.name(), pid, ?exit, "role ended");
                role.ended(Instant::now());
            }
            self.trial_ended(pid, exit);
            // A child that could not become what it should has said why before it ended.
            self.look_after_births(Instant::now());
            if let Some(order) = self.children.by_pid(pid) {
                self.server_ended(&order, exit);
            }
        }
    }

    fn role_ended(&mut self, kind: Kind, pid: i32, exit: Exit) {
        // Its last words first.
        match kind {
            Kind::Hub => self.hear_hub(),
            Kind::Proxy => self.hear_proxies(),
        }
        if let Some(process) = &mut self.role(kind).process {
            process.born(kind);
        }
        if self.stage == Stage::Serving {
            warn!(child = kind.name(), pid, ?exit, "role ended");
        } else {
            info!(child = kind.name(), pid, ?exit, "role ended");
        }
        self.role(kind).last_exit = Some((exit, Instant::now()));
        self.role(kind).ended(Instant::now());
        // The next one begins with the new configuration.
        self.reloads.answered(kind);
        if kind == Kind::Hub {
            // Answers would go to the next hub, which has not asked.
            self.births.iter_mut().for_each(|birth| birth.asked.clear());
            self.checks.abandon();
            self.newcomers.abandon();
        }
    }

    pub(super) fn server_ended(&mut self, order: &OrderId, exit: Exit) {
        let Some(entry) = self.children.entries.get(order) else { return };
        info!(user = %entry.user, %order, pid = entry.pid, ?exit, "server process ended");
        self.children.ended(order, exit);
        self.hub.say(None, RootSays::Exited { order: order.clone(), exit }, Vec::new());
    }
}

/// Does what a proxy says; what it made of reloads is left.
fn hear_proxy(role: &mut Role) -> Vec<ReloadOutcome> {
    let mut outcomes = Vec::new();
    for _ in 0..BATCH {
        let Some(said) = role.process.as_mut().and_then(|p| p.link.hear()) else { break };
        let outcome = said.map(|(envelope, _)| {
            requests::proxy_said(role, envelope.message).map(|outcome| outcomes.extend(outcome))
        });
        end_if_wrong(role, outcome);
    }
    outcomes
}

/// A slice, and copies of descriptors that we keep.
pub(super) fn all<'a>(
    slice: OwnedFd,
    fds: impl IntoIterator<Item = &'a OwnedFd>,
) -> io::Result<Vec<OwnedFd>> {
    let copies = fds.into_iter().map(OwnedFd::try_clone);
    std::iter::once(Ok(slice)).chain(copies).collect()
}

/// Whoever speaks out of turn or what we do not understand is ended; the closing of a link is not wrong by itself.
fn end_if_wrong(role: &mut Role, outcome: Result<Result<(), String>, FrameError>) {
    let why = match outcome {
        Ok(Ok(())) | Err(FrameError::Closed) => return,
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    };
    if let Some(process) = &mut role.process {
        warn!(child = role.kind.name(), pid = process.pid, %why, "link broken");
        process.link.closed = true;
        process.kill();
    }
}
