//! Services by the REST API: who sees which, how they come and go.

use std::sync::Arc;

use jovis_actors::{
    domain::{ClientId, Owner, Service, ServiceName},
    store::Write,
};
use serde_json::{Map, json};

use super::super::testing::{Hub, Reply};

fn record(name: &str, configured: bool) -> Service {
    Service {
        name: ServiceName::new(name).unwrap(),
        admin: false,
        url: Some("http://127.0.0.1:9".into()),
        display: true,
        info: Map::new(),
        oauth_no_confirm: false,
        oauth_client_allowed_scopes: Vec::new(),
        command: Vec::new(),
        configured,
    }
}

async fn ask(hub: &Hub, who: &str, method: &str, path: &str, body: &str) -> Reply {
    let mut browser = hub.browser(who).await;
    browser.script(method, &format!("/hub/api/services{path}"), body).await
}

#[tokio::test]
async fn services_are_an_object_by_name() {
    let hub = Hub::new();
    for name in ["one", "two"] {
        hub.doubles.write(Write::Service(Arc::new(record(name, true))));
    }
    let all = ask(&hub, "root", "GET", "", "").await;
    assert_eq!(all.status, 200);
    let all = all.json();
    assert_eq!(all.as_object().unwrap().len(), 2);
    let one = ask(&hub, "root", "GET", "/one", "").await.json();
    assert_eq!(all["one"], one);
    let whole = json!({
        "kind": "service", "name": "one", "admin": false, "roles": [], "url": "http://127.0.0.1:9",
        "prefix": "/services/one/", "command": [], "pid": 0, "info": {}, "display": true,
    });
    assert_eq!(one, whole);
    assert_eq!(ask(&hub, "bob", "GET", "", "").await.status, 403);
    assert_eq!(ask(&hub, "bob", "GET", "/one", "").await.status, 403);
    assert_eq!(ask(&hub, "root", "GET", "/none", "").await.status, 404);
}

#[tokio::test]
async fn a_service_is_made_and_removed_by_request() {
    let hub = Hub::new();
    let body = json!({
        "name": "other", "url": "http://127.0.0.1:7000", "api_token": "0123456789abcdef",
        "info": {"a": 1}, "display": false, "oauth_no_confirm": true,
        "oauth_client_allowed_scopes": ["read:users"],
    });
    let made = ask(&hub, "root", "POST", "/tool", &body.to_string()).await;
    assert_eq!((made.status, made.json()["name"].as_str()), (201, Some("tool")));
    assert_eq!(made.json()["info"], json!({"a": 1}));
    let name = ServiceName::new("tool").unwrap();
    let image = hub.doubles.image.load_full();
    let client = image.client(&ClientId::of_service(&name)).expect("it is an OAuth client");
    assert_eq!(client.redirect_uri, "/services/tool/oauth_callback");
    let own: Vec<_> = image.tokens_of(&Owner::Service(name.clone())).collect();
    assert_eq!((own.len(), own[0].hash), (1, client.secret));
    assert_eq!(ask(&hub, "root", "POST", "/tool", &body.to_string()).await.status, 409);
    let gone = ask(&hub, "root", "DELETE", "/tool", "").await;
    assert_eq!((gone.status, &*gone.text), (200, ""));
    let image = hub.doubles.image.load_full();
    assert!(
        image.service("tool").is_none() && image.client(&ClientId::of_service(&name)).is_none()
    );
    assert_eq!(image.tokens_of(&Owner::Service(name)).count(), 0);
    assert_eq!(ask(&hub, "root", "DELETE", "/tool", "").await.status, 404);
    assert_eq!(ask(&hub, "bob", "POST", "/tool", &body.to_string()).await.status, 403);
    hub.doubles.write(Write::Service(Arc::new(record("fixed", true))));
    assert_eq!(ask(&hub, "root", "DELETE", "/fixed", "").await.status, 405);
    assert_eq!(ask(&hub, "root", "POST", "/fixed", &body.to_string()).await.status, 409);
}

#[tokio::test]
async fn odd_services_are_bad_requests() {
    let hub = Hub::new();
    for body in [
        json!(null),
        json!({}),
        json!([]),
        json!("x"),
        json!({"url": 1}),
        json!({"url": "ftp://x"}),
        json!({"url": "nonsense"}),
        json!({"admin": "yes"}),
        json!({"info": []}),
        json!({"colour": "red"}),
        json!({"command": ["sh"]}),
        json!({"command": "sh"}),
        json!({"api_token": "short"}),
        json!({"api_token": "x".repeat(65)}),
        json!({"oauth_client_id": "mine", "url": "http://a:1"}),
        json!({"oauth_client_id": "service-x"}),
        json!({"oauth_client_allowed_scopes": ["no:such"], "url": "http://a:1"}),
        json!({"oauth_client_allowed_scopes": [1], "url": "http://a:1"}),
        json!({"oauth_redirect_uri": "javascript:x"}),
    ] {
        let made = ask(&hub, "root", "POST", "/odd", &body.to_string()).await;
        assert_eq!(made.status, 400, "{body}: {}", made.text);
        assert!(hub.doubles.image.load().service("odd").is_none(), "{body}");
    }
    for name in ["a%2Fb", "..", "%20a"] {
        let made = ask(&hub, "root", "POST", &format!("/{name}"), "{\"info\": {}}").await;
        assert!((400..500).contains(&made.status), "{name}: {}", made.status);
    }
    assert_eq!(ask(&hub, "root", "POST", "/plain", "{\"info\": {}}").await.status, 201);
}
