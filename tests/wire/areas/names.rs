//! Odd names in paths and bodies.

use serde_json::json;

use crate::exchange::Area;

/// As they stand in a path.
fn odd() -> Vec<String> {
    let mut all: Vec<String> = [
        "a%2Fb",
        "%2F",
        ".",
        "..",
        "%2e",
        "%2e%2e",
        "...",
        "%2e.",
        "a%00b",
        "%0a",
        "a%0d%0ab",
        "%20a",
        "a%20",
        "a%20b",
        "%ff",
        "%c3%28",
        "a%25b",
        "%25",
        "%2520",
        "a+b",
        "a@b",
        "a~b",
        "a%3Fb",
        "a%23b",
        "a%5Cb",
        "a%3Bb",
        "a;b",
        "a:b",
        "%C3%BC",
        "%E2%82%AC",
        "A",
        "-",
        "_",
        "%7F",
        "a,b",
        "a%22b",
        "%3Cscript%3E",
        "a*b",
        "a(b)",
        "%zz",
        "a%",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    all.push("x".repeat(255));
    all.push("x".repeat(256));
    all.push("x".repeat(300));
    all
}

pub(crate) fn area() -> Area {
    let mut it = Area::new("names");
    for name in odd() {
        it.ask("boss", &format!("GET /users/{name}"));
        it.ask("ann", &format!("GET /users/{name}"));
        it.ask("boss", &format!("GET /users/ann/servers/{name}"));
    }
    for name in odd() {
        it.ask("boss", &format!("POST /users/{name}"));
        it.ask("boss", &format!("GET /users/{name}"));
    }
    for name in [
        "a b", "a/b", ".", "..", "", " a", "a ", "ü", "€", "a\u{0}b", "a\nb", "%2e", "a@b", "A@C",
        "<b>",
    ] {
        it.ask("boss", "POST /users").json(json!({ "usernames": [name] }));
    }
    it.ask("boss", "POST /users").json(json!({ "usernames": ["y".repeat(300)] }));
    for name in odd() {
        it.ask("boss", &format!("POST /groups/{name}"));
        it.ask("boss", &format!("GET /groups/{name}"));
    }
    for name in odd() {
        it.ask("boss", &format!("GET /services/{name}"));
        it.ask("ann", &format!("GET /users/ann/tokens/{name}"));
    }
    for name in odd() {
        it.page("cookie:ann", &format!("GET /hub/user/{name}/"));
    }
    it
}
