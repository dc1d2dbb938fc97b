//! A request comes in: is it one unambiguous request, who has sent it, where does it go?

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONNECTION, HOST, STRICT_TRANSPORT_SECURITY, UPGRADE},
    request::Parts,
    uri::PathAndQuery,
};
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{error::Elapsed, timeout},
};
use tracing::{debug, warn};

use super::{
    alone,
    body::{Answer, Inbound},
    drain::Phase,
    figures::{Class, Event},
    forward::{complain, due, forward},
    guard::Notes,
    headers::{self, Origin},
    http2,
    pages::{self, Page},
    path, redirect,
    served::{self, Line},
    shared::Shared,
    stopped,
    table::Entry,
    trailers, upgrade,
};

/// A day in milliseconds.
const DAY: u64 = 24 * 3600 * 1000;

/// A visitor, as far as the connection tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Does it use TLS?
    pub(super) tls: bool,
    /// Did it come to the port that sends visitors to TLS?
    pub(super) redirects: bool,
}

/// Answers a request, by a backend or by ourselves: what holds for every answer of hyper's is done here. The request
/// is in hand from the call on.
pub(super) fn answer(
    shared: Arc<Shared>,
    visit: Visit,
    notes: Arc<Notes>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Answer>> {
    // `None`: one of too many streams.
    let in_hand =
        if http2::is(request.version()) { notes.begin_stream() } else { Some(notes.begin()) };
    async move {
        let asked_upgrade = request.headers().contains_key(UPGRADE);
        let by_http2 = http2::is(request.version());
        let asks_head = request.method() == Method::HEAD;
        let mut response = match shared.alone.get() {
            _ if in_hand.is_none() => {
                debug!(from = %visit.peer, "too many at once");
                Page::Crowded.answer(request.headers(), None)
            }
            _ if visit.redirects => redirect::answer(&shared, visit.peer, request),
            Some(alone) => alone::serve(&shared, alone, visit, notes, request).await,
            None => serve(&shared, visit, notes, request).await,
        };
        // What follows a request for an upgrade was not read as HTTP; and who leaves takes no more requests.
        let last = asked_upgrade || *shared.phase.borrow() >= Phase::Retiring;
        let last = last && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        finish(&shared, response.headers_mut(), visit, last);
        if by_http2 {
            // Connections are ended by their own frames there; and hyper would send a body to whoever asks for the head.
            response.headers_mut().remove(CONNECTION);
            if asks_head {
                response = response.map(Answer::without_content);
            }
        }
        response.map(|body| body.holding(in_hand))
    }
}

/// What every answer says, whoever made it.
pub(super) fn finish(shared: &Shared, fields: &mut HeaderMap, visit: Visit, last: bool) {
    if last {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if visit.tls
        && shared.alone.get().is_none()
        && let Some(hsts) = &shared.settings.load().hsts
    {
        fields.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
}

/// Answers a request that was read as one unambiguous message.
async fn serve(
    shared: &Arc<Shared>,
    visit: Visit,
    notes: Arc<Notes>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let began = Instant::now();
    let (mut parts, incoming) = request.into_parts();
    let by_http2 = http2::is(parts.version);
    let settled = if by_http2 { http2::settle(&mut parts) } else { Ok(()) };
    let checked = settled.and_then(|()| check(&mut parts)).and_then(|()| route(shared, &parts));
    let entry = match checked {
        Ok(Some(entry)) => entry,
        Ok(None) => {
            shared.figures.served(Class::Here, 200, began.elapsed());
            return pages::health();
        }
        Err(page) => {
            debug!(peer = %visit.peer, why = ?page, "request refused");
            shared.figures.count(Event::Refused);
            return page.answer(&parts.headers, None);
        }
    };
    let asked = asked_for_pages(&parts.headers);
    let websocket = upgrade::asks(&parts, &incoming) || http2::wants_websocket(&parts);
    if let Some(answer) = stopped(shared, &entry, &parts, websocket) {
        return answer;
    }
    parts.extensions.insert(trailers::said(&parts.headers));
    let client = introduce(shared, visit, &entry, &mut parts.headers);
    let Ok(place) = place(shared, &entry, client).await else {
        debug!(from = %client, "too many at the hub");
        return Page::Crowded.answer(&asked, None);
    };
    let id = parts.headers["x-request-id"].clone();
    let line = Line::due(shared, client, || (parts.method.clone(), parts.uri.path().to_owned()));
    if let Some(before) = &entry.target.before {
        let Some(longer) = before.join(&parts.uri) else {
            return Page::BadRequest.answer(&asked, id.to_str().ok());
        };
        parts.uri = longer;
    }
    let outcome = if websocket {
        upgrade::tunnel(shared, &entry, parts, notes).await
    } else {
        let patience = by_http2.then(|| shared.settings.load().body_timeout);
        let inbound = Inbound::new(incoming, patience);
        forward(shared, &entry, parts, Some(inbound)).await
    };
    let response = outcome.unwrap_or_else(|error| {
        complain(shared, &entry, &error);
        error.page(&entry).answer(&asked, id.to_str().ok())
    });
    served::tell(shared, &entry, Some(&id), line, response.status().as_u16(), began);
    response.map(|body| body.placed(place))
}

/// The answer to a program that asks for a server that does not run; nothing: somebody else answers.
fn stopped(
    shared: &Shared,
    entry: &Entry,
    parts: &Parts,
    websocket: bool,
) -> Option<Response<Answer>> {
    if !entry.is_hub() || !shared.knows_routes.load(Relaxed) {
        return None;
    }
    let settings = shared.settings.load();
    let path = path::matchable(parts.uri.path()).ok()?;
    let user = stopped::owner(&path, &settings.base_url, websocket)?;
    shared.stopped.note(user);
    shared.figures.served(Class::Here, settings.stopped.as_u16(), Duration::ZERO);
    let message = stopped::message(parts.uri.path(), &settings.base_url, user);
    Some(pages::stopped(settings.stopped, &message))
}

/// A place at the hub, when it is the visitor's turn. None is needed for user servers, nor by those we trust: many stand
/// behind them.
async fn place(
    shared: &Shared,
    entry: &Entry,
    client: IpAddr,
) -> Result<Option<OwnedSemaphorePermit>, Elapsed> {
    let (share, patience) = {
        let settings = shared.settings.load();
        if !entry.is_hub() || settings.trusts(client) {
            return Ok(None);
        }
        (shared.at_hub.of(client, settings.most_at_hub), settings.hub_patience)
    };
    Ok(timeout(patience, share.acquire_owned()).await?.ok())
}

/// Tells the backend where the request comes from. Gives back the visitor's address.
pub(super) fn introduce(
    shared: &Shared,
    visit: Visit,
    entry: &Entry,
    fields: &mut HeaderMap,
) -> IpAddr {
    let settings = shared.settings.load();
    let claims = headers::claims(fields) && !settings.trusts(visit.peer);
    if claims && due(&shared.warned, DAY) {
        warn!(peer = %visit.peer, "forwarded headers not believed");
    }
    let host = fields.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    let origin = Origin {
        peer: visit.peer,
        settings: &settings,
        tls: visit.tls,
        host: &host,
        to_hub: entry.is_hub(),
    };
    headers::prepare(fields, origin)
}

/// Only what [`Page::answer`] looks at, since the rest goes to the backend.
fn asked_for_pages(headers: &HeaderMap) -> HeaderMap {
    let accept = headers.get(http::header::ACCEPT).cloned();
    accept.map(|value| (http::header::ACCEPT, value)).into_iter().collect()
}

/// Where to? `None`: to ourselves.
fn route(shared: &Shared, parts: &Parts) -> Result<Option<Arc<Entry>>, Page> {
    let raw = parts.uri.path();
    if raw == "/_chp_healthz" && parts.uri.query().is_none() && parts.method != Method::CONNECT {
        return Ok(None);
    }
    let path = path::matchable(raw).map_err(|_| Page::BadRequest)?;
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let table = shared.routes.now();
    Ok(Some(table.find(host, &path).unwrap_or(&shared.hub).clone()))
}

/// Refuses what others may read differently, and reduces an absolute target to its path.
pub(super) fn check(parts: &mut Parts) -> Result<(), Page> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) && !http2::wants_websocket(parts) {
        return Err(Page::MethodNotAllowed);
    }
    let host = {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).ok_or(Page::BadRequest)?;
        if hosts.next().is_some() || !is_host(host) {
            return Err(Page::BadRequest);
        }
        host
    };
    if let Some(authority) = parts.uri.authority() {
        let same = authority.as_str().eq_ignore_ascii_case(host);
        if !same || !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
            return Err(Page::BadRequest);
        }
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
    }
    match parts.uri.path() {
        "*" => Err(Page::NotFound),
        path if path.starts_with('/') => Ok(()),
        _ => Err(Page::BadRequest),
    }
}

/// A name or address, perhaps with a port; nothing else. (Clients of a Unix socket name it percent-encoded, which RFC 3986
/// allows in a name.)
pub(super) fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let plain = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if address.is_empty() || !address.bytes().all(plain) {
                return false;
            }
            ("v6", rest)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    let encoded = |part: &str| {
        part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2 && !part.starts_with("00")
    };
    let digits = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    !name.is_empty()
        && name.bytes().all(plain)
        && name.split('%').skip(1).all(encoded)
        && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in
            ["a", "a.b:80", "127.0.0.1:8000", "[::1]", "[::1]:80", "my_host", "a:", "%2frun%2fx"]
        {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "", ":80", "a,b", "u@a", "a/b", "a:b", "a:80:80", "[::1", "[]", "[x]", "a b", "::1",
            "a%", "%2", "%zz", "a%00",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn an_absolute_target_is_reduced() {
        let parts = |method: &str, uri: &str, host: &str| {
            let request = Request::builder().method(method).uri(uri).header(HOST, host);
            request.body(()).unwrap().into_parts().0
        };
        let mut good = parts("GET", "http://A:80/x?y", "a:80");
        assert_eq!(check(&mut good), Ok(()));
        assert_eq!(good.uri, "/x?y");
        let table = [
            ("GET", "http://a/x", "b", Page::BadRequest),
            ("GET", "ftp://a/x", "a", Page::BadRequest),
            ("GET", "http://u@a/x", "a", Page::BadRequest),
            ("CONNECT", "a:80", "a:80", Page::MethodNotAllowed),
            ("TRACE", "/", "a", Page::MethodNotAllowed),
            ("OPTIONS", "*", "a", Page::NotFound),
            ("GET", "/", "a b", Page::BadRequest),
        ];
        for (method, uri, host, page) in table {
            assert_eq!(check(&mut parts(method, uri, host)), Err(page), "{method} {uri} {host}");
        }
    }
}
