//! The sharing page as a browser without scripts has it.

use jovis_actors::domain::SharedWith;

use super::shares::{server, town};
use crate::web::testing::{Browser, Hub, Reply};

async fn act(browser: &mut Browser<'_>, fields: &str) -> Reply {
    browser.get("/hub/shares").await;
    let xsrf = browser.cookies["_xsrf"].trim_matches('"').to_owned();
    browser.post("/hub/shares", &format!("{fields}&_xsrf={xsrf}")).await
}

#[tokio::test]
async fn a_server_is_shared_seen_and_taken_back() {
    let hub = town();
    server(&hub, "bob", "two");
    let mut bob = hub.browser("bob").await;
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("href=\"/hub/shares?server=lab\""), "{home}");
    let grant =
        "action=grant&server=lab&kind=user&with=eve&scope=access:servers&scope=start:servers";
    let done = act(&mut bob, grant).await;
    assert_eq!((done.status, done.location()), (302, "/hub/shares?server=lab"), "{}", done.text);
    let done =
        act(&mut bob, "action=grant&server=&kind=group&with=team&scope=access:servers").await;
    assert_eq!((done.status, done.location()), (302, "/hub/shares"));
    let page = bob.get("/hub/shares").await.text;
    assert_eq!(page.matches("class=\"share-row\"").count(), 2, "{page}");
    assert!(page.contains("Start it") && page.contains("group team"), "{page}");
    let mut eve = hub.browser("eve").await;
    assert!(eve.get("/hub/home").await.text.contains("id=\"shared-with-me\""));
    let page = eve.get("/hub/shares").await.text;
    assert_eq!(page.matches("class=\"received-row\"").count(), 2, "{page}");
    assert!(
        page.contains("href=\"/user/bob/lab/\"") && page.contains("by your group team"),
        "{page}"
    );
    let left = act(&mut eve, "action=leave&owner=bob&server=lab").await;
    assert_eq!(left.status, 302, "{}", left.text);
    let page = bob.get("/hub/shares").await.text;
    assert_eq!(page.matches("class=\"share-row\"").count(), 1, "{page}");
    let revoked = act(&mut bob, "action=revoke&server=&kind=group&with=team").await;
    assert_eq!(revoked.status, 302, "{}", revoked.text);
    let eves = SharedWith::User(hub.key("eve").user);
    let image = hub.doubles.image.load();
    assert_eq!(image.shares_by(hub.key("bob").user).count() + image.shared_with(eves).count(), 0);
}

#[tokio::test]
async fn a_link_is_shown_once_and_can_be_deleted() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    let made = act(&mut bob, "action=link&server=lab&expires_in=3600&scope=access:servers").await;
    assert_eq!((made.status, made.header("cache-control")), (200, "no-store"), "{}", made.text);
    let (_, rest) = made.text.split_once("id=\"share-link\"").unwrap();
    let link = rest.split_once('>').unwrap().1.split('<').next().unwrap();
    let path = link.strip_prefix("http://hub:8000").unwrap();
    let invited = hub.browser("eve").await.get(path).await;
    assert!(invited.text.contains("Accept invitation"), "{}", invited.text);
    let page = bob.get("/hub/shares").await.text;
    assert!(!page.contains(path), "shown once");
    assert_eq!(page.matches("class=\"link-row\"").count(), 1);
    let (_, rest) = page.split_once("name=\"id\" value=\"").unwrap();
    let id = rest.split('"').next().unwrap().to_owned();
    let gone = act(&mut bob, &format!("action=delete-link&server=lab&id={id}")).await;
    assert_eq!(gone.status, 302, "{}", gone.text);
    assert_eq!(hub.browser("eve").await.get(path).await.status, 404);
}

#[tokio::test]
async fn what_is_wrong_with_sharing_is_said_on_its_page() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    for (form, status, why) in [
        (
            "action=grant&server=lab&with=nobody&scope=access:servers",
            400,
            "There is no such user or group.",
        ),
        (
            "action=grant&server=lab&with=bob&scope=access:servers",
            400,
            "This server is yours already.",
        ),
        ("action=grant&server=lab&with=eve", 400, "Choose at least one thing they may do."),
        ("action=link&server=lab", 400, "Choose at least one thing they may do."),
        ("action=link&server=lab&scope=access:servers&expires_in=1", 400, "a code lives for"),
        ("action=link&server=lab&scope=admin:users", 403, "not allowed to share"),
        ("action=dance&server=lab", 400, "nothing that can be done"),
        ("action=grant&server=nope&with=eve&scope=access:servers", 404, "nothing"),
    ] {
        let refused = act(&mut bob, form).await;
        assert_eq!(refused.status, status, "{form}");
        assert!(refused.text.contains(why), "{why} in {}", refused.text);
    }
    let forged = "action=grant&server=lab&with=eve&scope=access:servers";
    assert_eq!(bob.post("/hub/shares", forged).await.status, 403);
    assert_eq!(hub.doubles.image.load().shares_by(hub.key("bob").user).count(), 0);
}

#[tokio::test]
async fn who_may_not_share_sees_what_is_shared_with_them_alone() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let page = bob.get("/hub/shares").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("id=\"share-form\"")
            && page.text.contains("Nothing is shared with you.")
    );
    assert!(!bob.get("/hub/home").await.text.contains("/hub/shares"));
    let refused = act(&mut bob, "action=link&server=&scope=access:servers").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
}
