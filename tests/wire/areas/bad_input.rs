//! What no endpoint should choke on. Comes last: it ends by shutting both hubs down.

use serde_json::json;

use crate::exchange::Area;

/// Every endpoint that reads a body.
const READERS: &[&str] = &[
    "POST /users",
    "POST /users/never-made",
    "PATCH /users/ann",
    "POST /users/ann/activity",
    "POST /users/ann/tokens",
    "PUT /users/ann/servers/lab",
    "POST /users/ann/servers/lab",
    "PATCH /users/ann/server",
    "DELETE /users/ann/server",
    "POST /groups",
    "POST /groups/never-made",
    "POST /groups/staff/users",
    "DELETE /groups/staff/users",
    "PUT /groups/staff/properties",
    "POST /services/never-made",
    "POST /shares/ann/",
    "PATCH /shares/ann/",
    "POST /share-codes/ann/",
    "PATCH /proxy",
];

pub(crate) fn area() -> Area {
    let mut it = Area::new("bad input");
    it.ask("ann", "GET /user");
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for line in READERS {
        for body in [
            &b"\xff\xfe"[..],
            b"{\"a\": \"\xc3\x28\"}",
            b"{\"a\": 1,}",
            b"{'a': 1}",
            b"[1, 2",
            b"nonsense",
            b"\"",
            b"{\"a\": NaN}",
            b"{\"a\": \"\\ud800\"}",
            b"{\"a\": 1}{\"b\": 2}",
            b"\x00",
            b"   ",
            b"\xef\xbb\xbf{}",
            b"true",
            b"-1",
            b"1e999",
            deep.as_bytes(),
        ] {
            it.ask("boss", line).bytes(body);
        }
        it.ask("bob", line).bytes(b"{");
        it.ask("nobody", line).bytes(b"{");
    }
    it.ask("boss", "GET /users/never-made");
    it.ask("boss", "GET /groups/never-made");
    it.ask("boss", "GET /services/never-made");
    it.ask("boss", "GET /users/ann?include_stopped_servers");

    let long = json!({ "usernames": ["z".repeat(2 << 20)] });
    it.ask("boss", "POST /users").json(long.clone());
    it.ask("ann", "POST /users").json(long.clone());
    it.ask("boss", "POST /users/ann/tokens").json(json!({ "note": "z".repeat(2 << 20) }));
    it.ask("nobody", "POST /users/ann/tokens").json(long);
    it.page("nobody", "POST /hub/login").form(&"z".repeat(2 << 20));
    it.ask("nobody", "POST /oauth2/token").form(&"z".repeat(2 << 20));
    for query in ["%ff", "%00", "a=%zz", "&&&===", "limit=1;offset=2", "sort=%ff"] {
        it.ask("boss", &format!("GET /users?sort=name&limit=2&name_filter=ann&{query}"));
    }
    it.ask("boss", &format!("GET /users?name_filter={}", "q".repeat(4_000)));
    it.ask("boss", "GET /user").header("Cookie", "a=b; c; =d; \"");
    it.ask("nobody", "GET /user").header("X-Forwarded-For", "nonsense, 1.2.3.4");

    // The reference makes users without a name, or of one letter, of these: nobody is to see them in a list.
    for names in [json!("many-six"), json!([1]), json!([null])] {
        it.ask("boss", "POST /users").json(json!({ "usernames": names }));
    }
    it.ask("boss", "POST /users/equal-name");
    it.ask("boss", "PATCH /users/equal-name").json(json!({ "name": "equal-name" }));
    it.ask("boss", "GET /users/equal-name");

    it.ask("boss", "POST /shutdown").json(json!({ "servers": true, "proxy": true }));
    it
}
