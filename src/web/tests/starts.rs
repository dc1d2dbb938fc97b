//! A start as its page shows it: how far it is, its place in the queue, what the server writes, and how it is broken off.

use std::time::Duration;

use jovis_actors::{
    domain::{Cause, Moment, Server, ServerKey, ServerName, ServerState},
    spawners::Place,
    store::Write,
};

use crate::web::testing::{Browser, Fate, Hub};

fn queue(hub: &Hub, key: &ServerKey) {
    let state = ServerState::Queued { since: Moment(1) };
    let server = Server { state, ..Server::new(key.clone()) };
    hub.doubles.write(Write::Server(server.into()));
    let estimate = Some(Duration::from_secs(200));
    let place = Place { position: 2, of: 3, estimate };
    hub.doubles.places.lock().unwrap().insert(key.clone(), place);
}

#[tokio::test]
async fn whoever_waits_sees_the_place_and_can_leave() {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let mut bob = hub.browser("bob").await;
    let key = ServerKey { name: ServerName::new("lab").unwrap(), ..hub.key("bob") };
    queue(&hub, &key);
    let url = "/hub/spawn-pending/bob/lab?next=/user/bob/lab/tree";
    let page = bob.get(url).await;
    assert_eq!(page.status, 200);
    for part in [
        "Place 2 of 3 in the queue. Its turn will probably come in about 4 minutes.",
        "data-stage=\"queued\" data-state=\"now\"",
        "action=\"/hub/spawn-pending/bob/lab?next=/user/bob/lab/tree\"",
        "http-equiv=\"refresh\"",
        "data-follow=\"/hub/spawn-follow/bob/lab\"",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    // On the wire it is a start like any other.
    let model = bob.script("GET", "/hub/api/users/bob/servers/lab", "").await.json();
    assert_eq!((&model["pending"], &model["ready"]), (&"spawn".into(), &false.into()));
    assert_eq!(bob.post(url, "").await.status, 403, "a form of somebody else's");
    let mut eve = hub.browser("eve").await;
    let theirs = format!("_xsrf={}", eve.cookies["_xsrf"].trim_matches('"'));
    assert_eq!(eve.post(url, &theirs).await.status, 404);
    let ours = format!("_xsrf={}", page.field("_xsrf"));
    let done = bob.post(url, &ours).await;
    assert_eq!((done.status, done.location()), (303, "/hub/home"));
    let image = hub.app.doors.image();
    assert_eq!(image.server(&key).unwrap().state, ServerState::Stopped(Some(Cause::Stopped)));
    // Sent again (a page gone back to) it does no harm to a server that runs by now.
    *hub.doubles.fate.lock().unwrap() = Fate::Runs;
    bob.get("/hub/spawn/bob/lab").await;
    let again = bob.post(url, &ours).await;
    assert_eq!((again.status, again.location()), (303, url));
    assert!(hub.app.doors.image().server(&key).unwrap().state.is_ready());
}

#[tokio::test]
async fn a_start_is_followed_with_its_log_until_it_ends() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    "\u{1b}[31m<b>loading</b>\u{1b}[0m".clone_into(&mut hub.doubles.tail.lock().unwrap());
    assert_eq!(bob.get("/hub/spawn").await.location(), "/hub/spawn-pending/bob");
    let page = bob.get("/hub/spawn-pending/bob").await;
    assert!(page.text.contains("&lt;b&gt;loading&lt;/b&gt;") && !page.text.contains('\u{1b}'));
    assert!(!page.text.contains("data-stage=\"queued\""), "it never waited");
    let mut watcher = Browser { cookies: bob.cookies.clone(), ..hub.visitor() };
    let (events, ()) = tokio::join!(watcher.get("/hub/spawn-follow/bob"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        hub.finish("bob");
    });
    assert_eq!(events.header("content-type"), "text/event-stream");
    let told: Vec<serde_json::Value> = events
        .text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(told[0]["stage"], "starting", "{}", events.text);
    assert_eq!(told[0]["log"], "<b>loading</b>");
    assert_eq!(told.last().unwrap()["stage"], serde_json::Value::Null);
    for other in ["/hub/spawn-follow/eve", "/hub/spawn-follow/nobody"] {
        assert_eq!(bob.get(other).await.status, 404, "{other}");
    }
    let anonymous = hub.visitor().get("/hub/spawn-follow/bob").await;
    assert_eq!(anonymous.status, 302);
}

#[tokio::test]
async fn no_server_starts_for_whom_their_provider_does_not_vouch_any_more() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.vouched.lock().unwrap() = Some(false);
    let refused = bob.script("POST", "/hub/api/users/bob/server", "").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("the sign-in of bob is over"), "{}", refused.text);
    let page = bob.get("/hub/spawn").await;
    assert_eq!(page.status, 403, "{}", page.text);
    // It is the user's word that counts, whoever asks.
    let mut root = hub.browser("root").await;
    let refused = root.script("POST", "/hub/api/users/bob/server", "").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(hub.app.doors.image().server(&hub.key("bob")).is_none(), "nothing was begun");
    *hub.doubles.vouched.lock().unwrap() = Some(true);
    hub.doubles.asked.lock().unwrap().clear();
    assert_eq!(root.script("POST", "/hub/api/users/bob/server", "").await.status, 201);
    assert!(hub.doubles.asked.lock().unwrap().contains(&"renew bob".to_owned()));
    *hub.doubles.vouched.lock().unwrap() = None;
    hub.doubles.asked.lock().unwrap().clear();
    assert_eq!(bob.script("POST", "/hub/api/users/root/server", "").await.status, 404);
    assert_eq!(root.script("POST", "/hub/api/users/root/server", "").await.status, 201);
    assert!(hub.doubles.asked.lock().unwrap().is_empty(), "where nobody wants that nobody asks");
}
