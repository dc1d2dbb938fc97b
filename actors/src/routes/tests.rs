//! The actor with proxies that come, go and fail.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use actix::{Actor as _, System};
use arc_swap::ArcSwap;

use super::{
    Actor, Client, RouteError, Settings,
    actor::{Sinks, recorded},
};
use crate::{
    domain::{Route, RouteSpec, Service, ServiceName},
    spawner::Facts,
    spawners::doubles::{Fixed, LONG, people, store},
    store::{Image, Write},
    supervise::{Publisher, named},
    testing::MemoryRoutes,
};

fn has(proxy: &MemoryRoutes) -> Vec<String> {
    proxy.routes().iter().map(|route| route.spec.to_string()).collect()
}

fn route(path: &str) -> Route {
    let target = "http://127.0.0.1:1".to_owned();
    Route { spec: RouteSpec::new(path), target, server: None }
}

fn launch(publisher: &Publisher<Actor>, sinks: Sinks) {
    let facts = Facts { base_url: "/".to_owned(), ..Facts::default() };
    let fixed = Arc::new(Fixed(AtomicU64::new(0)));
    let settings = Settings {
        limit: Duration::from_secs(5),
        fixed: Arc::new(ArcSwap::from_pointee(vec![route("/services/x")])),
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
        let (one, other) = (MemoryRoutes::named("one"), MemoryRoutes::named("other"));
        one.plant(route("/old"));
        client.add_sink(Arc::new(one.clone())).await.unwrap();
        until("filled", || has(&one) == ["/services/x/", "/user/bob/"]).await;
        assert_eq!(one.synced_count(), 0, "not before recovery is complete");
        client.recovered().await.unwrap();
        until("synced", || one.synced_count() == 1).await;
        let id = client.add_sink(Arc::new(other.clone())).await.unwrap();
        client.remove(RouteSpec::new("/user/bob")).await.unwrap();
        assert_eq!((has(&one), has(&other)), (vec!["/services/x/".to_owned()], has(&one)));
        // What somebody else did to its table is put right at the next check.
        one.forget_all();
        until("put right", || has(&one) == ["/services/x/"]).await;
        client.remove_sink(id).await.unwrap();
        client.set(route("/user/eve")).await.unwrap();
        assert_eq!(has(&other), ["/services/x/"], "it has gone");
        assert_eq!(one.synced_count(), 1, "said once");
    });
}

#[test]
fn a_check_puts_a_table_right_at_once() {
    System::new().block_on(async {
        tokio::time::pause();
        let (publisher, name) = named("routes");
        launch(&publisher, Sinks::default());
        let client = Client::new(name, LONG);
        let specs =
            |list: Vec<Route>| list.into_iter().map(|it| it.spec.to_string()).collect::<Vec<_>>();
        client.check().await.unwrap();
        assert_eq!(specs(client.list().await.unwrap()), ["/services/x/"], "what a proxy would get");
        let proxy = MemoryRoutes::named("proxy");
        client.add_sink(Arc::new(proxy.clone())).await.unwrap();
        client.check().await.unwrap();
        assert_eq!(has(&proxy), ["/services/x/"]);
        proxy.forget_all();
        proxy.plant(route("/old"));
        assert_eq!(specs(client.list().await.unwrap()), ["/old/"], "what it has");
        client.check().await.unwrap();
        assert_eq!(has(&proxy), ["/services/x/"]);
        proxy.set_failing(true);
        client.check().await.unwrap();
        assert!(matches!(client.list().await, Err(RouteError::Unread(_))));
    });
}

#[test]
fn a_failing_proxy_holds_nobody_up_and_is_put_right_later() {
    System::new().block_on(async {
        tokio::time::pause();
        let (publisher, name) = named("routes");
        launch(&publisher, Sinks::default());
        let client = Client::new(name, LONG);
        let (good, bad) = (MemoryRoutes::named("good"), MemoryRoutes::named("bad"));
        bad.set_failing(true);
        client.add_sink(Arc::new(good.clone())).await.unwrap();
        client.add_sink(Arc::new(bad.clone())).await.unwrap();
        client.set(route("/user/bob")).await.unwrap();
        assert_eq!(has(&good), ["/services/x/", "/user/bob/"]);
        bad.set_failing(false);
        until("put right", || has(&bad) == has(&good)).await;
        bad.set_hanging(true);
        let late = client.set(route("/user/eve")).await;
        assert!(matches!(late, Err(RouteError::Late)), "{late:?}");
        bad.set_hanging(false);
        until("still wanted", || has(&bad) == ["/services/x/", "/user/bob/", "/user/eve/"]).await;
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
        let (old, new) = (MemoryRoutes::named("proxy"), MemoryRoutes::named("proxy"));
        client.add_sink(Arc::new(old.clone())).await.unwrap();
        client.set(route("/user/bob")).await.unwrap();
        publisher.publish(None);
        launch(&publisher, sinks);
        until("without what was only asked", || has(&old) == ["/services/x/"]).await;
        client.add_sink(Arc::new(new.clone())).await.unwrap();
        client.set(route("/user/eve")).await.unwrap();
        assert_eq!(has(&new), ["/services/x/", "/user/eve/"]);
        assert_eq!(has(&old), ["/services/x/"]);
    });
}

#[test]
fn services_with_an_address_have_a_route() {
    let facts = Facts { base_url: "/pre/".to_owned(), ..Facts::default() };
    let mut image = Image::default();
    for (name, url) in [("a b", Some("http://127.0.0.1:7/")), ("plain", None)] {
        image.apply(&Write::Service(Arc::new(Service {
            name: ServiceName::new(name).unwrap(),
            admin: false,
            url: url.map(str::to_owned),
            display: true,
            info: serde_json::Map::new(),
            oauth_no_confirm: false,
            oauth_client_allowed_scopes: Vec::new(),
            command: Vec::new(),
            configured: false,
        })));
    }
    let routes: Vec<_> = recorded(&image, &facts).into_values().collect();
    let spec = RouteSpec::new("/pre/services/a b");
    assert_eq!(routes, [Route { spec, target: "http://127.0.0.1:7".to_owned(), server: None }]);
}
