//! A connection to the engine for each request, bounded in what it may bring.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bollard::errors::Error;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    body::{Body, Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::place::{Place, Stream};

/// How long an engine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Most bytes of one connection: 5,000 containers make a list of about 10 MB.
pub(super) const MOST: usize = 64 << 20;

/// Asks for something in our own words, where the library believes to know every word an engine may use.
pub(super) async fn ask<T: DeserializeOwned>(
    place: Arc<Place>,
    owner: Arc<AtomicU32>,
    path: &str,
) -> Result<T, Error> {
    let request = Request::get(path).body(Empty::<Bytes>::new())?;
    let answer = exchange(place, owner, request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST).collect().await;
    let body = body.map_err(|error| Error::from(io::Error::other(error)))?.to_bytes();
    if !status.is_success() {
        let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let message = said["message"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
        return Err(Error::DockerResponseServerError { status_code: status.as_u16(), message });
    }
    serde_json::from_slice(&body).map_err(|error| Error::from(io::Error::from(error)))
}

/// One request over a connection of its own.
pub(super) async fn exchange<B>(
    place: Arc<Place>,
    owner: Arc<AtomicU32>,
    request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let failed = |error: io::Error| {
        let words = format!("{place}: {error}");
        Error::from(io::Error::new(error.kind(), words))
    };
    let connected = timeout(CONNECT, place.connect()).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (stream, peer) = connected.map_err(failed)?;
    if let Some(uid) = peer {
        owner.store(uid, Ordering::Relaxed);
    }
    let stream = TokioIo::new(Bounded { stream, left: MOST });
    let (mut sender, connection) = http1::handshake(stream).await?;
    // It ends with the answer, or when nobody reads that any more.
    tokio::spawn(connection);
    Ok(sender.send_request(plain(request)?).await?)
}

/// As the engine takes it: a path without a version (it then speaks its own, whichever that is) and a host.
fn plain<B>(request: Request<B>) -> Result<Request<B>, Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let at = rest.find('/')?;
        rest[..at].bytes().all(|it| it.is_ascii_digit() || it == b'.').then(|| &rest[at..])
    });
    head.uri = Uri::try_from(versioned.unwrap_or(path)).map_err(http::Error::from)?;
    head.headers.insert(HOST, HeaderValue::from_static("engine"));
    Ok(Request::from_parts(head, body))
}

/// A stream that gives out so many bytes and then fails.
struct Bounded {
    stream: Box<dyn Stream>,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if outcome.is_ready() {
            let read = buffer.filled().len() - before;
            match self.left.checked_sub(read) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Err(io::Error::other("the answer is too long"))),
            }
        }
        outcome
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
