//! A visitor's connection that speaks HTTP/2, its frames counted on their way to hyper. What h1's [`super::lane`] does
//! with bytes, this does with frames: the watchdog's notes, and an end to floods.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::{activity::now_ms, frames::Frames, guard::Notes, stream::Visitor};

/// The connection, read along by [`Frames`].
pub(super) struct Counted {
    io: Visitor,
    frames: Frames,
    notes: Arc<Notes>,
    flooded: bool,
}

impl Counted {
    /// Puts the count in front.
    pub(super) fn new(io: Visitor, notes: Arc<Notes>) -> Self {
        Self { io, frames: Frames::new(now_ms()), notes, flooded: false }
    }

    fn look_at(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.frames.in_head();
        let outcome = self.frames.feed(bytes, now_ms());
        let now = self.frames.in_head();
        if now != before {
            self.notes.in_head(now.is_some());
        }
        outcome.map_err(|flood| {
            debug!(why = ?flood, "connection flooded");
            self.flooded = true;
            refused()
        })
    }

    fn wrote(&mut self, size: usize) -> usize {
        self.frames.sent(size);
        size
    }
}

/// hyper ends at once with it.
fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a flood of frames")
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flooded {
            return Poll::Ready(Err(refused()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        Poll::Ready(this.look_at(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let size = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        Poll::Ready(Ok(this.wrote(size)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let size = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        Poll::Ready(Ok(this.wrote(size)))
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
