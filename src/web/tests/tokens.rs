//! Tokens by the REST API (`spec/rest-api.md` 4.5).

use std::{collections::BTreeSet, sync::atomic::Ordering};

use jovis_actors::domain::{Owner, Seconds};
use serde_json::{Value, json};

use super::machinery::give;
use crate::web::testing::{Browser, Hub};

const TOKENS: &str = "/hub/api/users/bob/tokens";

async fn make(who: &mut Browser<'_>, body: Value) -> (u16, Value) {
    let reply = who.script("POST", TOKENS, &body.to_string()).await;
    (reply.status, reply.json())
}

fn scopes(model: &Value) -> BTreeSet<String> {
    let scopes = model["scopes"].as_array().unwrap();
    scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tokens_are_listed_the_longest_unused_first() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.script("POST", "/hub/api/users/bob/server", "").await;
    let mut ids = Vec::new();
    for body in [json!({}), json!({"expires_in": 5}), json!({"note": "n"})] {
        hub.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
        ids.push(make(&mut bob, body).await.1["id"].clone());
    }
    let list = bob.script("GET", TOKENS, "").await.json();
    let listed: Vec<_> = list["api_tokens"].as_array().unwrap().iter().collect();
    assert_eq!(listed.len(), 4, "the server's own is among them");
    assert_eq!(listed[1..].iter().map(|it| it["id"].clone()).collect::<Vec<_>>(), ids);
    let keys: Vec<_> = listed[3].as_object().unwrap().keys().collect();
    let wanted = [
        "created",
        "expires_at",
        "id",
        "kind",
        "last_activity",
        "note",
        "oauth_client",
        "roles",
        "scopes",
        "session_id",
        "user",
    ];
    assert_eq!(keys, wanted);
    assert_eq!((&listed[3]["kind"], &listed[3]["roles"]), (&json!("api_token"), &json!([])));
    assert_eq!(listed[3]["oauth_client"], "JupyterHub");
    hub.clock.0.fetch_add(10_000_000, Ordering::SeqCst);
    let list = bob.script("GET", TOKENS, "").await.json();
    assert_eq!(list["api_tokens"].as_array().unwrap().len(), 3, "one has run out");
    let gone = format!("{TOKENS}/{}", ids[1].as_str().unwrap());
    for path in [gone.as_str(), "/hub/api/users/bob/tokens/17", "/hub/api/users/bob/tokens/a-1"] {
        for method in ["GET", "DELETE"] {
            assert_eq!(bob.script(method, path, "").await.status, 404, "{method} {path}");
        }
    }
    let eves = give(&hub, Owner::User(hub.key("eve").user), "eves-token", &[]);
    let foreign = format!("{TOKENS}/a{}", eves.0);
    assert_eq!(bob.script("GET", &foreign, "").await.status, 404);
}

#[tokio::test]
async fn a_token_holds_what_was_asked_and_its_owner_has() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let known = ["read:users:groups!user=bob", "read:users:name!user=bob"];
    let (status, bare) = make(&mut bob, json!({"scopes": []})).await;
    assert_eq!((status, scopes(&bare)), (201, known.map(str::to_owned).into()));
    let (_, whole) = make(&mut bob, json!({})).await;
    assert!(scopes(&whole).contains("servers!user=bob"), "{whole}");
    let (_, role) = make(&mut bob, json!({"roles": ["user"]})).await;
    assert_eq!(scopes(&role), scopes(&whole));
    let (status, some) = make(&mut bob, json!({"scopes": ["read:servers!user"]})).await;
    assert_eq!(status, 201);
    assert!(scopes(&some).contains("read:servers!user=bob"));
    for (body, named) in [
        (json!({"scopes": ["read:servers!user"], "roles": ["user"]}), "not both"),
        (json!({"scopes": ["no-such"]}), "no-such"),
        (json!({"roles": ["no-such"]}), "no-such"),
        (json!({"scopes": ["admin:users"]}), "admin:users"),
        (json!({"scopes": ["read:servers!user=eve"]}), "read:servers!user=eve"),
        (json!({"roles": ["admin"]}), "admin:users"),
        (json!([1]), "object"),
        (json!("a"), "object"),
    ] {
        let (status, why) = make(&mut bob, body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(why["message"].as_str().unwrap().contains(named), "{body} {why}");
    }
    // A token that may only make tokens makes one that may more: the owner is the ceiling.
    let (_, narrow) = make(&mut bob, json!({"scopes": ["tokens!user"]})).await;
    let token = format!("token {}", narrow["token"].as_str().unwrap());
    let with = [("authorization", token.as_str())];
    let made = hub.plain("POST", TOKENS, &with, "{}").await;
    assert_eq!((made.status, scopes(&made.json())), (201, scopes(&whole)));
    assert_eq!(made.json()["note"], "Requested via api");
    let mut root = hub.browser("root").await;
    let (status, by_root) = make(&mut root, json!({})).await;
    assert_eq!((status, scopes(&by_root)), (201, scopes(&whole)), "no more than the owner");
    assert_eq!(by_root["note"], "Requested via api by user root");
}

#[tokio::test]
async fn name_and_password_in_the_body_are_enough_for_a_token() {
    let hub = Hub::new();
    let ask = async |body: Value| {
        let reply = hub.plain("POST", TOKENS, &[], &body.to_string()).await;
        (reply.status, reply.json())
    };
    let auth =
        |name: &str, password: &str| json!({"auth": {"username": name, "password": password}});
    let (status, made) = ask(auth("bob", "correct horse")).await;
    assert_eq!((status, &made["user"]), (201, &json!("bob")));
    assert_eq!(made["note"], "Requested via api");
    for body in [
        auth("bob", "wrong"),
        auth("eve", "correct horse"),
        auth("stranger", "correct horse"),
        json!({"auth": {"username": "bob"}}),
        json!({"auth": {}}),
    ] {
        let (status, why) = ask(body.clone()).await;
        assert_eq!((status, &why["message"]), (403, &Value::Null), "{body}");
    }
    assert!(hub.app.doors.image().user_named("stranger").is_none(), "nobody was made");
    assert_eq!(ask(auth("root", "correct horse")).await.0, 201, "an administrator may");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_the_operator_allows() {
    let hub = Hub::with(|hub| hub.token_expires_in_max_seconds = Seconds::new(60));
    hub.clock.0.store(0, Ordering::SeqCst);
    let mut bob = hub.browser("bob").await;
    for (asked, status, ends) in [
        (json!({}), 201, json!("1970-01-01T00:01:00Z")),
        (json!({"expires_in": null}), 201, json!("1970-01-01T00:01:00Z")),
        (json!({"expires_in": 60}), 201, json!("1970-01-01T00:01:00Z")),
        (json!({"expires_in": 5}), 201, json!("1970-01-01T00:00:05Z")),
        (json!({"expires_in": 61}), 400, Value::Null),
    ] {
        let (got, model) = make(&mut bob, asked.clone()).await;
        assert_eq!((got, &model["expires_at"]), (status, &ends), "{asked}");
    }
}
