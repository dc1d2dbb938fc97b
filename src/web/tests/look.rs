//! What all pages share: a site's own look, words in the visitor's language, files that may be kept, errors, the way in.

use std::{fs, sync::Arc};

use jovis_actors::{
    domain::{Service, ServiceName},
    store::Write,
};

use crate::{
    config::slice::HubSlice,
    web::{
        answer,
        testing::{Fate, Hub},
    },
};

/// Other settings, as after a reload.
fn change(hub: &Hub, change: impl FnOnce(&mut crate::config::sections::Hub)) {
    let mut settings = HubSlice::clone(&hub.app.settings.load());
    change(&mut settings.hub);
    hub.app.settings.store(Arc::new(settings));
    hub.app.reload_pages().unwrap();
}

#[tokio::test]
async fn the_root_leads_to_signing_in_then_to_ones_own_server() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let front = browser.get("/").await;
    assert_eq!((front.status, front.location()), (302, "/hub/"));
    let login = browser.get("/hub/").await.location().to_owned();
    assert_eq!(login, "/hub/login?next=/hub/");
    let xsrf = browser.get(&login).await.field("_xsrf");
    let form = format!("username=bob&password=correct+horse&_xsrf={xsrf}");
    assert_eq!(browser.post(&login, &form).await.location(), "/hub/");
    assert_eq!(browser.get("/hub/").await.location(), "/hub/spawn");
    browser.get("/hub/spawn").await;
    assert_eq!(browser.get("/hub/").await.location(), "/user/bob/");
}

#[tokio::test]
async fn the_sign_in_page_knows_the_name_from_its_address_and_its_own_announcement() {
    let hub = Hub::new();
    change(&hub, |hub| {
        let vars = [("announcement", "<i>all</i>"), ("announcement_login", "<i>login</i>")];
        hub.template_vars = vars.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    });
    let page = hub.visitor().get("/hub/login?username=%22bob").await;
    assert!(page.text.contains("value=\"&#34;bob\""), "{}", page.text);
    assert!(page.text.contains("<i>login</i>") && !page.text.contains("<i>all</i>"));
    let home = hub.browser("bob").await.get("/hub/home").await;
    assert!(home.text.contains("<i>all</i>"), "an operator's announcement is HTML");
}

#[tokio::test]
async fn who_has_cookies_switched_off_is_told_so() {
    let hub = Hub::new();
    let xsrf = hub.visitor().get("/hub/login").await.field("_xsrf");
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-mode", "navigate")];
    let form = format!("username=bob&password=correct+horse&_xsrf={xsrf}");
    let page = hub.plain("POST", "/hub/login", &headers, &form).await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("sent no cookie back"), "{}", page.text);
    assert!(hub.doubles.seen.lock().unwrap().is_empty(), "no password was checked");
}

#[tokio::test]
async fn a_visitor_reads_their_own_language_and_an_operator_may_choose_one() {
    let hub = Hub::new();
    let ask = async |accept: &'static str| {
        hub.plain("GET", "/hub/login", &[("accept-language", accept)], "").await.text
    };
    for (accept, wanted) in [("de-DE,de;q=0.9", "Anmelden"), ("fr", "Sign in"), ("", "Sign in")] {
        assert!(ask(accept).await.contains(&format!("<h1>{wanted}</h1>")), "{accept}");
    }
    change(&hub, |hub| hub.language = "de".to_owned());
    assert!(ask("en").await.contains("<html lang=\"de\">"));
    let refused = hub.plain("GET", "/hub/none", &[], "").await;
    assert!(refused.text.contains("Unter dieser Adresse ist nichts"), "{}", refused.text);
    let words = hub.plain("GET", "/hub/static/words.de.js", &[], "").await;
    assert!(words.text.starts_with("export default {") && words.text.contains("Schließen"));
}

#[tokio::test]
async fn a_site_has_its_own_name_logo_colours_and_templates_and_changes_them_live() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new();
    let logo = folder.path().join("logo.png");
    fs::write(&logo, b"PNG one").unwrap();
    let home = folder.path().join("home.html");
    let own = "{% extends 'templates/home.html' %}{% block main %}<p id=\"own\">{{ motto }}</p>{{ super() }}{% endblock %}";
    fs::write(&home, own).unwrap();
    change(&hub, |hub| {
        hub.site_name = "Physics & Co".to_owned();
        hub.logo_file = logo.clone();
        hub.logo_url = "https://physics.example/".to_owned();
        hub.colors = [("main".to_owned(), "#800000".to_owned())].into();
        hub.template_paths = vec![folder.path().to_owned()];
        hub.template_vars = [("motto".to_owned(), "<per> aspera".to_owned())].into();
    });
    let mut browser = hub.browser("bob").await;
    let page = browser.get("/hub/home").await.text;
    for part in [
        "<p id=\"own\">&lt;per&gt; aspera</p>",
        "Physics &amp; Co",
        "href=\"https://physics.example/\"",
        "id=\"start\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let link = |page: &str, start: &str| {
        let at = page.find(start).unwrap_or_else(|| panic!("{start} in {page}"));
        page[at..].split('"').next().unwrap().to_owned()
    };
    let picture = browser.get(&link(&page, "/hub/logo?v=")).await;
    assert_eq!(picture.header("content-type"), "image/png");
    assert!(picture.header("cache-control").contains("immutable"));
    let theme = browser.get(&link(&page, "/hub/theme.css?v=")).await;
    assert_eq!(theme.text, ":root { --main: #800000; }\n");
    assert_eq!(browser.get("/favicon.ico").await.header("content-type"), "image/png");
    fs::write(&logo, b"PNG two").unwrap();
    fs::write(&home, "{% if %}").unwrap();
    assert!(hub.app.reload_pages().is_err());
    assert!(browser.get("/hub/home").await.text.contains("aspera"), "the old ones stay");
    fs::write(&home, "<p>new</p>").unwrap();
    hub.app.reload_pages().unwrap();
    assert_eq!(browser.get("/hub/home").await.text, "<p>new</p>");
    assert_ne!(
        link(&browser.get("/hub/token").await.text, "/hub/logo?v="),
        link(&page, "/hub/logo?v=")
    );
}

#[tokio::test]
async fn files_of_this_version_may_be_kept_and_others_are_asked_for_again() {
    let hub = Hub::new();
    let mut browser = hub.visitor();
    let page = browser.get("/hub/login").await.text;
    let style = page.split("href=\"/hub/static/").nth(1).unwrap().split('"').next().unwrap();
    let (version, name) = style.split_once('/').unwrap();
    assert_eq!(name, "style.css");
    for (path, keeps) in [
        (format!("/hub/static/{version}/style.css"), true),
        (format!("/hub/static/style.css?v={version}"), true),
        ("/hub/static/0/style.css".to_owned(), false),
        ("/hub/static/style.css".to_owned(), false),
    ] {
        let file = browser.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("cache-control").contains("max-age=315360000"), keeps, "{path}");
        let tag = file.header("etag").to_owned();
        let again = browser.send("GET", &path, &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
        let head = browser.send("HEAD", &path, &[], "").await;
        assert_eq!(head.status, 200);
    }
    for path in ["/hub/static/none.js", "/hub/static/", "/hub/static/a/b/c", "/robots.txt"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    assert_eq!(browser.get("/favicon.ico").await.header("content-type"), "image/svg+xml");
}

#[tokio::test]
async fn an_error_says_what_happened_what_to_do_and_which_request_it_was() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    for (path, status, words) in [
        ("/hub/nowhere", 404, "nothing at this address"),
        ("/hub/home/", 404, "Look for a slip in the address"),
        ("/hub/accept-share", 400, "the address has no code"),
        ("/hub/spawn/eve", 404, "nothing you may see"),
        ("/hub/error/503", 200, "It can be started again from the home page"),
        ("/hub/error/404", 200, "nothing at this address"),
        ("/hub/error/507", 200, "disk is full"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, status, "{path}");
        let id = page.header("x-request-id");
        for part in [words, &format!("<code>{id}</code>"), "href=\"/hub/home\""] {
            assert!(page.text.contains(part), "{part} in {path}: {}", page.text);
        }
    }
    for path in ["/hub/error/x", "/hub/error/99999", "/hub/error/"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    let health = hub.plain("GET", "/hub/health", &[], "").await;
    assert_eq!((health.status, health.text.as_str()), (200, ""));
}

#[tokio::test]
async fn links_for_everybody_lead_to_ones_own_server_of_the_name_that_is_set() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    for (named, name, wanted) in [
        (false, "", "/hub/spawn/bob?next=/user/bob/lab%3Fa%3D1"),
        (true, "course", "/hub/spawn/bob/course?next=/user/bob/course/lab%3Fa%3D1"),
        (false, "course", "/hub/spawn/bob?next=/user/bob/lab%3Fa%3D1"),
    ] {
        change(&hub, |hub| {
            hub.allow_named_servers = named;
            hub.default_server_name = name.to_owned();
        });
        assert_eq!(browser.get("/hub/user-redirect/lab?a=1").await.location(), wanted);
    }
}

#[tokio::test]
async fn who_waits_for_a_server_to_stop_is_told_and_asked_again() {
    let hub = Hub::new();
    let mut browser = hub.browser("bob").await;
    *hub.doubles.fate.lock().unwrap() = Fate::Clings;
    browser.get("/hub/spawn/bob").await;
    browser.script("DELETE", "/hub/api/users/bob/server", "").await;
    let page = browser.get("/hub/spawn-pending/bob").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Your server is stopping."), "{}", page.text);
    assert!(page.text.contains("http-equiv=\"refresh\" content=\"5\""));
    assert!(page.text.contains("id=\"refresh\""));
}

#[tokio::test]
async fn the_bar_shows_each_what_they_may_use() {
    let hub = Hub::new();
    let service = |name: &str, url: Option<&str>, display| {
        let mut service: Service = super::people::service(name);
        service.name = ServiceName::new(name).unwrap();
        service.url = url.map(ToOwned::to_owned);
        service.display = display;
        hub.doubles.write(Write::Service(Arc::new(service)));
    };
    service("board", Some("http://127.0.0.1:9"), true);
    service("hidden", Some("http://127.0.0.1:9"), false);
    service("pageless", None, true);
    let root = hub.browser("root").await.get("/hub/home").await.text;
    assert!(root.contains("href=\"/services/board/\"") && root.contains("href=\"/hub/admin\""));
    assert!(!root.contains("hidden/") && !root.contains("pageless"));
    let made = format!("jovis {} · JupyterHub {}", env!("CARGO_PKG_VERSION"), answer::VERSION);
    assert!(root.contains(&made) && root.contains("<time datetime=\"2026-11-"), "{root}");
    let bob = hub.browser("bob").await.get("/hub/home").await.text;
    assert!(!bob.contains(&made), "versions are for administrators");
    assert!(bob.contains("id=\"admin-access\"") && !root.contains("id=\"admin-access\""));
    assert!(!bob.contains("/services/board/") && !bob.contains("/hub/admin"), "{bob}");
    let nobody = hub.visitor().get("/hub/login").await.text;
    for part in ["/hub/home", "/hub/token", "/services/", "id=\"login\"", "id=\"logout\""] {
        assert!(!nobody.contains(part), "{part}");
    }
}
