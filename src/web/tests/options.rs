//! What people choose from when they start a server: by the API, by the form, by the query. (F187–F189.)

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    config::load,
    web::testing::{Browser, Hub},
};

const START: &str = "/hub/api/users/bob/server";

/// Two profiles for everybody, one of them with options, and one for a group.
pub(super) const PROFILES: &str = r#"(spawner: (profiles: [
    (
        slug: "small", display_name: "Small <b>", description: "For <i>first</i> steps",
        profile_options: [
            (name: "python", display_name: "Python", kind: Choice(choices: [
                (value: "3.11"), (value: "3.12", display_name: "The newest"),
            ])),
            (name: "memory", display_name: "Memory", help: "How much <b>", kind: Number(min: 1, max: 8, unit: "GB", default: 2)),
            (name: "note", kind: Text(pattern: "[a-z]*", pattern_help: "Small letters only", max_length: 20)),
        ],
        overrides: (environment: {"NOTE": "{note}"}),
    ),
    (slug: "plain", display_name: "Plain"),
    (slug: "staff", groups: ["staff"]),
]))"#;

/// Takes these settings' profiles on, as a reload does.
pub(super) fn offer(hub: &Hub, text: &str) {
    let (config, _) = load::parse(text).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let mut slice = hub.app.settings.load().as_ref().clone();
    slice.spawner.profiles = config.spawner.profiles;
    hub.app.settings.store(Arc::new(slice));
}

pub(super) fn choosing() -> Hub {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    offer(&hub, PROFILES);
    hub
}

async fn ask(who: &mut Browser<'_>, method: &str, path: &str, body: &Value) -> (u16, String) {
    let reply = who.script(method, path, &body.to_string()).await;
    let body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    (reply.status, body["message"].as_str().unwrap_or_default().to_owned())
}

pub(super) fn chosen(hub: &Hub, name: &str) -> Value {
    let mut key = hub.key("bob");
    key.name = jovis_actors::domain::ServerName::new(name).unwrap();
    let image = hub.app.doors.image();
    image.server(&key).and_then(|server| server.user_options.clone()).unwrap_or_default()
}

#[tokio::test]
async fn the_api_takes_what_is_offered_and_completes_it() {
    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    let body = json!({"user_options": {"profile": "small", "memory": "4"}});
    assert_eq!(ask(&mut bob, "POST", START, &body).await.0, 201);
    let all = json!({"profile": "small", "python": "3.11", "memory": 4, "note": ""});
    assert_eq!(chosen(&hub, ""), all);
    assert_eq!(ask(&mut bob, "DELETE", START, &Value::Null).await.0, 204);
    // Nothing is said: as last time.
    assert_eq!(ask(&mut bob, "POST", START, &json!({})).await.0, 201);
    assert_eq!(chosen(&hub, ""), all);
    // A server that is only made or changed keeps no nonsense either.
    let lab = "/hub/api/users/bob/servers/lab";
    let bad = json!({"user_options": {"memory": 99}});
    assert_eq!(ask(&mut bob, "PUT", lab, &bad).await.0, 400);
    assert_eq!(ask(&mut bob, "PUT", lab, &json!({"user_options": {"memory": 3}})).await.0, 201);
    assert_eq!(ask(&mut bob, "PATCH", lab, &bad).await.0, 400);
    assert_eq!(chosen(&hub, "lab")["memory"], 3);
}

#[tokio::test]
async fn the_api_says_what_is_wrong_with_each_field() {
    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    for (options, words) in [
        (json!({"profile": "gone"}), "profile: there is no such choice"),
        (json!({"profile": "staff"}), "profile: this is not for you to choose"),
        (
            json!({"memory": 9, "note": "A"}),
            "memory: at most 8 is possible; note: Small letters only",
        ),
        (json!({"memory": {"$gt": 1}}), "memory: a number is expected"),
        (json!({"python": ["3.11", "3.12"]}), "python: a text is expected"),
        (json!({"note": "a\u{0}"}), "note: it holds characters that cannot be shown"),
        (json!({"__proto__": {"x": 1}}), "__proto__: there is no such option"),
        (json!({"environment": {"LD_PRELOAD": "x"}}), "environment: there is no such option"),
    ] {
        let body = json!({"user_options": options});
        assert_eq!(ask(&mut bob, "POST", START, &body).await, (400, words.to_owned()), "{body}");
    }
    assert_eq!(chosen(&hub, ""), Value::Null, "nothing was begun");
    // Of clients of before `user_options`.
    assert_eq!(ask(&mut bob, "POST", START, &json!({"profile": "gone"})).await.0, 400);
}

/// GHSA-hx46-2cv3-mh6g.
#[tokio::test]
async fn malformed_options_are_refused_and_leave_nothing_behind() {
    for hub in [Hub::new(), choosing()] {
        let mut bob = hub.browser("bob").await;
        let deep =
            format!("{{\"user_options\": {}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        let long = format!("{{\"user_options\": {{\"note\": \"{}\"}}}}", "a".repeat(1_000_000));
        for (body, wanted) in [
            (deep.as_str(), 400),
            (long.as_str(), 400),
            ("{\"user_options\": {\"memory\": NaN}}", 400),
            ("{\"user_options\": {\"memory\": Infinity}}", 400),
            ("{\"user_options\": {\"note\": \"\\ud800\"}}", 400),
            ("{\"user_options\": {\"memory\": 1e999}}", 400),
            ("{\"user_options\": [1]}", 400),
            ("{\"user_options\": \"a\"}", 400),
            ("[]x", 400),
        ] {
            let reply = bob.script("POST", START, body).await;
            assert_eq!(reply.status, wanted, "{}", &body[..body.len().min(60)]);
        }
        assert_eq!(chosen(&hub, ""), Value::Null);
        assert_eq!(ask(&mut bob, "POST", START, &Value::Null).await.0, 201, "and all goes on");
    }
}
