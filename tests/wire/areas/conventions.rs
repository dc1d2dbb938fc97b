//! What holds for every endpoint: paths, methods, credentials, the forms of errors, what caches may do.

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("conventions");
    roots_and_paths(&mut it);
    methods(&mut it);
    credentials(&mut it);
    tags(&mut it);
    it
}

fn roots_and_paths(it: &mut Area) {
    it.ask("nobody", "GET ");
    it.ask("nobody", "GET /");
    it.ask("nobody", "GET ").header("Origin", "https://elsewhere.example");
    it.ask("boss", "GET ");
    it.ask("nobody", "POST ");
    it.ask("nobody", "HEAD ");
    for path in ["/nowhere", "/users/ann/nothing", "/userss", "/hub", "/groups/a/b/c/d"] {
        it.ask("nobody", &format!("GET {path}"));
        it.ask("boss", &format!("GET {path}"));
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
        it.ask("nobody", &format!("{method} /nowhere"));
    }
    it.ask("nobody", "POST /nowhere").header("Origin", "https://elsewhere.example");
    for path in [
        "/users/",
        "/users/ann/",
        "/users/ann/server/",
        "/users/ann/tokens/",
        "/users/ann/servers",
        "/info/",
        "/user/",
        "/groups/",
        "/services/",
        "/proxy/",
        "/users/ann/server/progress/",
    ] {
        it.ask("boss", &format!("GET {path}"));
    }
    it.ask("boss", "GET /users/ann/servers/");
    it.page("nobody", "GET /hub");
    it.page("nobody", "GET /hub?a=b");
}

fn methods(it: &mut Area) {
    for path in [
        "",
        "/info",
        "/user",
        "/users",
        "/users/ann",
        "/users/nobody-at-all",
        "/users/ann/activity",
        "/users/ann/tokens",
        "/users/ann/tokens/a1",
        "/users/ann/server",
        "/users/ann/servers/lab",
        "/users/ann/server/progress",
        "/users/ann/shared",
        "/groups",
        "/groups/staff",
        "/groups/staff/users",
        "/groups/staff/properties",
        "/services",
        "/services/plain",
        "/shares/ann",
        "/shares/ann/lab",
        "/share-codes/ann/lab",
        "/proxy",
        "/shutdown",
        "/oauth2/token",
    ] {
        it.ask("nobody", &format!("OPTIONS {path}"));
    }
    for line in [
        "PUT /users",
        "DELETE /users",
        "PATCH /info",
        "POST /info",
        "POST /user",
        "PUT /users/ann",
        "GET /users/ann/activity",
        "DELETE /users/ann/tokens",
        "POST /users/ann/tokens/a1",
        "OPTIONS /users/ann",
        "POST /users/ann/server/progress",
        "DELETE /groups",
        "PATCH /groups/staff",
        "GET /groups/staff/users",
        "GET /groups/staff/properties",
        "POST /services",
        "PATCH /services/plain",
        "DELETE /proxy",
        "GET /shutdown",
        "GET /oauth2/token",
        "POST /shares/ann",
        "POST /share-codes/ann",
        "TRACE /users",
        "HEAD /users",
        "HEAD /user",
        "HEAD /info",
    ] {
        it.ask("nobody", line);
        it.ask("boss", line);
    }
    it.ask("ann", "PUT /users/bob");
    it.ask("page:ann", "PUT /users/bob");
    it.ask("cookie:ann", "PUT /users/bob");
}

fn credentials(it: &mut Area) {
    it.ask("boss", "POST /users/boss/tokens").keep("spare", "/token");
    for (before, after) in [
        ("token ", ""),
        ("Token ", ""),
        ("TOKEN\t", ""),
        ("bearer ", ""),
        ("Bearer   ", "  "),
        ("BEARER \t ", ""),
        ("Basic ", ""),
        ("token", ""),
        ("token ", " more"),
        ("token: ", ""),
        ("", ""),
        ("token \"", "\""),
        ("token ", "x"),
        ("Digest token ", ""),
    ] {
        let header = format!("{before}{{spare}}{after}");
        it.ask("nobody", "GET /user").header("Authorization", &header);
    }
    for length in [1, 3, 4, 7, 8, 63, 64, 65, 1_000, 6_000] {
        it.ask("nobody", "GET /user")
            .header("Authorization", &format!("token {}", "x".repeat(length)));
    }
    it.ask("nobody", "GET /user").header("Authorization", "token %00%ff");
    it.ask("nobody", "GET /user").header("Authorization", "token ü€");
    it.ask("nobody", "GET /user?token={spare}");
    it.ask("nobody", "GET /user?access_token={spare}");
    it.ask("nobody", "GET /users/ann?token={spare}");
    it.ask("cookie:ann", "GET /user").header("Authorization", "token nobody-has-this-one");
    it.ask("cookie:ann", "GET /user").header("Authorization", "token {spare}");
    it.ask("cookie:ann", "POST /users/ann/activity")
        .header("Authorization", "token {spare}")
        .bytes(b"{}");
    it.ask("nobody", "GET /user");
    it.ask("nobody", "GET /users/ann").header("Authorization", "token nobody-has-this-one");
    it.ask("nobody", "GET /user").header("Cookie", "jupyterhub-hub-login=nonsense");
    it.ask("nobody", "GET /user").header(
        "Cookie",
        "jupyterhub-hub-login=\"2|1:0|10:1700000000|20:jupyterhub-hub-login|4:YWJj|00\"",
    );
}

fn tags(it: &mut Area) {
    it.ask("boss", "GET /info").keep("tag", "etag");
    it.ask("boss", "GET /info").header("If-None-Match", "{tag}");
    it.ask("boss", "GET /info").header("If-None-Match", "W/{tag}");
    it.ask("boss", "GET /info").header("If-None-Match", "\"other\", {tag}");
    it.ask("boss", "GET /info").header("If-None-Match", "\"other\"");
    it.ask("boss", "GET /info").header("If-None-Match", "*");
    it.ask("nobody", "GET ").keep("root", "etag");
    it.ask("nobody", "GET ").header("If-None-Match", "{root}");
    it.ask("nobody", "GET /info").header("If-None-Match", "{tag}");
    it.ask("boss", "GET /users/nobody-at-all").header("If-None-Match", "*");
    for accept in ["text/html", "application/xml", "*/*", "application/json;q=0.1", ""] {
        it.ask("boss", "GET /info").header("Accept", accept);
        it.ask("nobody", "GET /info").header("Accept", accept);
    }
    it.ask("boss", "GET /info").header("Accept-Encoding", "gzip");
}
