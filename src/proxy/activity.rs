//! Last use per route: noted by the workers, told to the hub now and then, kept while the hub is away.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Instant,
};

use super::table::Entry;
use crate::ipc::{frame::LIMIT, proxy::Seen};

/// Most routes told at once.
const MOST: usize = 200;
/// Most bytes of a message that they may fill.
const ROOM: usize = LIMIT - 1024;

/// Milliseconds of a clock that never goes back; never 0.
pub(super) fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1
}

/// The routes with news. Bounded by the number of routes: each is in it once.
#[derive(Debug, Default)]
pub(super) struct Activity(Mutex<Vec<Arc<Entry>>>);

impl Activity {
    /// Somebody uses this route.
    pub(super) fn note(&self, entry: &Arc<Entry>) {
        if entry.is_hub() {
            return;
        }
        entry.used.store(now_ms(), Release);
        if !entry.listed.load(Relaxed) && !entry.listed.swap(true, AcqRel) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        }
    }

    /// Takes routes with news, as many as fit into a message.
    pub(super) fn take(&self) -> Vec<Arc<Entry>> {
        let mut news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = ROOM;
        let fits = |entry: &&Arc<Entry>| {
            // Quotes and backslashes double, and numbers and names stand around it.
            let size = entry.spec().len() * 2 + 64;
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        };
        let count = news.iter().rev().take(MOST).take_while(fits).count();
        // One that never fits goes alone and is refused by the link; it must not hold up the others.
        let from = news.len() - count.max(1).min(news.len());
        news.split_off(from)
    }

    /// They could not be told: keep them for the next time.
    pub(super) fn put_back(&self, entries: Vec<Arc<Entry>>) {
        let mut news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        news.extend(entries.into_iter().filter(|entry| !entry.listed.swap(true, AcqRel)));
    }
}

/// What the hub is told of them. From here on new traffic is news again.
pub(super) fn told(entries: &[Arc<Entry>]) -> Vec<Seen> {
    let seen = |entry: &Arc<Entry>| {
        entry.listed.store(false, Release);
        let ago_ms = now_ms().saturating_sub(entry.used.load(Acquire));
        Seen { spec: entry.route().spec, ago_ms }
    };
    entries.iter().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{Route, RouteSpec};

    use super::*;
    use crate::proxy::target::Target;

    fn entry(spec: &str) -> Arc<Entry> {
        let route = Route { spec: RouteSpec::new(spec), target: String::new(), server: None };
        Arc::new(Entry::new(route, Target::parse(""), 1))
    }

    #[test]
    fn a_used_route_is_told_once() {
        let activity = Activity::default();
        let (a, b) = (entry("/a"), entry("/b"));
        for entry in [&a, &a, &b, &a] {
            activity.note(entry);
        }
        let news = activity.take();
        assert_eq!(
            told(&news).iter().map(|seen| seen.spec.as_str()).collect::<Vec<_>>(),
            ["/a/", "/b/"]
        );
        assert!(activity.take().is_empty());
        activity.note(&a);
        assert_eq!(activity.take().len(), 1);
    }

    #[test]
    fn no_message_is_too_long() {
        let activity = Activity::default();
        for i in 0..MOST + 50 {
            activity.note(&entry(&format!("/user/{i}")));
        }
        let first = activity.take();
        assert_eq!((first.len(), activity.take().len()), (MOST, 50));
        told(&first);
        activity.put_back(first.clone());
        activity.put_back(first);
        assert_eq!((activity.take().len(), activity.take().len()), (MOST, 0));
        for i in 0..MOST {
            activity.note(&entry(&format!("/user/{i}{}", "x\"".repeat(150))));
        }
        let mut all = 0;
        while all < MOST {
            let seen = told(&activity.take());
            assert!(serde_json::to_vec(&seen).unwrap().len() < LIMIT - 100);
            all += seen.len();
        }
    }
}
