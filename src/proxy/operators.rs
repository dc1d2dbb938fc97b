//! Routes that operators set over REST, beside the hub's. They share the table; this knows whose is whose.
//!
//! The hub's go first: nobody sets, replaces or removes one of its routes over REST, and where it comes to want a place
//! that an operator has taken it gets it, as with configurable-http-proxy. The other way round the hub never sees an
//! operator's route, so no comparison of its routes with ours, after whatever crash, takes it away. They live as long as
//! this process, in memory, as configurable-http-proxy's do.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jovis_actors::domain::{Route, RouteSpec};
use tracing::warn;

use super::{
    table::{Entry, Routes},
    target::{Place, Target},
};

/// Most of them.
const MOST: usize = 10_000;

/// Why a route of an operator is not set or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The hub has this route.
    Hubs,
    /// The hub itself would no longer be reached.
    InTheWay,
    /// The target is the hub's socket for us, which believes whom we name as a visitor.
    Inside,
    /// There are too many.
    TooMany,
}

impl Refused {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Hubs => "This route is the hub's: it comes and goes with what runs.",
            Self::InTheWay => "The hub itself is there.",
            Self::Inside => "This target is the hub's own socket.",
            Self::TooMany => "There are 10,000 routes of operators already.",
        }
    }
}

/// The hub, which must stay where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hub<'a> {
    /// Its socket.
    pub(super) entry: &'a Entry,
    /// Everything's prefix.
    pub(super) base_url: &'a str,
    /// Its host, where users have hosts below it.
    pub(super) site: Option<&'a str>,
}

impl Hub<'_> {
    /// Would this route take anything that the hub itself must hear?
    fn is_at(&self, spec: &RouteSpec) -> bool {
        spec.is_in_the_hubs_way(self.base_url, self.site)
    }
}

/// Which routes of the table are theirs. Whoever changes the table holds this, so that each change sees the one before.
#[derive(Debug, Default)]
pub(super) struct Operators(Mutex<HashSet<RouteSpec>>);

impl Operators {
    fn theirs(&self) -> MutexGuard<'_, HashSet<RouteSpec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is this one theirs?
    pub(super) fn have(&self, spec: &RouteSpec) -> bool {
        self.theirs().contains(spec)
    }

    /// An operator sets a route, with what is stored with it. `used`: now, by the clock of [`Entry::used`].
    pub(super) fn store(
        &self,
        routes: &Routes,
        (route, data): (Route, &str),
        used: u64,
        hub: &Hub<'_>,
    ) -> Result<(), Refused> {
        let mut theirs = self.theirs();
        if hub.is_at(&route.spec) {
            return Err(Refused::InTheWay);
        }
        let place = Target::parse(&route.target).place;
        if matches!(place, Place::Unix(_)) && place == hub.entry.target.place {
            return Err(Refused::Inside);
        }
        if !theirs.contains(&route.spec) {
            if routes.exactly(&route.spec).is_some() {
                return Err(Refused::Hubs);
            }
            if theirs.len() >= MOST {
                return Err(Refused::TooMany);
            }
            theirs.insert(route.spec.clone());
        }
        routes.store(route, data, used);
        Ok(())
    }

    /// An operator removes a route. Was it there?
    pub(super) fn remove(&self, routes: &Routes, spec: &RouteSpec) -> Result<bool, Refused> {
        let mut theirs = self.theirs();
        if theirs.remove(spec) {
            return Ok(routes.remove(std::slice::from_ref(spec)) > 0);
        }
        if routes.exactly(spec).is_some() { Err(Refused::Hubs) } else { Ok(false) }
    }

    /// The hub sets routes.
    pub(super) fn set_hubs(&self, routes: &Routes, hubs: Vec<Route>) {
        let mut theirs = self.theirs();
        for route in hubs.iter().filter(|_| !theirs.is_empty()).collect::<Vec<_>>() {
            if theirs.remove(&route.spec) {
                warn!(route = %route.spec, "route taken over");
            }
        }
        routes.set(hubs);
    }

    /// The hub removes routes.
    pub(super) fn remove_hubs(&self, routes: &Routes, mut specs: Vec<RouteSpec>) {
        let theirs = self.theirs();
        specs.retain(|spec| !theirs.contains(spec));
        routes.remove(&specs);
    }

    /// The hub's routes, in no order.
    pub(super) fn hubs(&self, routes: &Routes) -> Vec<Route> {
        let theirs = self.theirs();
        let mut all = routes.list();
        all.retain(|route| !theirs.contains(&route.spec));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn route(spec: &str, target: &str) -> Route {
        Route { spec: RouteSpec::new(spec), target: target.to_owned(), server: None }
    }

    #[test]
    fn the_hubs_routes_and_theirs_leave_each_other_alone() {
        let (routes, theirs) = (Routes::new(), Operators::default());
        let hub = Entry::hub(PathBuf::from("/run/jovis/x/hub.sock"));
        let lab = Hub { entry: &hub, base_url: "/lab/", site: None };
        let store =
            |spec: &str, target: &str| theirs.store(&routes, (route(spec, target), ""), 1, &lab);
        theirs.set_hubs(
            &routes,
            vec![route("/lab/user/a", "http://a:1"), route("/lab/user/b", "http://b:1")],
        );
        for (spec, target, outcome) in [
            ("/lab/extra", "http://x:1", Ok(())),
            ("/lab/extra", "http://x:2", Ok(())),
            ("/elsewhere", "http://x:3", Ok(())),
            ("/lab/user/a/deeper", "http://x:4", Ok(())),
            ("/lab/user/a", "http://x:5", Err(Refused::Hubs)),
            ("/", "http://x:6", Err(Refused::InTheWay)),
            ("/lab", "http://x:6", Err(Refused::InTheWay)),
            ("/lab/hub", "http://x:6", Err(Refused::InTheWay)),
            ("/lab/hub/api", "http://x:6", Err(Refused::InTheWay)),
            ("/lab/hubs", "http://x:7", Ok(())),
            ("/in", "http+unix://%2Frun%2Fjovis%2Fx%2Fhub.sock", Err(Refused::Inside)),
            ("/out", "http+unix://%2Frun%2Fother", Ok(())),
        ] {
            assert_eq!(store(spec, target), outcome, "{spec}");
        }
        let hubs = || {
            let mut all: Vec<_> =
                theirs.hubs(&routes).into_iter().map(|it| it.spec.to_string()).collect();
            all.sort();
            all
        };
        assert_eq!(hubs(), ["/lab/user/a/", "/lab/user/b/"]);
        assert_eq!(routes.exactly(&RouteSpec::new("/lab/extra")).unwrap().url(), "http://x:2");
        // The hub removes its own only, whatever it says; an operator his.
        let spec = RouteSpec::new;
        theirs.remove_hubs(&routes, vec![spec("/lab/user/b"), spec("/lab/extra")]);
        assert_eq!(hubs(), ["/lab/user/a/"]);
        assert_eq!(theirs.remove(&routes, &spec("/lab/user/a")), Err(Refused::Hubs));
        assert_eq!(theirs.remove(&routes, &spec("/lab/user/b")), Ok(false));
        assert_eq!(theirs.remove(&routes, &spec("/lab/extra")), Ok(true));
        assert_eq!(theirs.remove(&routes, &spec("/lab/extra")), Ok(false));
        // What the hub comes to want is the hub's.
        theirs.set_hubs(&routes, vec![route("/elsewhere", "http://h:1")]);
        assert_eq!(store("/elsewhere", "http://x:8"), Err(Refused::Hubs));
        assert!(!theirs.have(&spec("/elsewhere")) && theirs.have(&spec("/out")));
        assert_eq!(routes.exactly(&spec("/elsewhere")).unwrap().url(), "http://h:1");
    }

    #[test]
    fn the_hub_is_reached_on_its_hosts() {
        let hub = Entry::hub(PathBuf::from("/x"));
        let hub = Hub { entry: &hub, base_url: "/", site: Some("hub.test") };
        for (host, path, is_at) in [
            ("hub.test", "/", true),
            ("hub.test", "/hub/api", true),
            ("alice.hub.test", "/hub", true),
            ("alice.hub.test", "/x", false),
            ("otherhub.test", "/", false),
            ("elsewhere.test", "/hub", false),
        ] {
            assert_eq!(hub.is_at(&RouteSpec::on_host(host, path)), is_at, "{host}{path}");
        }
        assert!(hub.is_at(&RouteSpec::new("/")));
    }

    #[test]
    fn there_are_not_too_many() {
        let (routes, theirs) = (Routes::new(), Operators::default());
        let hub = Entry::hub(PathBuf::from("/x"));
        let hub = Hub { entry: &hub, base_url: "/", site: None };
        let store = |at: usize| {
            theirs.store(&routes, (route(&format!("/x/{at}"), "http://x:1"), ""), 1, &hub)
        };
        for at in 0..MOST {
            assert_eq!(store(at), Ok(()));
        }
        assert_eq!(store(MOST), Err(Refused::TooMany));
        assert_eq!(store(0), Ok(()), "it is there already");
    }
}
