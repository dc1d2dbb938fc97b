//! The API called from a browser: what the cookie alone may, where the form token is asked for, and which forms of it
//! count.

use serde_json::json;

use crate::exchange::Area;

/// Something an owner may, that changes nothing that is seen.
const NOTE: &str = "POST /users/cleo/activity";

pub(crate) fn area() -> Area {
    let mut it = Area::new("cookies").between("cleo", "bob");
    reading(&mut it);
    changing(&mut it);
    content_types(&mut it);
    strangers(&mut it);
    it
}

fn reading(it: &mut Area) {
    it.ask("cookie:cleo", "GET /user");
    for mode in ["navigate", "cors", "no-cors", "same-origin", "websocket", "nonsense"] {
        it.ask("cookie:cleo", "GET /user").header("Sec-Fetch-Mode", mode);
        it.ask("page:cleo", "GET /user").header("Sec-Fetch-Mode", mode);
    }
    for site in ["same-origin", "same-site", "none"] {
        it.ask("cookie:cleo", "GET /user")
            .header("Sec-Fetch-Mode", "no-cors")
            .header("Sec-Fetch-Site", site);
    }
    it.ask("cookie:cleo", "GET /users/cleo");
    it.ask("cookie:cleo", "GET /users/bob");
    it.ask("cookie:cleo", "GET /users");
    it.ask("cookie:cleo", "OPTIONS /user").header("Sec-Fetch-Mode", "cors");
    it.ask("cookie:cleo", "GET ").header("Sec-Fetch-Mode", "cors");
    it.ask("cookie:cleo", "GET /nowhere").header("Sec-Fetch-Mode", "cors");
    it.ask("cookie:cleo", "GET /user").header("Referer", "https://elsewhere.example/");
    it.ask("cookie:cleo", "GET /user").header("Origin", "https://elsewhere.example");
}

fn changing(it: &mut Area) {
    let body = json!({ "last_activity": "2020-01-01T00:00:00Z" });
    it.ask("cookie:cleo", NOTE).json(body.clone());
    it.ask("page:cleo", NOTE).json(body.clone());
    it.ask("page:cleo", NOTE).json(body.clone()).header("Referer", "https://elsewhere.example/");
    it.ask("page:cleo", NOTE).json(body.clone()).header("Origin", "https://elsewhere.example");
    it.ask("cookie:cleo", NOTE).json(body.clone()).header("X-XSRFToken", "nonsense");
    it.ask("cookie:cleo", NOTE).json(body.clone()).header("Sec-Fetch-Mode", "navigate");
    it.ask("cookie:cleo", NOTE).json(body.clone()).header("Sec-Fetch-Mode", "websocket");
    it.ask("cookie:cleo", &format!("{NOTE}?_xsrf=nonsense")).json(body.clone());
    it.ask("page:cleo", &format!("{NOTE}?_xsrf=nonsense")).json(body.clone());
    it.ask("cookie:cleo", NOTE).json(json!({ "_xsrf": "nonsense" }));
    for line in ["PUT /users/cleo/server", "PATCH /users/cleo/server", "DELETE /users/cleo/server"]
    {
        it.ask("cookie:cleo", line);
    }
    it.ask("page:cleo", "DELETE /users/cleo/server");
    it.ask("page:cleo", "PATCH /users/cleo");
    it.ask("page:cleo", "POST /users/cleo/tokens").json(json!({ "note": "by hand" }));
    it.ask("cookie:cleo", "POST /users/cleo/tokens").json(json!({ "note": "by hand" }));
    it.ask("cleo", NOTE).json(body.clone()).header("Origin", "https://elsewhere.example");
    it.ask("cleo", NOTE).json(body).header("Sec-Fetch-Site", "cross-site");
}

fn content_types(it: &mut Area) {
    let body = br#"{"last_activity": "2020-01-01T00:00:00Z"}"#;
    it.ask("page:cleo", NOTE).bytes(body);
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
    ] {
        it.ask("page:cleo", NOTE).bytes(body).header("Content-Type", kind);
        it.ask("cleo", NOTE).bytes(body).header("Content-Type", kind);
    }
    it.ask("page:cleo", "DELETE /users/cleo/server").header("Content-Type", "text/plain");
}

fn strangers(it: &mut Area) {
    let body = json!({});
    it.ask("nobody", NOTE).json(body.clone());
    it.ask("nobody", NOTE).json(body.clone()).header("Origin", "https://elsewhere.example");
    it.ask("nobody", "GET /users/cleo").header("Origin", "https://elsewhere.example");
    it.ask("nobody", "GET /users/cleo")
        .header("Origin", "https://elsewhere.example")
        .header("Sec-Fetch-Mode", "cors");
    it.ask("nobody", NOTE).json(body.clone()).header("X-XSRFToken", "nonsense");
    it.ask("nobody", "POST /users/cleo/tokens").json(body.clone());
    it.ask("nobody", "POST /users/cleo/tokens")
        .json(body)
        .header("Origin", "https://elsewhere.example");
}
