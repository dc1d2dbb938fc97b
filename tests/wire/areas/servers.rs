//! Servers: their models, starting, stopping, naming, renaming and removing them.

use serde_json::{Value, json};

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("servers").between("sam", "bob");
    one_life(&mut it);
    named(&mut it);
    bodies(&mut it);
    renaming(&mut it);
    slow_ones(&mut it);
    failing(&mut it);
    with_users(&mut it);
    it
}

fn one_life(it: &mut Area) {
    let line = |method: &str| format!("{method} /users/sam/server");
    it.matrix(&line("GET"), "read:servers");
    it.matrix("GET /users/nobody-at-all/server", "read:servers");
    it.ask("boss[admin:server_state read:servers]", &line("GET"));
    for who in ["nobody", "boss[read:servers]", "bob"] {
        it.ask(who, &line("POST"));
        it.ask(who, &line("DELETE"));
    }
    it.ask("boss", "POST /users/nobody-at-all/server");
    it.ask("sam", &line("DELETE"));
    it.ask("boss[start:servers!user=sam]", &line("POST"));
    it.ask("sam", "GET /users/sam").until("/servers//ready", true);
    it.matrix(&line("GET"), "read:servers");
    it.matrix("GET /users/sam", "read:users");
    it.ask("boss[admin:servers]", &line("GET"));
    it.ask("boss[read:users read:servers!server=sam/]", "GET /users/sam");
    it.ask("boss[read:servers!server=sam/]", &line("GET"));
    it.ask("boss[read:servers!server=sam/lab]", &line("GET"));
    it.ask("sam", &line("POST"));
    it.ask("sam", &line("PATCH")).json(json!({ "user_options": {} }));
    it.ask("boss", "GET /users?state=ready&name_filter=sam");
    it.ask("boss", "GET /users?state=active&name_filter=sam");
    it.ask("boss", "GET /users?state=inactive&name_filter=sam");
    it.ask("boss", "GET /proxy?limit=1&offset=1");
    it.ask("boss", "POST /users/sam/activity")
        .json(json!({ "servers": { "": { "last_activity": "2002-01-01T00:00:00Z" } } }));
    it.ask("sam", "GET /users/sam/tokens");
    it.page("cookie:sam", "GET /hub/");
    it.page("cookie:sam", "GET /hub/user/sam/");
    it.page("cookie:sam", "GET /hub/spawn");
    it.page("cookie:sam", "GET /hub/spawn-pending/sam");
    it.ask("boss[delete:servers!server=sam/]", &line("DELETE"));
    it.ask("sam", "GET /users/sam?include_stopped_servers").until("/servers//stopped", true);
    it.matrix(&line("GET"), "read:servers");
    it.ask("boss[admin:servers]", &line("GET"));
    it.ask("sam", "GET /users/sam/tokens");
    it.ask("sam", &line("DELETE"));
    it.ask("sam", &line("DELETE")).json(json!({ "remove": true }));
    for body in
        [json!([]), json!("a"), json!({ "remove": "yes" }), json!({ "nonsense": 1 }), json!(null)]
    {
        it.ask("sam", &line("DELETE")).json(body);
    }
    it.ask("sam", &line("DELETE")).bytes(b"{");
}

fn named(it: &mut Area) {
    it.matrix("PUT /users/sam/servers/put-{who}", "start:servers");
    it.ask("sam", "PUT /users/sam/servers/put-owner");
    it.ask("sam", "PUT /users/sam/server");
    it.ask("sam", "PUT /users/sam/servers/");
    it.ask("boss", "PUT /users/nobody-at-all/servers/lab");
    it.ask("sam", "GET /users/sam/servers/put-owner");
    it.ask("sam", "GET /users/sam/servers/nothing");
    it.ask("sam", "GET /users/sam/servers/");
    it.ask("sam", "GET /users/sam?include_stopped_servers");
    it.ask("sam", "GET /users/sam");
    for name in
        ["A", "a-", "-a", "a--b", "1a", "a_b", "a.b", "%C3%BC", "a%20b", "a%2Fb", "a", "a1-b2"]
    {
        it.ask("sam", &format!("PUT /users/sam/servers/{name}"));
        it.ask("sam", &format!("POST /users/sam/servers/{name}")).bytes(b"[");
    }
    it.ask("sam", &format!("PUT /users/sam/servers/{}", "n".repeat(30)));
    it.ask("sam", &format!("PUT /users/sam/servers/{}", "n".repeat(31)));
    it.ask("sam", "POST /users/sam/servers/made")
        .json(json!({ "display_name": "Made by posting" }));
    it.ask("sam", "GET /users/sam/servers/made").until("/ready", true);
    it.ask("sam", "GET /users/sam");
    it.ask("sam", "DELETE /users/sam/servers/made");
    it.ask("sam", "GET /users/sam/servers/made").until("/stopped", true);
    it.ask("sam", "POST /users/sam/servers/made").json(json!({ "display_name": "Another name" }));
    it.ask("sam", "GET /users/sam/servers/made").until("/ready", true);
    it.ask("sam", "DELETE /users/sam/servers/made").json(json!({ "remove": true }));
    it.ask("sam", "GET /users/sam/servers/made").until("/status", 404);
    it.ask("sam", "DELETE /users/sam/servers/made");
    it.ask("sam", "DELETE /users/sam/servers/nothing");
    it.matrix("DELETE /users/sam/servers/put-{who}", "delete:servers")
        .json(json!({ "remove": true }));
    it.ask("sam", "GET /users/sam?include_stopped_servers");
}

fn display_names() -> Vec<Value> {
    let mut all = vec![
        json!("A fine name"),
        json!("Ünïcode ☃"),
        json!(""),
        json!(null),
        json!(1),
        json!([]),
        json!(" a"),
        json!("a "),
        json!("a  b"),
        json!("a\tb"),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("a\u{a0}b"),
        json!("a\u{200b}b"),
        json!("e\u{301}"),
        json!("<b>"),
    ];
    all.push(json!("d".repeat(255)));
    all.push(json!("d".repeat(256)));
    all
}

fn bodies(it: &mut Area) {
    for (number, name) in display_names().into_iter().enumerate() {
        let path = format!("/users/sue/servers/d{number}");
        it.ask("sue", &format!("PUT {path}").replace("/d", "/name-"))
            .json(json!({ "display_name": name }));
    }
    for (number, body) in [
        json!({}),
        json!([]),
        json!(null),
        json!(1),
        json!("a"),
        json!([1]),
        json!({ "user_options": {} }),
        json!({ "user_options": { "a": 1 } }),
        json!({ "user_options": null }),
        json!({ "user_options": [] }),
        json!({ "user_options": "a" }),
        json!({ "display_name": "x", "more": 1 }),
        json!({ "user_options": { "b": [1, null] }, "more": 1 }),
        json!({ "a": 1, "b": 2 }),
        json!({ "name": "other" }),
    ]
    .into_iter()
    .enumerate()
    {
        it.ask("sue", &format!("PUT /users/sue/servers/body{number}")).json(body);
    }
    it.ask("sue", "PUT /users/sue/servers/broken").bytes(b"{");
    it.ask("sue", "PUT /users/sue/servers/broken").bytes(b"\xff");
    it.ask("sue", "GET /users/sue?include_stopped_servers");

    let server = "/users/sue/servers/options";
    let start = format!("POST {server}");
    let show = format!("GET {server}");
    for body in [
        r#"{"user_options": {"a": 1}}"#,
        "",
        r#"{"user_options": null}"#,
        r#"{"b": 2}"#,
        "{}",
        r#"{"user_options": {}}"#,
        "null",
    ] {
        it.ask("sue", &start).bytes(body.as_bytes());
        it.ask("sue", &show).until("/ready", true);
        it.ask("sue", &format!("DELETE {server}"));
        it.ask("sue", &show).until("/stopped", true);
    }
    for body in ["[", "[]", "1", "\"a\"", r#"{"user_options": []}"#, r#"{"display_name": 1}"#] {
        it.ask("sue", "POST /users/sue/server").bytes(body.as_bytes());
        it.ask("sue", "GET /users/sue/server").until("/pending", Value::Null);
    }
    it.ask("sue", "DELETE /users/sue/server");
    it.ask("sue", "GET /users/sue/server").until("/stopped", true);
}

fn renaming(it: &mut Area) {
    it.ask("ron", "PUT /users/ron/servers/one").json(json!({ "display_name": "One" }));
    it.ask("ron", "PUT /users/ron/servers/two");
    for who in [
        "nobody",
        "bob",
        "boss[read:servers]",
        "boss[start:servers]",
        "ron",
        "cookie:ron",
        "page:ron",
    ] {
        it.ask(who, "PATCH /users/ron/servers/one").json(json!({ "user_options": { "x": who } }));
    }
    for body in [
        json!({}),
        json!(null),
        json!([]),
        json!("a"),
        json!({ "nonsense": 1 }),
        json!({ "name": "two" }),
        json!({ "name": "" }),
        json!({ "name": 1 }),
        json!({ "name": null }),
        json!({ "name": "Bad Name" }),
        json!({ "name": "one" }),
        json!({ "display_name": 1 }),
        json!({ "display_name": "" }),
        json!({ "display_name": "  odd  " }),
        json!({ "display_name": null }),
        json!({ "user_options": null }),
        json!({ "user_options": [] }),
        json!({ "user_options": { "y": 1 }, "nonsense": 1 }),
        json!({ "name": "three", "display_name": 1 }),
        json!({ "name": "three", "display_name": " bad" }),
    ] {
        it.ask("ron", "PATCH /users/ron/servers/one").json(body);
        it.ask("ron", "GET /users/ron/servers/one");
    }
    it.ask("ron", "PATCH /users/ron/servers/one");
    it.ask("ron", "PATCH /users/ron/servers/one").bytes(b"{");
    it.ask("ron", "PATCH /users/ron/servers/nothing").json(json!({ "display_name": "x" }));
    it.ask("boss", "PATCH /users/nobody-at-all/servers/one").json(json!({ "display_name": "x" }));
    it.ask("ron", "PATCH /users/ron/servers/two").json(json!({ "name": "four" }));
    it.ask("ron", "GET /users/ron/servers/two");
    it.ask("ron", "GET /users/ron/servers/four");
    it.ask("ron", "PATCH /users/ron/servers/four")
        .json(json!({ "name": "five", "display_name": "Five" }));
    it.ask("ron", "GET /users/ron/servers/five");
    it.ask("ron", "PATCH /users/ron/server").json(json!({ "display_name": "mine" }));
    it.ask("ron", "PATCH /users/ron/server").json(json!({ "user_options": { "z": 1 } }));
    it.ask("ron", "GET /users/ron/server");
    it.ask("ron", "PATCH /users/ron/server").json(json!({ "name": "was-default" }));
    it.ask("ron", "GET /users/ron?include_stopped_servers");
}

fn slow_ones(it: &mut Area) {
    let server = "/users/slow-sid/server";
    it.ask("slow-sid", &format!("POST {server}"));
    it.ask("slow-sid", &format!("GET {server}"));
    it.ask("slow-sid", "GET /users/slow-sid");
    it.ask("slow-sid", &format!("POST {server}"));
    it.ask("slow-sid", &format!("PATCH {server}")).json(json!({ "user_options": {} }));
    it.page("cookie:slow-sid", "GET /hub/spawn-pending/slow-sid");
    it.page("cookie:slow-sid", "GET /hub/user/slow-sid/");
    it.ask("slow-sid", &format!("GET {server}")).until("/ready", true);
    it.ask("slow-sid", &format!("DELETE {server}"));
    it.ask("slow-sid", &format!("GET {server}")).until("/stopped", true);
    // a start that is called off
    let server = "/users/hang-hal/server";
    it.ask("hang-hal", &format!("POST {server}"));
    it.ask("hang-hal", &format!("GET {server}"));
    it.ask("hang-hal", &format!("DELETE {server}"));
    it.ask("hang-hal", &format!("GET {server}")).until("/stopped", true);
    it.ask("hang-hal", &format!("GET {server}/progress"));
    it.ask("hang-hal", &format!("DELETE {server}"));
}

fn failing(it: &mut Area) {
    let server = "/users/exit-eve/server";
    it.ask("exit-eve", &format!("POST {server}"));
    it.ask("exit-eve", &format!("GET {server}")).until("/stopped", true);
    it.ask("exit-eve", &format!("GET {server}/progress"));
    it.page("cookie:exit-eve", "GET /hub/spawn-pending/exit-eve");
    it.page("cookie:exit-eve", "GET /hub/user/exit-eve/");
    it.ask("exit-eve", &format!("DELETE {server}"));
}

fn with_users(it: &mut Area) {
    it.ask("boss", "POST /users/leaving");
    it.ask("leaving", "POST /users/leaving/server");
    it.ask("boss", "GET /users/leaving").until("/servers//ready", true);
    it.ask("boss", "DELETE /users/leaving");
    it.ask("boss", "GET /users/leaving");
    it.ask("boss", "GET /proxy?limit=200");
}
