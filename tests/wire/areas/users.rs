//! Users: making, showing, changing, ending them; who sees what of whom.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("users").between("uma", "bob");
    showing(&mut it);
    making(&mut it);
    changing(&mut it);
    ending(&mut it);
    listing(&mut it);
    it
}

fn showing(it: &mut Area) {
    it.matrix("GET /users/uma", "read:users");
    it.matrix("GET /users/uma?include_stopped_servers", "read:servers");
    for scope in [
        "read:users:name",
        "read:users:groups",
        "read:users:activity",
        "read:roles:users",
        "read:servers",
        "list:users",
        "admin:users",
        "admin:auth_state",
        "admin:servers",
        "read:roles",
        "users",
        "delete:users",
        "tokens",
    ] {
        it.ask(&format!("boss[{scope}]"), "GET /users/uma");
        it.ask(&format!("boss[{scope}!user=uma]"), "GET /users/uma");
        it.ask(&format!("boss[{scope}!user=bob]"), "GET /users/uma");
    }
    for query in ["", "=", "=1", "=0", "=true", "=false", "=FALSE", "=no"] {
        it.ask("uma", &format!("GET /users/uma?include_stopped_servers{query}"));
    }
    it.matrix("GET /users/nobody-at-all", "read:users");
    it.ask("uma", "GET /users/boss");
    it.ask("uma", "GET /users/UMA");
    it.ask("boss", "GET /users/UMA");
    it.ask("uma", "GET /user");
    it.ask("uma", "GET /user?include_stopped_servers");
    it.ask("cookie:uma", "GET /user");
}

fn making(it: &mut Area) {
    it.matrix("POST /users/made-by-{who}", "admin:users");
    it.ask("boss", "GET /users/made-by-admin");
    it.ask("boss", "POST /users/made-by-admin");
    it.ask("boss", "POST /users/uma");
    it.ask("boss", "POST /users/uma").json(json!({ "nonsense": 1 }));
    it.ask("boss", "POST /users/Upper-Case");
    it.ask("boss", "GET /users/Upper-Case");
    it.ask("boss", "GET /users/upper-case");
    it.ask("boss", "POST /users/second-admin").json(json!({ "admin": true }));
    it.ask("boss", "GET /users/second-admin");
    it.ask("service:maker", "POST /users/third-admin").json(json!({ "admin": true }));
    it.ask("service:maker", "POST /users/plain-user").json(json!({ "admin": false }));
    it.ask("boss", "POST /users/with-name")
        .json(json!({ "name": "other", "groups": [], "roles": [] }));
    it.ask("boss", "GET /users/with-name");
    it.ask("boss", "GET /users/other");
    it.ask("boss", "POST /users/with-null").bytes(b"null");
    it.ask("boss", "POST /users/with-empty").json(json!({}));
    for body in [
        json!({ "admin": "yes" }),
        json!({ "admin": 1 }),
        json!({ "admin": null }),
        json!({ "groups": "a" }),
        json!({ "roles": {} }),
        json!({ "auth_state": [] }),
        json!({ "nonsense": 1 }),
        json!([]),
        json!(["a"]),
        json!("a"),
        json!(1),
    ] {
        it.ask("boss", "POST /users/never-made").json(body);
    }
    it.ask("boss", "POST /users/never-made").bytes(b"{");
    it.ask("boss", "GET /users/never-made");

    it.matrix("POST /users", "admin:users").json(json!({ "usernames": ["many-one", "many-two"] }));
    it.ask("boss", "POST /users").json(json!({ "usernames": ["many-two", "Many-Three"] }));
    it.ask("boss", "POST /users").json(json!({ "usernames": ["many-one"] }));
    it.ask("boss", "POST /users").json(json!({ "usernames": ["many-four", "many-four"] }));
    it.ask("boss", "POST /users").json(json!({ "usernames": ["many-five", "a/b"] }));
    it.ask("boss", "GET /users/many-five");
    it.ask("boss", "POST /users").json(json!({ "usernames": ["many-admin"], "admin": true }));
    it.ask("service:maker", "POST /users")
        .json(json!({ "usernames": ["not-made"], "admin": true }));
    it.ask("service:maker", "POST /users").json(json!({ "usernames": ["by-maker"] }));
    for body in [
        json!({}),
        json!({ "usernames": [] }),
        json!({ "usernames": null }),
        json!({ "usernames": [""] }),
        json!({ "usernames": ["many-six"], "admin": "yes" }),
        json!({ "usernames": ["many-six"], "nonsense": true }),
        json!(["many-six"]),
        json!("many-six"),
        json!(null),
    ] {
        it.ask("boss", "POST /users").json(body);
    }
    it.ask("boss", "POST /users");
    it.ask("boss", "POST /users").bytes(b"\xff\xfe");
}

fn changing(it: &mut Area) {
    it.matrix("PATCH /users/uma", "admin:users").json(json!({}));
    it.ask("boss", "PATCH /users/nobody-at-all").json(json!({}));
    it.ask("boss", "PATCH /users/uma");
    for body in [
        json!([]),
        json!("a"),
        json!(1),
        json!({ "nonsense": 1 }),
        json!({ "admin": "yes" }),
        json!({ "name": 1 }),
        json!({ "name": null }),
        json!({ "name": "" }),
        json!({ "name": "a/b" }),
        json!({ "name": ".." }),
        json!({ "name": "bob" }),
        json!({ "name": "BOB" }),
        json!({ "auth_state": null }),
        json!({ "auth_state": {} }),
        json!({ "auth_state": { "a": 1 } }),
    ] {
        it.ask("boss", "PATCH /users/uma").json(body);
    }
    it.ask("boss", "PATCH /users/uma").bytes(b"{");
    it.ask("boss", "PATCH /users/uma").json(json!({ "groups": ["a"] }));
    it.ask("boss", "PATCH /users/uma").json(json!({ "roles": ["user"] }));
    it.ask("boss", "POST /users/renamed");
    it.ask("boss", "PATCH /users/renamed").json(json!({ "name": "Renamed-Now" }));
    it.ask("boss", "GET /users/renamed");
    it.ask("boss", "GET /users/renamed-now");
    it.ask("boss", "POST /users/promoted");
    it.ask("service:maker", "PATCH /users/promoted").json(json!({ "admin": true }));
    it.ask("boss", "PATCH /users/promoted").json(json!({ "admin": true }));
    it.ask("boss", "GET /users/promoted");
    it.ask("service:maker", "PATCH /users/promoted").json(json!({ "admin": false }));
    it.ask("service:maker", "PATCH /users/promoted").json(json!({ "name": "stolen" }));
    it.ask("boss", "PATCH /users/promoted").json(json!({ "admin": false }));
    it.ask("boss", "GET /users/promoted");
}

fn ending(it: &mut Area) {
    it.ask("boss", "POST /users").json(json!({ "usernames": ["doomed"] }));
    it.ask("nobody", "DELETE /users/doomed");
    it.ask("ann", "DELETE /users/doomed");
    it.ask("ann", "DELETE /users/ann");
    it.ask("boss[read:metrics]", "DELETE /users/doomed");
    it.ask("boss[delete:users!user=ann]", "DELETE /users/doomed");
    it.ask("boss", "DELETE /users/boss");
    it.ask("boss", "DELETE /users/nobody-at-all");
    it.ask("doomed", "GET /user").keep("doomed", "/name");
    it.ask("boss[delete:users]", "DELETE /users/doomed");
    it.ask("doomed", "GET /user");
    it.ask("boss", "GET /users/doomed");
    it.ask("boss", "DELETE /users/doomed");
    it.ask("cookie:doomed", "GET /user");
    it.ask("boss", "POST /users/doomed");
    it.ask("doomed", "GET /user");
    it.ask("service:maker", "DELETE /users/doomed").json(json!({}));
}

fn listing(it: &mut Area) {
    it.matrix("GET /users?sort=name&name_filter=many", "list:users");
    it.ask("boss", "POST /users").json(json!({ "usernames": ["list-b", "list-a", "list-c"] }));
    it.ask("boss", "POST /users/list-c/activity")
        .json(json!({ "last_activity": "2020-01-01T00:00:00Z" }));
    it.ask("boss", "POST /users/list-a/activity")
        .json(json!({ "last_activity": "2021-01-01T00:00:00Z" }));
    for sort in [
        "",
        "id",
        "-id",
        "name",
        "-name",
        "last_activity",
        "-last_activity",
        "created",
        "--id",
        "NAME",
    ] {
        it.ask("boss", &format!("GET /users?name_filter=list-&sort={sort}"));
    }
    for filter in [
        "LIST-",
        "st-a",
        "list_b",
        "list%25",
        "%25",
        "nothing-like-it",
        "",
        "list-a%00",
        "'",
        "%5C",
    ] {
        it.ask("boss", &format!("GET /users?sort=name&limit=3&name_filter={filter}"));
    }
    for state in ["active", "ready", "inactive", "", "stopped", "ACTIVE"] {
        it.ask("boss", &format!("GET /users?sort=name&name_filter=list-&state={state}"));
    }
    for scopes in [
        "list:users!user=list-a",
        "list:users!user=list-a read:users",
        "list:users!user=list-a list:users!user=list-b",
        "list:users!server=list-a/",
        "list:users!group=nowhere",
        "list:users read:users!user=list-a",
        "list:users read:servers!user=list-a",
        "read:users",
        "list:users!user=nobody-at-all",
    ] {
        it.ask(&format!("boss[{scopes}]"), "GET /users?sort=name&name_filter=list-");
    }
    it.ask("boss", "GET /users?name_filter=list-&include_stopped_servers");
    it.ask("boss", "GET /users?name_filter=list-&nonsense=1");
}
