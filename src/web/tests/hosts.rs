//! A site with a host for each user, and one that is told its own address (`spec/oauth-and-cookies.md` 9).

use serde_json::Value;

use crate::web::testing::Hub;

fn many(public: &str) -> Hub {
    Hub::with(|hub| {
        hub.base_url = "/b/".into();
        hub.subdomain_host = public.into();
    })
}

#[tokio::test]
async fn models_and_redirects_lead_to_each_users_host() {
    let hub = many("https://hub:8000");
    let own = "https://bob.hub:8000/b/user/bob/";
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.script("POST", "/b/hub/api/users/bob/server", "").await.status, 201);
    let model = bob.script("GET", "/b/hub/api/users/bob", "").await.json();
    assert_eq!(model["server"], own);
    let server = &model["servers"][""];
    assert_eq!((&server["url"], &server["full_url"]), (&own.into(), &own.into()));
    assert_eq!(server["progress_url"], "/b/hub/api/users/bob/server/progress");
    let progress = "https://hub:8000/b/hub/api/users/bob/server/progress";
    assert_eq!(server["full_progress_url"], progress);

    // Where pages lead to.
    for from in ["/b/hub/", "/b/hub/spawn", "/b/hub/spawn-pending/bob"] {
        let answer = bob.get(from).await;
        assert_eq!((answer.status, answer.location()), (302, own), "{from}");
    }
    assert!(bob.get("/b/hub/home").await.text.contains(&format!("href=\"{own}\"")));
    // Somebody on the hub's host who means the server, and back again.
    let there = bob.get("/b/user/bob/lab?x=1").await;
    assert_eq!(there.location(), "https://hub:8000/b/hub/user/bob/lab?x=1");
    let there = bob.get("/b/hub/user/bob/lab?x=1").await;
    assert_eq!(there.location(), "https://bob.hub:8000/b/user/bob/lab?x=1&redirects=1");
    // A page of any of the hosts may be gone back to; by its path.
    for (next, wanted) in [
        ("https://bob.hub:8000/b/user/bob/lab", "/b/user/bob/lab"),
        ("//eve.hub:8000/b/x", "/b/x"),
        ("https://evil/b/x", own),
        ("https://hub:8000.evil/b/x", own),
    ] {
        let on = bob.get(&format!("/b/hub/login?next={next}")).await;
        assert_eq!(on.location(), wanted, "{next}");
    }
}

#[tokio::test]
async fn the_hubs_pages_are_on_its_own_host_alone() {
    let hub = many("https://hub:8000");
    let mut bob = hub.browser("bob").await;
    let at = |host: &'static str| [("x-forwarded-host", host), ("x-forwarded-proto", "https")];
    for path in ["/b/hub/login?next=/x", "/b/hub/home", "/b/hub/api/oauth2/authorize?client_id=x"] {
        let answer = bob.send("GET", path, &at("bob.hub:8000"), "").await;
        let wanted = format!("https://hub:8000{path}");
        assert_eq!((answer.status, answer.location()), (302, &*wanted), "{path}");
    }
    let form = "username=eve&password=correct+horse";
    assert_eq!(bob.send("POST", "/b/hub/login", &at("bob.hub:8000"), form).await.status, 403);
    for host in ["hub:8000", "HUB:8000", "elsewhere", "xhub:8000"] {
        let answer = bob.send("GET", "/b/hub/home", &at(host), "").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    // Programs may ask wherever they like: no cookie of the hub is sent there.
    let answer = bob.send("GET", "/b/hub/api/", &at("bob.hub:8000"), "").await;
    assert_eq!(answer.status, 200);
    // What has no server is told so on the hub's host.
    let answer = bob.send("GET", "/b/user/bob/x", &at("bob.hub:8000"), "").await;
    assert_eq!(answer.location(), "https://hub:8000/b/hub/user/bob/x");
}

/// The line of one cookie.
fn line<'a>(set: &'a [&'a str], name: &str) -> &'a str {
    let begin = format!("{name}=");
    set.iter().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{name}: {set:?}"))
}

async fn signed_in(hub: &Hub, base: &str) -> Vec<String> {
    let mut browser = hub.visitor();
    let xsrf = browser.get(&format!("{base}hub/login")).await.field("_xsrf");
    let form = format!("username=bob&password=correct+horse&_xsrf={xsrf}");
    let done = browser.post(&format!("{base}hub/login"), &form).await;
    assert_eq!(done.status, 302, "{}", done.text);
    let user = browser.script("GET", &format!("{base}hub/api/user"), "").await;
    assert_eq!(user.json()["name"], "bob", "the cookies are read again");
    let set: Vec<String> = done.set_cookies().into_iter().map(str::to_owned).collect();
    let out = browser.get(&format!("{base}hub/logout")).await;
    for one in ["login", "session-id"] {
        let line = set.iter().find(|line| line.contains(&format!("-{one}="))).unwrap();
        let name = line.split('=').next().unwrap();
        let gone = out.set_cookies().into_iter().find(|it| it.starts_with(&format!("{name}=\"\"")));
        let gone = gone.unwrap_or_else(|| panic!("{name}: {:?}", out.set_cookies()));
        let part = |line: &str, what: &str| {
            line.split("; ").find(|part| part.starts_with(what)).map(str::to_owned)
        };
        for what in ["Path=", "Domain=", "Secure"] {
            assert_eq!(part(gone, what), part(line, what), "a cookie is cleared where it is");
        }
    }
    set
}

#[tokio::test]
async fn the_login_cookie_is_of_one_host_and_the_sessions_of_all() {
    let hub = many("https://hub:8000");
    let set = signed_in(&hub, "/b/").await;
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let login = line(&set, "__Host-jupyterhub-hub-login");
    assert!(login.ends_with("; HttpOnly; SameSite=Lax; Path=/; Secure"), "{login}");
    assert!(!login.contains("Domain"), "{login}");
    let session = line(&set, "jupyterhub-session-id");
    let wanted = "; Domain=hub; HttpOnly; SameSite=Lax; Path=/b/; Secure";
    assert!(session.ends_with(wanted), "{session}");

    // One that another host could have set is none of ours.
    let mut browser = hub.browser("bob").await;
    let value = browser.cookies.remove("__Host-jupyterhub-hub-login").unwrap();
    browser.cookies.insert("jupyterhub-hub-login".into(), value);
    assert_eq!(browser.get("/b/hub/home").await.status, 302);
}

#[tokio::test]
async fn cookies_say_what_is_configured() {
    let hub = Hub::with(|hub| {
        hub.public_url = "https://hub.test/".into();
        hub.cookie_host_prefix_enabled = Some(true);
        let options = [("samesite", Value::from("strict")), ("expires_days", Value::from(1))];
        hub.cookie_options = options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    });
    let set = signed_in(&hub, "/").await;
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    // (The clock of the tests stands at Nov 2026.)
    let login = line(&set, "__Host-jupyterhub-hub-login");
    assert!(login.ends_with("; HttpOnly; SameSite=Strict; Path=/; Secure"), "{login}");
    let day = login.split("expires=").nth(1).unwrap().split(';').next().unwrap();
    let now = 1_795_300_000;
    assert_eq!(day, crate::web::model::time::http_date(now + 86_400));
    for name in ["jupyterhub-session-id", "_xsrf"] {
        let line = line(&set, name);
        assert!(line.contains("; SameSite=Strict") && line.ends_with("; Secure"), "{line}");
        assert!(!line.contains("Domain"), "{line}");
    }
}

#[tokio::test]
async fn the_public_address_goes_before_what_a_request_says() {
    let hub = Hub::with(|hub| hub.public_url = "https://hub.test/".into());
    let mut bob = hub.browser("bob").await;
    // (The requests say http://hub:8000.)
    assert_eq!(bob.get("/user/bob/x").await.location(), "https://hub.test/hub/user/bob/x");
    assert_eq!(bob.get("/user/bob").await.location(), "https://hub.test/user/bob/");
    bob.script("POST", "/hub/api/users/bob/server", "").await;
    let model = bob.script("GET", "/hub/api/users/bob", "").await.json();
    let server = &model["servers"][""];
    assert_eq!(server["url"], "/user/bob/");
    assert_eq!(server["full_url"], "https://hub.test/user/bob/");
    let progress = "https://hub.test/hub/api/users/bob/server/progress";
    assert_eq!(server["full_progress_url"], progress);
    let mut root = hub.browser("root").await;
    let code = root.script("POST", "/hub/api/share-codes/bob/", "{}").await.json();
    let accept = code["accept_url"].as_str().unwrap();
    assert_eq!(code["full_accept_url"], format!("https://hub.test{accept}"));
    for (next, wanted) in
        [("https://hub.test/hub/token", "/hub/token"), ("//hub:8000/x", "/user/bob/")]
    {
        let on = bob.get(&format!("/hub/login?next={next}")).await;
        assert_eq!(on.location(), wanted, "{next}");
    }
    // Lists go on where they were asked for, and stopped servers are told so there.
    let page = [("accept", "application/jupyterhub-pagination+json")];
    let list = bob.send("GET", "/hub/api/users/bob/shared?limit=1", &page, "").await;
    assert!(!list.text.contains("hub.test"), "{}", list.text);
}
