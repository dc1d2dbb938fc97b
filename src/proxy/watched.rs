//! What stands between a backend's connection and hyper: [`Replies`], and the word on whether it may be used again.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    replies::{Asked, Replies},
    stream::Backend,
};

/// What the sender of requests and the reader of answers know of a connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// An [`Asked`].
    asked: AtomicU8,
    /// Something irregular came: not to be used again.
    broken: AtomicBool,
}

impl Line {
    /// A request goes out.
    pub(super) fn ask(&self, method: &Method) {
        let asked = if *method == Method::HEAD { Asked::Head } else { Asked::Answer };
        self.asked.store(asked as u8, Relaxed);
    }

    /// A request for another protocol goes out.
    pub(super) fn ask_upgrade(&self) {
        self.asked.store(Asked::Upgrade as u8, Relaxed);
    }

    /// May another request go out? Not before the answer is complete, and never after anything irregular.
    pub(super) fn is_clean(&self) -> bool {
        self.asked() == Asked::Nothing && !self.broken.load(Relaxed)
    }

    fn asked(&self) -> Asked {
        match self.asked.load(Relaxed) {
            1 => Asked::Answer,
            2 => Asked::Head,
            3 => Asked::Upgrade,
            _ => Asked::Nothing,
        }
    }
}

/// A backend's connection, read along by [`Replies`]. What is irregular is an error of the kind `InvalidData`.
pub(super) struct Watched {
    io: Backend,
    replies: Replies,
    line: Arc<Line>,
}

impl Watched {
    /// Watches this one.
    pub(super) fn new(io: Backend, line: Arc<Line>) -> Self {
        Self { io, replies: Replies::new(), line }
    }

    /// Nothing to watch any more: what follows is not HTTP.
    pub(super) fn into_inner(self) -> Backend {
        self.io
    }
}

/// Is this the error of an answer that is irregular?
pub(super) fn is_irregular(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == irregular().kind()) {
            return true;
        }
        source = error.source();
    }
    false
}

fn irregular() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.line.broken.load(Relaxed) {
            return Poll::Ready(Err(irregular()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let found = this.replies.feed(this.line.asked(), &buf.filled()[before..]);
        if found.complete {
            this.line.asked.store(Asked::Nothing as u8, Relaxed);
        }
        if found.fault {
            this.line.broken.store(true, Relaxed);
            buf.set_filled(before + found.good);
            if found.good == 0 {
                return Poll::Ready(Err(irregular())); // nothing would mean the end
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
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
