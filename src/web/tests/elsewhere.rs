//! Signing in at a provider elsewhere, beside a form: the button, the way out, the way back.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jovis_actors::{
    domain::{External, Moment},
    logins::{SignInRefused, Way},
    ports::{Authenticator, Boxed, Credentials, Flow, Identity, LoginError, Password, Refresh},
    store::Write,
    testing::ScriptedRedirect,
};

use crate::web::testing::{Browser, Hub};

/// A hub with a form and a provider.
fn hub() -> (Hub, ScriptedRedirect) {
    let hub = Hub::new();
    let provider = ScriptedRedirect::new("Else & Where").with("c0de", "bob");
    let way = Way {
        name: "elsewhere".to_owned(),
        prefix: String::new(),
        authenticator: Arc::new(provider.clone()),
    };
    hub.doubles.ways.lock().unwrap().push(way);
    (hub, provider)
}

/// Clicks the button; the state that went along.
async fn go(browser: &mut Browser<'_>, provider: &ScriptedRedirect, page: &str) -> String {
    let login = browser.get(page).await;
    let (_, rest) = login.text.split_once("href=\"/hub/oauth_login").unwrap();
    let target =
        format!("/hub/oauth_login{}", rest.split('"').next().unwrap()).replace("&amp;", "&");
    let out = browser.get(&target).await;
    let departure = provider.departures().pop().unwrap();
    assert_eq!(out.status, 302);
    assert!(
        out.location().starts_with("https://provider.example/authorize?"),
        "{}",
        out.location()
    );
    let cookie = out
        .set_cookies()
        .into_iter()
        .find(|it| it.starts_with(&format!("jovis-departure-{}=", &departure.state[..8])))
        .unwrap();
    for flag in ["HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/hub/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert_eq!(departure.callback, "http://hub:8000/hub/oauth_callback");
    departure.state
}

#[tokio::test]
async fn a_person_signs_in_elsewhere_and_lands_where_they_wanted() {
    let (hub, provider) = hub();
    let mut browser = hub.visitor();
    let page = browser.get("/hub/login").await;
    assert!(page.text.contains("Sign in with Else &amp; Where"), "{}", page.text);
    assert!(page.text.contains("id=\"username_input\""), "and the form is there, too");
    let state = go(&mut browser, &provider, "/hub/login?next=/user/bob/lab%3Fa=b").await;
    let back = format!("/hub/oauth_callback?code=c0de&state={state}");
    let done = browser.get(&back).await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab?a=b"));
    let arrival = provider.arrivals().pop().unwrap();
    let hash = hub.app.entropy.digest(arrival.verifier.reveal()).0;
    let challenge = provider.departures().pop().unwrap().challenge;
    assert_eq!(URL_SAFE_NO_PAD.encode(hash), challenge, "RFC 7636: S256");
    assert_eq!(browser.get("/hub/home").await.status, 200);
    let left = browser.cookies.keys().any(|name| name.starts_with("jovis-departure"));
    assert!(!left, "it is used up");
    assert_eq!(browser.get(&back).await.status, 400, "once");
}

#[tokio::test]
async fn who_was_not_sent_by_us_does_not_come_in() {
    let (hub, provider) = hub();
    let mut browser = hub.visitor();
    let state = go(&mut browser, &provider, "/hub/login").await;
    let mut other = hub.visitor();
    // The code of an attacker's own sign-in, put under somebody else's session.
    let forced = other.get(&format!("/hub/oauth_callback?code=c0de&state={state}")).await;
    assert_eq!(forced.status, 400);
    assert!(forced.text.contains("not begun in this browser"), "{}", forced.text);
    let wrong = browser.get("/hub/oauth_callback?code=c0de&state=other").await;
    assert_eq!(wrong.status, 400);
    assert!(provider.arrivals().is_empty(), "nobody asked the provider");
    for (query, status) in
        [("error=access_denied&error_description=%3Cb%3E", 403), ("code=unknown", 403)]
    {
        let state = go(&mut browser, &provider, "/hub/login?next=/hub/token").await;
        let refused = browser.get(&format!("/hub/oauth_callback?{query}&state={state}")).await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text);
        assert!(refused.text.contains("did not work") && !refused.text.contains("<b>"));
        assert!(refused.text.contains("next=/hub/token"), "and trying again leads there");
    }
    let state = go(&mut browser, &provider, "/hub/login").await;
    hub.clock.0.fetch_add(601_000_000, std::sync::atomic::Ordering::SeqCst);
    let late = browser.get(&format!("/hub/oauth_callback?code=c0de&state={state}")).await;
    assert_eq!(late.status, 400, "ten minutes are over");
    provider.set_failing(Some(LoginError::Failed("down".into())));
    assert_eq!(browser.get("/hub/oauth_login?authenticator=elsewhere").await.status, 503);
    assert_eq!(browser.get("/hub/oauth_login?authenticator=x").await.status, 404);
    assert_eq!(browser.get("/hub/oauth_login").await.status, 404, "a form is nowhere else");
    assert!(!browser.cookies.contains_key("jupyterhub-hub-login"));
}

#[tokio::test]
async fn two_tabs_at_once_both_arrive() {
    let (hub, provider) = hub();
    let mut browser = hub.visitor();
    let first = go(&mut browser, &provider, "/hub/login?next=/hub/token").await;
    let second = go(&mut browser, &provider, "/hub/login?next=/hub/home").await;
    for (state, next) in [(first, "/hub/token"), (second, "/hub/home")] {
        let done = browser.get(&format!("/hub/oauth_callback?code=c0de&state={state}")).await;
        assert_eq!((done.status, done.location()), (302, next));
    }
    for _ in 0..20 {
        browser.get("/hub/logout").await;
        go(&mut browser, &provider, "/hub/login").await;
    }
    let visits = browser.cookies.keys().filter(|name| name.starts_with("jovis-departure"));
    assert!(visits.count() <= 9, "those before are forgotten");
}

#[tokio::test]
async fn who_signs_out_goes_where_their_provider_wants_them() {
    let (hub, _) = hub();
    let mut bob = hub.browser("bob").await;
    let user = hub.doubles.image.load().user_named("bob").unwrap().id;
    let external = |way: &str| External {
        user,
        subjects: Vec::new(),
        way: way.to_owned(),
        kept: None,
        checked: Moment(0),
    };
    hub.doubles.write(Write::External(Arc::new(external("elsewhere"))));
    assert_eq!(bob.get("/hub/logout").await.location(), "https://provider.example/goodbye");
    assert_eq!(bob.get("/hub/home").await.status, 302, "and is signed out");
    let mut bob = hub.browser("bob").await;
    hub.doubles.write(Write::External(Arc::new(external("gone"))));
    assert_eq!(bob.get("/hub/logout").await.location(), "/hub/login");
}

#[tokio::test]
async fn where_there_is_one_provider_visitors_go_there_at_once() {
    let (hub, provider) = hub();
    hub.doubles.ways.lock().unwrap().remove(0);
    let mut settings = crate::config::slice::HubSlice::clone(&hub.app.settings.load());
    settings.auth.auto_login = true;
    hub.app.settings.store(Arc::new(settings));
    let mut browser = hub.visitor();
    let there = browser.get("/hub/login?next=/hub/home").await;
    assert_eq!(there.location(), "/hub/oauth_login?authenticator=elsewhere&next=/hub/home");
    let mut bob = hub.visitor();
    bob.get(there.location()).await;
    let out = browser.get("/hub/logout").await;
    assert_eq!(out.location(), "/hub/login", "who is not signed in cannot sign out");
    // Who signs out is not sent there again at once: they would be back.
    let state = provider.departures().pop().unwrap().state;
    bob.get(&format!("/hub/oauth_callback?code=c0de&state={state}")).await;
    assert_eq!(bob.get("/hub/home").await.status, 200);
    let out = bob.get("/hub/logout").await;
    assert_eq!((out.status, out.text.contains("Sign in")), (200, true), "{}", out.text);
    // A second way, and visitors choose.
    hub.doubles
        .ways
        .lock()
        .unwrap()
        .push(Way::first(Arc::new(jovis_actors::testing::ScriptedAuthenticator::default())));
    assert_eq!(hub.visitor().get("/hub/login").await.status, 200);
}

#[tokio::test]
async fn whom_a_server_sends_to_sign_in_goes_to_the_provider_straight_on() {
    let (hub, _) = hub();
    let asked = "/hub/api/oauth2/authorize?client_id=service-x&response_type=code&state=s";
    let encoded =
        "/hub/api/oauth2/authorize%3Fclient_id%3Dservice-x%26response_type%3Dcode%26state%3Ds";
    let set = |change: &dyn Fn(&mut crate::config::sections::Auth)| {
        let mut settings = crate::config::slice::HubSlice::clone(&hub.app.settings.load());
        change(&mut settings.auth);
        hub.app.settings.store(Arc::new(settings));
    };
    set(&|auth| auth.auto_login_oauth2_authorize = true);
    let to_page = async |path: &str| {
        let there = hub.visitor().get(path).await;
        assert_eq!(there.status, 302);
        there.location().to_owned()
    };
    assert!(to_page(asked).await.starts_with("/hub/login?next="), "two ways: visitors choose");
    hub.doubles.ways.lock().unwrap().remove(0);
    let there = to_page(asked).await.replace("%2F", "/");
    assert_eq!(there, format!("/hub/oauth_login?authenticator=elsewhere&next={encoded}"));
    assert!(to_page("/hub/home").await.starts_with("/hub/login?next="), "no other page");
    assert_eq!(hub.visitor().get("/hub/login").await.status, 200);
    set(&|auth| auth.auto_login_oauth2_authorize = false);
    assert!(to_page(asked).await.starts_with("/hub/login?next="));
}

#[tokio::test]
async fn who_may_not_enter_reads_what_the_operator_has_to_say() {
    let (hub, provider) = hub();
    let mut settings = crate::config::slice::HubSlice::clone(&hub.app.settings.load());
    settings.auth.custom_403_message = "Dear {name}, <ask> Zoe.".to_owned();
    hub.app.settings.store(Arc::new(settings));
    let name = jovis_actors::domain::Username::new("bob").unwrap();
    *hub.doubles.refuse.lock().unwrap() = Some(SignInRefused::NotAllowed { name });
    let mut browser = hub.visitor();
    let state = go(&mut browser, &provider, "/hub/login").await;
    let back = format!("/hub/oauth_callback?code=c0de&state={state}");
    let refused = browser.get(&back).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("Dear bob, &lt;ask&gt; Zoe."), "{}", refused.text);
    // By a password nobody learns that it was right.
    let form = browser.get("/hub/login").await.field("_xsrf");
    let form = format!("username=bob&password=correct+horse&_xsrf={form}");
    let refused = browser.post("/hub/login", &form).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("Invalid username or password."), "{}", refused.text);
}

#[tokio::test]
async fn an_operators_own_form_takes_the_place_of_ours() {
    let hub = Hub::new();
    let mut settings = crate::config::slice::HubSlice::clone(&hub.app.settings.load());
    settings.auth.custom_html =
        "<form action=\"{{ action }}\" id=\"own\"><input name=\"_xsrf\" value=\"{{ xsrf }}\">{{ username }}</form>".to_owned();
    hub.app.settings.store(Arc::new(settings));
    let page = hub.visitor().get("/hub/login?username=%3Cb%3E").await;
    assert!(page.text.contains("id=\"own\"") && page.text.contains("&lt;b&gt;"), "{}", page.text);
    assert!(!page.text.contains("username_input") && !page.field("_xsrf").is_empty());
}

/// A form with a field for a code.
struct Coded;

impl Authenticator for Coded {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }

    fn refresh<'a>(&'a self, _: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(std::future::ready(Ok(Refresh::Same)))
    }
}

impl Password for Coded {
    fn otp(&self) -> Option<&str> {
        Some("Code <6>:")
    }

    fn check<'a>(&'a self, who: &'a Credentials) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(std::future::ready(Ok(Identity::named(who.username.clone()))))
    }
}

#[tokio::test]
async fn a_form_has_a_field_for_a_code_where_one_is_wanted() {
    let hub = Hub::new();
    let page = hub.visitor().get("/hub/login").await;
    assert!(!page.text.contains("otp"), "{}", page.text);
    *hub.doubles.ways.lock().unwrap() = vec![Way::first(Arc::new(Coded))];
    let mut browser = hub.visitor();
    let page = browser.get("/hub/login").await;
    let label = "<label for=\"otp_input\">Code &lt;6&gt;:</label>";
    assert!(page.text.contains(label) && page.text.contains("name=\"otp\""), "{}", page.text);
    let form = format!("username=bob&password=correct+horse&_xsrf={}", page.field("_xsrf"));
    assert_eq!(browser.post("/hub/login", &format!("{form}&otp=+123456+")).await.status, 302);
    let seen = hub.doubles.seen.lock().unwrap().pop().unwrap();
    assert_eq!(seen.otp.unwrap().reveal(), "123456");
    let mut other = hub.visitor();
    let page = other.get("/hub/login").await;
    let form = format!("username=bob&password=correct+horse&_xsrf={}", page.field("_xsrf"));
    let long = format!("{form}&otp={}", "1".repeat(2_000));
    assert_eq!(other.post("/hub/login", &long).await.status, 403, "nobody is asked");
}
