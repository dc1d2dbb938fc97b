//! Registry, spawner actors and routes together, over ports from memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, System};
use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    Actor, Ask, Begun, Client, Limits, StartRefused, StopRefused,
    doubles::{Fixed, LONG, people, store},
};
use crate::{
    domain::{
        Cause, OrderId, Route, RouteSpec, Server, ServerKey, ServerName, ServerState, UserId,
        server::Handle,
    },
    ports::{
        Boxed, Entropy, Exit, Order, Probe, ProbeError, Progress, Recovered, RouteSink, SinkError,
        SpawnError, Spawner, Started, Stop,
    },
    routes,
    spawner::{self, Board, Facts, Kit},
    store::{self, Image, Write},
    supervise::named,
};

/// Servers that live in a map.
#[derive(Default)]
struct World {
    lives: Mutex<BTreeMap<OrderId, Result<(), Exit>>>,
    changed: watch::Sender<u64>,
    fails: Mutex<Option<SpawnError>>,
    /// Starts hang until this is unset.
    hang: AtomicBool,
    silent: AtomicBool,
    /// The next probe panics.
    panic: AtomicBool,
    starts: AtomicU64,
    forgotten: Mutex<Vec<OrderId>>,
    environments: Mutex<Vec<BTreeMap<String, String>>>,
}

impl World {
    fn put(&self, order: &OrderId, life: Result<(), Exit>) {
        self.lives.lock().unwrap().insert(order.clone(), life);
        self.changed.send_modify(|turn| *turn += 1);
    }

    fn alive(&self) -> Vec<OrderId> {
        let lives = self.lives.lock().unwrap();
        lives.iter().filter(|(_, life)| life.is_ok()).map(|(order, _)| order.clone()).collect()
    }

    fn started(order: &OrderId) -> Started {
        Started { handle: Handle(order.to_string()), url: format!("http://{order}") }
    }
}

impl Spawner for World {
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>> {
        Box::pin(async move {
            tell.tell("working on it");
            self.environments.lock().unwrap().push(order.env.reveal().0.clone());
            let mut changed = self.changed.subscribe();
            while self.hang.load(Ordering::SeqCst) {
                let _ = changed.changed().await;
            }
            if let Some(error) = self.fails.lock().unwrap().take() {
                return Err(error);
            }
            self.starts.fetch_add(1, Ordering::SeqCst);
            self.put(&order.id, Ok(()));
            Ok(Self::started(&order.id))
        })
    }

    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        _: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        let found = match self.lives.lock().unwrap().get(order) {
            None => Recovered::Unknown,
            Some(Ok(())) => Recovered::Alive(Self::started(order)),
            Some(Err(exit)) => Recovered::Ended(*exit),
        };
        Box::pin(std::future::ready(Ok(found)))
    }

    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        _: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>> {
        Box::pin(async move {
            let mut changed = self.changed.subscribe();
            loop {
                match self.lives.lock().unwrap().get(order) {
                    Some(Ok(())) => {}
                    Some(Err(exit)) => return Ok(*exit),
                    None => return Ok(Exit::Unknown),
                }
                let _ = changed.changed().await;
            }
        })
    }

    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        _: &'a Handle,
        _: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        self.put(order, Err(Exit::Signal(2)));
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()> {
        self.forgotten.lock().unwrap().push(order.clone());
        Box::pin(std::future::ready(()))
    }

    fn log_tail<'a>(&'a self, _: &'a OrderId, _: usize) -> Boxed<'a, String> {
        Box::pin(std::future::ready("last words".to_owned()))
    }

    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        Box::pin(std::future::ready(Ok(self.alive())))
    }
}

impl Probe for World {
    fn probe<'a>(&'a self, _: &'a str, _: &'a str) -> Boxed<'a, Result<String, ProbeError>> {
        assert!(!self.panic.swap(false, Ordering::SeqCst), "as the test wants it");
        let silent = self.silent.load(Ordering::SeqCst);
        let answer = if silent {
            Err(ProbeError::NotYet("refused".to_owned()))
        } else {
            Ok("6.1.1".to_owned())
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A proxy that is a map.
#[derive(Default)]
struct Proxy {
    table: Mutex<BTreeMap<RouteSpec, Route>>,
    synced: AtomicBool,
}

impl RouteSink for Proxy {
    fn name(&self) -> &str {
        "proxy"
    }

    fn list(&self) -> Boxed<'_, Result<Vec<Route>, SinkError>> {
        let all = self.table.lock().unwrap().values().cloned().collect();
        Box::pin(std::future::ready(Ok(all)))
    }

    fn set(&self, routes: Vec<Route>) -> Boxed<'_, Result<(), SinkError>> {
        let routes = routes.into_iter().map(|route| (route.spec.clone(), route));
        self.table.lock().unwrap().extend(routes);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, specs: Vec<RouteSpec>) -> Boxed<'_, Result<(), SinkError>> {
        self.table.lock().unwrap().retain(|spec, _| !specs.contains(spec));
        Box::pin(std::future::ready(Ok(())))
    }

    fn synced(&self) -> Boxed<'_, Result<(), SinkError>> {
        self.synced.store(true, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A whole hub's worth of deciders.
struct Hub {
    client: Client,
    store: store::Client,
    world: Arc<World>,
    proxy: Arc<Proxy>,
    full: Arc<AtomicBool>,
    settings: Arc<ArcSwap<spawner::Settings>>,
}

fn key(user: u64) -> ServerKey {
    ServerKey { user: UserId(user), name: ServerName::default_server() }
}

fn order(n: u8) -> OrderId {
    OrderId::from_bytes([n; 16])
}

fn with_server(mut image: Image, user: u64, state: ServerState) -> Image {
    image.apply(&Write::Server(Arc::new(Server { state, ..Server::new(key(user)) })));
    image
}

fn in_service(n: u8) -> ServerState {
    let Started { handle, url } = World::started(&order(n));
    ServerState::Running { order: order(n), handle, url }
}

impl Hub {
    async fn new(image: Image, world: World) -> Self {
        Self::over(image, Arc::new(world)).await
    }

    /// A hub over what an earlier one has left behind.
    async fn over(image: Image, world: Arc<World>) -> Self {
        let proxy = Arc::new(Proxy::default());
        let full = Arc::<AtomicBool>::default();
        let store = store(image, full.clone());
        let fixed = Arc::new(Fixed(AtomicU64::new(1)));
        let facts = Arc::new(Facts {
            base_url: "/".to_owned(),
            api_url: "http://hub/hub/api".to_owned(),
            public_host: String::new(),
        });
        let settings = spawner::Settings {
            start_timeout: Duration::from_millis(200),
            http_timeout: Duration::from_millis(300),
            ..spawner::Settings::default()
        };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (publisher, name) = named("routes");
        let of_routes = routes::Settings { settle: Duration::ZERO, ..routes::Settings::default() };
        let sinks = routes::actor::Sinks::default();
        let router =
            routes::Actor::new(store.clone(), facts.clone(), fixed.clone(), of_routes, sinks);
        publisher.publish(Some(router.start()));
        let routes = routes::Client::new(name, LONG);
        routes.add_sink(proxy.clone()).await.unwrap();
        let board = Board::default();
        let kit = Kit {
            store: store.clone(),
            spawner: world.clone(),
            probe: world.clone(),
            routes: routes.clone(),
            clock: fixed.clone(),
            entropy: fixed,
            facts,
            settings: settings.clone(),
            board: board.clone(),
        };
        let limits = Arc::new(ArcSwap::from_pointee(Limits { starting: 1, active: 0 }));
        let (tell, recovered) = watch::channel(false);
        let (publisher, name) = named("spawners");
        publisher.publish(Some(Actor::new(kit, limits, tell).start()));
        let client = Client::new(name, store.clone(), board, recovered, LONG);
        assert!(client.recovered(LONG).await);
        routes.recovered().await.unwrap();
        Self { client, store, world, proxy, full, settings }
    }

    fn state(&self, user: u64) -> Option<ServerState> {
        self.store.image().server(&key(user)).map(|server| server.state.clone())
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + LONG;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}: {:?}", self.state(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_running(&self, user: u64) {
        let ready = |hub: &Self| hub.state(user).is_some_and(|state| state.is_ready());
        self.until("running", ready).await;
    }

    async fn until_stopped(&self, cause: Cause) {
        let stopped = ServerState::Stopped(Some(cause));
        self.until("stopped", |hub| hub.state(1).as_ref() == Some(&stopped)).await;
    }

    fn routes(&self) -> Vec<String> {
        self.proxy.table.lock().unwrap().keys().map(ToString::to_string).collect()
    }
}

#[test]
fn a_server_is_started_routed_and_stopped_without_a_trace() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        assert_eq!(hub.client.start(key(1), Ask::default()).await.unwrap(), Begun::Started);
        assert!(hub.client.settled(&key(1), LONG).await);
        hub.until_running(1).await;
        assert_eq!(hub.routes(), ["/user/bob/"]);
        let image = hub.store.image();
        let server = image.server(&key(1)).unwrap();
        assert_eq!(server.version.as_deref(), Some("6.1.1"));
        let secret = hub.world.environments.lock().unwrap()[0]["JUPYTERHUB_API_TOKEN"].clone();
        assert_eq!(secret.len(), 32);
        let token = image.token(server.token.unwrap()).unwrap();
        assert_eq!(token.hash, Fixed(AtomicU64::new(0)).digest(&secret));
        let report = hub.client.report(&key(1)).unwrap().borrow().clone();
        assert_eq!(report.outcome, Some(Ok(())));
        assert!(report.events.iter().any(|event| event.message == "working on it"));

        let again = hub.client.start(key(1), Ask::default()).await;
        assert!(matches!(again, Err(StartRefused::Running)), "{again:?}");
        hub.client.stop(key(1)).await.unwrap();
        hub.until_stopped(Cause::Stopped).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
        assert_eq!(hub.world.alive(), []);
        assert_eq!(hub.store.image().tokens().count(), 0);
        assert_eq!(hub.client.trouble(&key(1)), None);
        hub.until("forgotten", |hub| hub.world.forgotten.lock().unwrap().len() == 1).await;
        let again = hub.client.stop(key(1)).await;
        assert!(matches!(again, Err(StopRefused::NotRunning)), "{again:?}");
        let nobody = hub.client.start(key(9), Ask::default()).await;
        assert!(matches!(nobody, Err(StartRefused::NoUser)), "{nobody:?}");
    });
}

#[test]
fn a_start_that_fails_leaves_its_cause_and_last_words() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        let refused = SpawnError::Refused("no home".to_owned());
        *hub.world.fails.lock().unwrap() = Some(refused);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_stopped(Cause::Refused("no home".to_owned())).await;
        let trouble = hub.client.trouble(&key(1)).unwrap();
        assert_eq!(&*trouble.tail, "last words");
        hub.world.silent.store(true, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_stopped(Cause::HttpTimeout(0)).await;
        assert_eq!(hub.world.alive(), [], "the silent one was ended");
    });
}

#[test]
fn a_start_that_comes_late_is_killed() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        hub.world.hang.store(true, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        let pending = hub.client.start(key(1), Ask::default()).await.unwrap();
        assert_eq!(pending, Begun::Already);
        let other = hub.client.start(key(2), Ask::default()).await;
        assert!(matches!(other, Err(StartRefused::TooManyStarting { limit: 1, .. })), "{other:?}");
        let stopping = |hub: &Hub| matches!(hub.state(1), Some(ServerState::Stopping { .. }));
        hub.until("given up", stopping).await;
        hub.world.hang.store(false, Ordering::SeqCst);
        hub.world.changed.send_modify(|turn| *turn += 1);
        hub.until_stopped(Cause::StartTimeout(0)).await;
        assert_eq!(hub.world.starts.load(Ordering::SeqCst), 1);
        hub.until("killed", |hub| hub.world.alive().is_empty()).await;
    });
}

#[test]
fn a_server_that_dies_is_started_again_and_one_that_left_is_not() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        let first = hub.world.alive()[0].clone();
        hub.world.put(&first, Err(Exit::Signal(9)));
        let waiting = |hub: &Hub| matches!(hub.state(1), Some(ServerState::Waiting { .. }));
        hub.until("waiting", waiting).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
        assert_eq!(hub.store.image().server(&key(1)).unwrap().deaths.len(), 1);
        hub.until_running(1).await;
        let second = hub.world.alive()[0].clone();
        assert_ne!(first, second);
        hub.world.put(&second, Err(Exit::Code(0)));
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn an_early_exit_ends_the_start_at_once() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        let patient = spawner::Settings { http_timeout: LONG * 10, ..spawner::Settings::default() };
        hub.settings.store(Arc::new(patient));
        hub.world.silent.store(true, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until("alive", |hub| !hub.world.alive().is_empty()).await;
        let order = hub.world.alive()[0].clone();
        hub.world.put(&order, Err(Exit::Code(7)));
        hub.until_stopped(Cause::Exited(7)).await;
    });
}

#[test]
fn nothing_is_done_that_cannot_be_recorded() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        hub.full.store(true, Ordering::SeqCst);
        let refused = hub.client.start(key(1), Ask::default()).await;
        assert!(matches!(refused, Err(StartRefused::NotRecorded(_))), "{refused:?}");
        assert_eq!(hub.world.starts.load(Ordering::SeqCst), 0);
        hub.full.store(false, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        hub.full.store(true, Ordering::SeqCst);
        let refused = hub.client.stop(key(1)).await;
        assert!(matches!(refused, Err(StopRefused::NotRecorded(_))), "{refused:?}");
        assert_eq!(hub.world.alive().len(), 1);
        // What has happened is recorded as soon as that is possible.
        let order = hub.world.alive()[0].clone();
        hub.world.put(&order, Err(Exit::Code(0)));
        hub.until("unrouted", |hub| hub.routes().is_empty()).await;
        assert!(hub.state(1).unwrap().is_ready(), "nothing could be written");
        hub.full.store(false, Ordering::SeqCst);
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn starting_is_recovering() {
    System::new().block_on(async {
        let world = World::default();
        world.put(&order(1), Ok(()));
        world.put(&order(3), Ok(()));
        world.silent.store(true, Ordering::SeqCst);
        let image = with_server(people(), 1, in_service(1));
        let image = with_server(image, 2, ServerState::Starting { order: order(2) });
        let hub = Hub::new(image, world).await;
        let interrupted = ServerState::Stopped(Some(Cause::Interrupted));
        hub.until("interrupted", |hub| hub.state(2).as_ref() == Some(&interrupted)).await;
        hub.until("routed", |hub| hub.routes() == ["/user/bob/"]).await;
        hub.until("synced", |hub| hub.proxy.synced.load(Ordering::SeqCst)).await;
        hub.until("no orphan", |hub| hub.world.alive() == [order(1)]).await;
        assert_eq!(hub.state(1), Some(in_service(1)), "nothing that ran was restarted");
        assert_eq!(hub.world.starts.load(Ordering::SeqCst), 0);
        hub.world.put(&order(1), Err(Exit::Code(0)));
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn what_ended_unwatched_is_noticed() {
    System::new().block_on(async {
        let hub = Hub::new(with_server(people(), 1, in_service(1)), World::default()).await;
        hub.until_stopped(Cause::Vanished).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
    });
}

#[test]
fn all_can_be_stopped() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        assert_eq!(hub.client.stop_all(LONG).await, 0);
        assert_eq!(hub.world.alive(), []);
    });
}

#[test]
fn a_panic_costs_nobody_a_server() {
    System::new().block_on(async {
        let hub = Hub::new(people(), World::default()).await;
        hub.world.panic.store(true, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        assert!(!hub.world.panic.load(Ordering::SeqCst));
        assert_eq!(hub.world.starts.load(Ordering::SeqCst), 1);
        hub.client.stop(key(1)).await.unwrap();
        hub.until_stopped(Cause::Stopped).await;
    });
}

#[test]
fn a_user_at_rest_has_no_actor_and_gets_a_new_one() {
    System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::new(people(), World::default()).await;
        let alone = Arc::strong_count(&hub.world);
        for _ in 0..2 {
            hub.client.start(key(1), Ask::default()).await.unwrap();
            hub.until_running(1).await;
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert!(Arc::strong_count(&hub.world) > alone, "in service: not at rest");
            hub.client.stop(key(1)).await.unwrap();
            hub.until_stopped(Cause::Stopped).await;
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert_eq!(Arc::strong_count(&hub.world), alone);
        }
    });
}

/// A hub that is cut off after so many turns of its runtime, while it starts (or stops) a server; and the next one.
fn cut_off_after(turns: u32, stopping: bool) -> ServerState {
    let world = Arc::new(World::default());
    let image = System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::over(people(), world.clone()).await;
        let start = hub.client.clone();
        actix::spawn(async move { start.start(key(1), Ask::default()).await });
        if stopping {
            hub.until_running(1).await;
            let stop = hub.client.clone();
            actix::spawn(async move { stop.stop(key(1)).await });
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        hub.store.image()
    });
    System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::over((*image).clone(), world).await;
        assert!(hub.client.settled(&key(1), LONG).await, "after {turns} turns");
        let agrees = |hub: &Hub| {
            let state = hub.state(1);
            let running = state.iter().filter(|state| state.is_ready());
            hub.world.alive()
                == running.filter_map(|state| state.order().cloned()).collect::<Vec<_>>()
        };
        hub.until("store and world agree", agrees).await;
        let ready = hub.state(1).is_some_and(|state| state.is_ready());
        hub.until("routes agree", |hub| hub.routes().len() == usize::from(ready)).await;
        assert!(hub.world.starts.load(Ordering::SeqCst) <= 1, "after {turns} turns");
        let tokens = hub.store.image().tokens().count();
        assert_eq!(tokens, usize::from(ready), "after {turns} turns");
        hub.state(1).unwrap_or(ServerState::Stopped(None))
    })
}

#[test]
fn a_hub_cut_off_anywhere_leaves_at_most_one_server_and_the_next_one_agrees() {
    let starts: Vec<_> = (0..80).map(|turns| cut_off_after(turns, false)).collect();
    assert_eq!(starts[0], ServerState::Stopped(None), "nothing had begun");
    assert!(starts.contains(&ServerState::Stopped(Some(Cause::Interrupted))));
    assert!(starts.last().unwrap().is_ready(), "all was done");
    let stops: Vec<_> = (0..80).map(|turns| cut_off_after(turns, true)).collect();
    assert!(stops[0].is_ready(), "nothing had begun");
    assert_eq!(stops.last(), Some(&ServerState::Stopped(Some(Cause::Stopped))), "all was done");
}
