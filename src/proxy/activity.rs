//! Last use per route: noted by the workers, told to the hub now and then, kept while the hub is away.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Instant,
};

use super::table::Entry;
use crate::ipc::proxy::Seen;

/// Most routes told at once.
pub(super) const MOST: usize = 200;

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

    /// Takes at most [`MOST`] routes with news.
    pub(super) fn take(&self) -> Vec<Arc<Entry>> {
        let mut news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = news.len().saturating_sub(MOST);
        news.split_off(from)
    }

    /// They could not be told: keep them for the next time.
    pub(super) fn put_back(&self, entries: Vec<Arc<Entry>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }
}

/// What the hub is told of them. From here on new traffic is news again.
pub(super) fn told(entries: &[Arc<Entry>]) -> Vec<Seen> {
    let seen = |entry: &Arc<Entry>| {
        entry.listed.store(false, Release);
        let ago_ms = now_ms().saturating_sub(entry.used.load(Acquire));
        Seen { spec: entry.route.spec.clone(), ago_ms }
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
        Arc::new(Entry::new(route, Target::Unusable, 1))
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
        activity.put_back(first);
        assert_eq!(activity.take().len(), MOST);
    }
}
