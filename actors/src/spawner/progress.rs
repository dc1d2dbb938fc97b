//! What people see of a start: a board all spawner actors write to and the web reads from.
//!
//! Kept in memory only, outside of the actors: it is read while an actor restarts, and nobody waits for anybody.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::watch;

use crate::{
    domain::ServerKey,
    spawners::{Event, Place, Report, Trouble},
};

/// So many servers are kept in mind; beyond that the oldest whose start has ended are dropped.
pub const MOST: usize = 10_000;

/// Longest report of one start: a spawner that chatters on is not listened to.
const MOST_EVENTS: usize = 200;

/// The board.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<RwLock<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    servers: HashMap<ServerKey, Entry>,
    /// Where those stand that wait for room.
    places: HashMap<ServerKey, Place>,
    /// Counts starts: who is oldest.
    starts: u64,
}

#[derive(Debug)]
struct Entry {
    report: watch::Sender<Arc<Report>>,
    trouble: Option<Trouble>,
    start: u64,
}

impl Board {
    /// A start begins: an empty report in place of the last one.
    pub fn begin(&self, key: &ServerKey) {
        let mut entries = self.write();
        entries.starts += 1;
        let start = entries.starts;
        let entry = entries.servers.entry(key.clone()).or_insert_with(|| Entry::new(start));
        entry.start = start;
        entry.trouble = None;
        entry.report.send_replace(Arc::default());
        entries.prune();
    }

    /// One step of the start in hand. Progress does not go back.
    pub fn say(&self, key: &ServerKey, progress: u8, message: impl Into<String>) {
        let entries = self.read();
        let Some(entry) = entries.servers.get(key) else { return };
        entry.report.send_if_modified(|report| {
            if report.outcome.is_some() || report.events.len() >= MOST_EVENTS {
                return false;
            }
            let last = report.events.last().map_or(0, |event| event.progress);
            let event = Event { progress: progress.max(last), message: message.into() };
            Arc::make_mut(report).events.push(event);
            true
        });
    }

    /// It is in service.
    pub fn ready(&self, key: &ServerKey) {
        if let Some(entry) = self.read().servers.get(key) {
            entry.finish(Ok(()));
        }
    }

    /// The start failed or the life ended. On request: nothing to remember but the end of the start.
    pub fn ended(&self, key: &ServerKey, trouble: Trouble, on_request: bool) {
        let mut entries = self.write();
        let start = entries.starts;
        let entry = entries.servers.entry(key.clone()).or_insert_with(|| Entry::new(start));
        entry.trouble = (!on_request).then(|| trouble.clone());
        entry.finish(Err(trouble));
        entries.prune();
    }

    /// The steps so far.
    pub fn report(&self, key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>> {
        self.read().servers.get(key).map(|entry| entry.report.subscribe())
    }

    /// All who wait for room, and where they stand.
    pub fn line_up(&self, places: HashMap<ServerKey, Place>) {
        self.write().places = places;
    }

    /// Where this server stands among those that wait for room.
    pub fn place(&self, key: &ServerKey) -> Option<Place> {
        self.read().places.get(key).copied()
    }

    /// What went wrong last.
    pub fn trouble(&self, key: &ServerKey) -> Option<Trouble> {
        self.read().servers.get(key).and_then(|entry| entry.trouble.clone())
    }

    // A panic elsewhere leaves whole values behind: each is replaced as one.
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(start: u64) -> Self {
        Self { report: watch::Sender::default(), trouble: None, start }
    }

    fn finish(&self, outcome: Result<(), Trouble>) {
        self.report.send_if_modified(|report| {
            let open = report.outcome.is_none();
            if open {
                Arc::make_mut(report).outcome = Some(outcome);
            }
            open
        });
    }
}

impl Entries {
    fn prune(&mut self) {
        if self.servers.len() <= MOST {
            return;
        }
        let ended = |entry: &Entry| entry.report.borrow().outcome.is_some();
        let mut oldest: Vec<_> =
            self.servers.values().filter(|entry| ended(entry)).map(|entry| entry.start).collect();
        oldest.sort_unstable();
        // A tenth at once, so that this is seldom.
        let Some(limit) = oldest.get((MOST / 10).min(oldest.len().saturating_sub(1))) else {
            return;
        };
        self.servers.retain(|_, entry| entry.start > *limit || !ended(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, Moment, ServerName, UserId};

    fn key(n: u64) -> ServerKey {
        ServerKey { user: UserId(n), name: ServerName::default_server() }
    }

    fn trouble() -> Trouble {
        Trouble { cause: Cause::Exited(1), at: Moment(1), tail: "last words".into() }
    }

    #[test]
    fn a_report_goes_forward_and_ends_once() {
        let board = Board::default();
        board.begin(&key(1));
        let report = board.report(&key(1)).unwrap();
        board.say(&key(1), 50, "half");
        board.say(&key(1), 10, "still");
        board.ended(&key(1), trouble(), false);
        board.ready(&key(1));
        board.say(&key(1), 90, "too late");
        let seen = report.borrow().clone();
        assert_eq!(seen.events.iter().map(|it| it.progress).collect::<Vec<_>>(), [50, 50]);
        assert_eq!(seen.outcome, Some(Err(trouble())));
        assert_eq!(board.trouble(&key(1)), Some(trouble()));
        board.begin(&key(1));
        assert_eq!(board.trouble(&key(1)), None);
        assert_eq!(**report.borrow(), Report::default(), "the same watchers see the next start");
    }

    #[test]
    fn an_end_on_request_is_no_trouble() {
        let board = Board::default();
        board.begin(&key(1));
        board.ended(&key(1), trouble(), true);
        assert_eq!(board.trouble(&key(1)), None);
    }

    #[test]
    fn the_board_is_bounded_but_keeps_starts_in_hand() {
        let board = Board::default();
        board.begin(&key(0));
        for n in 1..=MOST as u64 {
            board.begin(&key(n));
            board.ready(&key(n));
        }
        assert!(board.read().servers.len() <= MOST);
        assert!(board.report(&key(0)).is_some() && board.report(&key(1)).is_none());
    }
}
