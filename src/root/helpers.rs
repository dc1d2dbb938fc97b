//! A helper: ourselves again in a small role, for one question, with a limit.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{birth, children};
use crate::{
    ipc::frame::{self, FrameError},
    os::{
        fd,
        process::{self, Stat},
    },
};

/// Most memory in bytes that one may have, whatever it loads.
const MEMORY: u64 = 512 << 20;

/// One that has been asked.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) link: OwnedFd,
    pub(super) pid: i32,
    /// Its start time; with the number it names the process.
    pub(super) since: u64,
    pub(super) pidfd: OwnedFd,
    pub(super) until: Instant,
    pub(super) limit: Duration,
}

/// What a helper has said by now.
pub(super) enum Word<T> {
    /// Its answer; it is being ended.
    Said(T),
    /// Nothing yet.
    None,
    /// Nothing within its limit: it has been killed.
    Late,
    /// It ended, or said what is no answer.
    Gone,
}

impl Helper {
    /// Starts one in this role and asks it.
    pub(super) fn start(
        role: &str,
        question: &impl Serialize,
        fds: &[BorrowedFd<'_>],
        limit: Duration,
        now: Instant,
    ) -> io::Result<Self> {
        let (link, theirs) = fd::pair()?;
        frame::send(link.as_fd(), question, fds).map_err(io::Error::other)?;
        // That it could not become a helper shows as the end of its link.
        let act = || birth::role(role, None, false, None, &theirs, MEMORY);
        let (forked, pidfd) = birth::fork(process::pidfd, act)?;
        let since = process::stat(forked.pid).map_or(0, |stat| stat.since);
        Ok(Self { link, pid: forked.pid, since, pidfd, until: now + limit, limit })
    }

    /// What it says. `all` is everything that runs.
    pub(super) fn hear<T: DeserializeOwned>(
        &self,
        all: &impl std::ops::Deref<Target = Vec<(i32, Stat)>>,
        now: Instant,
    ) -> Word<T> {
        match frame::recv::<T>(self.link.as_fd()) {
            Ok((said, _)) => {
                // It has said all it has to say, and so has what it may have left behind.
                if process::has_children(self.pid) {
                    self.end(all);
                } else {
                    drop(process::signal(self.pidfd.as_fd(), libc::SIGKILL));
                }
                Word::Said(said)
            }
            Err(FrameError::WouldBlock) if now < self.until => Word::None,
            Err(error) => {
                self.end(all);
                if matches!(error, FrameError::WouldBlock) { Word::Late } else { Word::Gone }
            }
        }
    }

    /// Ends it and whatever it has started.
    pub(super) fn end(&self, all: &[(i32, Stat)]) {
        drop(process::signal(self.pidfd.as_fd(), libc::SIGKILL));
        for (pid, since) in children::family(all, self.pid, self.since) {
            process::kill_same(pid, since);
        }
    }
}
