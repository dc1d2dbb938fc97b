//! Activity that servers and others tell of.

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("activity").between("ada", "bob");
    let line = "POST /users/ada/activity";
    it.ask("boss", "POST /users/ada2").json(json!({}));
    it.matrix(line, "users:activity")
        .json(json!({ "last_activity": "2019-05-06T07:08:09.123456Z" }));
    it.ask("boss", "POST /users/nobody-at-all/activity")
        .json(json!({ "last_activity": "2019-05-06T07:08:09Z" }));
    let line = "POST /users/ada2/activity";
    let show = "GET /users/ada2?include_stopped_servers";
    for time in [
        "2001-01-01T00:00:00Z",
        "2001-01-02T03:04:05.000001Z",
        "2001-01-02T03:04:05.000001",
        "2001-02-01T00:00:00+02:00",
        "2001-03-01 10:00:00",
        "2001-04-01",
        "20010501T101112Z",
        "2001-06-01T10:11Z",
        "Sun, 01 Jul 2001 10:11:12 GMT",
        "2001-01-01T00:00:00Z",
        "2001-08-01T00:00:00.1Z",
        "2001-09-01t00:00:00z",
    ] {
        it.ask("boss", line).json(json!({ "last_activity": time }));
        it.ask("boss", show);
    }
    for time in [
        json!("yesterday"),
        json!(""),
        json!(1_000_000_000),
        json!(null),
        json!(true),
        json!({}),
        json!("2999-01-01T00:00:00Z"),
        json!("2001-13-01T00:00:00Z"),
        json!("2001-02-30"),
    ] {
        it.ask("boss", line).json(json!({ "last_activity": time }));
    }
    for body in [
        json!({}),
        json!([]),
        json!("a"),
        json!(null),
        json!({ "servers": {} }),
        json!({ "servers": [] }),
        json!({ "servers": "a" }),
        json!({ "servers": { "": {} } }),
        json!({ "servers": { "": "2002-01-01T00:00:00Z" } }),
        json!({ "servers": { "": { "last_activity": "nonsense" } } }),
        json!({ "servers": { "": { "last_activity": null } } }),
        json!({ "servers": { "nothing": { "last_activity": "2002-01-01T00:00:00Z" } } }),
        json!({ "servers": { "": { "last_activity": "2002-01-01T00:00:00Z", "more": 1 } }, "more": 1 }),
        json!({ "last_activity": "2003-01-01T00:00:00Z", "servers": { "nothing": { "last_activity": "2003-01-01T00:00:00Z" } } }),
    ] {
        it.ask("boss", line).json(body);
        it.ask("boss", show);
    }
    it.ask("boss", line).bytes(b"{");
    it.ask("boss", line);
    it.ask("boss", line).bytes(b"\xff");
    it
}
