//! A visitor's way in: accepts as many as there is room for. [`super::serve`] goes on.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    drain::{Crowd, Phase, reached},
    figures::Event,
    forward::due,
    guard::Notes,
    proxied::{self, Header},
    serve::serve,
    shared::Shared,
};
use crate::os::process;

/// Wait after an accept that failed for want of something.
const BREATHER: Duration = Duration::from_millis(100);
/// Most connections at once, whatever the limit of descriptors.
const MOST: u64 = 200_000;

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
    let port = listener.local_addr().map_or(0, |address| address.port());
    let door = Door { shared, room, crowd, port };
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
            (Some(permit), Ok((tcp, peer))) => let_in(&door, permit, tcp, peer),
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
    let port = listener.local_addr().map_or(0, |address| address.port());
    let door = Door { shared, room, crowd, port };
    while let Ok(permit) = room.places.clone().acquire_owned().await {
        match listener.accept() {
            Ok((tcp, peer)) => {
                let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
                if let Ok(tcp) = tcp {
                    let_in(&door, permit, tcp, peer);
                }
            }
            Err(error) if is_the_visitors(&error) => {}
            Err(_) => return,
        }
    }
}

/// Where somebody comes in.
struct Door<'a> {
    shared: &'a Arc<Shared>,
    room: &'a Room,
    crowd: &'a Crowd,
    /// Of the listener.
    port: u16,
}

fn let_in(door: &Door<'_>, permit: OwnedSemaphorePermit, tcp: TcpStream, peer: SocketAddr) {
    let (shared, half) = (door.shared.clone(), door.room.half);
    let settings = shared.settings.load();
    let plain = settings.redirect_port != 0 && settings.redirect_port == door.port;
    // Notes hold the permits and count us, also while a tunnel outlives the function.
    let present = shared.crowd.enter().and(door.crowd.enter());
    if settings.proxy_protocol {
        if !settings.trusts(peer.ip()) {
            return debug!(%peer, "proxy header refused");
        }
        drop(settings);
        tokio::spawn(async move {
            let mut tcp = tcp;
            let Some(named) = introduced(&shared, &mut tcp).await else {
                return debug!(%peer, "proxy header refused");
            };
            let peer = named.map_or(peer, |ip| SocketAddr::new(ip, 0));
            if let Some(share) = share_of(&shared, peer, half) {
                serve(shared, tcp, peer, plain, Notes::new(permit, share, present)).await;
            }
        });
        return;
    }
    drop(settings);
    if let Some(share) = share_of(&shared, peer, half) {
        tokio::spawn(serve(shared, tcp, peer, plain, Notes::new(permit, share, present)));
    }
}

/// Whom a balancer speaks for: somebody, or itself. `None`: it doesn't say in time, or not well.
async fn introduced(shared: &Shared, tcp: &mut TcpStream) -> Option<Option<IpAddr>> {
    let patience = shared.settings.load().header_timeout;
    let mut phase = shared.phase.subscribe();
    let reading = async {
        let mut bytes = Vec::new();
        loop {
            match proxied::read(&bytes).ok()? {
                Header::Whole(from) => return Some(from),
                Header::More(more) => {
                    let had = bytes.len();
                    bytes.resize(had + more, 0);
                    tcp.read_exact(&mut bytes[had..]).await.ok()?;
                }
            }
        }
    };
    tokio::select! {
        named = timeout(patience, reading) => named.ok()?,
        () = reached(&mut phase, Phase::Draining) => None,
    }
}

/// The peer's share of all connections; none: he has too many.
fn share_of(
    shared: &Shared,
    peer: SocketAddr,
    half: usize,
) -> Option<Option<OwnedSemaphorePermit>> {
    static CROWDED: AtomicU64 = AtomicU64::new(0);
    let share = share(shared, peer, half);
    if share.is_err() {
        shared.figures.count(Event::Crowded);
        if due(&CROWDED, 60_000) {
            warn!(peer = %peer.ip(), "too many connections");
        }
    }
    share.ok()
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
