//! Keeps the wanted table and has every sink follow it.
//!
//! ```text
//!   store image ──▶ ┌────────┐ watch   ┌──────────┐ list, set, remove
//!   Set, Remove ──▶ │ wanted │ ──────▶ │ per sink │ ─────────────────▶ a proxy
//!                   └────────┘ ◀────── └──────────┘
//!                             reached
//! ```
//!
//! Its state is a cache: after a panic the wanted table comes from the records again. Sinks are remembered outside
//! (in [`Sinks`]), so that a restart finds them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{AsyncContext, Context, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::info;

use super::{
    diff::{Asked, Table, wanted},
    messages::{AddSink, Check, List, Recovered, Remove, RemoveSink, RouteError, Set, SinkId},
    sink::{Pace, Reached, Wanted, follow},
};
use crate::{
    domain::{Route, ServerState},
    ports::{Entropy, RouteSink, SinkError},
    spawner::Facts,
    store::{self, Image},
    supervise::{On, faults, handles},
};

/// How routes are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every sink's table is read and compared so often.
    pub check: Duration,
    /// An asker waits so long for all sinks. A sink may take twice as long for one call; then it has failed.
    pub limit: Duration,
    /// The records are looked at so long after they changed; changes in between are taken together.
    pub settle: Duration,
    /// Routes besides those of servers and services. Whoever replaces them has the actor [`Check`].
    pub fixed: Arc<ArcSwap<Vec<Route>>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(30),
            limit: Duration::from_secs(10),
            settle: Duration::from_millis(100),
            fixed: Arc::default(),
        }
    }
}

/// The sinks there are. Outlives the actor, whose cache it is not.
#[derive(Clone, Default)]
pub struct Sinks(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    sinks: BTreeMap<SinkId, Arc<dyn RouteSink>>,
    last: u64,
    complete: bool,
}

impl Sinks {
    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The actor.
pub struct Actor {
    store: store::Client,
    facts: Arc<Facts>,
    entropy: Arc<dyn Entropy>,
    settings: Settings,
    sinks: Sinks,
    wanted: watch::Sender<Wanted>,
    asked: Asked,
    following: HashMap<SinkId, Following>,
}

struct Following {
    task: actix::SpawnHandle,
    reached: watch::Receiver<Reached>,
}

impl Actor {
    /// With the sinks that are known already.
    pub fn new(
        store: store::Client,
        facts: Arc<Facts>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
        sinks: Sinks,
    ) -> Self {
        Self {
            store,
            facts,
            entropy,
            settings,
            sinks,
            wanted: watch::Sender::default(),
            asked: Asked::new(),
            following: HashMap::new(),
        }
    }

    /// Makes the wanted table anew; the sinks hear of it if it changed.
    fn refresh(&mut self) -> u64 {
        let mut recorded = recorded(&self.store.image(), &self.facts);
        let fixed = self.settings.fixed.load();
        // What is recorded goes first: nobody's server is taken away by a configuration.
        for route in fixed.iter() {
            recorded.entry(route.spec.clone()).or_insert_with(|| route.clone());
        }
        let table = wanted(recorded, &mut self.asked);
        let complete = self.sinks.with(|known| known.complete);
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted.table != table || wanted.complete != complete;
            if changed {
                let version = wanted.version + 1;
                *wanted = Wanted { version, table: Arc::new(table), complete, ..*wanted };
            }
            changed
        });
        self.wanted.borrow().version
    }

    /// Resolves when all sinks that are alive have this version.
    fn agreed(&self, version: u64) -> ResponseFuture<Result<(), RouteError>> {
        let sinks: Vec<_> = self.following.values().map(|it| it.reached.clone()).collect();
        let limit = self.settings.limit;
        Box::pin(async move {
            let all = async {
                for mut reached in sinks {
                    // An error: the sink was taken away, and nobody waits for it any more.
                    let _ = reached.wait_for(|it| it.version >= version || !it.live).await;
                }
            };
            tokio::time::timeout(limit, all).await.map_err(|_| RouteError::Late)
        })
    }

    fn follow(&mut self, id: SinkId, sink: Arc<dyn RouteSink>, ctx: &mut Context<Self>) {
        let (reached, watched) = watch::channel(Reached { version: 0, live: true });
        // Longer than askers wait: they hear "late" of a sink that hangs, not "done" because it was given up on.
        let pace = Pace { check: self.settings.check, limit: self.settings.limit * 2 };
        let wanted = self.wanted.subscribe();
        let follow = follow(sink, wanted, reached, self.entropy.clone(), pace);
        let task = ctx.spawn(follow.into_actor(self));
        self.following.insert(id, Following { task, reached: watched });
    }

    fn unfollow(&mut self, id: SinkId, ctx: &mut Context<Self>) {
        if let Some(gone) = self.following.remove(&id) {
            ctx.cancel_future(gone.task);
        }
    }
}

/// The routes of all servers in service, and of services that have an address.
pub(super) fn recorded(image: &Image, facts: &Facts) -> Table {
    let routes = image.servers().filter_map(|server| {
        let ServerState::Running { url, .. } = &server.state else { return None };
        let user = image.user(server.key.user)?;
        let spec = facts.route(&user.name, &server.key.name);
        let route = Route { spec, target: url.clone(), server: Some(server.key.clone()) };
        Some((route.spec.clone(), route))
    });
    let services = image.services().filter_map(|service| {
        let target = service.url.as_deref()?.trim_end_matches('/').to_owned();
        let spec = facts.service_route(&service.name);
        Some((spec.clone(), Route { spec, target, server: None }))
    });
    routes.chain(services).collect()
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("routes", "started");
        self.refresh();
        let sinks: Vec<_> = self.sinks.with(|known| known.sinks.clone().into_iter().collect());
        for (id, sink) in sinks {
            self.follow(id, sink, ctx);
        }
        let mut published = self.store.published();
        let (me, settle) = (ctx.address().downgrade(), self.settings.settle);
        let listen = async move {
            while published.changed().await.is_ok() {
                tokio::time::sleep(settle).await;
                published.mark_unchanged();
                let Some(me) = me.upgrade() else { return };
                // A bell: if it is not heard, the next one is.
                let _ = me.send(Published).await;
            }
        };
        ctx.spawn(listen.into_actor(self));
    }
}

/// There is a new image.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
struct Published;

handles!(Actor as "routes": Published, Set, Remove, Check, List, AddSink, RemoveSink, Recovered);

impl On<Published> for Actor {
    type Result = ();
    fn on(&mut self, _: Published, _: &mut Self::Context) {
        self.refresh();
    }
}

impl On<Set> for Actor {
    type Result = ResponseFuture<Result<(), RouteError>>;
    fn on(&mut self, Set(route): Set, _: &mut Self::Context) -> Self::Result {
        self.asked.insert(route.spec.clone(), Some(route));
        let version = self.refresh();
        self.agreed(version)
    }
}

impl On<Remove> for Actor {
    type Result = ResponseFuture<Result<(), RouteError>>;
    fn on(&mut self, Remove(spec): Remove, _: &mut Self::Context) -> Self::Result {
        self.asked.insert(spec, None);
        let version = self.refresh();
        self.agreed(version)
    }
}

impl On<Check> for Actor {
    type Result = ResponseFuture<Result<(), RouteError>>;
    fn on(&mut self, _: Check, _: &mut Self::Context) -> Self::Result {
        self.refresh();
        self.wanted.send_modify(|wanted| {
            wanted.version += 1;
            wanted.checks += 1;
        });
        let version = self.wanted.borrow().version;
        self.agreed(version)
    }
}

impl On<List> for Actor {
    type Result = ResponseFuture<Result<Vec<Route>, RouteError>>;
    fn on(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        let newest = self.sinks.with(|known| known.sinks.values().next_back().cloned());
        let wanted = self.wanted.borrow().table.clone();
        let limit = self.settings.limit;
        Box::pin(async move {
            let Some(sink) = newest else { return Ok(wanted.values().cloned().collect()) };
            let late =
                |_| SinkError { doing: "list its routes", error: "no answer in time".into() };
            let list = tokio::time::timeout(limit, sink.list()).await.map_err(late)?;
            Ok(list?)
        })
    }
}

impl On<AddSink> for Actor {
    type Result = actix::MessageResult<AddSink>;
    fn on(&mut self, AddSink(sink): AddSink, ctx: &mut Self::Context) -> Self::Result {
        let (id, replaced) = self.sinks.with(|known| {
            let same = known.sinks.iter().filter(|(_, it)| it.name() == sink.name());
            let same: Vec<_> = same.map(|(id, _)| *id).collect();
            same.iter().for_each(|id| drop(known.sinks.remove(id)));
            known.last += 1;
            let id = SinkId(known.last);
            known.sinks.insert(id, sink.clone());
            (id, same)
        });
        replaced.into_iter().for_each(|old| self.unfollow(old, ctx));
        info!(sink = sink.name(), "proxy connected");
        self.refresh();
        self.follow(id, sink, ctx);
        actix::MessageResult(id)
    }
}

impl On<RemoveSink> for Actor {
    type Result = ();
    fn on(&mut self, RemoveSink(id): RemoveSink, ctx: &mut Self::Context) {
        if let Some(sink) = self.sinks.with(|known| known.sinks.remove(&id)) {
            info!(sink = sink.name(), "proxy disconnected");
        }
        self.unfollow(id, ctx);
    }
}

impl On<Recovered> for Actor {
    type Result = ();
    fn on(&mut self, _: Recovered, _: &mut Self::Context) {
        self.sinks.with(|known| known.complete = true);
        self.refresh();
    }
}
