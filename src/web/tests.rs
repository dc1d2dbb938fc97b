//! Whole requests against doubles: what a browser and a single-user server do, in their order.

use std::{sync::Arc, time::Duration};

use jovis_actors::{
    domain::{ClientId, OAuthClient, ServerKey, ServerName, ServiceName, oauth::ClientOf},
    logins::SignInRefused,
    ports::StoreError,
    spawners::StartRefused,
    store::Write,
};
use serde_json::json;

use super::testing::{Browser, Fate, Hub, SERVER_TOKEN};

mod admin;
mod conventions;
mod crawl;
mod elsewhere;
mod groups;
mod hardening;
mod home;
mod hosts;
mod look;
mod machinery;
mod matrix;
mod notices;
mod openapi;
mod options;
mod people;
mod provider;
mod reference;
mod servers;
mod services;
mod shares;
mod sharing_page;
mod starts;
mod token_page;
mod tokens;
mod visits;

const HUBS_HEADERS: [&str; 4] = [
    "x-jupyterhub-version",
    "access-control-allow-headers",
    "content-security-policy",
    "x-content-type-options",
];

#[tokio::test]
async fn a_visitor_signs_in_and_lands_where_they_wanted() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let start = browser.get("/hub/").await;
    assert_eq!((start.status, start.location()), (302, "/hub/login?next=/hub/"));
    let page = browser.get("/hub/login?next=%2Fuser%2Fbob%2Flab").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    for id in ["username_input", "password_input", "login_submit"] {
        assert!(page.text.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(page.text.contains("action=\"/hub/login?next=/user/bob/lab\""), "{}", page.text);
    let form = format!("username=+bob+&password=correct+horse&_xsrf={}", page.field("_xsrf"));
    let done = browser.post("/hub/login?next=%2Fuser%2Fbob%2Flab", &form).await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab"));
    assert_eq!(browser.cookies.len(), 3, "{:?}", browser.cookies);
    let seen = hub.doubles.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.username.as_str(), seen.from), ("bob", Some("192.0.2.1".parse().unwrap())));
    let home = browser.get("/hub/home").await;
    assert_eq!(home.status, 200);
    for part in ["id=\"start\"", "id=\"logout\"", "Start My Server", "href=\"/hub/spawn/bob\""] {
        assert!(home.text.contains(part), "{part} in {}", home.text);
    }
}

#[tokio::test]
async fn a_refused_sign_in_says_the_same_sentence_and_sets_no_login() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let xsrf = browser.get("/hub/login").await.field("_xsrf");
    let form = |xsrf: &str| format!("username=%3Cb%3E&password=no&_xsrf={xsrf}");
    let refused = browser.post("/hub/login", &form(&xsrf)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("Invalid username or password"));
    assert!(refused.text.contains("value=\"&lt;b&gt;\""), "{}", refused.text);
    assert!(!browser.cookies.contains_key("jupyterhub-hub-login"));
    let retry_after = Duration::from_secs(40);
    *hub.doubles.refuse.lock().unwrap() = Some(SignInRefused::Throttled { retry_after });
    let throttled = browser.post("/hub/login", &form(&xsrf)).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, "40"));
    assert!(throttled.text.contains("40 seconds"));
    *hub.doubles.refuse.lock().unwrap() = Some(SignInRefused::Unable("down".into()));
    assert_eq!(browser.post("/hub/login", &form(&xsrf)).await.status, 503);
    let asked = hub.doubles.seen.lock().unwrap().len();
    let forged = browser.post("/hub/login", &form("forged")).await;
    assert_eq!(forged.status, 403);
    assert!(forged.text.contains("out of date"));
    let long = format!("{}&x={}", form(&xsrf), "a".repeat(17_000));
    assert_eq!(browser.post("/hub/login", &long).await.status, 413);
    assert_eq!(hub.doubles.seen.lock().unwrap().len(), asked, "nothing was checked");
}

#[tokio::test]
async fn a_server_is_started_watched_and_entered() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    let spawn = browser.get("/hub/spawn?next=/user/bob/lab%3Fa=b").await;
    assert_eq!(spawn.status, 302);
    assert_eq!(spawn.location(), "/hub/spawn-pending/bob?next=/user/bob/lab%3Fa%3Db");
    let target = spawn.location().to_owned();
    let pending = browser.get(&target).await;
    assert_eq!(pending.status, 200);
    for id in ["progress-bar", "progress-message", "progress-log", "progress-details"] {
        assert!(pending.text.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(pending.text.contains("data-progress-url=\"/hub/api/users/bob/server/progress\""));
    let post = browser.script("POST", "/hub/api/users/bob/server", "").await;
    assert_eq!((post.status, post.header("content-type")), (202, "text/plain"));
    let url = "/hub/api/users/bob/server/progress";
    let mut watcher = Browser { cookies: browser.cookies.clone(), ..hub.visitor() };
    let (events, ()) = tokio::join!(watcher.script("GET", url, ""), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        hub.finish("bob");
    });
    assert_eq!(events.header("content-type"), "text/event-stream");
    let lines: Vec<_> = events.text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 3, "{}", events.text);
    assert!(lines[0].contains("\"progress\":0") && lines[1].contains("Process started"));
    assert!(lines[2].contains("\"ready\":true") && lines[2].contains("\"url\":\"/user/bob/\""));
    let done = browser.get(&target).await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab?a=b"));
    let home = browser.get("/hub/home").await;
    assert!(home.text.contains("Stop My Server") && home.text.contains(">My Server<"));
    let stop = browser.script("DELETE", "/hub/api/users/bob/server", "").await;
    assert_eq!((stop.status, stop.header("content-type")), (204, ""));
}

#[tokio::test]
async fn a_failed_start_shows_cause_and_last_words() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    let spawn = browser.get("/hub/spawn").await;
    assert_eq!(spawn.status, 500);
    let page = browser.get("/hub/spawn-pending/bob").await;
    assert_eq!(page.status, 500);
    for part in ["exited with status 3", "&lt;b&gt;last&lt;", "Relaunch Server", "id=\"start\""] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let events = browser.script("GET", "/hub/api/users/bob/server/progress", "").await;
    assert_eq!(events.status, 200);
    assert!(events.text.contains("\"failed\":true"));
    let post = browser.script("POST", "/hub/api/users/bob/server", "").await;
    assert_eq!(post.status, 500);
    assert!(post.json()["message"].as_str().unwrap().contains("status 3"));
    let gone = browser.get("/hub/user/bob/lab").await;
    assert_eq!(gone.status, 303);
    assert_eq!(gone.location(), "/hub/spawn-pending/bob?next=/hub/user/bob/lab");
}

#[tokio::test]
async fn a_single_user_server_lives_on_our_wire() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    assert_eq!(browser.get("/hub/spawn").await.location(), "/user/bob/");
    let root = hub.plain("GET", "/hub/api", &[], "").await;
    assert_eq!((root.status, root.json()), (200, json!({"version": "6.1.1"})));
    assert_eq!(root.header("x-jupyterhub-version"), "6.1.1");
    // The browser comes to be known.
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let query = format!(
        "client_id=jupyterhub-user-bob&redirect_uri=%2Fuser%2Fbob%2Foauth_callback&response_type=code&state=a%2Bb&code_challenge={challenge}&code_challenge_method=S256"
    );
    let given = browser.get(&format!("/hub/api/oauth2/authorize?{query}")).await;
    assert_eq!(given.status, 302);
    let (target, rest) = given.location().split_once("?code=").unwrap();
    let (code, state) = rest.split_once("&state=").unwrap();
    assert_eq!((target, state, code.len()), ("/user/bob/oauth_callback", "a%2Bb", 30));
    // The server exchanges the code.
    let own = format!("token {SERVER_TOKEN}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let exchange = format!(
        "client_id=jupyterhub-user-bob&client_secret={SERVER_TOKEN}&grant_type=authorization_code&code={code}&redirect_uri=%2Fuser%2Fbob%2Foauth_callback&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let headers = [form, ("authorization", own.as_str())];
    let wrong = exchange.replace(SERVER_TOKEN, "wrong");
    let refused = hub.plain("POST", "/hub/api/oauth2/token", &headers, &wrong).await;
    assert_eq!((refused.status, refused.json()), (401, json!({"error": "invalid_client"})));
    // Browsers have no business here: pages of other sites are refused, and being signed in proves nothing.
    let foreign = [form, ("origin", "http://evil")];
    assert_eq!(hub.plain("POST", "/hub/api/oauth2/token", &foreign, &exchange).await.status, 403);
    assert_eq!(browser.post("/hub/api/oauth2/token", &wrong).await.status, 401);
    let done = hub.plain("POST", "/hub/api/oauth2/token", &headers, &exchange).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let token = done.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!((token.len(), &done.json()["token_type"]), (30, &json!("Bearer")));
    assert_eq!(done.json()["expires_in"], 1_209_600);
    assert_eq!(done.header("cache-control"), "no-store");
    let again = hub.plain("POST", "/hub/api/oauth2/token", &headers, &exchange).await;
    assert_eq!((again.status, again.json()), (400, json!({"error": "invalid_grant"})));
    // And asks who it is.
    let visitor = format!("token {token}");
    let who = hub.plain("GET", "/hub/api/user", &[("authorization", &visitor)], "").await;
    assert_eq!(who.status, 200);
    let model = who.json();
    assert_eq!(
        (&model["name"], &model["kind"], &model["groups"]),
        (&json!("bob"), &json!("user"), &json!([]))
    );
    assert!(model["scopes"].as_array().unwrap().contains(&json!("access:servers!server=bob/")));
    assert_eq!(model["session_id"], browser.cookies["jupyterhub-session-id"].trim_matches('"'));
    // Its reports count for server and user, its own calls not.
    hub.doubles.used.lock().unwrap().clear();
    let body = json!({"servers": {"": {"last_activity": "2026-11-21T19:25:05.717815Z"}}, "last_activity": "2026-11-21T19:25:05.717815Z"});
    let headers = [("authorization", own.as_str()), ("content-type", "application/json")];
    let told = hub.plain("POST", "/hub/api/users/bob/activity", &headers, &body.to_string()).await;
    assert_eq!((told.status, told.text.as_str()), (200, ""));
    let used = hub.doubles.used.lock().unwrap().clone();
    assert!(used[0].starts_with("token "), "{used:?}");
    assert_eq!(used[1..], ["server 1/ 1795289105717815", "user 1 1795289105717815"]);
    let other = hub.plain("POST", "/hub/api/users/eve/activity", &headers, &body.to_string()).await;
    assert_eq!(other.status, 404);
    // Signing out ends what was given in this session.
    let out = browser.get("/hub/logout").await;
    assert_eq!((out.status, out.location()), (302, "/hub/login"));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let who = hub.plain("GET", "/hub/api/user", &[("authorization", &visitor)], "").await;
    assert_eq!((who.status, &who.json()["message"]), (403, &json!(null)));
}

#[tokio::test]
async fn strangers_get_no_code_and_administrators_are_asked() {
    let hub = Hub::new();
    hub.browser("bob").await.get("/hub/spawn").await;
    let url = "/hub/api/oauth2/authorize?client_id=jupyterhub-user-bob&response_type=code&state=s";
    let anonymous = hub.visitor().get(url).await;
    assert_eq!(anonymous.status, 302);
    assert!(anonymous.location().starts_with("/hub/login?next=/hub/api/oauth2/authorize%3F"));
    let mut eve = hub.browser("eve").await;
    assert_eq!(eve.get(url).await.status, 403);
    let forged = format!("_xsrf={}", eve.cookies["_xsrf"].trim_matches('"'));
    assert_eq!(eve.post(url, &forged).await.status, 403);
    let mut root = hub.browser("root").await;
    let page = root.get(url).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let xsrf = page.field("_xsrf");
    assert_eq!(root.post(url, "scopes=read:users:name!user").await.status, 403);
    let excess = root.post(url, &format!("_xsrf={xsrf}&scopes=admin:users")).await;
    assert!(excess.location().contains("error=invalid_scope&state=s"), "{}", excess.location());
    let form = format!("_xsrf={xsrf}&scopes=access:servers!server%3Dbob/");
    let given = root.post(url, &form).await;
    assert!(given.location().starts_with("/user/bob/oauth_callback?code="), "{}", given.location());
    for bad in ["client_id=nobody", "client_id=jupyterhub-user-bob&redirect_uri=//e"] {
        let fatal = root.get(&format!("/hub/api/oauth2/authorize?response_type=code&{bad}")).await;
        assert_eq!((fatal.status, fatal.location()), (400, ""), "{bad}");
        assert_eq!(fatal.header("content-type"), "text/html");
    }
}

#[tokio::test]
async fn the_api_answers_403_and_never_401() {
    let hub = Hub::new();
    for (method, path, status) in [
        ("GET", "/hub/api/user", 403),
        ("GET", "/hub/api/users/bob", 403),
        ("POST", "/hub/api/users/bob/server", 403),
        ("POST", "/hub/api/users/bob/tokens", 403),
        ("GET", "/hub/api/info", 403),
        ("PUT", "/hub/api/user", 405),
        ("HEAD", "/hub/api/user", 405),
        ("OPTIONS", "/hub/api/user", 200),
        ("OPTIONS", "/hub/api/nothing", 404),
        ("GET", "/hub/api/nothing", 404),
        ("GET", "/hub/api/users/", 404),
        ("GET", "/hub/api/users//server", 404),
        ("OPTIONS", "/hub/api/users//server", 404),
        ("PUT", "/hub/api", 405),
        ("HEAD", "/hub/api", 405),
        ("OPTIONS", "/hub/api", 200),
        ("GET", "/hub/api/users/bob/servers/", 403),
        ("GET", "/hub/api/us%65r", 403),
        ("GET", "/hub/api/", 200),
        ("GET", "/hub/api/users/%2e%2e", 400),
        ("GET", "/hub/api/users/%ff", 400),
    ] {
        let bad = [("authorization", "token nonsense")];
        for headers in [&[][..], &bad[..]] {
            let reply = hub.plain(method, path, headers, "").await;
            assert_eq!(reply.status, status, "{method} {path} {}", reply.text);
            if method != "HEAD" && method != "OPTIONS" && status >= 400 {
                assert_eq!(reply.json()["status"], status, "{method} {path}");
            }
            for name in HUBS_HEADERS {
                assert!(reply.headers.contains_key(name), "{name} on {method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_hubs_headers() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    for path in [
        "/",
        "/hub",
        "/hub/",
        "/hub/login",
        "/hub/home",
        "/hub/token",
        "/hub/nothing",
        "/hub/error/503",
        "/hub/health",
        "/hub/logo",
        "/hub/static/style.css?v=1",
        "/hub/user/bob/",
        "/hub/spawn-pending/bob",
        "/favicon.ico",
        "/robots.txt",
        "/user/bob",
        "/hub/%2e%2e/x",
    ] {
        let reply = browser.get(path).await;
        for name in HUBS_HEADERS {
            assert!(reply.headers.contains_key(name), "{name} on {path}");
        }
        if reply.header("content-type") == "text/html" && !reply.text.is_empty() {
            let policy = reply.header("content-security-policy");
            assert!(policy.contains("script-src 'self' 'nonce-"), "{path}: {policy}");
            assert!(
                !["<script>", "<style", "onclick", "onload", "javascript:", "style="]
                    .iter()
                    .any(|it| reply.text.contains(it)),
                "{path}"
            );
            assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let json = ("content-type", "application/json");
    for (method, path, headers) in [
        ("POST", "/hub/api/users/bob/server", &[json][..]),
        ("DELETE", "/hub/api/users/bob/server", &[]),
        ("POST", "/hub/api/users/bob/tokens", &[json]),
        ("POST", "/hub/api/users/bob/activity", &[json]),
        ("DELETE", "/hub/api/users/bob/tokens/a1", &[]),
        ("GET", "/hub/api/users/bob", &[("sec-fetch-mode", "cors")]),
        ("GET", "/hub/api/users/bob/server/progress", &[("sec-fetch-mode", "cors")]),
        ("POST", "/hub/spawn", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")]),
        ("POST", "/hub/user/bob/api/contents", &[]),
        ("POST", "/hub/security/csp-report", &[]),
        ("POST", "/user/bob/api/contents", &[]),
    ] {
        let reply = bob.send(method, path, headers, "{}").await;
        assert_eq!(reply.status, 403, "{method} {path} {}", reply.text);
    }
    // A form of another site cannot pass as a call of ours, even with the token in the address.
    let token = bob.cookies["_xsrf"].trim_matches('"').to_owned();
    let path = format!("/hub/api/users/bob/server?_xsrf={token}");
    assert_eq!(bob.send("POST", &path, &[("content-type", "text/plain")], "{}").await.status, 403);
    let foreign = [json, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")];
    assert_eq!(bob.send("POST", &path, &foreign, "{}").await.status, 403);
    assert!(hub.app.doors.image().servers().next().is_none(), "nothing was started");
    // A tossed cookie before ours does no harm.
    let tossed = format!("_xsrf=evil; {}", join(&bob));
    let headers = [("cookie", tossed.as_str()), ("user-agent", "Test/1"), json];
    assert_eq!(hub.plain("POST", &path, &headers, "{}").await.status, 201);
}

fn join(browser: &Browser<'_>) -> String {
    let all: Vec<_> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join("; ")
}

#[tokio::test]
async fn a_stopped_server_is_told_to_browsers_and_scripts() {
    let hub = Hub::new();
    let anonymous = hub.visitor().get("/hub/user/bob/lab?x=1").await;
    assert_eq!(anonymous.location(), "/hub/login?next=/hub/user/bob/lab%3Fx%3D1");
    let mut bob = hub.browser("bob").await;
    let page = bob.get("/hub/user/bob/lab?x=1").await;
    assert_eq!(page.status, 424);
    let link = "href=\"/hub/spawn/bob?next=/hub/user/bob/lab%3Fx%3D1\"";
    assert!(page.text.contains("id=\"start\"") && page.text.contains(link), "{}", page.text);
    assert!(!page.text.contains("by itself") && !page.text.contains("data-after"));
    let script = bob.get("/hub/user/bob/api/kernels").await;
    assert_eq!((script.status, script.header("content-type")), (424, "application/json"));
    assert!(script.json()["message"].as_str().unwrap().contains("http://hub:8000/hub/spawn/bob"));
    assert_eq!(bob.get("/hub/user/eve/lab").await.status, 404);
    assert_eq!(bob.get("/hub/user/nobody/").await.status, 404);
    assert_eq!(bob.send("PUT", "/hub/user/bob/x", &[], "").await.status, 405);
    // Running by now: back, but not for ever.
    bob.get("/hub/spawn").await;
    let back = bob.get("/hub/user/bob/lab?x=1").await;
    assert_eq!((back.status, back.location()), (302, "/user/bob/lab?x=1&redirects=1"));
    assert_eq!(bob.get("/hub/user/bob/lab?redirects=4").await.status, 500);
    // What the proxy does not know comes below the hub.
    assert_eq!(bob.get("/user/bob").await.location(), "/user/bob/");
    assert_eq!(bob.get("/user/bob/lab?a=1").await.location(), "/hub/user/bob/lab?a=1");
    assert_eq!(bob.get("//evil/x").await.location(), "/hub/evil/x");
    let redirect = bob.get("/hub/user-redirect/lab/tree?a=1").await;
    assert_eq!(redirect.location(), "/hub/spawn/bob?next=/user/bob/lab/tree%3Fa%3D1");
    assert_eq!(bob.get("/hub/spawn?next=//evil/").await.location(), "/user/bob/");
}

#[tokio::test]
async fn tokens_are_made_used_listed_and_ended() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{\"note\": \"n\"}").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let model = made.json();
    let secret = model["token"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    assert!(secret.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    let id = model["id"].as_str().unwrap();
    assert_eq!((&model["user"], &model["oauth_client"]), (&json!("bob"), &json!("JupyterHub")));
    let token = format!("Bearer {secret}");
    let with = [("authorization", token.as_str())];
    let who = hub.plain("GET", "/hub/api/user", &with, "").await.json();
    assert_eq!((&who["token_id"], &who["session_id"]), (&json!(id), &json!(null)));
    let list = hub.plain("GET", "/hub/api/users/bob/tokens", &with, "").await.json();
    assert_eq!(list["api_tokens"][0]["id"], id);
    assert!(list["api_tokens"][0].get("token").is_none());
    assert!(bob.get("/hub/token").await.text.contains(&format!("data-token-id=\"{id}\"")));
    assert_eq!(hub.plain("GET", "/hub/api/users/eve/tokens", &with, "").await.status, 404);
    let path = format!("/hub/api/users/bob/tokens/{id}");
    assert_eq!(hub.plain("GET", &path, &with, "").await.status, 200);
    assert_eq!(hub.plain("DELETE", &path, &with, "").await.status, 204);
    assert_eq!(hub.plain("GET", "/hub/api/user", &with, "").await.status, 403);
    for other in ["/hub/api/users/eve/tokens", "/hub/api/users/nobody/tokens"] {
        assert_eq!(bob.script("POST", other, "{}").await.status, 403, "{other}");
    }
    let auth =
        |password: &str| json!({"auth": {"username": "bob", "password": password}}).to_string();
    let path = "/hub/api/users/bob/tokens";
    assert_eq!(hub.plain("POST", path, &[], &auth("correct horse")).await.status, 201);
    assert_eq!(hub.plain("POST", path, &[], &auth("wrong")).await.status, 403);
    let path = "/hub/api/users/eve/tokens";
    assert_eq!(hub.plain("POST", path, &[], &auth("correct horse")).await.status, 403);
}

#[tokio::test]
async fn a_token_ends_at_its_time() {
    use std::sync::atomic::Ordering;
    let hub = Hub::new();
    hub.clock.0.store(0, Ordering::SeqCst);
    let mut bob = hub.browser("bob").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{\"expires_in\": 60}").await.json();
    let token = format!("token {}", made["token"].as_str().unwrap());
    let with = [("authorization", token.as_str())];
    assert_eq!(made["expires_at"], "1970-01-01T00:01:00Z");
    hub.clock.0.store(59_999_999, Ordering::SeqCst);
    assert_eq!(hub.plain("GET", "/hub/api/user", &with, "").await.status, 200);
    hub.clock.0.store(60_000_000, Ordering::SeqCst);
    assert_eq!(hub.plain("GET", "/hub/api/user", &with, "").await.status, 403);
    let list = bob.script("GET", "/hub/api/users/bob/tokens", "").await;
    assert_eq!(list.json()["api_tokens"], json!([]));
}

#[tokio::test]
async fn a_refused_start_says_why_and_when_to_come_back() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let retry_after = Duration::from_secs(33);
    let full = StoreError::Full.to_string();
    for (refused, status, wait) in [
        (StartRefused::TooManyStarting { limit: 1, retry_after }, 429, "33"),
        (StartRefused::TooManyActive { limit: 1 }, 429, ""),
        (StartRefused::NotRecorded(full), 507, "60"),
        (StartRefused::Stopping, 400, ""),
    ] {
        *hub.doubles.refuse_start.lock().unwrap() = Some(refused.clone());
        let reply = bob.script("POST", "/hub/api/users/bob/server", "").await;
        assert_eq!((reply.status, reply.header("retry-after")), (status, wait), "{refused}");
        assert_eq!(reply.json()["message"], refused.to_string());
        let page = bob.get("/hub/spawn").await;
        assert_eq!((page.status, page.header("content-type")), (status, "text/html"), "{refused}");
        assert_eq!(page.header("retry-after"), wait);
    }
    let named = bob.script("POST", "/hub/api/users/bob/servers/lab", "").await;
    assert_eq!(named.status, 400);
    assert_eq!(bob.get("/hub/spawn/eve").await.status, 404);
    assert_eq!(bob.script("GET", "/hub/api/users/bob/servers/lab", "").await.status, 404);
    let idle = bob.script("GET", "/hub/api/users/bob/server", "").await;
    assert_eq!((idle.status, &idle.json()["stopped"]), (200, &json!(true)));
    let progress = bob.script("GET", "/hub/api/users/bob/server/progress", "").await;
    assert_eq!(progress.status, 404);
}

#[tokio::test]
async fn names_cannot_put_markup_on_pages_or_into_events() {
    let hub = Hub::new();
    let name = "a\"><script>'&{{x}}";
    hub.doubles.add(name, false);
    let typed = "a%22%3E%3Cscript%3E'%26%7B%7Bx%7D%7D";
    let mut browser = hub.browser(typed).await;
    for path in ["/hub/home", "/hub/token", "/hub/nothing", "/hub/spawn"] {
        let page = browser.get(path).await;
        assert!(!page.text.contains("<script>") && !page.text.contains("a\">"), "{}", page.text);
    }
    let home = browser.get("/hub/home").await;
    assert!(home.text.contains("a&#34;&gt;&lt;script&gt;&#39;&amp;{{x}}"), "{}", home.text);
    let me = browser.script("GET", "/hub/api/user", "").await.json();
    let url = me["servers"][""]["progress_url"].as_str().unwrap().to_owned();
    let events = browser.script("GET", &url, "").await;
    assert_eq!(events.status, 200, "{}", events.text);
    assert!(!events.text.contains("<script>"), "{}", events.text);
}

#[tokio::test]
async fn an_old_or_foreign_cookie_is_nobody_and_goes() {
    use std::sync::atomic::Ordering;
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    hub.clock.0.fetch_add(14 * 86_400 * 1_000_000 - 1_000_000, Ordering::SeqCst);
    assert_eq!(bob.get("/hub/home").await.status, 200);
    hub.clock.0.fetch_add(2_000_000, Ordering::SeqCst);
    let late = bob.get("/hub/home").await;
    assert_eq!((late.status, late.location()), (302, "/hub/login?next=/hub/home"));
    assert!(!bob.cookies.contains_key("jupyterhub-hub-login"));
    // Nobody's sign-out touches nothing.
    let out = hub.plain("GET", "/hub/logout", &[("cookie", "jupyterhub-session-id=abc")], "").await;
    assert_eq!((out.status, out.set_cookies().len()), (302, 0));
}

#[tokio::test]
async fn under_a_prefix_everything_moves_along() {
    let hub = Hub::with(|hub| hub.base_url = "/j/".into());
    let mut visitor = hub.visitor();
    assert_eq!(visitor.get("/j/hub/").await.location(), "/j/hub/login?next=/j/hub/");
    let page = visitor.get("/j/hub/login").await;
    assert!(page.text.contains("action=\"/j/hub/login\""));
    assert!(page.set_cookies()[0].contains("; Path=/j/hub/"), "{:?}", page.set_cookies());
    assert_eq!(visitor.get("/j/user/bob/x").await.location(), "/j/hub/user/bob/x");
    assert_eq!(visitor.get("/hub/home").await.location(), "/j/hub/hub/home");
    assert_eq!(visitor.get("/j/hub/api").await.json()["version"], "6.1.1");
}

#[tokio::test]
async fn over_real_sockets_only_the_proxys_headers_are_believed() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream, UnixListener, UnixStream},
        sync::oneshot,
    };
    async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
        let head = "GET /hub/login HTTP/1.1\r\nHost: hub\r\nX-Forwarded-Proto: https\r\n\
                    X-Request-Id: from-the-proxy\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
    let hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = api.local_addr().unwrap();
    let path = folder.path().join("hub.sock");
    let proxy = UnixListener::bind(&path).unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let listeners = super::Listeners { api: super::serve::only(api), proxy };
    let serving = tokio::spawn(super::serve(1024, listeners, hub.app.clone(), async {
        let _ = ended.await;
    }));
    let direct = ask(TcpStream::connect(address).await.unwrap()).await;
    assert!(direct.starts_with("HTTP/1.1 200 OK"), "{direct}");
    assert!(!direct.contains("; Secure") && !direct.contains("from-the-proxy"), "{direct}");
    let proxied = ask(UnixStream::connect(&path).await.unwrap()).await;
    assert!(
        proxied.contains("; Secure") && proxied.contains("x-request-id: from-the-proxy"),
        "{proxied}"
    );
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn answers_without_a_body_say_nothing_about_one() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream, UnixListener},
        sync::oneshot,
    };
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let folder = tempfile::tempdir().unwrap();
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = api.local_addr().unwrap();
    let proxy = UnixListener::bind(folder.path().join("hub.sock")).unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let listeners = super::Listeners { api: super::serve::only(api), proxy };
    let serving = tokio::spawn(super::serve(1024, listeners, hub.app.clone(), async {
        let _ = ended.await;
    }));
    let ask = async |method: &str, path: &str, headers: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: hub\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text.to_ascii_lowercase()
    };
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{}").await.json();
    let path = format!("/hub/api/users/bob/tokens/{}", made["id"].as_str().unwrap());
    let token = format!("Authorization: token {}\r\n", made["token"].as_str().unwrap());
    let gone = ask("DELETE", &path, &token).await;
    assert!(gone.starts_with("http/1.1 204") && !gone.contains("content-length"), "{gone}");
    let logo = ask("GET", "/hub/logo", "").await;
    let etag = logo.lines().find(|line| line.starts_with("etag: ")).unwrap();
    let same = etag.replace("etag", "If-None-Match") + "\r\n";
    let same = ask("GET", "/hub/logo", &same).await;
    assert!(same.starts_with("http/1.1 304") && !same.contains("content-length"), "{same}");
    let peek = ask("HEAD", "/hub/logo", "").await;
    assert!(peek.starts_with("http/1.1 200") && peek.ends_with("\r\n\r\n"), "{peek}");
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_slow_to_stop_is_removed_all_the_same() {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.script("POST", "/hub/api/users/bob/servers/lab", "").await.status, 201);
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    let path = "/hub/api/users/bob/servers/lab";
    let removed = bob.script("DELETE", path, "{\"remove\": true}").await;
    assert_eq!((removed.status, removed.text.as_str()), (202, ""));
    assert_eq!(bob.script("GET", path, "").await.json()["pending"], "stop");
    let key = ServerKey { name: ServerName::new("lab").unwrap(), ..hub.key("bob") };
    hub.finish_stop(&key);
    let gone = async {
        while hub.app.doors.image().server(&key).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    assert_eq!(bob.script("GET", path, "").await.status, 404);
}

#[tokio::test]
async fn a_sign_in_for_a_client_on_another_host_may_lead_there() {
    let hub = Hub::new();
    for (name, uri) in [("far", "https://far.example:8443/x/cb"), ("odd", "https://a;b c/cb")] {
        let name = ServiceName::new(name).unwrap();
        hub.doubles.write(Write::Client(Arc::new(OAuthClient {
            id: ClientId::of_service(&name),
            secret: hub.app.entropy.digest("s"),
            redirect_uri: uri.to_owned(),
            description: String::new(),
            allowed_scopes: Vec::new(),
            of: ClientOf::Service(name),
        })));
    }
    let to = |client: &str| format!("/hub/api/oauth2/authorize%3Fclient_id%3D{client}");
    for (next, wanted) in [
        (to("service-far"), "form-action 'self' https://far.example:8443;"),
        (to("service-odd"), "form-action 'self';"),
        (to("nobody"), "form-action 'self';"),
        ("/hub/home%3Fclient_id%3Dservice-far".to_owned(), "form-action 'self';"),
        (String::new(), "form-action 'self';"),
    ] {
        let page = hub.visitor().get(&format!("/hub/login?next={next}")).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains(wanted), "{next}: {policy}");
    }
}

#[tokio::test]
async fn numbers_are_for_those_who_may_read_them() {
    let hub = Hub::new();
    let nobody = hub.plain("GET", "/hub/metrics", &[], "").await;
    assert_eq!((nobody.status, nobody.header("content-type")), (403, "text/html"));
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        let bob = hub.browser("bob").await.get(path).await;
        assert_eq!((bob.status, bob.header("content-type")), (403, "text/html"));
        let root = hub.browser("root").await.get(path).await;
        let kind = "text/plain; version=1.0.0; charset=utf-8";
        assert_eq!((root.status, root.header("content-type")), (200, kind));
    }
    let token = [("authorization", "token wrong")];
    assert_eq!(hub.plain("GET", "/hub/metrics", &token, "").await.status, 403);
    let open = Hub::with(|hub| hub.authenticate_prometheus = false);
    assert_eq!(open.plain("GET", "/hub/metrics", &[], "").await.status, 200);
}

#[tokio::test]
async fn numbers_tell_of_requests_users_and_servers() {
    let hub = Hub::with(|hub| hub.authenticate_prometheus = false);
    let mut browser = hub.browser("bob").await;
    assert_eq!(browser.get("/hub/spawn").await.location(), "/user/bob/");
    browser.send("BREW", "/hub/home", &[], "").await;
    let text = hub.plain("GET", "/hub/metrics", &[], "").await.text;
    for line in [
        "jupyterhub_running_servers 1",
        "jupyterhub_total_users 3",
        "jupyterhub_active_users{period=\"24h\"} 0",
        "jovis_servers{state=\"ready\"} 1",
        "jovis_servers{state=\"failed\"} 0",
        "# TYPE jupyterhub_request_duration_seconds histogram",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    // Other tests of this process count, too.
    for series in [
        "jupyterhub_request_duration_seconds_count{method=\"GET\",handler=\"/login\",code=\"200\"} ",
        "jupyterhub_request_duration_seconds_count{method=\"other\",handler=\"/home\",code=\"405\"} ",
    ] {
        assert!(text.lines().any(|it| it.starts_with(series)), "{series} in {text}");
    }
}

#[tokio::test]
async fn the_cause_of_an_end_is_told_by_page_and_api() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    let before = browser.script("GET", "/hub/api/users/bob/server", "").await;
    assert_eq!(before.json().get("cause"), None, "{}", before.text);
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    assert_eq!(browser.get("/hub/spawn").await.status, 500);
    let told = browser.script("GET", "/hub/api/users/bob/server", "").await;
    let message = "the server process exited with status 3";
    assert_eq!(told.json()["cause"], json!({"kind": "exit code", "message": message}));
    let home = browser.get("/hub/home").await;
    let home = home.text;
    assert!(home.contains("Last time:") && home.contains(message), "{home}");
}

#[tokio::test]
async fn an_end_that_somebody_else_asked_for_is_told_by_page_and_api() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let mut root = hub.browser("root").await;
    let culls = json!({"scopes": ["list:users", "read:servers", "delete:servers"]}).to_string();
    let culler = root.script("POST", "/hub/api/users/root/tokens", &culls).await.json();
    let culler = format!("token {}", culler["token"].as_str().unwrap());
    let path = "/hub/api/users/bob/server";
    for (by, kind, message) in [
        ("bob", "stopped", "stopped on request"),
        ("root", "stopped by another user", "stopped by root"),
        ("a culler", "culled", "culled by root"),
    ] {
        assert_eq!(bob.get("/hub/spawn").await.location(), "/user/bob/");
        let answer = match by {
            "bob" => bob.script("DELETE", path, "").await,
            "root" => root.script("DELETE", path, "").await,
            _ => hub.plain("DELETE", path, &[("authorization", &culler)], "").await,
        };
        assert_eq!(answer.status, 204, "{by}: {}", answer.text);
        let told = bob.script("GET", path, "").await;
        assert_eq!(told.json()["cause"], json!({"kind": kind, "message": message}));
        let home = bob.get("/hub/home").await.text;
        assert_eq!(home.contains(message), by != "bob", "{by}: {home}");
        let idle = bob.get("/hub/spawn-pending/bob").await;
        assert_eq!(idle.status, 200, "no failure: {by}");
    }
}

#[tokio::test]
async fn a_report_of_a_browser_is_logged_without_what_it_should_not_know() {
    let report = |text: &str| super::pages::outside::told(text.as_bytes());
    let whole = r#"{"csp-report": {"document-uri": "http://h/hub/home?token=secret#secret",
        "violated-directive": "img-src", "blocked-uri": "inline", "script-sample": "secret", "line": 3}}"#;
    let told = "document-uri http://h/hub/home, violated-directive img-src, blocked-uri inline";
    assert_eq!(report(whole), told);
    for nothing in ["", "secret", "[1]", "null", r#"{"csp-report": "secret"}"#] {
        assert_eq!(report(nothing), "");
    }
}
