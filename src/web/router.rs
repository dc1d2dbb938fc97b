//! One table: path and method to handler. Paths are split at `/`, then each segment is decoded once: an encoded slash
//! never separates. `.` and `..`, plain or encoded, are refused.

use std::{sync::Arc, time::Instant};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use jovis_actors::domain::quote;
use tracing::{Instrument, debug, error, info, info_span};

use super::{
    answer::{self, Answer},
    api,
    app::App,
    call::{Call, Via},
    error::Error,
    guard::Proof,
    oauth, pages, statics,
};

/// What the API has. Names are as in the path, decoded; they need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint<'a> {
    Root,
    Info,
    WhoAmI,
    User(&'a str),
    Activity(&'a str),
    Tokens(&'a str),
    Token(&'a str, &'a str),
    Server(&'a str, &'a str),
    Progress(&'a str, &'a str),
    OAuthToken,
}

/// The API's table, below `{hub}api`.
fn endpoint<'a>(path: &[&'a str]) -> Option<(Endpoint<'a>, &'static [Method])> {
    use Endpoint as To;
    Some(match *path {
        [] | [""] => (To::Root, &[Method::GET]),
        ["info"] => (To::Info, &[Method::GET]),
        ["user"] => (To::WhoAmI, &[Method::GET]),
        ["oauth2", "token"] => (To::OAuthToken, &[Method::POST]),
        ["users", "", ..] => return None,
        ["users", n] => (To::User(n), &[Method::GET]),
        ["users", n, "activity"] => (To::Activity(n), &[Method::POST]),
        ["users", n, "tokens"] => (To::Tokens(n), &[Method::GET, Method::POST]),
        ["users", n, "tokens", id] => (To::Token(n, id), &[Method::GET, Method::DELETE]),
        ["users", n, "server"] => (To::Server(n, ""), &[Method::GET, Method::POST, Method::DELETE]),
        ["users", n, "servers", s] => {
            (To::Server(n, s), &[Method::GET, Method::POST, Method::DELETE])
        }
        ["users", n, "server", "progress"] => (To::Progress(n, ""), &[Method::GET]),
        ["users", n, "servers", s, "progress"] => (To::Progress(n, s), &[Method::GET]),
        _ => return None,
    })
}

/// What there is for browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page<'a> {
    Root,
    Login,
    Logout,
    Home,
    Spawn(Option<&'a str>, &'a str),
    Pending(&'a str, &'a str),
    /// A server that the proxy does not know; the first segment of what is wanted there.
    User(&'a str, &'a str),
    UserRedirect,
    Tokens,
    Authorize,
    Error(&'a str),
    Health,
    Report,
    Static(&'a str),
}

/// The table of pages, below `{hub}`.
fn page<'a>(path: &[&'a str]) -> Option<(Page<'a>, &'static [Method])> {
    use Page as To;
    const GET: &[Method] = &[Method::GET];
    const FORM: &[Method] = &[Method::GET, Method::POST];
    const PEEK: &[Method] = &[Method::GET, Method::HEAD];
    Some(match *path {
        [] | [""] => (To::Root, GET),
        ["login"] => (To::Login, FORM),
        ["logout"] => (To::Logout, GET),
        ["home"] => (To::Home, GET),
        ["spawn"] => (To::Spawn(None, ""), FORM),
        ["spawn", n] => (To::Spawn(Some(n), ""), FORM),
        ["spawn", n, s] => (To::Spawn(Some(n), s), FORM),
        ["spawn-pending", n] => (To::Pending(n, ""), GET),
        ["spawn-pending", n, s] => (To::Pending(n, s), GET),
        ["user", n, ref rest @ ..] if !n.is_empty() => (
            To::User(n, rest.first().copied().unwrap_or("")),
            &[Method::GET, Method::POST, Method::PATCH, Method::DELETE],
        ),
        ["user-redirect", _, ..] => (To::UserRedirect, GET),
        ["token"] => (To::Tokens, GET),
        ["api", "oauth2", "authorize"] => (To::Authorize, FORM),
        ["error", code] => (To::Error(code), GET),
        ["health"] | ["api", "health"] => (To::Health, PEEK),
        ["security", "csp-report"] => (To::Report, &[Method::POST]),
        ["logo"] => (To::Static("logo.svg"), PEEK),
        ["static", file] => (To::Static(file), PEEK),
        _ => return None,
    })
}

/// Segments after the prefix, decoded.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, Error> {
    let decode = |part: &str| {
        let plain = quote::unquote(part).ok_or_else(|| Error::bad("the path is not UTF-8"))?;
        if matches!(plain.as_str(), "." | "..") {
            return Err(Error::bad("the path has a segment of dots"));
        }
        Ok(plain)
    };
    path.split('/').map(decode).collect()
}

/// Answers one request; never fails, and a panic is a 500 of that request alone.
pub(crate) async fn handle(app: Arc<App>, request: Request<Body>, via: Via) -> Response<Body> {
    let begun = Instant::now();
    let hub = format!("{}hub/", app.settings.load().hub.base_url);
    let call = match Call::new(app, request, via) {
        Ok(call) => call,
        Err(error) => {
            let mut out = answer::api_error(&error);
            answer::finish(&mut out, &hub, &[], "-");
            return out;
        }
    };
    let (id, quiet) = (call.id.clone(), quiet(&call.path));
    let span = info_span!(
        "request", request = %id, method = %call.method, path = %call.path, user = tracing::field::Empty
    );
    // In a task of its own: a browser that goes away does not break off a change half-way.
    let task = tokio::spawn(run(call).instrument(span.clone()));
    let (mut out, cookies) = match task.await {
        Ok(done) => done,
        Err(died) => {
            span.in_scope(|| error!(error = %died, "request handler died"));
            (answer::api_error(&Error::failed("Internal Server Error")), Vec::new())
        }
    };
    answer::finish(&mut out, &hub, &cookies, &id);
    let (status, elapsed_ms) = (out.status().as_u16(), begun.elapsed().as_millis() as u64);
    span.in_scope(|| match status {
        500.. => tracing::warn!(status, elapsed_ms, "request failed"),
        _ if quiet => debug!(status, elapsed_ms, "request answered"),
        _ => info!(status, elapsed_ms, "request answered"),
    });
    out
}

/// What comes all the time and tells no story.
fn quiet(path: &str) -> bool {
    path.ends_with("/activity") || path.ends_with("/health") || path.contains("/hub/static/")
}

async fn run(mut call: Call) -> (Response<Body>, Vec<String>) {
    let out = dispatch(&mut call).await;
    (out, std::mem::take(&mut call.set))
}

async fn dispatch(call: &mut Call) -> Response<Body> {
    let (base, hub) = (call.base().to_owned(), call.hub());
    let path = call.path.clone();
    if format!("{path}/") == hub {
        let query = call.raw_query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let whole = answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("{hub}{query}"));
        return if call.method == Method::GET {
            whole
        } else {
            pages::error::show(call, &Error::method())
        };
    }
    let Some(inside) = path.strip_prefix(&hub) else {
        let out = pages::outside::serve(call, path.strip_prefix(&base));
        return out.unwrap_or_else(|error| pages::error::show(call, &error));
    };
    let api = inside == "api" || inside.starts_with("api/");
    let out = match segments(inside) {
        Err(error) => Err(error),
        Ok(parts) => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            match page(&parts) {
                Some((to, methods)) => {
                    let out = serve_page(call, to, methods).await;
                    return out.unwrap_or_else(|error| pages::error::show(call, &error));
                }
                None if api => serve_api(call, &parts[1..]).await,
                None => Err(Error::no_page()),
            }
        }
    };
    match out {
        Ok(out) => out,
        Err(error) if api => answer::api_error(&error),
        Err(error) => pages::error::show(call, &error),
    }
}

async fn serve_page(call: &mut Call, to: Page<'_>, methods: &[Method]) -> Answer {
    if !methods.contains(&call.method) {
        return Err(Error::method());
    }
    let (proof, counts) = match to {
        Page::Health | Page::Static(_) | Page::Error(_) => {
            return match to {
                Page::Static(path) => statics::serve(call, path),
                Page::Error(code) => pages::error::proxy(call, code),
                _ => Ok(answer::bare(StatusCode::OK, "text/html")),
            };
        }
        Page::User(..) => (Proof::Any, false),
        _ => (Proof::Cookie, true),
    };
    call.identify(proof, counts);
    match to {
        Page::Root => pages::login::root(call),
        Page::Login if call.method == Method::GET => pages::login::form(call),
        Page::Login => pages::login::submit(call).await,
        Page::Logout => pages::login::logout(call).await,
        Page::User(user, first) => pages::user::serve(call, user, first).await,
        // From here on only for people who are signed in.
        _ if call.who.is_none() => {
            if call.method == Method::GET {
                Ok(answer::found(&call.login_url()))
            } else {
                Err(Error::anonymous())
            }
        }
        Page::Home => pages::home::show(call),
        Page::Spawn(user, server) => pages::spawn::serve(call, user, server).await,
        Page::Pending(user, server) => pages::pending::show(call, user, server),
        Page::UserRedirect => pages::user::redirect(call),
        Page::Tokens => pages::tokens::show(call),
        Page::Authorize => oauth::authorize::serve(call).await,
        Page::Report => pages::outside::report(call).await,
        Page::Health | Page::Static(_) | Page::Error(_) => Err(Error::no_page()),
    }
}

async fn serve_api(call: &mut Call, parts: &[&str]) -> Answer {
    let (to, methods) = endpoint(parts).ok_or_else(Error::no_page)?;
    if call.method == Method::OPTIONS {
        return Ok(answer::bare(StatusCode::OK, "application/json"));
    }
    if to == Endpoint::Root && call.method == Method::GET {
        return Ok(api::hub::root());
    }
    call.identify(Proof::Any, true);
    let by_token = call.who.as_ref().is_some_and(|who| who.token.is_some());
    if !by_token && !call.cookie_counts() && to != Endpoint::OAuthToken {
        call.who = None;
    }
    let late = matches!(to, Endpoint::Tokens(_)) && call.method == Method::POST;
    let asked = call.who.is_some() || call.headers.contains_key("origin");
    let checked = to != Endpoint::Root && !late && call.method != Method::HEAD;
    if checked && !by_token && asked {
        call.require_xsrf(None)?;
    }
    if !methods.contains(&call.method) {
        return Err(Error::method());
    }
    match (to, call.method.as_str()) {
        (Endpoint::Root, _) => Ok(api::hub::root()),
        (Endpoint::Info, _) => api::hub::info(call),
        (Endpoint::WhoAmI, _) => api::users::who_am_i(call),
        (Endpoint::User(name), _) => api::users::show(call, name),
        (Endpoint::Activity(name), _) => api::activity::note(call, name).await,
        (Endpoint::Tokens(name), "GET") => api::tokens::list(call, name),
        (Endpoint::Tokens(name), _) => api::tokens::make(call, name).await,
        (Endpoint::Token(name, id), "GET") => api::tokens::show(call, name, id),
        (Endpoint::Token(name, id), _) => api::tokens::revoke(call, name, id).await,
        (Endpoint::Server(name, server), "GET") => api::servers::show(call, name, server),
        (Endpoint::Server(name, server), "POST") => api::servers::start(call, name, server).await,
        (Endpoint::Server(name, server), _) => api::servers::stop(call, name, server).await,
        (Endpoint::Progress(name, server), _) => api::progress::stream(call, name, server),
        (Endpoint::OAuthToken, _) => oauth::token::serve(call).await,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_path_breaks_the_table(path in "(users|user|spawn|api|[a-z./%2e]{0,6})(/[a-zA-Z0-9%./~@ü]{0,8}){0,6}") {
            if let Ok(parts) = segments(&path) {
                prop_assert_eq!(parts.len(), path.split('/').count());
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                prop_assert!(!parts.iter().any(|part| matches!(*part, "." | "..")));
                let _ = (endpoint(&parts), page(&parts));
            }
        }
    }

    #[test]
    fn paths_lead_to_their_endpoints() {
        use Endpoint as To;
        for (path, wanted) in [
            ("", Some(To::Root)),
            ("user", Some(To::WhoAmI)),
            ("users/bob", Some(To::User("bob"))),
            ("users/bob/", None),
            ("users/", None),
            ("users", None),
            ("users/bob/server", Some(To::Server("bob", ""))),
            ("users/bob/server/", None),
            ("users/bob/servers/", Some(To::Server("bob", ""))),
            ("users/bob/servers/lab", Some(To::Server("bob", "lab"))),
            ("users/bob/servers/lab/progress", Some(To::Progress("bob", "lab"))),
            ("users/bob/servers//progress", Some(To::Progress("bob", ""))),
            ("users/a%2Fb", Some(To::User("a/b"))),
            ("groups", None),
        ] {
            let parts = segments(path).unwrap();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            assert_eq!(endpoint(&parts).map(|(to, _)| to), wanted, "{path}");
        }
    }

    #[test]
    fn dots_and_bad_text_are_refused() {
        for path in ["a/../b", "a/%2e%2E", "./a", "a/%ff"] {
            assert_eq!(segments(path).unwrap_err().status.as_u16(), 400, "{path}");
        }
        assert_eq!(segments("a/..b/%252e").unwrap(), ["a", "..b", "%2e"]);
    }
}
