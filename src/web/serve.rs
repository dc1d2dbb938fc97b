//! Listeners: the API's TCP port for user servers, and the Unix socket our proxy brings browsers over. Only there are
//! forwarded headers believed. Both sockets are root's and passed down; this only accepts.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{self, SocketAddr, TcpListener as StdListener},
    os,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

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
    runtime::{self, Handle},
    sync::{mpsc, oneshot, watch},
    time,
};
use tracing::{debug, info, warn};

use super::{
    app::App,
    call::Via,
    room::{Room, Seat},
    router,
};
use crate::os::process;

/// Connections at once, per listener: user servers cannot shut browsers out. For further ones those make place that
/// only wait, see [`Room`].
const CONNECTIONS: u64 = 4_096;
/// Seconds a request's head may take on the API's port.
const HEAD: Duration = Duration::from_secs(15);
/// The same for our proxy, which keeps connections open between requests.
const PROXY_HEAD: Duration = Duration::from_secs(120);
/// Headers a request may have, and bytes of its head: what our proxy lets through, and what it adds.
const HEAD_SIZE: (usize, usize) = (220, 80 * 1024);
/// How long open requests get to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// Most threads for connections.
const DESKS: usize = 4;
/// Wait after a failed accept (no descriptors left, mostly).
const PAUSE: Duration = Duration::from_millis(100);

/// The API's listeners, all of them, and again whenever they change.
pub type Apis = mpsc::Receiver<Vec<StdListener>>;

/// Where requests come in.
pub struct Listeners {
    /// `hub_ip:hub_port`, and older addresses that servers were told: user servers and services.
    pub api: Apis,
    /// Our proxy.
    pub proxy: UnixListener,
}

/// Serves until `shutdown` resolves, then lets open requests end, for at most ten seconds. `open_files`: descriptors this
/// process may have; connections leave some for everything else.
pub async fn serve(
    open_files: u64,
    listeners: Listeners,
    app: Arc<App>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let each = process::connections(open_files, CONNECTIONS);
    serve_within(each, listeners, app, shutdown).await;
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
    let desks = Arc::new(Desks::begin().unwrap_or_else(|error| {
        warn!(%error, "web threads not made");
        Desks::shared()
    }));
    let door = |room: &Arc<Room>, head| Door {
        room: room.clone(),
        head,
        routes: routes.clone(),
        ended: ended.clone(),
        desks: desks.clone(),
    };
    let (of_api, of_proxy) = (door(&rooms[0], HEAD), door(&rooms[1], PROXY_HEAD));
    let (_stay, stays) = oneshot::channel();
    let accepting = async { tokio::join!(of_api.follow(api), of_proxy.accept(&proxy, stays)) };
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

    /// The same, bound to no runtime.
    type Bare: Send + 'static;

    /// The next one, and how it came.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Bare, Via)>> + Send;

    /// Bound to the runtime that is here.
    fn bind(bare: Self::Bare) -> io::Result<Self::Stream>;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    type Bare = net::TcpStream;

    async fn next(&self) -> io::Result<(net::TcpStream, Via)> {
        let (stream, peer) = self.accept().await?;
        // Without it small answers may wait; a connection that refuses it is good enough.
        let _ = stream.set_nodelay(true);
        Ok((stream.into_std()?, Via::Tcp(peer.ip().to_canonical())))
    }

    fn bind(bare: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(bare)
    }
}

impl Source for UnixListener {
    type Stream = UnixStream;

    type Bare = os::unix::net::UnixStream;

    async fn next(&self) -> io::Result<(os::unix::net::UnixStream, Via)> {
        Ok((self.accept().await?.0.into_std()?, Via::Proxy))
    }

    fn bind(bare: os::unix::net::UnixStream) -> io::Result<UnixStream> {
        UnixStream::from_std(bare)
    }
}

/// Threads for connections, each with a runtime of its own: from the first byte of a request to the last of its answer
/// nobody is woken on another processor, which is what a small request costs most.
struct Desks {
    desks: Vec<Handle>,
    next: AtomicUsize,
    /// Dropped they end.
    _ends: Vec<oneshot::Sender<()>>,
}

impl Desks {
    fn begin() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, |it| it.get().min(DESKS));
        let (mut desks, mut ends) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let (end, ended) = oneshot::channel::<()>();
            desks.push(runtime.handle().clone());
            ends.push(end);
            thread::Builder::new()
                .name(format!("web-{number}"))
                .spawn(move || drop(runtime.block_on(ended)))?;
        }
        Ok(Self { desks, next: AtomicUsize::new(0), _ends: ends })
    }

    /// Everybody at the runtime that is here.
    fn shared() -> Self {
        Self { desks: vec![Handle::current()], next: AtomicUsize::default(), _ends: Vec::new() }
    }

    /// The next one.
    fn desk(&self) -> &Handle {
        &self.desks[self.next.fetch_add(1, Relaxed) % self.desks.len()]
    }
}

/// What everybody goes through who comes in by some listeners.
#[derive(Clone)]
struct Door {
    room: Arc<Room>,
    head: Duration,
    routes: TowerToHyperService<Router>,
    ended: watch::Receiver<bool>,
    desks: Arc<Desks>,
}

impl Door {
    /// Accepts at these listeners, whichever they are. One that is no longer among them lets in who waits there and is
    /// closed. At our own end who waits is left to the next hub, which is given the same listeners.
    async fn follow(&self, mut listeners: Apis) {
        let mut open: BTreeMap<SocketAddr, oneshot::Sender<()>> = BTreeMap::new();
        while let Some(wanted) = listeners.recv().await {
            let mut kept = BTreeMap::new();
            for listener in wanted {
                let begun = listener.local_addr().and_then(|address| {
                    let held = open.remove(&address);
                    Ok((address, held.map_or_else(|| self.begin(listener), Ok)?))
                });
                match begun {
                    Ok((address, leave)) => _ = kept.insert(address, leave),
                    Err(error) => warn!(%error, "hub listener unusable"),
                }
            }
            for (address, leave) in std::mem::replace(&mut open, kept) {
                info!(%address, "hub listener closed");
                // If it has ended by itself there is nothing to leave.
                let _ = leave.send(());
            }
        }
        // Nobody tells us any more: these it is.
        std::future::pending().await
    }

    /// Accepts in a task of its own, until it is told to leave or nobody is there to tell it.
    fn begin(&self, listener: StdListener) -> io::Result<oneshot::Sender<()>> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (leave, told) = oneshot::channel();
        let door = self.clone();
        tokio::spawn(async move {
            if door.accept(&listener, told).await {
                match listener.into_std() {
                    Ok(listener) => door.empty(&listener).await,
                    Err(error) => warn!(%error, "hub listener not emptied"),
                }
            }
        });
        Ok(leave)
    }

    /// Lets in whoever comes. True when it was told to leave, false when nobody is there to tell it.
    async fn accept<S: Source>(&self, source: &S, mut leave: oneshot::Receiver<()>) -> bool {
        loop {
            let next = tokio::select! {
                biased;
                told = &mut leave => return told.is_ok(),
                next = source.next() => next,
            };
            match next {
                Ok((stream, via)) => self.let_in::<S>(stream, via).await,
                Err(error) => {
                    warn!(error = %error, "accept failed");
                    time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets in who waits already.
    async fn empty(&self, listener: &StdListener) {
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.let_in::<TcpListener>(stream, Via::Tcp(peer.ip().to_canonical())).await;
            }
        }
    }

    async fn let_in<S: Source>(&self, bare: S::Bare, via: Via) {
        let seat = self.room.enter().await;
        let (routes, ended, head) = (self.routes.clone(), self.ended.clone(), self.head);
        self.desks.desk().spawn(async move {
            match S::bind(bare) {
                Ok(stream) => connection(stream, via, head, routes, ended, seat).await,
                Err(error) => debug!(error = %error, "connection broke"),
            }
        });
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

/// One listener, and no other ever.
#[cfg(test)]
pub(crate) fn only(listener: TcpListener) -> Apis {
    let (sender, apis) = mpsc::channel(1);
    sender.try_send(vec![listener.into_std().unwrap()]).unwrap();
    apis
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::web::testing::Hub;

    async fn ask(mut stream: TcpStream) -> io::Result<String> {
        stream.write_all(b"GET /hub/api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn the_apis_listeners_come_and_go_and_nobody_who_waits_is_cut_off() {
        let hub = Hub::new();
        let folder = tempfile::tempdir().unwrap();
        let proxy = UnixListener::bind(folder.path().join("hub.sock")).unwrap();
        let (sender, api) = mpsc::channel(8);
        let listeners = [(); 2].map(|()| StdListener::bind("127.0.0.1:0").unwrap());
        let at = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let [one, two] = listeners;
        sender.send(vec![one.try_clone().unwrap()]).await.unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let app = hub.app.clone();
        let serving = tokio::spawn(async move {
            serve_within(100, Listeners { api, proxy }, app, async { drop(ended.await) }).await;
        });
        assert!(ask(TcpStream::connect(at[0]).await.unwrap()).await.unwrap().contains("200 OK"));
        sender.send(vec![two.try_clone().unwrap(), one.try_clone().unwrap()]).await.unwrap();
        for address in at {
            let answer = ask(TcpStream::connect(address).await.unwrap()).await.unwrap();
            assert!(answer.contains("200 OK"), "{answer}");
        }
        // Connected, not asked yet; then the first is left, by whoever held it.
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(TcpStream::connect(at[0]).await.unwrap());
        }
        drop(one);
        sender.send(vec![two]).await.unwrap();
        for stream in waiting {
            assert!(ask(stream).await.unwrap().contains("200 OK"));
        }
        let refused = async {
            while TcpStream::connect(at[0]).await.is_ok() {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        time::timeout(Duration::from_secs(10), refused).await.expect("it is closed");
        assert!(ask(TcpStream::connect(at[1]).await.unwrap()).await.unwrap().contains("200 OK"));
        end.send(()).unwrap();
        time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
    }
}
