//! What a visitor sends, one message after the other: who reads a message through this sees that message and nothing
//! behind it, and only what the [`Scanner`] has let pass.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

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
    /// Something of the answer to the message in hand has gone out.
    answering: bool,
    /// The visitor has shut his side after the whole of a message.
    shut: Option<Box<Shut>>,
    /// For how long he then may wait for an answer to begin.
    patience: Duration,
}

/// RFC 9110, section 15.2: every client of HTTP/1.1 takes any number of these before its answer.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const INTERIM_SIZE: usize = INTERIM.len();
/// An answer to who has shut his side may pause for this part of the time it has to begin.
const PAUSES: u32 = 4;

/// A visitor who has shut his side after the whole of a request. He may wait for his answer (RFC 9112, section 9.6), or
/// have closed the connection altogether: his end says the same in both cases. Only what we send tells them apart, as
/// nobody but a closed connection answers by a reset. So before an answer has begun something is sent at once, an interim
/// answer; and a visitor who was closed is seen to be gone within a moment, as always. Behind that, and for what cannot
/// be asked (HTTP/1.0, an answer that has begun), there are limits: an abandoned request holds nothing for longer.
struct Shut {
    /// When he shut his side, or was last sent something of the answer.
    heard: Instant,
    /// When to look again, and how long after that.
    look: Pin<Box<Sleep>>,
    pause: Duration,
    /// Longest time until the answer begins.
    patience: Duration,
}

impl Shut {
    fn new(patience: Duration) -> Self {
        let pause = Duration::from_millis(20);
        Self { heard: Instant::now(), look: Box::pin(sleep(pause)), pause, patience }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>, visitor: &Visitor, begun: bool) -> Poll<()> {
        let limit = if begun { self.patience / PAUSES } else { self.patience };
        loop {
            ready!(self.look.as_mut().poll(cx));
            if visitor.is_broken() || self.heard.elapsed() > limit {
                return Poll::Ready(());
            }
            self.pause = (self.pause * 2).min(Duration::from_secs(2));
            self.look.as_mut().reset(Instant::now() + self.pause);
        }
    }
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
    pub(super) fn new(io: Visitor, notes: Arc<Notes>, patience: Duration) -> Self {
        let (scanner, ahead) = (Scanner::new(), BytesMut::new());
        Self { io, notes, scanner, ahead, passed: 0, answering: false, shut: None, patience }
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
                    self.answering = false;
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

    /// Is the message in hand, which is so many bytes long, the visitor's last?
    pub(super) fn is_last(&self, bytes: usize) -> bool {
        self.shut.is_some() && self.ahead.len() <= bytes
    }

    /// Something of the answer goes out.
    pub(super) fn answers(&mut self) {
        self.answering = true;
        if let Some(shut) = &mut self.shut {
            shut.heard = Instant::now();
        }
    }

    /// Sees, while he waits for an answer, whether the visitor leaves. Never ready otherwise. Who has shut his side has
    /// not left: see [`Shut`].
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shut.is_none() {
            let limit = self.passed.max(1) + AHEAD;
            loop {
                if self.ahead.len() >= limit {
                    return Poll::Pending;
                }
                match ready!(self.poll_more(cx, PIECE)) {
                    Err(_) => return Poll::Ready(()),
                    Ok(0) => break,
                    Ok(_) => {}
                }
            }
            if !self.answering && self.asks(cx).is_err() {
                return Poll::Ready(());
            }
            self.shut = Some(Box::new(Shut::new(self.patience)));
        }
        let Some(shut) = &mut self.shut else { return Poll::Pending };
        shut.poll_gone(cx, &self.io, self.answering)
    }

    /// Says something that has no meaning to who is there, and is answered by a reset where nobody is.
    fn asks(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.scanner.was_modern() {
            return Ok(());
        }
        match Pin::new(&mut self.io).poll_write(cx, INTERIM) {
            Poll::Ready(Ok(INTERIM_SIZE)) => {
                // TLS that cannot send it now sends it with the answer.
                let _ = Pin::new(&mut self.io).poll_flush(cx)?;
                Ok(())
            }
            Poll::Ready(Ok(_)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Err(error)) => Err(error),
            // Nothing of it has been said.
            Poll::Pending => Ok(()),
        }
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
        this.answers();
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.notes.set_flushed(false);
        this.answers();
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
