//! Accounts of this machine, for people the hub lets in: looked up side by side, made one after the other (the tools that
//! make them lock /etc/passwd and fail instead of waiting). Who asks for a name that is in hand already waits for the
//! same answer.

use std::{
    cell::LazyCell,
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    helpers::{Helper, Word},
    policy::{self, Ourselves, Refusal},
};
use crate::{
    config::Config,
    ipc::{
        account::{AccountQuestion, Finding},
        root::RootSays,
    },
    os::process::{self, io_step},
};

/// Most look-ups at once.
const LOOKS: usize = 8;
/// How long one may take: it may ask a directory.
const LOOK: Duration = Duration::from_secs(10);
/// How long making one may take.
const MAKE: Duration = Duration::from_secs(30);
/// Most names in hand.
const MOST: usize = 1024;
/// How long one may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(110);

/// A name in hand.
#[derive(Debug)]
struct Job {
    question: AccountQuestion,
    /// Requests that wait for it.
    asked: Vec<Option<u64>>,
    /// Its turn must have come by then.
    until: Instant,
    /// Being looked up, or made.
    helper: Option<Helper>,
}

impl Job {
    fn makes(&self) -> bool {
        self.question.make.is_some()
    }
}

/// All of them, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Newcomers(VecDeque<Job>);

/// An answer, and to which requests.
pub(super) type Answer = (Vec<Option<u64>>, RootSays);

impl Newcomers {
    /// Takes a question.
    pub(super) fn ask(
        &mut self,
        id: Option<u64>,
        question: AccountQuestion,
        now: Instant,
    ) -> Result<(), Refusal> {
        if let Some(job) = self.0.iter_mut().find(|job| job.question.name == question.name) {
            job.asked.push(id);
            return Ok(());
        }
        if self.0.len() >= MOST {
            return Err(Refusal("too many accounts at once".to_owned()));
        }
        self.0.push_back(Job { question, asked: vec![id], until: now + PATIENCE, helper: None });
        Ok(())
    }

    /// What to poll.
    pub(super) fn links(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter_map(|job| job.helper.as_ref()).map(|helper| helper.link.as_fd())
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|job| job.helper.as_ref().map_or(job.until, |it| it.until)).min()
    }

    /// Hears helpers, ends late ones, starts the next ones. Returns answers.
    pub(super) fn step(&mut self, config: &Config, we: &Ourselves, now: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        let all = LazyCell::new(process::all);
        self.0.retain_mut(|job| {
            let finding = match &job.helper {
                None if now < job.until => return true,
                None => failed("too many accounts at once"),
                Some(helper) => match helper.hear(&all, now) {
                    Word::None => return true,
                    Word::Said(Finding::Missing) if !job.makes() => {
                        match policy::make(config, we, &job.question.name) {
                            Ok(None) => Finding::Missing,
                            Ok(make) => {
                                (job.helper, job.question.make) = (None, make);
                                return true;
                            }
                            Err(Refusal(text)) => Finding::Refused { text },
                        }
                    }
                    Word::Said(finding) => finding,
                    Word::Late => failed(&format!("no answer within {} s", helper.limit.as_secs())),
                    Word::Gone => failed("the helper ended without a word"),
                },
            };
            tell(&job.question.name, &finding);
            answers.push((std::mem::take(&mut job.asked), RootSays::Account(finding)));
            false
        });
        let busy = |jobs: &VecDeque<Job>, makes: bool| {
            jobs.iter().filter(|job| job.helper.is_some() && job.makes() == makes).count()
        };
        let (mut looks, mut making) = (busy(&self.0, false), busy(&self.0, true));
        self.0.retain_mut(|job| {
            let (busy, most, limit) =
                if job.makes() { (&mut making, 1, MAKE) } else { (&mut looks, LOOKS, LOOK) };
            if job.helper.is_some() || *busy >= most {
                return true;
            }
            let started = Helper::start("@account", &job.question, &[], limit, now);
            match io_step("start helper", started) {
                Ok(helper) => {
                    job.helper = Some(helper);
                    *busy += 1;
                    true
                }
                Err(error) => {
                    answers.push((std::mem::take(&mut job.asked), error.into()));
                    false
                }
            }
        });
        answers
    }

    /// Names in hand and who asks for them, for the next root of this process: it begins anew with them.
    pub(super) fn away(&self) -> Vec<(AccountQuestion, Vec<Option<u64>>)> {
        let anew = |job: &Job| AccountQuestion { make: None, ..job.question.clone() };
        self.0.iter().map(|job| (anew(job), job.asked.clone())).collect()
    }

    /// As an earlier root of this process left them.
    pub(super) fn bring_back(
        &mut self,
        away: Vec<(AccountQuestion, Vec<Option<u64>>)>,
        now: Instant,
    ) {
        let job = |(question, asked)| Job { question, asked, until: now + PATIENCE, helper: None };
        self.0.extend(away.into_iter().map(job));
    }

    /// Nobody waits for the answers any more. An account that is being made is: half of it would help nobody.
    pub(super) fn abandon(&mut self) {
        let all = LazyCell::new(process::all);
        self.0.retain_mut(|job| {
            job.asked.clear();
            let goes_on = job.makes() && job.helper.is_some();
            job.helper.iter().filter(|_| !goes_on).for_each(|helper| helper.end(&all));
            goes_on
        });
    }
}

fn failed(text: &str) -> Finding {
    Finding::Failed { text: text.to_owned() }
}

/// What happened to the machine, and what did not.
fn tell(user: &str, finding: &Finding) {
    match finding {
        Finding::Made { uid, flaw } => {
            info!(user, uid, "account made");
            if let Some(error) = flaw {
                warn!(user, error, "home folder not right");
            }
        }
        Finding::Failed { text } => warn!(user, error = text, "account not looked after"),
        Finding::Exists { .. } | Finding::Missing | Finding::Refused { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str) -> AccountQuestion {
        AccountQuestion { name: name.to_owned(), min_uid: 1000, make: None }
    }

    #[test]
    fn a_name_is_in_hand_once_and_so_many_at_most() {
        let (mut all, now) = (Newcomers::default(), Instant::now());
        for id in 0..3 {
            all.ask(Some(id), question("bob"), now).unwrap();
        }
        assert_eq!(all.0.len(), 1);
        for number in 1..MOST {
            all.ask(None, question(&format!("u{number}")), now).unwrap();
        }
        assert!(all.ask(None, question("one-too-many"), now).is_err());
        all.ask(Some(9), question("bob"), now).unwrap();
        let away = all.away();
        assert_eq!(away[0].1, [Some(0), Some(1), Some(2), Some(9)]);
        let mut next = Newcomers::default();
        next.bring_back(away, now);
        assert_eq!(next.0.len(), MOST);
        assert_eq!(next.due(), Some(now + PATIENCE));
    }

    #[test]
    fn whose_turn_does_not_come_is_told() {
        let (mut all, now) = (Newcomers::default(), Instant::now());
        all.ask(Some(1), question("bob"), now).unwrap();
        let we = Ourselves { privileged: true, uid: 0, hub: 1, proxy: 2 };
        let answers = all.step(&Config::default(), &we, now + PATIENCE);
        let [(ids, RootSays::Account(Finding::Failed { .. }))] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!(ids[..], [Some(1)]);
        assert!(all.0.is_empty() && all.due().is_none());
    }
}
