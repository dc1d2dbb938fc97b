//! A visitor's way in: accepts, shakes hands, serves, watches.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    drain::{Crowd, Phase, reached},
    forward::due,
    front::{self, Visit},
    guard::{Guarded, Health, Notes},
    shared::Shared,
    stream::{Visitor, probe_visitor},
};
use crate::os::process;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after an accept that failed for want of something.
const BREATHER: Duration = Duration::from_millis(100);
/// Most connections at once, whatever the limit of descriptors.
const MOST: u64 = 200_000;
/// While draining, a request may still arrive on an unused connection for so long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Longest head of a request in bytes, and most fields in it.
const HEAD: (usize, usize) = (64 * 1024, 200);

/// The connections that all workers together may serve.
#[derive(Debug, Clone)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    half: usize,
}

impl Room {
    /// For so many.
    pub(super) fn new(room: usize) -> Self {
        Self { half: (room / 2).max(1), places: Arc::new(Semaphore::new(room)) }
    }
}

/// Why a listener is no longer accepted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Another worker, or another proxy, does.
    ToAnother,
    /// Nobody does: who waits there is let in, then it is closed.
    Empty,
}

/// Takes as many descriptors as we may have.
pub(super) fn most_connections() -> usize {
    process::connections(process::open_files(), MOST)
}

/// Lets visitors in, as long as there is room; the others wait in the socket's queue. Why it ended.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    room: &Room,
    crowd: &Crowd,
    mut leave: oneshot::Receiver<Leave>,
) -> Leave {
    static WARNED: AtomicU64 = AtomicU64::new(0);
    let mut phase = shared.phase.subscribe();
    let mut retiring = pin!(reached(&mut phase, Phase::Retiring));
    loop {
        let next = async {
            let permit = room.places.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut retiring => return Leave::ToAnother,
            told = &mut leave => return told.unwrap_or(Leave::ToAnother),
            next = next => next,
        };
        match (permit, accepted) {
            (Some(permit), Ok((tcp, peer))) => let_in(shared, room, crowd, permit, tcp, peer),
            (None, _) => return Leave::ToAnother,
            (_, Err(error)) if is_the_visitors(&error) => {}
            (_, Err(error)) => {
                if due(&WARNED, 60_000) {
                    warn!(%error, "cannot accept");
                }
                sleep(BREATHER).await;
            }
        }
    }
}

/// Lets in who waits already, as long as there is room.
pub(super) async fn empty(
    shared: &Arc<Shared>,
    listener: &StdListener,
    room: &Room,
    crowd: &Crowd,
) {
    while let Ok(permit) = room.places.clone().acquire_owned().await {
        match listener.accept() {
            Ok((tcp, peer)) => {
                let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
                if let Ok(tcp) = tcp {
                    let_in(shared, room, crowd, permit, tcp, peer);
                }
            }
            Err(error) if is_the_visitors(&error) => {}
            Err(_) => return,
        }
    }
}

fn let_in(
    shared: &Arc<Shared>,
    room: &Room,
    crowd: &Crowd,
    permit: OwnedSemaphorePermit,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    static CROWDED: AtomicU64 = AtomicU64::new(0);
    match share(shared, peer, room.half) {
        Ok(share) => {
            // Notes hold the permits and count us, also while a tunnel outlives the function.
            let present = shared.crowd.enter().and(crowd.enter());
            let notes = Notes::new(permit, share, present);
            tokio::spawn(serve(shared.clone(), tcp, peer, notes));
        }
        Err(_) if due(&CROWDED, 60_000) => warn!(peer = %peer.ip(), "too many connections"),
        Err(_) => {}
    }
}

/// A place among the peer's own connections; proxies that we trust need none.
fn share(
    shared: &Shared,
    peer: SocketAddr,
    half: usize,
) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
    let settings = shared.settings.load();
    if settings.trusts(peer.ip()) {
        return Ok(None);
    }
    let most = settings.most_connections.min(half);
    shared.connections.of(peer.ip(), most).try_acquire_owned().map(Some)
}

/// Did that one connection fail, rather than the listener?
fn is_the_visitors(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}

/// A connection's life.
async fn serve(shared: Arc<Shared>, tcp: TcpStream, peer: SocketAddr, notes: Arc<Notes>) {
    // Without these small answers come late, and the vanished are noticed late; that is all.
    let _ = tcp.set_nodelay(true).and_then(|()| probe_visitor(&tcp));
    let acceptor = shared.tls.load_full();
    let tls = acceptor.is_some();
    let visitor = match acceptor {
        None => Visitor::Plain(tcp),
        Some(acceptor) => {
            let mut phase = shared.phase.subscribe();
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE, acceptor.accept(tcp)) => shaken,
                () = reached(&mut phase, Phase::Draining) => return,
            };
            match shaken {
                Ok(Ok(stream)) => Visitor::Tls(Box::new(stream)),
                _ => return debug!(%peer, "handshake failed"),
            }
        }
    };
    let visit = Visit { peer: peer.ip(), tls };
    let service = service_fn(|request| {
        let answer = front::answer(shared.clone(), visit, notes.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(Guarded::new(visitor, notes.clone()));
    let connection = http1::Builder::new()
        .max_buf_size(2 * HEAD.0)
        .max_header_size(HEAD.0)
        .max_headers(HEAD.1)
        .header_read_timeout(None) // ours also knows an idle connection from a slow head
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut phase = shared.phase.subscribe();
    let mut draining = pin!(reached(&mut phase, Phase::Draining));
    let mut leaving = false;
    let mut look = pin!(sleep(Duration::ZERO));
    loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    // The body of an answer failed, not the visitor.
                    if error.is_user() {
                        notes.cut();
                    }
                    debug!(%peer, %error, "connection broke");
                }
                return;
            }
            () = &mut draining, if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                // hyper waits for the first request of a connection, which may never come.
                look.set(sleep(LAST_WORD));
            }
            () = look.as_mut() => {
                match notes.health(&shared.settings.load()) {
                    _ if leaving && notes.is_idle() => return,
                    Health::Fine(again) if leaving => look.set(sleep(again.min(LAST_WORD))),
                    Health::Fine(again) => look.set(sleep(again)),
                    Health::Slow => return debug!(%peer, "visitor too slow"),
                    Health::Idle => return,
                }
            }
        }
    }
}
