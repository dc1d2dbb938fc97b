//! WebSockets: the backend's 101 is relayed, then bytes are. No other protocol gets a tunnel.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::debug;

use super::{
    body::{Answer, Upload},
    dial::{ConnectError, dial},
    drain::{Phase, reached},
    forward::{ForwardError, relayed},
    guard::{Guarded, Notes},
    pool,
    relay::relay,
    shared::Shared,
    stream::{Backend, Visitor},
    table::Entry,
};

/// Longest time the 101 may take to get to the visitor.
const HANDOVER: Duration = Duration::from_secs(30);

/// Is this a request for a WebSocket that we grant?
pub(super) fn asks(parts: &Parts, body: &Incoming) -> bool {
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && body.is_end_stream()
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && is_websocket(&parts.headers)
        && parts
            .headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Is `websocket` the only protocol named?
fn is_websocket(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(UPGRADE).iter();
    named.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && named.next().is_none()
}

/// Passes the request on over a connection of its own; after a 101 both sides are tied together.
pub(super) async fn tunnel(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    mut parts: Parts,
    notes: Arc<Notes>,
) -> Result<Response<Answer>, ForwardError> {
    let visitor = parts.extensions.remove::<OnUpgrade>();
    parts.extensions.clear();
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let limit = shared.settings.load().connect_timeout;
    let io = dial(shared, entry, limit).await.map_err(ForwardError::Connect)?;
    let (mut sender, connection) = pool::builder()
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| ForwardError::Connect(ConnectError::Handshake(error)))?;
    tokio::spawn(async {
        let _ = connection.with_upgrades().await;
    });
    let request = Request::from_parts(parts, Upload::Empty);
    let mut response = sender.send_request(request).await.map_err(|error| {
        if error.is_parse() {
            ForwardError::Irregular(Some(error))
        } else {
            ForwardError::Broken(error)
        }
    })?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let mut answer = relayed(shared, entry, response, None, true);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(answer);
    }
    let Some(visitor) = visitor.filter(|_| is_websocket(response.headers())) else {
        return Err(ForwardError::Irregular(None));
    };
    let backend = hyper::upgrade::on(&mut response);
    tokio::spawn(carry(shared.clone(), entry.clone(), visitor, backend, notes));
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.extensions.clear();
    Ok(Response::from_parts(parts, Answer::own("")))
}

/// Waits until both sides have let go of HTTP, then relays. The notes keep the connection counted.
async fn carry(
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    visitor: OnUpgrade,
    backend: OnUpgrade,
    notes: Arc<Notes>,
) {
    let both = async { tokio::try_join!(visitor, backend) };
    let Ok(Ok((visitor, backend))) = timeout(HANDOVER, both).await else {
        return;
    };
    let (Some((visitor, early_out)), Some((backend, early_back))) =
        (visitor_io(visitor), backend_io(backend))
    else {
        return;
    };
    let mut phase = shared.phase.subscribe();
    // Only what the visitor says is use: a server may print for ever into a page that everybody has forgotten.
    let note = || shared.activity.note(&entry);
    let outcome = tokio::select! {
        outcome = relay(visitor, backend, (early_out, early_back), note) => outcome,
        () = reached(&mut phase, Phase::Gone) => Ok(()),
    };
    if let Err(error) = outcome {
        debug!(route = %entry.route.spec, %error, "tunnel broke");
    }
    drop(notes);
}

/// The visitor's connection below hyper, and what was read of it already.
fn visitor_io(upgraded: Upgraded) -> Option<(Visitor, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Guarded>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf.to_vec()))
}

/// The same of the backend's.
fn backend_io(upgraded: Upgraded) -> Option<(Backend, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Backend>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}
