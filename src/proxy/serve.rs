//! A visitor's connection from its first byte to its last: hands are shaken, HTTP/1.1 or HTTP/2 is spoken (by TLS the
//! visitor chooses, RFC 7301; without it there is HTTP/1.1 only), and a watchdog looks after it.

use std::{
    convert::Infallible, future::Future, net::SocketAddr, pin::Pin, pin::pin, sync::Arc,
    time::Duration,
};

use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http2,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use super::{
    acme,
    body::Answer,
    counted::Counted,
    drain::{Phase, reached},
    front::{self, Visit},
    guard::{Health, Notes},
    lane,
    shared::Shared,
    stream::{Visitor, probe_visitor},
};

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most handshakes of one address at once; more wait, within that time.
const HANDSHAKES: usize = 64;
/// While draining, a request may still arrive on an unused connection for so long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Longest head of a request in bytes, and most fields in it.
pub(super) const HEAD: (usize, usize) = (64 * 1024, 200);

/// The same as HTTP/2 counts it: 32 bytes more for each field (RFC 9113, section 6.5.2).
const HEAD_LIST: u32 = (HEAD.0 + 32 * HEAD.1) as u32;
/// Requests and tunnels at once on one connection; what browsers expect at least.
const STREAMS: u32 = 100;
/// Bytes of one body, and of all bodies of a connection, that a visitor may send ahead of the backend that takes them.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Bytes of an answer that wait for the visitor, besides the piece in hand.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a visitor took back before we looked at them, and that we had to reset for his faults, until the
/// connection ends. [`super::frames`] counts what the visitor takes back later.
const RESETS: (usize, usize) = (20, 256);

/// Serves a connection to its end.
///
/// `plain`: it came to the port that sends visitors to TLS.
pub(super) async fn serve(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    plain: bool,
    notes: Arc<Notes>,
) {
    // Without these small answers come late, and the vanished are noticed late; that is all.
    let _ = tcp.set_nodelay(true).and_then(|()| probe_visitor(&tcp));
    let acceptor = if plain { None } else { shared.tls.load_full() };
    let tls = acceptor.is_some();
    let visitor = match acceptor {
        None => Visitor::Plain(tcp),
        Some(acceptor) => match shake_hands(&shared, &acceptor, tcp, peer).await {
            Some(stream) if stream.get_ref().1.alpn_protocol() == Some(acme::PROTOCOL) => {
                return prove(stream, peer).await;
            }
            Some(stream) => Visitor::Tls(Box::new(stream)),
            None => return debug!(%peer, "handshake failed"),
        },
    };
    let visit = Visit { peer: peer.ip(), tls, redirects: plain };
    if visitor.speaks_http2() {
        let (by, noting) = (shared.clone(), notes.clone());
        let service = service_fn(move |request| {
            let answer = front::answer(by.clone(), visit, noting.clone(), request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        // Apart, so that connections without it are not as big.
        Box::pin(http2(&shared, visitor, peer, notes, service)).await;
    } else {
        let connection = async {
            lane::serve(shared.clone(), visitor, visit, notes.clone()).await;
            Ok(())
        };
        // Who leaves says so with each answer; connections at rest are closed later.
        let politely = |_: Pin<&mut _>| Duration::ZERO;
        watch(&shared, pin!(connection), peer, &notes, Phase::Draining, politely).await;
    }
}

/// The handshake was all that an authority came for (RFC 8737, section 3).
async fn prove(mut stream: TlsStream<TcpStream>, peer: SocketAddr) {
    debug!(%peer, "acme challenge shown");
    let _ = timeout(LAST_WORD, stream.shutdown()).await;
}

/// TLS is agreed on, in time. One address has only so many handshakes under way; those that we trust stand for many.
async fn shake_hands(
    shared: &Shared,
    acceptor: &TlsAcceptor,
    tcp: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let mut phase = shared.phase.subscribe();
    let share = {
        let trusted = shared.settings.load().trusts(peer.ip());
        (!trusted).then(|| shared.handshakes.of(peer.ip(), HANDSHAKES))
    };
    let shaking = async {
        let _place = match share {
            Some(share) => Some(share.acquire_owned().await.ok()?),
            None => None,
        };
        acceptor.accept(tcp).await.ok()
    };
    tokio::select! {
        shaken = timeout(HANDSHAKE, shaking) => shaken.ok()?,
        () = reached(&mut phase, Phase::Draining) => None,
    }
}

async fn http2<S>(
    shared: &Shared,
    visitor: Visitor,
    peer: SocketAddr,
    notes: Arc<Notes>,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let io = TokioIo::new(Counted::new(visitor, notes.clone()));
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_LIST)
        .max_pending_accept_reset_streams(RESETS.0)
        .max_local_error_reset_streams(RESETS.1)
        .auto_date_header(true)
        .enable_connect_protocol() // RFC 8441
        .serve_connection(io, service);
    // GOAWAY cuts nothing that is on its way: it can be said as soon as somebody else takes over.
    let politely = |connection: Pin<&mut http2::Connection<_, _, _>>| {
        connection.graceful_shutdown();
        LAST_WORD
    };
    watch(shared, pin!(connection), peer, &notes, Phase::Retiring, politely).await;
}

/// Drives a connection, and ends it when it is idle, too slow, or we go. `politely` asks for its end and says how long
/// an idle one takes to it; it is asked when our life has come to `leave_at`.
async fn watch<C>(
    shared: &Shared,
    mut connection: Pin<&mut C>,
    peer: SocketAddr,
    notes: &Notes,
    leave_at: Phase,
    politely: impl Fn(Pin<&mut C>) -> Duration,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut phase = shared.phase.subscribe();
    let mut leave = pin!(reached(&mut phase, leave_at));
    let mut leaving = false;
    let mut look = pin!(sleep(Duration::ZERO));
    loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    debug!(%peer, %error, "connection broke");
                }
                return;
            }
            () = &mut leave, if !leaving => {
                leaving = true;
                politely(connection.as_mut());
                // The first request of a connection may never come.
                look.set(sleep(LAST_WORD));
            }
            () = look.as_mut() => {
                match notes.health(&shared.settings.load()) {
                    _ if leaving && notes.is_idle() => return,
                    Health::Fine(again) if leaving => look.set(sleep(again.min(LAST_WORD))),
                    Health::Fine(again) => look.set(sleep(again)),
                    Health::Slow => return debug!(%peer, "visitor too slow"),
                    Health::Idle => {
                        leaving = true;
                        look.set(sleep(politely(connection.as_mut())));
                    }
                }
            }
        }
    }
}
