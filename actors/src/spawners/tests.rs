//! Registry, spawner actors and routes together, over ports from memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, System};
use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    Actor, Ask, Begun, Client, Limits, StartRefused, StopAsk, StopRefused,
    doubles::{Fixed, LONG, people, store},
};
use crate::{
    domain::{
        Cause, OrderId, Server, ServerKey, ServerName, ServerState, Stopper, UserId, server::Handle,
    },
    ports::{Entropy, Exit, ProbeError, SpawnError, Started},
    routes,
    spawner::{self, Board, Facts, Kit, Ward, machine::OTHER_PORTS},
    store::{self, Image, Write},
    supervise::{Quarantine, named},
    testing::{MemoryRoutes, NextStart, ScriptedProbe, ScriptedSpawner},
};

/// A whole hub's worth of deciders.
struct Hub {
    client: Client,
    store: store::Client,
    world: Arc<ScriptedSpawner>,
    probe: ScriptedProbe,
    proxy: MemoryRoutes,
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

fn in_service(n: u8, Started { handle, url }: Started) -> ServerState {
    ServerState::Running { order: order(n), handle, url }
}

impl Hub {
    async fn new() -> Self {
        Self::over(people(), Arc::default(), ScriptedProbe::default()).await
    }

    /// A hub over what an earlier one has left behind.
    async fn over(image: Image, world: Arc<ScriptedSpawner>, probe: ScriptedProbe) -> Self {
        Self::with(image, world, probe, Limits { starting: 1, ..Limits::default() }).await
    }

    async fn with(
        image: Image,
        world: Arc<ScriptedSpawner>,
        probe: ScriptedProbe,
        limits: Limits,
    ) -> Self {
        world.set_log_tail("last words");
        let proxy = MemoryRoutes::default();
        let full = Arc::<AtomicBool>::default();
        let store = store(image, full.clone());
        let fixed = Arc::new(Fixed(AtomicU64::new(1)));
        let facts = Arc::new(Facts { base_url: "/".to_owned(), ..Facts::default() });
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
        routes.add_sink(Arc::new(proxy.clone())).await.unwrap();
        let board = Board::default();
        let kit = Kit {
            store: store.clone(),
            spawner: world.clone(),
            probe: Arc::new(probe.clone()),
            routes: routes.clone(),
            clock: fixed.clone(),
            entropy: fixed,
            facts,
            settings: settings.clone(),
            board: board.clone(),
            ward: Ward::default(),
        };
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let (tell, recovered) = watch::channel(false);
        let (publisher, name) = named("spawners");
        publisher.publish(Some(
            Actor::new(kit, limits, Quarantine::new("spawners", LONG), tell).start(),
        ));
        let client = Client::new(name, store.clone(), board, recovered, world.clone(), LONG);
        assert!(client.recovered(LONG).await);
        routes.recovered().await.unwrap();
        Self { client, store, world, probe, proxy, full, settings }
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
        self.proxy.routes().iter().map(|route| route.spec.to_string()).collect()
    }
}

#[test]
fn a_server_is_started_routed_and_stopped_without_a_trace() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        assert_eq!(hub.client.start(key(1), Ask::default()).await.unwrap(), Begun::Started);
        assert!(hub.client.settled(&key(1), LONG).await);
        hub.until_running(1).await;
        assert_eq!(hub.routes(), ["/user/bob/"]);
        let image = hub.store.image();
        let server = image.server(&key(1)).unwrap();
        assert_eq!(server.version.as_deref(), Some("6.1.1"));
        let secret = hub.world.orders()[0].env.reveal().0["JUPYTERHUB_API_TOKEN"].clone();
        assert_eq!(secret.len(), 32);
        let token = image.token(server.token.unwrap()).unwrap();
        assert_eq!(token.hash, Fixed(AtomicU64::new(0)).digest(&secret));
        let report = hub.client.report(&key(1)).unwrap().borrow().clone();
        assert_eq!(report.outcome, Some(Ok(())));
        assert!(report.events.iter().any(|event| event.message == "scripted start"));

        let again = hub.client.start(key(1), Ask::default()).await;
        assert!(matches!(again, Err(StartRefused::Running)), "{again:?}");
        hub.client.stop(key(1), StopAsk::default()).await.unwrap();
        hub.until_stopped(Cause::Stopped).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
        assert_eq!(hub.world.alive(), []);
        assert_eq!(hub.store.image().tokens().count(), 0);
        assert_eq!(hub.client.trouble(&key(1)), None);
        hub.until("forgotten", |hub| hub.world.forgotten().len() == 1).await;
        let again = hub.client.stop(key(1), StopAsk::default()).await;
        assert!(matches!(again, Err(StopRefused::NotRunning)), "{again:?}");
        let nobody = hub.client.start(key(9), Ask::default()).await;
        assert!(matches!(nobody, Err(StartRefused::NoUser)), "{nobody:?}");
    });
}

#[test]
fn a_start_that_fails_leaves_its_cause_and_last_words() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        let refused = SpawnError::Refused("no home".to_owned());
        hub.world.next_start(NextStart::Fails(refused));
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_stopped(Cause::Refused("no home".to_owned())).await;
        let trouble = hub.client.trouble(&key(1)).unwrap();
        assert_eq!(&*trouble.tail, "last words");
        hub.probe.set_silent(Some("refused"));
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_stopped(Cause::HttpTimeout(0)).await;
        assert_eq!(hub.world.alive(), [], "the silent one was ended");
    });
}

#[test]
fn a_start_that_comes_late_is_killed() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        let start_timeout = hub.settings.load().start_timeout;
        hub.world.next_start(NextStart::Slow(start_timeout * 2));
        hub.client.start(key(1), Ask::default()).await.unwrap();
        let pending = hub.client.start(key(1), Ask::default()).await.unwrap();
        assert_eq!(pending, Begun::Already);
        let other = hub.client.start(key(2), Ask::default()).await;
        assert!(matches!(other, Err(StartRefused::TooManyStarting { limit: 1, .. })), "{other:?}");
        let stopping = |hub: &Hub| matches!(hub.state(1), Some(ServerState::Stopping { .. }));
        hub.until("given up", stopping).await;
        hub.until_stopped(Cause::StartTimeout(0)).await;
        assert_eq!(hub.world.starts(), 1);
        hub.until("killed", |hub| hub.world.alive().is_empty()).await;
    });
}

#[test]
fn a_server_that_dies_is_started_again_and_one_that_left_is_not() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        let first = hub.world.alive()[0].clone();
        hub.world.end(&first, Exit::Signal(9));
        let waiting = |hub: &Hub| matches!(hub.state(1), Some(ServerState::Waiting { .. }));
        hub.until("waiting", waiting).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
        assert_eq!(hub.store.image().server(&key(1)).unwrap().deaths.len(), 1);
        hub.until_running(1).await;
        let second = hub.world.alive()[0].clone();
        assert_ne!(first, second);
        hub.world.end(&second, Exit::Code(0));
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn an_early_exit_ends_the_start_at_once() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        let patient = spawner::Settings { http_timeout: LONG * 10, ..spawner::Settings::default() };
        hub.settings.store(Arc::new(patient));
        hub.probe.set_silent(Some("refused"));
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until("alive", |hub| !hub.world.alive().is_empty()).await;
        let order = hub.world.alive()[0].clone();
        hub.world.end(&order, Exit::Code(7));
        hub.until_stopped(Cause::Exited(7)).await;
    });
}

#[test]
fn a_start_goes_on_at_another_port() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        hub.probe.next_error(ProbeError::Stranger { uid: 99 });
        hub.client.start(key(1), Ask::default()).await.unwrap();
        assert!(hub.client.settled(&key(1), LONG).await);
        hub.until_running(1).await;
        assert_eq!((hub.world.starts(), hub.world.alive().len()), (2, 1));
        let report = hub.client.report(&key(1)).unwrap().borrow().clone();
        assert_eq!(report.outcome, Some(Ok(())));
        // One start to the person who waits: the bar does not go back.
        let bar: Vec<u8> = report.events.iter().map(|event| event.progress).collect();
        assert!(bar.is_sorted(), "{:?}", report.events);
        assert!(report.events.iter().any(|event| event.message.contains("trying another")));
        hub.client.stop(key(1), StopAsk::default()).await.unwrap();
        hub.until_stopped(Cause::Stopped).await;
    });
}

#[test]
fn a_start_whose_every_port_is_taken_ends_with_that_cause() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        let tries = 1 + u64::from(OTHER_PORTS);
        // One more than it may meet.
        for _ in 0..=tries {
            hub.probe.next_error(ProbeError::Stranger { uid: 99 });
        }
        hub.client.start(key(1), Ask::default()).await.unwrap();
        assert!(hub.client.settled(&key(1), LONG).await);
        let state = hub.state(1);
        let taken = |state| matches!(state, Some(ServerState::Stopped(Some(Cause::PortTaken(_)))));
        assert!(taken(state.clone()), "{state:?}");
        assert_eq!((hub.world.starts(), hub.world.alive().len()), (tries, 0));
        assert!(matches!(hub.client.trouble(&key(1)).unwrap().cause, Cause::PortTaken(_)));
        // A person's start begins to count anew: it meets the one that is left over, and goes on.
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        assert_eq!(hub.world.starts(), tries + 2);
    });
}

#[test]
fn last_words_of_an_address_in_use_are_understood() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        let patient = spawner::Settings { http_timeout: LONG * 10, ..spawner::Settings::default() };
        hub.settings.store(Arc::new(patient));
        hub.world.set_log_tail("OSError: [Errno 98] Address already in use");
        hub.probe.set_silent(Some("refused"));
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until("alive", |hub| !hub.world.alive().is_empty()).await;
        let first = hub.world.alive()[0].clone();
        hub.world.end(&first, Exit::Code(1));
        hub.probe.set_silent(None);
        hub.until_running(1).await;
        assert_ne!(hub.world.alive(), [first]);
    });
}

#[test]
fn nothing_is_done_that_cannot_be_recorded() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        hub.full.store(true, Ordering::SeqCst);
        let refused = hub.client.start(key(1), Ask::default()).await;
        assert!(matches!(refused, Err(StartRefused::NotRecorded(_))), "{refused:?}");
        assert_eq!(hub.world.starts(), 0);
        hub.full.store(false, Ordering::SeqCst);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        hub.full.store(true, Ordering::SeqCst);
        let refused = hub.client.stop(key(1), StopAsk::default()).await;
        assert!(matches!(refused, Err(StopRefused::NotRecorded(_))), "{refused:?}");
        assert_eq!(hub.world.alive().len(), 1);
        // What has happened is recorded as soon as that is possible.
        let order = hub.world.alive()[0].clone();
        hub.world.end(&order, Exit::Code(0));
        hub.until("unrouted", |hub| hub.routes().is_empty()).await;
        assert!(hub.state(1).unwrap().is_ready(), "nothing could be written");
        hub.full.store(false, Ordering::SeqCst);
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn starting_is_recovering() {
    System::new().block_on(async {
        let (world, probe) = (Arc::<ScriptedSpawner>::default(), ScriptedProbe::default());
        let bobs = in_service(1, world.plant(&order(1)));
        world.plant(&order(3));
        probe.set_silent(Some("refused"));
        let image = with_server(people(), 1, bobs.clone());
        let image = with_server(image, 2, ServerState::Starting { order: order(2) });
        let hub = Hub::over(image, world, probe).await;
        let interrupted = ServerState::Stopped(Some(Cause::Interrupted));
        hub.until("interrupted", |hub| hub.state(2).as_ref() == Some(&interrupted)).await;
        hub.until("routed", |hub| hub.routes() == ["/user/bob/"]).await;
        hub.until("synced", |hub| hub.proxy.synced_count() > 0).await;
        hub.until("no orphan", |hub| hub.world.alive() == [order(1)]).await;
        assert_eq!(hub.state(1), Some(bobs), "nothing that ran was restarted");
        assert_eq!(hub.world.orders().len(), 0);
        hub.world.end(&order(1), Exit::Code(0));
        hub.until_stopped(Cause::Exited(0)).await;
    });
}

#[test]
fn what_ended_unwatched_is_noticed() {
    System::new().block_on(async {
        let (handle, url) = (Handle(String::new()), "http://127.0.0.1:1".to_owned());
        let image = with_server(people(), 1, in_service(1, Started { handle, url }));
        let hub = Hub::over(image, Arc::default(), ScriptedProbe::default()).await;
        hub.until_stopped(Cause::Vanished).await;
        assert_eq!(hub.routes(), Vec::<String>::new());
    });
}

#[test]
fn all_can_be_stopped() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        assert_eq!(hub.client.stop_all(LONG).await, 0);
        assert_eq!(hub.world.alive(), []);
        hub.until_stopped(Cause::StoppedBy(Stopper::Shutdown)).await;
        assert_eq!(hub.client.trouble(&key(1)), None, "it was asked for");
    });
}

#[test]
fn a_panic_costs_nobody_a_server() {
    System::new().block_on(async {
        let hub = Hub::new().await;
        hub.probe.panic_next(1);
        hub.client.start(key(1), Ask::default()).await.unwrap();
        hub.until_running(1).await;
        assert_eq!(hub.probe.panics_left(), 0);
        assert_eq!(hub.world.starts(), 1);
        hub.client.stop(key(1), StopAsk::default()).await.unwrap();
        hub.until_stopped(Cause::Stopped).await;
    });
}

/// How long fifty healthy starts take, beside so many that fail, hang or crash; the median.
fn healthy_beside(bad: u64) -> Duration {
    System::new().block_on(async {
        tokio::time::pause();
        let (world, mut image) = (Arc::<ScriptedSpawner>::default(), Image::default());
        for id in 1..=50 + bad {
            let user = crate::testing::user(id, &format!("user{id}"));
            let habit = match (id > 50, id % 3) {
                (false, _) => NextStart::Slow(Duration::from_millis(100)),
                (true, 0) => NextStart::Fails(SpawnError::Failed("no".to_owned())),
                (true, 1) => NextStart::Hangs,
                (true, _) => NextStart::Dies(Exit::Code(1)),
            };
            world.habit(&user.name, habit);
            image.apply(&Write::User(Arc::new(user)));
        }
        let limits = Limits { starting: 0, ..Limits::default() };
        let hub = Hub::with(image, world, ScriptedProbe::default(), limits).await;
        let begun = tokio::time::Instant::now();
        // The bad ones first: whoever stood in line behind them would wait.
        let starts: Vec<_> = (1..=50 + bad)
            .rev()
            .map(|id| {
                let client = hub.client.clone();
                actix::spawn(async move {
                    client.start(key(id), Ask::default()).await.unwrap();
                    assert!(client.settled(&key(id), LONG * 10).await);
                    (id, begun.elapsed())
                })
            })
            .collect();
        let mut times = Vec::new();
        for start in starts {
            let (id, took) = start.await.unwrap();
            let ready = hub.state(id).is_some_and(|state| state.is_ready());
            assert_eq!(ready, id <= 50, "user{id}: {:?}", hub.state(id));
            if id <= 50 {
                times.push(took);
            }
        }
        assert_eq!(hub.world.alive().len(), 50);
        times.sort();
        times[25]
    })
}

#[test]
fn starts_that_fail_hang_or_crash_do_not_slow_the_others() {
    let (alone, beside) = (healthy_beside(0), healthy_beside(50));
    println!("median of 50 healthy starts: alone {alone:?}, beside 50 bad ones {beside:?}");
    assert!(beside <= alone.mul_f64(1.25), "{alone:?} alone, {beside:?} beside bad ones");
}

#[test]
fn a_user_at_rest_has_no_actor_and_gets_a_new_one() {
    System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::new().await;
        let alone = Arc::strong_count(&hub.world);
        for _ in 0..2 {
            hub.client.start(key(1), Ask::default()).await.unwrap();
            hub.until_running(1).await;
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert!(Arc::strong_count(&hub.world) > alone, "in service: not at rest");
            hub.client.stop(key(1), StopAsk::default()).await.unwrap();
            hub.until_stopped(Cause::Stopped).await;
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert_eq!(Arc::strong_count(&hub.world), alone);
        }
    });
}

/// A hub that is cut off after so many turns of its runtime, while it starts (or stops) a server; and the next one.
fn cut_off_after(turns: u32, stopping: Option<StopAsk>) -> ServerState {
    let world = Arc::<ScriptedSpawner>::default();
    let image = System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::over(people(), world.clone(), ScriptedProbe::default()).await;
        let start = hub.client.clone();
        actix::spawn(async move { start.start(key(1), Ask::default()).await });
        if let Some(ask) = stopping {
            hub.until_running(1).await;
            let stop = hub.client.clone();
            actix::spawn(async move { stop.stop(key(1), ask).await });
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        hub.store.image()
    });
    System::new().block_on(async {
        tokio::time::pause();
        let hub = Hub::over((*image).clone(), world, ScriptedProbe::default()).await;
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
        assert!(hub.world.starts() <= 1, "after {turns} turns");
        let tokens = hub.store.image().tokens().count();
        assert_eq!(tokens, usize::from(ready), "after {turns} turns");
        hub.state(1).unwrap_or(ServerState::Stopped(None))
    })
}

#[test]
fn a_hub_cut_off_anywhere_leaves_at_most_one_server_and_the_next_one_agrees() {
    let starts: Vec<_> = (0..80).map(|turns| cut_off_after(turns, None)).collect();
    assert_eq!(starts[0], ServerState::Stopped(None), "nothing had begun");
    assert!(starts.contains(&ServerState::Stopped(Some(Cause::Interrupted))));
    assert!(starts.last().unwrap().is_ready(), "all was done");
    let stops: Vec<_> =
        (0..80).map(|turns| cut_off_after(turns, Some(StopAsk::default()))).collect();
    assert!(stops[0].is_ready(), "nothing had begun");
    assert_eq!(stops.last(), Some(&ServerState::Stopped(Some(Cause::Stopped))), "all was done");
    let remove = StopAsk { by: None, remove: true };
    let removes: Vec<_> = (0..80).map(|turns| cut_off_after(turns, Some(remove.clone()))).collect();
    assert!(removes[0].is_ready(), "nothing had begun");
    assert_eq!(removes.last(), Some(&ServerState::Stopped(None)), "all was done");
    let stayed = |state: &&ServerState| !state.is_ready() && **state != ServerState::Stopped(None);
    assert_eq!(removes.iter().find(stayed), None, "what was begun was finished");
}

/// A person's start, which waits where there is no room.
fn patient() -> Ask {
    Ask { waits: true, ..Ask::default() }
}

fn named_key(user: u64, name: &str) -> ServerKey {
    ServerKey { user: UserId(user), name: ServerName::new(name).unwrap() }
}

impl Hub {
    fn state_of(&self, key: &ServerKey) -> Option<ServerState> {
        self.store.image().server(key).map(|server| server.state.clone())
    }

    fn is_queued(&self, key: &ServerKey) -> bool {
        self.state_of(key).is_some_and(|state| state.is_queued())
    }
}

#[test]
fn people_wait_by_turns_and_are_started_as_places_become_free() {
    System::new().block_on(async {
        let limits = Limits { starting: 0, active: 1, waiting: 9 };
        let hub = Hub::with(people(), Arc::default(), ScriptedProbe::default(), limits).await;
        assert_eq!(hub.client.start(key(1), patient()).await.unwrap(), Begun::Started);
        hub.until_running(1).await;
        let (bobs, eves) = (named_key(1, "lab"), key(2));
        let chosen = Ask { options: Some(serde_json::json!({"a": 1})), ..patient() };
        assert_eq!(hub.client.start(bobs.clone(), chosen).await.unwrap(), Begun::Queued);
        assert_eq!(hub.client.start(eves.clone(), patient()).await.unwrap(), Begun::Queued);
        assert_eq!(hub.client.start(eves.clone(), patient()).await.unwrap(), Begun::Already);
        let refused = hub.client.start(named_key(2, "x"), Ask::default()).await.unwrap_err();
        assert!(matches!(refused, StartRefused::TooManyActive { limit: 1 }), "{refused}");
        hub.until("both stand there", |hub| {
            let place = |key| hub.client.place(key).map(|place| (place.position, place.of));
            (place(&bobs), place(&eves)) == (Some((2, 2)), Some((1, 2)))
        })
        .await;
        assert!(hub.is_queued(&bobs) && hub.is_queued(&eves));
        // Now bob has none either, and he came first.
        hub.client.stop(key(1), StopAsk::default()).await.unwrap();
        hub.until("bob's other one runs", |hub| {
            hub.state_of(&bobs).is_some_and(|state| state.is_ready())
        })
        .await;
        assert!(hub.is_queued(&eves), "one place, one start");
        assert_eq!(hub.client.place(&bobs), None);
        hub.client.stop(bobs.clone(), StopAsk::default()).await.unwrap();
        hub.until_running(2).await;
        let image = hub.store.image();
        let options = image.server(&bobs).unwrap().user_options.clone();
        assert_eq!(options, Some(serde_json::json!({"a": 1})), "what was chosen waits with it");
    });
}

#[test]
fn who_waits_can_leave_and_nobody_fills_the_queue_alone() {
    System::new().block_on(async {
        let limits = Limits { starting: 0, active: 1, waiting: 12 };
        let hub = Hub::with(people(), Arc::default(), ScriptedProbe::default(), limits).await;
        hub.client.start(key(1), patient()).await.unwrap();
        hub.until_running(1).await;
        for n in 0..super::queue::OF_ONE {
            let begun = hub.client.start(named_key(1, &format!("s{n}")), patient()).await;
            assert_eq!(begun.unwrap(), Begun::Queued);
        }
        let refused = hub.client.start(named_key(1, "more"), patient()).await.unwrap_err();
        assert!(matches!(refused, StartRefused::QueuedEnough { waiting: 10, .. }), "{refused}");
        for name in ["a", "b"] {
            let begun = hub.client.start(named_key(2, name), patient()).await;
            assert_eq!(begun.unwrap(), Begun::Queued);
        }
        let refused = hub.client.start(named_key(2, "c"), patient()).await.unwrap_err();
        assert!(matches!(refused, StartRefused::QueueFull { limit: 12, .. }), "{refused}");
        let gone = named_key(1, "s0");
        hub.client.stop(gone.clone(), StopAsk::default()).await.unwrap();
        assert_eq!(hub.state_of(&gone), Some(ServerState::Stopped(Some(Cause::Stopped))));
        // At once it can come back, behind the others.
        assert_eq!(hub.client.start(gone.clone(), patient()).await.unwrap(), Begun::Queued);
        hub.client.stop(gone.clone(), StopAsk::default()).await.unwrap();
        hub.until("its place is free", |hub| hub.client.place(&gone).is_none()).await;
        let begun = hub.client.start(named_key(2, "c"), patient()).await.unwrap();
        assert_eq!(begun, Begun::Queued);
        assert_eq!(hub.world.starts(), 1, "nobody who waits was started");
    });
}

#[test]
fn the_next_hub_knows_who_waited_and_since_when() {
    System::new().block_on(async {
        let mut image = people();
        for (user, second) in [(1, 2_000_000), (2, 1_000_000)] {
            let state = ServerState::Queued { since: crate::domain::Moment(second) };
            image = with_server(image, user, state);
        }
        let running = in_service(9, Started { handle: Handle("h".into()), url: "u".into() });
        let blocked = Server { state: running, ..Server::new(named_key(1, "other")) };
        image.apply(&Write::Server(Arc::new(blocked)));
        // Its world does not know it: it ends, and makes room.
        let limits = Limits { starting: 0, active: 1, waiting: 9 };
        let hub = Hub::with(image, Arc::default(), ScriptedProbe::default(), limits).await;
        hub.until_running(2).await;
        assert!(hub.is_queued(&key(1)), "who came later waits on");
        hub.client.stop(key(2), StopAsk::default()).await.unwrap();
        hub.until_running(1).await;
    });
}

#[test]
fn a_wait_that_cannot_be_recorded_is_none() {
    System::new().block_on(async {
        let limits = Limits { starting: 0, active: 1, waiting: 9 };
        let hub = Hub::with(people(), Arc::default(), ScriptedProbe::default(), limits).await;
        hub.client.start(key(1), patient()).await.unwrap();
        hub.until_running(1).await;
        hub.full.store(true, Ordering::SeqCst);
        let refused = hub.client.start(key(2), patient()).await.unwrap_err();
        assert!(matches!(refused, StartRefused::NotRecorded(_)), "{refused}");
        hub.full.store(false, Ordering::SeqCst);
        assert_eq!(hub.client.start(key(2), patient()).await.unwrap(), Begun::Queued);
    });
}
