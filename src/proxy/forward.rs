//! A request on its way to a backend and the answer on its way back. Nothing is gathered; what is cut arrives cut.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRAILER, TRANSFER_ENCODING},
    request::Parts,
};
use hyper::body::{Body as _, Incoming};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::{
    activity::now_ms,
    body::{Answer, Inbound, Leave, Relayed, Upload},
    dial::ConnectError,
    figures::Event,
    headers, http2,
    pages::Page,
    pool::{self, Sender},
    shared::{Hub, Shared},
    table::Entry,
    trailers::{self, Said},
    watched::is_irregular,
};
use crate::telemetry::chain;

/// A server that says nothing for so long has given its leave to send the body.
const LEAVE: Duration = Duration::from_secs(1);

/// Why there is no answer of the backend.
#[derive(Debug, Error)]
pub(super) enum ForwardError {
    /// No connection could be made.
    #[error("the backend cannot be reached")]
    Connect(#[source] ConnectError),
    /// The connection ended before an answer.
    #[error("the backend broke off")]
    Broken(#[source] Option<hyper::Error>),
    /// Its answer isn't one that we can pass on.
    #[error("the backend's answer is not valid")]
    Irregular(#[source] Option<hyper::Error>),
    /// The visitor's body did not come to its end.
    #[error("the visitor broke off")]
    Visitor(#[source] hyper::Error),
    /// The hub stayed away for longer than a request waits.
    #[error("the hub is away")]
    HubAway,
}

impl ForwardError {
    /// What the visitor is told.
    pub(super) fn page(&self, entry: &Entry) -> Page {
        match self {
            Self::Visitor(_) => Page::BadRequest,
            Self::Irregular(_) | Self::Connect(ConnectError::Unusable) => Page::BadGateway,
            _ if entry.is_hub() => Page::HubAway,
            _ => Page::ServerAway,
        }
    }

    /// As what it is counted. The visitor's faults are no failures of a backend.
    fn event(&self) -> Option<Event> {
        match self {
            Self::Connect(ConnectError::Timeout) => Some(Event::Late),
            Self::Connect(_) => Some(Event::Unreachable),
            Self::Broken(_) => Some(Event::Broken),
            Self::Irregular(_) => Some(Event::Irregular),
            Self::HubAway => Some(Event::HubAway),
            Self::Visitor(_) => None,
        }
    }

    /// hyper's word, sorted.
    pub(super) fn from_hyper(error: hyper::Error) -> Self {
        if error.is_user() {
            Self::Visitor(error)
        } else if error.is_parse() || error.is_parse_too_large() || is_irregular(&error) {
            Self::Irregular(Some(error))
        } else {
            Self::Broken(Some(error))
        }
    }
}

/// Sends the request on and gives back the backend's answer, its body still to come. `inbound`: the visitor's body, if
/// there may be one.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    mut parts: Parts,
    inbound: Option<Inbound>,
) -> Result<Response<Answer>, ForwardError> {
    let expects = expects_leave(&parts);
    parts.headers.remove(EXPECT);
    let said = parts.extensions.remove::<Said>().unwrap_or_default();
    let trailers = said.taken || http2::is(parts.version);
    if said.taken {
        trailers::ask(&mut parts.headers);
    }
    let settings = shared.settings.load();
    let deadline = Instant::now() + settings.hub_patience;
    let connect_timeout = settings.connect_timeout;
    let patience = settings.hub_patience;
    drop(settings);
    let method = parts.method.clone();
    let mut inbound = inbound.filter(|body| !body.is_empty());
    let bodyless = inbound.is_none();
    let safe = matches!(method, Method::GET | Method::HEAD);
    let repeatable =
        bodyless && (safe || matches!(method, Method::OPTIONS | Method::PUT | Method::DELETE));
    let spare = repeatable.then(|| parts.clone());
    let leave = inbound.as_mut().filter(|_| expects).map(Inbound::wait_for_leave);
    let upload = inbound
        .map_or(Upload::Empty, |inbound| Upload::Streamed(inbound, shared.clone(), entry.clone()));
    let mut request = outgoing(parts, upload);
    let lasting = !announce(&mut request, said.announced);
    if let Some(leave) = &leave {
        ask_for_leave(&mut request, leave);
    }
    let mut fresh_only = false;
    let mut pause = Duration::from_millis(20);
    loop {
        let resting = if fresh_only { None } else { pool::take(entry) };
        let reused = resting.is_some();
        let mut sender = match resting {
            Some(sender) => sender,
            None => match pool::connect(shared, entry, connect_timeout).await {
                Ok(sender) => sender,
                Err(_) if entry.is_hub() && Instant::now() + pause < deadline => {
                    wait(&mut pause).await;
                    continue;
                }
                Err(_) if entry.is_hub() => return Err(ForwardError::HubAway),
                Err(error) => return Err(ForwardError::Connect(error)),
            },
        };
        let sending = sent(sender.try_send_request(request), leave.as_ref());
        let outcome = if entry.is_hub() {
            tokio::select! {
                outcome = sending => outcome,
                () = hub_away(shared, patience) => return Err(ForwardError::HubAway),
            }
        } else {
            sending.await
        };
        let mut error = match outcome {
            Ok(response) => {
                let sender = Some(sender).filter(|_| lasting);
                let answer = incoming_answer(shared, entry, &method, response, sender, trailers)?;
                return Ok(answer.map(|body| body.leaving(leave)));
            }
            Err(error) => error,
        };
        if let Some(unsent) = error.take_message()
            && (reused || entry.is_hub() && Instant::now() + pause < deadline)
        {
            // Not a byte of it has left: it can go again, whatever it is.
            request = unsent;
            if !reused {
                wait(&mut pause).await;
            }
            continue;
        }
        let error = error.into_error();
        let hub_again = entry.is_hub() && safe && Instant::now() + pause < deadline;
        match spare.as_ref().filter(|_| {
            !error.is_parse() && !is_irregular(&error) && (reused && !fresh_only || hub_again)
        }) {
            Some(spare) => {
                request = outgoing(spare.clone(), Upload::Empty);
                if fresh_only || !reused {
                    wait(&mut pause).await;
                }
                fresh_only = true;
            }
            None => return Err(ForwardError::from_hyper(error)),
        }
    }
}

/// Does the visitor wait for leave to send the body?
fn expects_leave(parts: &Parts) -> bool {
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    parts.version == Version::HTTP_11 && parts.headers.get(EXPECT).is_some_and(continues)
}

/// Asks the server for leave. The visitor is told of it when the body is asked for, which hyper does.
fn ask_for_leave(request: &mut Request<Upload>, leave: &Leave) {
    request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
    let leave = Arc::downgrade(leave);
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == StatusCode::CONTINUE
            && let Some(leave) = leave.upgrade()
        {
            leave.send_replace(true);
        }
    });
}

/// Waits for the answer; a body that waits for leave has it after a while, since not all servers know of it.
async fn sent<T>(sending: impl Future<Output = T>, leave: Option<&Leave>) -> T {
    let mut sending = pin!(sending);
    if let Some(leave) = leave {
        tokio::select! {
            biased;
            answer = sending.as_mut() => return answer,
            () = sleep(LEAVE) => drop(leave.send_replace(true)),
        }
    }
    sending.await
}

/// Waits a little, longer each time, never as long as others.
async fn wait(pause: &mut Duration) {
    let spread = now_ms() % 16;
    sleep(*pause + Duration::from_millis(spread)).await;
    *pause = (*pause * 2).min(Duration::from_millis(500));
}

/// Ends once the hub's link has been down for this long without a break.
pub(super) async fn hub_away(shared: &Shared, patience: Duration) {
    let mut state = shared.hub_state.subscribe();
    loop {
        if state.wait_for(|state| *state == Hub::Away).await.is_err() {
            return;
        }
        let back = state.wait_for(|state| *state != Hub::Away);
        if timeout(patience, back).await.is_err() {
            return;
        }
    }
}

/// The request as it leaves us. Framing follows the body that is there, never the method.
fn outgoing(mut parts: Parts, upload: Upload) -> Request<Upload> {
    parts.version = Version::HTTP_11;
    if upload.is_end_stream() {
        parts.headers.remove(TRANSFER_ENCODING);
    } else if upload.size_hint().exact().is_none() {
        // hyper would drop the body of a GET without this.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        parts.headers.remove(CONTENT_LENGTH);
    }
    parts.extensions.clear();
    Request::from_parts(parts, upload)
}

/// Announces the trailers that the visitor has announced, if the body has a place for them. Will it? Then the connection
/// is for this request alone.
fn announce(request: &mut Request<Upload>, announced: Option<HeaderValue>) -> bool {
    let Some(announced) = announced.filter(|_| request.headers().contains_key(TRANSFER_ENCODING))
    else {
        return false;
    };
    let fields = request.headers_mut();
    fields.insert(TRAILER, announced);
    fields.append(CONNECTION, HeaderValue::from_static("close"));
    request.body_mut().with_trailers();
    true
}

/// The answer as the visitor gets it; `trailers`: with its trailers.
fn incoming_answer(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    method: &Method,
    response: Response<Incoming>,
    sender: Option<Sender>,
    trailers: bool,
) -> Result<Response<Answer>, ForwardError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ForwardError::Irregular(None)); // nobody asked for it
    }
    let has_body = *method != Method::HEAD;
    let said = if trailers { trailers::said(response.headers()).announced } else { None };
    let mut answer = relayed(shared, entry, response, sender, has_body);
    if trailers && answer.size_hint().exact().is_none() {
        if let Some(announced) = said {
            answer.headers_mut().insert(TRAILER, announced);
        }
        answer.body_mut().with_trailers();
    }
    Ok(answer)
}

/// An answer with its own fields, without those of its connection.
pub(super) fn relayed(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    response: Response<Incoming>,
    lane: Option<Sender>,
    has_body: bool,
) -> Response<Answer> {
    let (mut parts, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(TRANSFER_ENCODING);
    if has_body && incoming.size_hint().exact().is_none() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    // Only what went well counts as use, as it does for configurable-http-proxy.
    let counts = parts.status.is_success().then(|| shared.clone());
    let relayed = Relayed::new(incoming, lane, entry.clone(), counts);
    Response::from_parts(parts, Answer::relayed(relayed))
}

/// Counts a failure, and logs it once a minute per route.
pub(super) fn complain(shared: &Shared, entry: &Entry, error: &ForwardError) {
    if let Some(event) = error.event() {
        shared.figures.count(event);
    }
    if matches!(error, ForwardError::Visitor(_)) {
        return debug!(route = entry.spec(), error = %chain(error), "visitor broke off");
    }
    if due(&entry.warned, 60_000) {
        warn!(route = entry.spec(), error = %chain(error), "backend failed");
    }
}

/// Has this much time (ms) passed since the last time this was asked with success?
pub(super) fn due(last: &AtomicU64, every: u64) -> bool {
    let (now, before) = (now_ms(), last.load(Relaxed));
    (before == 0 || now.saturating_sub(before) >= every)
        && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok()
}
