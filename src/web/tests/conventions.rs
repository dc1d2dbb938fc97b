//! What holds for the whole API, whatever is asked (`spec/rest-api.md` 1).

use std::sync::Arc;

use axum::body::Body;
use jovis_actors::{
    domain::{Moment, Owner, ServiceName, Token, TokenId},
    store::Write,
};
use serde_json::{Value, json};

use super::people::{ask, group, secret, service, token};
use crate::web::testing::{Browser, Hub, Reply, SERVER_TOKEN, request};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_answer_of_the_api_carries_its_headers() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let tag = ask(&hub, &root, "GET", "/users", "").await.header("etag").to_owned();
    let known = [("authorization", root.as_str()), ("if-none-match", tag.as_str())];
    let same = hub.plain("GET", "/hub/api/users", &known, "").await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    let mut answers = vec![(304, same)];
    for (method, path, body, status) in [
        ("GET", "", "", 200),
        ("GET", "/users", "", 200),
        ("POST", "/users/new", "", 201),
        ("DELETE", "/users/new", "", 204),
        ("OPTIONS", "/users/new", "", 200),
        ("POST", "/users", "{", 400),
        ("GET", "/users/nobody", "", 404),
        ("GET", "/nothing", "", 404),
        ("PUT", "/users", "", 405),
        ("POST", "/users/bob", "", 409),
        ("POST", "/groups", &"x".repeat((1 << 20) + 1), 413),
    ] {
        answers.push((status, ask(&hub, &root, method, path, body).await));
    }
    answers.push((403, hub.plain("GET", "/hub/api/users", &[], "").await));
    for (status, reply) in answers {
        assert_eq!(reply.status, status, "{}", reply.text);
        assert_eq!(reply.header("x-jupyterhub-version"), "6.1.1");
        let allowed = "accept, content-type, authorization";
        assert_eq!(reply.header("access-control-allow-headers"), allowed);
        assert_eq!(
            reply.header("content-security-policy"),
            "frame-ancestors 'none'; report-uri /hub/security/csp-report; default-src 'none'"
        );
        let open = reply.text.starts_with("{\"version\"");
        assert_eq!(reply.header("access-control-allow-origin"), if open { "*" } else { "" });
        let kind = if matches!(status, 204 | 304) { "" } else { "application/json" };
        assert_eq!(reply.header("content-type"), kind, "{status}");
        if status >= 400 {
            let error = reply.json();
            assert_eq!((error.as_object().unwrap().len(), &error["status"]), (2, &json!(status)));
            assert!(error["message"].is_string() || error["message"].is_null());
        }
    }
}

#[tokio::test]
async fn what_is_no_path_of_the_api_is_404_for_everybody() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    for path in ["/hub/api/nothing", "/hub/api/users/", "/hub/api/groups/", "/hub/api/users/bob/"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let odd = [("origin", "http://evil"), ("sec-fetch-mode", "cors"), JSON];
            for reply in [
                hub.plain(method, path, &[], "{").await,
                hub.plain(method, path, &odd, "{").await,
                bob.send(method, path, &odd, "{").await,
            ] {
                assert_eq!(
                    (reply.status, &reply.json()["status"]),
                    (404, &json!(404)),
                    "{method} {path}"
                );
            }
        }
    }
    for path in ["/users/bob/servers/", "/users/bob/servers"] {
        let root = token(&hub, "root", &["inherit"]);
        let status = if path.ends_with('/') { 200 } else { 404 };
        assert_eq!(ask(&hub, &root, "GET", path, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_method_is_refused_before_the_caller_and_options_before_anything() {
    let hub = Hub::new();
    let bob = token(&hub, "bob", &[]);
    for path in
        ["/users", "/users/eve", "/groups", "/groups/x", "/groups/x/users", "/user", "/info"]
    {
        for method in ["HEAD", "TRACE", "LOCK"] {
            for reply in [
                ask(&hub, &bob, method, path, "").await,
                hub.plain(method, &format!("/hub/api{path}"), &[], "").await,
            ] {
                assert_eq!(reply.status, 405, "{method} {path}");
            }
        }
        let odd = [("origin", "http://evil"), ("sec-fetch-mode", "cors")];
        let reply = hub.plain("OPTIONS", &format!("/hub/api{path}"), &odd, "{").await;
        assert_eq!((reply.status, reply.text.as_str()), (200, ""), "{path}");
    }
    assert_eq!(ask(&hub, &bob, "PUT", "/users/eve", "").await.status, 405, "no scope is looked at");
}

#[tokio::test]
async fn a_segment_is_decoded_once_and_never_separates() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    for (path, name) in [("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("%61", "a"), ("a+b", "a+b")] {
        let made = ask(&hub, &root, "POST", &format!("/groups/{path}"), "").await;
        assert_eq!((made.status, &made.json()["name"]), (201, &json!(name)), "{}", made.text);
    }
    assert_eq!(ask(&hub, &root, "GET", "/groups/a/b", "").await.status, 404);
    assert_eq!(ask(&hub, &root, "GET", "/groups/%ff", "").await.status, 400);
}

async fn who(hub: &Hub, headers: &[(&str, &str)]) -> (u16, Value) {
    let reply = hub.plain("GET", "/hub/api/user", headers, "").await;
    (reply.status, reply.json()["name"].clone())
}

fn cookies(browser: &Browser<'_>) -> String {
    let all: Vec<_> = browser.cookies.iter().map(|(name, it)| format!("{name}={it}")).collect();
    all.join("; ")
}

#[tokio::test]
async fn a_valid_token_goes_before_a_cookie_and_any_other_does_not_count() {
    let hub = Hub::new();
    let bob = hub.browser("bob").await;
    let cookie = cookies(&bob);
    let owner = || Owner::User(hub.key("eve").user);
    let long = "a".repeat(64);
    secret(&hub, owner(), &[], &long);
    secret(&hub, owner(), &[], &format!("{long}b"));
    for (authorization, name) in [
        (format!("token {long}"), "eve"),
        (format!("TOKEN \t {long} "), "eve"),
        (format!("Bearer {long}"), "eve"),
        (format!("token {long}b"), "bob"),
        (format!("Basic {long}"), "bob"),
        (long.clone(), "bob"),
        (format!("token {long} x"), "bob"),
        ("token wrong".to_owned(), "bob"),
        (String::new(), "bob"),
    ] {
        let with = [("authorization", authorization.as_str()), ("cookie", cookie.as_str())];
        assert_eq!(who(&hub, &with).await, (200, json!(name)), "{authorization:?}");
        let alone = if name == "eve" { (200, json!("eve")) } else { (403, Value::Null) };
        assert_eq!(who(&hub, &with[..1]).await, alone, "{authorization:?}");
    }
    let reply = hub.plain("GET", &format!("/hub/api/user?token={long}"), &[], "").await;
    assert_eq!(reply.status, 403, "tokens in addresses do not count");
}

#[tokio::test]
async fn a_use_of_a_token_counts_for_its_owner_unless_it_is_a_servers() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    ask(&hub, &root, "POST", "/users/bob/server", "").await;
    let used = || std::mem::take(&mut *hub.doubles.used.lock().unwrap());
    used();
    ask(&hub, &root, "GET", "/user", "").await;
    let both = used();
    assert!(both.len() == 2 && both[0].starts_with("token ") && both[1].starts_with("user 3 "));
    ask(&hub, &format!("token {SERVER_TOKEN}"), "GET", "/user", "").await;
    let one = used();
    assert!(one.len() == 1 && one[0].starts_with("token "), "{one:?}");
}

#[tokio::test]
async fn a_body_is_json_whatever_it_is_called() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    for (n, kind) in ["text/plain", "application/x-www-form-urlencoded", ""].iter().enumerate() {
        let with = [("authorization", root.as_str()), ("content-type", kind)];
        let body = format!("{{\"usernames\": [\"u{n}\"]}}");
        assert_eq!(hub.plain("POST", "/hub/api/users", &with, &body).await.status, 201, "{kind}");
    }
    for (n, none) in ["", "null", " null\n"].iter().enumerate() {
        let path = format!("/users/v{n}");
        assert_eq!(ask(&hub, &root, "POST", &path, none).await.status, 201, "{none:?}");
    }
    for bad in [&b"{"[..], b"\xff", b"{\"admin\": tru}", b"\"\xc3\"", b" "] {
        let mut odd = request("POST", "/hub/api/users/w", &[("authorization", &root)], "");
        *odd.body_mut() = Body::from(bad.to_vec());
        assert_eq!(hub.send(odd).await.status, 400, "{bad:?}");
    }
}

#[tokio::test]
async fn a_form_of_a_browser_is_nobodys() {
    let hub = Hub::new();
    let mut root = hub.browser("root").await;
    let xsrf = root.cookies["_xsrf"].trim_matches('"').to_owned();
    let path = |n: usize| format!("/hub/api/users/u{n}?_xsrf={xsrf}");
    for (n, (kind, status)) in [
        (None, 201),
        (Some("application/json"), 201),
        (Some("application/json; charset=utf-8"), 201),
        (Some("text/plain"), 403),
        (Some("application/x-www-form-urlencoded"), 403),
        (Some("multipart/form-data; boundary=x"), 403),
        (Some(""), 201),
    ]
    .into_iter()
    .enumerate()
    {
        let headers: Vec<_> = kind.into_iter().map(|kind| ("content-type", kind)).collect();
        let reply = root.send("POST", &path(n), &headers, "").await;
        assert_eq!(reply.status, status, "{kind:?} {}", reply.text);
    }
    let text = [("content-type", "text/plain")];
    assert_eq!(root.send("DELETE", &path(0), &text, "").await.status, 204, "POST alone is so");
    assert_eq!(root.send("PATCH", &path(1), &text, "{}").await.status, 200);
}

#[tokio::test]
async fn refusals_say_what_is_missing_and_hide_what_is_there() {
    let hub = Hub::new();
    group(&hub, "staff", &["eve"]);
    let message = |reply: &Reply| reply.json()["message"].as_str().unwrap_or_default().to_owned();
    let nobody = hub.plain("GET", "/hub/api/users/bob", &[], "").await;
    assert_eq!(nobody.status, 403);
    assert!(message(&nobody).contains("missing or invalid credentials"), "{}", nobody.text);
    let bob = token(&hub, "bob", &["inherit"]);
    for (path, scopes) in [
        ("/users", "[list:users]"),
        ("/groups/staff", "[read:groups, read:groups:name, read:roles:groups]"),
        ("/info", "[read:hub]"),
    ] {
        let reply = ask(&hub, &bob, "GET", path, "").await;
        assert_eq!(reply.status, 403, "{path}");
        assert!(message(&reply).contains(scopes), "{path} {}", reply.text);
    }
    let there = ask(&hub, &bob, "GET", "/users/eve", "").await;
    let not_there = ask(&hub, &bob, "GET", "/users/nobody", "").await;
    assert_eq!((there.status, &there.text), (404, &not_there.text));
    let of_group = token(&hub, "root", &["read:users!group=staff"]);
    for (path, status) in [("/users/eve", 200), ("/users/bob", 404), ("/users/nobody", 404)] {
        assert_eq!(ask(&hub, &of_group, "GET", path, "").await.status, status, "{path}");
    }
    let root = token(&hub, "root", &["inherit"]);
    assert_eq!(ask(&hub, &root, "GET", "/users/nobody", "").await.status, 404);
}

#[tokio::test]
async fn a_cookie_needs_our_token_unless_a_person_navigates() {
    let hub = Hub::new();
    let mut root = hub.browser("root").await;
    let xsrf = root.cookies["_xsrf"].trim_matches('"').to_owned();
    let get = [
        (&[][..], 200),
        (&[("sec-fetch-mode", "navigate")], 200),
        (&[("sec-fetch-mode", "cors")], 403),
        (&[("sec-fetch-mode", "same-origin")], 403),
        (&[("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")], 403),
    ];
    for (headers, status) in get {
        let reply = root.send("GET", "/hub/api/users/bob", headers, "").await;
        assert_eq!(reply.status, status, "{headers:?} {}", reply.text);
    }
    for (method, path) in [
        ("POST", "/hub/api/users/new"),
        ("PATCH", "/hub/api/users/bob"),
        ("PUT", "/hub/api/groups/x/properties"),
        ("DELETE", "/hub/api/users/eve"),
    ] {
        for mode in ["navigate", "cors", "same-origin", "no-cors"] {
            let reply = root.send(method, path, &[JSON, ("sec-fetch-mode", mode)], "{}").await;
            assert_eq!(reply.status, 403, "{method} {path} {mode}");
            assert!(reply.text.contains(method), "{}", reply.text);
        }
    }
    // The three places of the token, and what it must be.
    let mut n = 0;
    let mut make = async |header: (&str, &str), query: &str| {
        n += 1;
        let path = format!("/hub/api/users/m{n}{query}");
        root.send("POST", &path, &[JSON, header, ("sec-fetch-mode", "cors")], "").await.status
    };
    let mine = format!("?_xsrf={xsrf}");
    assert_eq!(make(("x-other", ""), &mine).await, 201);
    assert_eq!(make(("x-xsrftoken", &xsrf), "").await, 201);
    assert_eq!(make(("x-csrftoken", &xsrf), "").await, 201);
    assert_eq!(make(("referer", "http://evil/"), &mine).await, 201, "nobody looks at the referrer");
    assert_eq!(make(("x-xsrftoken", "wrong"), "").await, 403);
    assert_eq!(make(("x-xsrftoken", &xsrf), "?_xsrf=wrong").await, 403, "the first one counts");
    assert_eq!(make(("cookie", "other"), "").await, 403);
    // Another cookie since: the old token is worth nothing any more.
    let fresh = hub.browser("root").await;
    let other = fresh.cookies["_xsrf"].clone();
    assert_ne!(other.trim_matches('"'), xsrf);
    root.cookies.insert("_xsrf".into(), other);
    let old = [JSON, ("x-xsrftoken", xsrf.as_str()), ("sec-fetch-mode", "cors")];
    assert_eq!(root.send("POST", "/hub/api/users/late", &old, "").await.status, 403);
}

#[tokio::test]
async fn tokens_need_no_form_token_and_strangers_learn_nothing() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let cookie = cookies(&hub.browser("root").await);
    let with = [
        ("authorization", root.as_str()),
        ("cookie", cookie.as_str()),
        ("origin", "http://evil"),
        ("sec-fetch-mode", "cors"),
        JSON,
    ];
    assert_eq!(hub.plain("POST", "/hub/api/users/new", &with, "").await.status, 201);
    let plain = hub.plain("POST", "/hub/api/users/new", &[JSON], "").await;
    assert!(plain.status == 403 && plain.text.contains("credentials"), "{}", plain.text);
    let foreign = [JSON, ("origin", "http://evil")];
    for method in ["POST", "DELETE"] {
        let reply = hub.plain(method, "/hub/api/users/new", &foreign, "").await;
        assert!(reply.status == 403 && reply.text.contains("_xsrf"), "{}", reply.text);
        assert_eq!(reply.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn whoever_asks_is_told_who_that_is() {
    let hub = Hub::new();
    let name = ServiceName::new("culler").unwrap();
    hub.doubles.write(Write::Service(Arc::new(service(name.as_str()))));
    let service = secret(&hub, Owner::Service(name), &["inherit"], &"c".repeat(32));
    let told = ask(&hub, &service, "GET", "/user", "").await.json();
    assert_eq!((&told["kind"], &told["name"]), (&json!("service"), &json!("culler")));
    assert_eq!(told["scopes"], json!([]), "it has no role");
    // A token without scopes identifies its owner; what is shown for that is not said to be held.
    let bare = token(&hub, "bob", &[]);
    let told = ask(&hub, &bare, "GET", "/user", "").await.json();
    let identity = ["read:users:groups!user=bob", "read:users:name!user=bob"];
    assert_eq!(told["scopes"], json!(identity));
    assert_eq!((&told["name"], &told["groups"]), (&json!("bob"), &json!([])));
    assert!(told["token_id"].as_str().unwrap().starts_with('a'));
    assert_eq!((&told["session_id"], told.get("servers")), (&Value::Null, None));
    assert!(told.get("user_info").is_some() && told.get("auth_state").is_none());
    let admin = token(&hub, "root", &["inherit"]);
    let told = ask(&hub, &admin, "GET", "/user", "").await.json();
    assert_eq!((&told["servers"], &told["auth_state"]), (&json!({}), &Value::Null));
    let scopes: Vec<_> = told["scopes"].as_array().unwrap().iter().collect();
    assert!(scopes.len() > 20 && scopes.is_sorted_by_key(|it| it.as_str()));
    let mut browser = hub.browser("bob").await;
    let told = browser.script("GET", "/hub/api/user", "").await.json();
    assert_eq!((&told["token_id"], &told["session_id"]), (&Value::Null, &Value::Null));
    let narrow = token(&hub, "bob", &["read:users:activity!user"]);
    let told = ask(&hub, &narrow, "GET", "/user", "").await.json();
    assert_eq!(told["scopes"].as_array().unwrap().len(), 3, "{told}");
    // One that was given to a server in a browser session says in which.
    let token = Token {
        id: TokenId(900),
        owner: Owner::User(hub.key("bob").user),
        hash: hub.app.entropy.digest("0a0b"),
        scopes: [].into(),
        created: Moment(0),
        expires_at: None,
        last_activity: None,
        note: "".into(),
        client: None,
        session: Some("tab".into()),
    };
    hub.doubles.write(Write::Token(Arc::new(token)));
    let told = ask(&hub, "token 0a0b", "GET", "/user", "").await.json();
    assert_eq!((&told["session_id"], &told["token_id"]), (&json!("tab"), &json!("a900")));
}

#[tokio::test]
async fn activity_of_unknown_servers_and_users_is_refused_whole() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let at = "2026-11-21T19:25:05+02:00";
    hub.doubles.used.lock().unwrap().clear();
    for (path, body, status) in [
        ("bob", json!({"servers": {"": {"last_activity": at}, "lab": {"last_activity": at}}}), 400),
        ("bob", json!({"servers": {"A B": {"last_activity": at}}}), 400),
        ("bob", json!({"last_activity": at, "servers": {"": 1}}), 400),
        ("bob", json!({}), 400),
        ("nobody", json!({ "last_activity": at }), 404),
    ] {
        let path = format!("/users/{path}/activity");
        assert_eq!(
            ask(&hub, &root, "POST", &path, &body.to_string()).await.status,
            status,
            "{body}"
        );
    }
    let noted = |used: &[String]| {
        used.iter().any(|it| it.starts_with("user 1") || it.starts_with("server"))
    };
    assert!(!noted(&hub.doubles.used.lock().unwrap()));
    let body = json!({ "last_activity": at }).to_string();
    let told = ask(&hub, &root, "POST", "/users/bob/activity", &body).await;
    assert_eq!(
        (told.status, told.text.as_str(), told.header("content-type")),
        (200, "", "application/json")
    );
    assert!(hub.doubles.used.lock().unwrap().contains(&"user 1 1795281905000000".to_owned()));
}
