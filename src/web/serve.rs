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
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time,
};
use tracing::{debug, info, warn};

use super::{app::App, call::Via, router};

/// Connections at once, per listener: user servers cannot shut browsers out. Further ones wait in the backlog.
const CONNECTIONS: usize = 4_096;
/// Seconds a request's head may take on the API's port.
const HEAD: Duration = Duration::from_secs(15);
/// The same for our proxy, which keeps connections open between requests.
const PROXY_HEAD: Duration = Duration::from_secs(120);
/// Bytes a request's head may have.
const HEAD_SIZE: usize = 64 * 1024;
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
    let (ending, ended) = watch::channel(false);
    let rooms = [(); 2].map(|()| Arc::new(Semaphore::new(CONNECTIONS)));
    let open = || rooms.iter().map(|room| CONNECTIONS - room.available_permits()).sum::<usize>();
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
            // Never closed, so it can only succeed: once every connection has given its permit back.
            let _ = room.acquire_many(CONNECTIONS as u32).await;
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
    room: &Arc<Semaphore>,
    source: &S,
    head: Duration,
    routes: &TowerToHyperService<Router>,
    ended: &watch::Receiver<bool>,
) {
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match source.next().await {
            Ok((stream, via)) => {
                tokio::spawn(connection(stream, via, head, routes.clone(), ended.clone(), permit));
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
    _permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(via);
        routes.call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(100)
        .max_buf_size(HEAD_SIZE);
    let mut open = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = open.as_mut() => outcome,
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
