//! Opening a connection to a backend: TCP, TLS over it, or a Unix socket; and one that is watched for silence.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    figures::Event,
    shared::Shared,
    stream::{Backend, probe},
    table::Entry,
    target::{Host, Place, Tls},
};

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// Its target is nothing we can reach.
    #[error("the target of the route cannot be used")]
    Unusable,
    /// The route is no more.
    #[error("the route is no more")]
    Gone,
    /// Nobody there.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// Nobody answered in time.
    #[error("no connection in time")]
    Timeout,
    /// hyper's word.
    #[error("the connection failed at once")]
    Handshake(#[source] hyper::Error),
}

/// Opens a connection, with TLS where the target wants it.
pub(super) async fn dial(
    shared: &Shared,
    entry: &Entry,
    limit: Duration,
) -> Result<Backend, ConnectError> {
    let dialling = async {
        match &entry.target.place {
            Place::V4(address, tls) => {
                let tcp = TcpStream::connect(address).await?;
                settled(shared, tcp, *tls, || Host::Address((*address.ip()).into())).await
            }
            Place::Tcp(named, tls) => match &**named {
                (Host::Address(address), port) => {
                    let tcp = TcpStream::connect((*address, *port)).await?;
                    settled(shared, tcp, *tls, || Host::Address(*address)).await
                }
                (Host::Name(name), port) => {
                    let tcp = TcpStream::connect((&**name, *port)).await?;
                    settled(shared, tcp, *tls, || Host::Name(name.clone())).await
                }
            },
            Place::Unix(path) => UnixStream::connect(&**path).await.map(Backend::Unix),
            Place::Unusable => Err(io::ErrorKind::Unsupported.into()),
        }
    };
    if entry.life.is_over() {
        // Somebody else's server may have the address by now.
        return Err(ConnectError::Gone);
    }
    if entry.target.place == Place::Unusable {
        return Err(ConnectError::Unusable);
    }
    match timeout(limit, dialling).await {
        Ok(Ok(backend)) => {
            shared.figures.count(Event::Dialled);
            Ok(backend)
        }
        Ok(Err(error)) => Err(ConnectError::Connect(error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// Sets a new connection's options, and agrees on TLS with the host of this name where that is wanted.
async fn settled(
    shared: &Shared,
    tcp: TcpStream,
    tls: Tls,
    host: impl FnOnce() -> Host,
) -> io::Result<Backend> {
    tcp.set_nodelay(true)?;
    probe(&tcp)?;
    if tls == Tls::Without {
        return Ok(Backend::Tcp(tcp));
    }
    let config = shared.upstream_tls.load_full().unwrap_or_else(crate::fetch::trust::usual);
    let name = match host() {
        Host::Address(address) => ServerName::from(address),
        Host::Name(name) => ServerName::try_from(String::from(name))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
    };
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Backend::Tls(Box::new(stream)))
}

/// A connection that fails once nothing has passed over it for so long.
pub(super) struct Timed {
    io: Backend,
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Timed {
    /// With this limit.
    pub(super) fn new(io: Backend, limit: Duration) -> Self {
        Self { io, limit, sleep: Box::pin(sleep(limit)) }
    }

    fn moved<T>(&mut self, outcome: Poll<T>) -> Poll<T> {
        if outcome.is_ready() {
            let until = Instant::now() + self.limit;
            self.sleep.as_mut().reset(until);
        }
        outcome
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        let read = this.moved(read);
        if read.is_pending() && this.sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.moved(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.moved(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
