//! What reaches the hub but is not below `{hub}`, and reports of broken policies.

use http::{Method, StatusCode};
use jovis_actors::domain::quote;
use serde_json::Value;
use tracing::info;

use super::user;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::Proof,
    statics,
};

/// Sends browsers to the same path below `{hub}`. `inside`: the path after the base, where it is below that.
pub(crate) async fn serve(call: &mut Call, inside: Option<&str>) -> Answer {
    if call.path == "/favicon.ico" && call.method == Method::GET {
        return statics::logo(call).await;
    }
    if call.path == "/robots.txt" {
        return Err(Error::no_page());
    }
    if call.method != Method::GET {
        return match inside.and_then(server_of) {
            Some(name) => act(call, &name),
            None => Err(Error::forbidden("nothing here takes this request")),
        };
    }
    let query = call.raw_query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    let rest = inside.unwrap_or(call.path.trim_start_matches('/'));
    let mut parts = rest.split('/');
    let bare = matches!(parts.next(), Some("user" | "services"))
        && parts.next().is_some_and(|name| !name.is_empty())
        && parts.next().is_none();
    if bare && inside.is_some() {
        let target = format!("{}{}{rest}/{query}", call.facts().public_host, call.base());
        return Ok(answer::redirect(StatusCode::MOVED_PERMANENTLY, &target));
    }
    // A path of slashes must not become another host.
    let rest = rest.trim_start_matches('/');
    Ok(answer::found(&format!("{}{}{rest}{query}", call.facts().public_host, call.hub())))
}

/// The answer to a browser that asks for a page of the hub on a host of a user or service: it belongs to the hub's own
/// host. A user's pages could read it otherwise, and what is typed into it.
pub(crate) fn misplaced(call: &Call) -> Option<Answer> {
    let hosts = call.facts().hosts.as_ref()?;
    let host = call.origin.split_once("://").map_or("", |(_, host)| host);
    let own = hosts.origin(&hosts.domain);
    let is_own = own.split_once("://").is_some_and(|(_, own)| own.eq_ignore_ascii_case(host));
    if is_own || !hosts.covers(host) {
        return None;
    }
    Some(match call.method {
        Method::GET => Ok(answer::found(&format!("{}{}", call.facts().public_host, call.uri()))),
        _ => Err(Error::forbidden("the hub's pages are on a host of their own")),
    })
}

/// Whose server a path below the base leads to.
fn server_of(inside: &str) -> Option<String> {
    let name = inside.strip_prefix("user/")?.split('/').next()?;
    quote::unquote(name).filter(|name| !name.is_empty())
}

/// Anything but looking, at a server the proxy has no route to: as below `{hub}`, but tokens count for nothing here.
fn act(call: &mut Call, name: &str) -> Answer {
    if !matches!(call.method, Method::POST | Method::PATCH | Method::DELETE) {
        return Err(Error::method());
    }
    call.identify(Proof::Cookie, false);
    call.require_xsrf(None)?;
    Ok(user::gone(call, name, ""))
}

/// We are alive.
pub(crate) async fn health(_call: &Call) -> Answer {
    Ok(answer::bare(StatusCode::OK, "text/html"))
}

/// What of a report is for the log: addresses in it may have tokens in their queries, and anything else may be made up.
pub(crate) fn told(report: &[u8]) -> String {
    let report: Value = serde_json::from_slice(report).unwrap_or_default();
    let report = report.get("csp-report").unwrap_or(&report);
    let part = |name: &&str| {
        let text = report.get(*name)?.as_str()?;
        let bare: String = text.split(['?', '#']).next()?.chars().take(200).collect();
        Some(format!("{name} {bare}"))
    };
    let parts = ["document-uri", "violated-directive", "blocked-uri", "source-file"];
    parts.iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// A browser tells that a page broke its policy.
pub(crate) async fn report(call: &mut Call) -> Answer {
    call.require_xsrf(None)?;
    let body = call.body(16 * 1024).await?;
    info!(report = told(&body), "page policy broken");
    Ok(answer::bare(StatusCode::OK, "text/html"))
}
