//! Hub and proxy as root sees them: a process, a link, a sign of life, and when to start the next one.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use jovis_actors::ports::Exit;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{error, info, warn};

use super::{
    baggage::{Packer, RoleAway, millis},
    birth,
};
use crate::{
    ipc::{
        Envelope, Hello, VERSION,
        control::{Part, ProcessStatus},
        frame::{self, FrameError},
    },
    os::{fd, reexec},
};

/// Most messages that wait for a role that does not read; one more and it is ended.
const MOST_WAITING: usize = 1024;
/// Between two questions whether it lives.
const PING: Duration = Duration::from_secs(2);
/// So long after the last sign of life the missing one is worth a line in the log.
const SILENCE: Duration = Duration::from_secs(5);
/// So long ready, and earlier failures are forgotten.
const STEADY: Duration = Duration::from_secs(60);
/// What the end of a life that served costs, and how much may be spent before restarts back off: two such lives a second
/// for ever, ten at once. A hub that serves most of the time is better than one that is away for half a minute.
const PRICE: Duration = Duration::from_millis(500);
const CREDIT: Duration = Duration::from_secs(5);
/// From the closing of its link to the end of the process.
const GRACE: Duration = Duration::from_secs(5);
/// So long without a sign of life, and people are told (a role answers each question within a moment).
const SILENT: Duration = Duration::from_secs(7);

/// A message and what came with it.
pub(super) type Heard<M> = (Envelope<M>, Vec<OwnedFd>);

/// Root's end of a link.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// No more of it: the other side is gone, or does not read.
    pub(super) closed: bool,
}

impl Link {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, waiting: VecDeque::new(), closed: false }
    }

    /// To poll; and is there something to write?
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        (!self.closed).then(|| (self.fd.as_fd(), !self.waiting.is_empty()))
    }

    /// Says it now, or as soon as there is room.
    pub(super) fn say<M: Serialize>(&mut self, id: Option<u64>, message: M, fds: Vec<OwnedFd>) {
        let bytes = serde_json::to_vec(&Envelope { id, message }).expect("a message is plain data");
        if self.waiting.len() >= MOST_WAITING || bytes.len() > frame::LIMIT {
            self.closed = true;
        }
        if !self.closed {
            self.waiting.push_back((bytes, fds));
            self.flush();
        }
    }

    /// Writes what there is room for.
    pub(super) fn flush(&mut self) {
        while let Some((bytes, fds)) = self.waiting.front() {
            match fd::send(self.fd.as_fd(), bytes, &frame::borrow(fds)) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if fd::would_block(&error) => return,
                // Its end shows when reading; what it still said counts.
                Err(_) => return self.waiting.clear(),
            }
        }
    }

    /// How much waits for a role that does not read.
    pub(super) fn backlog(&self) -> usize {
        self.waiting.len()
    }

    /// The next message, if there is one.
    pub(super) fn hear<M: DeserializeOwned>(&mut self) -> Option<Result<Heard<M>, FrameError>> {
        if self.closed {
            return None;
        }
        match frame::recv(self.fd.as_fd()) {
            Err(FrameError::WouldBlock) => None,
            Err(error) => {
                self.closed = true;
                Some(Err(error))
            }
            said => Some(said),
        }
    }
}

/// Which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hub,
    Proxy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        self.part().name()
    }

    /// As operators call it.
    pub(super) fn part(self) -> Part {
        match self {
            Self::Hub => Part::Hub,
            Self::Proxy => Part::Proxy,
        }
    }
}

/// A running role.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) link: Link,
    /// Until it has become the program.
    pub(super) report: Option<OwnedFd>,
    /// It has said Hello, in our version.
    pub(super) greeted: bool,
    /// Since when it serves.
    pub(super) ready: Option<Instant>,
    /// Its program's version, as it said itself.
    build: String,
    began: Instant,
    pinged: Instant,
    ponged: Instant,
    /// That it is silent has been said.
    silent: bool,
    doomed: Option<Instant>,
}

impl Process {
    pub(super) fn new(pid: i32, link: Link, report: OwnedFd, now: Instant) -> Self {
        let (began, pinged, ponged) = (now, now, now);
        let (report, build) = (Some(report), String::new());
        let (greeted, ready, doomed, silent) = (false, None, None, false);
        Self { pid, link, report, greeted, ready, build, began, pinged, ponged, silent, doomed }
    }

    pub(super) fn ponged(&mut self, now: Instant) {
        self.ponged = now;
        self.silent = false;
    }

    /// At once. It is our child and not reaped, so the number is still its own.
    pub(super) fn kill(&self) {
        // Numbers up to 1 would mean groups, everybody, or init.
        if self.pid > 1 {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Has it become the program? Says why not.
    pub(super) fn born(&mut self, kind: Kind) {
        match self.report.as_ref().and_then(birth::outcome) {
            None => return,
            Some(Ok(())) => {}
            Some(Err(why)) => {
                error!(child = kind.name(), pid = self.pid, error = ?why, "role not born")
            }
        }
        self.report = None;
    }

    /// Its first message: in our version?
    pub(super) fn greet(&mut self, hello: &Hello, kind: Kind) -> Result<(), String> {
        if self.greeted || hello.version != VERSION || hello.role != kind.name() {
            return Err(format!("said Hello as {} in version {}", hello.role, hello.version));
        }
        self.greeted = true;
        self.build = hello.build.chars().filter(|c| !c.is_control()).take(64).collect();
        Ok(())
    }
}

/// A role, running or not.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) kind: Kind,
    pub(super) process: Option<Process>,
    failures: u32,
    /// What ends of lives have cost and time has not paid back, as of the last end.
    debt: Duration,
    last: Instant,
    /// How many have ended, and how the last one did.
    ends: u32,
    pub(super) last_exit: Option<(Exit, Instant)>,
    /// When the next one may be started.
    pub(super) not_before: Instant,
}

impl Role {
    pub(super) fn new(kind: Kind, now: Instant) -> Self {
        Self {
            kind,
            process: None,
            failures: 0,
            debt: Duration::ZERO,
            last: now,
            ends: 0,
            last_exit: None,
            not_before: now,
        }
    }

    /// Says something, if there is somebody.
    pub(super) fn say<M: Serialize>(&mut self, id: Option<u64>, message: M, fds: Vec<OwnedFd>) {
        if let Some(process) = &mut self.process {
            process.link.say(id, message, fds);
        }
    }

    /// It serves.
    pub(super) fn is_ready(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.ready.is_some())
    }

    /// When it wants to be looked after, sooner than every second.
    pub(super) fn due(&self) -> Option<Instant> {
        self.process.is_none().then_some(self.not_before)
    }

    /// It has ended; decides when the next one may start.
    pub(super) fn ended(&mut self, now: Instant) {
        let process = self.process.take();
        let ready = process.and_then(|process| process.ready);
        if ready.is_some_and(|since| now.duration_since(since) >= STEADY) {
            self.failures = 0;
        }
        self.debt = self.debt.saturating_sub(now.duration_since(self.last)) + PRICE;
        self.last = now;
        if ready.is_some() {
            // Beyond the credit it is as after a failure: never at once.
            self.failures = if self.debt <= CREDIT { 0 } else { self.failures.max(1) };
        }
        self.not_before = now + delay(self.failures, RandomState::new().hash_one(()));
        self.failures = self.failures.saturating_add(1);
        self.ends = self.ends.saturating_add(1);
    }

    /// It was told to go, for another one to come at once: killed if it has not gone then.
    pub(super) fn leaves(&mut self, until: Instant) {
        self.failures = 0;
        self.debt = self.debt.saturating_sub(PRICE);
        if let Some(process) = &mut self.process {
            process.doomed = Some(until);
        }
    }

    /// For people.
    pub(super) fn status(&self, now: Instant) -> ProcessStatus {
        let process = self.process.as_ref();
        let state = match process {
            None => "waiting",
            Some(process) if now.duration_since(process.ponged) >= SILENT => "silent",
            Some(Process { doomed: Some(_), .. }) => "leaving",
            Some(Process { ready: None, .. }) => "starting",
            Some(_) => "ready",
        };
        let age = |since: Instant| now.saturating_duration_since(since).as_secs();
        ProcessStatus {
            role: self.kind.part(),
            state: state.to_owned(),
            pid: process.map(|process| process.pid),
            build: process.map_or_else(String::new, |process| process.build.clone()),
            up_s: process.map(|process| age(process.began)),
            restarts: self.ends,
            last_exit: self.last_exit.map(|(exit, _)| match exit {
                Exit::Code(code) => format!("code {code}"),
                Exit::Signal(signal) => format!("signal {signal}"),
                Exit::OutOfMemory => "out of memory".to_owned(),
                Exit::Unknown => "unknown".to_owned(),
            }),
            last_exit_s: self.last_exit.map(|(_, when)| age(when)),
        }
    }

    /// Its silence so far does not count.
    pub(super) fn forgive(&mut self, now: Instant) {
        if let Some(process) = &mut self.process {
            process.ponged(now);
        }
    }

    /// For the next root of this process.
    pub(super) fn away(&self, packer: &mut Packer, now: Instant) -> Option<RoleAway> {
        let process = self.process.as_ref().filter(|process| !process.link.closed)?;
        let mut one = |(bytes, fds): &(Vec<u8>, Vec<OwnedFd>)| {
            (bytes.clone(), fds.iter().map(|fd| packer.pack(fd)).collect())
        };
        Some(RoleAway {
            pid: process.pid,
            waiting: process.link.waiting.iter().map(&mut one).collect(),
            link: packer.pack(&process.link.fd),
            greeted: process.greeted,
            ready_ms: process.ready.map(|since| millis(now.duration_since(since))),
        })
    }

    /// As an earlier root of this process left it.
    pub(super) fn bring_back(&mut self, away: RoleAway, now: Instant) -> io::Result<()> {
        let RoleAway { pid, link, waiting, greeted, ready_ms } = away;
        let mut link = Link::new(reexec::copy(link)?);
        for (bytes, fds) in waiting {
            let fds: io::Result<_> = fds.into_iter().map(reexec::copy).collect();
            link.waiting.push_back((bytes, fds?));
        }
        // What it has to report of its birth it would have said by now.
        let (report, _) = fd::pipe()?;
        let mut process = Process::new(pid, link, report, now);
        let since = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        (process.greeted, process.ready) = (greeted, ready_ms.map(since));
        process.report = None;
        self.process = Some(process);
        Ok(())
    }

    /// Asks for a sign of life, and kills what gives none for `patience`, or whose link is over.
    pub(super) fn watch<M: Serialize>(&mut self, now: Instant, patience: Duration, ping: M) {
        let child = self.kind.name();
        let Some(process) = &mut self.process else { return };
        process.born(self.kind);
        process.link.flush();
        if process.link.closed && process.doomed.is_none() {
            process.doomed = Some(now + GRACE);
        }
        // Starting may take longer: a large store is read then.
        let patience = if process.ready.is_some() { patience } else { patience.max(STEADY) };
        let silence = now.duration_since(process.ponged);
        if process.ready.is_some() && !process.silent && silence >= SILENCE.min(patience / 2) {
            process.silent = true;
            warn!(child, pid = process.pid, ?silence, ?patience, "role does not answer");
        }
        if process.doomed.is_some_and(|when| now >= when) {
            warn!(child, pid = process.pid, why = "its link is over", "role killed");
            process.kill();
            process.doomed = Some(now + GRACE);
        } else if silence >= patience && process.doomed.is_none() {
            warn!(child, pid = process.pid, why = "no sign of life", "role killed");
            process.kill();
            process.doomed = Some(now + GRACE);
        } else if process.greeted && now.duration_since(process.pinged) >= PING.min(patience / 4) {
            process.pinged = now;
            process.link.say(None, ping, Vec::new());
        }
    }

    /// It serves now.
    pub(super) fn became_ready(&mut self, now: Instant) {
        if let Some(process) = &mut self.process {
            if process.ready.is_none() {
                info!(child = self.kind.name(), pid = process.pid, "role ready");
            }
            process.ready.get_or_insert(now);
            process.ponged(now);
        }
    }
}

/// The first restart is immediate; then half a second, doubled each time up to half a minute, less up to a half of it
/// by chance.
fn delay(failures: u32, chance: u64) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let most = Duration::from_millis(500 << failures.min(7)).min(Duration::from_secs(30));
    let half = most / 2;
    half + half.mul_f64((chance % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_and_a_steady_role_begins_anew() {
        assert_eq!(delay(0, 7), Duration::ZERO);
        for failures in 1..100 {
            let (least, most) = (delay(failures, 0), delay(failures, 1023));
            assert!(
                least >= Duration::from_millis(500)
                    && most < Duration::from_secs(30)
                    && least < most
            );
        }
        let start = Instant::now();
        let mut role = Role::new(Kind::Hub, start);
        role.ended(start);
        assert_eq!(role.not_before, start);
        role.ended(start);
        assert!(role.not_before > start);
        let (ours, _theirs) = fd::pair().unwrap();
        let (report, _writer) = fd::pipe().unwrap();
        let mut process = Process::new(i32::MAX, Link::new(ours), report, start);
        process.ready = Some(start);
        role.process = Some(process);
        let later = start + STEADY;
        role.ended(later);
        assert_eq!(role.not_before, later);
    }

    #[test]
    fn lives_that_served_begin_anew_at_once_unless_there_are_too_many() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut role = Role::new(Kind::Hub, start);
        let mut end = |now: Instant| {
            let (ours, _theirs) = fd::pair().unwrap();
            let (report, _writer) = fd::pipe().unwrap();
            let mut process = Process::new(i32::MAX, Link::new(ours), report, now);
            process.ready = Some(now);
            role.process = Some(process);
            role.ended(now);
            role.not_before == now
        };
        assert!((0..200).all(|n| end(start + second / 2 * n)), "two a second");
        let later = start + second * 300;
        assert!((0..10).all(|_| end(later)), "ten at once");
        assert!(!end(later), "not eleven");
        assert!(end(later + second * 11), "all is paid back");
    }

    #[test]
    fn who_does_not_read_loses_the_link() {
        let (ours, theirs) = fd::pair().unwrap();
        let mut link = Link::new(ours);
        let mut said = 0;
        while !link.closed {
            link.say(None, "x".repeat(1000), Vec::new());
            said += 1;
            assert!(said < 100_000);
        }
        assert!(said > MOST_WAITING);
        drop(theirs);
    }

    #[test]
    fn what_waits_is_said_in_order() {
        let (ours, theirs) = fd::pair().unwrap();
        let mut link = Link::new(ours);
        (0..900).for_each(|number: u32| link.say(None, (number, "x".repeat(900)), Vec::new()));
        for want in 0..900 {
            link.flush();
            let (got, _) = frame::recv::<Envelope<(u32, String)>>(theirs.as_fd()).unwrap();
            assert_eq!(got.message.0, want);
        }
    }
}
