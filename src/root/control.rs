//! What operators ask over the control socket (`ipc/control.rs`), which only root and whoever started jovis can open.
//! Nobody is waited for: who connects has a moment to speak, an answer that finds no room is not given, and there are
//! only so many at once.

use std::{
    fs, io,
    ops::RangeFrom,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::unistd::Uid;
use serde::Serialize;
use tracing::{info, warn};

use super::{events::Root, roles::Kind, shutdown::Stage};
use crate::{
    config::{runtime, sections::ShutdownServers},
    ipc::{
        control::{Answer, Filter, LIMIT, Part, ProcessStatus, Request, RootStatus, Servers},
        root::{RootSays, RootToProxy},
    },
    os::{fd, packets},
};

/// Most who have connected and not spoken yet, and most who wait for one kind of thing.
const MOST: usize = 16;
/// Most who follow what happens, and what they may call a level.
const FOLLOWERS: usize = 8;
const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
/// How long one has to speak.
const SPEAK: Duration = Duration::from_secs(5);
/// After a failed `accept` (no descriptors left).
const REST: Duration = Duration::from_secs(1);
/// What a role that is replaced may take to go, on top of what it was promised, and the next one to serve.
const GRACE: Duration = Duration::from_secs(15);
/// More that the hub has not read, and it is given no further questions: they must not be what its link breaks of.
const UNREAD: usize = 64;

/// Somebody who waits for an answer. Dropped, the link ends: nothing more comes.
#[derive(Debug)]
pub(super) struct Asker(OwnedFd);

impl Asker {
    /// Says it, if there is room.
    pub(super) fn tell(&self, answer: &impl Serialize) {
        let bytes = serde_json::to_vec(answer).expect("an answer is plain data");
        drop(fd::send(self.0.as_fd(), &bytes, &[]));
    }

    fn refuse(&self, why: &str) {
        self.tell(&Answer::Refused { why: why.to_owned() });
    }

    /// It has hung up, or speaks again, which nobody may.
    fn is_gone(&self) -> bool {
        !fd::recv(self.0.as_fd(), LIMIT).is_err_and(|error| fd::would_block(&error))
    }
}

/// Somebody who hears what happens, also from roles that are started later.
#[derive(Debug)]
struct Follower {
    asker: Asker,
    roles: Vec<Part>,
    filter: Filter,
}

impl Follower {
    fn wants(&self, role: Part) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// Another end to tell it into.
    fn end(&self) -> Vec<OwnedFd> {
        self.asker.0.try_clone().into_iter().collect()
    }
}

/// A role that is being replaced.
#[derive(Debug)]
struct Replacing {
    kind: Kind,
    old: Option<i32>,
    until: Instant,
    asker: Asker,
}

/// The socket, and who is at it.
#[derive(Debug)]
pub(super) struct Control {
    listener: OwnedFd,
    not_before: Instant,
    silent: Vec<(Asker, Instant)>,
    replacing: Vec<Replacing>,
    /// By the number under which the report will be found.
    reloading: Vec<(u64, Asker)>,
    asked: u64,
    followers: Vec<Follower>,
    /// They wait for our end; their links end with us.
    leaving: Vec<Asker>,
}

impl Control {
    /// In the runtime directory, whose lock we hold: what is there is of a root that is gone.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(runtime::CONTROL);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = packets::listen(&path, 64)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self::at(listener))
    }

    /// At a listener that an earlier root of this process has left.
    pub(super) fn at(listener: OwnedFd) -> Self {
        Self {
            listener,
            not_before: Instant::now(),
            silent: Vec::new(),
            replacing: Vec::new(),
            reloading: Vec::new(),
            asked: 0,
            followers: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// What the next root of this process needs. (Who is at it hears the end of the link, and asks again.)
    pub(super) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// What to poll for reading.
    pub(super) fn interest(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listener = (Instant::now() >= self.not_before).then(|| self.listener.as_fd());
        listener.into_iter().chain(self.silent.iter().map(|(asker, _)| asker.0.as_fd()))
    }

    /// Takes on who has connected.
    fn meet(&mut self, ours: u32, now: Instant) {
        if now < self.not_before {
            return;
        }
        for _ in 0..MOST {
            match packets::accept(self.listener.as_fd()) {
                Ok((fd, uid)) if uid == 0 || uid == ours => {
                    let asker = Asker(fd);
                    if self.silent.len() < MOST {
                        self.silent.push((asker, now + SPEAK));
                    } else {
                        asker.refuse("too many have connected and say nothing");
                    }
                }
                Ok((fd, uid)) => {
                    warn!(uid, "operator refused");
                    Asker(fd).refuse("you are not who started jovis");
                }
                Err(error) if fd::would_block(&error) => return,
                Err(error) => {
                    warn!(%error, "operators not heard");
                    self.not_before = now + REST;
                    return;
                }
            }
        }
    }

    /// Who has spoken now, with what came along; who is too late is sent away.
    fn heard(&mut self, now: Instant) -> Vec<(Asker, io::Result<Vec<u8>>, Vec<OwnedFd>)> {
        let mut spoken = Vec::new();
        for (asker, until) in std::mem::take(&mut self.silent) {
            match fd::recv(asker.0.as_fd(), LIMIT) {
                Ok((bytes, fds)) => spoken.push((asker, Ok(bytes), fds)),
                Err(error) if !fd::would_block(&error) => {
                    spoken.push((asker, Err(error), Vec::new()));
                }
                Err(_) if now >= until => asker.refuse("you said nothing"),
                Err(_) => self.silent.push((asker, until)),
            }
        }
        spoken
    }
}

impl Root {
    /// Whatever operators have to say.
    pub(super) fn hear_operators(&mut self, now: Instant) {
        self.control.meet(Uid::effective().as_raw(), now);
        for (asker, said, fds) in self.control.heard(now) {
            match said.map(|bytes| (bytes.is_empty(), serde_json::from_slice(&bytes))) {
                Ok((true, _)) => {} // It has hung up.
                Ok((false, Ok(request))) => self.operator_said(asker, request, fds, now),
                Ok((false, Err(error))) => asker.refuse(&format!("not understood: {error}")),
                Err(error) => asker.refuse(&error.to_string()),
            }
        }
    }

    /// Answers those who wait for something that has come to pass.
    pub(super) fn tend_operators(&mut self, now: Instant) {
        self.answer_replaced(now);
        for (number, report) in self.reloads.answers.drain(..) {
            let asker = self.control.reloading.extract_if(.., |(theirs, _)| *theirs == number);
            asker.for_each(|(_, asker)| asker.tell(&Answer::Reloaded(report.clone())));
        }
        self.control.leaving.retain(|asker| !asker.is_gone());
        self.control.followers.retain(|follower| !follower.asker.is_gone());
    }

    fn operator_said(&mut self, asker: Asker, said: Request, fds: Vec<OwnedFd>, now: Instant) {
        match said {
            Request::Status => {
                asker.tell(&Answer::Root(self.status(now)));
                self.hand_to_hub(asker, Request::Status, fds);
            }
            Request::Reload => {
                if self.control.reloading.len() >= MOST {
                    return asker.refuse("too many wait for a reload");
                }
                info!("reload asked for");
                self.control.asked += 1;
                self.control.reloading.push((self.control.asked, asker));
                self.begin_reload(Some(self.control.asked));
            }
            Request::Events { roles, filter } => self.follow(Follower { asker, roles, filter }),
            Request::Backup => self.hand_to_hub(asker, Request::Backup, fds),
            Request::Restart { role } => self.replace(asker, role, now),
            Request::Upgrade { program } => match self.upgrade(program.as_deref(), now) {
                Ok(()) => asker.tell(&Answer::Done),
                Err(why) => asker.refuse(&why),
            },
            Request::Stop { servers, now: hard } => self.stop_for(asker, servers, hard, now),
        }
    }

    /// The hub answers this itself, into the same socket.
    fn hand_to_hub(&mut self, asker: Asker, request: Request, fds: Vec<OwnedFd>) {
        match &mut self.hub.process {
            Some(hub) if hub.ready.is_none() => asker.refuse("the hub is still starting"),
            Some(hub) if hub.link.backlog() >= UNREAD => asker.refuse("the hub does not read"),
            Some(hub) => {
                let fds = std::iter::once(asker.0).chain(fds).collect();
                hub.link.say(None, RootSays::Control(request), fds);
            }
            None => asker.refuse("there is no hub; it is being started"),
        }
    }

    fn status(&self, now: Instant) -> RootStatus {
        let root = ProcessStatus {
            role: Part::Root,
            state: "ready".to_owned(),
            pid: i32::try_from(std::process::id()).ok(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            up_s: Some(now.saturating_duration_since(self.began).as_secs()),
            restarts: 0,
            last_exit: None,
            last_exit_s: None,
        };
        RootStatus {
            name: self.setup.config.hub.name.clone(),
            url: self.sockets.url.clone(),
            file: self.setup.file.clone(),
            stage: self.stage.name().to_owned(),
            processes: vec![root, self.hub.status(now), self.proxy.status(now)],
            children: self.children.living(),
            reload: self.reloads.last.clone(),
            upgrade: self.upgrade.status(),
        }
    }

    /// What root knows, into the log (SIGUSR1): for whom a signal is nearer than the control socket.
    pub(super) fn tell_status(&self, now: Instant) {
        let RootStatus { stage, processes, children, .. } = self.status(now);
        info!(state = stage, servers = children, "status told");
        for ProcessStatus { role, state, pid, build, up_s, restarts, last_exit, .. } in processes {
            let child = role.name();
            info!(child, state, pid, build, up_s, restarts, exit = last_exit, "process described");
        }
    }

    /// The log of all roles, as it happens. All tell it into the same socket, each whole lines.
    fn follow(&mut self, follower: Follower) {
        self.control.followers.retain(|follower| !follower.asker.is_gone());
        if self.control.followers.len() >= FOLLOWERS {
            return follower.asker.refuse("too many follow already");
        }
        let level = follower.filter.level.as_deref();
        if !level.is_none_or(|level| LEVELS.contains(&level)) {
            return follower.asker.refuse("the level is none of error, warn, info, debug, trace");
        }
        if let (true, Some(end)) = (follower.wants(Part::Root), follower.end().pop())
            && let Err(why) = (self.setup.tap)(end, follower.filter.clone())
        {
            return follower.asker.refuse(&why);
        }
        self.control.followers.push(follower);
        for kind in [Kind::Hub, Kind::Proxy] {
            self.tap(kind, self.control.followers.len() - 1..);
        }
    }

    /// A new process of this role: who follows hears it too.
    pub(super) fn tap_for_all(&mut self, kind: Kind) {
        self.tap(kind, 0..);
    }

    fn tap(&mut self, kind: Kind, which: RangeFrom<usize>) {
        let followers = &self.control.followers[which];
        for follower in followers.iter().filter(|follower| follower.wants(kind.part())) {
            let (filter, end) = (follower.filter.clone(), follower.end());
            match kind {
                Kind::Hub => self.hub.say(None, RootSays::Tap(filter), end),
                Kind::Proxy => self.proxy.say(None, RootToProxy::Tap(filter), end),
            }
        }
    }

    /// A fresh process in place of this one; told when it serves.
    fn replace(&mut self, asker: Asker, role: Part, now: Instant) {
        let kind = match role {
            Part::Hub => Kind::Hub,
            Part::Proxy => Kind::Proxy,
            Part::Root => return asker.refuse("root is not restarted alone: stop and start jovis"),
        };
        if self.stage != Stage::Serving {
            return asker.refuse("jovis is ending");
        }
        if self.control.replacing.len() >= MOST {
            return asker.refuse("too many wait for a restart");
        }
        info!(child = kind.name(), "restart asked for");
        let soft = match kind {
            Kind::Hub => GRACE,
            Kind::Proxy => GRACE,
        };
        match kind {
            Kind::Hub => {
                self.hub.say(None, RootSays::Stop { hard: false, servers: false }, Vec::new());
            }
            // Beside the one that serves, so that nobody's connection is cut.
            Kind::Proxy => {
                if let Err(error) = self.replace_proxy(now) {
                    return asker.refuse(&error.to_string());
                }
            }
        }
        let role = self.role(kind);
        let old = role.process.as_ref().map(|process| process.pid);
        if kind == Kind::Hub {
            role.leaves(now + soft);
        }
        self.control.replacing.push(Replacing { kind, old, until: now + soft + GRACE, asker });
    }

    fn answer_replaced(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.control.replacing);
        for one in waiting {
            let role = self.role(one.kind);
            let fresh = role.process.as_ref().map(|process| process.pid) != one.old;
            if fresh && role.is_ready() {
                one.asker.tell(&Answer::Done);
            } else if now >= one.until {
                one.asker.refuse("it does not serve yet; see the log");
            } else if !one.asker.is_gone() {
                self.control.replacing.push(one);
            }
        }
    }

    fn stop_for(&mut self, asker: Asker, servers: Servers, hard: bool, now: Instant) {
        if self.control.leaving.len() >= MOST {
            return asker.refuse("too many wait for the end");
        }
        info!(?servers, hard, "stop asked for");
        let servers = match servers {
            Servers::Keep => false,
            Servers::Stop => true,
            Servers::Default => self.setup.config.shutdown.servers == Some(ShutdownServers::Stop),
        };
        if self.stage == Stage::Serving {
            self.leave(servers, now);
        }
        if hard {
            self.leave(servers, now);
        }
        asker.tell(&Answer::Done);
        self.control.leaving.push(asker);
    }
}

#[cfg(test)]
mod tests;
