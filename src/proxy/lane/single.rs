//! One message for hyper: it sees this one alone, and gives the connection back.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use http::{Request, Response, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::inbox::Inbox;
use crate::proxy::{
    body::Answer,
    front::{self, Visit},
    guard::Notes,
    serve::HEAD,
    shared::Shared,
};

/// What became of it.
pub(super) enum Outcome {
    /// Answered; here is the connection again.
    Kept(Inbox),
    /// Answered, and the connection has to end.
    Last(Inbox),
    /// The connection has ended, or belongs to somebody else now.
    Ended,
    /// An answer broke off: the visitor must see that.
    Cut(Inbox),
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(2 * HEAD.0)
        .max_header_size(HEAD.0)
        .max_headers(HEAD.1)
        .header_read_timeout(None); // the watchdog also knows an idle connection from a slow head
    builder
}

/// Serves the message in hand. The head is complete.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    visit: Visit,
    notes: &Arc<Notes>,
    mut inbox: Inbox,
) -> Outcome {
    let opaque = inbox.scanner().is_opaque();
    let last = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let answer = front::answer(shared.clone(), visit, notes.clone(), request);
        let last = last.clone();
        Box::pin(async move {
            let response: Response<Answer> = answer.await;
            last.store(response.headers().contains_key(CONNECTION), Relaxed);
            Ok::<_, Infallible>(response)
        })
    });
    notes.hand_out();
    let io = TokioIo::new(inbox);
    if opaque {
        // What follows belongs to the tunnel, if there will be one, and to nobody if not.
        let connection = builder().serve_connection(io, service).with_upgrades();
        let outcome = connection.await;
        if let Err(error) = outcome {
            debug!(peer = %visit.peer, %error, "connection broke");
        }
        return Outcome::Ended;
    }
    let mut connection = builder().serve_connection(io, service);
    let served = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map(|()| false)),
        // Its next step would be to wait for another message, which is ours to do.
        Poll::Pending if notes.is_answered() => Poll::Ready(Ok(true)),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let parts = connection.into_parts();
    let inbox = parts.io.into_inner();
    match served {
        Ok(open) => {
            let whole = parts.read_buf.is_empty() && inbox.is_given();
            if open && whole && !last.load(Relaxed) {
                Outcome::Kept(inbox)
            } else {
                Outcome::Last(inbox)
            }
        }
        Err(error) => {
            debug!(peer = %visit.peer, %error, "connection broke");
            // The body of an answer failed, not the visitor.
            if error.is_user() { Outcome::Cut(inbox) } else { Outcome::Ended }
        }
    }
}
