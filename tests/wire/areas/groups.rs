//! Groups: members, properties, and who may see them.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("groups").between("gina", "bob");
    reading(&mut it);
    making(&mut it);
    members(&mut it);
    properties(&mut it);
    ending(&mut it);
    it
}

/// The same for groups as [`Area::matrix`] is for people: the filter is the group's.
fn everybody(it: &mut Area, line: &str, right: &str, group: &str, body: Option<serde_json::Value>) {
    for who in [
        "nobody",
        "boss[read:metrics]",
        "bob",
        "gil",
        "service:plain",
        &format!("boss[{right}]"),
        &format!("boss[{right}!group={group}]"),
        &format!("boss[{right}!group=nowhere]"),
        &format!("boss[{right}!user=bob]"),
        "boss",
    ] {
        let asked = it.ask(who, line);
        if let Some(body) = &body {
            asked.json(body.clone());
        }
    }
}

fn reading(it: &mut Area) {
    everybody(it, "GET /groups", "list:groups", "staff", None);
    everybody(it, "GET /groups/staff", "read:groups", "staff", None);
    everybody(it, "GET /groups/nowhere", "read:groups", "staff", None);
    for scope in [
        "read:groups:name",
        "read:roles:groups",
        "list:groups",
        "groups",
        "admin:groups",
        "read:roles",
        "delete:groups",
        "read:groups:shares",
    ] {
        it.ask(&format!("boss[{scope}]"), "GET /groups/staff");
        it.ask(&format!("boss[{scope}]"), "GET /groups");
        it.ask(&format!("boss[{scope}!group=staff]"), "GET /groups");
    }
    it.ask("boss[list:groups read:groups!group=staff]", "GET /groups");
    it.ask("boss[list:groups!group=staff list:groups!group=empty]", "GET /groups");
    it.ask("service:reader", "GET /groups");
    it.ask("service:reader", "GET /groups/staff");
    it.ask("boss", "GET /groups?limit=1&offset=1");
    it.ask("boss[list:groups!group=staff]", "GET /groups?limit=1")
        .header("Accept", "application/jupyterhub-pagination+json");
}

fn making(it: &mut Area) {
    it.matrix("POST /groups/by-{who}", "admin:groups");
    it.ask("boss", "GET /groups/by-admin");
    it.ask("boss", "POST /groups/by-admin");
    it.ask("gina", "GET /user");
    it.ask("boss", "POST /groups/with-users").json(json!({ "users": ["gina", "bob"] }));
    it.ask("boss", "POST /groups/with-upper").json(json!({ "users": ["GINA"] }));
    it.ask("boss", "POST /groups/with-unknown").json(json!({ "users": ["gina", "nobody-at-all"] }));
    it.ask("boss", "GET /groups/with-unknown");
    for body in [
        json!({}),
        json!({ "users": [] }),
        json!({ "users": null }),
        json!({ "users": "gina" }),
        json!({ "users": [1] }),
        json!({ "nonsense": 1 }),
        json!({ "properties": { "a": 1 } }),
        json!({ "name": "other" }),
        json!({ "roles": ["user"] }),
        json!({ "name": 1 }),
        json!([]),
        json!("a"),
        json!(null),
    ] {
        it.ask("boss", "POST /groups/body").json(body);
        it.ask("boss", "DELETE /groups/body");
    }
    it.ask("boss", "POST /groups/body").bytes(b"{");
    it.ask("boss", "POST /groups/body").bytes(b"\xff");

    it.matrix("POST /groups", "admin:groups").json(json!({ "groups": ["several-a", "several-b"] }));
    it.ask("boss", "POST /groups")
        .json(json!({ "groups": ["several-c", "several-d"], "users": ["gina", "bob"] }));
    it.ask("boss", "POST /groups")
        .json(json!({ "groups": ["several-e", "several-a", "several-f"] }));
    it.ask("boss", "GET /groups/several-e");
    it.ask("boss", "GET /groups/several-f");
    it.ask("boss", "POST /groups")
        .json(json!({ "groups": ["several-g"], "users": ["nobody-at-all"] }));
    it.ask("boss", "GET /groups/several-g");
    it.ask("boss", "POST /groups").json(json!({ "groups": ["twice", "twice"] }));
    for body in [
        json!({}),
        json!({ "groups": [] }),
        json!({ "groups": "a" }),
        json!({ "groups": [1] }),
        json!({ "groups": null }),
        json!({ "groups": [""] }),
        json!({ "groups": ["h"], "users": "gina" }),
        json!({ "groups": ["h"], "nonsense": 1 }),
        json!({ "groups": ["with-properties"], "properties": {} }),
        json!(["a"]),
        json!(null),
    ] {
        it.ask("boss", "POST /groups").json(body);
    }
    it.ask("boss", "POST /groups").bytes(b"{");
    it.ask("gina", "GET /user");
    it.ask("boss", "GET /users/gina");
    it.ask("boss", "GET /groups");
}

fn members(it: &mut Area) {
    it.ask("boss", "POST /groups/club");
    everybody(it, "POST /groups/club/users", "groups", "club", Some(json!({ "users": ["gina"] })));
    it.ask("boss", "GET /users/gina");
    it.ask("boss", "POST /groups/club/users").json(json!({ "users": ["bob", "GINA"] }));
    it.ask("boss", "POST /groups/club/users").json(json!({ "users": ["ann", "nobody-at-all"] }));
    it.ask("boss", "GET /groups/club");
    it.ask("boss", "POST /groups/nowhere/users").json(json!({ "users": ["gina"] }));
    for method in ["POST", "DELETE"] {
        for body in [
            json!({}),
            json!([]),
            json!(null),
            json!("a"),
            json!({ "users": [] }),
            json!({ "users": null }),
            json!({ "users": "gina" }),
            json!({ "users": [1] }),
            json!({ "users": ["gina"], "nonsense": 1 }),
        ] {
            it.ask("boss", &format!("{method} /groups/club/users")).json(body);
        }
        it.ask("boss", &format!("{method} /groups/club/users")).bytes(b"{");
        it.ask("boss", &format!("{method} /groups/club/users"));
    }
    everybody(
        it,
        "DELETE /groups/club/users",
        "groups",
        "club",
        Some(json!({ "users": ["gina"] })),
    );
    it.ask("boss", "DELETE /groups/club/users").json(json!({ "users": ["ann"] }));
    it.ask("boss", "DELETE /groups/club/users").json(json!({ "users": ["bob", "nobody-at-all"] }));
    it.ask("boss", "DELETE /groups/nowhere/users").json(json!({ "users": ["bob"] }));
    it.ask("boss", "GET /groups/club");
    it.ask("boss", "GET /users/gina");
}

fn properties(it: &mut Area) {
    everybody(
        it,
        "PUT /groups/club/properties",
        "groups",
        "club",
        Some(json!({ "a": { "b": [1, null, "c"] } })),
    );
    it.ask("boss", "GET /groups/club");
    for body in [json!({}), json!([]), json!(null), json!("a"), json!(1), json!({ "": "" })] {
        it.ask("boss", "PUT /groups/club/properties").json(body);
        it.ask("boss", "GET /groups/club");
    }
    it.ask("boss", "PUT /groups/club/properties");
    it.ask("boss", "PUT /groups/club/properties").bytes(b"{");
    it.ask("boss", "PUT /groups/nowhere/properties").json(json!({}));
}

fn ending(it: &mut Area) {
    it.ask("boss", "POST /groups/club/users").json(json!({ "users": ["gina"] }));
    for who in [
        "nobody",
        "bob",
        "boss[groups]",
        "boss[delete:groups!group=nowhere]",
        "boss[delete:groups!group=club]",
        "boss[delete:groups]",
        "boss",
    ] {
        it.ask(who, "DELETE /groups/club");
    }
    it.ask("boss", "GET /groups/club");
    it.ask("boss", "GET /users/gina");
    it.ask("boss", "POST /groups/club");
    it.ask("boss", "GET /groups/club");
    it.ask("boss", "POST /groups/with-leaver").json(json!({ "users": ["gina"] }));
    it.ask("boss", "DELETE /users/gina");
    it.ask("boss", "GET /groups/with-leaver");
}
