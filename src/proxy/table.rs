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
use jovis_actors::domain::{Route, RouteSpec, ServerKey};

use super::{
    life::Life,
    target::{Place, Target},
};

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

/// A route in the table, and what its traffic leaves behind. There may be hundreds of thousands, so it is small: its texts
/// lie in one piece.
#[derive(Debug)]
pub(super) struct Entry {
    /// Spec, URL of the target and what is stored, one behind another.
    text: Box<str>,
    /// Where the first two of them end.
    ends: (u32, u32),
    server: Option<Box<ServerKey>>,
    /// Its target, understood.
    pub(super) target: Target,
    /// No two entries ever have the same: connections are pooled by it, so that none outlives its route.
    pub(super) generation: u64,
    /// Last use, in milliseconds of [`super::activity::now_ms`]; 0: none that hasn't been told.
    pub(super) used: AtomicU64,
    /// When a failure of it was last logged.
    pub(super) warned: AtomicU64,
    /// Over once it is out of the table. Who holds a connection of it waits for this.
    pub(super) life: Life,
    /// Is it in the list of those with news?
    pub(super) listed: AtomicBool,
    /// What is there.
    pub(super) kind: Kind,
}

impl Entry {
    /// A fresh one.
    pub(super) fn new(route: Route, target: Target, generation: u64) -> Self {
        Self::with(route, target, generation, "")
    }

    fn with(route: Route, target: Target, generation: u64, data: &str) -> Self {
        let kind = if route.server.is_some() { Kind::Server } else { Kind::Other };
        let spec = route.spec.as_str();
        let end = |size: usize| u32::try_from(size).expect("a route's texts are no gigabytes");
        let ends = (end(spec.len()), end(spec.len() + route.target.len()));
        Self {
            text: [spec, &route.target, data].concat().into(),
            ends,
            server: route.server.map(Box::new),
            target,
            generation,
            used: AtomicU64::new(0),
            warned: AtomicU64::new(0),
            life: Life::default(),
            listed: AtomicBool::new(false),
            kind,
        }
    }

    /// The hub, at its socket: where everything goes that has no route. Its generation is 0.
    pub(super) fn hub(socket: PathBuf) -> Self {
        let route = Route { spec: RouteSpec::new("/"), target: String::new(), server: None };
        Self { kind: Kind::Hub, ..Self::new(route, Target::socket(socket), 0) }
    }

    /// Last used then, and nobody waits to hear of it.
    fn unheard(self, used: u64) -> Self {
        self.used.store(used, Relaxed);
        self.listed.store(true, Relaxed);
        self
    }

    /// Its route's spec, as text.
    pub(super) fn spec(&self) -> &str {
        &self.text[..self.ends.0 as usize]
    }

    /// The URL of its target.
    pub(super) fn url(&self) -> &str {
        &self.text[self.ends.0 as usize..self.ends.1 as usize]
    }

    /// The same where the hub is meant too, which has none.
    pub(super) fn target_url(&self) -> Cow<'_, str> {
        match &self.target.place {
            Place::Unix(path) if self.is_hub() => {
                format!("http+unix://{}", path.to_string_lossy().replace('/', "%2F")).into()
            }
            _ => self.url().into(),
        }
    }

    /// What somebody stored with it, as the inside of a JSON object; empty: nothing.
    pub(super) fn data(&self) -> &str {
        &self.text[self.ends.1 as usize..]
    }

    /// The route, as it was given.
    pub(super) fn route(&self) -> Route {
        Route {
            spec: RouteSpec::from_text(self.spec()),
            target: self.url().to_owned(),
            server: self.server.as_deref().cloned(),
        }
    }

    /// What it is looked up by.
    fn key(&self) -> &str {
        bare(self.spec())
    }

    /// Is it for one host only?
    fn is_hosted(&self) -> bool {
        !self.spec().starts_with('/')
    }

    /// Is this exactly that route?
    fn is(&self, route: &Route) -> bool {
        self.spec() == route.spec.as_str()
            && self.url() == route.target
            && self.server.as_deref() == route.server.as_ref()
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
    entries: HashMap<Slot, ()>,
    /// No route has more segments.
    depth: usize,
    /// How many routes belong to one host.
    hosted: usize,
}

/// An entry, looked up by its spec.
#[derive(Debug, Clone)]
struct Slot(Arc<Entry>);

impl Borrow<str> for Slot {
    fn borrow(&self) -> &str {
        self.0.key()
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Slot {}

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
            if let Some(entry) = self.exactly(prefix) {
                return Some(entry);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

impl Table {
    /// All entries, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.keys().map(|slot| &slot.0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn exactly(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get_key_value(key).map(|(slot, ())| &slot.0)
    }

    fn insert(&mut self, entry: Entry) {
        self.remove(entry.key());
        self.depth = self.depth.max(entry.key().matches('/').count());
        self.hosted += usize::from(entry.is_hosted());
        self.entries.insert(Slot(Arc::new(entry)), ());
    }

    /// Was it there?
    fn remove(&mut self, key: &str) -> bool {
        let Some((Slot(old), ())) = self.entries.remove_with_key(key) else { return false };
        old.life.end();
        self.hosted -= usize::from(old.is_hosted());
        true
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
    pub(super) fn exactly(&self, spec: &RouteSpec) -> Option<Arc<Entry>> {
        self.now.load().exactly(bare(spec.as_str())).cloned()
    }

    /// An entry that isn't in the table: of no route, but with connections like others.
    pub(super) fn apart(&self, route: Route) -> Entry {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        let target = Target::parse(&route.target);
        Entry::new(route, target, *next - 1).unheard(1)
    }

    /// Adds or replaces a route with what is stored with it. One that stays the same keeps its connections. `used`: when it
    /// was last used, in the clock of [`Entry::used`].
    pub(super) fn store(&self, route: Route, data: &str, used: u64) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        let old = table.exactly(bare(route.spec.as_str()));
        if let Some(old) = old.filter(|old| old.is(&route) && old.data() == data) {
            old.used.store(used, Relaxed);
            return;
        }
        let target = Target::parse(&route.target);
        table.insert(Entry::with(route, target, *next, data).unheard(used));
        *next += 1;
        self.now.store(Arc::new(table));
    }

    /// Adds or replaces. A route that stays the same keeps its connections.
    pub(super) fn set(&self, routes: Vec<Route>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        for route in routes {
            let old = table.exactly(bare(route.spec.as_str()));
            if old.is_some_and(|old| old.is(&route)) {
                continue;
            }
            let target = Target::parse(&route.target);
            table.insert(Entry::new(route, target, *next));
            *next += 1;
        }
        self.now.store(Arc::new(table));
    }

    /// Takes these out; what isn't there is no error. How many were there?
    pub(super) fn remove(&self, specs: &[RouteSpec]) -> usize {
        let _writing = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.now.load());
        let removed = specs.iter().filter(|spec| table.remove(bare(spec.as_str()))).count();
        if table.entries.is_empty() {
            table.depth = 0;
        }
        self.now.store(Arc::new(table));
        removed
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.now.load().entries.len()
    }

    /// All routes, in no order.
    pub(super) fn list(&self) -> Vec<Route> {
        self.now.load().entries().map(|entry| entry.route()).collect()
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

/// What a spec is looked up by: no slash at its end.
fn bare(spec: &str) -> &str {
    spec.strip_suffix('/').unwrap_or(spec)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn route(spec: &str, target: &str) -> Route {
        Route { spec: RouteSpec::new(spec), target: target.to_owned(), server: None }
    }

    fn found(routes: &Routes, path: &str) -> Option<String> {
        routes.now().find("", path).map(|entry| entry.spec().to_owned())
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
            let found = now.find(host, path).map(|entry| entry.spec());
            assert_eq!(found, expected, "{host}{path}");
        }
        let specs = ["al.example.com", "[::1]"].map(|host| RouteSpec::on_host(host, "/"));
        assert_eq!(routes.remove(&specs), 1);
        routes.store(on("al.example.com", "/user/al"), "\"a\":1", 1);
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
        assert!(first.life.is_over());
        routes.remove(&[RouteSpec::new("/a"), RouteSpec::new("/b")]);
        assert!(routes.list().is_empty());
    }

    #[test]
    fn what_is_stored_again_keeps_its_connections() {
        let routes = Routes::new();
        let generation = || routes.now().find("", "/a").unwrap().generation;
        let entry = |routes: &Routes| routes.exactly(&RouteSpec::new("/a")).unwrap();
        routes.store(route("/a", "http://a:1"), "\"x\":1", 5);
        let first = generation();
        routes.store(route("/a", "http://a:1"), "\"x\":1", 7);
        assert_eq!((generation(), entry(&routes).used.load(Relaxed)), (first, 7));
        assert_eq!(entry(&routes).route(), route("/a", "http://a:1"));
        routes.store(route("/a", "http://a:1"), "\"x\":2", 9);
        assert_ne!(generation(), first);
        assert_eq!(entry(&routes).data(), "\"x\":2");
        // What many of them take: see docs/performance.md.
        assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
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

    /// What is promised of a large table; how much longer a build without optimisation may take.
    #[test]
    fn a_table_of_200_000_routes_is_quick() {
        let slow = match (cfg!(debug_assertions), std::env::var_os("JOVIS_STRICT").is_some()) {
            (true, _) => 50,
            (false, false) => 5,
            (false, true) => 1,
        };
        let name = |k: u32| format!("/user/somebody-{k}");
        let all: Vec<Route> = (0..200_000).map(|k| route(&name(k), "http://127.0.0.1:9")).collect();
        let routes = Routes::new();
        let began = Instant::now();
        for some in all.chunks(50) {
            routes.set(some.to_vec());
        }
        let filled = began.elapsed();
        let one: Vec<Duration> = (0..101)
            .map(|k| {
                let began = Instant::now();
                routes.set(vec![route(&name(k), &format!("http://127.0.0.1:{}", k + 10))]);
                began.elapsed()
            })
            .collect();
        let one = *one.iter().max().unwrap();
        let paths: Vec<String> =
            (0..1_000).map(|k| format!("{}/lab/api/x", name(k * 199))).collect();
        let began = Instant::now();
        for _ in 0..100 {
            for path in &paths {
                assert!(routes.now().find("host", path).is_some());
            }
        }
        let lookup = began.elapsed() / 100_000;
        println!(
            "row large: 200,000 routes in {filled:?}, one more in {one:?} at most, found in {lookup:?}"
        );
        assert!(filled < slow * Duration::from_secs(2), "{filled:?}");
        assert!(one < slow * Duration::from_millis(1), "{one:?}");
        assert!(lookup < slow * Duration::from_nanos(300), "{lookup:?}");
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
