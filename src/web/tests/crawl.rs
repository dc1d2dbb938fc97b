//! A crawler: everybody walks over every page they can reach, and tries every method of every row. Whatever comes back,
//! its headers and cookies are those of `SECURITY.md` (d); every form is refused without its token; no address has a
//! secret in it; no script or style stands inside a page.

use std::collections::BTreeSet;

use http::Method;

use super::matrix::{NAMES, filled, hub as world};
use crate::web::{
    table,
    testing::{Browser, Hub, Reply, SERVER_TOKEN},
};

/// What every answer of the hub has.
fn look_at_headers(what: &str, reply: &Reply) {
    for (name, wanted) in [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(name), wanted, "{name} of {what}");
    }
    for name in ["x-jupyterhub-version", "x-request-id", "referrer-policy", "cache-control"] {
        assert!(!reply.header(name).is_empty(), "{what} has no {name}");
    }
    let policy = reply.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    let keeps = reply.header("cache-control");
    let page = reply.header("content-type").starts_with("text/html");
    assert!(!page || reply.text.is_empty() || keeps == "no-store", "{what}: {keeps}");
    if page && !reply.text.is_empty() {
        assert!(
            policy.contains("base-uri 'none'") && policy.contains("form-action 'self'"),
            "{what}: {policy}"
        );
    }
    for cookie in reply.set_cookies() {
        let (name, rest) = cookie.split_once('=').unwrap();
        let flags = rest.to_ascii_lowercase();
        assert!(flags.contains("samesite=") && flags.contains("path=/"), "{what}: {cookie}");
        assert!(name == "_xsrf" || flags.contains("httponly"), "{what}: {cookie}");
        assert!(!flags.contains("domain="), "{what}: {cookie}");
        assert!(cookie.len() < 4_096, "{what}: {cookie}");
    }
}

/// What a page has in it.
fn look_inside(what: &str, page: &str) {
    let lower = page.to_ascii_lowercase();
    assert!(!lower.contains("<style") && !lower.contains(" style="), "{what} has style inside");
    assert!(!lower.contains("javascript:"), "{what}");
    for (at, _) in lower.match_indices("<script") {
        let end = lower[at..].find('>').map(|end| at + end).unwrap();
        assert!(lower[at..end].contains("src="), "{what} has a script inside: {}", &page[at..end]);
        assert!(lower[end + 1..].starts_with("</script>"), "{what} has a script inside");
    }
    for part in lower.split('<') {
        let tag = part.split('>').next().unwrap_or_default();
        let handler = tag.split_whitespace().find(|it| it.starts_with("on") && it.contains('='));
        assert!(handler.is_none(), "{what}: {tag}");
    }
    let ids: Vec<_> = attributes(page, " id=\"").collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "{what} has an id twice: {ids:?}");
}

/// The values of this attribute on a page.
fn attributes<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    page.split(name).skip(1).filter_map(|rest| {
        let value = rest.split('"').next()?;
        Some(value.replace("&amp;", "&").replace("&#34;", "\"").replace("&#39;", "'"))
    })
}

/// Addresses a page leads to, within the hub.
fn links(page: &str) -> Vec<String> {
    let all = [" href=\"", " src=\"", " action=\"", " formaction=\""];
    let all = all.iter().flat_map(|name| attributes(page, name));
    all.map(|it| it.split('#').next().unwrap().to_owned())
        .filter(|it| it.starts_with("/hub/"))
        .collect()
}

/// Forms that change something: where they go, without the token, and with all else they have.
fn forms(page: &str) -> Vec<(String, String)> {
    let forms = page.split("<form").skip(1).filter_map(|form| form.split("</form>").next());
    let changing = forms.filter(|form| form.to_ascii_lowercase().contains("method=\"post\""));
    changing
        .map(|form| {
            let action = attributes(form, " action=\"").next().unwrap_or_default();
            let fields = form.split("<input").skip(1).filter_map(|input| {
                let name = attributes(input, " name=\"").next()?;
                let value = attributes(input, " value=\"").next().unwrap_or_default();
                (name != "_xsrf").then(|| format!("{name}={value}"))
            });
            (action, fields.collect::<Vec<_>>().join("&"))
        })
        .collect()
}

/// Everything that can be reached from here by looking. Gives back the pages seen.
async fn crawl(who: &str, browser: &mut Browser<'_>, hub: &Hub) -> usize {
    let starts = [
        "/hub/",
        "/hub/home",
        "/hub/token",
        "/hub/admin",
        "/hub/login",
        "/hub/spawn-pending/bob",
        "/hub/nowhere",
        "/hub/api-docs",
    ];
    let mut queue: Vec<String> = starts.iter().map(|it| (*it).to_owned()).collect();
    let mut seen = BTreeSet::new();
    while let Some(path) = queue.pop() {
        // Looking may start a server or sign out: those are tried for themselves.
        let acts = path.starts_with("/hub/logout")
            || path.starts_with("/hub/spawn/")
            || path == "/hub/spawn";
        if acts || seen.len() > 300 || !seen.insert(path.clone()) {
            continue;
        }
        let what = format!("GET {path} as {who}");
        let reply = browser.get(&path).await;
        assert!(reply.status < 500, "{what}: {}", reply.status);
        look_at_headers(&what, &reply);
        assert!(!reply.location().contains("_xsrf"), "{what} leads to {}", reply.location());
        if reply.location().starts_with("/hub/") {
            queue.push(reply.location().to_owned());
        }
        if !reply.header("content-type").starts_with("text/html") || reply.text.is_empty() {
            continue;
        }
        look_inside(&what, &reply.text);
        for secret in
            [SERVER_TOKEN, browser.cookies.get("jupyterhub-hub-login").map_or("none", |it| it)]
        {
            assert!(secret == "none" || !reply.text.contains(secret), "{what} shows a secret");
        }
        let found = links(&reply.text);
        assert!(found.iter().all(|it| !it.contains("_xsrf")), "{what}: {found:?}");
        queue.extend(found);
        for (action, fields) in forms(&reply.text) {
            let target = if action.is_empty() { path.clone() } else { action };
            let before = hub.app.doors.image();
            let refused = browser.post(&target, &fields).await;
            let told = format!("POST {target} without its token as {who}");
            assert_eq!(refused.status, 403, "{told}: {}", refused.text);
            look_at_headers(&told, &refused);
            assert!(*before == *hub.app.doors.image(), "{told} changed something");
        }
    }
    seen.len()
}

#[tokio::test]
async fn every_answer_to_everybody_has_its_headers_and_every_form_its_token() {
    let hub = world();
    let mut pages = Vec::new();
    for who in ["nobody", "bob", "root"] {
        let mut browser = if who == "nobody" { hub.visitor() } else { hub.browser(who).await };
        pages.push(crawl(who, &mut browser, &hub).await);
        for row in table::rows() {
            for path in row.paths.iter().map(|path| filled(path, NAMES)) {
                if path == "/hub/logout" {
                    continue;
                }
                for method in [
                    Method::GET,
                    Method::HEAD,
                    Method::OPTIONS,
                    Method::POST,
                    Method::DELETE,
                    Method::TRACE,
                ] {
                    // A stream without an end, which `admin.rs` listens to.
                    if (&method, &*path) == (&Method::GET, "/hub/admin/events") {
                        continue;
                    }
                    let what = format!("{method} {path} as {who}");
                    let reply = browser.send(method.as_str(), &path, &[], "").await;
                    assert!(reply.status < 500, "{what}: {} {}", reply.status, reply.text);
                    look_at_headers(&what, &reply);
                }
            }
        }
    }
    println!("pages and files seen by nobody, a user, an administrator: {pages:?}");
    assert!(pages.iter().all(|count| *count >= 12), "{pages:?}");
}
