//! Password checks in flight: a fresh helper for each, so many at once, so long each.

use std::{
    cell::LazyCell,
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use super::{
    baggage::{CheckAway, Packer, QuestionAway, left, millis},
    helpers::{Helper, Word},
    policy::Refusal,
};
use crate::{
    config::sections::Pam,
    ipc::{
        helper::{Question, Verdict},
        root::RootSays,
    },
    os::{
        process::{self, io_step},
        reexec,
    },
};

/// Most that wait for a place.
const MOST_WAITING: usize = 256;

#[derive(Debug)]
struct Running {
    id: Option<u64>,
    helper: Helper,
}

#[derive(Debug)]
struct Waiting {
    id: Option<u64>,
    question: Question,
    pipe: OwnedFd,
    until: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Checks {
    running: Vec<Running>,
    waiting: VecDeque<Waiting>,
}

impl Checks {
    /// Takes a question and the pipe with the password, which root never reads.
    pub(super) fn ask(
        &mut self,
        id: Option<u64>,
        question: Question,
        pipe: OwnedFd,
        limits: &Pam,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(crowd());
        }
        let until = now + limits.timeout.duration();
        self.waiting.push_back(Waiting { id, question, pipe, until });
        Ok(())
    }

    /// What to poll.
    pub(super) fn links(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.iter().map(|check| check.helper.link.as_fd())
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let running = self.running.iter().map(|check| check.helper.until);
        running.chain(self.waiting.front().map(|check| check.until)).min()
    }

    /// Hears helpers, ends late ones, starts the next ones. Returns answers.
    pub(super) fn step(&mut self, limits: &Pam, now: Instant) -> Vec<(Option<u64>, RootSays)> {
        let mut answers = Vec::new();
        let all = LazyCell::new(process::all);
        self.running.retain(|check| {
            let verdict = match check.helper.hear(&all, now) {
                Word::Said(verdict) => verdict,
                Word::None => return true,
                Word::Late => Verdict::Timeout { seconds: check.helper.limit.as_secs() },
                Word::Gone => {
                    Verdict::Failed { text: "the helper ended without a word".to_owned() }
                }
            };
            answers.push((check.id, RootSays::PamVerdict(verdict)));
            false
        });
        while self.running.len() < usize::from(limits.concurrency.max(1)) {
            let Some(next) = self.waiting.pop_front() else { break };
            let id = next.id;
            match io_step("start helper", start(next, limits.timeout.duration(), now)) {
                Ok(check) => self.running.push(check),
                Err(failed) => answers.push((id, failed.into())),
            }
        }
        while self.waiting.front().is_some_and(|check| now >= check.until) {
            let id = self.waiting.pop_front().and_then(|check| check.id);
            answers.push((id, crowd().into()));
        }
        answers
    }

    /// For the next root of this process.
    pub(super) fn away(
        &self,
        packer: &mut Packer,
        now: Instant,
    ) -> (Vec<CheckAway>, Vec<QuestionAway>) {
        let running = self.running.iter().map(|Running { id, helper }| CheckAway {
            id: *id,
            link: packer.pack(&helper.link),
            pid: helper.pid,
            since: helper.since,
            pidfd: packer.pack(&helper.pidfd),
            left_ms: left(helper.until, now),
            limit_ms: millis(helper.limit),
        });
        let running = running.collect();
        let waiting = self.waiting.iter().map(|check| QuestionAway {
            id: check.id,
            question: check.question.clone(),
            pipe: packer.pack(&check.pipe),
            left_ms: left(check.until, now),
        });
        (running, waiting.collect())
    }

    /// As an earlier root of this process left them.
    pub(super) fn bring_back(
        &mut self,
        running: Vec<CheckAway>,
        waiting: Vec<QuestionAway>,
        now: Instant,
    ) -> io::Result<()> {
        for CheckAway { id, link, pid, since, pidfd, left_ms, limit_ms } in running {
            let (link, pidfd) = (reexec::copy(link)?, reexec::copy(pidfd)?);
            let until = now + Duration::from_millis(left_ms);
            let limit = Duration::from_millis(limit_ms);
            let helper = Helper { link, pid, since, pidfd, until, limit };
            self.running.push(Running { id, helper });
        }
        for QuestionAway { id, question, pipe, left_ms } in waiting {
            let (pipe, until) = (reexec::copy(pipe)?, now + Duration::from_millis(left_ms));
            self.waiting.push_back(Waiting { id, question, pipe, until });
        }
        Ok(())
    }

    /// Nobody waits for the answers any more.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        let all = LazyCell::new(process::all);
        self.running.drain(..).for_each(|check| check.helper.end(&all));
    }
}

fn crowd() -> Refusal {
    Refusal("too many password checks at once".to_owned())
}

fn start(next: Waiting, limit: Duration, now: Instant) -> io::Result<Running> {
    let helper = Helper::start("@helper", &next.question, &[next.pipe.as_fd()], limit, now)?;
    Ok(Running { id: next.id, helper })
}
