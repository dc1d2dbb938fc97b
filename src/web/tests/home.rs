//! The home page: what it says of one's servers, and what one can do there.

use std::sync::Arc;

use jovis_actors::{
    domain::{Cause, Moment, Server, ServerKey, ServerName, ServerState, Stopper, Username},
    store::Write,
    usage::Usage,
};

use crate::web::testing::{Browser, Fate, Hub, SERVER_TOKEN};

fn named_hub() -> Hub {
    Hub::with(|hub| {
        hub.allow_named_servers = true;
        hub.named_server_limit_per_user = 2;
    })
}

fn key(hub: &Hub, name: &str) -> ServerKey {
    ServerKey { name: ServerName::new(name).unwrap(), ..hub.key("bob") }
}

/// Fills in and sends a form of the home page.
async fn act(browser: &mut Browser<'_>, fields: &str) -> crate::web::testing::Reply {
    browser.get("/hub/home").await;
    let xsrf = browser.cookies["_xsrf"].trim_matches('"').to_owned();
    browser.post("/hub/home", &format!("{fields}&_xsrf={xsrf}")).await
}

fn state(hub: &Hub, name: &str) -> ServerState {
    hub.doubles.image.load().server(&key(hub, name)).unwrap().state.clone()
}

#[tokio::test]
async fn home_tells_what_a_server_takes() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/spawn").await;
    let home = bob.get("/hub/home").await;
    assert!(!home.text.contains("Memory"), "nobody has measured yet: {}", home.text);
    let usage = Usage { memory: 312 << 20, cpu: Some(0.125), processes: 3, ..Usage::default() };
    hub.doubles.usages.lock().unwrap().insert(hub.key("bob"), usage);
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("312 MB") && home.contains("12 %"), "{home}");
    let usage = Usage { memory_limit: Some(1 << 30), ..usage };
    hub.doubles.usages.lock().unwrap().insert(hub.key("bob"), usage);
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("312 MB of 1.0 GB"), "{home}");
}

#[tokio::test]
async fn a_server_is_stopped_and_started_again_by_plain_forms() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("Not running") && home.contains("Start My Server"), "{home}");
    assert!(!home.contains("id=\"stop\""), "nothing to stop: {home}");
    bob.get("/hub/spawn?opt-size=big").await;
    let home = bob.get("/hub/home").await.text;
    for part in ["Running", ">My Server<", "Stop My Server", "id=\"stop\"", "value=\"restart\""] {
        assert!(home.contains(part), "{part} in {home}");
    }
    let done = act(&mut bob, "server=&action=restart").await;
    assert_eq!((done.status, done.location()), (302, "/hub/spawn-pending/bob"));
    assert!(state(&hub, "").is_ready());
    let image = hub.doubles.image.load_full();
    let options = image.server(&hub.key("bob")).unwrap().user_options.clone();
    assert_eq!(options.unwrap()["size"][0], "big", "with the options it had");
    let done = act(&mut bob, "server=&action=stop").await;
    assert_eq!((done.status, done.location()), (302, "/hub/home"));
    assert_eq!(state(&hub, ""), ServerState::Stopped(Some(Cause::Stopped)));
    let home = bob.get("/hub/home").await.text;
    assert!(!home.contains("Last time"), "one's own wish is no news: {home}");
    // What does not run is stopped already.
    assert_eq!(act(&mut bob, "server=&action=stop").await.status, 302);
}

#[tokio::test]
async fn a_restart_goes_on_by_itself_where_stopping_takes_long() {
    let hub = Hub::with(|hub| hub.slow_stop_timeout = jovis_actors::domain::Seconds::new(1));
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    bob.get("/hub/spawn").await;
    let done = act(&mut bob, "server=&action=restart").await;
    assert_eq!((done.status, done.location()), (302, "/hub/spawn-pending/bob"));
    assert!(bob.get("/hub/home").await.text.contains("Stopping"));
    hub.finish_stop(&hub.key("bob"));
    let began = std::time::Instant::now();
    while !state(&hub, "").is_ready() {
        assert!(began.elapsed().as_secs() < 20, "not started again");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_named_server_is_made_of_what_people_call_it() {
    let hub = named_hub();
    let mut bob = hub.browser("bob").await;
    assert!(bob.get("/hub/home").await.text.contains("Of 2 you may have 2 more."));
    let done = act(&mut bob, "action=add&display_name=++%3Cb%3EBig%3C%2Fb%3E++L%C3%A4b+").await;
    assert_eq!((done.status, done.location()), (302, "/hub/home"), "{}", done.text);
    let image = hub.doubles.image.load_full();
    let server = image.server(&key(&hub, "b-big-b-lab")).unwrap().clone();
    assert_eq!(server.display_name, "<b>Big</b> Läb");
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("&lt;b&gt;Big&lt;/b&gt; Läb") && !home.contains("<b>Big"), "{home}");
    assert!(home.contains("data-server-name=\"b-big-b-lab\""), "{home}");
    assert!(home.contains("href=\"/hub/spawn/bob/b-big-b-lab\""), "{home}");
    for (typed, status, why) in [
        ("", 400, "Give the server a name."),
        ("+%09+", 400, "Give the server a name."),
        ("a%E2%80%AEb", 400, "all of which can be seen"),
        ("%3Cb%3EBig%3C%2Fb%3E+L%C3%A4b", 409, "You have a server of that name already."),
    ] {
        let refused = act(&mut bob, &format!("action=add&display_name={typed}")).await;
        assert_eq!(refused.status, status, "{typed}");
        assert!(refused.text.contains(why), "{typed}: {}", refused.text);
        assert!(refused.text.contains("aria-invalid=\"true\""), "{}", refused.text);
    }
    assert_eq!(act(&mut bob, "action=add&display_name=Two").await.status, 302);
    let full = bob.get("/hub/home").await.text;
    assert!(full.contains("which is all you may have"), "{full}");
    let over = act(&mut bob, "action=add&display_name=Three").await;
    assert_eq!(over.status, 400, "{}", over.text);
    // One that runs stays; one at rest goes.
    bob.get("/hub/spawn/bob/two").await;
    assert_eq!(act(&mut bob, "server=two&action=delete").await.status, 400);
    assert_eq!(act(&mut bob, "server=two&action=stop").await.status, 302);
    assert_eq!(act(&mut bob, "server=two&action=delete").await.status, 302);
    assert!(hub.doubles.image.load().server(&key(&hub, "two")).is_none());
    assert_eq!(act(&mut bob, "server=&action=delete").await.status, 400);
    assert_eq!(act(&mut bob, "server=nope&action=delete").await.status, 404);
    assert_eq!(act(&mut bob, "server=&action=dance").await.status, 400);
}

#[tokio::test]
async fn forms_of_home_are_refused_without_their_token() {
    let hub = named_hub();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/spawn").await;
    for form in ["server=&action=stop", "action=restart", "action=add&display_name=x"] {
        assert_eq!(bob.post("/hub/home", form).await.status, 403, "{form}");
        let wrong = format!("{form}&_xsrf=x");
        assert_eq!(bob.post("/hub/home", &wrong).await.status, 403, "{form}");
    }
    assert!(state(&hub, "").is_ready());
    assert_eq!(hub.visitor().post("/hub/home", "action=stop").await.status, 403);
}

#[tokio::test]
async fn home_tells_why_a_server_ended() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let eve = Stopper::User(Username::new("eve").unwrap());
    let idle = Stopper::Idle { by: "<i>culler</i>".into(), minutes: 60 };
    for (cause, says, bad) in [
        (
            Cause::StoppedBy(idle),
            "culled by &lt;i&gt;culler&lt;/i&gt; after 60 minutes idle",
            false,
        ),
        (Cause::StoppedBy(eve), "stopped by eve.", false),
        (Cause::OutOfMemory, "killed: out of memory.", true),
        (Cause::Exited(1), "exited with status 1", true),
        (Cause::Exited(0), "exited with status 0", false),
        (Cause::Refused("<script>".into()), "&lt;script&gt;.", true),
    ] {
        let mut server = Server::new(hub.key("bob"));
        server.state = ServerState::Stopped(Some(cause));
        hub.doubles.write(Write::Server(Arc::new(server)));
        let home = bob.get("/hub/home").await.text;
        assert!(home.contains(says), "{says} in {home}");
        assert_eq!(home.contains("data-state=\"failed\""), bad, "{says}");
    }
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    bob.get("/hub/spawn").await;
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("&lt;b&gt;last&lt;"), "with its last words: {home}");
}

#[tokio::test]
async fn a_page_that_looks_by_itself_is_no_activity() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/home").await;
    let before = hub.doubles.used.lock().unwrap().len();
    let live = bob.script("GET", "/hub/home?live", "").await;
    assert_eq!(live.status, 200);
    assert!(live.text.contains("id=\"servers\"") && !live.text.contains("<html"), "{}", live.text);
    assert_eq!(hub.doubles.used.lock().unwrap().len(), before);
    bob.get("/hub/home").await;
    assert_eq!(hub.doubles.used.lock().unwrap().len(), before + 1);
}

#[tokio::test]
async fn a_culler_of_a_server_long_unused_is_told_with_the_time() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let mut root = hub.browser("root").await;
    bob.get("/hub/spawn").await;
    let image = hub.doubles.image.load_full();
    let mut server = Server::clone(image.server(&hub.key("bob")).unwrap());
    let now = hub.clock.0.load(std::sync::atomic::Ordering::SeqCst);
    server.last_activity = Some(Moment(now - 3_600_000_000));
    hub.doubles.write(Write::Server(Arc::new(server)));
    let scopes = r#"{"scopes": ["list:users", "read:servers", "delete:servers"]}"#;
    let culler = root.script("POST", "/hub/api/users/root/tokens", scopes).await.json();
    let culler = format!("token {}", culler["token"].as_str().unwrap());
    let path = "/hub/api/users/bob/server";
    let done = hub.plain("DELETE", path, &[("authorization", &culler)], "").await;
    assert_eq!(done.status, 204, "{}", done.text);
    let told = bob.script("GET", path, "").await.json();
    assert_eq!(told["cause"]["kind"], "culled");
    assert_eq!(told["cause"]["message"], "culled by root after 60 minutes idle");
}

#[tokio::test]
async fn who_opens_anothers_server_is_named_to_its_owner() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/spawn").await;
    let url = "/hub/api/oauth2/authorize?client_id=jupyterhub-user-bob&response_type=code&state=s";
    let mut eve = hub.browser("eve").await;
    assert_eq!(eve.get(url).await.status, 403, "who may not is not let in");
    let mut root = hub.browser("root").await;
    for (browser, guest) in [(&mut bob, false), (&mut root, true)] {
        let mut reply = browser.get(url).await;
        if reply.status == 200 {
            let scopes = reply.field("scopes").replace('=', "%3D").replace('/', "%2F");
            let form = format!("_xsrf={}&scopes={scopes}", reply.field("_xsrf"));
            reply = browser.post(url, &form).await;
        }
        assert_eq!(reply.status, 302, "{}", reply.text);
        let (_, code) = reply.location().split_once("code=").unwrap();
        let code = code.split('&').next().unwrap().to_owned();
        let form = format!(
            "client_id=jupyterhub-user-bob&client_secret={SERVER_TOKEN}&grant_type=authorization_code&code={code}"
        );
        let head = [("content-type", "application/x-www-form-urlencoded")];
        let token = hub.plain("POST", "/hub/api/oauth2/token", &head, &form).await;
        assert_eq!(token.status, 200, "{}", token.text);
        let home = hub.browser("bob").await.get("/hub/home").await.text;
        assert_eq!(home.contains("id=\"guests\""), guest);
        assert_eq!(home.contains("in them now: root"), guest, "{home}");
    }
    let home = root.get("/hub/home").await.text;
    assert!(!home.contains("id=\"guests\""), "it is bob's to know");
    // The one who entered leaves, and is not named any more.
    root.get("/hub/logout").await;
    assert!(!bob.get("/hub/home").await.text.contains("id=\"guests\""));
}
