//! The hub as OAuth provider for services: whole conversations (`spec/oauth-and-cookies.md` 1 to 4). Those with a user's
//! server stand beside.

use std::{collections::BTreeMap, sync::Arc};

use jovis_actors::{
    domain::{
        ClientId, OAuthClient, Policy, Scope, Seconds, Service, ServiceName, oauth::ClientOf,
        role::RoleEntry,
    },
    store::Write,
};

use crate::web::testing::{Browser, Hub, Reply};

const SECRET: &str = "5e4v1ce0000000000000000000000000";
const URL: &str = "/hub/api/oauth2/authorize?client_id=service-grader&response_type=code&state=s";

/// A hub with the service `grader`, which bob may use and eve may not.
fn hub(oauth_no_confirm: bool) -> Hub {
    with_grader(Hub::new(), oauth_no_confirm)
}

fn with_grader(hub: Hub, oauth_no_confirm: bool) -> Hub {
    let name = ServiceName::new("grader").unwrap();
    hub.doubles.write(Write::Service(Arc::new(Service {
        name: name.clone(),
        admin: false,
        url: Some("http://127.0.0.1:9999".into()),
        display: true,
        info: serde_json::Map::new(),
        oauth_no_confirm,
        oauth_client_allowed_scopes: vec![Scope::new("read:servers!user")],
        command: Vec::new(),
        configured: true,
    })));
    hub.doubles.write(Write::Client(Arc::new(OAuthClient {
        id: ClientId::of_service(&name),
        secret: hub.app.entropy.digest(SECRET),
        redirect_uri: "/services/grader/oauth_callback".into(),
        description: "Service grader".into(),
        allowed_scopes: vec![Scope::new("read:servers!user")],
        of: ClientOf::Service(name),
    })));
    let visitors = RoleEntry {
        name: "visitors".into(),
        scopes: Some(vec!["access:services!service=grader".into()]),
        users: vec!["bob".into()],
        ..RoleEntry::default()
    };
    let policy = Policy::new(&[visitors], &[], &BTreeMap::new()).unwrap();
    hub.app.policy.store(Arc::new(policy));
    hub
}

fn code(reply: &Reply) -> String {
    let target = reply.location();
    let start = "/services/grader/oauth_callback?code=";
    let rest = target.strip_prefix(start).unwrap_or_else(|| panic!("{} {target}", reply.status));
    rest.strip_suffix("&state=s").unwrap().to_owned()
}

async fn exchange(hub: &Hub, code: &str, secret: &str, headers: &[(&str, &str)]) -> Reply {
    let form = format!(
        "grant_type=authorization_code&client_id=service-grader&client_secret={secret}&code={code}"
    );
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    hub.plain("POST", "/hub/api/oauth2/token", &all, &form).await
}

async fn who(hub: &Hub, token: &str) -> serde_json::Value {
    let header = format!("Bearer {token}");
    hub.plain("GET", "/hub/api/user", &[("authorization", &header)], "").await.json()
}

#[tokio::test]
async fn a_service_lets_in_whom_its_scope_does() {
    let hub = hub(false);
    let mut eve = hub.browser("eve").await;
    assert_eq!(eve.get(URL).await.status, 403);
    let mut bob = hub.browser("bob").await;
    let page = bob.get(URL).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in
        ["Service grader", "Use services.", "See servers and the progress", "!service=grader"]
    {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let asked = ["read:servers!user", "read:users:name!user", "access:services!service=grader"];
    let form: String = asked.iter().map(|scope| format!("&scopes={scope}")).collect();
    let given = bob.post(URL, &format!("_xsrf={}{form}", page.field("_xsrf"))).await;
    let code = code(&given);
    assert_eq!(exchange(&hub, &code, "wrong", &[]).await.status, 401);
    let reply = exchange(&hub, &code, SECRET, &[]).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
    let body = reply.json();
    assert_eq!(body["token_type"], "Bearer");
    let known = who(&hub, body["access_token"].as_str().unwrap()).await;
    assert_eq!(known["name"], "bob");
    let scopes: Vec<_> = known["scopes"].as_array().unwrap().iter().collect();
    for wanted in
        ["access:services!service=grader", "read:servers!user=bob", "read:users:name!user=bob"]
    {
        assert!(scopes.iter().any(|it| *it == wanted), "{wanted} in {scopes:?}");
    }
    assert!(!scopes.iter().any(|it| it.as_str().unwrap().starts_with("access:servers")));
    // What it has still got it need not ask for again; what has been taken from bob it has no more.
    let again = bob.get(URL).await;
    assert_eq!(again.status, 302, "{}", again.text);
    hub.app.policy.store(Arc::default());
    let known = who(&hub, body["access_token"].as_str().unwrap()).await;
    let scopes = known["scopes"].to_string();
    assert!(!scopes.contains("access:services"), "{scopes}");
    assert_eq!(bob.get(URL).await.status, 403);
}

#[tokio::test]
async fn a_trusted_service_asks_nobody() {
    let hub = hub(true);
    let mut bob = hub.browser("bob").await;
    assert!(!code(&bob.get(URL).await).is_empty());
    assert_eq!(hub.browser("eve").await.get(URL).await.status, 403, "but lets nobody in for that");
}

#[tokio::test]
async fn tokens_of_visitors_live_as_long_as_the_operator_says() {
    for (seconds, days, wanted) in [(0, 14.0, 1_209_600), (0, 0.5, 43_200), (3_600, 14.0, 3_600)] {
        let hub = Hub::with(|hub| {
            hub.oauth_token_expires_in = Seconds::new(seconds);
            hub.cookie_max_age_days = days;
        });
        let hub = with_grader(hub, true);
        let code = code(&hub.browser("bob").await.get(URL).await);
        let body = exchange(&hub, &code, SECRET, &[]).await.json();
        assert_eq!(body["expires_in"], wanted, "{seconds} s, {days} days");
    }
}

#[tokio::test]
async fn a_token_in_a_header_does_not_sign_in_here() {
    let hub = hub(true);
    let mut bob = hub.browser("bob").await;
    let made = bob.script("POST", "/hub/api/users/bob/tokens", "").await;
    let header = format!("token {}", made.json()["token"].as_str().unwrap());
    let reply = hub.plain("GET", URL, &[("authorization", &header)], "").await;
    assert_eq!(reply.status, 302);
    let start = "/hub/login?next=/hub/api/oauth2/authorize%3Fclient_id%3Dservice-grader";
    assert!(reply.location().starts_with(start), "{}", reply.location());
}

#[tokio::test]
async fn clients_prove_themselves_in_the_form_alone() {
    let hub = hub(true);
    let mut bob = hub.browser("bob").await;
    let code = code(&bob.get(URL).await);
    let uri = "/hub/api/oauth2/token";
    let json = format!(
        r#"{{"grant_type":"authorization_code","client_id":"service-grader","client_secret":"{SECRET}","code":"{code}"}}"#
    );
    let reply = hub.plain("POST", uri, &[("content-type", "application/json")], &json).await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (400, Some("unsupported_grant_type"))
    );
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let basic = ("authorization", "Basic c2VydmljZS1ncmFkZXI6NWU0djFjZTA=");
    let bare = format!("grant_type=authorization_code&code={code}");
    let reply = hub.plain("POST", uri, &[kind, basic], &bare).await;
    assert_eq!((reply.status, reply.json()["error"].as_str()), (401, Some("invalid_client")));
    let query = format!("{uri}?grant_type=authorization_code&client_secret={SECRET}");
    assert_eq!(hub.plain("POST", &query, &[kind], "").await.status, 400, "not in the address");
    let mut browser = Browser { cookies: bob.cookies.clone(), ..hub.visitor() };
    let form = format!("{bare}&client_id=service-grader");
    assert_eq!(browser.post(uri, &form).await.status, 401, "cookies are no proof");
    // Its own token beside it is no proof and does no harm.
    let own = format!("token {SECRET}");
    let reply = exchange(&hub, &code, SECRET, &[("authorization", &own)]).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(exchange(&hub, &code, SECRET, &[]).await.status, 400, "once");
}

#[tokio::test]
async fn who_declines_sends_the_service_back_with_nothing() {
    let hub = hub(false);
    let mut bob = hub.browser("bob").await;
    let page = bob.get(URL).await;
    assert!(
        page.text.contains("<strong>Service grader</strong> wants to know who you are"),
        "{}",
        page.text
    );
    assert!(page.text.contains("name=\"decline\""), "{}", page.text);
    let forged = bob.post(URL, "decline=yes&scopes=x").await;
    assert_eq!(forged.status, 403, "without the form's token");
    let form = format!("decline=yes&scopes=read:servers!user&_xsrf={}", page.field("_xsrf"));
    let declined = bob.post(URL, &form).await;
    let target = "/services/grader/oauth_callback?error=access_denied&state=s";
    assert_eq!((declined.status, declined.location()), (302, target));
    assert_eq!(declined.header("referrer-policy"), "no-referrer");
    assert_eq!(hub.doubles.image.load().codes().count(), 0);
    // Nothing is remembered: one may change one's mind.
    assert!(bob.get(URL).await.text.contains("name=\"decline\""));
}
