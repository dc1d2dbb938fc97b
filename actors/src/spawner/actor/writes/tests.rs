//! A spawner actor over a store that answers when the test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, Addr, System};
use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    domain::{OrderId, UserId, server::Handle},
    ports::{
        Boxed, Exit, Order, Probe, ProbeError, Progress, Recovered, SpawnError, Spawner, Started,
        Stop as How,
    },
    routes,
    spawner::{
        Board, Facts, Kit, Settings,
        messages::{Start, Stop},
    },
    spawners::{
        StopAsk,
        doubles::{Fixed, people},
    },
    store::client::Pending,
    supervise::named,
};

/// Starts never answer; they are counted.
#[derive(Default)]
struct World(AtomicU64);

impl Spawner for World {
    fn start<'a>(&'a self, _: &'a Order, _: Progress) -> Boxed<'a, Result<Started, SpawnError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
    fn recover<'a>(
        &'a self,
        _: &'a OrderId,
        _: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        Box::pin(std::future::ready(Ok(Recovered::Unknown)))
    }
    fn wait<'a>(&'a self, _: &'a OrderId, _: &'a Handle) -> Boxed<'a, Result<Exit, SpawnError>> {
        Box::pin(std::future::pending())
    }
    fn stop<'a>(
        &'a self,
        _: &'a OrderId,
        _: &'a Handle,
        _: How,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn forget<'a>(&'a self, _: &'a OrderId) -> Boxed<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    fn log_tail<'a>(&'a self, _: &'a OrderId, _: usize) -> Boxed<'a, String> {
        Box::pin(std::future::ready(String::new()))
    }
    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

impl Probe for World {
    fn probe<'a>(&'a self, _: &'a str, _: &'a str) -> Boxed<'a, Result<String, ProbeError>> {
        Box::pin(std::future::ready(Err(ProbeError::NotYet("refused".to_owned()))))
    }
}

/// Bob's actor, and the store's side of it.
struct Rig {
    actor: Addr<Actor>,
    world: Arc<World>,
    image: Arc<ArcSwap<Image>>,
    waiting: mpsc::Receiver<Pending>,
    _leash: oneshot::Sender<()>,
    _published: watch::Sender<u64>,
}

type Answer = JoinHandle<Result<(), NotBegun>>;

impl Rig {
    fn new() -> Self {
        tokio::time::pause();
        let image = Arc::new(ArcSwap::from_pointee(people()));
        let (published, watched) = watch::channel(0);
        let (queue, waiting) = mpsc::channel(100);
        let patience = Duration::from_secs(10);
        let store = store::Client { image: image.clone(), published: watched, queue, patience };
        let (world, fixed) = (Arc::<World>::default(), Arc::new(Fixed(AtomicU64::new(1))));
        let (_, routes) = named("routes");
        let facts = Facts { base_url: "/".to_owned(), ..Facts::default() };
        let kit = Kit {
            store,
            spawner: world.clone(),
            probe: world.clone(),
            routes: routes::Client::new(routes, patience),
            clock: fixed.clone(),
            entropy: fixed,
            facts: Arc::new(facts),
            settings: Arc::new(ArcSwap::from_pointee(Settings::default())),
            board: Board::default(),
            ward: crate::spawner::Ward::default(),
        };
        let (leash, held) = oneshot::channel();
        let actor = Actor::new(kit, UserId(1), oneshot::channel().0, held).start();
        Self { actor, world, image, waiting, _leash: leash, _published: published }
    }

    fn name() -> ServerName {
        ServerName::default_server()
    }

    fn start(&self) -> Answer {
        let start = self.actor.send(Start { name: Self::name(), ask: Ask::default(), queue: None });
        actix::spawn(async move { start.await.unwrap() })
    }

    fn stop(&self) -> Answer {
        let stop = self.actor.send(Stop { name: Self::name(), ask: StopAsk::default() });
        actix::spawn(async move { stop.await.unwrap() })
    }

    /// The next change that is put to the store.
    async fn next(&mut self) -> Pending {
        let next = tokio::time::timeout(Duration::from_secs(100), self.waiting.recv());
        next.await.expect("a change").expect("an actor")
    }

    fn commit(&self, Pending { decide, done }: Pending) {
        let mut image = Image::clone(&self.image.load());
        decide(&image).iter().for_each(|write| image.apply(write));
        self.image.store(Arc::new(image));
        let _ = done.send(Ok(()));
    }

    fn state(&self) -> Option<ServerState> {
        let key = ServerKey { user: UserId(1), name: Self::name() };
        self.image.load().server(&key).map(|server| server.state.clone())
    }

    fn starts(&self) -> u64 {
        self.world.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_start_that_is_recorded_late_goes_on() {
    System::new().block_on(async {
        let mut rig = Rig::new();
        let answer = rig.start();
        let late = rig.next().await;
        let question = rig.next().await; // not before the store's time was up
        assert_eq!((rig.state(), rig.starts()), (None, 0));
        assert!(!answer.is_finished(), "nobody knows yet");
        rig.commit(late);
        rig.commit(question);
        answer.await.unwrap().unwrap();
        assert!(matches!(rig.state(), Some(ServerState::Starting { .. })));
        assert_eq!(rig.starts(), 1);
    });
}

#[test]
fn a_start_that_was_lost_is_not_begun_and_the_next_one_is() {
    System::new().block_on(async {
        let mut rig = Rig::new();
        let answer = rig.start();
        drop(rig.next().await); // the store's writer died with it
        drop(rig.next().await); // and again
        let question = rig.next().await;
        let full = crate::ports::StoreError::Full;
        let _ = question.done.send(Err(full)); // what is on disk may yet be found there
        let question = rig.next().await;
        assert!(!answer.is_finished());
        rig.commit(question);
        let answer = answer.await.unwrap();
        assert!(matches!(answer, Err(NotBegun::NotRecorded(_))), "{answer:?}");
        assert_eq!((rig.state(), rig.starts()), (None, 0));
        let again = rig.start();
        let change = rig.next().await;
        rig.commit(change);
        again.await.unwrap().unwrap();
        assert_eq!(rig.starts(), 1);
    });
}

#[test]
fn a_stop_in_doubt_is_settled_by_the_record() {
    System::new().block_on(async {
        let mut rig = Rig::new();
        let started = rig.start();
        let change = rig.next().await;
        rig.commit(change);
        started.await.unwrap().unwrap();
        let answer = rig.stop();
        let late = rig.next().await;
        let question = rig.next().await;
        rig.commit(late);
        assert!(matches!(rig.state(), Some(ServerState::Stopping { .. })));
        rig.commit(question);
        answer.await.unwrap().unwrap();
        // The actor believes so too, and ends what was begun.
        while !matches!(rig.state(), Some(ServerState::Stopped(_))) {
            let change = rig.next().await;
            rig.commit(change);
        }
    });
}
