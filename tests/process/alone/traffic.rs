//! What becomes of requests: routing (`spec/proxy.md` 3), fields (4), errors (5), WebSockets (6), time-outs (8).

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use super::stand::{Backend, Proxy, Whose, all, ends, fields, upgrade};
use crate::support::free_ports;

#[test]
fn requests_find_their_targets() {
    for whose in all() {
        let ours = whose == Whose::Ours;
        let (a, b) = (Backend::start("a"), Backend::start("b"));
        let proxy = Proxy::start(whose, &[]);
        let at = |path: &str, expected: (u16, &str, &str)| {
            let reply = proxy.get(path, "");
            let (status, name, target) = expected;
            assert_eq!(reply.status, status, "{whose:?} {path}: {reply:?}");
            if status == 200 {
                let backend = if name == "a" { &a } else { &b };
                assert!(
                    reply.body.starts_with(&format!("{name}\n")),
                    "{whose:?} {path}: {reply:?}"
                );
                assert_eq!(backend.last_target(), target, "{whose:?} {path}");
            }
        };
        at("/x", (404, "", ""));
        proxy.route("/pp", &a.url("/pre?k=v"));
        proxy.route("/pp/deep", &b.url(""));
        proxy.route("/sp%20c", &b.url("/"));
        proxy.route("/slash", &a.url("/pre/"));
        for (path, expected) in [
            ("/pp", (200, "a", "/pre/pp?k=v")),
            ("/pp/", (200, "a", "/pre/pp/?k=v")),
            ("/pp/x?b=1&c", (200, "a", "/pre/pp/x?k=v&b=1&c")),
            ("/pp//x", (200, "a", "/pre/pp//x?k=v")),
            ("/pp/deepx", (200, "a", "/pre/pp/deepx?k=v")),
            ("/pp/deep", (200, "b", "/pp/deep")),
            ("/pp/deep/x%2Fy?z=%20", (200, "b", "/pp/deep/x%2Fy?z=%20")),
            ("/ppx", (404, "", "")),
            ("/%70p/x", (200, "a", "/pre/%70p/x?k=v")),
            ("/sp%20c/abc", (200, "b", "/sp%20c/abc")),
            ("/slash/x", (200, "a", "/pre/slash/x")),
            ("/", (404, "", "")),
        ] {
            at(path, expected);
        }
        // Where we differ: what others read differently is refused, and an encoded slash separates nothing.
        for (path, theirs, here) in [
            ("/pp/../pp/x", 200, 400),
            ("/pp/%2e%2e/x", 404, 400),
            ("/%zz", 500, 400),
            ("/pp/%ff", 500, 400),
            ("/pp%2Fdeep/x", 200, 404),
            ("//evil/pp/x", 200, 404),
        ] {
            let reply = proxy.get(path, "");
            assert_eq!(reply.status, if ours { here } else { theirs }, "{whose:?} {path}");
        }
        if ours {
            // It ends although nobody has asked for that.
            assert_eq!(proxy.ask("GET /%zz HTTP/1.1\r\nHost: {host}\r\n\r\n").status, 400);
        }
        assert_eq!(proxy.get("/_chp_healthz", "").json(), serde_json::json!({"status": "OK"}));
        assert_eq!(proxy.get("/_chp_healthz?x", "").status, 404);
        proxy.route("/", &a.url(""));
        at("/nope", (200, "a", "/nope"));
        proxy.route("/bad", "gopher://a");
        assert_eq!(proxy.get("/bad", "").status, if ours { 503 } else { 500 });
    }
}

#[test]
fn flags_change_what_is_sent_on() {
    for whose in all() {
        let ours = whose == Whose::Ours;
        let backend = Backend::start("b");
        // Flags; the route and the path of its target; what is asked for; what arrives of ours, and of theirs.
        for (flags, spec, before, asked, here, theirs) in [
            (&["--no-prepend-path"][..], "/pp", "/pre", "/pp/x?y", "/pp/x?y", "/pp/x?y"),
            (&["--no-include-prefix"], "/pp", "/pre", "/pp/x?y", "/pre/x?y", "/pre/x?y"),
            // Theirs cuts as many letters as the decoded prefix has.
            (&["--no-include-prefix"], "/sp%20c", "/pre", "/sp%20c/abc", "/pre/abc", "/pre/0c/abc"),
            (&["--no-include-prefix", "--no-prepend-path"], "/pp", "/pre", "/pp/x", "/x", "/x"),
        ] {
            let proxy = Proxy::start(whose, flags);
            proxy.route(spec, &backend.url(before));
            assert_eq!(proxy.get(asked, "").status, 200, "{whose:?} {flags:?} {asked}");
            let expected = if ours { here } else { theirs };
            assert_eq!(backend.last_target(), expected, "{whose:?} {flags:?} {asked}");
        }
        let proxy = Proxy::start(whose, &["--default-target", &backend.url("/d")]);
        assert_eq!(proxy.get("/x", "").status, 200);
        assert_eq!(backend.last_target(), "/d/x");
        assert!(proxy.rest("GET", "/api/routes", "").json().get("/").is_some());
    }
}

#[test]
fn hosts_have_routes_of_their_own() {
    for whose in all() {
        let ours = whose == Whose::Ours;
        let (a, b) = (Backend::start("a"), Backend::start("b"));
        let proxy = Proxy::start(whose, &["--host-routing"]);
        proxy.route("/", &a.url(""));
        proxy.route("/sub.example.com/user/x/", &b.url(""));
        if ours {
            proxy.route("/%5B::1%5D/v6", &b.url(""));
        }
        let listed = proxy.rest("GET", "/api/routes", "").json();
        assert_eq!(listed["/sub.example.com/user/x"]["host"], "sub.example.com", "{whose:?}");
        for (host, path, here, theirs) in [
            ("sub.example.com", "/user/x/y", "b", "b"),
            ("sub.example.com:8000", "/user/x", "b", "b"),
            ("SUB.Example.com", "/user/x", "b", "a"),
            ("sub.example.com", "/user/y", "a", "a"),
            ("example.com", "/user/x", "a", "a"),
            ("[::1]:80", "/v6/x", "b", "a"),
        ] {
            let reply = proxy
                .ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            let name = if ours { here } else { theirs };
            assert!(
                reply.body.starts_with(&format!("{name}\n")),
                "{whose:?} {host}{path}: {reply:?}"
            );
        }
        assert_eq!(proxy.rest("DELETE", "/api/routes/sub.example.com/user/x", "").status, 204);
    }
}

#[test]
fn sockets_are_targets() {
    for whose in all() {
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend::at("unix", &dir.path().join("s ock"));
        let proxy = Proxy::start(whose, &[]);
        for scheme in ["http+unix", "unix+http"] {
            proxy.route(
                "/u",
                &backend.url("/pre").replacen("http+unix", scheme, 1).replace(' ', "%20"),
            );
            let reply = proxy.get("/u/x?y", "");
            assert!(reply.body.starts_with("unix\n"), "{whose:?} {scheme}: {reply:?}");
            assert_eq!(backend.last_target(), "/pre/u/x?y", "{whose:?}");
        }
        let (mut socket, head) = upgrade(proxy.public, "/u/ws", "");
        assert!(head.starts_with("HTTP/1.1 101"), "{whose:?} {head}");
        socket.write_all(b"ping").unwrap();
        let mut back = [0; 4];
        socket.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"ping");
    }
}

#[test]
fn targets_are_told_for_whom_we_speak() {
    let claims = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
                  X-Forwarded-Host: outer\r\n";
    // Flags, what is claimed, by WebSocket?, and what arrives: For, Port, Proto, Host (not told by theirs to WebSockets).
    let table: &[(&[&str], &str, bool, [&str; 4])] = &[
        (&[], "", false, ["127.0.0.1", "{port}", "http", "{host}"]),
        (&[], "", true, ["127.0.0.1", "{port}", "ws", "{host}"]),
        (&[], claims, false, ["1.2.3.4,127.0.0.1", "443,{port}", "https,http", "outer"]),
        (&[], claims, true, ["1.2.3.4,127.0.0.1", "443,{port}", "https,ws", "outer"]),
        (&["--no-x-forward"], "", false, ["", "", "", ""]),
        (&["--no-x-forward"], claims, false, ["1.2.3.4", "https", "443", "outer"]),
    ];
    for whose in all() {
        for (flags, claims, websocket, expected) in table {
            let backend = Backend::start("b");
            let proxy = Proxy::start(whose, flags);
            proxy.route("/", &backend.url(""));
            if *websocket {
                upgrade(proxy.public, "/ws", claims);
            } else {
                proxy.get("/x", claims);
            }
            let heads = backend.seen();
            let head = heads.last().unwrap();
            let (host, port) = (proxy.public.to_string(), proxy.public.port().to_string());
            let mut expected =
                expected.map(|it| it.replace("{port}", &port).replace("{host}", &host));
            if flags.contains(&"--no-x-forward") {
                expected.swap(1, 2);
            }
            for (name, expected) in ["for", "port", "proto", "host"].iter().zip(&expected) {
                if whose == Whose::Theirs && *websocket && *name == "host" {
                    continue;
                }
                let found = fields(head, &format!("x-forwarded-{name}")).join("|");
                assert_eq!(&found, expected, "{whose:?} {flags:?} {websocket} {name}: {head}");
            }
        }
    }
}

#[test]
fn fields_pass_or_are_set() {
    for whose in all() {
        let backend = Backend::start("b");
        let proxy = Proxy::start(
            whose,
            &["--change-origin", "--custom-header", "X-Ours: 1", "--custom-header", "X-Two:a:b"],
        );
        proxy.route("/", &backend.url(""));
        let reply = proxy.get("/cookies", "X-Ours: theirs\r\nX-Mine: kept\r\nCookie: c=d\r\n");
        let heads = backend.seen();
        let head = heads.last().unwrap();
        let own = backend.url("").trim_start_matches("http://").to_owned();
        for (name, value) in [
            ("host", &*own),
            ("x-ours", "1"),
            ("x-two", "a:b"),
            ("x-mine", "kept"),
            ("cookie", "c=d"),
        ] {
            assert_eq!(fields(head, name), [value], "{whose:?} {head}");
        }
        assert_eq!(reply.fields("set-cookie"), ["a=1", "b=2"], "{whose:?} {reply:?}");
        assert_eq!(reply.fields("content-type"), ["text/x-told"], "{whose:?}");
        // A hop's own fields go no further with us.
        if whose == Whose::Ours {
            proxy.ask("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n");
            let heads = backend.seen();
            let head = heads.last().unwrap();
            assert!(
                fields(head, "x-hop").is_empty() && fields(head, "te") == ["trailers"],
                "{head}"
            );
        }
        let plain = Proxy::start(whose, &[]);
        plain.route("/", &backend.url(""));
        plain.get("/x", "");
        assert_eq!(fields(backend.seen().last().unwrap(), "host"), [plain.public.to_string()]);
    }
}

#[test]
fn redirections_are_rewritten_if_asked_for() {
    for whose in all() {
        let backend = Backend::start("b");
        let own = backend.url("/there?x");
        for (flags, code, place, expected) in [
            (&[][..], 302, &*own, "{own}"),
            (&["--auto-rewrite"], 302, &own, "http://{host}/there?x"),
            (&["--auto-rewrite"], 201, &own, "http://{host}/there?x"),
            (&["--auto-rewrite"], 303, &own, "{own}"),
            (&["--auto-rewrite"], 302, "http://elsewhere/x", "http://elsewhere/x"),
            (
                &["--auto-rewrite", "--protocol-rewrite", "https"],
                308,
                &own,
                "https://{host}/there?x",
            ),
        ] {
            let proxy = Proxy::start(whose, flags);
            proxy.route("/", &backend.url(""));
            // `?` would end the path of the request; the backend is told it encoded and decodes it itself: not needed here.
            let asked = format!("/to/{code}/{}", place.split('?').next().unwrap());
            let reply = proxy.get(&asked, "");
            let expected =
                expected.replace("{own}", place).replace("{host}", &proxy.public.to_string());
            let expected = expected.split('?').next().unwrap();
            assert_eq!(
                reply.fields("location"),
                [expected],
                "{whose:?} {flags:?} {code}: {reply:?}"
            );
        }
    }
}

#[test]
fn visitors_get_somebodys_page_where_there_is_no_answer() {
    let nobody = format!("http://127.0.0.1:{}", free_ports(1));
    for whose in all() {
        let pages = Backend::start("pages");
        let proxy = Proxy::start(whose, &["--error-target", &pages.url("/hub/error")]);
        proxy.route("/down", &nobody);
        proxy.route("/cut", &pages.url("/reset"));
        for (path, status, asked) in [
            ("/nope/a?b=c%20d", 404, "/hub/error/404?url=%2Fnope%2Fa%3Fb%3Dc%2520d"),
            ("/down/x", 503, "/hub/error/503?url=%2Fdown%2Fx"),
            ("/cut/x", 503, "/hub/error/503?url=%2Fcut%2Fx"),
        ] {
            for method in ["GET", "POST"] {
                let reply = proxy.ask(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: {{host}}\r\nCookie: secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                ));
                let what = format!("{whose:?} {method} {path}: {reply:?}");
                assert_eq!(reply.status, status, "{what}");
                assert!(reply.body.starts_with("pages\nGET "), "{what}");
                assert!(!reply.body.contains("secret"), "{what}");
                assert_eq!(reply.fields("content-type"), ["text/x-told"], "{what}");
                assert_eq!(pages.last_target(), asked, "{what}");
            }
        }
        // The status stays ours whatever the page has.
        let other = Proxy::start(whose, &["--error-target", &pages.url("/status/200/x")]);
        assert_eq!(other.get("/nope", "").status, 404, "{whose:?}");
        // Nobody has a page.
        let lonely = Proxy::start(whose, &["--error-target", &nobody]);
        let reply = lonely.get("/nope", "");
        assert_eq!((reply.status, &*reply.body), (404, "Not Found"), "{whose:?}");

        if whose == Whose::Ours {
            // The longest there can be is still a value in a query.
            let longest = format!("/{}", "%20".repeat(5_400));
            assert!(proxy.get(&longest, "").body.starts_with("pages\nGET "));
            assert_eq!(proxy.get(&format!("{longest}{longest}"), "").status, 414);
            // Who has the pages is the proxy itself: no request makes another without end.
            let own = Proxy::start(whose, &["--error-target", "http://127.0.0.1:{public}/x"]);
            let reply = own.get("/nope", "");
            assert_eq!((reply.status, &*reply.body), (404, "Not Found"));
        }

        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("404.html"), "<p>gone").unwrap();
        std::fs::write(dir.path().join("error.html"), "<p>any").unwrap();
        let files = Proxy::start(whose, &["--error-path", dir.path().to_str().unwrap()]);
        files.route("/down", &nobody);
        for (path, status, body) in [("/nope", 404, "<p>gone"), ("/down", 503, "<p>any")] {
            let reply = files.get(path, "");
            assert_eq!((reply.status, &*reply.body), (status, body), "{whose:?}");
            assert_eq!(reply.fields("content-type"), ["text/html"], "{whose:?}");
        }
        std::fs::remove_file(dir.path().join("error.html")).unwrap();
        assert_eq!(files.get("/down", "").body, "Service Unavailable", "{whose:?}");
        let own = Proxy::start(whose, &[]).get("/nope", "");
        let kind = own.fields("content-type").pop().unwrap_or_default();
        assert!(kind.starts_with("text/html"), "{whose:?} {own:?}");
    }
}

#[test]
fn websockets_are_carried_as_they_are() {
    for whose in all() {
        let ours = whose == Whose::Ours;
        let backend = Backend::start("b");
        let proxy = Proxy::start(whose, &["--timeout", "60000"]);
        proxy.route("/", &backend.url(""));
        let (mut socket, head) =
            upgrade(proxy.public, "/ws?x=y", "Sec-WebSocket-Protocol: chat, b\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{whose:?} {head}");
        assert_eq!(fields(&head, "sec-websocket-protocol"), ["chat"], "{whose:?}");
        assert_eq!(fields(&head, "set-cookie"), ["a=1", "b=2"], "{whose:?}");
        assert_eq!(backend.last_target(), "/ws?x=y");
        let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_be_bytes()[3]).collect();
        let mut back = vec![0; sent.len()];
        let mut writer = socket.try_clone().unwrap();
        let words = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&words).unwrap());
        socket.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == sent, "{whose:?}: other bytes came back");
        // Refused by the target: an answer like others.
        let (mut socket, head) = upgrade(proxy.public, "/status/403", "");
        assert!(head.starts_with("HTTP/1.1 403"), "{whose:?} {head}");
        assert!(ends(&mut socket, Duration::from_secs(20)), "{whose:?}");
        // Where there is nobody: the status, and the end. Theirs stays open after a 404.
        let lonely = Proxy::start(whose, &[]);
        lonely.route("/down", "http://127.0.0.1:1");
        for (path, status, stays_open) in [("/nope", 404, true), ("/down", 503, false)] {
            let (mut socket, head) = upgrade(lonely.public, path, "");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{whose:?} {path} {head}");
            let ended = ends(
                &mut socket,
                if ours { Duration::from_secs(20) } else { Duration::from_millis(300) },
            );
            assert_eq!(ended, ours || !stays_open, "{whose:?} {path}");
        }
    }
}

#[test]
fn silence_has_limits() {
    for whose in all() {
        let backend = Backend::start("b");
        let proxy = Proxy::start(whose, &["--proxy-timeout", "300", "--keep-alive-timeout", "500"]);
        proxy.route("/", &backend.url(""));
        let reply = proxy.get("/hang", "");
        assert_eq!(reply.status, 503, "{whose:?} {reply:?}");
        let mut kept = std::net::TcpStream::connect(proxy.public).unwrap();
        let request = format!("GET /x HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.public);
        kept.write_all(request.as_bytes()).unwrap();
        let began = Instant::now();
        assert!(ends(&mut kept, Duration::from_secs(20)), "{whose:?}");
        assert!(began.elapsed() >= Duration::from_millis(400), "{whose:?}: {:?}", began.elapsed());
        // A WebSocket may be silent for longer.
        let (mut socket, _) = upgrade(proxy.public, "/ws", "");
        std::thread::sleep(Duration::from_millis(700));
        socket.write_all(b"x").unwrap();
        let mut back = [0];
        socket.read_exact(&mut back).unwrap();

        let strict = Proxy::start(whose, &["--timeout", "300"]);
        strict.route("/", &backend.url(""));
        let reply = strict.get("/hang", "");
        // Theirs cuts without a word.
        assert_eq!(reply.status, if whose == Whose::Ours { 503 } else { 0 }, "{whose:?} {reply:?}");
        assert_eq!(strict.get("/x", "").status, 200, "{whose:?}");
    }
}
