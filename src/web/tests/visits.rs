//! What a browser goes through: signing in and out, and being sent from one address to another.

use std::sync::Arc;

use jovis_actors::{domain::Server, store::Write};

use crate::web::testing::{Browser, Fate, Hub};

fn token(browser: &Browser<'_>) -> String {
    browser.cookies["_xsrf"].trim_matches('"').to_owned()
}

#[tokio::test]
async fn the_sign_in_form_always_comes_with_a_fresh_start() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    for _ in 0..3 {
        let page = browser.get("/hub/login").await;
        let set: Vec<_> =
            page.set_cookies().into_iter().filter(|it| it.starts_with("_xsrf=")).collect();
        assert_eq!(set.len(), 1, "each time, whether the one there fits or not");
        assert_eq!(page.field("_xsrf"), token(&browser));
    }
    // Who is signed in gets one as well, on the way on.
    let mut bob = hub.browser("bob").await;
    let on = bob.get("/hub/login?next=/hub/token").await;
    assert_eq!((on.status, on.location()), (302, "/hub/token"));
    assert!(on.set_cookies().iter().any(|it| it.starts_with("_xsrf=")), "{:?}", on.set_cookies());
}

#[tokio::test]
async fn a_name_is_stripped_and_a_password_is_not() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let xsrf = browser.get("/hub/login").await.field("_xsrf");
    let form = format!("username=++bob%09&password=+correct+horse+&_xsrf={xsrf}");
    assert_eq!(browser.post("/hub/login", &form).await.status, 403);
    let seen = hub.doubles.seen.lock().unwrap()[0].clone();
    assert_eq!(
        (seen.username.as_str(), seen.password.reveal().as_str()),
        ("bob", " correct horse ")
    );
}

#[tokio::test]
async fn signing_in_as_somebody_else_switches() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    let form = format!("username=eve&password=correct+horse&_xsrf={}", token(&browser));
    let done = browser.post("/hub/login", &form).await;
    assert_eq!((done.status, done.location()), (302, "/hub/spawn"));
    assert_eq!(browser.script("GET", "/hub/api/user", "").await.json()["name"], "eve");
    // A name that is refused leaves everything as it was.
    let form = format!("username=bob&password=no&_xsrf={}", token(&browser));
    assert_eq!(browser.post("/hub/login", &form).await.status, 403);
    assert_eq!(browser.script("GET", "/hub/api/user", "").await.json()["name"], "eve");
}

#[tokio::test]
async fn without_a_wish_one_lands_at_the_server_or_where_it_starts_or_at_home() {
    let lands = async |hub: &Hub, query: &str| {
        let mut browser = hub.browser("bob").await;
        browser.get(&format!("/hub/login{query}")).await.location().to_owned()
    };
    let hub = Hub::new();
    let odd = "?a=1&next=//evil/&_xsrf=x&b=%26";
    assert_eq!(lands(&hub, "").await, "/hub/spawn");
    assert_eq!(lands(&hub, odd).await, "/hub/spawn?a=1&b=%26", "the rest of the query comes along");
    assert_eq!(lands(&hub, "?a=1&next=/hub/token").await, "/hub/token", "a wish is taken as it is");
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.get("/hub/").await.location(), "/hub/spawn");
    bob.get("/hub/spawn").await;
    assert_eq!(lands(&hub, "").await, "/user/bob/");
    assert_eq!(lands(&hub, odd).await, "/user/bob/?a=1&b=%26");
    assert_eq!(bob.get("/hub/?a=1").await.location(), "/user/bob/?a=1");
    // A start under way counts as well.
    let hub = Hub::new();
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    hub.browser("bob").await.get("/hub/spawn").await;
    assert_eq!(lands(&hub, "").await, "/user/bob/");
    let hub = Hub::with(|hub| hub.redirect_to_server = false);
    assert_eq!(lands(&hub, odd).await, "/hub/home?a=1&b=%26");
    let hub = Hub::with(|hub| hub.default_url = "/services/start/".into());
    assert_eq!(lands(&hub, "?a=1").await, "/services/start/?a=1");
    let root = hub.visitor().get("/hub/").await;
    assert_eq!(root.location(), "/services/start/", "there also for those not signed in");
}

#[tokio::test]
async fn a_missing_slash_is_put_there_for_good() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    for (from, to) in [
        ("/hub", "/hub/"),
        ("/hub?a=1", "/hub/?a=1"),
        ("/user/bob", "/user/bob/"),
        ("/user/bob?a=1&b", "/user/bob/?a=1&b"),
        ("/user/a%40b", "/user/a%40b/"),
        ("/services/idle", "/services/idle/"),
        ("/services/idle?a=1", "/services/idle/?a=1"),
    ] {
        let reply = browser.get(from).await;
        assert_eq!((reply.status, reply.location()), (301, to), "{from}");
    }
    for (from, to) in [
        ("/user/bob/", "/hub/user/bob/"),
        ("/user/", "/hub/user/"),
        ("/user", "/hub/user"),
        ("/x/y?z", "/hub/x/y?z"),
        ("/", "/hub/"),
    ] {
        let reply = browser.get(from).await;
        assert_eq!((reply.status, reply.location()), (302, to), "{from}");
    }
}

#[tokio::test]
async fn a_route_that_is_late_is_asked_for_again_and_a_loop_is_ended() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/spawn").await;
    for (query, wanted) in [
        ("", "?redirects=1"),
        ("?redirects=0", "?redirects=1"),
        ("?redirects=x", "?redirects=1"),
        ("?redirects=-4", "?redirects=1"),
        ("?a=%26&redirects=0&b", "?a=%26&b=&redirects=1"),
    ] {
        let back = bob.get(&format!("/hub/user/bob/lab{query}")).await;
        let wanted = format!("/user/bob/lab{wanted}");
        assert_eq!((back.status, back.location()), (302, wanted.as_str()), "{query}");
    }
    for query in ["?redirects=4", "?redirects=40"] {
        let ended = bob.get(&format!("/hub/user/bob/lab{query}")).await;
        assert_eq!((ended.status, ended.header("content-type")), (500, "text/html"), "{query}");
    }
    // A server of another version is given up on sooner.
    let key = hub.key("bob");
    let server = Server::clone(hub.app.doors.image().server(&key).unwrap());
    let server = Server { version: Some("5.4.0".into()), ..server };
    hub.doubles.write(Write::Server(Arc::new(server)));
    assert_eq!(bob.get("/hub/user/bob/lab?redirects=0").await.status, 302);
    assert_eq!(bob.get("/hub/user/bob/lab?redirects=2").await.status, 500);
}

#[tokio::test]
async fn the_page_of_a_start_shows_whatever_there_is() {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let mut bob = hub.browser("bob").await;
    let url = "/hub/spawn-pending/bob";
    let idle = bob.get(url).await;
    assert_eq!(idle.status, 200, "nothing is wrong with a server at rest");
    assert!(idle.text.contains("not running"), "{}", idle.text);
    assert!(hub.app.doors.image().servers().next().is_none(), "looking starts nothing");
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    bob.get("/hub/spawn").await;
    let pending = bob.get(url).await;
    assert_eq!(pending.status, 200);
    assert!(pending.text.contains("id=\"progress-bar\""));
    hub.finish("bob");
    for (query, wanted) in [
        ("", "/user/bob/"),
        ("?next=/user/bob/lab", "/user/bob/lab"),
        ("?next=//evil/", "/user/bob/"),
    ] {
        let ready = bob.get(&format!("{url}{query}")).await;
        assert_eq!((ready.status, ready.location()), (302, wanted), "{query}");
    }
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    bob.script("DELETE", "/hub/api/users/bob/server", "").await;
    let stopping = bob.get(url).await;
    assert_eq!(stopping.status, 200);
    assert!(stopping.text.contains("stopping"), "{}", stopping.text);
    hub.finish_stop(&hub.key("bob"));
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    bob.get("/hub/spawn").await;
    assert_eq!(bob.get(url).await.status, 500);
    for path in
        ["/hub/spawn-pending/bob/none", "/hub/spawn-pending/eve", "/hub/spawn-pending/nobody"]
    {
        assert_eq!(bob.get(path).await.status, 404, "{path}");
    }
    let anonymous = hub.visitor().get(url).await;
    assert_eq!(anonymous.location(), "/hub/login?next=/hub/spawn-pending/bob");
}

#[tokio::test]
async fn who_signs_out_takes_their_servers_along_where_that_is_set() {
    for (set, stopped) in [(false, false), (true, true)] {
        let hub = Hub::with(|hub| hub.shutdown_on_logout = set);
        let mut bob = hub.browser("bob").await;
        let started = bob.script("POST", "/hub/api/users/bob/server", "").await;
        assert_eq!(started.status, 201);
        assert_eq!(bob.get("/hub/logout").await.location(), "/hub/login");
        let image = hub.doubles.image.load_full();
        let active = image.server(&hub.key("bob")).is_some_and(|it| it.state.is_active());
        assert_eq!(active, !stopped, "shutdown_on_logout: {set}");
    }
}
