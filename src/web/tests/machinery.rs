//! The hub's own machinery by the REST API: routes, the end of everything, and how old services ask who somebody is.

use std::{collections::BTreeMap, sync::Arc};

use jovis_actors::{
    domain::{
        Moment, Owner, Policy, Route, RouteSpec, Scope, Service, ServiceName, Token, TokenHash,
        TokenId, role::RoleEntry,
    },
    store::Write,
};
use serde_json::{Map, Value, json};

use crate::web::testing::{Hub, Reply};

/// Gives a service of this name a token, and these scopes by a role. The header that says so.
pub(super) fn service(hub: &Hub, name: &str, scopes: &[&str]) -> String {
    let own = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let role = RoleEntry {
        name: "of-service".into(),
        scopes: Some(own(scopes)),
        services: own(&[name]),
        ..RoleEntry::default()
    };
    hub.app.policy.store(Policy::new(&[role], &[], &BTreeMap::new()).unwrap().into());
    let name = ServiceName::new(name).unwrap();
    hub.doubles.write(Write::Service(Arc::new(Service {
        name: name.clone(),
        admin: false,
        url: None,
        display: true,
        info: Map::new(),
        oauth_no_confirm: false,
        oauth_client_allowed_scopes: Vec::new(),
        command: Vec::new(),
        configured: true,
    })));
    let secret = format!("of-{name}-0123456789");
    give(hub, Owner::Service(name), &secret, &["inherit"]);
    format!("token {secret}")
}

/// Writes a token that was not asked for.
pub(super) fn give(hub: &Hub, owner: Owner, secret: &str, scopes: &[&str]) -> TokenId {
    let id = TokenId(hub.app.doors.image().next_id());
    let hash: TokenHash = hub.app.entropy.digest(secret);
    hub.doubles.write(Write::Token(Arc::new(Token {
        id,
        owner,
        hash,
        scopes: scopes.iter().map(|it| Scope::new(it)).collect(),
        created: Moment(0),
        expires_at: None,
        last_activity: None,
        note: "".into(),
        client: None,
        session: None,
    })));
    id
}

async fn ask(hub: &Hub, token: &str, method: &str, path: &str, body: &str) -> Reply {
    hub.plain(method, path, &[("authorization", token)], body).await
}

#[tokio::test]
async fn routes_are_told_and_looked_at_again() {
    let hub = Hub::new();
    let admin = service(&hub, "x", &["proxy"]);
    let proxy = "/hub/api/proxy";
    let mut bob = hub.browser("bob").await;
    bob.script("POST", "/hub/api/users/bob/server", "").await;
    let route = |path: &str, server| {
        let target = "http://127.0.0.1:20001".to_owned();
        Route { spec: RouteSpec::new(path), target, server }
    };
    let all = vec![
        route("/user/bob", Some(hub.key("bob"))),
        route("/services/x", None),
        route("/some where", None),
    ];
    *hub.doubles.routes.lock().unwrap() = all;
    let told = ask(&hub, &admin, "GET", proxy, "").await;
    let told = told.json();
    let keys: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["/", "/services/x/", "/some%20where/", "/user/bob/"]);
    assert_eq!(told["/"]["data"]["hub"], true);
    assert_eq!(told["/"]["target"], "http://127.0.0.1:8081");
    let data = json!({"user": "bob", "server_name": "", "last_activity": null});
    let wanted =
        json!({"routespec": "/user/bob/", "target": "http://127.0.0.1:20001", "data": data});
    assert_eq!(told["/user/bob/"], wanted);
    assert_eq!(told["/services/x/"]["data"]["service"], "x");
    assert_eq!(told["/some%20where/"]["data"]["extra"], true);
    let paged = [("authorization", &*admin), ("accept", "application/jupyterhub-pagination+json")];
    let page = hub.plain("GET", "/hub/api/proxy?offset=1&limit=1", &paged, "").await.json();
    assert_eq!(page["items"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/services/x/"]);
    assert_eq!(
        (&page["_pagination"]["total"], &page["_pagination"]["next"]["offset"]),
        (&json!(4), &json!(2))
    );
    let checked = ask(&hub, &admin, "POST", proxy, "").await;
    assert_eq!((checked.status, checked.text.as_str()), (200, ""));
    for (body, status) in [
        ("{}", 200),
        ("", 400),
        ("null", 400),
        ("[]", 400),
        ("{", 400),
        ("{\"api_url\": \"http://127.0.0.1:9\"}", 400),
        ("{\"auth_token\": \"abc\"}", 400),
    ] {
        let reply = ask(&hub, &admin, "PATCH", proxy, body).await;
        assert_eq!(reply.status, status, "{body} {}", reply.text);
    }
    assert_eq!(*hub.doubles.asked.lock().unwrap(), ["check", "check"]);
    for method in ["GET", "POST", "PATCH"] {
        assert_eq!(bob.script(method, proxy, "{}").await.status, 403, "{method}");
    }
}

#[tokio::test]
async fn everything_is_ended_for_those_who_may() {
    let hub = Hub::new();
    let admin = service(&hub, "x", &["shutdown"]);
    let path = "/hub/api/shutdown";
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.script("POST", path, "").await.status, 403);
    for bad in ["{\"servers\": 1}", "{\"proxy\": \"no\"}", "[1]", "{"] {
        assert_eq!(ask(&hub, &admin, "POST", path, bad).await.status, 400, "{bad}");
    }
    assert!(hub.doubles.asked.lock().unwrap().is_empty(), "nothing has ended");
    for body in ["", "{\"servers\": true, \"proxy\": true}", "{\"servers\": false}"] {
        let reply = ask(&hub, &admin, "POST", path, body).await;
        assert_eq!(reply.status, 202, "{body}");
        assert!(reply.json()["message"].is_string());
    }
    let asked = hub.doubles.asked.lock().unwrap().clone();
    assert_eq!(asked, ["halt None", "halt Some(true)", "halt Some(false)"]);
}

#[tokio::test]
async fn old_services_hear_whose_a_token_or_a_cookie_is() {
    let hub = Hub::new();
    let service = service(&hub, "x", &["read:users:name"]);
    let bobs = Owner::User(hub.key("bob").user);
    let id = give(&hub, bobs, "bobs-token", &[]);
    let path = "/hub/api/authorizations/token";
    let told = ask(&hub, &service, "GET", &format!("{path}/bobs-token"), "").await;
    assert_eq!(told.status, 200, "{}", told.text);
    let told = told.json();
    assert_eq!(
        (&told["name"], &told["kind"], &told["groups"]),
        (&json!("bob"), &json!("user"), &json!([]))
    );
    assert_eq!(told.get("servers"), None, "no more than the service may see");
    assert!(hub.doubles.used.lock().unwrap().contains(&format!("token {}", id.0)));
    let own = format!("{path}/{}", &service["token ".len()..]);
    assert_eq!(ask(&hub, &service, "GET", &own, "").await.json()["kind"], "service");
    for (method, path, status) in [
        ("GET", format!("{path}/nobodys"), 404),
        ("GET", format!("{path}/{}", "a".repeat(65)), 404),
        ("GET", path.to_owned(), 404),
        ("POST", path.to_owned(), 404),
        ("POST", format!("{path}/x"), 404),
    ] {
        assert_eq!(ask(&hub, &service, method, &path, "").await.status, status, "{method} {path}");
    }
    let mut bob = hub.browser("bob").await;
    let asked = format!("{path}/bobs-token");
    assert_eq!(bob.send("GET", &asked, &[], "").await.status, 403, "a cookie is not enough");
    assert_eq!(hub.plain("GET", &asked, &[], "").await.status, 403);
    assert_eq!(hub.plain("POST", path, &[], "").await.status, 404);

    let login = bob.cookies["jupyterhub-hub-login"].trim_matches('"').to_owned();
    let quoted: String = login.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = "/hub/api/authorizations/cookie/jupyterhub-hub-login";
    for (path, body) in [(format!("{path}/{quoted}"), ""), (path.to_owned(), login.as_str())] {
        let told = ask(&hub, &service, "GET", &path, body).await;
        assert_eq!((told.status, &told.json()["name"]), (200, &json!("bob")), "{path}");
        assert_eq!(told.json().get("groups"), None, "no more than the service may see");
    }
    for path in [
        format!("{path}/nonsense"),
        path.to_owned(),
        format!("/hub/api/authorizations/cookie/other/{quoted}"),
    ] {
        assert_eq!(ask(&hub, &service, "GET", &path, "").await.status, 404, "{path}");
    }
    assert_eq!(bob.send("GET", &format!("{path}/{quoted}"), &[], "").await.status, 403);
}

#[tokio::test]
async fn what_is_of_old_answers_as_it_did() {
    let hub = Hub::with(|hub| hub.admin_access = true);
    let path = "/hub/api/users/bob/admin-access";
    let mut root = hub.browser("root").await;
    let let_in = root.script("POST", path, "").await;
    assert_eq!((let_in.status, let_in.text.as_str()), (200, ""));
    assert_eq!(root.script("POST", "/hub/api/users/nobody/admin-access", "").await.status, 404);
    let hub = Hub::new();
    let mut root = hub.browser("root").await;
    assert_eq!(root.script("POST", path, "").await.status, 403);
    let info = root.script("GET", "/hub/api/info", "").await.json();
    let keys: Vec<_> = info.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["authenticator", "python", "spawner", "sys_executable", "version"]);
    for part in ["authenticator", "spawner"] {
        assert!(info[part]["class"].is_string() && info[part]["version"].is_string());
    }
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.script("GET", "/hub/api/info", "").await.status, 403);
    for path in ["/hub/health", "/hub/api/health"] {
        for method in ["GET", "HEAD"] {
            let healthy = hub.plain(method, path, &[], "").await;
            assert_eq!((healthy.status, healthy.text.as_str()), (200, ""), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_service_is_known_by_its_token() {
    let hub = Hub::new();
    let token = service(&hub, "x", &["tokens", "list:users", "read:users:name"]);
    let me = ask(&hub, &token, "GET", "/hub/api/user", "").await;
    assert_eq!(me.status, 200, "{}", me.text);
    let me = me.json();
    assert_eq!(
        (&me["kind"], &me["name"], &me["admin"]),
        (&json!("service"), &json!("x"), &json!(false))
    );
    assert_eq!(me["scopes"], json!(["list:users", "read:tokens", "read:users:name", "tokens"]));
    assert!(me["token_id"].as_str().unwrap().starts_with('a') && me["session_id"].is_null());
    let made = ask(&hub, &token, "POST", "/hub/api/users/bob/tokens", "{}").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(
        (&made["user"], &made["note"]),
        (&json!("bob"), &json!("Requested via api by service x"))
    );
    let bobs = format!("token {}", made["token"].as_str().unwrap());
    assert_eq!(ask(&hub, &bobs, "GET", "/hub/api/user", "").await.json()["name"], "bob");
    assert_eq!(ask(&hub, &token, "POST", "/hub/api/users/nobody/tokens", "{}").await.status, 403);
    // Without roles it is known, and no more.
    hub.app.policy.store(Arc::default());
    let me = ask(&hub, &token, "GET", "/hub/api/user", "").await.json();
    assert_eq!((&me["name"], &me["scopes"]), (&json!("x"), &json!([])));
    assert_eq!(ask(&hub, &token, "POST", "/hub/api/users/bob/tokens", "{}").await.status, 403);
    let none: Value = ask(&hub, "token nobodys", "GET", "/hub/api/user", "").await.json();
    assert_eq!(none, json!({"status": 403, "message": null}));
}

#[tokio::test]
async fn who_am_i_tells_what_the_request_may_do() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let me = bob.script("GET", "/hub/api/user", "").await.json();
    let scopes: Vec<_> = me["scopes"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert!(scopes.is_sorted() && scopes.contains(&"\"read:users!user=bob\"".to_owned()), "{me}");
    assert_eq!((&me["token_id"], &me["session_id"]), (&Value::Null, &Value::Null));
    assert_eq!((&me["servers"], me.get("auth_state")), (&json!({}), None));
    let bobs = Owner::User(hub.key("bob").user);
    let id = give(&hub, bobs, "bobs-token", &[]);
    let me = ask(&hub, "token bobs-token", "GET", "/hub/api/user", "").await.json();
    let id = format!("a{}", id.0);
    assert_eq!((&me["token_id"], &me["session_id"]), (&json!(id), &Value::Null));
    let known = ["read:users:groups!user=bob", "read:users:name!user=bob"];
    assert_eq!(
        (&me["scopes"], &me["name"], &me["groups"]),
        (&json!(known), &json!("bob"), &json!([]))
    );
    assert_eq!(me["user_info"], Value::Null);
    assert_eq!(me.get("servers"), None);
    let mut root = hub.browser("root").await;
    let me = root.script("GET", "/hub/api/user", "").await.json();
    assert_eq!(
        me.get("auth_state"),
        Some(&Value::Null),
        "whoever may see it sees that nothing is told"
    );
    let token = service(&hub, "x", &["read:metrics"]);
    assert_eq!(ask(&hub, &token, "GET", "/hub/metrics", "").await.status, 200);
    assert_eq!(ask(&hub, "token bobs-token", "GET", "/hub/metrics", "").await.status, 403);
}

#[tokio::test]
async fn configured_headers_replace_our_own_on_every_answer() {
    let hub = Hub::with(|hub| {
        hub.headers.insert("X-Frame-Options".into(), "DENY".into());
        hub.headers.insert("Content-Security-Policy".into(), "default-src 'self'".into());
    });
    for (method, path, status) in [
        ("GET", "/hub/login", 200),
        ("GET", "/hub/api", 200),
        ("GET", "/hub/api/users", 403),
        ("OPTIONS", "/hub/api/users", 200),
        ("GET", "/hub/nothing-here", 404),
        ("GET", "/elsewhere", 302),
    ] {
        let answer = hub.plain(method, path, &[], "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, "default-src 'self'", "{path}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_run_is_a_503_where_old_notebooks_want_it() {
    for (legacy, status) in [(false, 424), (true, 503)] {
        let hub = Hub::with(|hub| hub.use_legacy_stopped_server_status_code = legacy);
        let mut bob = hub.browser("bob").await;
        assert_eq!(bob.get("/hub/user/bob/").await.status, status);
        assert_eq!(bob.get("/hub/user/bob/api/kernels").await.status, status);
    }
}
