//! What only somebody with bad intentions meets, and what protects against it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jovis_actors::{
    domain::{ClientId, Moment, Owner, ServerName, Token, TokenHash, TokenId},
    logins::SignInRefused,
    store::Write,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    config::{
        sections::{AuthClass, Dummy},
        slice::HubSlice,
    },
    web::{
        self,
        testing::{Browser, Fate, Hub, PASSWORD, request},
    },
};

#[tokio::test]
async fn a_server_is_named_and_chosen_within_bounds() {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let mut bob = hub.browser("bob").await;
    for bad in ["%07", "+lab", "a++b", &"a".repeat(256)] {
        let path = format!("/hub/spawn/bob/lab?display_name={bad}");
        let page = bob.get(&path).await;
        assert_eq!((page.status, page.header("content-type")), (400, "text/html"), "{bad}");
    }
    let xsrf = bob.cookies["_xsrf"].trim_matches('"').to_owned();
    let form = format!("a={}&_xsrf={xsrf}", "b".repeat(70_000));
    assert_eq!(bob.post("/hub/spawn/bob/lab", &form).await.status, 413, "the form itself");
    // Quotes count twice in JSON.
    let form = format!("a={}&_xsrf={xsrf}", "\"".repeat(40_000));
    assert_eq!(bob.post("/hub/spawn/bob/lab", &form).await.status, 400);
    let path = "/hub/api/users/bob/servers/lab";
    for key in ["user_options", "image"] {
        let body = json!({ key: {"a": "x".repeat(64 * 1024)} }).to_string();
        assert_eq!(bob.script("POST", path, &body).await.status, 400, "{key}");
    }
    assert!(hub.app.doors.image().servers().next().is_none(), "nothing was started");
    let body = json!({"user_options": {"a": "x".repeat(64 * 1024 - 8)}}).to_string();
    assert_eq!(bob.script("POST", path, &body).await.status, 201);
    let form = format!("a={}&_xsrf={xsrf}", "b".repeat(60_000));
    let started = bob.post("/hub/spawn/bob/two?display_name=Lab+2", &form).await;
    assert_eq!((started.status, started.location()), (302, "/user/bob/two/"));
}

/// A token of this user, given in this browser session.
fn given_in(hub: &Hub, user: &str, session: &str, id: u64) -> TokenId {
    let hash = TokenHash([u8::try_from(id).unwrap(); 32]);
    let token = Token {
        id: TokenId(id),
        owner: Owner::User(hub.key(user).user),
        hash,
        scopes: [].into(),
        created: Moment(0),
        expires_at: None,
        last_activity: None,
        note: "".into(),
        client: None,
        session: Some(session.into()),
    };
    hub.doubles.write(Write::Token(Arc::new(token)));
    TokenId(id)
}

async fn sign_in(browser: &mut Browser<'_>, user: &str, xsrf: &str) -> u16 {
    let form = format!("username={user}&password=correct+horse&_xsrf={xsrf}");
    browser.post("/hub/login", &form).await.status
}

#[tokio::test]
async fn every_sign_in_is_a_new_session() {
    let hub = Hub::new();
    let session = |browser: &Browser<'_>| browser.cookies["jupyterhub-session-id"].clone();
    let xsrf = |browser: &Browser<'_>| browser.cookies["_xsrf"].trim_matches('"').to_owned();
    // An id somebody else has put there is not taken over.
    let mut browser = hub.visitor();
    browser.cookies.insert("jupyterhub-session-id".into(), "planted".into());
    let form = browser.get("/hub/login").await.field("_xsrf");
    let planted = given_in(&hub, "bob", "planted", 200);
    assert_eq!(sign_in(&mut browser, "bob", &form).await, 302);
    let first = session(&browser);
    assert_ne!(first, "planted");
    assert!(hub.app.doors.image().token(planted).is_none(), "nobody could end it any more");
    // The form token fits the new session.
    assert_eq!(browser.script("GET", "/hub/api/user", "").await.status, 200);
    // Once more, as somebody else: what bob was given in this browser ends.
    let (old, other) = (given_in(&hub, "bob", &first, 201), given_in(&hub, "bob", "phone", 202));
    let token = xsrf(&browser);
    assert_eq!(sign_in(&mut browser, "eve", &token).await, 302);
    let second = session(&browser);
    assert_ne!(second, first);
    let image = hub.app.doors.image();
    assert!(image.token(old).is_none() && image.token(other).is_some());
    // A refused attempt changes nothing.
    let kept = given_in(&hub, "eve", &second, 203);
    let token = xsrf(&browser);
    let form = format!("username=bob&password=no&_xsrf={token}");
    assert_eq!(browser.post("/hub/login", &form).await.status, 403);
    assert_eq!(session(&browser), second);
    assert!(hub.app.doors.image().token(kept).is_some());
}

#[tokio::test]
async fn names_unknown_to_the_hub_take_the_way_of_known_ones() {
    let hub = Hub::new();
    let ask = async |name: &str, password: &str| {
        let body = json!({"auth": {"username": name, "password": password}}).to_string();
        hub.plain("POST", &format!("/hub/api/users/{name}/tokens"), &[], &body).await
    };
    let seen = || std::mem::take(&mut *hub.doubles.seen.lock().unwrap());
    for name in ["nobody", "%zz", "bob"] {
        let reply = ask(name, "wrong").await;
        assert_eq!((reply.status, &reply.json()["message"]), (403, &Value::Null), "{name}");
        let asked = seen();
        assert_eq!((asked.len(), asked[0].username.as_str()), (1, name));
        assert_eq!(asked[0].from, Some("192.0.2.1".parse().unwrap()));
    }
    // Even the right password makes no user here.
    let reply = ask("nobody", PASSWORD).await;
    assert_eq!((reply.status, &reply.json()["message"]), (403, &Value::Null));
    assert_ne!(seen()[0].password.reveal(), PASSWORD, "a password of ours is tried");
    assert!(hub.app.doors.image().user_named("nobody").is_none());
    let retry_after = Duration::from_secs(7);
    *hub.doubles.refuse.lock().unwrap() = Some(SignInRefused::Throttled { retry_after });
    for name in ["nobody", "bob"] {
        assert_eq!(ask(name, "wrong").await.status, 429, "{name}");
    }
    *hub.doubles.refuse.lock().unwrap() = None;
    seen();
    // What is refused unasked is so for everybody.
    for (name, password) in [("nobody", "x".repeat(1_025)), ("bob", "x".repeat(1_025))]
        .into_iter()
        .chain([("nobody", "a\0b".to_owned()), ("bob", "a\0b".to_owned())])
    {
        assert_eq!(ask(name, &password).await.status, 403, "{name}");
        assert!(seen().is_empty(), "{name}");
    }
    // Where every password is right, none may be tried for somebody unknown.
    let mut settings = HubSlice::clone(&hub.app.settings.load());
    settings.auth.class = AuthClass::Dummy(Dummy::default());
    hub.app.settings.store(Arc::new(settings));
    assert_eq!(ask("nobody", "any").await.status, 403);
    assert!(seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{}").await;
    assert_eq!((made.status, made.header("etag")), (201, ""));
    let token = format!("token {}", made.json()["token"].as_str().unwrap());
    let ask = async |path: &str, known: &[&str]| {
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(known.iter().map(|tag| ("if-none-match", *tag)));
        hub.plain("GET", path, &headers, "").await
    };
    for path in [
        "/hub/api",
        "/hub/api/user",
        "/hub/api/users/bob",
        "/hub/api/users/bob/tokens",
        "/hub/api/users/bob/server",
    ] {
        let full = ask(path, &[]).await;
        let tag = full.header("etag").to_owned();
        assert_eq!(full.status, 200, "{path}");
        assert!(tag.len() == 66 && tag.starts_with('"') && tag.ends_with('"'), "{path} {tag}");
        assert_eq!(full.header("cache-control"), "private, no-cache", "{path}");
        let (weak, list) = (format!("W/{tag}"), format!("\"a,b\" , {tag}"));
        for known in [&[tag.as_str()][..], &[&weak], &[&list], &["*"], &["\"a\"", &tag]] {
            let same = ask(path, known).await;
            assert_eq!((same.status, same.text.as_str()), (304, ""), "{path} {known:?}");
            assert_eq!((same.header("etag"), same.header("content-type")), (tag.as_str(), ""));
            assert_eq!(same.header("cache-control"), "private, no-cache");
            assert!(same.headers.contains_key("x-jupyterhub-version"));
        }
        let bare = tag.trim_matches('"').to_owned();
        for unknown in ["\"a\"", "", &bare, &format!("\"x{bare}\"")] {
            let again = ask(path, &[unknown]).await;
            assert_eq!((again.status, &again.text), (200, &full.text), "{path} {unknown}");
        }
    }
    let before = ask("/hub/api/users/bob/tokens", &[]).await.header("etag").to_owned();
    bob.script("POST", "/hub/api/users/bob/tokens", "{}").await;
    assert_eq!(ask("/hub/api/users/bob/tokens", &[&before]).await.status, 200);
    let refused = ask("/hub/api/users/eve", &["*"]).await;
    assert_eq!((refused.status, refused.header("etag")), (404, ""));
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    bob.script("POST", "/hub/api/users/bob/server", "").await;
    let events = bob.script("GET", "/hub/api/users/bob/server/progress", "").await;
    assert_eq!((events.status, events.header("etag")), (200, ""));
}

/// The hub behind real sockets.
struct Site {
    api: SocketAddr,
    proxy: PathBuf,
    end: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn open(hub: &Hub) -> Self {
        Self::with_room(hub, 100).await
    }

    async fn with_room(hub: &Hub, connections: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (api, path) = (tcp.local_addr().unwrap(), folder.path().join("hub.sock"));
        let proxy = UnixListener::bind(&path).unwrap();
        let listeners = web::Listeners { api: web::serve::only(tcp), proxy };
        let (end, ended) = oneshot::channel::<()>();
        let app = hub.app.clone();
        let serving = tokio::spawn(async move {
            let ended = async { drop(ended.await) };
            web::serve::serve_within(connections, listeners, app, ended).await;
        });
        Self { api, proxy: path, end, serving, _folder: folder }
    }

    async fn close(self) {
        self.end.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(15), self.serving).await.unwrap().unwrap();
    }
}

/// The first line of the answer to this head.
async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // Who is refused while still writing may be reset; what came before counts.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_the_proxy_lets_through_fits_in() {
    let hub = Hub::new();
    let site = Site::open(&hub).await;
    let head = |count: usize, size: usize| {
        let more: String = (0..count).map(|n| format!("x-{n}: {}\r\n", "a".repeat(size))).collect();
        format!("GET /hub/login HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n{more}\r\n")
    };
    for (count, size, wanted) in
        [(215, 300, "HTTP/1.1 200 OK"), (230, 1, "HTTP/1.1 431 Request Header Fields Too Large")]
    {
        let tcp = TcpStream::connect(site.api).await.unwrap();
        assert_eq!(ask(tcp, &head(count, size)).await, wanted, "{count}");
        let unix = UnixStream::connect(&site.proxy).await.unwrap();
        assert_eq!(ask(unix, &head(count, size)).await, wanted, "{count}");
    }
    site.close().await;
}

#[tokio::test]
async fn consent_ends_with_the_token_it_led_to() {
    let hub = Hub::new();
    hub.browser("bob").await.get("/hub/spawn").await;
    let mut root = hub.browser("root").await;
    let url = "/hub/api/oauth2/authorize?client_id=jupyterhub-user-bob&response_type=code";
    let now = hub.app.clock.moment();
    for (expires_at, status) in [(now, 200), (Moment(now.0 + 1), 302)] {
        let bob = hub.app.doors.image().user_named("bob").unwrap().name.clone();
        let scopes =
            ["read:users:name!user", "read:users:groups!user", "access:servers!server=bob/"];
        let token = Token {
            id: TokenId(300),
            owner: Owner::User(hub.key("root").user),
            hash: TokenHash([9; 32]),
            scopes: scopes.map(jovis_actors::domain::Scope::new).into(),
            created: Moment(0),
            expires_at: Some(expires_at),
            last_activity: None,
            note: "".into(),
            client: Some(ClientId::of_server(&bob, &ServerName::default_server())),
            session: None,
        };
        hub.doubles.write(Write::Token(Arc::new(token)));
        assert_eq!(root.get(url).await.status, status, "{expires_at:?}");
    }
}

#[tokio::test]
async fn whoever_acts_on_a_stopped_server_hears_that_it_is_gone() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{}").await.json();
    let token = format!("token {}", made["token"].as_str().unwrap());
    let with = [("authorization", token.as_str())];
    let bad = [("authorization", "token nonsense")];
    for method in ["POST", "PATCH", "DELETE", "PUT", "HEAD"] {
        for path in ["/user/bob/api/contents", "/user/bob/", "/user/bob", "/user/n%2Fo/x"] {
            let inside = format!("/hub{path}");
            let what = format!("{method} {path}");
            let other = matches!(method, "PUT" | "HEAD");
            let expect = |reply: &web::testing::Reply, status: u16| {
                let status = if other { 405 } else { status };
                assert_eq!(reply.status, status, "{what} {}", reply.text);
                let kind = if status == 424 { "application/json" } else { "text/html" };
                assert_eq!(reply.header("content-type"), kind, "{what}");
                if status == 424 {
                    let message = reply.json()["message"].as_str().unwrap().to_owned();
                    assert!(message.contains(&format!(" {path} ")), "{what}: {message}");
                    let name = path.split('/').nth(2).unwrap();
                    let restart = format!("http://hub:8000/hub/spawn/{name}");
                    assert!(message.ends_with(&restart), "{what}: {message}");
                }
            };
            expect(&hub.plain(method, &inside, &[], "").await, 403);
            expect(&hub.plain(method, &inside, &bad, "").await, 403);
            expect(&hub.plain(method, &inside, &with, "").await, 424);
            expect(&bob.send(method, &inside, &[], "").await, 403);
            expect(&bob.script(method, &inside, "").await, 424);
            // Outside of the hub tokens are not looked at.
            expect(&hub.plain(method, path, &[], "").await, 403);
            expect(&hub.plain(method, path, &with, "").await, 403);
            expect(&bob.send(method, path, &[], "").await, 403);
            expect(&bob.script(method, path, "").await, 424);
        }
    }
    // Nothing else outside takes anything, not even from ourselves.
    for path in ["/user", "/user/", "/user//x", "/services/x/", "/x", "/"] {
        assert_eq!(bob.script("POST", path, "").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn the_proxy_says_who_the_visitor_is() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let form = browser.get("/hub/login").await.field("_xsrf");
    for (given, wanted) in [
        (&[("x-jovis-client", "198.51.100.9")][..], "198.51.100.9"),
        (&[("x-jovis-client", "127.0.0.1")], "127.0.0.1"),
        (&[("x-jovis-client", "::ffff:198.51.100.9")], "198.51.100.9"),
        (&[("x-jovis-client", "2001:db8::1")], "2001:db8::1"),
        (&[("x-jovis-client", "198.51.100.9, 198.51.100.8")], "192.0.2.1"),
        (&[("x-jovis-client", "")], "192.0.2.1"),
        (&[("x-jovis-client", "198.51.100.9"), ("x-jovis-client", "198.51.100.8")], "192.0.2.1"),
        (&[], "192.0.2.1"),
    ] {
        let auth = json!({"auth": {"username": "bob", "password": form}}).to_string();
        hub.plain("POST", "/hub/api/users/bob/tokens", given, &auth).await;
        let seen = hub.doubles.seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.from, Some(wanted.parse().unwrap()), "{given:?}");
    }
}

#[tokio::test]
async fn nobody_watches_more_than_twenty_starts() {
    let hub = Hub::new();
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    let tokens: Vec<String> = {
        let mut out = Vec::new();
        for user in ["bob", "eve"] {
            let mut browser = hub.browser(user).await;
            let path = format!("/hub/api/users/{user}/server");
            assert_eq!(browser.script("POST", &path, "").await.status, 202);
            let path = format!("/hub/api/users/{user}/tokens");
            let made = browser.script("POST", &path, "{}").await.json();
            out.push(format!("token {}", made["token"].as_str().unwrap()));
        }
        out
    };
    let watch = async |user: usize| {
        let path = ["/hub/api/users/bob/server/progress", "/hub/api/users/eve/server/progress"];
        let with = [("authorization", tokens[user].as_str())];
        hub.open(request("GET", path[user], &with, "")).await
    };
    let mut open = Vec::new();
    for _ in 0..20 {
        let stream = watch(0).await;
        assert_eq!(stream.status().as_u16(), 200);
        open.push(stream);
    }
    let excess = watch(0).await;
    assert_eq!(excess.status().as_u16(), 429);
    assert!(excess.headers().contains_key("retry-after"));
    assert_eq!(watch(1).await.status().as_u16(), 200, "others are not held up");
    open.pop();
    assert_eq!(watch(0).await.status().as_u16(), 200, "a place is free again");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    bob.script("POST", "/hub/api/users/bob/server", "").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "{}").await.json();
    let site = Site::with_room(&hub, 4).await;
    let connect = async || TcpStream::connect(site.api).await.unwrap();
    // Sooner than a silent connection is closed for its silence.
    let soon = Duration::from_secs(10);
    let closing = "GET /hub/api HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
    // Somebody is told of a start, and stays so.
    let mut stream = connect().await;
    let head = format!(
        "GET /hub/api/users/bob/server/progress HTTP/1.1\r\nHost: hub\r\nAuthorization: token {}\r\n\r\n",
        made["token"].as_str().unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = String::new();
    while !told.contains("Process started") {
        let mut part = [0; 4_096];
        let count = tokio::time::timeout(soon, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(count > 0, "{told}");
        told.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    // The rest of the room is full of heads that never end.
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut one = connect().await;
        one.write_all(b"GET /hub/api HTTP/1.1\r\nHost:").await.unwrap();
        silent.push(one);
    }
    for _ in 0..4 {
        let line = tokio::time::timeout(soon, ask(connect().await, closing)).await.unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK");
    }
    // Nor do those who were served once.
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut one = connect().await;
        one.write_all(b"GET /hub/api HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
        let mut part = [0; 15];
        tokio::time::timeout(soon, one.read_exact(&mut part)).await.unwrap().unwrap();
        assert_eq!(&part, b"HTTP/1.1 200 OK");
        idle.push(one);
    }
    let line = tokio::time::timeout(soon, ask(connect().await, closing)).await.unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK");
    hub.finish("bob");
    let mut rest = String::new();
    while !rest.contains("\"ready\":true") {
        let mut part = [0; 4_096];
        let count = tokio::time::timeout(soon, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(count > 0, "the stream was broken off: {rest}");
        rest.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    drop((stream, silent, idle));
    site.close().await;
}
