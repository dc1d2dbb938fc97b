//! The actor with proxies that come, go and fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, System};

use super::{Actor, Client, RouteError, Settings, actor::Sinks};
use crate::{
    domain::{Route, RouteSpec},
    ports::{Boxed, RouteSink, SinkError},
    spawner::Facts,
    spawners::doubles::{Fixed, LONG, people, store},
    supervise::{Publisher, named},
};

/// A proxy that fails or hangs when told.
#[derive(Default)]
struct Proxy {
    name: &'static str,
    table: Mutex<BTreeMap<RouteSpec, Route>>,
    fails: AtomicBool,
    hangs: AtomicBool,
    synced: AtomicU64,
}

impl Proxy {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ..Self::default() })
    }

    fn has(&self) -> Vec<String> {
        self.table.lock().unwrap().keys().map(ToString::to_string).collect()
    }

    fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut BTreeMap<RouteSpec, Route>) -> T,
    ) -> Boxed<'_, Result<T, SinkError>> {
        if self.hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let fails = self.fails.load(Ordering::SeqCst);
        let done = if fails {
            Err(SinkError { doing: "work", error: "told to fail".to_owned() })
        } else {
            Ok(act(&mut self.table.lock().unwrap()))
        };
        Box::pin(std::future::ready(done))
    }
}

impl RouteSink for Proxy {
    fn name(&self) -> &str {
        self.name
    }
    fn list(&self) -> Boxed<'_, Result<Vec<Route>, SinkError>> {
        self.act(|table| table.values().cloned().collect())
    }
    fn set(&self, routes: Vec<Route>) -> Boxed<'_, Result<(), SinkError>> {
        self.act(|table| table.extend(routes.into_iter().map(|it| (it.spec.clone(), it))))
    }
    fn remove(&self, specs: Vec<RouteSpec>) -> Boxed<'_, Result<(), SinkError>> {
        self.act(|table| table.retain(|spec, _| !specs.contains(spec)))
    }
    fn synced(&self) -> Boxed<'_, Result<(), SinkError>> {
        self.synced.fetch_add(1, Ordering::SeqCst);
        self.act(|_| ())
    }
}

fn route(path: &str) -> Route {
    let target = "http://127.0.0.1:1".to_owned();
    Route { spec: RouteSpec::new(path), target, server: None }
}

fn launch(publisher: &Publisher<Actor>, sinks: Sinks) {
    let facts =
        Facts { base_url: "/".to_owned(), api_url: String::new(), public_host: String::new() };
    let fixed = Arc::new(Fixed(AtomicU64::new(0)));
    let settings = Settings {
        limit: Duration::from_secs(5),
        fixed: vec![route("/services/x")],
        ..Settings::default()
    };
    let store = store(people(), Arc::default());
    publisher.publish(Some(Actor::new(store, Arc::new(facts), fixed, settings, sinks).start()));
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG * 10;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn proxies_that_come_are_brought_into_step() {
    System::new().block_on(async {
        tokio::time::pause();
        let (publisher, name) = named("routes");
        launch(&publisher, Sinks::default());
        let client = Client::new(name, LONG);
        client.set(route("/user/bob")).await.unwrap();
        let (one, other) = (Proxy::new("one"), Proxy::new("other"));
        one.table.lock().unwrap().insert(RouteSpec::new("/old"), route("/old"));
        client.add_sink(one.clone()).await.unwrap();
        until("filled", || one.has() == ["/services/x/", "/user/bob/"]).await;
        assert_eq!(one.synced.load(Ordering::SeqCst), 0, "not before recovery is complete");
        client.recovered().await.unwrap();
        until("synced", || one.synced.load(Ordering::SeqCst) == 1).await;
        let id = client.add_sink(other.clone()).await.unwrap();
        client.remove(RouteSpec::new("/user/bob")).await.unwrap();
        assert_eq!((one.has(), other.has()), (vec!["/services/x/".to_owned()], one.has()));
        // What somebody else did to its table is put right at the next check.
        one.table.lock().unwrap().clear();
        until("put right", || one.has() == ["/services/x/"]).await;
        client.remove_sink(id).await.unwrap();
        client.set(route("/user/eve")).await.unwrap();
        assert_eq!(other.has(), ["/services/x/"], "it has gone");
        assert_eq!(one.synced.load(Ordering::SeqCst), 1, "said once");
    });
}

#[test]
fn a_failing_proxy_holds_nobody_up_and_is_put_right_later() {
    System::new().block_on(async {
        tokio::time::pause();
        let (publisher, name) = named("routes");
        launch(&publisher, Sinks::default());
        let client = Client::new(name, LONG);
        let (good, bad) = (Proxy::new("good"), Proxy::new("bad"));
        bad.fails.store(true, Ordering::SeqCst);
        client.add_sink(good.clone()).await.unwrap();
        client.add_sink(bad.clone()).await.unwrap();
        client.set(route("/user/bob")).await.unwrap();
        assert_eq!(good.has(), ["/services/x/", "/user/bob/"]);
        bad.fails.store(false, Ordering::SeqCst);
        until("put right", || bad.has() == good.has()).await;
        bad.hangs.store(true, Ordering::SeqCst);
        let late = client.set(route("/user/eve")).await;
        assert!(matches!(late, Err(RouteError::Late)), "{late:?}");
        bad.hangs.store(false, Ordering::SeqCst);
        until("still wanted", || bad.has() == ["/services/x/", "/user/bob/", "/user/eve/"]).await;
    });
}

#[test]
fn a_new_life_finds_the_proxies_and_one_of_the_same_name_is_replaced() {
    System::new().block_on(async {
        tokio::time::pause();
        let (publisher, name) = named("routes");
        let sinks = Sinks::default();
        launch(&publisher, sinks.clone());
        let client = Client::new(name, LONG);
        let (old, new) = (Proxy::new("proxy"), Proxy::new("proxy"));
        client.add_sink(old.clone()).await.unwrap();
        client.set(route("/user/bob")).await.unwrap();
        publisher.publish(None);
        launch(&publisher, sinks);
        until("without what was only asked", || old.has() == ["/services/x/"]).await;
        client.add_sink(new.clone()).await.unwrap();
        client.set(route("/user/eve")).await.unwrap();
        assert_eq!(new.has(), ["/services/x/", "/user/eve/"]);
        assert_eq!(old.has(), ["/services/x/"]);
    });
}
