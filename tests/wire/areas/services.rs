//! Services: those of the configuration, and those made at run time.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("services");
    reading(&mut it);
    making(&mut it);
    ending(&mut it);
    it
}

fn reading(it: &mut Area) {
    for who in [
        "nobody",
        "boss[read:metrics]",
        "bob",
        "service:plain",
        "boss[list:services]",
        "boss[list:services!service=plain]",
        "boss[list:services!user=bob]",
        "boss[list:services read:services]",
        "boss",
        "service:reader",
        "service:boss-service",
    ] {
        it.ask(who, "GET /services");
        it.ask(who, "GET /services/plain");
        it.ask(who, "GET /services/nowhere");
    }
    for name in ["plain", "web", "quiet", "reader", "maker", "boss-service"] {
        for scope in [
            "read:services",
            "read:services:name",
            "read:roles:services",
            "read:services!service=web",
            "admin:services",
        ] {
            it.ask(&format!("boss[{scope}]"), &format!("GET /services/{name}"));
        }
        it.ask(&format!("service:{name}"), "GET /user");
        it.ask(&format!("service:{name}"), &format!("GET /services/{name}"));
    }
    it.ask("nobody", "GET /authorizations/token/plain-token-of-the-wire-tests");
    it.ask("boss", "GET /authorizations/token/plain-token-of-the-wire-tests");
}

fn making(it: &mut Area) {
    it.matrix("POST /services/by-{who}", "admin:services").json(json!({ "info": { "a": 1 } }));
    it.ask("boss", "GET /services/by-admin");
    it.ask("boss", "GET /services");
    it.ask("boss", "POST /services/by-admin").json(json!({ "info": {} }));
    it.ask("boss", "POST /services/plain").json(json!({ "info": {} }));
    for body in [
        json!({}),
        json!([]),
        json!("a"),
        json!(null),
        json!({ "nonsense": 1 }),
        json!({ "name": 1 }),
        json!({ "admin": "yes" }),
        json!({ "url": 1 }),
        json!({ "url": "ftp://127.0.0.1/" }),
        json!({ "url": "nonsense" }),
        json!({ "oauth_client_allowed_scopes": "read:users" }),
        json!({ "api_token": 1 }),
        json!({ "info": [] }),
        json!({ "display": 1 }),
        json!({ "oauth_no_confirm": "no" }),
        json!({ "command": ["true"] }),
        json!({ "command": "true" }),
        json!({ "cwd": 1 }),
        json!({ "environment": [] }),
        json!({ "user": 1 }),
        json!({ "oauth_client_id": "other" }),
        json!({ "oauth_redirect_uri": 1 }),
        json!({ "kind": "x" }),
        json!({ "roles": [] }),
    ] {
        it.ask("boss", "POST /services/body").json(body);
        it.ask("boss", "DELETE /services/body");
    }
    it.ask("boss", "POST /services/body").bytes(b"{");
    it.ask("boss", "POST /services/body");
    it.ask("boss", "POST /services/rich").json(json!({
        "name": "other", "api_token": "a-token-of-the-rich", "info": { "b": [1] }, "display": false, "command": [],
        "oauth_client_id": "service-rich", "oauth_redirect_uri": "http://127.0.0.1:9/back",
        "oauth_client_allowed_scopes": ["read:users!user"], "oauth_no_confirm": true
    }));
    it.ask("boss", "GET /services/rich");
    it.ask("nobody", "GET /user").header("Authorization", "token a-token-of-the-rich");
    it.ask("boss", "POST /services/admin-one").json(json!({ "admin": true }));
    it.ask("boss", "GET /services/admin-one");
    it.ask("boss[admin:services]", "POST /services/admin-two").json(json!({ "admin": true }));
    it.ask("boss[admin:services]", "POST /services/scoped").json(json!({
        "oauth_redirect_uri": "http://127.0.0.1:9/back", "oauth_client_allowed_scopes": ["admin:users"]
    }));
    it.ask("boss", "POST /services/unknown-scope").json(json!({
        "oauth_redirect_uri": "http://127.0.0.1:9/back", "oauth_client_allowed_scopes": ["nonsense"]
    }));
    it.ask("boss", "POST /services/short-token").json(json!({ "api_token": "short" }));
    it.ask("boss", "GET /services/short-token");
    it.ask("boss", "POST /services/no-redirect")
        .json(json!({ "oauth_client_allowed_scopes": ["read:users!user"] }));
    it.ask("boss", "POST /services/same-token").json(json!({ "api_token": "a-token-of-the-rich" }));
    for name in ["a%2Fb", "..", "%20a", "a%2520b", "a.b", "A", "%C3%BC"] {
        it.ask("boss", &format!("POST /services/{name}")).json(json!({ "info": {} }));
    }
    it.ask("boss", "GET /services");
}

fn ending(it: &mut Area) {
    for who in [
        "nobody",
        "bob",
        "boss[read:services]",
        "boss[admin:services!service=plain]",
        "boss[admin:services]",
        "boss",
    ] {
        it.ask(who, "DELETE /services/by-admin");
    }
    it.ask("boss", "DELETE /services/plain");
    it.ask("boss", "DELETE /services/nowhere");
    it.ask("boss", "DELETE /services/rich");
    it.ask("nobody", "GET /user").header("Authorization", "token a-token-of-the-rich");
    it.ask("boss", "GET /services");
}
