//! The token page as a browser without scripts has it.

use jovis_actors::domain::Seconds;

use crate::web::testing::{Browser, Hub, Reply};

async fn act(browser: &mut Browser<'_>, fields: &str) -> Reply {
    let xsrf = browser.get("/hub/token").await.field("_xsrf");
    browser.post("/hub/token", &format!("{fields}&_xsrf={xsrf}")).await
}

/// The token an answer shows.
fn result(page: &Reply) -> Option<String> {
    let (_, rest) = page.text.split_once("id=\"token-result\"")?;
    let text = rest.split_once('>')?.1.split('<').next()?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[tokio::test]
async fn a_token_is_made_by_a_plain_form_and_shown_once() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    let page = bob.get("/hub/token").await;
    assert_eq!(result(&page), None);
    for part in [
        "id=\"request-token-form\"",
        "id=\"token-note\"",
        "id=\"token-expiration-seconds\"",
        "id=\"token-scopes\"",
        "value=\"read:servers!user=bob\"",
        "See servers and the progress of their start.",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    let form = "note=%3Cb%3Ebackup%3C%2Fb%3E&expires_in=3600&scope=read:servers!user%3Dbob&scopes=";
    let made = act(&mut bob, form).await;
    assert_eq!((made.status, made.header("cache-control")), (200, "no-store"));
    let token = result(&made).unwrap();
    let header = format!("token {token}");
    let who = hub.plain("GET", "/hub/api/user", &[("authorization", &header)], "").await.json();
    assert_eq!(who["name"], "bob");
    assert!(who["scopes"].to_string().contains("read:servers!user=bob"), "{who}");
    assert!(!who["scopes"].to_string().contains("tokens"), "{who}");
    let page = bob.get("/hub/token").await;
    assert!(!page.text.contains(&token), "shown once");
    assert!(page.text.contains("&lt;b&gt;backup&lt;/b&gt;") && !page.text.contains("<b>backup"));
    let (_, rest) = page.text.split_once("data-token-id=\"").unwrap();
    let id = rest.split('"').next().unwrap();
    let gone = act(&mut bob, &format!("revoke={id}")).await;
    assert_eq!((gone.status, gone.location()), (302, "/hub/token"));
    assert!(!bob.get("/hub/token").await.text.contains(&format!("data-token-id=\"{id}\"")));
    let who = hub.plain("GET", "/hub/api/user", &[("authorization", &header)], "").await;
    assert_eq!(who.status, 403);
    assert_eq!(act(&mut bob, &format!("revoke={id}")).await.status, 302, "gone is gone");
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_on_its_page() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    for (form, why) in [
        (
            "note=kept&scopes=admin:users",
            "not allowed to request scopes: admin:auth_state, admin:users",
        ),
        ("note=kept&scopes=%3Cnope%3E", "no such scope: &lt;nope&gt;"),
        ("note=kept&expires_in=soon", "expires_in must be a positive integer"),
    ] {
        let refused = act(&mut bob, form).await;
        assert_eq!((refused.status, result(&refused)), (400, None), "{form}");
        assert!(refused.text.contains(why), "{why} in {}", refused.text);
        assert!(refused.text.contains("value=\"kept\""), "what was typed is kept: {form}");
    }
    assert_eq!(bob.post("/hub/token", "note=x").await.status, 403, "without its form's token");
    assert_eq!(bob.post("/hub/token", "revoke=a1&_xsrf=x").await.status, 403);
}

#[tokio::test]
async fn the_lives_to_choose_from_end_with_the_longest_that_is_allowed() {
    let options = async |most: u32| {
        let hub = Hub::with(|hub| hub.token_expires_in_max_seconds = Seconds::new(most));
        let page = hub.browser("bob").await.get("/hub/token").await.text;
        let (_, rest) = page.split_once("id=\"token-expiration-seconds\"").unwrap();
        let select = rest.split("</select>").next().unwrap();
        let texts = select.split("<option ").skip(1).map(|it| {
            let text = it.split_once('>').unwrap().1.split('<').next().unwrap();
            format!("{text}{}", if it.contains(" selected") { "*" } else { "" })
        });
        texts.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(options(0).await, "1 Hour, 1 Day, 1 Week, 1 Month, 1 Year, Never*");
    assert_eq!(options(86_400).await, "1 Hour, 1 Day*");
    assert_eq!(options(172_800).await, "1 Hour, 1 Day, Max (2 days)*");
    assert_eq!(options(7_200).await, "1 Hour, Max (2 hours)*");
}
