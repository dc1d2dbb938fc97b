//! The route table: the longest prefix by whole segments. Pure; readers see one moment, an update copies little.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use imbl::HashMap;
use jovis_actors::domain::{Route, RouteSpec};

use super::target::Target;

/// A route in the table, and what its traffic leaves behind.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the hub gave it.
    pub(super) route: Route,
    /// Its target, understood.
    pub(super) target: Target,
    /// No two entries ever have the same: connections are pooled by it, so that none outlives its route.
    pub(super) generation: u64,
    /// False once it is out of the table.
    pub(super) live: AtomicBool,
    /// Last use, in milliseconds of [`super::activity::now_ms`]; 0: none that hasn't been told.
    pub(super) used: AtomicU64,
    /// Is it in the list of those with news?
    pub(super) listed: AtomicBool,
    /// When a failure of it was last logged.
    pub(super) warned: AtomicU64,
}

impl Entry {
    /// A fresh one.
    pub(super) fn new(route: Route, target: Target, generation: u64) -> Self {
        Self {
            route,
            target,
            generation,
            live: AtomicBool::new(true),
            used: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            warned: AtomicU64::new(0),
        }
    }

    /// Is this the hub?
    pub(super) fn is_hub(&self) -> bool {
        matches!(self.target, Target::Unix(_))
    }
}

/// The table at one moment. Keys are specs without the slash at the end; the root's key is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: HashMap<Arc<str>, Arc<Entry>>,
    /// No route has more segments.
    depth: usize,
}

impl Table {
    /// The route with the longest prefix of this decoded path (see [`super::path::matchable`]).
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Entry>> {
        if self.entries.is_empty() {
            return None;
        }
        let ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
        let end = ends.map(|(at, _)| at).nth(self.depth).unwrap_or(path.len());
        let mut prefix = &path[..end];
        loop {
            if let Some(entry) = self.entries.get(prefix) {
                return Some(entry);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

/// The table as it changes.
#[derive(Debug)]
pub(super) struct Routes {
    now: ArcSwap<Table>,
    /// The next generation; held while writing.
    next: Mutex<u64>,
}

impl Routes {
    /// Without routes. Generation 0 is the hub's.
    pub(super) fn new() -> Self {
        Self { now: ArcSwap::default(), next: Mutex::new(1) }
    }

    /// This moment's table.
    pub(super) fn now(&self) -> arc_swap::Guard<Arc<Table>> {
        self.now.load()
    }

    /// Adds or replaces. A route that stays the same keeps its connections.
    pub(super) fn set(&self, routes: Vec<Route>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        for route in routes {
            let key = key(&route.spec);
            if table.entries.get(key).is_some_and(|entry| entry.route == route) {
                continue;
            }
            table.depth = table.depth.max(key.matches('/').count());
            let entry = Entry::new(route.clone(), Target::parse(&route.target), *next);
            *next += 1;
            if let Some(old) = table.entries.insert(key.into(), Arc::new(entry)) {
                old.live.store(false, Relaxed);
            }
        }
        self.now.store(Arc::new(table));
    }

    /// Takes these out; what isn't there is no error.
    pub(super) fn remove(&self, specs: &[RouteSpec]) {
        let _writing = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        for spec in specs {
            if let Some(old) = table.entries.remove(key(spec)) {
                old.live.store(false, Relaxed);
            }
        }
        if table.entries.is_empty() {
            table.depth = 0;
        }
        self.now.store(Arc::new(table));
    }

    /// All routes, in no order.
    pub(super) fn list(&self) -> Vec<Route> {
        self.now.load().entries.values().map(|entry| entry.route.clone()).collect()
    }
}

/// The key of a spec.
fn key(spec: &RouteSpec) -> &str {
    spec.as_str().strip_suffix('/').unwrap_or(spec.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(spec: &str, target: &str) -> Route {
        Route { spec: RouteSpec::new(spec), target: target.to_owned(), server: None }
    }

    fn found(routes: &Routes, path: &str) -> Option<String> {
        routes.now().find(path).map(|entry| entry.route.spec.to_string())
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let routes = Routes::new();
        assert_eq!(found(&routes, "/user"), None);
        routes.set(
            ["/user/al", "/user/al/named", "/services/x"].map(|s| route(s, "http://a:1")).into(),
        );
        let table = [
            ("/user/al", Some("/user/al/")),
            ("/user/al/", Some("/user/al/")),
            ("/user/al//x", Some("/user/al/")),
            ("/user/al/named/x/y/z", Some("/user/al/named/")),
            ("/user/al/namedx", Some("/user/al/")),
            ("/user/alx", None),
            ("//user/al", None),
            ("/user", None),
            ("/", None),
        ];
        for (path, expected) in table {
            assert_eq!(found(&routes, path).as_deref(), expected, "{path}");
        }
        routes.set(vec![route("/", "http://a:1")]);
        assert_eq!(found(&routes, "/").as_deref(), Some("/"));
        assert_eq!(found(&routes, "//user/al").as_deref(), Some("/"));
    }

    #[test]
    fn a_changed_target_is_a_new_generation() {
        let routes = Routes::new();
        let generation = |routes: &Routes| routes.now().find("/a").unwrap().generation;
        routes.set(vec![route("/a", "http://a:1")]);
        let first = routes.now().find("/a").unwrap().clone();
        routes.set(vec![route("/a", "http://a:1")]);
        assert_eq!(generation(&routes), first.generation);
        routes.set(vec![route("/a", "http://a:2")]);
        assert_ne!(generation(&routes), first.generation);
        assert!(!first.live.load(Relaxed));
        routes.remove(&[RouteSpec::new("/a"), RouteSpec::new("/b")]);
        assert!(routes.list().is_empty());
    }

    /// Compares segment by segment.
    fn naive(specs: &[String], path: &str) -> Option<String> {
        let path: Vec<_> = path.split('/').skip(1).collect();
        let fits = |spec: &&String| {
            let spec: Vec<_> =
                spec.trim_matches('/').split('/').filter(|s| !s.is_empty()).collect();
            path.len() >= spec.len() && path[..spec.len()] == spec[..]
        };
        specs.iter().filter(fits).max_by_key(|spec| spec.len()).cloned()
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_model(
            specs in proptest::collection::vec("(/[ab]{1,2}){0,4}/", 0..12),
            gone in proptest::collection::vec("(/[ab]{1,2}){0,4}/", 0..6),
            path in "(/[ab]{0,2}){1,6}",
        ) {
            let routes = Routes::new();
            routes.set(specs.iter().map(|spec| route(spec, "http://a:1")).collect());
            routes.remove(&gone.iter().map(|spec| RouteSpec::new(spec)).collect::<Vec<_>>());
            let left: Vec<_> = specs.into_iter().filter(|spec| !gone.contains(spec)).collect();
            prop_assert_eq!(found(&routes, &path), naive(&left, &path));
        }
    }
}
