//! Announcement and maintenance over the REST API.

use serde_json::{Value, json};

use crate::web::testing::Hub;

const ANNOUNCEMENT: &str = "/hub/api/announcement";
const MAINTENANCE: &str = "/hub/api/maintenance";

#[tokio::test]
async fn an_announcement_is_made_read_and_taken_back() {
    let hub = Hub::new();
    let (mut root, mut bob) = (hub.browser("root").await, hub.browser("bob").await);
    let none = json!({"text": "", "level": "info", "until": null, "by": null, "since": null});
    assert_eq!(bob.script("GET", ANNOUNCEMENT, "").await.json(), none);
    let body = json!({"text": " <b>Down</b> on Friday ", "level": "warning"}).to_string();
    assert_eq!(bob.script("PUT", ANNOUNCEMENT, &body).await.status, 403);
    let made = root.script("PUT", ANNOUNCEMENT, &body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let read = bob.script("GET", ANNOUNCEMENT, "").await.json();
    assert_eq!(read, made.json());
    assert_eq!((&read["text"], &read["by"]), (&json!("<b>Down</b> on Friday"), &json!("root")));
    for bad in [
        json!({}),
        json!({"text": ""}),
        json!({"text": 1}),
        json!({"text": "a\u{1b}b"}),
        json!({"text": "a".repeat(1_001)}),
        json!({"text": "a", "level": "loud"}),
        json!({"text": "a", "until": "tomorrow"}),
        json!({"text": "a", "until": "2001-01-01T00:00:00Z"}),
        json!({"text": "a", "html": "b"}),
    ] {
        assert_eq!(root.script("PUT", ANNOUNCEMENT, &bad.to_string()).await.status, 400, "{bad}");
    }
    let body = json!({"text": "a", "until": "2026-11-22T00:00:00Z"}).to_string();
    assert_eq!(root.script("PUT", ANNOUNCEMENT, &body).await.status, 200);
    hub.clock.0.store(1_795_400_000_000_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(bob.script("GET", ANNOUNCEMENT, "").await.json(), none, "its time is over");
    assert_eq!(bob.script("DELETE", ANNOUNCEMENT, "").await.status, 403);
    for _ in 0..2 {
        assert_eq!(root.script("DELETE", ANNOUNCEMENT, "").await.status, 204);
    }
    assert_eq!(hub.plain("GET", ANNOUNCEMENT, &[], "").await.status, 403);
}

#[tokio::test]
async fn during_maintenance_people_start_nothing_and_hear_why() {
    let hub = Hub::new();
    let (mut root, mut bob) = (hub.browser("root").await, hub.browser("bob").await);
    let body = json!({
        "message": "New disks", "until": "2026-11-22T00:00:00Z",
        "drain": {"servers": "idle", "idle_seconds": 60, "from": "2026-11-21T23:00:00Z"},
    });
    assert_eq!(bob.script("PUT", MAINTENANCE, &body.to_string()).await.status, 403);
    let begun = root.script("PUT", MAINTENANCE, &body.to_string()).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let read = bob.script("GET", MAINTENANCE, "").await.json();
    for (field, value) in [
        ("active", json!(true)),
        ("message", json!("New disks")),
        ("until", json!("2026-11-22T00:00:00Z")),
        ("drain", body["drain"].clone()),
        ("by", json!("root")),
    ] {
        assert_eq!(read[field], value, "{field}");
    }
    let start = "/hub/api/users/bob/server";
    let refused = bob.script("POST", start, "").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 30);
    let why = "no server is started during maintenance: New disks";
    assert_eq!(refused.json()["message"], why);
    let page = bob.get("/hub/spawn").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("New disks"), "{}", page.text);
    // Who may end it may try whether all works again, also for somebody else.
    assert_eq!(root.script("POST", start, "").await.status, 201);
    assert_eq!(root.script("DELETE", MAINTENANCE, "").await.status, 204);
    let over = bob.script("GET", MAINTENANCE, "").await.json();
    assert_eq!((&over["active"], &over["drain"]), (&json!(false), &Value::Null));
    assert_eq!(bob.script("DELETE", start, "").await.status, 204);
    assert_eq!(bob.script("POST", start, "").await.status, 201);
}
