//! Servers by the REST API (`spec/rest-api.md` 4.6 and 4.7): made, named, started with what was chosen, taken out.

use std::sync::Arc;

use jovis_actors::{
    domain::{
        Moment, ServerKey, ServerName, Share, ShareCode, ShareCodeId, ShareKey, SharedWith,
        TokenHash,
    },
    store::Write,
};
use serde_json::{Value, json};

use crate::web::testing::{Browser, Fate, Hub};

const LAB: &str = "/hub/api/users/bob/servers/lab";
const DEFAULT: &str = "/hub/api/users/bob/server";

fn named() -> Hub {
    Hub::with(|hub| hub.allow_named_servers = true)
}

fn key(hub: &Hub, name: &str) -> ServerKey {
    ServerKey { name: ServerName::new(name).unwrap(), ..hub.key("bob") }
}

/// Method, path, body: the status, and the body as JSON where it is that.
async fn ask(who: &mut Browser<'_>, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = who.script(method, path, &body).await;
    (reply.status, serde_json::from_str(&reply.text).unwrap_or_default())
}

#[tokio::test]
async fn a_server_is_made_without_being_started() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    let (status, model) = ask(&mut bob, "PUT", LAB, Value::Null).await;
    assert_eq!(status, 201);
    assert_eq!(
        model,
        json!({
            "name": "lab", "display_name": "lab", "full_name": "bob/lab", "last_activity": null,
            "started": null, "pending": null, "ready": false, "stopped": true,
            "url": "/user/bob/lab/", "user_options": null,
            "progress_url": "/hub/api/users/bob/servers/lab/progress",
            "full_url": null, "full_progress_url": null
        })
    );
    assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await, (200, model));
    let two = "/hub/api/users/bob/servers/two";
    let body = json!({"display_name": "Number 2", "user_options": {"a": 1}});
    let (status, model) = ask(&mut bob, "PUT", two, body).await;
    assert_eq!((status, &model["display_name"]), (201, &json!("Number 2")));
    assert_eq!(model["user_options"], json!({"a": 1}));
    for (path, body, wanted) in [
        (LAB, Value::Null, 409),
        (DEFAULT, Value::Null, 409),
        ("/hub/api/users/bob/servers/", Value::Null, 409),
        ("/hub/api/users/bob/servers/x", json!([1]), 400),
        ("/hub/api/users/bob/servers/x", json!({"display_name": 1}), 400),
        ("/hub/api/users/bob/servers/Upper", Value::Null, 400),
        ("/hub/api/users/eve/servers/x", Value::Null, 404),
        ("/hub/api/users/nobody/servers/x", Value::Null, 404),
    ] {
        assert_eq!(ask(&mut bob, "PUT", path, body.clone()).await.0, wanted, "{path} {body}");
    }
    assert_eq!(ask(&mut bob, "GET", DEFAULT, Value::Null).await.0, 200, "it always exists");
    let gone = "/hub/api/users/bob/servers/gone";
    assert_eq!(ask(&mut bob, "GET", gone, Value::Null).await.0, 404);
    let user = "/hub/api/users/bob";
    assert_eq!(ask(&mut bob, "GET", user, Value::Null).await.1["servers"], json!({}));
    let (_, all) =
        ask(&mut bob, "GET", "/hub/api/users/bob?include_stopped_servers", Value::Null).await;
    let names: Vec<_> = all["servers"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["", "lab", "two"]);
}

#[tokio::test]
async fn names_of_servers_are_slugs_and_names_for_people_can_be_seen() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    let longest = "a".repeat(30);
    for name in ["a", "a1", "a-b", &longest] {
        let path = format!("/hub/api/users/bob/servers/{name}");
        assert_eq!(ask(&mut bob, "POST", &path, Value::Null).await.0, 201, "{name}");
    }
    let long = "a".repeat(31);
    for name in ["1a", "-a", "a-", "a--b", "A", "a_b", "a.b", "a%20b", "%C3%A4", "a%2Fb", &long] {
        let path = format!("/hub/api/users/bob/servers/{name}");
        for method in ["PUT", "POST"] {
            assert_eq!(ask(&mut bob, method, &path, Value::Null).await.0, 400, "{method} {name}");
        }
    }
    for shown in [" a", "a ", "a  b", "a\tb", "a\u{200b}b", &"a".repeat(256)] {
        let body = json!({"display_name": shown});
        assert_eq!(ask(&mut bob, "PUT", LAB, body).await.0, 400, "{shown:?}");
    }
    let longest = "ä".repeat(255);
    let body = json!({"display_name": longest});
    assert_eq!(ask(&mut bob, "PUT", LAB, body).await.1["display_name"], json!(longest));
}

#[tokio::test]
async fn without_named_servers_there_is_the_default_one_alone() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    for (method, body) in [
        ("PUT", Value::Null),
        ("POST", Value::Null),
        ("DELETE", Value::Null),
        ("PATCH", json!({"display_name": "Lab"})),
    ] {
        assert_eq!(ask(&mut bob, method, LAB, body).await.0, 400, "{method}");
    }
    assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await.0, 404);
    assert_eq!(ask(&mut bob, "PATCH", DEFAULT, json!({"name": "lab"})).await.0, 400);
    let (status, model) = ask(&mut bob, "PATCH", DEFAULT, json!({"user_options": {"a": 1}})).await;
    assert_eq!((status, &model["user_options"]), (200, &json!({"a": 1})));
}

#[tokio::test]
async fn options_count_until_others_are_given() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    for (body, kept) in [
        (json!({"user_options": {"a": 1}}), json!({"a": 1})),
        (Value::Null, json!({"a": 1})),
        (json!({}), json!({"a": 1})),
        (json!({"display_name": "Lab"}), json!({"a": 1})),
        (json!({"user_options": null}), json!({"a": 1})),
        (json!({"image": "b"}), json!({"image": "b"})),
        (json!({"user_options": {}}), json!({})),
    ] {
        assert_eq!(ask(&mut bob, "POST", LAB, body.clone()).await.0, 201, "{body}");
        assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await.1["user_options"], kept, "{body}");
        assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204);
    }
    let (_, model) = ask(&mut bob, "GET", LAB, Value::Null).await;
    assert_eq!(model["display_name"], "Lab", "given to a server that was there");
    let body = json!({"display_name": "Mine"});
    assert_eq!(ask(&mut bob, "POST", DEFAULT, body).await.0, 201);
    assert_eq!(ask(&mut bob, "GET", DEFAULT, Value::Null).await.1["display_name"], "");
    assert_eq!(ask(&mut bob, "POST", DEFAULT, Value::Null).await.0, 400, "it runs");
    for bad in [json!("a"), json!([1]), json!({"display_name": []}), json!({"user_options": 1})] {
        assert_eq!(ask(&mut bob, "POST", LAB, bad.clone()).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_server_at_rest_is_renamed_and_edited() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    for name in ["lab", "two"] {
        let path = format!("/hub/api/users/bob/servers/{name}");
        assert_eq!(ask(&mut bob, "PUT", &path, Value::Null).await.0, 201);
    }
    let reply = bob.script("PATCH", LAB, "{\"display_name\": \"Lab 1\"}").await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/json; charset=UTF-8")
    );
    assert_eq!(reply.json()["display_name"], "Lab 1");
    let body = json!({"name": "new", "user_options": {"a": 1}});
    let (status, model) = ask(&mut bob, "PATCH", LAB, body).await;
    assert_eq!(
        (status, &model["name"], &model["display_name"]),
        (200, &json!("new"), &json!("Lab 1"))
    );
    assert_eq!(model["user_options"], json!({"a": 1}));
    assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await.0, 404);
    let new = "/hub/api/users/bob/servers/new";
    for (path, body, wanted) in [
        (LAB, json!({"display_name": "x"}), 404),
        (new, json!({"name": "two"}), 409),
        (new, json!({"name": "new"}), 409),
        (new, json!({"name": ""}), 409),
        (new, json!({"name": "A"}), 400),
        (new, json!({"name": "a", "display_name": 1}), 400),
        (new, json!({"user_options": null}), 400),
        (new, json!({"color": "red"}), 400),
        (new, json!({}), 400),
        (new, Value::Null, 400),
    ] {
        assert_eq!(ask(&mut bob, "PATCH", path, body.clone()).await.0, wanted, "{path} {body}");
    }
    let (status, model) = ask(&mut bob, "PATCH", DEFAULT, json!({"name": "old"})).await;
    assert_eq!((status, &model["full_name"]), (200, &json!("bob/old")));
    let (status, fresh) = ask(&mut bob, "GET", DEFAULT, Value::Null).await;
    assert_eq!(
        (status, &fresh["user_options"], &fresh["stopped"]),
        (200, &Value::Null, &json!(true))
    );
    assert_eq!(ask(&mut bob, "POST", new, Value::Null).await.0, 201);
    let (status, why) = ask(&mut bob, "PATCH", new, json!({"name": "x"})).await;
    assert_eq!(status, 400, "it runs");
    assert!(why["message"].as_str().unwrap().contains("stop it first"), "{why}");
}

#[tokio::test]
async fn a_failed_start_is_not_the_next_servers_of_that_name() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    assert_eq!(ask(&mut bob, "POST", DEFAULT, Value::Null).await.0, 500);
    let progress = format!("{DEFAULT}/progress");
    assert!(bob.script("GET", &progress, "").await.text.contains("\"failed\":true"));
    assert_eq!(ask(&mut bob, "PATCH", DEFAULT, json!({"name": "lab"})).await.0, 200);
    assert_eq!(bob.script("GET", &progress, "").await.status, 404);
}

#[tokio::test]
async fn a_removed_server_takes_what_is_about_it_along() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    for name in ["lab", "two"] {
        let path = format!("/hub/api/users/bob/servers/{name}");
        assert_eq!(ask(&mut bob, "PUT", &path, Value::Null).await.0, 201);
        let server = key(&hub, name);
        let with = SharedWith::User(hub.key("eve").user);
        hub.doubles.write(Write::Share(Arc::new(Share {
            key: ShareKey { server: server.clone(), with },
            scopes: vec!["access:servers".into()],
            created: Moment(0),
        })));
        hub.doubles.write(Write::ShareCode(Arc::new(ShareCode {
            id: ShareCodeId(if name == "lab" { 90 } else { 91 }),
            hash: TokenHash([9; 32]),
            server,
            scopes: vec![],
            created: Moment(0),
            expires_at: Moment(i64::MAX),
            exchange_count: 0,
            last_exchanged: None,
        })));
    }
    assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204, "it does not run");
    assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await.0, 200);
    for (path, body, wanted) in [
        (DEFAULT, json!({"remove": true}), 400),
        (LAB, json!({"remove": "yes"}), 400),
        (LAB, json!([1]), 400),
        ("/hub/api/users/bob/servers/gone", json!({"remove": true}), 404),
        (LAB, json!({"remove": true}), 204),
        (LAB, Value::Null, 404),
    ] {
        assert_eq!(ask(&mut bob, "DELETE", path, body.clone()).await.0, wanted, "{path} {body}");
    }
    let image = hub.app.doors.image();
    assert_eq!(image.shares_of(&key(&hub, "lab")).count(), 0);
    assert_eq!(image.shares_of(&key(&hub, "two")).count(), 1);
    assert_eq!(image.share_codes().map(|code| code.id.0).collect::<Vec<_>>(), [91]);
}

#[tokio::test]
async fn progress_is_told_for_starts_alone() {
    let hub = named();
    let mut bob = hub.browser("bob").await;
    let progress = format!("{LAB}/progress");
    assert_eq!(bob.script("GET", &progress, "").await.status, 404, "unknown");
    let nobodys = "/hub/api/users/nobody/server/progress";
    assert_eq!(bob.script("GET", nobodys, "").await.status, 404);
    assert_eq!(ask(&mut bob, "PUT", LAB, Value::Null).await.0, 201);
    assert_eq!(bob.script("GET", &progress, "").await.status, 400, "made and never started");
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 201);
    let ready = bob.script("GET", &progress, "").await;
    let events: Vec<_> = ready.text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!((ready.status, events.len()), (200, 1), "{}", ready.text);
    assert!(events[0].contains("\"ready\":true"));
    assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204);
    assert_eq!(bob.script("GET", &progress, "").await.status, 404, "stopped");
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 202);
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 202, "again");
    assert_eq!(ask(&mut bob, "GET", LAB, Value::Null).await.1["pending"], "spawn");
    assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204, "a start is cut off");
    let cut = bob.script("GET", &progress, "").await;
    assert_eq!(cut.status, 200);
    assert!(cut.text.contains("\"failed\":true") && cut.text.contains("cancelled"), "{}", cut.text);
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 201);
    for _ in 0..2 {
        assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 202, "slow to stop");
    }
    assert_eq!(bob.script("GET", &progress, "").await.status, 400, "stopping");
    assert_eq!(ask(&mut bob, "PATCH", LAB, json!({"name": "x"})).await.0, 400, "stopping");
}

#[tokio::test]
async fn a_stream_of_events_is_what_browsers_expect() {
    use http_body_util::BodyExt;
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    assert_eq!(ask(&mut bob, "POST", DEFAULT, Value::Null).await.0, 202);
    let xsrf = bob.cookies["_xsrf"].trim_matches('"').to_owned();
    let cookies: Vec<_> =
        bob.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers =
        [("sec-fetch-mode", "cors"), ("cookie", &*cookies.join("; ")), ("user-agent", "Test/1")];
    let path = format!("{DEFAULT}/progress");
    assert_eq!(hub.plain("GET", &path, &headers, "").await.status, 403, "nobody's page");
    let request =
        crate::web::testing::request("GET", &format!("{path}?_xsrf={xsrf}"), &headers, "");
    let answer = hub.open(request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let mut body = answer.into_body();
    let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    assert_eq!(next().await.unwrap(), "\n\n", "at once, so that nothing waits for the headers");
    let first = next().await.unwrap();
    assert!(first.starts_with(b"data: {") && first.ends_with(b"}\n\n"), "{first:?}");
    let first: Value = serde_json::from_slice(&first[6..]).unwrap();
    assert_eq!((&first["progress"], first["message"].is_string()), (&json!(0), true));
    let step: Value = serde_json::from_slice(&next().await.unwrap()[6..]).unwrap();
    assert!(step["progress"].as_u64().is_some_and(|progress| progress < 100));
    assert_eq!(step.get("ready"), None);
    hub.finish("bob");
    let last: Value = serde_json::from_slice(&next().await.unwrap()[6..]).unwrap();
    let wanted = (json!(100), json!(true), json!("/user/bob/"));
    assert_eq!((last["progress"].clone(), last["ready"].clone(), last["url"].clone()), wanted);
    assert!(last["html_message"].as_str().unwrap().contains("href=\"/user/bob/\""));
    assert_eq!(next().await, None, "the hub closes it");
}

#[tokio::test]
async fn a_stream_with_nothing_to_tell_is_kept_open_by_blank_lines() {
    use http_body_util::BodyExt;
    use std::time::{Duration, Instant};
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Hangs;
    assert_eq!(ask(&mut bob, "POST", DEFAULT, Value::Null).await.0, 202);
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "").await.json();
    let token = format!("token {}", made["token"].as_str().unwrap());
    let path = format!("{DEFAULT}/progress");
    let request = crate::web::testing::request("GET", &path, &[("authorization", &token)], "");
    let mut body = hub.open(request).await.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next().await, "\n\n");
    for _ in 0..2 {
        assert!(next().await.starts_with(b"data: "));
    }
    let begun = Instant::now();
    assert_eq!(next().await, "\n\n");
    assert!(begun.elapsed() > Duration::from_secs(7), "a proxy in between waits longer");
}

#[tokio::test]
async fn nobody_has_more_named_servers_than_the_operator_allows() {
    let hub = Hub::with(|hub| {
        hub.allow_named_servers = true;
        hub.named_server_limit_per_user = 1;
    });
    let mut bob = hub.browser("bob").await;
    assert_eq!(ask(&mut bob, "POST", DEFAULT, Value::Null).await.0, 201, "it does not count");
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 201);
    for name in ["two", "NO NAME"] {
        let path = format!("/hub/api/users/bob/servers/{}", name.replace(' ', "%20"));
        for method in ["PUT", "POST"] {
            let (status, why) = ask(&mut bob, method, &path, Value::Null).await;
            assert_eq!(status, 400, "{method} {name}");
            assert!(why["message"].as_str().unwrap().starts_with("1 named servers"), "{why}");
        }
    }
    assert_eq!(bob.get("/hub/spawn/bob/two").await.status, 400);
    assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204);
    assert_eq!(ask(&mut bob, "POST", LAB, Value::Null).await.0, 201, "it is there");
    assert_eq!(ask(&mut bob, "DELETE", DEFAULT, Value::Null).await.0, 204);
    assert_eq!(ask(&mut bob, "PATCH", DEFAULT, json!({"name": "old"})).await.0, 400, "one more");
    assert_eq!(ask(&mut bob, "DELETE", LAB, Value::Null).await.0, 204);
    assert_eq!(ask(&mut bob, "PATCH", LAB, json!({"name": "two"})).await.0, 200, "as many");
    let two = "/hub/api/users/bob/servers/two";
    assert_eq!(ask(&mut bob, "DELETE", two, json!({"remove": true})).await.0, 204);
    assert_eq!(ask(&mut bob, "PATCH", DEFAULT, json!({"name": "old"})).await.0, 200);
    let mut eve = hub.browser("eve").await;
    let eves = "/hub/api/users/eve/servers/lab";
    assert_eq!(ask(&mut eve, "PUT", eves, Value::Null).await.0, 201, "each their own");
}
