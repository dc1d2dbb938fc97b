//! The small listeners beside the public one: each serves few who are known, on the main thread.

use std::{
    convert::Infallible,
    fs, io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// Most connections of one door at once.
const MOST: usize = 1024;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time a head may take, also the first and the next one of a connection.
const HEAD: Duration = Duration::from_secs(30);
/// Wait after an accept that failed for want of something.
const BREATHER: Duration = Duration::from_millis(100);
/// Length of the kernel's queue.
const BACKLOG: i32 = 1024;

/// The addresses meant by a host: empty or `*`: all of this machine.
pub(super) fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if matches!(host, "" | "*") {
        // Where there is no IPv6 the second is for it.
        let all = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
        return Ok(all.iter().filter_map(|address| address.parse().ok()).collect());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok((bare, port).to_socket_addrs()?.collect())
}

/// A listening socket at the first address that can be had; `shared`: others of ours may listen there too.
pub(super) fn listen(host: &str, port: u16, shared: bool) -> io::Result<std::net::TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses(host, port)? {
        match bind(address, shared) {
            Ok(socket) => return Ok(socket.into()),
            // Somebody else is there: the next address would be half of what was meant.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A Unix socket, taken away when dropped.
pub(super) struct Socketed {
    /// The listener.
    pub(super) listener: std::os::unix::net::UnixListener,
    path: PathBuf,
}

impl Drop for Socketed {
    fn drop(&mut self) {
        // Gone already: as it should be.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at a Unix socket. One that a proxy before has left behind is replaced; one where somebody listens is not.
pub(super) fn listen_unix(path: &Path) -> io::Result<Socketed> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Socketed { listener, path: path.to_owned() })
}

/// Where to serve.
pub(super) struct Door {
    at: At,
    /// Its file goes with it.
    _socketed: Option<Socketed>,
}

enum At {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// At a Unix socket if there is one, else at the address.
    pub(super) fn open(socket: Option<&Path>, host: &str, port: u16) -> io::Result<Self> {
        let Some(path) = socket else {
            let listener = TcpListener::from_std(listen(host, port, false)?)?;
            return Ok(Self { at: At::Tcp(listener), _socketed: None });
        };
        let socketed = listen_unix(path)?;
        let listener = UnixListener::from_std(socketed.listener.try_clone()?)?;
        Ok(Self { at: At::Unix(listener), _socketed: Some(socketed) })
    }
}

/// Serves the REST API at a listener of the built-in proxy, for ever.
///
/// # Errors
///
/// It is no listener that can be waited at.
pub(in crate::proxy) fn serve_rest(
    listener: std::net::TcpListener,
    api: Arc<super::Api>,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let door = Door { at: At::Tcp(TcpListener::from_std(listener)?), _socketed: None };
    Ok(serve(door, Arc::new(ArcSwapOption::empty()), move |request| {
        let api = api.clone();
        async move { api.answer(request).await }
    }))
}

/// Serves a door for ever; with TLS if there is any.
pub(super) async fn serve<A, F>(door: Door, tls: Arc<ArcSwapOption<TlsAcceptor>>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = match &door.at {
            At::Tcp(listener) => listener.accept().await.map(|(tcp, _)| {
                // Without it small answers come late; that is all.
                let _ = tcp.set_nodelay(true);
                drop(tokio::spawn(shake(tcp, tls.load_full(), permit, answer.clone())));
            }),
            At::Unix(listener) => listener.accept().await.map(|(unix, _)| {
                drop(tokio::spawn(shake(unix, tls.load_full(), permit, answer.clone())));
            }),
        };
        if let Err(error) = accepted {
            warn!(%error, "cannot accept");
            sleep(BREATHER).await;
        }
    }
}

async fn shake<I, A, F>(
    io: I,
    tls: Option<Arc<TlsAcceptor>>,
    permit: OwnedSemaphorePermit,
    answer: A,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let _permit = permit;
    match tls {
        None => converse(io, answer).await,
        Some(acceptor) => match timeout(HANDSHAKE, acceptor.accept(io)).await {
            Ok(Ok(stream)) => converse(stream, answer).await,
            _ => debug!("handshake of door failed"),
        },
    }
}

async fn converse<I, A, F>(io: I, answer: A)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(|request| {
        let answering = answer(request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "connection of door broke");
    }
}
