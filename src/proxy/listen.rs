//! Workers: a thread and a runtime each, with its share of the listening sockets. Accepts, shakes hands, serves, watches.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    drain::{Phase, reached},
    forward::due,
    front::{self, Visit},
    guard::{Guarded, Health, Notes},
    pool,
    shared::Shared,
    stream::{Visitor, probe_visitor},
};

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often pools are swept.
const SWEEP: Duration = Duration::from_secs(2);
/// Wait after an accept that failed for want of something.
const BREATHER: Duration = Duration::from_millis(100);
/// Descriptors that connections never take: links, listeners, logs, name lookups.
const RESERVE: u64 = 96;
/// Most connections at once, whatever the limit of descriptors.
const MOST: u64 = 200_000;
/// While draining, a request may still arrive on an unused connection for so long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Longest head of a request in bytes, and most fields in it.
const HEAD: (usize, usize) = (64 * 1024, 200);

/// The connections that all workers together may serve.
#[derive(Debug, Clone)]
struct Room {
    places: Arc<Semaphore>,
    half: usize,
}

/// A running worker.
pub(super) type Worker = thread::JoinHandle<()>;

/// Starts `count` workers; worker i serves the listeners k with k mod `count` = i. All together serve at most `room`
/// connections at once (see [`most_connections`]).
pub(super) fn start(
    shared: &Arc<Shared>,
    listeners: Vec<StdListener>,
    count: usize,
    room: usize,
) -> io::Result<Vec<Worker>> {
    let count = count.clamp(1, listeners.len().max(1));
    let room = Room { half: (room / 2).max(1), places: Arc::new(Semaphore::new(room)) };
    let mut shares: Vec<Vec<StdListener>> = (0..count).map(|_| Vec::new()).collect();
    for (k, listener) in listeners.into_iter().enumerate() {
        listener.set_nonblocking(true)?;
        shares[k % count].push(listener);
    }
    let mut workers = Vec::new();
    for (i, share) in shares.into_iter().enumerate() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (shared, room) = (shared.clone(), room.clone());
        let run = move || runtime.block_on(work(shared, share, room));
        workers.push(thread::Builder::new().name(format!("worker-{i}")).spawn(run)?);
    }
    Ok(workers)
}

/// Each connection may need two descriptors, its own and its backend's. Takes as many as we may have.
pub(super) fn most_connections() -> usize {
    let (mut soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        soft = hard;
    }
    let most = (soft.saturating_sub(RESERVE) / 2).clamp(8, MOST);
    usize::try_from(most).unwrap_or(8)
}

/// A worker's life, until the proxy is gone.
async fn work(shared: Arc<Shared>, listeners: Vec<StdListener>, room: Room) {
    let mut phase = shared.phase.subscribe();
    reached(&mut phase, Phase::Open).await;
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(accept(shared.clone(), listener, room.clone()));
            }
            Err(error) => warn!(%error, "listener unusable"),
        }
    }
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = pin!(reached(&mut phase, Phase::Gone));
    loop {
        tokio::select! {
            () = &mut gone => return,
            _ = sweep.tick() => pool::sweep(),
        }
    }
}

/// Lets visitors in, as long as there is room; the others wait in the socket's queue.
async fn accept(shared: Arc<Shared>, listener: TcpListener, room: Room) {
    static WARNED: AtomicU64 = AtomicU64::new(0);
    static CROWDED: AtomicU64 = AtomicU64::new(0);
    let mut phase = shared.phase.subscribe();
    let mut draining = pin!(reached(&mut phase, Phase::Draining));
    loop {
        let next = async {
            let permit = room.places.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut draining => return,
            next = next => next,
        };
        match (permit, accepted) {
            (Some(permit), Ok((tcp, peer))) => match share(&shared, peer, room.half) {
                Ok(share) => {
                    // Notes hold the permits and count us, also while a tunnel outlives the function.
                    let notes = Notes::new(permit, share, shared.crowd.enter());
                    tokio::spawn(serve(shared.clone(), tcp, peer, notes));
                }
                Err(_) if due(&CROWDED, 60_000) => {
                    warn!(peer = %peer.ip(), "too many connections");
                }
                Err(_) => {}
            },
            (None, _) => return,
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
