//! Connections to backends that wait for their next request. One pool per worker thread (a socket belongs to the
//! runtime that opened it), one lane per route generation (no connection outlives its route or serves another).

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::{
    body::Upload,
    dial::{ConnectError, Timed, dial},
    lane,
    shared::Shared,
    stream::Backend,
    table::Entry,
};

/// A connection to a backend, ready for requests.
pub(super) type Sender = SendRequest<Upload>;

/// Longest time a connection waits for its next request.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(30);
/// Most waiting connections per route and worker.
pub(super) const MOST: usize = 64;
/// Longest head of an answer, in bytes, and most fields in it.
const ANSWER_HEAD: (usize, usize) = (64 * 1024, 200);

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
        let at = lane.iter().rposition(|one| one.sender.is_ready())?;
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
                    && one.entry.live.load(Relaxed)
                    && !one.sender.is_closed()
            });
            !lane.is_empty()
        });
    });
}

/// Opens a connection for requests.
pub(super) async fn connect(
    shared: &Shared,
    entry: &Entry,
    limit: Duration,
) -> Result<Sender, ConnectError> {
    let mut backend = dial(shared, entry, limit).await?;
    if let Some(silence) = shared.settings.load().proxy_timeout {
        backend = Backend::Timed(Box::new(Timed::new(backend, silence)));
    }
    let io = TokioIo::new(backend);
    let (sender, connection) = builder().handshake(io).await.map_err(ConnectError::Handshake)?;
    // Ends with the sender or the other side. Its errors reach whoever waits for an answer.
    tokio::spawn(async {
        let _ = connection.await;
    });
    Ok(sender)
}

/// How we speak to backends.
pub(super) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(2 * ANSWER_HEAD.0)
        .max_header_size(ANSWER_HEAD.0)
        .max_headers(ANSWER_HEAD.1);
    builder
}
