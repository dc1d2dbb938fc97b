//! The whole tree over ports from memory: what outlives it, and what a panic in each of its actors costs.

use actix::{Arbiter, System};

use super::*;
use crate::{
    accounts,
    domain::{
        Cause, Moment, OrderId, Secret, ServerKey, ServerName, ServerState, Stopper, User,
        notice::{Drain, Drained},
    },
    ports::Credentials,
    spawners::{Ask, Begun, StartRefused, StopAsk},
    testing::{
        ManualClock, MemoryJournal, MemoryRoutes, ScriptedAccounts, ScriptedAuthenticator,
        ScriptedProbe, ScriptedSpawner, SeededEntropy,
    },
};

#[cfg(feature = "faults")]
mod panics;
#[cfg(feature = "faults")]
mod poisoned;

const LONG: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    let rules = logins::Rules { open: true, ..logins::Rules::default() };
    let of_logins = logins::Settings { rules, ..logins::Settings::default() };
    let facts = spawner::Facts { base_url: "/".to_owned(), ..spawner::Facts::default() };
    Settings {
        store: store::Settings::default(),
        facts: Arc::new(facts),
        spawner: Arc::default(),
        limits: Arc::default(),
        logins: Arc::new(ArcSwap::from_pointee(of_logins)),
        activity_resolution: Arc::new(ArcSwap::from_pointee(Duration::from_secs(30))),
        routes: routes::Settings::default(),
        janitor_period: janitor::PERIOD,
        recovery_patience: LONG,
    }
}

async fn hub(journal: &MemoryJournal, world: &ScriptedSpawner) -> Tree {
    hub_with(journal, world, &ScriptedProbe::default()).await
}

async fn hub_with(journal: &MemoryJournal, world: &ScriptedSpawner, probe: &ScriptedProbe) -> Tree {
    hub_of(journal, world, probe, settings()).await
}

async fn hub_of(
    journal: &MemoryJournal,
    world: &ScriptedSpawner,
    probe: &ScriptedProbe,
    mut settings: Settings,
) -> Tree {
    let people = ScriptedAuthenticator::default().with("Bob", "secret").with("Eve", "secret");
    let ports = Ports {
        journal: Box::new(journal.clone()),
        ways: crate::testing::the_way(Arc::new(people)),
        accounts: Arc::new(ScriptedAccounts::default()),
        spawner: Arc::new(world.clone()),
        probe: Arc::new(probe.clone()),
        clock: Arc::new(ManualClock::default()),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    settings.janitor_period = Duration::from_millis(100);
    let quick =
        spawner::Settings { reconcile_interval: Duration::from_millis(100), ..Default::default() };
    settings.spawner = Arc::new(ArcSwap::from_pointee(quick));
    grow(ports, settings, &Arbiter::current()).await.unwrap()
}

#[test]
fn maintenance_stops_servers_and_lets_only_those_start_who_may_end_it() {
    System::new().block_on(async {
        let (journal, world) = (MemoryJournal::default(), ScriptedSpawner::default());
        let tree = hub(&journal, &world).await;
        let bob = sign_in(&tree, "Bob").await.unwrap();
        let key = ServerKey { user: bob.id, name: ServerName::default_server() };
        tree.spawners.start(key.clone(), Ask::default()).await.unwrap();
        assert!(tree.spawners.settled(&key, LONG).await);
        let new = accounts::NewMaintenance {
            message: "New disks".to_owned(),
            until: None,
            drain: Some(Drain { whom: Drained::All, from: Moment(0) }),
            by: "root".to_owned(),
        };
        let begin = move |image: &store::Image| {
            accounts::begin_maintenance(image, new, Moment(0)).map(|(writes, _)| (writes, ()))
        };
        tree.store.change(begin).await.unwrap();
        let state = || tree.store.image().server(&key).unwrap().state.clone();
        let cause = Cause::StoppedBy(Stopper::Maintenance("root".to_owned()));
        until("drained", || state() == ServerState::Stopped(Some(cause.clone()))).await;
        let refused = tree.spawners.start(key.clone(), Ask::default()).await.unwrap_err();
        let wait = match refused {
            StartRefused::Maintenance { retry_after, message } if message == "New disks" => {
                retry_after
            }
            other => panic!("{other}"),
        };
        assert_eq!(wait.as_secs(), 300);
        tree.store.change(accounts::end_maintenance).await.unwrap();
        tree.spawners.start(key.clone(), Ask::default()).await.unwrap();
        assert!(tree.spawners.settled(&key, LONG).await);
        assert!(state().is_ready());
        tree.shutdown().await.unwrap();
    });
}

#[test]
fn servers_of_who_is_blocked_are_stopped_now_and_at_the_next_start() {
    System::new().block_on(async {
        let (journal, world) = (MemoryJournal::default(), ScriptedSpawner::default());
        let (probe, settings) = (ScriptedProbe::default(), settings());
        let block = |settings: &Settings, names: &[&str]| {
            let mut of_logins = logins::Settings::clone(&settings.logins.load());
            let name = |text: &&str| crate::domain::Username::new(text).unwrap();
            of_logins.rules.blocked_users = names.iter().map(name).collect();
            settings.logins.store(Arc::new(of_logins));
        };
        let tree = hub_of(&journal, &world, &probe, settings.clone()).await;
        let mut keys = Vec::new();
        for name in ["Bob", "Eve"] {
            let user = sign_in(&tree, name).await.unwrap().id;
            let key = ServerKey { user, name: ServerName::default_server() };
            tree.spawners.start(key.clone(), Ask::default()).await.unwrap();
            assert!(tree.spawners.settled(&key, LONG).await);
            keys.push(key);
        }
        let state =
            |tree: &Tree, nth: usize| tree.store.image().server(&keys[nth]).unwrap().state.clone();
        let stopped = ServerState::Stopped(Some(Cause::StoppedBy(Stopper::Blocked)));
        block(&settings, &["bob"]);
        until("bob's has stopped", || state(&tree, 0) == stopped).await;
        assert!(state(&tree, 1).is_ready(), "and nobody else's");
        assert!(sign_in(&tree, "Bob").await.is_err());
        tree.shutdown().await.unwrap();
        block(&settings, &["bob", "eve"]);
        let tree = hub_of(&journal, &world, &probe, settings).await;
        until("eve's has stopped", || state(&tree, 1) == stopped).await;
        tree.shutdown().await.unwrap();
    });
}

#[test]
fn a_server_outlives_the_tree_and_is_found_again() {
    System::new().block_on(async {
        let (journal, world) = (MemoryJournal::default(), ScriptedSpawner::default());
        let tree = hub(&journal, &world).await;
        let password = Secret::new("secret".to_owned());
        let credentials = Credentials {
            way: String::new(),
            username: "Bob".to_owned(),
            password,
            otp: None,
            from: None,
        };
        let user = tree.logins.password(credentials).await.unwrap();
        assert_eq!(user.name.as_str(), "bob");
        let key = ServerKey { user: user.id, name: ServerName::default_server() };
        let begun = tree.spawners.start(key.clone(), Ask::default()).await.unwrap();
        assert_eq!(begun, Begun::Started);
        assert!(tree.spawners.settled(&key, LONG).await);
        let at = tree.store.image().server(&key).unwrap().last_activity.unwrap();
        tree.activity.server(&key, at.plus(LONG));
        tree.shutdown().await.unwrap();
        assert_eq!(world.alive().len(), 1);

        let again = hub(&journal, &world).await;
        let proxy = MemoryRoutes::default();
        again.routes.add_sink(Arc::new(proxy.clone())).await.unwrap();
        let deadline = tokio::time::Instant::now() + LONG;
        while proxy.synced_count() == 0 {
            assert!(tokio::time::Instant::now() < deadline, "never in step");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(proxy.routes().len(), 1);
        assert_eq!(world.starts(), 1, "nothing that ran was restarted");
        let server = again.store.image().server(&key).unwrap().clone();
        assert!(server.state.is_ready());
        assert_eq!(server.last_activity, Some(at.plus(LONG)), "noted, and flushed at the end");
        again.shutdown().await.unwrap();
    });
}

/// A hub with a proxy, and Bob's server in service.
struct Busy {
    tree: Tree,
    journal: MemoryJournal,
    world: ScriptedSpawner,
    probe: ScriptedProbe,
    proxy: MemoryRoutes,
    key: ServerKey,
    /// Bob's order: nobody may give another one.
    order: OrderId,
}

async fn sign_in(tree: &Tree, name: &str) -> Result<Arc<User>, logins::SignInRefused> {
    let password = Secret::new("secret".to_owned());
    let credentials = Credentials {
        way: String::new(),
        username: name.to_owned(),
        password,
        otp: None,
        from: None,
    };
    answered(tree.logins.password(credentials)).await
}

/// No caller hangs, whoever panics.
async fn answered<T>(asked: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, asked).await.expect("an answer, never a hang")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Busy {
    async fn new() -> Self {
        let (journal, world) = (MemoryJournal::default(), ScriptedSpawner::default());
        let (probe, proxy) = (ScriptedProbe::default(), MemoryRoutes::default());
        let tree = hub_with(&journal, &world, &probe).await;
        tree.routes.add_sink(Arc::new(proxy.clone())).await.unwrap();
        let user = sign_in(&tree, "Bob").await.unwrap();
        let key = ServerKey { user: user.id, name: ServerName::default_server() };
        tree.spawners.start(key.clone(), Ask::default()).await.unwrap();
        assert!(tree.spawners.settled(&key, LONG).await);
        let order = world.alive()[0].clone();
        Self { tree, journal, world, probe, proxy, key, order }
    }

    /// Everybody works, and nothing that ran was touched.
    async fn is_well(&self) {
        assert_eq!(self.world.alive(), std::slice::from_ref(&self.order));
        assert!(self.tree.store.image().server(&self.key).unwrap().state.is_ready());
        until("routed", || self.proxy.routes().len() == 1).await;
        let again = answered(self.tree.spawners.start(self.key.clone(), Ask::default())).await;
        assert!(matches!(again, Err(StartRefused::Running)), "{again:?}");
        sign_in(&self.tree, "Eve").await.unwrap();
        let at = self.tree.store.image().server(&self.key).unwrap().last_activity.unwrap();
        self.tree.activity.server(&self.key, at.plus(Duration::from_secs(1)));
        answered(self.tree.activity.flush(LONG)).await.unwrap();
        let noted = self.journal.image().server(&self.key).unwrap().last_activity;
        assert_eq!(noted, Some(at.plus(Duration::from_secs(1))));
    }

    async fn ends_well(self) {
        self.is_well().await;
        answered(self.tree.spawners.stop(self.key.clone(), StopAsk::default())).await.unwrap();
        assert!(self.tree.spawners.settled(&self.key, LONG).await);
        assert_eq!(self.world.alive(), []);
        self.tree.shutdown().await.unwrap();
    }
}

#[test]
fn a_panic_of_one_users_spawner_is_made_good_and_the_others_go_on() {
    System::new().block_on(async {
        let hub = Busy::new().await;
        let eve = sign_in(&hub.tree, "Eve").await.unwrap();
        let eves = ServerKey { user: eve.id, ..hub.key.clone() };
        hub.probe.panic_next(2);
        answered(hub.tree.spawners.start(eves.clone(), Ask::default())).await.unwrap();
        // Bob's actor answers while hers is down.
        let again = answered(hub.tree.spawners.start(hub.key.clone(), Ask::default())).await;
        assert!(matches!(again, Err(StartRefused::Running)), "{again:?}");
        assert!(hub.tree.spawners.settled(&eves, LONG).await);
        assert_eq!(hub.probe.panics_left(), 0);
        assert!(hub.tree.store.image().server(&eves).unwrap().state.is_ready());
        assert_eq!((hub.world.alive().len(), hub.world.starts()), (2, 2), "found, not repeated");
        until("both routed", || hub.proxy.routes().len() == 2).await;
        answered(hub.tree.spawners.stop(eves.clone(), StopAsk::default())).await.unwrap();
        assert!(hub.tree.spawners.settled(&eves, LONG).await);
        assert_eq!(hub.world.alive().len(), 1);
        hub.tree.shutdown().await.unwrap();
    });
}

#[test]
fn a_panic_of_the_store_loses_the_change_in_hand_and_nothing_else() {
    System::new().block_on(async {
        let hub = Busy::new().await;
        let before = hub.journal.image();
        hub.journal.panic_at_next_append();
        let refused = sign_in(&hub.tree, "Eve").await;
        assert!(matches!(refused, Err(logins::SignInRefused::NotRecorded(_))), "{refused:?}");
        assert_eq!(hub.journal.image(), before, "whoever is refused has left nothing");
        assert_eq!(*hub.tree.store.image(), before);
        hub.ends_well().await;
    });
}
