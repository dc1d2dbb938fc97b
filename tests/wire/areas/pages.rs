//! Pages as programs meet them: statuses, redirects, cookies. (What people see in them is ours.)

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("pages").between("paul", "bob");
    for who in ["nobody", "paul", "cookie:paul", "cookie:bob", "cookie:boss"] {
        for path in [
            "/hub/home",
            "/hub/token",
            "/hub/user/paul",
            "/hub/user/paul/",
            "/hub/user/paul/lab?a=b",
            "/hub/user/paul/api/kernels",
            "/hub/user/nobody-at-all/",
            "/hub/user-redirect/lab?a=b",
            "/hub/user-redirect",
            "/hub/spawn-pending/paul",
            "/hub/spawn-pending/paul/nothing",
            "/hub/spawn-pending/nobody-at-all",
        ] {
            it.page(who, &format!("GET {path}"));
        }
    }
    for accept in [
        "application/json",
        "text/html",
        "text/html, application/json",
        "application/json, text/html;q=0.9",
        "*/*",
        "application/json;q=0.5, text/html",
    ] {
        it.page("cookie:paul", "GET /hub/user/paul/lab").header("Accept", accept);
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
        it.page("nobody", &format!("{method} /hub/user/paul/api"));
        it.page("paul", &format!("{method} /hub/user/paul/api"));
        it.page("cookie:paul", &format!("{method} /hub/user/paul/api"));
        it.page("page:paul", &format!("{method} /hub/user/paul/api"));
        it.page("cookie:paul", &format!("{method} /hub/home"));
    }
    it.page("cookie:bob", "GET /hub/spawn/paul");
    it.page("cookie:paul", "GET /hub/spawn/nobody-at-all");
    it.page("cookie:paul", "POST /hub/spawn").form("a=b");
    it.ask("paul", "POST /users/paul/server");
    it.ask("paul", "GET /users/paul/server").until("/ready", true);
    it.page("cookie:paul", "GET /hub/spawn?next=%2Fhub%2Fhome");
    it.page("cookie:paul", "GET /hub/spawn-pending/paul");
    it.page("cookie:paul", "GET /hub/user/paul/lab?a=b");
    it.page("cookie:paul", "GET /hub/user/paul/lab?redirects=4");
    it.page("cookie:boss", "GET /hub/user/paul/lab");
    it.page("cookie:bob", "GET /hub/user/paul/lab");
    it.page("paul", "GET /hub/user/paul/lab");
    it.page("cookie:paul", "GET /hub/user-redirect/lab?a=b");
    it.page("cookie:paul", "GET /hub/");
    it.page("cookie:paul", "GET /hub/login");
    it.ask("paul", "DELETE /users/paul/server");
    it.ask("paul", "GET /users/paul/server").until("/stopped", true);
    it.page("cookie:paul", "GET /hub/");
    for path in ["/hub/admin", "/hub/groups"] {
        for who in ["nobody", "cookie:paul", "cookie:boss"] {
            it.page(who, &format!("GET {path}"));
        }
    }
    it
}
