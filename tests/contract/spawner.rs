//! The port `Spawner`: an order is one act, however often it is asked for; what became of it can always be found out;
//! stopping ends it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jovis::{
    config::sections,
    spawn::{listeners::Expected, local::Local, output::Outputs},
};
use jovis_actors::{
    domain::{OrderId, Seconds, Secret, ServerName, Username, profile::Overrides},
    ports::{
        EnvVars, Exit, Handle, Order, Progress, Recovered, SpawnError, Spawner, Started, Stop,
    },
    testing::{NextStart, ScriptedSpawner, SeededEntropy},
};

use crate::root::{Pam, TestRoot};

/// Longer than any of these may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where servers live; it outlives the spawners that look at it.
pub(crate) trait World {
    /// A fresh spawner, as a hub has after a restart.
    fn spawner(&self) -> impl Future<Output = Arc<dyn Spawner>>;
    /// How many servers were really started for this order.
    fn births(&self, order: &OrderId) -> usize;
    /// This server ends without being stopped.
    fn end(&self, order: &OrderId, how: Exit);
    /// This order is not carried out.
    fn refuse(&self, order: &OrderId);
    /// Servers started from now on do not end when asked nicely.
    fn make_stubborn(&self);
}

pub(crate) fn order(n: u8) -> Order {
    Order {
        id: OrderId::from_bytes([n; 16]),
        user: Username::new("ünal").unwrap(),
        // A server each: two orders of one server are never in hand at once.
        server: ServerName::new(&format!("n{n}")).unwrap(),
        prefix: format!("/user/%C3%BCnal/n{n}/"),
        env: Secret::new(EnvVars::default()),
        options: None,
        chosen: None,
        overrides: Overrides::default(),
    }
}

pub(crate) fn quiet() -> Progress {
    Progress::new(|_| {})
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it ends in time")
}

pub(crate) async fn started(spawner: &Arc<dyn Spawner>, order: &Order) -> Started {
    let started = soon(spawner.start(order, quiet())).await.unwrap();
    let port = started.url.strip_prefix("http://").and_then(|it| it.rsplit_once(':'));
    assert!(port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()), "{}", started.url);
    started
}

pub(crate) async fn fate(
    spawner: &Arc<dyn Spawner>,
    order: &Order,
    handle: Option<&Handle>,
) -> Recovered {
    soon(spawner.recover(&order.id, handle)).await.unwrap()
}

pub(crate) async fn inventory(spawner: &Arc<dyn Spawner>) -> Vec<OrderId> {
    let mut all = soon(spawner.inventory()).await.unwrap();
    all.sort();
    all
}

/// Runs the suite on a fresh world.
pub(crate) async fn contract(world: impl World) {
    let spawner = world.spawner().await;
    assert_eq!(inventory(&spawner).await, []);
    once(&world, &spawner).await;
    ends(&world, &spawner).await;
    refusal(&world, &spawner).await;
    successor(&world, &spawner).await;
    output(&spawner).await;
    stops(&world, &spawner).await;
    assert_eq!(inventory(&spawner).await, [], "the suite has stopped all it started");
}

/// One order, one server, however often and however much at once it is asked for.
async fn once(world: &impl World, spawner: &Arc<dyn Spawner>) {
    let order = order(1);
    assert_eq!(fate(spawner, &order, None).await, Recovered::Unknown);
    let asked: Vec<_> = (0..5)
        .map(|_| {
            let (spawner, order) = (spawner.clone(), order.clone());
            tokio::spawn(async move { soon(spawner.start(&order, quiet())).await })
        })
        .collect();
    let mut answers = Vec::new();
    for asked in asked {
        // Who comes while it is being done may be told so, but not another address.
        answers.extend(asked.await.unwrap());
    }
    let first = started(spawner, &order).await;
    assert!(!answers.is_empty() && answers.iter().all(|it| *it == first), "{answers:?} {first:?}");
    assert_eq!(started(spawner, &order).await, first);
    assert_eq!(world.births(&order.id), 1);
    for handle in [None, Some(&first.handle)] {
        assert_eq!(fate(spawner, &order, handle).await, Recovered::Alive(first.clone()));
    }

    let other = self::order(2);
    let second = started(spawner, &other).await;
    assert_ne!(second.url, first.url, "two servers, two addresses");
    assert_ne!(second.handle, first.handle);
    assert_eq!(inventory(spawner).await, [order.id.clone(), other.id.clone()]);
    soon(spawner.stop(&order.id, &first.handle, Stop::Hard)).await.unwrap();
    assert_eq!(
        inventory(spawner).await,
        std::slice::from_ref(&other.id),
        "one ends, the other does not"
    );
    soon(spawner.stop(&other.id, &second.handle, Stop::Hard)).await.unwrap();
    soon(spawner.forget(&order.id)).await;
    soon(spawner.forget(&other.id)).await;
}

/// Who waits hears how it ended, all who wait, also afterwards; then it may be forgotten.
async fn ends(world: &impl World, spawner: &Arc<dyn Spawner>) {
    for (n, exit) in [(10, Exit::Code(0)), (11, Exit::Code(7)), (12, Exit::Signal(9))] {
        let order = order(n);
        let born = started(spawner, &order).await;
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (spawner, id, handle) =
                    (spawner.clone(), order.id.clone(), born.handle.clone());
                tokio::spawn(async move { spawner.wait(&id, &handle).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|it| !it.is_finished()), "it lives");
        world.end(&order.id, exit);
        for waiting in waiting {
            assert_eq!(soon(waiting).await.unwrap().unwrap(), exit);
        }
        assert_eq!(soon(spawner.wait(&order.id, &born.handle)).await.unwrap(), exit, "afterwards");
        let found = fate(spawner, &order, Some(&born.handle)).await;
        assert_eq!(found, Recovered::Ended(exit));
        assert_eq!(inventory(spawner).await, []);
        for how in [Stop::Soft, Stop::Hard] {
            soon(spawner.stop(&order.id, &born.handle, how)).await.unwrap();
        }
        assert_eq!(fate(spawner, &order, None).await, Recovered::Ended(exit), "as it was");
        for _ in 0..2 {
            soon(spawner.forget(&order.id)).await;
        }
        assert_eq!(fate(spawner, &order, None).await, Recovered::Unknown);
        soon(spawner.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
        let exit = soon(spawner.wait(&order.id, &born.handle)).await.unwrap();
        assert_eq!(exit, Exit::Unknown, "nobody remembers");
    }
}

/// What was refused has not happened.
async fn refusal(world: &impl World, spawner: &Arc<dyn Spawner>) {
    let order = order(20);
    world.refuse(&order.id);
    let error = soon(spawner.start(&order, quiet())).await.unwrap_err();
    let SpawnError::Refused(why) = &error else { panic!("{error:?}") };
    assert!(!why.is_empty());
    assert_eq!(world.births(&order.id), 0);
    assert_eq!(fate(spawner, &order, None).await, Recovered::Unknown);
    assert_eq!(inventory(spawner).await, []);
    soon(spawner.forget(&order.id)).await;
}

/// A hub ended between the act and its record: the next one finds it by the order alone, and can end it.
async fn successor(world: &impl World, spawner: &Arc<dyn Spawner>) {
    let (kept, ended) = (order(30), order(31));
    let (alive, _) = (started(spawner, &kept).await, started(spawner, &ended).await);
    world.end(&ended.id, Exit::Code(3));

    let next = world.spawner().await;
    assert_eq!(fate(&next, &kept, None).await, Recovered::Alive(alive.clone()));
    assert_eq!(started(&next, &kept).await, alive, "it is not started again");
    assert_eq!(world.births(&kept.id), 1);
    let begun = Instant::now();
    while fate(&next, &ended, None).await != Recovered::Ended(Exit::Code(3)) {
        assert!(begun.elapsed() < PATIENCE, "its end is not seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(inventory(&next).await, std::slice::from_ref(&kept.id));

    let (waiter, id, handle) = (next.clone(), kept.id.clone(), alive.handle.clone());
    let waiting = tokio::spawn(async move { waiter.wait(&id, &handle).await });
    soon(next.stop(&kept.id, &alive.handle, Stop::Hard)).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), Exit::Signal(9));
    for order in [&kept, &ended] {
        soon(next.forget(&order.id)).await;
    }
}

/// The end of what a server says, never more than asked for, never half a character.
async fn output(spawner: &Arc<dyn Spawner>) {
    let order = order(40);
    let born = started(spawner, &order).await;
    let begun = Instant::now();
    while !soon(spawner.log_tail(&order.id, 100_000)).await.ends_with("last line") {
        assert!(begun.elapsed() < PATIENCE, "it says nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let whole = spawner.log_tail(&order.id, 100_000).await;
    for bytes in (0..80).chain([1_000, whole.len(), usize::MAX]) {
        let tail = soon(spawner.log_tail(&order.id, bytes)).await;
        assert!(tail.len() <= bytes, "{} bytes instead of {bytes}: {tail:?}", tail.len());
        assert!(whole.ends_with(&tail), "{bytes}: {tail:?}");
    }
    soon(spawner.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
    assert!(spawner.log_tail(&order.id, 100).await.ends_with("last line"), "also after its end");
    soon(spawner.forget(&order.id)).await;
}

/// Stopping returns when it has ended: asked nicely, or at once, or by force in the end.
async fn stops(world: &impl World, spawner: &Arc<dyn Spawner>) {
    for (n, how, stubborn) in [
        (50, Stop::Soft, false),
        (51, Stop::Hard, false),
        (52, Stop::Soft, true),
        (53, Stop::Hard, true),
    ] {
        if stubborn {
            world.make_stubborn();
        }
        let order = order(n);
        let born = started(spawner, &order).await;
        let begun = Instant::now();
        // A stubborn one must have heard that it is to be so.
        while !spawner.log_tail(&order.id, 100).await.ends_with("last line") {
            assert!(begun.elapsed() < PATIENCE, "it says nothing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let both = (
            spawner.stop(&order.id, &born.handle, how),
            spawner.stop(&order.id, &born.handle, how),
        );
        let (one, two) = soon(async { tokio::join!(both.0, both.1) }).await;
        one.unwrap();
        two.unwrap();
        let Recovered::Ended(exit) = fate(spawner, &order, None).await else {
            panic!("{how:?} has not ended it")
        };
        if how == Stop::Hard {
            assert_eq!(exit, Exit::Signal(9));
        }
        soon(spawner.forget(&order.id)).await;
    }
}

struct Scripted(ScriptedSpawner);

impl World for Scripted {
    async fn spawner(&self) -> Arc<dyn Spawner> {
        Arc::new(self.0.clone())
    }
    fn births(&self, order: &OrderId) -> usize {
        usize::from(self.0.alive().contains(order))
    }
    fn end(&self, order: &OrderId, how: Exit) {
        self.0.end(order, how);
    }
    fn refuse(&self, _: &OrderId) {
        self.0.next_start(NextStart::Fails(SpawnError::Refused("not this one".to_owned())));
    }
    fn make_stubborn(&self) {}
}

#[tokio::test]
async fn the_scripted_spawner_keeps_the_contract() {
    let spawner = ScriptedSpawner::default();
    spawner.set_log_tail("zeile 1 äöü\nzeile 2 äöü\nlast line");
    contract(Scripted(spawner)).await;
}

/// Processes of this machine, under a root.
struct Machine(TestRoot);

impl Machine {
    fn new() -> Self {
        Self(TestRoot::new(Pam::Silent))
    }
}

impl World for Machine {
    async fn spawner(&self) -> Arc<dyn Spawner> {
        let short = Seconds::try_from(0.2).unwrap();
        let settings = sections::Spawner {
            interrupt_timeout: short,
            term_timeout: short,
            ..sections::Spawner::default()
        };
        Arc::new(Local::new(
            self.0.connect().await,
            Arc::new(ArcSwap::from_pointee(settings)),
            "/".to_owned(),
            Outputs::open(self.0.folder()).unwrap(),
            Arc::new(Expected::default()),
            Arc::new(SeededEntropy::new(u64::from(std::process::id()))),
        ))
    }
    fn births(&self, order: &OrderId) -> usize {
        self.0.births(order)
    }
    fn end(&self, order: &OrderId, how: Exit) {
        self.0.end(order, how);
    }
    fn refuse(&self, order: &OrderId) {
        self.0.refuse(order);
    }
    fn make_stubborn(&self) {
        self.0.make_stubborn();
    }
}

#[tokio::test]
async fn local_processes_keep_the_contract() {
    contract(Machine::new()).await;
}

#[test]
fn a_hub_that_goes_in_the_middle_of_a_start_leaves_one_server_or_none() {
    let machine = Machine::new();
    let mut found = 0;
    for n in 0..24_u8 {
        let order = order(100 + n);
        // The runtime takes its tasks along, and so the link, as a process does that is killed.
        hub().block_on(async {
            let spawner = machine.spawner().await;
            let spell = Duration::from_micros(u64::from(n) * 400);
            let _ = tokio::time::timeout(spell, spawner.start(&order, quiet())).await;
        });
        hub().block_on(async {
            let next = machine.spawner().await;
            match fate(&next, &order, None).await {
                Recovered::Unknown => assert_eq!(machine.births(&order.id), 0, "round {n}"),
                Recovered::Alive(born) => {
                    assert_eq!(machine.births(&order.id), 1, "round {n}");
                    assert_eq!(started(&next, &order).await, born);
                    assert_eq!(inventory(&next).await, std::slice::from_ref(&order.id));
                    soon(next.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
                    found += 1;
                }
                Recovered::Ended(exit) => panic!("round {n}: {exit:?}"),
            }
            soon(next.forget(&order.id)).await;
        });
        assert!(machine.births(&order.id) <= 1, "round {n}");
    }
    assert!(found > 0, "no start came so far as to leave a server");
}

pub(crate) fn hub() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
