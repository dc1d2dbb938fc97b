//! The OAuth provider, with services of the configuration as clients.

use crate::exchange::Area;

const AUTHORIZE: &str = "/hub/api/oauth2/authorize";
const BACK: &str = "http%3A%2F%2F127.0.0.1%3A9%2Fback";
/// BASE64URL(SHA256("a-verifier-of-at-least-forty-three-characters-xyz")).
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-xyz";

pub(crate) fn area() -> Area {
    let mut it = Area::new("oauth");
    authorizing(&mut it);
    consenting(&mut it);
    exchanging(&mut it);
    proving(&mut it);
    ending(&mut it);
    it
}

fn ask<'a>(it: &'a mut Area, who: &str, query: &str) -> crate::exchange::Asked<'a> {
    it.page(who, &format!("GET {AUTHORIZE}?{query}"))
}

/// A code for the client that never asks, kept under this name.
fn code(it: &mut Area, name: &str, more: &str) {
    let query =
        format!("client_id=service-quiet&response_type=code&redirect_uri={BACK}&state=abc{more}");
    ask(it, "cookie:vic", &query).keep(name, "?code");
}

fn authorizing(it: &mut Area) {
    let right = format!("client_id=service-web&response_type=code&redirect_uri={BACK}");
    ask(it, "nobody", &right);
    ask(it, "vic", &right);
    ask(it, "cookie:ann", &right);
    ask(it, "cookie:ann", "client_id=service-quiet&response_type=code");
    for query in [
        "",
        "response_type=code",
        "client_id=nonsense&response_type=code",
        "client_id=jupyterhub&response_type=code",
        "client_id=service-plain&response_type=code",
        "client_id=jupyterhub-user-vic&response_type=code",
        "client_id=service-web",
        "client_id=service-web&response_type=token",
        "client_id=service-web&response_type=code%20token",
        "client_id=service-web&response_type=",
        "client_id=service-web&response_type=code&redirect_uri=http%3A%2F%2Fevil.example%2F",
        "client_id=service-web&response_type=code&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fback%2F",
        "client_id=service-web&response_type=code&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fback%3Fa%3Db",
        "client_id=service-web&response_type=code&redirect_uri=%2Fback",
        "client_id=service-web&response_type=code&redirect_uri=",
        "client_id=service-web&client_id=service-web&response_type=code",
        "client_id=service-web&response_type=code&response_type=code",
        "client_id=service-web&response_type=code&state=a&state=b",
        "client_id=service-web&response_type=code&scope=nonsense&state=s",
        "client_id=service-web&response_type=code&scope=admin:users&state=s",
        "client_id=service-web&response_type=code&scope=inherit",
        "client_id=service-web&response_type=code&code_challenge=x&code_challenge_method=nonsense",
    ] {
        ask(it, "cookie:vic", query);
    }
    let head = "client_id=service-web&response_type=code&state=s";
    for scope in [
        "",
        "&scope=",
        "&scope=identify",
        "&scope=read:users!user",
        "&scope=read:users%20identify",
        "&scope=user",
        "&scope=access:services!service%3Dweb",
        "&scope=read:users:name!user",
    ] {
        ask(it, "cookie:vic", &format!("{head}{scope}"));
    }
    it.page("cookie:vic", &format!("HEAD {AUTHORIZE}?{right}"));
    it.page("cookie:vic", &format!("DELETE {AUTHORIZE}?{right}"));
    it.page("cookie:vic", &format!("OPTIONS {AUTHORIZE}?{right}"));
}

fn consenting(it: &mut Area) {
    let line = format!("POST {AUTHORIZE}?client_id=service-web&response_type=code&state=s");
    ask(it, "cookie:vic", "client_id=service-web&response_type=code&state=s");
    it.page("nobody", &line).form("scopes=read:users!user");
    it.page("cookie:vic", &line).form("scopes=read:users!user");
    it.page("cookie:vic", &line).form("scopes=admin:users&_xsrf={xsrf:vic}");
    it.page("cookie:vic", &line).form("scopes=nonsense&_xsrf={xsrf:vic}");
    it.page("cookie:ann", &line).form("scopes=read:users!user&_xsrf={xsrf:ann}");
    it.page("cookie:vic", &line).form("_xsrf={xsrf:vic}").keep("bare", "?code");
    it.page("cookie:vic", &line)
        .form("scopes=read:users!user&_xsrf={xsrf:vic}")
        .keep("full", "?code");
    token(it, "service-web", "web", "code={full}");
    // what was granted is not asked again
    ask(it, "cookie:vic", "client_id=service-web&response_type=code&state=s");
    ask(it, "cookie:vic", "client_id=service-web&response_type=code&scope=read:users!user&state=s");
}

fn token<'a>(
    it: &'a mut Area,
    client: &str,
    service: &str,
    more: &str,
) -> crate::exchange::Asked<'a> {
    let secret = crate::world::service_token(service);
    let form = format!(
        "grant_type=authorization_code&client_id={client}&client_secret={secret}&redirect_uri={BACK}&{more}"
    );
    it.ask("nobody", "POST /oauth2/token").form(&form)
}

fn exchanging(it: &mut Area) {
    code(it, "first", "");
    token(it, "service-quiet", "quiet", "code={first}").keep("access", "/access_token");
    token(it, "service-quiet", "quiet", "code={first}");
    it.ask("nobody", "GET /user").header("Authorization", "token {access}");
    code(it, "second", "");
    token(it, "service-quiet", "quiet", "code={second}").keep("access2", "/access_token");
    it.ask("nobody", "GET /user").header("Authorization", "token {access2}");
    it.ask("nobody", "GET /user").header("Authorization", "Bearer {access2}");
    it.ask("nobody", "GET /users/vic").header("Authorization", "token {access2}");
    it.ask("nobody", "GET /users").header("Authorization", "token {access2}");
    it.ask("vic", "GET /users/vic/tokens");
    code(it, "third", "");
    token(it, "service-quiet", "web", "code={third}");
    token(it, "service-web", "web", "code={third}");
    token(it, "nonsense", "web", "code={third}");
    token(it, "jupyterhub", "web", "code={third}");
    token(it, "service-quiet", "quiet", "code=nonsense");
    token(it, "service-quiet", "quiet", "");
    let secret = crate::world::service_token("quiet");
    for form in [
        String::new(),
        "grant_type=authorization_code".to_owned(),
        format!("grant_type=password&client_id=service-quiet&client_secret={secret}"),
        format!("grant_type=client_credentials&client_id=service-quiet&client_secret={secret}"),
        format!(
            "grant_type=refresh_token&refresh_token=x&client_id=service-quiet&client_secret={secret}"
        ),
        format!("client_id=service-quiet&client_secret={secret}&code={{third}}"),
        "grant_type=authorization_code&client_id=service-quiet&code={third}".to_owned(),
        "grant_type=authorization_code&client_id=service-quiet&client_secret=&code={third}"
            .to_owned(),
        format!(
            "grant_type=authorization_code&client_id=service-quiet&client_secret={secret}&code={{third}}&redirect_uri=http%3A%2F%2Fevil.example%2F"
        ),
        format!(
            "grant_type=authorization_code&grant_type=authorization_code&client_id=service-quiet&client_secret={secret}&code={{third}}"
        ),
    ] {
        it.ask("nobody", "POST /oauth2/token").form(&form);
    }
    it.ask("nobody", "POST /oauth2/token").json(serde_json::json!({
        "grant_type": "authorization_code", "client_id": "service-quiet", "client_secret": secret, "code": "x"
    }));
    it.ask("cookie:vic", "POST /oauth2/token").form("grant_type=authorization_code");
    it.ask("nobody", "POST /oauth2/token")
        .form("grant_type=authorization_code")
        .header("Origin", "https://elsewhere.example");
    let form = format!(
        "grant_type=authorization_code&client_id=service-quiet&client_secret={secret}&code={{fourth}}"
    );
    code(it, "fourth", "");
    it.ask("service:quiet", "POST /oauth2/token").form(&form);
    code(it, "fifth", "");
    it.ask("nobody", "POST /oauth2/token?code=x").form(&form.replace("fourth", "fifth"));
}

/// PKCE.
fn proving(it: &mut Area) {
    let challenge = challenge(VERIFIER);
    let hashed = format!("&code_challenge={challenge}&code_challenge_method=S256");
    code(it, "pkce", &hashed);
    token(it, "service-quiet", "quiet", "code={pkce}");
    code(it, "pkce", &hashed);
    token(
        it,
        "service-quiet",
        "quiet",
        "code={pkce}&code_verifier=wrong-verifier-of-at-least-forty-three-characters",
    );
    code(it, "pkce", &hashed);
    token(it, "service-quiet", "quiet", &format!("code={{pkce}}&code_verifier={VERIFIER}"));
    code(it, "plain", &format!("&code_challenge={VERIFIER}&code_challenge_method=plain"));
    token(it, "service-quiet", "quiet", &format!("code={{plain}}&code_verifier={VERIFIER}"));
    code(it, "implied", &format!("&code_challenge={VERIFIER}"));
    token(it, "service-quiet", "quiet", &format!("code={{implied}}&code_verifier={VERIFIER}"));
    code(it, "none", "");
    token(it, "service-quiet", "quiet", &format!("code={{none}}&code_verifier={VERIFIER}"));
}

fn ending(it: &mut Area) {
    it.page("cookie:vic", "GET /hub/logout");
    it.ask("nobody", "GET /user").header("Authorization", "token {access2}");
    it.ask("vic", "GET /user");
}

fn challenge(verifier: &str) -> String {
    use base64::Engine as _;
    let hash = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.as_ref())
}
