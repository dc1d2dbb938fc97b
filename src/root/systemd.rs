//! What systemd is told, and what it hands over, where that started us. Without it nothing here does anything.

use std::{
    env,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    process,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::os::reexec;

/// The first descriptor that is handed over.
const FIRST: i32 = 3;
/// Most of them that are looked at.
const MOST: i32 = 64;

/// Tells systemd this; several assignments stand on lines of their own.
pub(super) fn notify(what: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let mut text = what.to_owned();
    if what.starts_with("RELOADING=1") {
        // Else what follows could belong to an earlier one.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        text += &format!("\nMONOTONIC_USEC={}", now.as_micros());
    }
    if let Ok(socket) = UnixDatagram::unbound()
        && socket.set_nonblocking(true).is_ok()
    {
        drop(socket.send_to(text.as_bytes(), path));
    }
}

/// Tells systemd that the loop goes round, where it wants to know.
#[derive(Debug, Default)]
pub(super) struct Heart {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Heart {
    /// As the environment says: half of the time after which systemd would lose patience.
    pub(super) fn new() -> Self {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let limit = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0);
        Self { every: limit.map(|limit| Duration::from_micros(limit / 2)), last: None }
    }

    /// When it beats next.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.last? + self.every?)
    }

    /// Beats, if it is time.
    pub(super) fn beat(&mut self, now: Instant) {
        if self.every.is_some() && self.due().is_none_or(|due| now >= due) {
            self.last = Some(now);
            notify("WATCHDOG=1");
        }
    }
}

/// The listening sockets that systemd has opened for us. Call it once, before anything else opens files; a root that was
/// upgraded has its own already.
pub(super) fn handed() -> Vec<OwnedFd> {
    let number = |name| env::var(name).ok()?.parse::<i32>().ok();
    let ours = number("LISTEN_PID") == i32::try_from(process::id()).ok();
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0).clamp(0, MOST);
    let numbers: Vec<_> = (FIRST..FIRST + count).collect();
    let copies: Vec<_> = numbers.iter().filter_map(|number| reexec::copy(*number).ok()).collect();
    reexec::close(&numbers);
    let (good, other): (Vec<_>, Vec<_>) = copies.into_iter().partition(reexec::listens);
    if !other.is_empty() {
        warn!(count = other.len(), "descriptors not used");
    }
    good
}

/// May other sockets be bound beside this one?
pub(super) fn shares(fd: &OwnedFd) -> bool {
    use nix::sys::socket::{getsockopt, sockopt::ReusePort};
    getsockopt(&fd.as_fd(), ReusePort).unwrap_or(false)
}
