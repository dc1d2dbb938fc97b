//! Routing is axum's: one [`Router`], built once from the [`table`], nested below `{hub}`.
//!
//! Around it lies [`front`], for what a router cannot do: paths are split at `/`, then each segment is decoded once, so
//! an encoded slash never separates; `.` and `..`, plain or encoded, are refused. Behind it lies [`dispatch`]: the order
//! of checks (`spec/rest-api.md` 1.3) wants a method refused after the caller is known, so methods are the table's, too.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request, State, rejection},
    middleware::{self, Next},
    routing::any,
};
use http::{Method, Response, StatusCode, Uri, header, request::Parts, uri::PathAndQuery};
use jovis_actors::domain::quote;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    answer::{self, Answer},
    app::App,
    call::{self, Call, RequestId, Via},
    error::Error,
    guard::Proof,
    pages,
    table::{self, Door, Names, Row},
};
use crate::telemetry::metrics::{self, REQUESTS};

/// Where servers and services send visitors to sign in.
const AUTHORIZE: &str = "/api/oauth2/authorize";

/// Is this a request that may be broken off anywhere? (Pages may start servers or end sessions when they are looked at, and
/// the OAuth provider gives out codes.)
fn changes_nothing(method: &Method, path: &str, hub: &str) -> bool {
    let api = path.strip_prefix(hub).and_then(|path| path.strip_prefix("api/"));
    matches!(*method, Method::GET | Method::HEAD) && api.is_some_and(|it| !it.starts_with("oauth2"))
}

/// Does it in this task, which a panic does not end.
async fn here<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err("it panicked".to_owned())),
    })
    .await
}

/// Everything the hub answers. Requests carry their [`Via`] as an extension.
pub(crate) fn routes(app: Arc<App>) -> Router {
    let hub = hub(&app);
    let inside = table::mount(table::rows(), |row| {
        let row = Arc::new(row);
        any(move |names: Names, call: Call| serve(row.clone(), names, call))
    });
    let all = Router::new()
        .route(hub.trim_end_matches('/'), any(bare))
        .nest(&hub, inside.fallback(no_page))
        .fallback(outside)
        .with_state(app.clone());
    // A layer on the routes themselves would come too late: they are matched before it.
    Router::new().fallback_service(all).layer(middleware::from_fn_with_state(app, front))
}

fn hub(app: &App) -> String {
    format!("{}hub/", app.settings.load().hub.base_url)
}

/// Before and after everything: a request's id, its line in the log, its path in one spelling; the headers of every
/// answer. A panic is a 500 of that request alone.
async fn front(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response<Body> {
    let begun = Instant::now();
    let hub = hub(&app);
    let settings = app.settings.load_full();
    let via = request.extensions().get::<Via>().copied();
    let id = via.and_then(|via| call::request_id(request.headers(), via));
    let id = id.unwrap_or_else(|| app.entropy.hex(8));
    request.extensions_mut().insert(RequestId(id.clone()));
    let quiet = quiet(request.uri().path());
    // Others are not told apart: visitors could make up as many as they like.
    let known =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
    let known = known.into_iter().find(|known| known == request.method());
    let method = known.map_or_else(|| "other".to_owned(), |known| known.to_string());
    let span = info_span!(
        "request", request = %id, method = %request.method(), path = %request.uri().path(),
        user = tracing::field::Empty
    );
    let reads = changes_nothing(request.method(), request.uri().path(), &hub);
    let prefix = hub.clone();
    let work = async move {
        match tidy(request.uri(), &prefix) {
            Ok(None) => next.run(request).await,
            Ok(Some(uri)) => {
                *request.uri_mut() = uri;
                next.run(request).await
            }
            Err(error) => match Call::from_request(request, &app).await {
                Ok(call) => refusal(call, &error),
                Err(out) => out,
            },
        }
    };
    let work = work.instrument(span.clone());
    let done = if reads {
        here(work).await
    } else {
        // In a task of its own: a browser that goes away does not break off a change half-way.
        tokio::spawn(work).await.map_err(|died| died.to_string())
    };
    let mut out = done.unwrap_or_else(|died| {
        span.in_scope(|| error!(error = %died, "request handler died"));
        answer::api_error(&Error::failed("Internal Server Error"))
    });
    answer::finish(&mut out, &hub, &id, &settings.hub.headers);
    let (status, elapsed_ms) = (out.status().as_u16(), begun.elapsed().as_millis() as u64);
    let handler = out.extensions().get::<Handler>().map_or("none", |handler| handler.0);
    let code = out.status();
    let labels = [("method", &*method), ("handler", handler), ("code", code.as_str())];
    metrics::observe(&REQUESTS, &labels, begun.elapsed());
    span.in_scope(|| match status {
        500.. => warn!(status, elapsed_ms, "request failed"),
        _ if quiet => debug!(status, elapsed_ms, "request answered"),
        _ => info!(status, elapsed_ms, "request answered"),
    });
    out
}

/// What comes all the time and tells no story.
fn quiet(path: &str) -> bool {
    path.ends_with("/activity") || path.ends_with("/health") || path.contains("/hub/static/")
}

/// The address with its path below `hub` in the one spelling the table is written in; nothing if it is in it already.
/// axum compares what is fixed in a path as it came, and would neither know `log%69n` nor refuse a segment of dots.
fn tidy(uri: &Uri, hub: &str) -> Result<Option<Uri>, Error> {
    let Some(inside) = uri.path().strip_prefix(hub) else { return Ok(None) };
    let parts: Result<Vec<String>, Error> = inside.split('/').map(segment).collect();
    let path = format!("{hub}{}", parts?.join("/"));
    if path == uri.path() {
        return Ok(None);
    }
    let long = |_| Error::bad("the path is too long");
    let whole = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(whole.map_err(long)?);
    Uri::from_parts(parts).map(Some).map_err(|_| Error::bad("the address cannot be read"))
}

/// One segment: decoded once, and escaped where it must be.
fn segment(part: &str) -> Result<String, Error> {
    let plain = quote::unquote(part).ok_or_else(|| Error::bad("the path is not UTF-8"))?;
    if matches!(plain.as_str(), "." | "..") {
        return Err(Error::bad("the path has a segment of dots"));
    }
    Ok(quote::segment(&plain))
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = rejection::RawPathParamsRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let found = RawPathParams::from_request_parts(parts, state).await?;
        let own = |text: &str| text.to_owned();
        Ok(Self(found.iter().map(|(place, name)| (own(place), own(name))).collect()))
    }
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response<Body>> {
        Self::new(app.clone(), request).map_err(|error| answer::api_error(&error))
    }
}

/// `{hub}` without its last slash.
async fn bare(call: Call) -> Response<Body> {
    if call.method != Method::GET {
        let out = pages::error::show(&call, &Error::method());
        return answer::with_cookies(out, call.set);
    }
    let query = call.raw_query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("{}{query}", call.hub()))
}

/// Whatever is not below `{hub}`.
async fn outside(mut call: Call) -> Response<Body> {
    let (path, base) = (call.path.clone(), call.base().to_owned());
    let out = pages::outside::serve(&mut call, path.strip_prefix(&base)).await;
    let out = out.unwrap_or_else(|error| pages::error::show(&call, &error));
    answer::with_cookies(out, call.set)
}

/// Below `{hub}`, but not in the table.
async fn no_page(call: Call) -> Response<Body> {
    refusal(call, &Error::no_page())
}

/// An error of a request that belongs to no row.
fn refusal(call: Call, error: &Error) -> Response<Body> {
    let inside = call.path.strip_prefix(&call.hub()).unwrap_or_default().to_owned();
    let out = if inside == "api" || inside.starts_with("api/") {
        answer::api_error(error)
    } else {
        pages::error::show(&call, error)
    };
    answer::with_cookies(out, call.set)
}

/// A request for a row of the table.
async fn serve(row: Arc<Row>, names: Names, mut call: Call) -> Response<Body> {
    if names.0.iter().any(|(_, name)| name.is_empty()) {
        // Between two slashes axum also takes nothing for a name; where that is legal the table has a path of its own.
        return no_page(call).await;
    }
    let out = if row.door.is_api() {
        let out = match dispatch(&row, &names, &mut call).await {
            Ok(out) if call.method == Method::GET => answer::tagged(out, &call.headers).await,
            out => out,
        };
        let mut out = out.unwrap_or_else(|error| answer::api_error(&error));
        if row.door == Door::ApiRoot {
            // Any page may ask whether there is a hub, by whatever method.
            answer::put(&mut out, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        }
        out
    } else {
        let out = match pages::outside::misplaced(&call) {
            Some(out) => out,
            None => dispatch_page(&row, &names, &mut call).await,
        };
        out.unwrap_or_else(|error| pages::error::show(&call, &error))
    };
    // A body nobody wanted: a connection that is closed over it may lose the answer on its way.
    if !out.status().is_server_error() {
        call.swallow().await;
    }
    let mut out = answer::with_cookies(out, call.set);
    out.extensions_mut().insert(Handler(row.paths[0]));
    out
}

/// Which row has answered, for the metrics.
#[derive(Debug, Clone, Copy)]
struct Handler(&'static str);

/// Where somebody whom nobody knows signs in before coming back here. Whom a server or a service sends may go to the one
/// provider straight on, without a page of ours between.
fn sign_in(call: &Call, row: &Row) -> String {
    let auth = &call.settings.auth;
    let wanted = row.paths.contains(&AUTHORIZE) && auth.auto_login_oauth2_authorize;
    match call.straight_on(wanted) {
        Some(way) => pages::elsewhere::address(call, &way, &call.uri()),
        None => call.login_url(),
    }
}

async fn dispatch_page(row: &Row, names: &Names, call: &mut Call) -> Answer {
    let handler = row.deed(&call.method).ok_or_else(Error::method)?.handler;
    match row.door {
        Door::Open => {}
        Door::Server => {
            call.identify(Proof::Any, false);
            call.renew(Proof::Any).await;
        }
        // A page that looks by itself whether something has changed is no activity of whoever has it open.
        _ => {
            call.identify(Proof::Cookie, call.query.get("live").is_none());
            call.renew(Proof::Cookie).await;
        }
    }
    if row.door == Door::Person && call.who.is_none() {
        return match call.method {
            Method::GET => Ok(answer::found(&sign_in(call, row))),
            _ => Err(Error::anonymous()),
        };
    }
    handler(call, names).await
}

/// The API: who is it, is it one of our own pages, is there such a method, has the caller a scope for it; the rest is the
/// handler's.
async fn dispatch(row: &Row, names: &Names, call: &mut Call) -> Answer {
    let deed = row.deed(&call.method);
    match (row.door, deed) {
        _ if call.method == Method::OPTIONS => {
            return Ok(answer::bare(StatusCode::OK, "application/json"));
        }
        (Door::ApiRoot, Some(deed)) => return (deed.handler)(call, names).await,
        _ => {}
    }
    call.identify(Proof::Any, true);
    call.renew(Proof::Any).await;
    let by_token = call.who.as_ref().is_some_and(|who| who.token.is_some());
    if !by_token && (row.door == Door::ApiClient || !call.cookie_counts()) {
        call.who = None;
    }
    let asked = call.who.is_some() || call.headers.contains_key("origin");
    let checked = match row.door {
        Door::ApiRoot => false,
        Door::ApiLate => !matches!(call.method, Method::POST | Method::HEAD),
        _ => call.method != Method::HEAD,
    };
    if checked && !by_token && asked {
        call.require_xsrf(None)?;
    }
    let deed = deed.ok_or_else(Error::method)?;
    deed.admits(call, row.of, names)?;
    (deed.handler)(call, names).await
}

#[cfg(test)]
mod tests;
