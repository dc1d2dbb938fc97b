//! Scopes: what each one includes, what filters do to it, what tokens, roles and groups make of it. `GET /user` tells
//! the caller's scopes as they are checked.

use serde_json::json;

use crate::exchange::Area;

/// Every scope there is.
const SCOPES: &[&str] = &[
    "(no_scope)",
    "self",
    "inherit",
    "admin-ui",
    "admin:users",
    "admin:auth_state",
    "users",
    "delete:users",
    "list:users",
    "read:users",
    "read:users:name",
    "read:users:groups",
    "read:users:activity",
    "read:roles",
    "read:roles:users",
    "read:roles:services",
    "read:roles:groups",
    "users:activity",
    "admin:servers",
    "admin:server_state",
    "servers",
    "read:servers",
    "start:servers",
    "delete:servers",
    "tokens",
    "read:tokens",
    "admin:groups",
    "groups",
    "list:groups",
    "read:groups",
    "read:groups:name",
    "delete:groups",
    "admin:services",
    "list:services",
    "read:services",
    "read:services:name",
    "read:hub",
    "access:servers",
    "access:services",
    "users:shares",
    "read:users:shares",
    "groups:shares",
    "read:groups:shares",
    "read:shares",
    "shares",
    "proxy",
    "shutdown",
    "read:metrics",
];

pub(crate) fn area() -> Area {
    let mut it = Area::new("rbac").between("rita", "bob");
    for scope in SCOPES {
        it.ask(&format!("boss[{scope}]"), "GET /user");
    }
    for scope in SCOPES {
        it.ask(&format!("rita[{scope}!user]"), "GET /user");
        it.ask(&format!("boss[{scope}!server=rita/lab]"), "GET /user");
    }
    for scopes in [
        "read:users!user=rita",
        "read:users!group=staff",
        "read:users!group=nowhere",
        "read:users!service=plain",
        "servers!server=rita/",
        "servers!user=rita",
        "servers!user=rita servers!server=rita/lab",
        "servers servers!user=rita",
        "admin:users!user=rita read:users",
        "read:services!service=plain",
        "groups!group=staff",
        "access:services!service=web",
        "users!user=rita users!user=bob",
        "self read:hub",
        "users:activity!user",
        "access:servers!server",
        "read:services!service",
        "tokens!user=rita",
        "read:users!user=nobody-at-all",
        "inherit read:users",
    ] {
        it.ask(&format!("boss[{scopes}]"), "GET /user");
        it.ask(&format!("boss[{scopes}]"), "GET /users/rita");
    }
    for who in [
        "rita",
        "cookie:rita",
        "rita[]",
        "rita[self]",
        "rita[inherit]",
        "rita[read:users!user]",
        "rita[read:users!user=rita servers!server=rita/lab]",
        "boss",
        "cookie:boss",
        "service:plain",
        "service:maker",
        "service:reader",
        "service:web",
        "service:boss-service",
        "gil",
        "cookie:gil",
        "gus",
        "gil[inherit]",
        "gil[read:groups!group=staff]",
        "gil[list:users]",
        "rex",
        "rex[custom:sheets]",
        "rex[custom:sheets:read]",
        "rex[custom:sheets!user]",
        "rex[custom:nothing]",
    ] {
        it.ask(who, "GET /user");
        it.ask(who, "GET /users?sort=name&limit=2&name_filter=ann");
        it.ask(who, "GET /users/rita");
        it.ask(who, "GET /users/gus");
    }
    shrinking(&mut it);
    by_group(&mut it);
    it
}

/// A token never outgrows its owner, also when the owner shrinks.
fn shrinking(it: &mut Area) {
    it.ask("boss", "POST /users/shrink").json(json!({ "admin": true }));
    it.ask("shrink", "GET /user");
    it.ask("shrink[read:users list:users]", "GET /user");
    it.ask("shrink[read:users list:users]", "GET /users/rita");
    it.ask("boss", "PATCH /users/shrink").json(json!({ "admin": false }));
    for who in ["shrink", "cookie:shrink", "shrink[read:users list:users]"] {
        it.ask(who, "GET /user");
        it.ask(who, "GET /users/rita");
        it.ask(who, "GET /users");
    }
    it.ask("boss", "PATCH /users/shrink").json(json!({ "admin": true }));
    it.ask("shrink[read:users list:users]", "GET /users/rita");
}

/// Who is in a group counts at the moment of the check.
fn by_group(it: &mut Area) {
    let who = "boss[read:users!group=changing servers!group=changing list:users!group=changing]";
    it.ask("boss", "POST /groups/changing");
    it.ask(who, "GET /users/rita");
    it.ask("boss", "POST /groups/changing/users").json(json!({ "users": ["rita"] }));
    it.ask(who, "GET /users/rita");
    it.ask(who, "GET /users/rita/server");
    it.ask(who, "GET /users/bob");
    it.ask(who, "GET /users");
    it.ask(who, "GET /user");
    it.ask("boss", "DELETE /groups/changing/users").json(json!({ "users": ["rita"] }));
    it.ask(who, "GET /users/rita");
    it.ask(who, "GET /users");
    // roles of a group
    it.ask("rita", "GET /groups");
    it.ask("boss", "POST /groups/staff/users").json(json!({ "users": ["rita"] }));
    it.ask("rita", "GET /user");
    it.ask("cookie:rita", "GET /user");
    it.ask("rita", "GET /groups");
    it.ask("boss", "DELETE /groups/staff/users").json(json!({ "users": ["rita"] }));
    it.ask("rita", "GET /user");
    it.ask("rita", "GET /groups");
}
