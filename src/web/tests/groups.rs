//! Groups over the API.

use std::sync::Arc;

use jovis_actors::{
    domain::{Moment, Share, ShareKey, SharedWith},
    store::Write,
};
use serde_json::{Value, json};

use super::people::{ask, group, token};
use crate::{config::slice::HubSlice, web::testing::Hub};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_of_groups_shows_those_whom_its_scope_names() {
    let hub = Hub::new();
    for name in ["zoo", "staff", "all"] {
        group(&hub, name, &[]);
    }
    let pages = ("accept", "application/jupyterhub-pagination+json");
    for (scopes, wanted) in [
        (&["list:groups"][..], &["zoo", "staff", "all"][..]),
        (&["list:groups!group=all", "list:groups!group=zoo"], &["zoo", "all"]),
        (&["list:groups!group=nothing"], &[]),
    ] {
        let who = token(&hub, "root", scopes);
        let with = [("authorization", who.as_str()), pages];
        let reply = hub.plain("GET", "/hub/api/groups", &with, "").await.json();
        assert_eq!(names(&reply["items"]), wanted, "{scopes:?}");
        assert_eq!(
            reply["_pagination"]["total"],
            wanted.len(),
            "what one may not see is not counted"
        );
    }
    let root = token(&hub, "root", &["inherit"]);
    let bare = ask(&hub, &root, "GET", "/groups?limit=1&offset=1", "").await.json();
    assert_eq!(names(&bare), ["staff"]);
    let other = token(&hub, "root", &["list:groups!user=bob"]);
    let reply = ask(&hub, &other, "GET", "/groups", "").await;
    assert_eq!((reply.status, &reply.json()["message"]), (403, &Value::Null));
    let bob = token(&hub, "bob", &["inherit"]);
    assert_eq!(ask(&hub, &bob, "GET", "/groups", "").await.status, 403);
}

#[tokio::test]
async fn fields_of_groups_are_for_those_who_may_see_them() {
    let hub = Hub::new();
    group(&hub, "staff", &["bob", "eve"]);
    for (scope, wanted) in [
        ("read:groups:name", json!({"kind": "group", "name": "staff"})),
        ("read:roles:groups", json!({"kind": "group", "name": "staff", "roles": []})),
        (
            "read:groups!group=staff",
            json!({"kind": "group", "name": "staff", "users": ["bob", "eve"], "properties": {}}),
        ),
    ] {
        let who = token(&hub, "root", &[scope]);
        let reply = ask(&hub, &who, "GET", "/groups/staff", "").await;
        assert_eq!(reply.json(), wanted, "{scope}");
    }
    let who = token(&hub, "root", &["read:groups!group=other"]);
    for path in ["/groups/staff", "/groups/nothing"] {
        assert_eq!(ask(&hub, &who, "GET", path, "").await.status, 404, "{path}");
    }
    let root = token(&hub, "root", &["inherit"]);
    assert_eq!(ask(&hub, &root, "GET", "/groups/nothing", "").await.status, 404);
}

#[tokio::test]
async fn groups_are_made_one_by_one_and_together() {
    let hub = Hub::new();
    let root = token(&hub, "root", &["inherit"]);
    let body = json!({"groups": ["a", "b/c "], "users": ["BOB"], "roles": []}).to_string();
    let made = ask(&hub, &root, "POST", "/groups", &body).await;
    assert_eq!((made.status, names(&made.json())), (201, vec!["a", "b/c "]), "{}", made.text);
    assert_eq!(made.json()[1]["users"], json!(["bob"]));
    assert_eq!(ask(&hub, &root, "GET", "/groups/b%2Fc%20", "").await.status, 200);
    let made = ask(&hub, &root, "POST", "/groups/d", "{\"users\": [\"eve\"]}").await;
    assert_eq!((made.status, &made.json()["users"]), (201, &json!(["eve"])), "{}", made.text);
    for (path, body, status) in [
        ("/groups", json!({"groups": ["new", "a"]}), 409),
        ("/groups", json!({"groups": ["new"], "users": ["nobody"]}), 400),
        ("/groups", json!({"groups": []}), 400),
        ("/groups", json!({}), 400),
        ("/groups", json!(null), 400),
        ("/groups", json!({"groups": "new"}), 400),
        ("/groups", json!({"groups": [1]}), 400),
        ("/groups", json!({"groups": ["new"], "color": 1}), 400),
        ("/groups", json!({"groups": ["new", ""]}), 400),
        ("/groups", json!({"groups": ["new", ".."]}), 400),
        ("/groups", json!({"groups": ["new", "a\u{7}"]}), 400),
        ("/groups", json!({"groups": ["new", "x".repeat(300)]}), 400),
        ("/groups/a", json!({}), 409),
        ("/groups/new", json!({"users": ["nobody"]}), 400),
        ("/groups/new", json!({"users": "bob"}), 400),
        ("/groups/new", json!({"properties": {}}), 400),
        ("/groups/a%07", json!({}), 400),
    ] {
        let reply = ask(&hub, &root, "POST", path, &body.to_string()).await;
        assert_eq!(reply.status, status, "{path} {body} {}", reply.text);
        assert!(hub.app.doors.image().group_named("new").is_none(), "{path} {body}");
    }
    assert_eq!(ask(&hub, &root, "POST", "/groups/new", "").await.status, 201);
}

#[tokio::test]
async fn members_are_added_and_taken_out_together() {
    let hub = Hub::new();
    group(&hub, "staff", &[]);
    let who = token(&hub, "root", &["groups!group=staff"]);
    let path = "/groups/staff/users";
    for (method, users, wanted) in [
        ("POST", json!(["bob"]), json!(["bob"])),
        ("POST", json!(["Eve", "bob"]), json!(["bob", "eve"])),
        ("DELETE", json!(["bob", "root"]), json!(["eve"])),
        ("DELETE", json!([]), json!(["eve"])),
    ] {
        let body = json!({ "users": users }).to_string();
        let reply = ask(&hub, &who, method, path, &body).await;
        assert_eq!((reply.status, &reply.json()["users"]), (200, &wanted), "{}", reply.text);
    }
    for method in ["POST", "DELETE"] {
        for body in ["", "{}", "{\"users\": 1}", "{\"users\": [\"eve\", \"nobody\"]}", "[]"] {
            let reply = ask(&hub, &who, method, path, body).await;
            assert_eq!(reply.status, 400, "{method} {body} {}", reply.text);
        }
    }
    let left = ask(&hub, &who, "GET", "/groups/staff", "").await.json();
    assert_eq!(left["users"], json!(["eve"]), "what was refused was refused whole");
    assert_eq!(ask(&hub, &who, "POST", "/groups/other/users", "{}").await.status, 404);
    let eve = token(&hub, "eve", &["inherit"]);
    assert_eq!(ask(&hub, &eve, "POST", path, "{}").await.status, 403);
}

#[tokio::test]
async fn groups_that_providers_tell_of_can_be_changed_by_request_too() {
    let hub = Hub::new();
    let mut settings = HubSlice::clone(&hub.app.settings.load());
    settings.auth.manage_groups = true;
    hub.app.settings.store(Arc::new(settings));
    let root = token(&hub, "root", &["inherit"]);
    for (method, path, body, status) in [
        ("POST", "/groups/staff", json!({"users": ["bob"]}), 201),
        ("POST", "/groups/staff/users", json!({"users": ["eve"]}), 200),
        ("DELETE", "/groups/staff/users", json!({"users": ["bob"]}), 200),
        ("PUT", "/groups/staff/properties", json!({"a": 1}), 200),
    ] {
        let reply = ask(&hub, &root, method, path, &body.to_string()).await;
        assert_eq!(reply.status, status, "{method} {path} {}", reply.text);
    }
    let staff = ask(&hub, &root, "GET", "/groups/staff", "").await.json();
    assert_eq!((&staff["users"], &staff["properties"]), (&json!(["eve"]), &json!({"a": 1})));
    assert_eq!(ask(&hub, &root, "DELETE", "/groups/staff", "").await.status, 204);
}

#[tokio::test]
async fn properties_of_a_group_are_replaced_whole() {
    let hub = Hub::new();
    group(&hub, "staff", &[]);
    let root = token(&hub, "root", &["inherit"]);
    let path = "/groups/staff/properties";
    for properties in [json!({"a": {"b": [1, null]}}), json!({"c": "d"}), json!({})] {
        let reply = ask(&hub, &root, "PUT", path, &properties.to_string()).await;
        assert_eq!((reply.status, &reply.json()["properties"]), (200, &properties));
    }
    for bad in ["", "null", "[]", "1", "\"a\""] {
        assert_eq!(ask(&hub, &root, "PUT", path, bad).await.status, 400, "{bad}");
    }
    let large = json!({"a": "x".repeat(250 * 1024)}).to_string();
    assert_eq!(ask(&hub, &root, "PUT", path, &large).await.status, 413);
    assert_eq!(ask(&hub, &root, "PUT", "/groups/other/properties", "{}").await.status, 404);
    assert_eq!(ask(&hub, &root, "POST", path, "{}").await.status, 405);
}

#[tokio::test]
async fn a_group_is_deleted_with_what_was_shared_with_it() {
    let hub = Hub::new();
    let id = group(&hub, "staff", &["bob", "eve"]);
    let key = ShareKey { server: hub.key("bob"), with: SharedWith::Group(id) };
    let share = Share { key, scopes: vec!["access:servers".into()], created: Moment(0) };
    hub.doubles.write(Write::Share(Arc::new(share)));
    let root = token(&hub, "root", &["inherit"]);
    let gone = ask(&hub, &root, "DELETE", "/groups/staff", "").await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(ask(&hub, &root, "DELETE", "/groups/staff", "").await.status, 404);
    let bob = ask(&hub, &root, "GET", "/users/bob", "").await.json();
    assert_eq!(bob["groups"], json!([]));
    let image = hub.app.doors.image();
    assert_eq!(image.shares_of(&hub.key("bob")).count(), 0);
}
