//! The hub itself: what it is made of, its health, its numbers, the proxy's routes. (Shutting it down comes last of all
//! areas, in `bad_input.rs`.)

use serde_json::json;

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("hub");
    it.matrix("GET /info", "read:hub");
    it.ask("nobody", "GET /health");
    it.ask("nobody", "HEAD /health");
    it.ask("nobody", "POST /health");
    it.page("nobody", "GET /hub/health");
    it.page("nobody", "HEAD /hub/health");
    for who in [
        "nobody",
        "ann",
        "cookie:ann",
        "boss",
        "cookie:boss",
        "boss[read:metrics]",
        "boss[read:hub]",
    ] {
        it.ask(who, "GET /metrics");
        it.page(who, "GET /hub/metrics");
    }
    it.page("nobody", "GET /hub/error/404");
    it.page("nobody", "GET /hub/error/503");
    it.page("nobody", "GET /hub/error/nonsense");
    it.page("nobody", "POST /hub/security/csp-report");
    it.page("nobody", "GET /hub/nowhere");
    it.page("cookie:ann", "GET /hub/nowhere");
    it.page("nobody", "GET /hub/static/nothing.css");

    it.matrix("GET /proxy", "proxy");
    it.matrix("POST /proxy", "proxy");
    it.matrix("PATCH /proxy", "proxy").bytes(b"[]");
    for body in ["", "null", "1", "\"a\"", "[]", "{", "{}"] {
        it.ask("boss", "PATCH /proxy").bytes(body.as_bytes());
    }
    it.ask("boss", "GET /proxy?limit=1");
    it.ask("boss", "GET /proxy?offset=1&limit=1");
    it.ask("boss", "GET /proxy").header("Accept", "application/jupyterhub-pagination+json");
    it.matrix("GET /user", "read:hub");
    it.matrix("POST /shutdown", "shutdown").json(json!({ "proxy": "nonsense" }));
    for body in [json!({ "proxy": 2 }), json!({ "servers": "yes" }), json!({ "servers": null })] {
        it.ask("boss", "POST /shutdown").json(body);
    }
    it.ask("boss", "POST /shutdown").bytes(b"{");
    it
}
