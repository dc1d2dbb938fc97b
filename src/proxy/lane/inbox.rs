//! What a visitor sends, one message after the other: who reads a message through this sees that message and nothing
//! behind it, and only what the [`Scanner`] has let pass.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::proxy::{
    fields::LONGEST_LINE,
    guard::Notes,
    scan::{Fault, Scanner},
    serve::HEAD,
    stream::Visitor,
};

/// One read takes at most this, where it isn't known how much will come.
const PIECE: usize = 8 * 1024;
/// A visitor who sends the next requests while an answer is under way is read so far ahead.
const AHEAD: usize = 16 * 1024;

/// A visitor's connection, read along by a [`Scanner`].
pub(in crate::proxy) struct Inbox {
    io: Visitor,
    notes: Arc<Notes>,
    scanner: Scanner,
    /// Read, not yet given to anybody. It begins with the message in hand.
    ahead: BytesMut,
    /// So many of them has the scanner let pass.
    passed: usize,
}

/// Why no head comes.
pub(super) enum NoHead {
    /// The visitor has ended, or broken off.
    Gone,
    /// It is not one unambiguous message.
    Fault,
    /// It goes on for too long, or a field does.
    TooLarge,
    /// Its first line goes on for too long.
    TargetTooLong,
}

impl Inbox {
    /// Nothing has been read yet.
    pub(super) fn new(io: Visitor, notes: Arc<Notes>) -> Self {
        let (scanner, ahead) = (Scanner::new(), BytesMut::new());
        Self { io, notes, scanner, ahead, passed: 0 }
    }

    /// The visitor, to be written to.
    pub(super) fn io(&mut self) -> &mut Visitor {
        &mut self.io
    }

    /// Takes the visitor out, with what was read and not given to anybody: what follows is not HTTP.
    pub(in crate::proxy) fn into_inner(self) -> (Visitor, BytesMut) {
        (self.io, self.ahead)
    }

    /// The bytes of the message in hand, as far as they are here, and what may be behind it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.ahead
    }

    /// What follows the head that was read last.
    pub(super) fn scanner(&mut self) -> &mut Scanner {
        &mut self.scanner
    }

    /// Waits until a head is complete; its length. The message begins at the beginning of [`Inbox::bytes`].
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, NoHead>> {
        loop {
            if self.passed < self.ahead.len() {
                self.notes.head_begins();
                let (read, complete) = self
                    .scanner
                    .read_head(&self.ahead[self.passed..])
                    .map_err(|Fault| no_head(&self.ahead))?;
                self.passed += read;
                if complete {
                    self.notes.head_ends();
                    return Poll::Ready(Ok(self.passed));
                }
                if self.passed > HEAD.0 {
                    return Poll::Ready(Err(NoHead::TooLarge));
                }
            } else if self.ahead.is_empty() && self.ahead.capacity() > 0 {
                // Who is silent needs no buffer.
                self.ahead = BytesMut::new();
            }
            match ready!(self.poll_more(cx, PIECE)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(NoHead::Gone)),
                Ok(_) => {}
            }
        }
    }

    /// Does what has come of the message in hand break its own rules?
    pub(super) fn look_at_body(&mut self) -> Result<(), Fault> {
        self.passed += self.scanner.read_message(&self.ahead[self.passed..])?;
        Ok(())
    }

    /// The first so many bytes have been given to somebody, with the end of the message.
    pub(super) fn done(&mut self, bytes: usize) {
        self.ahead.advance(bytes.min(self.ahead.len()));
        self.scanner.skip_body();
        self.passed = 0;
    }

    /// Has the whole of the message in hand been given away?
    pub(super) fn is_given(&self) -> bool {
        self.passed == 0 && self.scanner.at_border()
    }

    /// Sees, while he waits for an answer, whether the visitor leaves. Never ready otherwise.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.passed.max(1) + AHEAD;
        while self.ahead.len() < limit {
            match ready!(self.poll_more(cx, PIECE)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        self.ahead.reserve(size);
        pin!(self.io.read_buf(&mut self.ahead)).poll(cx)
    }
}

/// Which fault it is: who sends too much can be told so.
fn no_head(bytes: &[u8]) -> NoHead {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len);
    if lines.next().is_some_and(|line| line > LONGEST_LINE) {
        NoHead::TargetTooLong
    } else if lines.any(|line| line > LONGEST_LINE) {
        NoHead::TooLarge
    } else {
        NoHead::Fault
    }
}

impl AsyncRead for Inbox {
    /// The message in hand, then nothing; its end, if the visitor leaves.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed > 0 {
                let size = this.passed.min(buf.remaining());
                buf.put_slice(&this.ahead[..size]);
                this.ahead.advance(size);
                this.passed -= size;
                return Poll::Ready(Ok(()));
            }
            if this.scanner.is_opaque() && this.ahead.is_empty() {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            if this.scanner.at_border() {
                return this.poll_gone(cx).map(Ok);
            }
            if this.ahead.is_empty() {
                let more = this.poll_more(cx, PIECE.max(buf.remaining().min(64 * 1024)));
                this.notes.owes_body(more.is_pending());
                if ready!(more)? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let malformed = |Fault| io::Error::new(io::ErrorKind::InvalidData, "malformed");
            this.passed = this.scanner.read_message(&this.ahead).map_err(malformed)?;
        }
    }
}

impl AsyncWrite for Inbox {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.notes.set_flushed(false);
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.notes.set_flushed(false);
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.notes.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
