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

/// The form's fields by their names, with what stands in them.
fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--x--\r\n", fields.iter().map(part).collect::<String>())
}

const MULTIPART: [(&str, &str); 2] =
    [("content-type", "multipart/form-data; boundary=x"), ("sec-fetch-mode", "navigate")];

#[tokio::test]
async fn the_form_asks_before_anything_is_started() {
    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    let page = bob.get("/hub/spawn?next=/user/bob/lab%3Fa=b").await;
    assert_eq!((page.status, chosen(&hub, "")), (200, Value::Null));
    for part in [
        "Server Options",
        "id=\"spawn_form\"",
        "action=\"/hub/spawn/bob?next=/user/bob/lab%3Fa%3Db\"",
        "enctype=\"multipart/form-data\"",
        "value=\"small\" checked",
        "Small &lt;b&gt;",
        "For &lt;i&gt;first&lt;/i&gt; steps",
        "How much &lt;b&gt;",
        "name=\"profile-option-small--memory\"",
        ">Start</button>",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("value=\"staff\""), "not for him");
    let xsrf = page.field("_xsrf");
    let fields = [
        ("_xsrf", xsrf.as_str()),
        ("profile", "small"),
        ("profile-option-small--python", "3.12"),
        ("profile-option-small--memory", "4"),
        ("profile-option-small--note", "abc"),
    ];
    let done = bob
        .send("POST", "/hub/spawn/bob?next=/user/bob/lab", &MULTIPART, &multipart(&fields))
        .await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab"), "{}", done.text);
    let all = json!({"profile": "small", "python": "3.12", "memory": 4, "note": "abc"});
    assert_eq!(chosen(&hub, ""), all);
    bob.script("DELETE", START, "").await;
    // What was chosen last is chosen again.
    let page = bob.get("/hub/spawn").await;
    for part in ["value=\"3.12\" selected", "value=\"4\"", "value=\"abc\""] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    // Without the token nothing is taken, whatever the form's kind.
    let forged = bob.send("POST", "/hub/spawn/bob", &MULTIPART, &multipart(&fields[1..])).await;
    assert_eq!(forged.status, 403);
    assert_eq!(bob.post("/hub/spawn/bob", "profile=plain").await.status, 403);
}

#[tokio::test]
async fn errors_stand_at_their_fields_and_what_was_typed_stays() {
    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    let xsrf = bob.get("/hub/spawn").await.field("_xsrf");
    let form = format!(
        "_xsrf={xsrf}&profile=small&profile-option-small--memory=99&profile-option-small--note=A%3Cb%3E"
    );
    let page = bob.post("/hub/spawn/bob", &form).await;
    assert_eq!((page.status, chosen(&hub, "")), (400, Value::Null));
    for part in [
        "Not everything is right yet.",
        "At most 8 is possible.",
        "Small letters only",
        "aria-invalid=\"true\"",
        "value=\"99\"",
        "value=\"A&lt;b&gt;\"",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    // A profile without options, and one that is not his.
    let page = bob.post("/hub/spawn/bob", &format!("_xsrf={xsrf}&profile=staff")).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("This is not for you to choose."), "{}", page.text);
    let done = bob.post("/hub/spawn/bob", &format!("_xsrf={xsrf}&profile=plain")).await;
    assert_eq!((done.status, chosen(&hub, "")), (302, json!({"profile": "plain"})));
}

#[tokio::test]
async fn options_in_the_address_start_at_once() {
    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    let wrong = bob.get("/hub/spawn?opt-profile=small&opt-memory=0").await;
    assert_eq!((wrong.status, chosen(&hub, "")), (400, Value::Null));
    assert!(
        wrong.text.contains("At least 1 is needed.") && wrong.text.contains("value=\"0\""),
        "{}",
        wrong.text
    );
    let other = bob.get("/hub/spawn?utm_source=mail").await;
    assert_eq!(other.status, 200, "no option: the form asks");
    let unknown = bob.get("/hub/spawn?opt-color=red").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text.contains("color: There is no such option."), "{}", unknown.text);
    let done = bob.get("/hub/spawn?opt-profile=small&opt-memory=3&next=/user/bob/lab%23cell").await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab#cell"));
    assert_eq!(chosen(&hub, "")["memory"], 3);
}

#[tokio::test]
async fn a_refused_or_failed_start_shows_the_form_again_with_its_status() {
    use std::time::Duration;

    use jovis_actors::spawners::StartRefused;

    use crate::web::testing::Fate;

    let hub = choosing();
    let mut bob = hub.browser("bob").await;
    let xsrf = bob.get("/hub/spawn").await.field("_xsrf");
    let form = format!("_xsrf={xsrf}&profile=small&profile-option-small--note=kept");
    let retry_after = Duration::from_secs(42);
    *hub.doubles.refuse_start.lock().unwrap() =
        Some(StartRefused::QueueFull { limit: 9, retry_after });
    let page = bob.post("/hub/spawn/bob", &form).await;
    assert_eq!((page.status, page.header("retry-after")), (429, "42"));
    assert!(
        page.text.contains("Try again in 42 seconds.") && page.text.contains("value=\"kept\""),
        "{}",
        page.text
    );
    *hub.doubles.refuse_start.lock().unwrap() = None;
    *hub.doubles.fate.lock().unwrap() = Fate::Fails;
    let page = bob.post("/hub/spawn/bob", &form).await;
    assert_eq!(page.status, 500);
    for part in ["exited with status 3", "&lt;b&gt;last&lt;", "value=\"kept\"", "id=\"spawn_form\""]
    {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    // Relaunching asks again.
    let failed = bob.get("/hub/spawn-pending/bob").await;
    assert!(
        failed.text.contains("Relaunch Server") && failed.text.contains("href=\"/hub/spawn/bob\"")
    );
    assert!(bob.get("/hub/spawn/bob").await.text.contains("id=\"spawn_form\""));
}

#[tokio::test]
async fn whoever_has_no_profile_is_told_so() {
    let hub = Hub::new();
    offer(&hub, "(spawner: (profiles: [(slug: \"staff\", groups: [\"staff\"])]))");
    let mut bob = hub.browser("bob").await;
    let page = bob.get("/hub/spawn").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("There is no profile that you may use."), "{}", page.text);
    assert_eq!(ask(&mut bob, "POST", START, &Value::Null).await.0, 400);
    // One profile without options is nothing to ask about.
    offer(&hub, "(spawner: (profiles: [(slug: \"only\")]))");
    assert_eq!(bob.get("/hub/spawn").await.location(), "/user/bob/");
    assert_eq!(chosen(&hub, ""), json!({"profile": "only"}));
}

#[tokio::test]
async fn an_administrator_chooses_for_somebody_else() {
    let hub = choosing();
    let mut root = hub.browser("root").await;
    let page = root.get("/hub/spawn/bob").await;
    assert!(page.text.contains("Spawning server for <strong>bob</strong>"), "{}", page.text);
    assert!(!page.text.contains("value=\"staff\""), "bob's groups count");
}

#[tokio::test]
async fn uploads_are_kept_with_the_options() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let xsrf = bob.cookies["_xsrf"].trim_matches('"').to_owned();
    let file = |name: &str, body: &str| {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"code\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\n{body}\r\n"
        )
    };
    let fields = multipart(&[("_xsrf", &xsrf), ("size", "2")]);
    let whole = format!("{}{fields}", file("a.txt", "hello"));
    let done = bob.send("POST", "/hub/spawn", &MULTIPART, &whole).await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/"), "{}", done.text);
    let kept = json!({
        "size": ["2"],
        "code_file": [{"filename": "a.txt", "content_type": "text/plain", "body": "hello"}],
    });
    assert_eq!(chosen(&hub, ""), kept);
    bob.script("DELETE", START, "").await;
    for (body, wanted) in [
        (format!("{}{fields}", file("a.txt", &"x".repeat(100_000))), 400),
        (format!("{}{fields}", file("a.txt", &"x".repeat(300_000))), 413),
        ("--x\r\nnonsense".to_owned(), 400),
    ] {
        let refused = bob.send("POST", "/hub/spawn", &MULTIPART, &body).await;
        assert_eq!(refused.status, wanted, "{}", refused.text);
    }
}
