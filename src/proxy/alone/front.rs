//! A request where no hub of ours is: which route, by which rules, and a page where there is no answer.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, HOST, LOCATION},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::debug;

use super::{
    Alone,
    errors::{ASKS_FOR_PAGE, Asked},
    rules::From,
};
use crate::proxy::{
    body::{Answer, Inbound},
    forward::{ForwardError, complain, forward},
    front::{Visit, check},
    guard::Notes,
    http2,
    pages::{self, Page},
    path,
    shared::Shared,
    table::Entry,
    trailers, upgrade,
};

/// Answers a request that the guard has let through.
pub(in crate::proxy) async fn serve(
    shared: &Arc<Shared>,
    alone: &Alone,
    visit: Visit,
    notes: Arc<Notes>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (mut parts, incoming) = request.into_parts();
    let by_http2 = http2::is(parts.version);
    let settled = if by_http2 { http2::settle(&mut parts) } else { Ok(()) };
    if let Err(page) = settled.and_then(|()| check(&mut parts)) {
        debug!(peer = %visit.peer, why = ?page, "request refused");
        return page.answer(&parts.headers, None);
    }
    let healthz = parts.uri.path() == "/_chp_healthz" && parts.uri.query().is_none();
    // What is success there would open a tunnel for who asks for one by HTTP/2.
    if healthz && !http2::wants_websocket(&parts) {
        return pages::health();
    }
    let websocket = upgrade::asks(&parts, &incoming) || http2::wants_websocket(&parts);
    let kind = if websocket { &alone.counts.websockets } else { &alone.counts.web };
    kind.fetch_add(1, Relaxed);
    let for_page = parts.headers.contains_key(ASKS_FOR_PAGE);
    let asked = Asked { uri: parts.uri.clone(), websocket, for_page };
    let fail = |status| alone.errors.answer(shared, alone, status, &asked);
    let entry = match find(shared, alone, &parts) {
        Ok(Some(entry)) => entry,
        Ok(None) => return fail(StatusCode::NOT_FOUND).await,
        Err(page) => return page.answer(&parts.headers, None),
    };
    let Some(target) = alone.rules.target(&entry, &parts.uri) else {
        return Page::BadRequest.answer(&parts.headers, None);
    };
    parts.uri = target;
    let host = parts.headers.get(HOST).cloned().unwrap_or(HeaderValue::from_static(""));
    let (trusted, limit) = {
        let settings = shared.settings.load();
        (settings.trusts(visit.peer), settings.visitor_silence)
    };
    let from = From { peer: visit.peer, trusted, tls: visit.tls, websocket, host: &host };
    parts.extensions.insert(trailers::said(&parts.headers));
    alone.rules.prepare(&mut parts.headers, from, &entry);
    let answering = async {
        if websocket {
            upgrade::tunnel(shared, &entry, parts, notes).await
        } else {
            let patience = by_http2.then(|| shared.settings.load().body_timeout);
            forward(shared, &entry, parts, Some(Inbound::new(incoming, patience))).await
        }
    };
    let outcome = match limit {
        None => answering.await,
        Some(limit) => match timeout(limit, answering).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let mut response = fail(StatusCode::SERVICE_UNAVAILABLE).await;
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        },
    };
    match outcome {
        Ok(mut response) => {
            alone.counts.proxy.count(response.status());
            let status = response.status();
            if let Some(other) = alone.rules.location(status, response.headers(), &entry, &host) {
                response.headers_mut().insert(LOCATION, other);
            }
            response
        }
        Err(error) => {
            complain(shared, &entry, &error);
            if matches!(error, ForwardError::Visitor(_)) {
                return error.page(&entry).answer(&HeaderMap::new(), None);
            }
            fail(StatusCode::SERVICE_UNAVAILABLE).await
        }
    }
}

/// The route, if there is one.
fn find(shared: &Shared, alone: &Alone, parts: &Parts) -> Result<Option<Arc<Entry>>, Page> {
    let began = Instant::now();
    let path = path::matchable(parts.uri.path()).map_err(|_| Page::BadRequest)?;
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let found = shared.routes.now().find(host, &path).cloned();
    alone.counts.finding.add(began.elapsed());
    Ok(found)
}
