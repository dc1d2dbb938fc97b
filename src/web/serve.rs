//! Listeners: the API's TCP port for user servers, and the Unix socket our proxy brings browsers over. Only there are
//! forwarded headers believed. Both sockets are root's and passed down; this only accepts.

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    time,
};
use tracing::{debug, info, warn};

use super::{
    app::App,
    call::Via,
    room::{Room, Seat},
    router,
};

/// Connections at once, per listener: user servers cannot shut browsers out. For further ones those make place that
/// only wait, see [`Room`].
const CONNECTIONS: usize = 4_096;
/// Seconds a request's head may take on the API's port.
const HEAD: Duration = Duration::from_secs(15);
/// The same for our proxy, which keeps connections open between requests.
const PROXY_HEAD: Duration = Duration::from_secs(120);
/// Headers a request may have, and bytes of its head: what our proxy lets through, and what it adds.
const HEAD_SIZE: (usize, usize) = (220, 80 * 1024);
/// How long open requests get to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// Wait after a failed accept (no descriptors left, mostly).
const PAUSE: Duration = Duration::from_millis(100);

/// Where requests come in.
pub struct Listeners {
    /// `hub_ip:hub_port`: user servers and services.
    pub api: TcpListener,
    /// Our proxy.
    pub proxy: UnixListener,
}

/// Serves until `shutdown` resolves, then lets open requests end, for at most ten seconds.
pub async fn serve(listeners: Listeners, app: Arc<App>, shutdown: impl Future<Output = ()> + Send) {
    serve_within(CONNECTIONS, listeners, app, shutdown).await;
}

/// The same with room for so many connections per listener.
pub(crate) async fn serve_within(
    connections: usize,
    listeners: Listeners,
    app: Arc<App>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (ending, ended) = watch::channel(false);
    let rooms = [(); 2].map(|()| Room::new(connections));
    let open = || rooms.iter().map(|room| room.open()).sum::<usize>();
    let Listeners { api, proxy } = listeners;
    let routes = TowerToHyperService::new(router::routes(app));
    let accepting = async {
        tokio::join!(
            accept(&rooms[0], &api, HEAD, &routes, &ended),
            accept(&rooms[1], &proxy, PROXY_HEAD, &routes, &ended),
        )
    };
    tokio::select! {
        _ = accepting => {}
        () = shutdown => {}
    }
    ending.send_replace(true);
    info!(open = open(), "web is closing");
    let empty = async {
        for room in &rooms {
            room.empty().await;
        }
    };
    if time::timeout(DRAIN, empty).await.is_err() {
        warn!(open = open(), "web closed hard");
    }
}

/// Something connections come from.
trait Source: Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, and how it came.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Via)>> + Send;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Via)> {
        let (stream, peer) = self.accept().await?;
        // Without it small answers may wait; a connection that refuses it is good enough.
        let _ = stream.set_nodelay(true);
        Ok((stream, Via::Tcp(peer.ip().to_canonical())))
    }
}

impl Source for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Via)> {
        Ok((self.accept().await?.0, Via::Proxy))
    }
}

async fn accept<S: Source>(
    room: &Arc<Room>,
    source: &S,
    head: Duration,
    routes: &TowerToHyperService<Router>,
    ended: &watch::Receiver<bool>,
) {
    loop {
        match source.next().await {
            Ok((stream, via)) => {
                let seat = room.enter().await;
                tokio::spawn(connection(stream, via, head, routes.clone(), ended.clone(), seat));
            }
            Err(error) => {
                warn!(error = %error, "accept failed");
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection<S>(
    stream: S,
    via: Via,
    head: Duration,
    routes: TowerToHyperService<Router>,
    mut ended: watch::Receiver<bool>,
    seat: Arc<Seat>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = seat.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(via);
        let work = place.begin().map(|busy| (busy, routes.call(request)));
        async move {
            let (busy, answer) = work.ok_or(io::ErrorKind::ConnectionAborted)?;
            let Ok(answer) = answer.await;
            Ok::<_, io::Error>(answer.map(|body| busy.body(body)))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(HEAD_SIZE.0)
        .max_buf_size(HEAD_SIZE.1);
    let mut open = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = open.as_mut() => outcome,
        () = seat.told_to_go() => return,
        () = async { drop(ended.wait_for(|ended| *ended).await) } => {
            open.as_mut().graceful_shutdown();
            match time::timeout(DRAIN, open).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = outcome {
        debug!(error = %error, "connection broke");
    }
}
