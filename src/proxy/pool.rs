//! Connections to backends that wait for their next request. One pool per worker thread (a socket belongs to the
//! runtime that opened it), one lane per route generation (no connection outlives its route or serves another).

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use super::{
    body::Upload,
    dial::{ConnectError, Timed, dial},
    lane,
    shared::Shared,
    stream::Backend,
    table::Entry,
    watched::{Line, Watched},
};

/// A connection to a backend, ready for requests.
pub(super) struct Sender {
    http: SendRequest<Upload>,
    line: Arc<Line>,
}

impl Sender {
    /// Sends a request. An error holds the request if not a byte of it has left.
    pub(super) fn try_send_request(
        &mut self,
        request: Request<Upload>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>> + use<>
    {
        self.line.ask(request.method());
        self.http.try_send_request(request)
    }

    /// Can it never be used again?
    fn is_closed(&self) -> bool {
        !self.line.is_clean() || self.http.is_closed()
    }
}

/// Longest time a connection waits for its next request.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long after its route a connection may still be used by what is under way.
const FAREWELL: Duration = Duration::from_secs(2);
/// Most waiting connections per route and worker.
pub(super) const MOST: usize = 64;
/// Longest head of an answer, in bytes, and most fields in it.
const ANSWER_HEAD: (usize, usize) = (32 * 1024, 200);

struct Resting {
    sender: Sender,
    since: Instant,
    entry: Arc<Entry>,
}

thread_local! {
    static RESTING: RefCell<HashMap<u64, Vec<Resting>>> = RefCell::default();
}

/// Takes a waiting connection that is still good.
pub(super) fn take(entry: &Entry) -> Option<Sender> {
    RESTING.with_borrow_mut(|resting| {
        let lane = resting.get_mut(&entry.generation)?;
        lane.retain(|one| !one.sender.is_closed());
        // The one that rested least is the least likely to be closed just now.
        let at = lane.iter().rposition(|one| one.sender.http.is_ready())?;
        Some(lane.remove(at).sender)
    })
}

/// Puts a connection back after its answer has come to its end.
pub(super) fn put(entry: &Arc<Entry>, sender: Sender) {
    if sender.is_closed() {
        return;
    }
    // When the thread ends its pool may be gone already; then so is the connection.
    let _ = RESTING.try_with(|resting| {
        let mut resting = resting.borrow_mut();
        let lane = resting.entry(entry.generation).or_default();
        if lane.len() < MOST {
            lane.push(Resting { sender, since: Instant::now(), entry: entry.clone() });
        }
    });
}

/// Drops what has waited too long and what belongs to routes that are gone.
pub(super) fn sweep() {
    lane::sweep();
    RESTING.with_borrow_mut(|resting| {
        resting.retain(|_, lane| {
            lane.retain(|one| {
                one.since.elapsed() < LONGEST_REST
                    && !one.entry.life.is_over()
                    && !one.sender.is_closed()
            });
            !lane.is_empty()
        });
    });
}

/// Opens a connection for requests.
pub(super) async fn connect(
    shared: &Shared,
    entry: &Arc<Entry>,
    limit: Duration,
) -> Result<Sender, ConnectError> {
    let mut backend = dial(shared, entry, limit).await?;
    if let Some(silence) = shared.settings.load().proxy_timeout {
        backend = Backend::Timed(Box::new(Timed::new(backend, silence)));
    }
    let line = Arc::<Line>::default();
    let io = TokioIo::new(Watched::new(backend, line.clone()));
    let (http, connection) = builder().handshake(io).await.map_err(ConnectError::Handshake)?;
    // Ends with the sender, with the other side or after the route. Its errors reach whoever waits for an answer.
    let entry = entry.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = connection => {}
            () = farewell(&entry) => {}
        }
    });
    Ok(Sender { http, line })
}

/// Ends a little after the route: what is under way may finish by then, nothing is kept longer.
pub(super) async fn farewell(entry: &Entry) {
    entry.life.ended().await;
    sleep(FAREWELL).await;
}

/// How we speak to backends.
pub(super) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(ANSWER_HEAD.0) // also what waits for a visitor who does not read
        .max_header_size(ANSWER_HEAD.0)
        .max_headers(ANSWER_HEAD.1);
    builder
}
