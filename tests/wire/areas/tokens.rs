//! Tokens: asked for, listed, ended.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("tokens").between("tess", "bob");
    making(&mut it);
    reading(&mut it);
    by_password(&mut it);
    it
}

fn making(it: &mut Area) {
    let line = "POST /users/tess/tokens";
    it.matrix(line, "tokens");
    it.matrix("POST /users/nobody-at-all/tokens", "tokens");
    it.ask("service:maker", line);
    it.ask("service:plain", line);
    it.ask("boss", line).json(json!({ "note": "by the boss", "expires_in": 3600 }));
    for body in [
        json!({}),
        json!([]),
        json!(false),
        json!(0),
        json!(""),
        json!(null),
        json!([1]),
        json!("a"),
        json!(1),
        json!({ "note": "a note" }),
        json!({ "note": "" }),
        json!({ "note": 1 }),
        json!({ "note": null }),
        json!({ "note": "ü€\n" }),
        json!({ "nonsense": 1 }),
        json!({ "expires_in": 60 }),
        json!({ "expires_in": null }),
        json!({ "expires_in": 0 }),
        json!({ "expires_in": -1 }),
        json!({ "expires_in": 1.5 }),
        json!({ "expires_in": 60.0 }),
        json!({ "expires_in": "60" }),
        json!({ "expires_in": true }),
        json!({ "expires_in": false }),
        json!({ "expires_in": [] }),
        json!({ "expires_in": 1_000_000_000 }),
        json!({ "expires_in": 1_000_000_000_000_000_u64 }),
        json!({ "scopes": [] }),
        json!({ "scopes": null }),
        json!({ "scopes": "read:users!user" }),
        json!({ "scopes": [1] }),
        json!({ "scopes": {} }),
        json!({ "scopes": ["nonsense"] }),
        json!({ "scopes": [""] }),
        json!({ "scopes": ["all"] }),
        json!({ "scopes": ["inherit"] }),
        json!({ "scopes": ["self"] }),
        json!({ "scopes": ["read:users!user"] }),
        json!({ "scopes": ["read:users!user=tess"] }),
        json!({ "scopes": ["read:users!user=bob"] }),
        json!({ "scopes": ["read:users"] }),
        json!({ "scopes": ["admin:users"] }),
        json!({ "scopes": ["read:users!group=nowhere"] }),
        json!({ "scopes": ["read:users!nonsense=1"] }),
        json!({ "scopes": ["read:users!"] }),
        json!({ "scopes": ["read:users!user="] }),
        json!({ "scopes": ["read:users!group"] }),
        json!({ "scopes": ["servers!server=tess/"] }),
        json!({ "scopes": ["servers!server=tess/lab"] }),
        json!({ "scopes": ["servers!server=bob/"] }),
        json!({ "scopes": ["access:servers!server"] }),
        json!({ "scopes": ["access:services!service=plain"] }),
        json!({ "scopes": ["read:users!user", "read:users!user"] }),
        json!({ "scopes": ["tokens!user", "servers!user"] }),
        json!({ "scopes": ["custom:nothing"] }),
        json!({ "scopes": ["read:users !user"] }),
        json!({ "roles": [] }),
        json!({ "roles": ["user"] }),
        json!({ "roles": ["token"] }),
        json!({ "roles": ["server"] }),
        json!({ "roles": ["admin"] }),
        json!({ "roles": ["nonsense"] }),
        json!({ "roles": "user" }),
        json!({ "roles": [1] }),
        json!({ "roles": null }),
        json!({ "roles": ["user"], "scopes": ["self"] }),
        json!({ "roles": [], "scopes": [] }),
        json!({ "auth": { "username": "tess" } }),
    ] {
        it.ask("tess", line).json(body);
    }
    it.ask("tess", line).bytes(b"{");
    it.ask("bob", line).bytes(b"{");
    it.ask("nobody", line).bytes(b"{");
    it.ask("tess", line).bytes(b"\xff");
    it.ask("boss[admin:users]", line);
    it.ask("tess[tokens!user]", line).json(json!({ "note": "more than it may itself" }));
    it.ask("tess[read:users!user]", line);
}

fn reading(it: &mut Area) {
    it.ask("tom", "POST /users/tom/tokens").json(json!({ "note": "one" })).keep("one", "/id");
    it.ask("tom", "POST /users/tom/tokens").json(json!({ "note": "two" })).keep("two", "/id");
    it.ask("bob", "POST /users/bob/tokens").json(json!({ "note": "his" })).keep("his", "/id");
    for who in [
        "nobody",
        "boss[read:metrics]",
        "bob",
        "boss[read:tokens]",
        "boss[read:tokens!user=tom]",
        "boss[tokens]",
        "tom",
        "cookie:tom",
        "boss",
    ] {
        it.ask(who, "GET /users/tom/tokens");
        it.ask(who, "GET /users/tom/tokens/{one}");
    }
    it.ask("boss", "GET /users/nobody-at-all/tokens");
    it.ask("tom", "GET /users/nobody-at-all/tokens");
    for id in [
        "a0",
        "a999999",
        "a99999999999999999999",
        "a",
        "1",
        "b1",
        "a-1",
        "a1x",
        "A1",
        "a%31",
        "{his}",
    ] {
        it.ask("tom", &format!("GET /users/tom/tokens/{id}"));
        it.ask("tom", &format!("DELETE /users/tom/tokens/{id}"));
    }
    for who in ["nobody", "boss[read:tokens]", "bob", "tom[read:tokens!user]"] {
        it.ask(who, "DELETE /users/tom/tokens/{one}");
    }
    it.ask("tom", "DELETE /users/tom/tokens/{one}");
    it.ask("tom", "DELETE /users/tom/tokens/{one}");
    it.ask("boss[tokens!user=tom]", "DELETE /users/tom/tokens/{two}");
    it.ask("tom", "GET /users/tom/tokens");
    it.ask("tom", "POST /users/tom/tokens")
        .json(json!({ "note": "short" }))
        .keep("short", "/token");
    it.ask("nobody", "GET /user").header("Authorization", "token {short}");
    it.ask("tom", "POST /users/tom/tokens")
        .json(json!({ "note": "own" }))
        .keep("own", "/id")
        .keep("self", "/token");
    it.ask("nobody", "DELETE /users/tom/tokens/{own}").header("Authorization", "token {self}");
    it.ask("nobody", "GET /user").header("Authorization", "token {self}");
    for old in [
        "/authorizations/token/{short}",
        "/authorizations/token/nonsense",
        "/authorizations/token",
        "/authorizations/cookie/jupyterhub-hub-login/nonsense",
        "/authorizations/cookie/jupyterhub-hub-login",
    ] {
        for who in ["nobody", "cookie:tom", "tom", "boss", "service:plain"] {
            it.ask(who, &format!("GET {old}"));
        }
    }
    it.ask("boss", "POST /authorizations/token").json(json!({}));
    it.ask("boss", "POST /authorizations/token/x").json(json!({}));
    it.ask("boss", "POST /users/tom/admin-access");
    it.ask("tom", "POST /users/tom/admin-access");
}

fn by_password(it: &mut Area) {
    let line = "POST /users/tom/tokens";
    let auth =
        |name: &str, password: &str| json!({ "auth": { "username": name, "password": password } });
    let right = crate::world::PASSWORD;
    it.ask("nobody", line).json(auth("tom", right));
    it.ask("nobody", line).json(auth("TOM", right));
    it.ask("nobody", line).json(auth("boss", right));
    it.ask("nobody", "POST /users/bob/tokens").json(auth("tom", right));
    it.ask("nobody", "POST /users/never-seen/tokens").json(auth("never-seen", right));
    it.ask("nobody", line).json(auth("tom", "wrong"));
    it.ask("nobody", line).json(json!({ "auth": {} }));
    it.ask("nobody", line).json(json!({ "auth": null }));
    it.ask("nobody", line).json(json!({ "auth": "tom" }));
    it.ask("nobody", line).json(json!({ "auth": { "username": 1, "password": right } }));
    it.ask("bob", line).json(auth("tom", right));
}
