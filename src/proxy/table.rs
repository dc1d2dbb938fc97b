//! The route table: the longest prefix by whole segments. Pure; readers see one moment, an update copies little.

use std::{
    borrow::{Borrow, Cow},
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use imbl::HashMap;
use jovis_actors::domain::{Route, RouteSpec};

use super::target::Target;

/// What stands at the other end of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Our own hub: waited for while it restarts.
    Hub,
    /// A user's server.
    Server,
    /// A service, or something we know nothing about.
    Other,
}

/// A route in the table, and what its traffic leaves behind.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the hub gave it.
    pub(super) route: Route,
    /// Its target, understood.
    pub(super) target: Target,
    /// What is there.
    pub(super) kind: Kind,
    /// What somebody stored with it, as the inside of a JSON object; empty: nothing.
    #[expect(dead_code, reason = "for routes that are managed over REST")]
    pub(super) data: Box<str>,
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
        let kind = if route.server.is_some() { Kind::Server } else { Kind::Other };
        Self {
            route,
            target,
            kind,
            data: Box::default(),
            generation,
            live: AtomicBool::new(true),
            used: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            warned: AtomicU64::new(0),
        }
    }

    /// The hub, at its socket: where everything goes that has no route. Its generation is 0.
    pub(super) fn hub(socket: PathBuf) -> Self {
        let route = Route { spec: RouteSpec::new("/"), target: String::new(), server: None };
        Self { kind: Kind::Hub, ..Self::new(route, Target::socket(socket), 0) }
    }

    /// With what was stored, last used then, and nobody waits to hear of it.
    fn stored(self, data: Box<str>, used: u64) -> Self {
        self.used.store(used, Relaxed);
        self.listed.store(true, Relaxed);
        Self { data, ..self }
    }

    /// Is this the hub?
    pub(super) fn is_hub(&self) -> bool {
        self.kind == Kind::Hub
    }
}

/// The table at one moment. Keys are specs without the slash at the end; the root's key is empty, and those of a host
/// begin with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: HashMap<Key, Arc<Entry>>,
    /// No route has more segments.
    depth: usize,
    /// How many routes belong to one host.
    hosted: usize,
}

/// A spec, looked up without its slash at the end. It shares the route's text.
#[derive(Debug, Clone)]
struct Key(RouteSpec);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        key(&self.0)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key(&self.0).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Table {
    /// The route for a request: of the host's own the one with the longest prefix of this decoded path (see
    /// [`super::path::matchable`]), else the same of all hosts' routes. `host`: the request's `Host`.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<&Arc<Entry>> {
        let own = if self.hosted > 0 {
            // Without a slash at the end, as the key of a host's root has none.
            let path = path.strip_suffix('/').unwrap_or(path);
            self.longest(&format!("{}{path}", bare_host(host)))
        } else {
            None
        };
        own.or_else(|| self.longest(path))
    }

    fn longest(&self, path: &str) -> Option<&Arc<Entry>> {
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

impl Table {
    /// All entries, in no order.
    #[expect(dead_code, reason = "for routes that are managed over REST")]
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// How many there are.
    #[expect(dead_code, reason = "for routes that are managed over REST")]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let spec = entry.route.spec.clone();
        self.depth = self.depth.max(key(&spec).matches('/').count());
        self.hosted += usize::from(spec.host().is_some());
        if let Some(old) = self.entries.insert(Key(spec), entry) {
            self.left(&old);
        }
    }

    /// Was it there?
    fn remove(&mut self, spec: &RouteSpec) -> bool {
        let old = self.entries.remove(key(spec));
        old.inspect(|old| self.left(old)).is_some()
    }

    fn left(&mut self, old: &Entry) {
        old.live.store(false, Relaxed);
        self.hosted -= usize::from(old.route.spec.host().is_some());
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

    /// The entry of exactly this route.
    #[expect(dead_code, reason = "for routes that are managed over REST")]
    pub(super) fn exactly(&self, spec: &RouteSpec) -> Option<Arc<Entry>> {
        self.now.load().entries.get(key(spec)).cloned()
    }

    /// An entry that isn't in the table: of no route, but with connections like others.
    #[expect(dead_code, reason = "for routes that are managed over REST")]
    pub(super) fn apart(&self, route: Route) -> Entry {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        let target = Target::parse(&route.target);
        Entry::new(route, target, *next - 1)
    }

    /// Adds or replaces a route with what is stored with it. `used`: when it was last used, in the clock of
    /// [`Entry::used`].
    #[cfg_attr(not(test), expect(dead_code, reason = "for routes that are managed over REST"))]
    pub(super) fn store(&self, route: Route, data: Box<str>, used: u64) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        let target = Target::parse(&route.target);
        let entry = Entry::new(route, target, *next).stored(data, used);
        *next += 1;
        table.insert(Arc::new(entry));
        self.now.store(Arc::new(table));
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
            let target = Target::parse(&route.target);
            let entry = Entry::new(route, target, *next);
            *next += 1;
            table.insert(Arc::new(entry));
        }
        self.now.store(Arc::new(table));
    }

    /// Takes these out; what isn't there is no error. How many were there?
    pub(super) fn remove(&self, specs: &[RouteSpec]) -> usize {
        let _writing = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        let removed = specs.iter().filter(|spec| table.remove(spec)).count();
        if table.entries.is_empty() {
            table.depth = 0;
        }
        self.now.store(Arc::new(table));
        removed
    }

    /// All routes, in no order.
    pub(super) fn list(&self) -> Vec<Route> {
        self.now.load().entries.values().map(|entry| entry.route.clone()).collect()
    }
}

/// A `Host` as routes have it: without its port, in small letters.
fn bare_host(host: &str) -> Cow<'_, str> {
    let end = host.rfind(']').map_or(0, |at| at + 1);
    let bare = host[end..].find(':').map_or(host, |at| &host[..end + at]);
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        bare.to_ascii_lowercase().into()
    } else {
        bare.into()
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
        routes.now().find("", path).map(|entry| entry.route.spec.to_string())
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
    fn a_hosts_routes_go_before_those_of_all() {
        let routes = Routes::new();
        let on =
            |host, path| Route { spec: RouteSpec::on_host(host, path), ..route("/", "http://a:1") };
        routes.set(vec![
            route("/user/al", "http://a:1"),
            on("Al.example.com", "/"),
            on("al.example.com", "/user/al"),
            on("[::1]", "/x/y/"),
        ]);
        for (host, path, expected) in [
            ("al.example.com", "/", Some("al.example.com/")),
            ("AL.Example.com:8000", "/user/alx", Some("al.example.com/")),
            ("al.example.com", "/user/al", Some("al.example.com/user/al/")),
            ("al.example.com:80", "/user/al/lab", Some("al.example.com/user/al/")),
            ("al.example.co", "/user/al/lab", Some("/user/al/")),
            ("al.example.com.", "/x", None),
            ("[::1]:8000", "/x/y/z", Some("[::1]/x/y/")),
            ("[::1]", "/x/y/", Some("[::1]/x/y/")),
            ("[::1]", "/x", None),
            ("", "/user/al", Some("/user/al/")),
        ] {
            let now = routes.now();
            let found = now.find(host, path).map(|entry| entry.route.spec.as_str());
            assert_eq!(found, expected, "{host}{path}");
        }
        let specs = ["al.example.com", "[::1]"].map(|host| RouteSpec::on_host(host, "/"));
        assert_eq!(routes.remove(&specs), 1);
        routes.store(on("al.example.com", "/user/al"), "\"a\":1".into(), 1);
        let specs =
            [RouteSpec::on_host("al.example.com", "user/al"), RouteSpec::on_host("[::1]", "x/y")];
        assert_eq!((routes.remove(&specs), routes.now().hosted), (2, 0));
    }

    #[test]
    fn a_changed_target_is_a_new_generation() {
        let routes = Routes::new();
        let generation = |routes: &Routes| routes.now().find("", "/a").unwrap().generation;
        routes.set(vec![route("/a", "http://a:1")]);
        let first = routes.now().find("", "/a").unwrap().clone();
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
