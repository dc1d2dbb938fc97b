//! How the actors are doing, for `jovis status`: written by supervision, read by whoever asks.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use super::Ended;

/// How one child of the tree is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// Its name.
    pub actor: &'static str,
    /// How far it is.
    pub state: Condition,
    /// How many of them there are now: one, but for the users' spawners.
    pub count: usize,
    /// How often it was started again.
    pub restarts: u64,
    /// How it ended last, if not because it was asked to.
    pub last_failure: Option<Failure>,
    /// Asks that were sent and are not answered: in its mailbox or in hand.
    pub waiting: usize,
}

/// How far a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its turn has not come, or it is being made.
    Starting,
    /// It works.
    Up,
    /// It failed and is about to be started again.
    Restarting,
    /// It has done its work, or was asked to stop.
    Ended,
}

impl Condition {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Restarting => "restarting",
            Self::Ended => "ended",
        }
    }
}

/// How a child failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// What was said.
    pub how: String,
    /// Seconds since.
    pub seconds_ago: u64,
}

/// An input that is put aside because actors died over it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aside {
    /// Whose.
    pub actor: &'static str,
    /// What.
    pub input: String,
    /// Seconds until it is tried again.
    pub for_another: u64,
}

/// What is known of one child. Clones share it.
#[derive(Debug, Clone)]
pub struct Chart(Arc<Mutex<Entry>>);

#[derive(Debug)]
struct Entry {
    actor: &'static str,
    state: Condition,
    count: usize,
    starts: u64,
    first: u64,
    last_failure: Option<(String, Instant)>,
}

impl Chart {
    /// Of a child that has not begun.
    pub fn new(actor: &'static str) -> Self {
        let entry = Entry {
            actor,
            state: Condition::Starting,
            count: 0,
            starts: 0,
            first: 1,
            last_failure: None,
        };
        Self(Arc::new(Mutex::new(entry)))
    }

    /// Of many children under one name, which come and go: only what was said with [`Chart::failed`] counts as a
    /// restart.
    pub fn of_many(actor: &'static str) -> Self {
        let chart = Self::new(actor);
        chart.edit(|it| (it.state, it.first) = (Condition::Up, 0));
        chart
    }

    /// It is being made.
    pub fn begins(&self) {
        self.edit(|it| {
            it.starts += 1;
            if it.starts == 1 {
                it.state = Condition::Starting;
            }
        });
    }

    /// It works.
    pub fn up(&self) {
        self.edit(|it| (it.state, it.count) = (Condition::Up, 1));
    }

    /// So many are there.
    pub fn count(&self, count: usize) {
        self.edit(|it| it.count = count);
    }

    /// One of many failed, and will be started again.
    pub fn failed(&self, how: impl Display) {
        self.edit(|it| {
            it.starts += 1;
            it.last_failure = Some((how.to_string(), Instant::now()));
        });
    }

    /// It ended so; `again`: it will be started again.
    pub fn ended(&self, how: &Ended, again: bool) {
        self.edit(|it| {
            it.state = if again { Condition::Restarting } else { Condition::Ended };
            it.count = 0;
            if *how != Ended::Normal {
                it.last_failure = Some((how.to_string(), Instant::now()));
            }
        });
    }

    /// As of now; `waiting` is known to whoever holds its name.
    pub fn health(&self, waiting: usize) -> Health {
        self.edit(|it| Health {
            actor: it.actor,
            state: it.state,
            count: it.count,
            restarts: it.starts.saturating_sub(it.first),
            last_failure: it
                .last_failure
                .as_ref()
                .map(|(how, at)| Failure { how: how.clone(), seconds_ago: seconds(at.elapsed()) }),
            waiting,
        })
    }

    /// Whose it is.
    pub fn actor(&self) -> &'static str {
        self.edit(|it| it.actor)
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Entry) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whole seconds, rounded.
pub(super) fn seconds(span: Duration) -> u64 {
    (span + Duration::from_millis(500)).as_secs()
}
