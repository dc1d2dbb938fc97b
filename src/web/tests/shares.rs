//! Sharing over the wire: shares, codes, the page where one is accepted, and what a share opens.

use std::{collections::BTreeMap, sync::Arc};

use jovis_actors::{
    domain::{Group, GroupId, GroupName, Policy, Server, ServerKey, ServerName},
    store::Write,
};
use serde_json::{Value, json};

use crate::web::testing::{Browser, Hub, Reply, SERVER_TOKEN};

/// A hub where everybody may share what is their own; `bob` has the server `lab`, `eve` is in the group `team`.
pub(super) fn town() -> Hub {
    let hub = Hub::with(|hub| hub.allow_named_servers = true);
    let extra = ["shares!user", "read:users:name", "read:groups:name"].map(str::to_owned);
    hub.app.policy.store(Arc::new(Policy::new(&[], &extra, &BTreeMap::new()).unwrap()));
    group(&hub, 100, "team", &["eve"]);
    server(&hub, "bob", "lab");
    hub
}

fn group(hub: &Hub, id: u64, name: &str, members: &[&str]) {
    let id = GroupId(id);
    let name = GroupName::new(name).unwrap();
    hub.doubles.write(Write::Group(Arc::new(Group { id, name, properties: Arc::default() })));
    for member in members {
        hub.doubles.write(Write::Member(id, hub.key(member).user));
    }
}

pub(super) fn server(hub: &Hub, owner: &str, name: &str) -> ServerKey {
    let key = ServerKey { name: ServerName::new(name).unwrap(), ..hub.key(owner) };
    hub.doubles.write(Write::Server(Arc::new(Server::new(key.clone()))));
    key
}

async fn api(browser: &mut Browser<'_>, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = browser.script(method, &format!("/hub/api{path}"), &body).await;
    let value = if reply.text.is_empty() { Value::Null } else { reply.json() };
    (reply.status, value)
}

async fn status(browser: &mut Browser<'_>, method: &str, path: &str, body: &Value) -> u16 {
    api(browser, method, path, body).await.0
}

fn scopes(model: &Value) -> Vec<&str> {
    model["scopes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

const NOTHING: Value = Value::Null;

#[tokio::test]
async fn a_server_is_shared_with_a_user_or_a_group() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    let (code, share) = api(&mut bob, "POST", "/shares/bob/lab", &json!({"user": "eve"})).await;
    assert_eq!(code, 200);
    let wanted = json!({
        "server": {"user": {"name": "bob"}, "name": "lab", "url": "/user/bob/lab/", "full_url": null, "ready": false},
        "scopes": ["access:servers!server=bob/lab"],
        "user": {"name": "eve"},
        "group": null,
        "kind": "user",
        "created_at": share["created_at"],
    });
    assert_eq!(share, wanted);
    assert!(share["created_at"].as_str().unwrap().ends_with('Z'));
    let body = json!({"user": "eve", "scopes": ["servers", "read:servers!server=bob/lab"]});
    let (code, more) = api(&mut bob, "POST", "/shares/bob/lab", &body).await;
    let all =
        ["access:servers!server=bob/lab", "read:servers!server=bob/lab", "servers!server=bob/lab"];
    assert_eq!((code, scopes(&more)), (200, all.to_vec()), "grants accumulate");
    assert_eq!(more["created_at"], share["created_at"]);
    let (code, team) =
        api(&mut bob, "POST", "/shares/bob/", &json!({"group": "team", "scopes": []})).await;
    assert_eq!((code, scopes(&team)), (200, vec!["access:servers!server=bob/"]));
    assert_eq!(
        (&team["user"], &team["group"], &team["kind"]),
        (&NOTHING, &json!({"name": "team"}), &json!("group"))
    );

    let (_, all) = api(&mut bob, "GET", "/shares/bob", &NOTHING).await;
    assert_eq!(all["items"], json!([team, more]), "the default server first");
    assert_eq!(all["_pagination"], json!({"offset": 0, "limit": 200, "total": 2, "next": null}));
    let (_, page) = api(&mut bob, "GET", "/shares/bob?limit=1", &NOTHING).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["_pagination"]["next"]["offset"], 1);
    let (_, lab) = api(&mut bob, "GET", "/shares/bob/lab", &NOTHING).await;
    assert_eq!(lab["items"], json!([more]));
    // Lists are in the order of giving, whatever the names.
    server(&hub, "bob", "early");
    hub.clock.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let (_, late) = api(&mut bob, "POST", "/shares/bob/early", &json!({"user": "eve"})).await;
    let (_, all) = api(&mut bob, "GET", "/shares/bob", &NOTHING).await;
    assert_eq!(all["items"], json!([team, more, late]));
}

#[tokio::test]
async fn what_cannot_be_shared_is_refused_and_nothing_changes() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    let post = "/shares/bob/lab";
    for (path, body, wanted) in [
        (post, json!({}), 400),
        (post, NOTHING, 400),
        (post, json!([]), 400),
        (post, json!({"user": "eve", "group": "team"}), 400),
        (post, json!({"user": ["eve"]}), 400),
        (post, json!({"user": "eve", "color": "red"}), 400),
        (post, json!({"user": "eve", "scopes": "servers"}), 400),
        (post, json!({"user": "eve", "scopes": ["no-such-scope"]}), 400),
        (post, json!({"user": "eve", "scopes": ["self"]}), 403),
        (post, json!({"user": "eve", "scopes": ["servers!server=bob/"]}), 400),
        (post, json!({"user": "eve", "scopes": ["servers!user=bob"]}), 400),
        (post, json!({"user": "eve", "scopes": ["admin:servers"]}), 403),
        (post, json!({"user": "eve", "scopes": ["servers", "list:users"]}), 403),
        (post, json!({"user": "nobody"}), 400),
        (post, json!({"group": "nobody"}), 400),
        ("/shares/bob/other", json!({"user": "eve"}), 404),
        ("/shares/bob/%07", json!({"user": "eve"}), 404),
        ("/shares/eve/", json!({"user": "eve"}), 404),
        ("/shares/nobody/", json!({"user": "eve"}), 404),
    ] {
        assert_eq!(status(&mut bob, "POST", path, &body).await, wanted, "{path} {body}");
    }
    assert_eq!(bob.script("POST", "/hub/api/shares/bob/lab", "{").await.status, 400);
    for method in ["POST", "PATCH", "DELETE", "PUT"] {
        assert_eq!(status(&mut bob, method, "/shares/bob", &json!({"user": "eve"})).await, 405);
    }
    assert_eq!(status(&mut bob, "GET", "/shares/bob/other", &NOTHING).await, 404);
    assert_eq!(status(&mut bob, "GET", "/shares/nobody", &NOTHING).await, 404);
    // Whoever may not share at all, or not name whom to share with.
    hub.app.policy.store(Arc::default());
    assert_eq!(status(&mut bob, "POST", post, &json!({"user": "eve"})).await, 403);
    let extra = ["shares!user".to_owned()];
    hub.app.policy.store(Arc::new(Policy::new(&[], &extra, &BTreeMap::new()).unwrap()));
    for body in [json!({"user": "eve"}), json!({"user": "nobody"}), json!({"group": "team"})] {
        assert_eq!(status(&mut bob, "POST", post, &body).await, 403, "{body}");
    }
    assert_eq!(hub.app.doors.image().shares_by(hub.key("bob").user).count(), 0);
    let mut nobody = hub.visitor();
    assert_eq!(nobody.script("GET", "/hub/api/shares/bob", "").await.status, 403);
}

#[tokio::test]
async fn a_share_is_revoked_in_part_or_whole() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    let path = "/shares/bob/lab";
    let eve = json!({"user": "eve", "scopes": ["servers", "access:servers"]});
    api(&mut bob, "POST", path, &eve).await;
    api(&mut bob, "POST", path, &json!({"group": "team"})).await;
    let (code, left) = api(&mut bob, "PATCH", path, &eve).await;
    assert_eq!((code, scopes(&left).len()), (200, 2), "without their filter they match nothing");
    let body = json!({"user": "eve", "scopes": ["servers!server=bob/lab"]});
    let (code, left) = api(&mut bob, "PATCH", path, &body).await;
    assert_eq!((code, scopes(&left)), (200, vec!["access:servers!server=bob/lab"]));
    for body in [
        json!({"user": "eve"}),
        json!({"user": "eve"}),
        json!({"user": "nobody"}),
        json!({"group": "nobody"}),
        json!({"user": "root"}),
    ] {
        assert_eq!(api(&mut bob, "PATCH", path, &body).await, (200, json!({})), "{body}");
    }
    for bad in [json!({}), json!({"user": "eve", "group": "team"}), json!({"user": "eve", "a": 1})]
    {
        assert_eq!(status(&mut bob, "PATCH", path, &bad).await, 400, "{bad}");
    }
    assert_eq!(status(&mut bob, "PATCH", "/shares/bob/other", &json!({"user": "eve"})).await, 404);
    for _ in 0..2 {
        assert_eq!(status(&mut bob, "DELETE", path, &NOTHING).await, 204);
    }
    let (_, none) = api(&mut bob, "GET", "/shares/bob", &NOTHING).await;
    assert_eq!((&none["items"], &none["_pagination"]["total"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn what_is_shared_with_somebody_is_listed_and_left() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    api(&mut bob, "POST", "/shares/bob/", &json!({"user": "eve"})).await;
    api(&mut bob, "POST", "/shares/bob/lab", &json!({"group": "team"})).await;
    let mut eve = hub.browser("eve").await;
    let (code, all) = api(&mut eve, "GET", "/users/eve/shared", &NOTHING).await;
    let kinds: Vec<_> = all["items"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!((code, kinds), (200, vec![&json!("user"), &json!("group")]), "through groups, too");
    let (code, one) = api(&mut eve, "GET", "/users/eve/shared/bob/", &NOTHING).await;
    assert_eq!((code, &one), (200, &all["items"][0]));
    for path in
        ["/users/eve/shared/bob/lab", "/users/eve/shared/nobody/", "/users/eve/shared/bob/x"]
    {
        for method in ["GET", "DELETE"] {
            assert_eq!(status(&mut eve, method, path, &NOTHING).await, 404, "{method} {path}");
        }
    }
    // Others neither see it nor end it; nor does the owner of the server by this way.
    for path in ["/users/eve/shared", "/users/eve/shared/bob/"] {
        assert_eq!(status(&mut bob, "GET", path, &NOTHING).await, 404, "{path}");
    }
    assert_eq!(status(&mut bob, "DELETE", "/users/eve/shared/bob/", &NOTHING).await, 404);
    assert_eq!(status(&mut eve, "DELETE", "/users/eve/shared/bob/", &NOTHING).await, 204);
    assert_eq!(status(&mut eve, "DELETE", "/users/eve/shared/bob/", &NOTHING).await, 404);
    // Groups: whoever may for groups.
    assert_eq!(status(&mut eve, "GET", "/groups/team/shared", &NOTHING).await, 404);
    let mut root = hub.browser("root").await;
    let (code, team) = api(&mut root, "GET", "/groups/team/shared", &NOTHING).await;
    assert_eq!((code, &team["items"]), (200, &json!([all["items"][1]])));
    let (code, one) = api(&mut root, "GET", "/groups/team/shared/bob/lab", &NOTHING).await;
    assert_eq!((code, &one), (200, &all["items"][1]));
    for path in
        ["/groups/nobody/shared", "/groups/team/shared/bob/", "/groups/nobody/shared/bob/lab"]
    {
        assert_eq!(status(&mut root, "GET", path, &NOTHING).await, 404, "{path}");
    }
    assert_eq!(status(&mut root, "DELETE", "/groups/team/shared/bob/lab", &NOTHING).await, 204);
    assert_eq!(status(&mut root, "DELETE", "/groups/team/shared/bob/lab", &NOTHING).await, 404);
}

#[tokio::test]
async fn codes_are_made_shown_once_and_deleted() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    let path = "/share-codes/bob/lab";
    let (code, made) = api(&mut bob, "POST", path, &NOTHING).await;
    assert_eq!(code, 200);
    let secret = made["code"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 43);
    assert_eq!(made["accept_url"], format!("/hub/accept-share?code={secret}"));
    let id = made["id"].as_str().unwrap();
    let wanted = json!({
        "server": {"user": {"name": "bob"}, "name": "lab", "url": "/user/bob/lab/", "full_url": null, "ready": false},
        "scopes": ["access:servers!server=bob/lab"],
        "id": id,
        "created_at": "2026-11-21T22:26:40Z",
        "expires_at": "2026-11-22T22:26:40Z",
        "exchange_count": 0,
        "last_exchanged_at": null,
    });
    assert!(id.strip_prefix("sc_").unwrap().parse::<u64>().is_ok());
    let (_, listed) = api(&mut bob, "GET", path, &NOTHING).await;
    assert_eq!(listed["items"], json!([wanted]), "the code itself is not told again");
    assert_eq!(listed["_pagination"]["total"], 1);
    for (body, wanted) in [
        (json!({"expires_in": 60, "scopes": ["servers"]}), 200),
        (json!({"expires_in": "31536000", "scopes": null}), 200),
        (json!({"expires_in": 59}), 400),
        (json!({"expires_in": 31_536_001}), 400),
        (json!({"expires_in": null}), 400),
        (json!({"expires_in": 60.5}), 400),
        (json!({"user": "eve"}), 400),
        (json!([1]), 400),
        (json!({"scopes": ["servers!server=bob/"]}), 400),
        (json!({"scopes": ["nothing"]}), 400),
        (json!({"scopes": ["admin:servers"]}), 403),
    ] {
        assert_eq!(status(&mut bob, "POST", path, &body).await, wanted, "{body}");
    }
    assert_eq!(status(&mut bob, "POST", "/share-codes/bob/x", &NOTHING).await, 404);
    assert_eq!(status(&mut bob, "POST", "/share-codes/bob/", &NOTHING).await, 200);
    for method in ["POST", "DELETE"] {
        assert_eq!(status(&mut bob, method, "/share-codes/bob", &NOTHING).await, 405);
    }
    let (_, all) = api(&mut bob, "GET", "/share-codes/bob", &NOTHING).await;
    assert_eq!(all["_pagination"]["total"], 4);
    let mut eve = hub.browser("eve").await;
    assert_eq!(status(&mut eve, "GET", "/share-codes/bob", &NOTHING).await, 404);

    for bad in ["id=sc_999", "id=12", "id=", "code=", "code=x", &format!("code={secret}x")] {
        let one = format!("{path}?{bad}");
        assert_eq!(status(&mut bob, "DELETE", &one, &NOTHING).await, 404, "{bad}");
    }
    let other = format!("/share-codes/bob/?code={secret}");
    assert_eq!(status(&mut bob, "DELETE", &other, &NOTHING).await, 404, "another server's");
    for (one, again) in [(format!("{path}?code={secret}"), 404), (path.to_owned(), 204)] {
        assert_eq!(status(&mut bob, "DELETE", &one, &NOTHING).await, 204);
        assert_eq!(status(&mut bob, "DELETE", &one, &NOTHING).await, again);
    }
    let (_, left) = api(&mut bob, "GET", "/share-codes/bob", &NOTHING).await;
    let id = left["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(left["_pagination"]["total"], 1);
    let both = format!("/share-codes/bob/?id={id}&code={secret}");
    assert_eq!(status(&mut bob, "DELETE", &both, &NOTHING).await, 404, "two that differ");
    let one = format!("/share-codes/bob/?id={id}");
    assert_eq!(status(&mut bob, "DELETE", &one, &NOTHING).await, 204);
}

async fn code(hub: &Hub) -> String {
    let mut bob = hub.browser("bob").await;
    let body = json!({"scopes": ["access:servers", "read:servers"], "expires_in": 60});
    let (_, made) = api(&mut bob, "POST", "/share-codes/bob/lab", &body).await;
    made["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_invitation_is_shown_and_accepted() {
    let hub = town();
    let secret = code(&hub).await;
    let url = format!("/hub/accept-share?code={secret}");
    let mut eve = hub.browser("eve").await;
    let page = eve.get(&url).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for text in [
        "bob",
        "/user/bob/lab/",
        "not running",
        "access:servers!server=bob/lab",
        "Accept invitation",
    ] {
        assert!(page.text.contains(text), "{text}");
    }
    assert_eq!(page.field("code"), secret);
    assert_eq!(
        hub.app.doors.image().shares_by(hub.key("bob").user).count(),
        0,
        "looking changes nothing"
    );
    let xsrf = page.field("_xsrf");
    // Without the form's own token nothing is accepted.
    let forged = eve.post("/hub/accept-share", &format!("code={secret}")).await;
    assert_eq!(forged.status, 403);
    let form = format!("_xsrf={xsrf}&code={secret}");
    let done = eve.post("/hub/accept-share", &form).await;
    assert_eq!((done.status, done.location()), (302, "/user/bob/lab/"));
    let (_, shared) = api(&mut eve, "GET", "/users/eve/shared/bob/lab", &NOTHING).await;
    assert_eq!(scopes(&shared), ["access:servers!server=bob/lab", "read:servers!server=bob/lab"]);
    // Where to go next is the request's choice, but only among our pages.
    for (next, wanted) in [
        ("/hub/token", "/hub/token"),
        ("http://hub:8000/user/bob/lab/tree", "/user/bob/lab/tree"),
        ("//evil/", "/user/bob/lab/"),
        ("https://evil/", "/user/bob/lab/"),
        ("javascript:x", "/user/bob/lab/"),
    ] {
        let page = eve.get(&format!("{url}&next={next}")).await;
        assert!(page.text.contains(&format!("<code>{wanted}</code>")), "{next}");
        let done = eve.post(&format!("/hub/accept-share?next={next}"), &form).await;
        assert_eq!((done.status, done.location()), (302, wanted), "{next}");
    }
    let mut bob = hub.browser("bob").await;
    let (_, codes) = api(&mut bob, "GET", "/share-codes/bob", &NOTHING).await;
    assert_eq!(codes["items"][0]["exchange_count"], 6);
    assert_eq!(codes["items"][0]["last_exchanged_at"], "2026-11-21T22:26:40Z");
    let (_, shares) = api(&mut bob, "GET", "/shares/bob", &NOTHING).await;
    assert_eq!(shares["_pagination"]["total"], 1, "one share, however often it was accepted");
}

#[tokio::test]
async fn an_invitation_that_is_none_is_refused() {
    let hub = town();
    let secret = code(&hub).await;
    let url = format!("/hub/accept-share?code={secret}");
    let anonymous = hub.visitor().get(&url).await;
    assert_eq!(anonymous.status, 302);
    assert_eq!(
        anonymous.location(),
        format!("/hub/login?next=/hub/accept-share%3Fcode%3D{secret}")
    );
    let mut bob = hub.browser("bob").await;
    let own = bob.get(&url).await;
    assert_eq!((own.status, own.header("content-type")), (403, "text/html"));
    let mut eve = hub.browser("eve").await;
    for (path, wanted) in [
        ("/hub/accept-share", 400),
        ("/hub/accept-share?code=", 400),
        ("/hub/accept-share?code=unknown", 404),
        ("/hub/accept-share?code=%00%F0%9F%90%88", 404),
        ("/hub/accept-share?code=%ff", 400),
    ] {
        assert_eq!(eve.get(path).await.status, wanted, "{path}");
    }
    let token = |browser: &Browser<'_>| browser.cookies["_xsrf"].trim_matches('"').to_owned();
    let post = async |browser: &mut Browser<'_>, code: &str| {
        let form = format!("_xsrf={}&code={code}", token(browser));
        browser.post("/hub/accept-share", &form).await.status
    };
    assert_eq!(post(&mut bob, &secret).await, 400);
    for bad in ["", "unknown"] {
        assert_eq!(post(&mut eve, bad).await, 400, "{bad}");
    }
    let minute = 60_000_000;
    hub.clock.0.fetch_add(minute, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(eve.get(&url).await.status, 404, "expired");
    assert_eq!(post(&mut eve, &secret).await, 400);
    assert_eq!(hub.app.doors.image().shares_by(hub.key("bob").user).count(), 0);
}

/// What the server asks with a visitor's token.
async fn who_am_i(hub: &Hub, token: &str) -> Reply {
    let header = format!("token {token}");
    hub.plain("GET", "/hub/api/user", &[("authorization", &header)], "").await
}

/// Passes the consent page and exchanges the code; nothing: there was no way in.
async fn enter(hub: &Hub, browser: &mut Browser<'_>) -> Option<String> {
    let url = "/hub/api/oauth2/authorize?client_id=jupyterhub-user-bob&response_type=code";
    let page = browser.get(url).await;
    let given = match page.status {
        403 => return None,
        // She is asked once.
        302 => page,
        _ => {
            let scope = "access:servers!server%3Dbob/";
            let form = format!("_xsrf={}&scopes={scope}", page.field("_xsrf"));
            browser.post(url, &form).await
        }
    };
    let (_, code) = given.location().split_once("code=").unwrap();
    let exchange = format!(
        "client_id=jupyterhub-user-bob&client_secret={SERVER_TOKEN}&grant_type=authorization_code&code={code}"
    );
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let done = hub.plain("POST", "/hub/api/oauth2/token", &[kind], &exchange).await;
    Some(done.json()["access_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_share_opens_a_server_by_oauth_until_it_is_revoked() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    assert_eq!(bob.get("/hub/spawn").await.location(), "/user/bob/");
    for whom in [json!({"user": "eve"}), json!({"group": "team"})] {
        let mut eve = hub.browser("eve").await;
        assert_eq!(enter(&hub, &mut eve).await, None, "a stranger");
        assert_eq!(eve.get("/hub/user/bob/").await.status, 404);
        assert_eq!(status(&mut bob, "POST", "/shares/bob/", &whom).await, 200);
        let token = enter(&hub, &mut eve).await.expect("the share lets her in");
        let who = who_am_i(&hub, &token).await.json();
        assert_eq!(who["name"], "eve");
        let access = "access:servers!server=bob/";
        assert!(scopes(&who).contains(&access), "{whom}: {:?}", who["scopes"]);
        assert_eq!(eve.get("/hub/user/bob/").await.status, 302, "the hub, too, sends her there");
        let (code, left) = api(&mut bob, "PATCH", "/shares/bob/", &whom).await;
        assert_eq!((code, left), (200, json!({})));
        let who = who_am_i(&hub, &token).await.json();
        assert!(!scopes(&who).contains(&access), "{whom}: {:?}", who["scopes"]);
        assert_eq!(eve.get("/hub/user/bob/").await.status, 404);
        assert_eq!(enter(&hub, &mut eve).await, None);
    }
}

#[tokio::test]
async fn a_removed_server_takes_its_shares_along() {
    let hub = town();
    let mut bob = hub.browser("bob").await;
    api(&mut bob, "POST", "/shares/bob/lab", &json!({"user": "eve"})).await;
    let secret = code(&hub).await;
    let image = hub.app.doors.image();
    assert_eq!((image.shares_by(hub.key("bob").user).count(), image.share_codes().count()), (1, 1));
    let gone = jovis_actors::accounts::remove_server(
        &image,
        &ServerKey { name: ServerName::new("lab").unwrap(), ..hub.key("bob") },
    );
    let Ok((writes, ())) = gone;
    writes.into_iter().for_each(|write| hub.doubles.write(write));
    // One of the same name is another server.
    server(&hub, "bob", "lab");
    let mut eve = hub.browser("eve").await;
    let (_, all) = api(&mut eve, "GET", "/users/eve/shared", &NOTHING).await;
    assert_eq!(all["items"], json!([]));
    assert_eq!(eve.get(&format!("/hub/accept-share?code={secret}")).await.status, 404);
}
