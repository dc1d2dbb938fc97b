//! WebSockets: the backend's 101 is relayed, then bytes are. No other protocol gets a tunnel.
//!
//! A visitor who speaks HTTP/2 asks by an extended `CONNECT` and hears 200 (RFC 8441). Towards the backend it is an
//! upgrade of HTTP/1.1 all the same, whose key is ours then, and so is the look at what the backend makes of it.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::{self, OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand::{SecureRandom, SystemRandom},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::debug;

use super::{
    body::{Answer, Upload},
    dial::{ConnectError, dial},
    drain::{Phase, reached},
    forward::{ForwardError, relayed},
    guard::Notes,
    headers, http2,
    lane::inbox::Inbox,
    pool,
    relay::relay,
    shared::Shared,
    stream::{Backend, Visitor},
    table::Entry,
    watched::{Line, Watched},
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

/// Is this the one value of the field?
fn is_single(headers: &HeaderMap, name: &HeaderName, value: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|it| it.as_bytes() == value) && values.next().is_none()
}

/// Makes an upgrade of an extended `CONNECT`. Gives back what the backend must say to it.
fn ask_as_http1(parts: &mut Parts) -> String {
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).expect("the kernel has random numbers");
    let key = STANDARD.encode(key);
    (parts.method, parts.version) = (Method::GET, Version::HTTP_11);
    parts.headers.insert(SEC_WEBSOCKET_KEY, key.parse().expect("base64 is visible"));
    accept(&key)
}

/// What a server says to a client's key (RFC 6455, section 4.2.2).
fn accept(key: &str) -> String {
    let both = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes()))
}

/// Passes the request on over a connection of its own; after a 101 both sides are tied together.
pub(super) async fn tunnel(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    mut parts: Parts,
    notes: Arc<Notes>,
) -> Result<Response<Answer>, ForwardError> {
    let visitor = parts.extensions.remove::<OnUpgrade>();
    let accept = http2::wants_websocket(&parts).then(|| ask_as_http1(&mut parts));
    parts.extensions.clear();
    parts.headers.remove(EXPECT);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let limit = shared.settings.load().connect_timeout;
    let io = dial(shared, entry, limit).await.map_err(ForwardError::Connect)?;
    let line = Arc::<Line>::default();
    line.ask_upgrade();
    let (mut sender, connection) = pool::builder()
        .handshake(TokioIo::new(Watched::new(io, line)))
        .await
        .map_err(|error| ForwardError::Connect(ConnectError::Handshake(error)))?;
    let holder = entry.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = connection.with_upgrades() => {}
            () = pool::farewell(&holder) => {}
        }
    });
    let request = Request::from_parts(parts, Upload::Empty);
    let sending = sender.send_request(request);
    let mut response = sending.await.map_err(ForwardError::from_hyper)?;
    if let Some(accept) = &accept {
        // What is success there would open a tunnel here.
        let broken = response.status().is_success()
            || response.status() == StatusCode::SWITCHING_PROTOCOLS
                && !is_single(response.headers(), &SEC_WEBSOCKET_ACCEPT, accept.as_bytes());
        if broken {
            return Err(ForwardError::Irregular(None));
        }
    }
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
    if accept.is_some() {
        parts.status = StatusCode::OK;
        parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
        headers::strip_hop_by_hop(&mut parts.headers);
    }
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
    let Some((backend, early_back)) = backend_io(backend) else { return };
    let _counted = shared.figures.tunnel();
    match visitor.downcast::<TokioIo<Inbox>>() {
        Ok(parts) => {
            let (visitor, early) = visitor_io(parts);
            let early = (early, early_back);
            tie(&shared, &entry, visitor, backend, early).await;
        }
        // A stream of HTTP/2: there is a connection below hyper only for all streams together.
        Err(stream) => {
            let in_hand = notes.hold();
            let early = (Vec::new(), early_back);
            Box::pin(tie(&shared, &entry, TokioIo::new(stream), backend, early)).await;
            drop(in_hand);
        }
    }
    drop(notes);
}

/// Relays until both sides have ended, or we do. `early`: what was read of each already.
async fn tie(
    shared: &Shared,
    entry: &Arc<Entry>,
    visitor: impl AsyncRead + AsyncWrite + Unpin,
    backend: Backend,
    early: (Vec<u8>, Vec<u8>),
) {
    let mut phase = shared.phase.subscribe();
    // Only what the visitor says is use: a server may print for ever into a page that everybody has forgotten.
    let note = || shared.activity.note(entry);
    let outcome = tokio::select! {
        outcome = relay(visitor, backend, early, note) => outcome,
        () = reached(&mut phase, Phase::Gone) => Ok(()),
        () = pool::farewell(entry) => Ok(()),
    };
    if let Err(error) = outcome {
        debug!(route = entry.spec(), %error, "tunnel broke");
    }
}

/// The visitor's connection below hyper, and what was read of it already. (A function of its own, so that no tunnel
/// carries the buffers along.)
fn visitor_io(parts: upgrade::Parts<TokioIo<Inbox>>) -> (Visitor, Vec<u8>) {
    let (visitor, ahead) = parts.io.into_inner().into_inner();
    (visitor, [&parts.read_buf[..], &ahead].concat())
}

/// The backend's connection below hyper, and what was read of it already.
fn backend_io(upgraded: Upgraded) -> Option<(Backend, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Watched>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_standard_says() {
        // The example of RFC 6455, section 1.3.
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
