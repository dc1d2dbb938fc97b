//! The REST API (`spec/proxy.md` 2), last use (7) and the metrics (10).

use std::{io::Write as _, time::Duration};

use serde_json::json;

use super::stand::{Backend, Proxy, TOKEN, Whose, all, ports, upgrade};
use crate::support::{PATIENCE, wait_until};

/// Status and the beginning of the body; where that is empty, all of it.
type Expected = (u16, &'static str);

/// Who, method, path, body; what comes of ours, and of theirs where it differs.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str, Expected, Option<Expected>);

#[test]
fn routes_are_managed_as_with_configurable_http_proxy() {
    let right = &format!("token {TOKEN}");
    let with = |target: &str| json!({ "target": target }).to_string();
    let data =
        json!({"target": "http://a:1", "user": "x", "jupyterhub": true, "n": {"a": [1, null]}});
    let table: &[Row<'_>] = &[
        (right, "GET", "/api", "", (404, "Not Found"), None),
        (right, "GET", "/api/", "", (404, "Not Found"), None),
        (right, "GET", "/api/routesx", "", (404, "Not Found"), None),
        (right, "GET", "/", "", (404, "Not Found"), None),
        ("", "GET", "/nope", "", (404, "Not Found"), None),
        (right, "PUT", "/api/routes/a", "", (405, "Method not supported"), None),
        ("", "PATCH", "/api/routes", "", (405, "Method not supported"), None),
        ("", "GET", "/api/routes", "", (403, ""), None),
        ("Bearer the-token", "GET", "/api/routes", "", (403, ""), None),
        ("token wrong", "GET", "/api/routes", "", (403, ""), None),
        ("Token the-token", "GET", "/api/routes", "", (403, ""), None),
        ("token the", "GET", "/api/routes", "", (403, ""), None),
        // Theirs takes whatever stands behind `token` anywhere.
        ("xtoken the-token", "GET", "/api/routes", "", (403, ""), Some((200, "{}"))),
        ("", "POST", "/api/routes/a", &with("http://a"), (403, ""), None),
        ("", "POST", "/api/routes/a", "{", (403, ""), Some((400, "Body not valid JSON"))),
        ("", "DELETE", "/api/routes/a", "", (403, ""), None),
        (right, "GET", "/api/routes", "", (200, "{}"), None),
        (right, "GET", "/api/routes/a", "", (404, ""), None),
        (right, "DELETE", "/api/routes/a", "", (404, ""), None),
        (right, "POST", "/api/routes/a", "{", (400, "Body not valid JSON: "), None),
        (right, "POST", "/api/routes/a", "{}", (400, "Must specify 'target' as string"), None),
        (right, "POST", "/api/routes/a", "null", (400, "Must specify 'target' as string"), None),
        (right, "POST", "/api/routes/a", "[]", (400, "Must specify 'target' as string"), None),
        (right, "POST", "/api/routes/a", r#"{"target":1}"#, (400, "Must specify 'target'"), None),
        (right, "POST", "/api/routes/a/", &data.to_string(), (201, ""), None),
        (right, "POST", "/api/routes/user/al%20ice%40x/", &with("http://b:1"), (201, ""), None),
        (right, "POST", "/api/routes", &with("http://c:1"), (201, ""), None),
        (right, "GET", "/api/routes/a", "", (200, "{"), None),
        (right, "GET", "/api/routes/a/", "", (200, "{"), None),
        (right, "GET", "/api/routes/a/b", "", (404, ""), None),
        (right, "GET", "/api/routes?inactive_since=2100", "", (200, r#"{"/"#), None),
        (right, "GET", "/api/routes?inactiveSince=2100-01-01T00:00:00Z", "", (200, r#"{"/"#), None),
        (right, "GET", "/api/routes?inactive_since=2001-01-01", "", (200, "{}"), None),
        (
            right,
            "GET",
            "/api/routes?inactive_since=yesterday",
            "",
            (400, "Invalid datestamp 'yesterday' must be ISO8601."),
            None,
        ),
    ];
    for whose in all() {
        let proxy = Proxy::start(whose, &[]);
        for (who, method, path, body, ours, theirs) in table {
            let (status, start) =
                if whose == Whose::Theirs { theirs.as_ref().unwrap_or(ours) } else { ours };
            let reply = proxy.rest_as(who, method, path, body);
            let what = format!("{whose:?} {who:?} {method} {path} {body}: {reply:?}");
            assert_eq!(reply.status, *status, "{what}");
            assert!(
                if start.is_empty() {
                    reply.body.is_empty()
                } else {
                    reply.body.starts_with(start)
                },
                "{what}"
            );
        }
        // What was stored comes back, with the decoded keys and the moment of the last use.
        let all = proxy.rest("GET", "/api/routes", "").json();
        let keys: Vec<_> = {
            let mut keys: Vec<_> = all.as_object().unwrap().keys().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys, ["/", "/a", "/user/al ice@x"], "{whose:?}");
        let mut stored = all["/a"].clone();
        let used = stored.as_object_mut().unwrap().remove("last_activity").unwrap();
        assert_eq!(stored, data, "{whose:?}");
        let used = used.as_str().unwrap();
        assert!(used.len() == 24 && used.ends_with('Z') && used.as_bytes()[10] == b'T', "{used}");
        // A second POST takes the place of everything.
        let reply = proxy.rest("POST", "/api/routes/a", &with("http://d:1"));
        assert_eq!(reply.status, 201);
        let again = proxy.rest("GET", "/api/routes/a", "").json();
        assert_eq!(again["target"], "http://d:1");
        assert!(again.get("user").is_none() && again["last_activity"].as_str().unwrap() >= used);
        for (path, status) in [
            ("/api/routes/user/al%20ice@x", 204),
            ("/api/routes/user/al%20ice@x", 404),
            ("/api/routes/a/", 204),
            ("/api/routes/", 204),
        ] {
            assert_eq!(proxy.rest("DELETE", path, "").status, status, "{whose:?} {path}");
        }
        if whose == Whose::Ours {
            // Theirs never answers this.
            assert_eq!(proxy.rest("DELETE", "/api/routes", "").status, 404);
            let large = format!("{{\"target\":\"{}\"}}", "x".repeat(2 << 20));
            assert_eq!(proxy.rest("POST", "/api/routes/a", &large).status, 413);
        }
        assert_eq!(proxy.rest("GET", "/api/routes", "").body, "{}");
    }
}

#[test]
fn names_survive_the_round_trip() {
    // As JupyterHub escapes them, as they are listed, and a request of a browser that must find them.
    for whose in all() {
        let (proxy, backend) = (Proxy::start(whose, &[]), Backend::start("b"));
        for (posted, listed, asked) in [
            ("/user/al%20b@c~d/", "/user/al b@c~d", "/user/al%20b@c~d/lab?x=%20"),
            ("/user/%E7%A7%80%E6%A8%B9/", "/user/秀樹", "/user/%E7%A7%80%E6%A8%B9/"),
            ("/user/~TestJH/", "/user/~TestJH", "/user/%7ETestJH/x"),
            ("/user/a%25b/", "/user/a%b", "/user/a%25b/x"),
            ("/user/a+b/", "/user/a+b", "/user/a+b/x"),
        ] {
            proxy.route(posted, &backend.url(""));
            let all = proxy.rest("GET", "/api/routes", "").json();
            assert!(all.get(listed).is_some(), "{whose:?} {posted}: {all}");
            assert_eq!(proxy.get(asked, "").status, 200, "{whose:?} {asked}");
            assert_eq!(backend.last_target(), asked, "{whose:?}");
        }
    }
}

#[test]
fn what_counts_as_use_of_a_route() {
    for whose in all() {
        let (proxy, backend) = (Proxy::start(whose, &[]), Backend::start("b"));
        let used = |spec: &str| {
            let route = proxy.rest("GET", &format!("/api/routes{spec}"), "").json();
            route["last_activity"].as_str().unwrap().to_owned()
        };
        let post = |path: &str| {
            proxy.ask(&format!(
                "POST {path} HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
            ))
        };
        for (n, (path, by_post, counts)) in [
            ("/x", false, true),
            ("/status/204", false, true),
            ("/status/302", false, false),
            ("/status/304", false, false),
            ("/status/404", false, false),
            ("/status/500", false, false),
            ("/reset", false, false),
            ("/status/500", true, true),
        ]
        .into_iter()
        .enumerate()
        {
            let spec = format!("/use/{n}");
            proxy.route(&spec, &backend.url(""));
            let before = used(&spec);
            // The next moment that can be told from it.
            wait_until("a clock goes on", PATIENCE, || {
                proxy.route("/clock", &backend.url(""));
                used("/clock") > before
            });
            let asked = format!("{spec}{path}");
            let reply = if by_post { post(&asked) } else { proxy.get(&asked, "") };
            let what = format!("{whose:?} {path}: {reply:?}");
            if counts {
                wait_until(&what, PATIENCE, || used(&spec) > before);
            } else {
                assert_eq!(used(&spec), before, "{what}");
            }
        }
        // WebSockets: what the visitor says counts.
        proxy.route("/use/ws", &backend.url(""));
        let before = used("/use/ws");
        let (mut socket, head) = upgrade(proxy.public, "/use/ws/x", "");
        assert!(head.starts_with("HTTP/1.1 101"), "{whose:?} {head}");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(used("/use/ws"), before, "{whose:?}: a handshake is no use");
        socket.write_all(b"x").unwrap();
        wait_until("words are use", PATIENCE, || used("/use/ws") > before);
    }
}

#[test]
fn numbers_have_the_names_of_configurable_http_proxy() {
    for whose in all() {
        let [port] = ports();
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let proxy = Proxy::start(
            whose,
            &["--metrics-ip", "127.0.0.1", "--metrics-port", &port.to_string()],
        );
        let backend = Backend::start("b");
        proxy.route("/a", &backend.url(""));
        proxy.get("/a/x", "");
        proxy.get("/nope", "");
        drop(upgrade(proxy.public, "/a/ws", ""));
        proxy.rest("GET", "/api/routes", "");
        proxy.rest_as("", "GET", "/api/routes", "");
        proxy.rest("DELETE", "/api/routes/nope", "");
        let ask = |path: &str| {
            super::stand::ask(
                at,
                &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            )
        };
        let reply = ask("/metrics");
        assert_eq!(reply.status, 200);
        assert!(reply.fields("content-type")[0].starts_with("text/plain"), "{reply:?}");
        for line in [
            "api_route_get 1",
            "api_route_add 1",
            "api_route_delete 1",
            "requests_web 2",
            "requests_ws 1",
            "requests_proxy{status=\"200\"} 1",
            "requests_proxy{status=\"404\"} 1",
            "requests_api{status=\"201\"} 1",
            "requests_api{status=\"403\"} 1",
            "find_target_for_req_count 3",
        ] {
            assert!(
                reply.body.lines().any(|found| found == line),
                "{whose:?} {line}: {}",
                reply.body
            );
        }
        for name in ["last_activity_updating_count ", "process_resident_memory_bytes "] {
            assert!(reply.body.contains(name), "{whose:?} {name}");
        }
        assert_eq!(ask("/other").status, 404, "{whose:?}");
    }
}
