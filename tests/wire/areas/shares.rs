//! Servers shared with users and groups, and codes to share by.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("shares").between("shay", "bob");
    it.ask("boss", "POST /users/shay-friend");
    it.ask("shay", "PUT /users/shay/servers/lab");
    giving(&mut it);
    seen_by_others(&mut it);
    codes(&mut it);
    ending(&mut it);
    it
}

fn giving(it: &mut Area) {
    let line = "POST /shares/shay/lab";
    it.matrix("GET /shares/shay", "read:shares");
    it.matrix("GET /shares/shay/lab", "read:shares");
    it.matrix("GET /shares/shay/", "read:shares");
    it.ask("boss", "GET /shares/nobody-at-all");
    it.ask("boss", "GET /shares/shay/nothing");
    it.matrix(line, "shares").json(json!({ "user": "shay-friend" }));
    it.ask("boss[shares read:users:name]", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss[shares read:users:name!user=bob]", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss[shares read:groups:name]", line).json(json!({ "group": "staff" }));
    it.ask("boss", "GET /shares/shay");
    it.ask("boss", "GET /shares/shay/lab");
    it.ask("boss", "GET /shares/shay/");
    it.ask("boss", line).json(json!({ "user": "shay-friend", "scopes": ["read:servers"] }));
    it.ask("boss", line)
        .json(json!({ "user": "shay-friend", "scopes": ["servers!server=shay/lab"] }));
    it.ask("boss", line).json(
        json!({ "user": "gil", "scopes": ["access:servers!server=shay/lab", "read:servers"] }),
    );
    it.ask("boss", "POST /shares/shay/").json(json!({ "user": "shay-friend" }));
    it.ask("boss", "POST /shares/shay/nothing").json(json!({ "user": "shay-friend" }));
    it.ask("boss", "POST /shares/nobody-at-all/").json(json!({ "user": "shay-friend" }));
    for body in [
        json!({}),
        json!(null),
        json!([]),
        json!("a"),
        json!({ "user": "nobody-at-all" }),
        json!({ "group": "nowhere" }),
        json!({ "user": "bob", "group": "staff" }),
        json!({ "user": 1 }),
        json!({ "user": null }),
        json!({ "user": "" }),
        json!({ "user": ["bob"] }),
        json!({ "user": "bob", "nonsense": 1 }),
        json!({ "user": "bob", "scopes": "read:servers" }),
        json!({ "user": "bob", "scopes": [1] }),
        json!({ "user": "bob", "scopes": ["read:servers!server=shay/"] }),
        json!({ "user": "bob", "scopes": ["read:servers!user=shay"] }),
        json!({ "user": "bob", "scopes": ["nonsense"] }),
        json!({ "user": "bob", "scopes": ["inherit"] }),
        json!({ "user": "shay" }),
    ] {
        it.ask("boss", line).json(body);
    }
    it.ask("boss", line).json(json!({ "user": "BOB", "scopes": [] }));
    it.ask("boss", line).json(json!({ "user": "bob", "scopes": null }));
    it.ask("boss", line).bytes(b"{");
    it.ask("boss[shares!server=shay/lab read:users:name]", line)
        .json(json!({ "user": "bob", "scopes": ["tokens"] }));
    it.ask("boss[shares!server=shay/lab read:users:name]", line)
        .json(json!({ "user": "bob", "scopes": ["start:servers"] }));
    it.ask("boss[shares!server=shay/ read:users:name]", line).json(json!({ "user": "bob" }));
    it.ask("boss", "GET /shares/shay?limit=1");
    it.ask("boss", "GET /shares/shay?limit=1&offset=1")
        .header("Accept", "application/jupyterhub-pagination+json");
}

fn seen_by_others(it: &mut Area) {
    for who in [
        "nobody",
        "bob",
        "shay",
        "shay-friend",
        "boss[read:users:shares]",
        "boss[read:users:shares!user=shay-friend]",
        "boss",
    ] {
        it.ask(who, "GET /users/shay-friend/shared");
        it.ask(who, "GET /users/shay-friend/shared/shay/lab");
    }
    it.ask("gil", "GET /users/gil/shared");
    it.ask("gus", "GET /users/gus/shared");
    it.ask("gus", "GET /users/gus/shared/shay/lab");
    it.ask("shay-friend", "GET /users/shay-friend/shared/shay/");
    it.ask("shay-friend", "GET /users/shay-friend/shared/shay/nothing");
    it.ask("shay-friend", "GET /users/shay-friend/shared/nobody-at-all/");
    it.ask("boss", "GET /users/nobody-at-all/shared");
    for who in [
        "nobody",
        "bob",
        "gil",
        "boss[read:groups:shares]",
        "boss[read:groups:shares!group=staff]",
        "boss",
    ] {
        it.ask(who, "GET /groups/staff/shared");
        it.ask(who, "GET /groups/staff/shared/shay/lab");
    }
    it.ask("boss", "GET /groups/nowhere/shared");
    it.ask("boss", "GET /groups/staff/shared/shay/");
    it.ask("shay-friend", "GET /user");
    it.ask("cookie:shay-friend", "GET /user");
    it.ask("cookie:gus", "GET /user");
    it.ask("gus", "GET /user");
    it.ask("shay-friend", "GET /users/shay/servers/lab");
    it.ask("shay-friend", "GET /users/shay");
    it.ask("shay-friend[read:servers]", "GET /users/shay/servers/lab");
    it.ask("shay", "GET /users/shay?include_stopped_servers");
    it.ask("bob", "DELETE /users/shay-friend/shared/shay/lab");
    it.ask("shay-friend", "DELETE /users/shay-friend/shared/shay/");
    it.ask("shay-friend", "DELETE /users/shay-friend/shared/shay/lab");
    it.ask("shay-friend", "DELETE /users/shay-friend/shared/shay/lab");
    it.ask("boss", "DELETE /groups/staff/shared/shay/lab");
    it.ask("boss", "DELETE /groups/staff/shared/shay/lab");
}

fn codes(it: &mut Area) {
    let line = "POST /share-codes/shay/lab";
    it.matrix("GET /share-codes/shay", "read:shares");
    it.matrix("GET /share-codes/shay/lab", "read:shares");
    it.matrix(line, "shares");
    it.ask("boss", "POST /share-codes/shay/nothing");
    it.ask("boss", "POST /share-codes/nobody-at-all/");
    for body in [
        json!({}),
        json!(null),
        json!({ "expires_in": 60 }),
        json!({ "expires_in": 59 }),
        json!({ "expires_in": 31_536_000 }),
        json!({ "expires_in": 31_536_001 }),
        json!({ "expires_in": "3600" }),
        json!({ "expires_in": null }),
        json!({ "expires_in": 60.5 }),
        json!({ "expires_in": true }),
        json!({ "scopes": ["read:servers"] }),
        json!({ "scopes": [] }),
        json!({ "scopes": ["read:servers!server=shay/"] }),
        json!({ "scopes": ["nonsense"] }),
        json!({ "scopes": "read:servers" }),
        json!({ "nonsense": 1 }),
        json!({ "user": "bob" }),
        json!([]),
        json!("a"),
    ] {
        it.ask("boss", line).json(body);
    }
    it.ask("boss", line).bytes(b"{");
    it.ask("boss", "GET /share-codes/shay/lab");
    it.ask("boss", line).keep("share", "/code").keep("number", "/id");
    it.ask("boss", line).keep("share2", "/code").keep("number2", "/id");
    it.page("nobody", "GET /hub/accept-share?code={share}");
    it.page("cookie:shay", "GET /hub/accept-share?code={share}");
    it.page("cookie:bob", "GET /hub/accept-share");
    it.page("cookie:bob", "GET /hub/accept-share?code=nonsense");
    it.page("cookie:bob", "GET /hub/accept-share?code={share}");
    it.page("cookie:bob", "POST /hub/accept-share").form("code={share}");
    it.page("cookie:bob", "POST /hub/accept-share").form("code=nonsense&_xsrf={xsrf:bob}");
    it.page("cookie:bob", "POST /hub/accept-share").form("code={share}&_xsrf={xsrf:bob}");
    it.page("cookie:bob", "POST /hub/accept-share?next=%2Fhub%2Fhome")
        .form("code={share}&_xsrf={xsrf:bob}");
    it.page("cookie:bob", "POST /hub/accept-share?next=%2F%2Fevil.example")
        .form("code={share}&_xsrf={xsrf:bob}");
    it.page("cookie:shay", "POST /hub/accept-share").form("code={share}&_xsrf={xsrf:shay}");
    it.ask("bob", "GET /users/bob/shared");
    it.ask("boss", "GET /share-codes/shay/lab");
    it.ask("bob", "DELETE /share-codes/shay/lab?code={share}");
    it.ask("boss", "DELETE /share-codes/shay/lab?code=nonsense");
    it.ask("boss", "DELETE /share-codes/shay/lab?id=sc_999999");
    it.ask("boss", "DELETE /share-codes/shay/lab?id=nonsense");
    it.ask("boss", "DELETE /share-codes/shay/lab?code={share}");
    it.page("cookie:bob", "GET /hub/accept-share?code={share}");
    it.ask("boss", "DELETE /share-codes/shay/lab?id={number2}");
    it.page("cookie:bob", "GET /hub/accept-share?code={share2}");
    it.ask("boss", "DELETE /share-codes/shay/lab");
    it.ask("boss", "GET /share-codes/shay/lab");
    it.ask("boss", "DELETE /share-codes/shay/lab");
    it.ask("boss", "DELETE /share-codes/shay");
}

fn ending(it: &mut Area) {
    let line = "PATCH /shares/shay/lab";
    it.ask("boss", "POST /shares/shay/lab")
        .json(json!({ "user": "shay-friend", "scopes": ["servers", "access:servers"] }));
    it.ask("bob", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss[read:shares]", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss", line).json(json!({ "user": "shay-friend", "scopes": ["servers"] }));
    it.ask("boss", line)
        .json(json!({ "user": "shay-friend", "scopes": ["servers!server=shay/lab"] }));
    it.ask("boss", line).json(json!({ "user": "shay-friend", "scopes": ["nonsense"] }));
    it.ask("boss", line).json(json!({ "user": "nobody-at-all" }));
    it.ask("boss", line).json(json!({ "group": "staff" }));
    it.ask("boss", line).json(json!({}));
    it.ask("boss", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss", line).json(json!({ "user": "shay-friend" }));
    it.ask("boss", "GET /shares/shay");
    it.ask("bob", "DELETE /shares/shay/lab");
    it.ask("boss", "DELETE /shares/shay/lab");
    it.ask("boss", "DELETE /shares/shay/lab");
    it.ask("boss", "DELETE /shares/shay/nothing");
    it.ask("boss", "DELETE /shares/shay");
    it.ask("boss", "PATCH /shares/shay");
    it.ask("boss", "GET /shares/shay");
    // what goes with the server
    it.ask("boss", "POST /shares/shay/lab").json(json!({ "user": "shay-friend" }));
    it.ask("boss", "POST /share-codes/shay/lab");
    it.ask("shay", "DELETE /users/shay/servers/lab").json(json!({ "remove": true }));
    it.ask("boss", "GET /shares/shay");
    it.ask("shay-friend", "GET /users/shay-friend/shared");
}
