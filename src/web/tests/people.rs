//! Users over the API: found, made, changed, deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use axum::body::Body;
use jovis_actors::{
    domain::{
        Group, GroupId, GroupName, Moment, Owner, Policy, Scope, Service, ServiceName, Share,
        ShareKey, SharedWith, Token, TokenId, User, role::RoleEntry,
    },
    ports::AccountError,
    store::Write,
};
use serde_json::{Value, json};

use crate::{
    config::{
        sections::{Simple, SpawnerClass},
        slice::HubSlice,
    },
    web::testing::{Fate, Hub, Reply, request},
};

/// What stands in `Authorization` for a token of this user with these scopes.
pub(super) fn token(hub: &Hub, owner: &str, scopes: &[&str]) -> String {
    let id = hub.app.doors.image().next_id();
    let owner = Owner::User(hub.key(owner).user);
    secret(hub, owner, scopes, &format!("{id:032x}"))
}

/// The same with a secret of one's own.
pub(super) fn secret(hub: &Hub, owner: Owner, scopes: &[&str], secret: &str) -> String {
    let token = record(hub, hub.app.doors.image().next_id(), owner, scopes, secret);
    hub.doubles.write(Write::Token(Arc::new(token)));
    format!("token {secret}")
}

/// A plain token with this secret, not written yet.
pub(super) fn record(hub: &Hub, id: u64, owner: Owner, scopes: &[&str], secret: &str) -> Token {
    Token {
        id: TokenId(id),
        owner,
        hash: hub.app.entropy.digest(secret),
        scopes: scopes.iter().map(|text| Scope::new(text)).collect(),
        created: Moment(0),
        expires_at: None,
        last_activity: None,
        note: "".into(),
        client: None,
        session: None,
    }
}

/// A service that somebody else runs, not written yet.
pub(super) fn service(name: &str) -> Service {
    Service {
        name: ServiceName::new(name).unwrap(),
        admin: false,
        url: None,
        display: true,
        info: serde_json::Map::new(),
        oauth_no_confirm: false,
        oauth_client_allowed_scopes: Vec::new(),
        command: Vec::new(),
        configured: false,
    }
}

/// Gives everybody in `users` these scopes, by a role.
pub(super) fn grant(hub: &Hub, users: &[&str], scopes: &[&str]) {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let role = RoleEntry {
        name: "helper".into(),
        scopes: Some(own(scopes)),
        users: own(users),
        ..RoleEntry::default()
    };
    let policy = Policy::new(&[role], &[], &BTreeMap::new()).unwrap();
    hub.app.policy.store(Arc::new(policy));
}

pub(super) fn group(hub: &Hub, name: &str, members: &[&str]) -> GroupId {
    let id = GroupId(hub.app.doors.image().next_id());
    let name = GroupName::new(name).unwrap();
    let group = Group { id, name, properties: Arc::default() };
    hub.doubles.write(Write::Group(Arc::new(group)));
    for member in members {
        hub.doubles.write(Write::Member(id, hub.key(member).user));
    }
    id
}

pub(super) async fn ask(hub: &Hub, who: &str, method: &str, path: &str, body: &str) -> Reply {
    hub.plain(method, &format!("/hub/api{path}"), &[("authorization", who)], body).await
}

/// As a client that knows pages.
async fn paged(hub: &Hub, who: &str, path: &str) -> Value {
    let accept = ("accept", "application/jupyterhub-pagination+json");
    let path = format!("/hub/api{path}");
    let reply = hub.plain("GET", &path, &[("authorization", who), accept], "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn active_at(hub: &Hub, name: &str, at: i64) {
    let user = User::clone(hub.app.doors.image().user_named(name).unwrap());
    hub.doubles.write(Write::User(Arc::new(User { last_activity: Some(Moment(at)), ..user })));
}

#[tokio::test]
async fn users_are_found_by_state_and_name_in_any_order() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    active_at(&hub, "eve", 2_000_000);
    active_at(&hub, "bob", 1_000_000);
    assert_eq!(ask(&hub, &root, "POST", "/users/bob/server", "").await.status, 201);
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    assert_eq!(ask(&hub, &root, "POST", "/users/eve/server", "").await.status, 202);
    for (query, wanted) in [
        ("", &["bob", "eve", "root"][..]),
        ("?state=", &["bob", "eve", "root"]),
        ("?state=active", &["bob", "eve"]),
        ("?state=ready", &["bob"]),
        ("?state=inactive", &["root"]),
        ("?sort=-id", &["root", "eve", "bob"]),
        ("?sort=name", &["bob", "eve", "root"]),
        ("?sort=-name", &["root", "eve", "bob"]),
        ("?sort=last_activity", &["root", "bob", "eve"]),
        ("?sort=-last_activity", &["eve", "bob", "root"]),
        ("?name_filter=O", &["bob", "root"]),
        ("?name_filter=%25o_", &["bob", "root"]),
        ("?name_filter=o_t", &["root"]),
        ("?name_filter=zz", &[]),
        ("?name_filter=", &["bob", "eve", "root"]),
        ("?name_filter=o&state=active&sort=-id", &["bob"]),
        ("?limit=1&offset=1", &["eve"]),
        ("?offset=99999999999999999999", &[]),
    ] {
        let reply = ask(&hub, &root, "GET", &format!("/users{query}"), "").await;
        assert_eq!(reply.status, 200, "{query} {}", reply.text);
        assert_eq!(names(&reply.json()), wanted, "{query}");
    }
    for bad in ["state=on", "sort=", "sort=--id", "sort=age", "limit=", "limit=a", "offset=1.5"] {
        let reply = ask(&hub, &root, "GET", &format!("/users?{bad}"), "").await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    let ready = paged(&hub, &root, "/users?state=ready").await;
    assert_eq!(ready["_pagination"]["total"], 2, "those that are active are counted");
    assert_eq!(ready["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_of_users_shows_those_whom_its_scope_names() {
    let hub = Hub::new();
    group(&hub, "staff", &["eve", "root"]);
    for (scopes, wanted) in [
        (&["list:users!user=bob"][..], &["bob"][..]),
        (&["list:users!user=nobody"], &[]),
        (&["list:users!group=staff"], &["eve", "root"]),
        (&["list:users!group=staff", "list:users!user=bob"], &["bob", "eve", "root"]),
        (&["list:users!group=staff", "list:users!user=eve"], &["eve", "root"]),
        (&["list:users!group=nothing"], &[]),
        (&["list:users"], &["bob", "eve", "root"]),
    ] {
        let who = token(&hub, "root", scopes);
        let reply = paged(&hub, &who, "/users").await;
        let total = reply["_pagination"]["total"].as_u64().unwrap();
        assert_eq!((names(&reply["items"]), total), (wanted.to_vec(), wanted.len() as u64));
    }
    let service = token(&hub, "root", &["list:users!service=x"]);
    let reply = ask(&hub, &service, "GET", "/users", "").await;
    assert_eq!((reply.status, &reply.json()["message"]), (403, &Value::Null));
    let bob = token(&hub, "bob", &["inherit"]);
    let reply = ask(&hub, &bob, "GET", "/users", "").await;
    assert!(reply.status == 403 && reply.text.contains("[list:users]"), "{}", reply.text);
}

#[tokio::test]
async fn lists_come_in_pages_for_clients_that_know_them() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    for n in 0..250 {
        hub.doubles.add(&format!("u{n:03}"), false);
    }
    let bare = ask(&hub, &root, "GET", "/users", "").await.json();
    assert_eq!(bare.as_array().unwrap().len(), 200, "cut off, without a word");
    let first = paged(&hub, &root, "/users?sort=name&include_stopped_servers").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 50);
    let url = "http://hub:8000/hub/api/users?sort=name&include_stopped_servers=&limit=50&offset=50";
    let wanted = json!({
        "offset": 0, "limit": 50, "total": 253,
        "next": {"offset": 50, "limit": 50, "url": url}
    });
    assert_eq!(first["_pagination"], wanted);
    // Following the links gives everybody once.
    let mut seen: Vec<String> = Vec::new();
    let mut next = "/users?sort=-name&limit=-100".to_owned();
    loop {
        let page = paged(&hub, &root, &next).await;
        seen.extend(names(&page["items"]).into_iter().map(ToOwned::to_owned));
        match page["_pagination"]["next"]["url"].as_str() {
            Some(url) => next = url.strip_prefix("http://hub:8000/hub/api").unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 253);
    assert!(seen.is_sorted_by(|a, b| a > b));
    let with_others = [
        ("authorization", root.as_str()),
        ("accept", "application/jupyterhub-pagination+json;q=0.9"),
        ("x-forwarded-proto", "https"),
    ];
    let reply = hub.plain("GET", "/hub/api/users?limit=1", &with_others, "").await;
    assert_eq!(reply.json().as_array().unwrap().len(), 1, "{}", reply.text);
}

#[tokio::test]
async fn several_users_are_made_at_once_or_none() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let body = json!({"usernames": ["Ann", "bob", "ann", "a@b"], "roles": [], "groups": []});
    let made = ask(&hub, &root, "POST", "/users", &body.to_string()).await;
    assert_eq!((made.status, names(&made.json())), (201, vec!["ann", "a@b"]), "{}", made.text);
    let ann = &made.json()[0];
    assert_eq!((&ann["roles"], &ann["admin"]), (&json!(["user"]), &json!(false)));
    assert_eq!((&ann["last_activity"], &ann["groups"]), (&Value::Null, &json!([])));
    assert_eq!((&ann["created"], &ann["kind"]), (&json!("2026-11-21T22:26:40Z"), &json!("user")));
    let again = ask(&hub, &root, "POST", "/users", &body.to_string()).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let odd = json!({"usernames": ["new", "a/b"]}).to_string();
    assert_eq!(ask(&hub, &root, "POST", "/users", &odd).await.status, 400);
    assert!(hub.app.doors.image().user_named("new").is_none(), "nobody was made");
    let admins = json!({"usernames": ["new"], "admin": true}).to_string();
    let made = ask(&hub, &root, "POST", "/users", &admins).await;
    assert_eq!((made.status, &made.json()[0]["roles"]), (201, &json!(["user", "admin"])));
}

#[tokio::test]
async fn one_user_is_made_by_the_name_in_its_path() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let made = ask(&hub, &root, "POST", "/users/Upper", "").await;
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("Upper")), "{}", made.text);
    for (path, body, status) in [
        ("/users/Upper", "", 409),
        ("/users/Upper", "{\"admin\": 1}", 409),
        ("/users/Upper", "{", 400),
        ("/users/new", "{\"admin\": 1}", 400),
        ("/users/new", "{\"color\": 1}", 400),
        ("/users/a%2Fb", "", 400),
        ("/users/...", "", 400),
        ("/users/%20a", "", 400),
        ("/users/new", "null", 201),
    ] {
        assert_eq!(ask(&hub, &root, "POST", path, body).await.status, status, "{path} {body}");
    }
}

#[tokio::test]
async fn only_administrators_hand_administration_on() {
    let hub = Hub::new();
    grant(&hub, &["eve"], &["admin:users"]);
    let eve = token(&hub, "eve", &["inherit"]);
    for (method, path, body, status) in [
        ("POST", "/users", "{\"usernames\": [\"a\"], \"admin\": true}", 403),
        ("POST", "/users/a", "{\"admin\": true}", 403),
        ("POST", "/users/a", "{\"admin\": false}", 201),
        ("PATCH", "/users/a", "{\"admin\": true}", 403),
        ("PATCH", "/users/a", "{\"admin\": false}", 200),
        ("PATCH", "/users/eve", "{\"admin\": true}", 403),
        ("PATCH", "/users/root", "{}", 403),
        ("PATCH", "/users/root", "{\"name\": \"toor\"}", 403),
    ] {
        let reply = ask(&hub, &eve, method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path} {body} {}", reply.text);
    }
    let root = token(&hub, "root", &["admin:users"]);
    let made = ask(&hub, &root, "PATCH", "/users/a", "{\"admin\": true}").await;
    assert_eq!(made.json()["roles"], json!(["user", "admin"]), "{}", made.text);
    let unmade = ask(&hub, &root, "PATCH", "/users/a", "{\"admin\": false}").await;
    assert_eq!(
        (&unmade.json()["roles"], &unmade.json()["admin"]),
        (&json!(["user"]), &json!(false))
    );
}

#[tokio::test]
async fn a_user_gets_another_name_and_the_old_one_means_nobody() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let bob = token(&hub, "bob", &["inherit"]);
    group(&hub, "staff", &["bob"]);
    let (server, with) = (hub.key("bob"), SharedWith::User(hub.key("eve").user));
    let scopes = vec!["access:servers".into()];
    let share = Share { key: ShareKey { server, with }, scopes, created: Moment(0) };
    hub.doubles.write(Write::Share(Arc::new(share)));
    ask(&hub, &root, "POST", "/users/bob/server", "").await;
    let to = |name: &str| json!({ "name": name }).to_string();
    let active = ask(&hub, &root, "PATCH", "/users/bob", &to("rob")).await;
    assert_eq!(active.status, 400, "{}", active.text);
    assert_eq!(ask(&hub, &root, "PATCH", "/users/bob", &to("Bob")).await.status, 200, "its own");
    assert_eq!(ask(&hub, &root, "DELETE", "/users/bob/server", "").await.status, 204);
    for bad in ["eve", "", "a/b", " rob", ".."] {
        let reply = ask(&hub, &root, "PATCH", "/users/bob", &to(bad)).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    let done = ask(&hub, &root, "PATCH", "/users/bob", &to("ROB")).await;
    assert_eq!((done.status, &done.json()["name"]), (200, &json!("rob")), "{}", done.text);
    assert_eq!(done.json()["groups"], json!(["staff"]));
    assert_eq!(ask(&hub, &root, "GET", "/users/bob", "").await.status, 404);
    assert_eq!(ask(&hub, &bob, "GET", "/user", "").await.json()["name"], "rob", "tokens go along");
    // Somebody new by the old name has none of it.
    assert_eq!(ask(&hub, &root, "POST", "/users/bob", "").await.status, 201);
    let new = ask(&hub, &root, "GET", "/users/bob?include_stopped_servers", "").await.json();
    assert_eq!((&new["groups"], &new["servers"][""]["started"]), (&json!([]), &Value::Null));
    assert_eq!(
        ask(&hub, &root, "GET", "/users/bob/tokens", "").await.json()["api_tokens"],
        json!([])
    );
    let eve = token(&hub, "eve", &["inherit"]);
    let held = ask(&hub, &eve, "GET", "/user", "").await.json()["scopes"].to_string();
    assert!(held.contains("!server=rob/") && !held.contains("!server=bob/"), "{held}");
}

#[tokio::test]
async fn what_cannot_be_changed_about_a_user_is_refused() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    for (body, status) in [
        ("", 400),
        ("null", 400),
        ("[]", 400),
        ("{\"roles\": []}", 400),
        ("{\"groups\": []}", 400),
        ("{\"auth_state\": null}", 400),
        ("{\"auth_state\": {}}", 400),
        ("{\"admin\": null}", 400),
        ("{\"name\": 1}", 400),
        ("{\"x\": 1}", 400),
        ("{}", 200),
    ] {
        let reply = ask(&hub, &root, "PATCH", "/users/bob", body).await;
        assert_eq!(reply.status, status, "{body}");
        if status == 200 {
            assert_eq!(reply.json().get("auth_state"), Some(&Value::Null));
        }
    }
    let told = ask(&hub, &root, "PATCH", "/users/bob", "{\"auth_state\": {}}").await;
    assert!(told.text.contains("auth.enable_auth_state is off"), "{}", told.text);
    assert_eq!(ask(&hub, &root, "PATCH", "/users/nobody", "{}").await.status, 404);
    let few = token(&hub, "root", &["admin:users!user=bob"]);
    let reply = ask(&hub, &few, "PATCH", "/users/bob", "{\"name\": \"rob\"}").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.json(), json!({"kind": "user", "name": "rob", "auth_state": null}));
}

#[tokio::test]
async fn what_is_kept_about_a_user_can_be_set_and_is_told_to_few() {
    let hub = Hub::new();
    hub.doubles.keeps.store(true, Ordering::SeqCst);
    let root = token(&hub, "root", &["inherit"]);
    for (body, status) in [
        ("{\"auth_state\": null}", 400),
        ("{\"auth_state\": []}", 400),
        ("{\"auth_state\": \"x\"}", 400),
        ("{\"auth_state\": {\"a\": 1}, \"name\": \"eve\"}", 400),
    ] {
        assert_eq!(ask(&hub, &root, "PATCH", "/users/bob", body).await.status, status, "{body}");
    }
    let image = hub.app.doors.image();
    assert!(image.external(hub.key("bob").user).is_none(), "all of a change or nothing");
    for state in [json!({"a": {"b": [1, "x"]}}), json!({})] {
        let body = json!({"auth_state": state}).to_string();
        let set = ask(&hub, &root, "PATCH", "/users/bob", &body).await;
        assert_eq!((set.status, &set.json()["auth_state"]), (200, &state), "{}", set.text);
        let told = ask(&hub, &root, "GET", "/users/bob", "").await;
        assert_eq!(told.json()["auth_state"], state);
    }
    // Whoever changes anything is told, as it was; in lists, and to those without the scope, it is not.
    let few = token(&hub, "root", &["admin:users!user=bob"]);
    let state = json!({"a": 1});
    let body = json!({"auth_state": state}).to_string();
    assert_eq!(ask(&hub, &few, "PATCH", "/users/bob", &body).await.json()["auth_state"], state);
    let told = ask(&hub, &few, "PATCH", "/users/bob", "{\"admin\": false}").await.json();
    assert_eq!(told["auth_state"], state);
    let all = ask(&hub, &root, "GET", "/users", "").await.json();
    assert_eq!(all[0]["auth_state"], Value::Null);
    assert!(all[0].get("auth_state").is_some());
    let reader = token(&hub, "root", &["read:users"]);
    let told = ask(&hub, &reader, "GET", "/users/bob", "").await;
    assert_eq!((told.status, told.json().get("auth_state")), (200, None));
    for scope in ["users", "admin:auth_state"] {
        let other = token(&hub, "root", &[scope]);
        let reply = ask(&hub, &other, "PATCH", "/users/bob", &body).await;
        assert!(matches!(reply.status, 403 | 404), "{scope}: {}", reply.status);
    }
}

#[tokio::test]
async fn who_is_blocked_is_nobody_and_their_tokens_do_nothing() {
    let hub = Hub::new();
    let (mut bob, mut eve) = (hub.browser("bob").await, hub.browser("eve").await);
    let own = token(&hub, "bob", &["inherit"]);
    assert_eq!(ask(&hub, &own, "GET", "/users/bob", "").await.status, 200);
    let blocked = [jovis_actors::domain::Username::new("bob").unwrap()].into();
    hub.app.policy.store(Arc::new(Policy::default().without(blocked)));
    assert_eq!(bob.get("/hub/home").await.status, 302, "to sign in");
    assert_eq!(bob.script("GET", "/hub/api/user", "").await.status, 403);
    for (method, path) in
        [("GET", "/users/bob"), ("POST", "/users/bob/server"), ("GET", "/users/bob/tokens")]
    {
        let reply = ask(&hub, &own, method, path, "").await;
        assert_eq!(reply.status, 403, "{method} {path}: {}", reply.text);
    }
    assert_eq!(eve.get("/hub/home").await.status, 200);
    let root = token(&hub, "root", &["inherit"]);
    let told = ask(&hub, &root, "GET", "/users/bob", "").await.json();
    assert_eq!(told["roles"], json!([]), "{told}");
}

#[tokio::test]
async fn what_is_known_of_a_person_is_told_to_who_may_know_the_name() {
    let hub = Hub::new();
    let info = json!({"mail": "b@x", "teams": ["a"]});
    let bob = User::clone(hub.app.doors.image().user_named("bob").unwrap());
    let bob = User { user_info: Some(info.clone()), ..bob };
    hub.doubles.write(Write::User(Arc::new(bob)));
    let own = token(&hub, "bob", &["inherit"]);
    for path in ["/user", "/users/bob"] {
        assert_eq!(ask(&hub, &own, "GET", path, "").await.json()["user_info"], info, "{path}");
    }
    let names = token(&hub, "root", &["list:users"]);
    assert_eq!(ask(&hub, &names, "GET", "/users", "").await.json()[0]["user_info"], info);
    let groups = token(&hub, "root", &["read:users:groups"]);
    let told = ask(&hub, &groups, "GET", "/users/bob", "").await;
    assert_eq!((told.status, told.json().get("user_info")), (200, None));
    let eve = token(&hub, "eve", &["inherit"]);
    assert_eq!(ask(&hub, &eve, "GET", "/user", "").await.json()["user_info"], Value::Null);
}

#[tokio::test]
async fn new_names_fit_what_the_site_asks_of_them() {
    let hub = Hub::new();
    let mut slice = HubSlice::clone(&hub.app.settings.load());
    slice.auth.username_pattern = "[a-z]{2,4}".to_owned();
    slice.auth.username_map = [("Nick".to_owned(), "nora".to_owned())].into();
    hub.app.settings.store(Arc::new(slice));
    let root = token(&hub, "root", &["inherit"]);
    let several = async |names: Value| {
        let body = json!({"usernames": names}).to_string();
        ask(&hub, &root, "POST", "/users", &body).await.status
    };
    assert_eq!(several(json!(["nick", "TOM"])).await, 201);
    assert!(hub.app.doors.image().user_named("nora").is_some());
    assert_eq!(several(json!(["sue", "maximilian"])).await, 400);
    assert!(hub.app.doors.image().user_named("sue").is_none());
    for (path, status) in [("/users/max9", 400), ("/users/maxim", 400), ("/users/max", 201)] {
        assert_eq!(ask(&hub, &root, "POST", path, "").await.status, status, "{path}");
    }
    let to = |name: &str| json!({"name": name}).to_string();
    for (name, status) in [("t0m", 400), ("NICK", 400), ("tim", 200)] {
        let reply = ask(&hub, &root, "PATCH", "/users/tom", &to(name)).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text);
    }
    // Who was there before the pattern can still be told of.
    hub.doubles.add("old-9", false);
    group(&hub, "staff", &[]);
    let body = "{\"users\": [\"old-9\"]}";
    assert_eq!(ask(&hub, &root, "POST", "/groups/staff/users", body).await.status, 200);
}

#[tokio::test]
async fn a_user_is_deleted_once_all_servers_have_stopped() {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let root = token(&hub, "root", &["inherit"]);
    let bob = token(&hub, "bob", &["inherit"]);
    assert_eq!(ask(&hub, &root, "DELETE", "/users/root", "").await.status, 400, "oneself");
    assert_eq!(ask(&hub, &root, "DELETE", "/users/nobody", "").await.status, 404);
    assert_eq!(ask(&hub, &bob, "DELETE", "/users/bob", "").await.status, 403);
    ask(&hub, &root, "POST", "/users/bob/server", "").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    assert_eq!(ask(&hub, &root, "POST", "/users/bob/servers/lab", "").await.status, 202);
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    let slow = ask(&hub, &root, "DELETE", "/users/bob", "").await;
    assert_eq!(slow.status, 400, "{}", slow.text);
    assert!(hub.app.doors.image().user_named("bob").is_some(), "nothing is half done");
    let image = hub.app.doors.image();
    for server in image.servers_of(hub.key("bob").user) {
        assert_eq!(server.state.pending(), Some("stop"));
        hub.finish_stop(&server.key);
    }
    *hub.doubles.fate.lock().unwrap() = Fate::Runs;
    ask(&hub, &root, "POST", "/users/bob/servers/lab", "").await;
    let gone = ask(&hub, &root, "DELETE", "/users/bob", "").await;
    assert_eq!((gone.status, gone.header("content-type")), (204, ""), "{}", gone.text);
    assert_eq!(ask(&hub, &bob, "GET", "/user", "").await.status, 403, "tokens are gone");
    assert_eq!(hub.app.doors.image().servers().count(), 0);
    assert_eq!(ask(&hub, &root, "DELETE", "/users/bob", "").await.status, 404);
}

#[tokio::test]
async fn fields_of_users_are_for_those_who_may_see_them() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    ask(&hub, &root, "POST", "/users/bob/server", "").await;
    let all = ["admin", "name", "kind", "user_info"];
    for (scope, more) in [
        ("read:users:name", &[][..]),
        ("read:users", &["roles", "groups", "server", "pending", "created", "last_activity"]),
        ("read:servers", &["servers"]),
    ] {
        let who = token(&hub, "root", &[scope]);
        let model = ask(&hub, &who, "GET", "/users/bob", "").await.json();
        let mut wanted = [&all[..], more].concat();
        wanted.sort_unstable();
        let keys: Vec<_> = model.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, wanted, "{scope}");
    }
    for (scope, wanted) in [
        ("read:users:groups", json!({"kind": "user", "name": "bob", "groups": []})),
        ("read:users:activity", json!({"kind": "user", "name": "bob", "last_activity": null})),
        (
            "read:roles:users",
            json!({"kind": "user", "name": "bob", "roles": ["user"], "admin": false}),
        ),
    ] {
        let who = token(&hub, "root", &[scope]);
        assert_eq!(ask(&hub, &who, "GET", "/users/bob", "").await.json(), wanted);
    }
    // Only servers that do something, unless the others are asked for.
    let servers = |query: &str| {
        let path = format!("/users/eve{query}");
        let (hub, root) = (&hub, &root);
        async move { ask(hub, root, "GET", &path, "").await.json()["servers"].clone() }
    };
    for query in ["", "?include_stopped_servers=0", "?include_stopped_servers=False"] {
        assert_eq!(servers(query).await, json!({}), "{query}");
    }
    for query in ["?include_stopped_servers", "?include_stopped_servers=1"] {
        assert_eq!(servers(query).await[""]["stopped"], true, "{query}");
    }
    let bob = ask(&hub, &root, "GET", "/users/bob", "").await.json();
    assert_eq!((&bob["server"], &bob["pending"]), (&json!("/user/bob/"), &Value::Null));
    assert_eq!(bob["auth_state"], Value::Null);
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    ask(&hub, &root, "POST", "/users/eve/server", "").await;
    let eve = ask(&hub, &root, "GET", "/users/eve", "").await.json();
    assert_eq!((&eve["server"], &eve["pending"]), (&Value::Null, &json!("spawn")));
}

/// What comes in bodies and names nobody would write: refused, and nothing is changed by it.
#[tokio::test]
async fn odd_bodies_and_names_are_refused_and_change_nothing() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    group(&hub, "staff", &["bob"]);
    let before = hub.app.doors.image();
    let long = "x".repeat(300);
    let paths = [
        ("POST", "/users"),
        ("POST", "/users/new"),
        ("PATCH", "/users/bob"),
        ("POST", "/groups"),
        ("POST", "/groups/new"),
        ("POST", "/groups/staff/users"),
        ("DELETE", "/groups/staff/users"),
        ("PUT", "/groups/staff/properties"),
    ];
    let deep = "[".repeat(100);
    let texts =
        ["{", "[", "nul", "{\"a\":}", "\"\\ud800\"", "[1]", "\"a\"", "1", "1e999", "true", &deep];
    for (method, path) in paths {
        for body in texts {
            let reply = ask(&hub, &root, method, path, body).await;
            assert_eq!(reply.status, 400, "{method} {path} {body} {}", reply.text);
        }
        for bytes in [&b"\xff"[..], b"{\"name\": \"\xc3\x28\"}", b"\xef\xbb\xbf{}", b"\0"] {
            let headers = [("authorization", root.as_str())];
            let mut odd = request(method, &format!("/hub/api{path}"), &headers, "");
            *odd.body_mut() = Body::from(bytes.to_vec());
            assert_eq!(hub.send(odd).await.status, 400, "{method} {path} {bytes:?}");
        }
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
        assert_eq!(ask(&hub, &root, method, path, &large).await.status, 413, "{method} {path}");
    }
    let odd_names =
        ["", "a/b", ".", "..", "%2e%2e", "a\u{0}", "a\n", "\u{7f}", "a?b", "a#b", " a", &long];
    for name in odd_names {
        for (method, path, body) in [
            ("POST", "/users", json!({"usernames": ["fine", name]})),
            ("PATCH", "/users/bob", json!({ "name": name })),
            ("POST", "/groups/staff/users", json!({"users": ["eve", name]})),
            ("DELETE", "/groups/staff/users", json!({"users": ["bob", name]})),
            ("POST", "/groups", json!({"groups": ["fine"], "users": [name]})),
        ] {
            let reply = ask(&hub, &root, method, path, &body.to_string()).await;
            assert_eq!(reply.status, 400, "{method} {path} {body} {}", reply.text);
        }
    }
    for odd in
        ["a%2Fb", "%2E%2E%2F", "%252e", "%00", "a%0Ab", "%ff", "%C3%28", "%", "%zz", "a;b", &long]
    {
        for (method, rest) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/tokens")] {
            let reply = ask(&hub, &root, method, &format!("/users/{odd}{rest}"), "{}").await;
            assert!(matches!(reply.status, 400 | 404), "{method} {odd} {}", reply.status);
        }
        for (method, rest) in
            [("GET", ""), ("DELETE", ""), ("POST", "/users"), ("PUT", "/properties")]
        {
            let reply = ask(&hub, &root, method, &format!("/groups/{odd}{rest}"), "{}").await;
            assert!(matches!(reply.status, 400 | 404), "{method} {odd} {}", reply.status);
        }
    }
    assert_eq!(*hub.app.doors.image(), *before, "nothing has changed");
}

#[tokio::test]
async fn a_new_user_needs_an_account_of_the_machine_where_servers_run_as_their_users() {
    let hub = Hub::new();
    let settings = |change: &dyn Fn(&mut HubSlice)| {
        let mut slice = HubSlice::clone(&hub.app.settings.load());
        change(&mut slice);
        hub.app.settings.store(Arc::new(slice));
    };
    settings(&|slice| slice.privileged = true);
    let mut root = hub.browser("root").await;
    let missing = |name: &str| {
        let name = jovis_actors::domain::Username::new(name).unwrap();
        Some(AccountError::Missing(name))
    };
    hub.doubles.accounts.set("zoe", missing("zoe"));
    let reply = root.script("POST", "/hub/api/users/zoe", "").await;
    assert_eq!(reply.status, 400);
    for words in ["no account zoe on this machine", "auth.create_system_users"] {
        assert!(reply.text.contains(words), "{}", reply.text);
    }
    let several = json!({"usernames": ["ann", "zoe", "tom"]}).to_string();
    let reply = root.script("POST", "/hub/api/users", &several).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    let image = hub.app.doors.image();
    for name in ["ann", "zoe", "tom"] {
        assert!(image.user_named(name).is_none(), "{name}: all of them or nobody");
    }
    let down = AccountError::Failed("useradd: cannot lock /etc/passwd".to_owned());
    hub.doubles.accounts.set("zoe", Some(down));
    assert_eq!(root.script("POST", "/hub/api/users/zoe", "").await.status, 503);
    hub.doubles.accounts.set("zoe", None);
    assert_eq!(root.script("POST", "/hub/api/users/zoe", "").await.status, 201);
    let before = hub.doubles.accounts.asked().len();
    let many: Vec<_> = (0..100).map(|n| format!("u{n}")).chain(["zoe".to_owned()]).collect();
    let several = json!({"usernames": many}).to_string();
    assert_eq!(root.script("POST", "/hub/api/users", &several).await.status, 201);
    let asked = hub.doubles.accounts.asked();
    assert_eq!(asked.len(), before + 100, "once each, and not for whom the hub knows");

    // Where nobody's servers run as them, nobody is asked about.
    settings(&|slice| slice.spawner.class = SpawnerClass::Simple(Simple::default()));
    hub.doubles.accounts.set("max", missing("max"));
    assert_eq!(root.script("POST", "/hub/api/users/max", "").await.status, 201);
    assert_eq!(hub.doubles.accounts.asked().len(), asked.len());
}
