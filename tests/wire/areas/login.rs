//! Signing in and out, and where one is sent afterwards.

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("login");
    forms(&mut it);
    next(&mut it);
    out(&mut it);
    it
}

const PASSWORD: &str = "a+password+for+everybody";

/// One browser signs in with a fresh form.
fn sign_in(it: &mut Area, browser: &str, name: &str, next: &str) {
    let who = format!("browser:{browser}");
    it.page(&who, &format!("GET /hub/login{next}"));
    let form = format!("username={name}&password={PASSWORD}&_xsrf={{xsrf:{browser}}}");
    it.page(&who, &format!("POST /hub/login{next}")).form(&form);
}

fn forms(it: &mut Area) {
    it.page("browser:one", "GET /hub/login");
    it.page("browser:one", "GET /hub/login?next=%2Fhub%2Fhome");
    it.page("browser:one", "POST /hub/login").form(&format!("username=lena&password={PASSWORD}"));
    it.page("browser:one", "POST /hub/login")
        .form(&format!("username=lena&password={PASSWORD}&_xsrf=nonsense"));
    it.page("browser:one", "POST /hub/login").form("username=lena&password=wrong&_xsrf={xsrf:one}");
    it.page("browser:one", "POST /hub/login").form("password=wrong&_xsrf={xsrf:one}");
    it.page("browser:one", "POST /hub/login")
        .form(&format!("username=%20Lena%20&password={PASSWORD}&_xsrf={{xsrf:one}}"));
    it.ask("browser:one", "GET /user");
    it.page("browser:one", "GET /hub/login");
    it.page("browser:one", "GET /hub/login?next=%2Fhub%2Ftoken");
    it.page("browser:two", "PUT /hub/login");
    it.page("browser:two", "OPTIONS /hub/login");
    it.page("browser:two", "HEAD /hub/login");
    for name in ["a%2Fb", "..", "%20", "%2e"] {
        it.page("browser:two", "GET /hub/login");
        it.page("browser:two", "POST /hub/login")
            .form(&format!("username={name}&password={PASSWORD}&_xsrf={{xsrf:two}}"));
    }
}

fn next(it: &mut Area) {
    let here = "http%3A%2F%2F{host}";
    for (number, next) in [
        "",
        "%2Fhub%2Fhome%3Fa%3Db%23f",
        &format!("{here}%2Fhub%2Fhome"),
        "%2F%2F{host}%2Fx",
        "%2F%2F{host}%2F%2Fevil%2Fx",
        "https%3A%2F%2F{host}%2Fhub%2Fhome",
        &format!("{here}%40evil.example%2F"),
        "%2F%2Fevil.example%2F",
        "%2F%2F%2Fevil.example",
        "%2F%2F%2F%2Fevil.example",
        "http%3A%2Fevil.example",
        "javascript%3Aalert(1)",
        "hub%2Fhome",
        "%252f%252fevil.example",
        "%5C%5Cevil.example",
        "%2F%5Cevil.example",
        "%2Fhub%2Fuser%2Flena%2Flab",
        "%2Fuser%2Flena%2F",
        "%2F%09%2Fevil.example",
        "%2Fa%0Ab",
    ]
    .iter()
    .enumerate()
    {
        let query = if next.is_empty() { String::new() } else { format!("?next={next}") };
        sign_in(it, &format!("next{number}"), "lena", &query);
    }
    it.page("browser:next0", "GET /hub/login?next=%2F%2Fevil.example");
    it.page("browser:next0", "GET /hub/");
    it.page("nobody", "GET /hub/");
    it.page("nobody", "GET /hub/home");
    it.page("nobody", "GET /hub/token");
    it.page("nobody", "GET /hub/home?a=b&c=%20d");
}

fn out(it: &mut Area) {
    it.page("nobody", "GET /hub/logout");
    it.page("browser:next0", "GET /hub/logout");
    it.ask("browser:next0", "GET /user");
    it.page("browser:next0", "GET /hub/home");
    it.page("browser:next0", "GET /hub/logout");
    it.page("browser:next1", "POST /hub/logout");
    it.page("nobody", "GET /");
    it.page("nobody", "GET /something?a=b");
    it.page("nobody", "GET /user/lena");
    it.page("nobody", "GET /user/lena/lab?a=b");
    it.page("nobody", "GET /services/x");
    it.page("nobody", "POST /user/lena/api/kernels");
}
