//! The two kinds of connection: a visitor's (plain or TLS) and a backend's (TCP, TLS or Unix).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{client, server::TlsStream};

use super::dial::Timed;

/// A visitor's connection.
pub(super) enum Visitor {
    /// As it came.
    Plain(TcpStream),
    /// Deciphered.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to whatever is at the end of a route.
pub(super) enum Backend {
    /// `http`.
    Tcp(TcpStream),
    /// The hub, and `http+unix`.
    Unix(UnixStream),
    /// `https`.
    Tls(Box<client::TlsStream<TcpStream>>),
    /// Any of these, watched for silence.
    Timed(Box<Timed>),
}

/// A silent other side is found to have vanished within 90 s. Failing to set this makes it only later.
pub(super) fn probe(tcp: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(20))
        .with_retries(3);
    SockRef::from(tcp).set_tcp_keepalive(&probes)
}

/// As [`probe`], and a visitor who takes nothing of what we send for 90 s is given up. Not for backends: a user server
/// may be busy for longer.
pub(super) fn probe_visitor(tcp: &TcpStream) -> io::Result<()> {
    probe(tcp)?;
    SockRef::from(tcp).set_tcp_user_timeout(Some(Duration::from_secs(90)))
}

impl Visitor {
    /// Was HTTP/2 agreed on?
    pub(super) fn speaks_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Closing it is a reset from now on.
    pub(super) fn reset(&self) {
        // Where this fails the end is a plain one, as it would have been.
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Has the other side been found to be gone?
    pub(super) fn is_broken(&self) -> bool {
        !matches!(self.tcp().take_error(), Ok(None))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

macro_rules! either {
    ($type:ident { $($variant:ident),+ }) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(io) => Pin::new(io).poll_read(cx, buf)),+ }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $(Self::$variant(io) => Pin::new(io).poll_write(cx, buf)),+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_write_vectored(cx, bufs)),+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $(Self::$variant(io) => io.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(io) => Pin::new(io).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(io) => Pin::new(io).poll_shutdown(cx)),+ }
            }
        }
    };
}

either!(Visitor { Plain, Tls });
either!(Backend { Tcp, Unix, Tls, Timed });
