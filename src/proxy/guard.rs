//! What stands between a visitor's connection and hyper: the [`Scanner`], and the notes on the connection that the
//! watchdog and the front read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{activity::now_ms, drain::Present, scan::Scanner, settings::Settings, stream::Visitor};

/// What is known of a visitor's connection. Lives as long as the connection or its tunnel.
pub(super) struct Notes {
    /// The first request that must be refused (counted from 1); `u32::MAX`: none.
    refuse_from: AtomicU32,
    /// Requests that hyper has handed out.
    requests: AtomicU32,
    /// Requests without a complete answer.
    busy: AtomicU32,
    /// When the head now coming in began; 0: none is coming.
    head_since: AtomicU64,
    /// Since when a visitor owes us the rest of a body; 0: he doesn't, or it is us who don't read.
    body_since: AtomicU64,
    /// When the last answer ended, or the connection began.
    idle_since: AtomicU64,
    /// An answer has ended before its end: the visitor must not take it for whole.
    cut: AtomicBool,
    _permit: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
    _present: Present,
}

/// What the watchdog finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Look again after this time.
    Fine(Duration),
    /// Nothing asked for too long: to be closed politely.
    Idle,
    /// A head or the next piece of a body takes too long: to be cut.
    Slow,
}

/// A request in hand; it ends with its answer.
pub(super) struct InHand(Arc<Notes>);

impl Notes {
    /// For a new connection: its place among all, and among those of its peer.
    pub(super) fn new(
        permit: OwnedSemaphorePermit,
        share: Option<OwnedSemaphorePermit>,
        present: Present,
    ) -> Arc<Self> {
        Arc::new(Self {
            refuse_from: AtomicU32::new(u32::MAX),
            requests: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            head_since: AtomicU64::new(0),
            body_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(now_ms()),
            cut: AtomicBool::new(false),
            _permit: permit,
            _share: share,
            _present: present,
        })
    }

    /// A request begins. `None`: the scanner has refused it.
    pub(super) fn begin(self: &Arc<Self>) -> Option<InHand> {
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.busy.fetch_add(1, Relaxed);
        let in_hand = InHand(self.clone());
        (number < self.refuse_from.load(Relaxed)).then_some(in_hand)
    }

    /// A head has begun to come in, or none is coming any more.
    pub(super) fn in_head(&self, begun: bool) {
        self.head_since.store(if begun { now_ms() } else { 0 }, Relaxed);
    }

    /// Something else is in hand than a request: a tunnel inside of the connection.
    pub(super) fn hold(self: &Arc<Self>) -> InHand {
        self.busy.fetch_add(1, Relaxed);
        InHand(self.clone())
    }

    /// An answer broke off. The connection then ends by a reset, which no client takes for the end of a file.
    pub(super) fn cut(&self) {
        self.cut.store(true, Relaxed);
    }

    /// Is nothing asked and nothing in hand?
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0
    }

    /// Is all well, by these limits?
    pub(super) fn health(&self, settings: &Settings) -> Health {
        let (header_timeout, keep_alive) = (settings.header_timeout, settings.keep_alive_timeout);
        let now = now_ms();
        let left = |since: u64, limit: Duration| {
            limit.checked_sub(Duration::from_millis(now.saturating_sub(since)))
        };
        let tick = Duration::from_millis(20);
        let head = self.head_since.load(Relaxed);
        let since = self.idle_since.load(Relaxed);
        // What is in hand comes first: half a head behind it waits for us, not we for it.
        if self.busy.load(Relaxed) > 0 {
            let again = Health::Fine(header_timeout.min(keep_alive) + tick);
            match self.body_since.load(Relaxed) {
                0 => again,
                since => left(since, settings.body_timeout).map_or(Health::Slow, |_| again),
            }
        } else if head != 0 {
            left(head, header_timeout).map_or(Health::Slow, |left| Health::Fine(left + tick))
        } else if self.requests.load(Relaxed) == 0 {
            left(since, header_timeout).map_or(Health::Slow, |left| Health::Fine(left + tick))
        } else {
            // A head that begins in the meantime has its own, mostly shorter, limit.
            let look = |left: Duration| Health::Fine(left.min(header_timeout) + tick);
            left(since, keep_alive).map_or(Health::Idle, look)
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let now = now_ms();
        self.0.idle_since.store(now, Relaxed);
        if self.0.head_since.load(Relaxed) != 0 {
            // Half a head has come in the meantime: its time begins now.
            self.0.head_since.store(now, Relaxed);
        }
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

/// A visitor's connection, read along by a [`Scanner`].
pub(super) struct Guarded {
    /// Gone only at the end: [`Guarded::into_inner`] takes it.
    io: Option<Visitor>,
    scanner: Scanner,
    notes: Arc<Notes>,
    refused: bool,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(io) = self.io.as_ref().filter(|_| self.notes.cut.load(Relaxed)) {
            io.reset();
        }
    }
}

impl Guarded {
    /// Puts the guard in front.
    pub(super) fn new(io: Visitor, notes: Arc<Notes>) -> Self {
        Self { io: Some(io), scanner: Scanner::new(), notes, refused: false }
    }

    /// Takes it away: what follows is not HTTP.
    pub(super) fn into_inner(mut self) -> Visitor {
        self.io.take().expect("only this takes it, once")
    }

    fn io(&mut self) -> Pin<&mut Visitor> {
        Pin::new(self.io.as_mut().expect("only the end takes it"))
    }

    fn look_at(&mut self, bytes: &[u8]) -> io::Result<()> {
        let heads = self.scanner.heads();
        let began = self.scanner.in_head();
        if self.scanner.feed(bytes).is_ok() {
            match (began, self.scanner.in_head()) {
                (false, true) => self.notes.head_since.store(now_ms().max(1), Relaxed),
                (true, true) if self.scanner.heads() == heads => {}
                (_, true) => self.notes.head_since.store(now_ms().max(1), Relaxed),
                (_, false) => self.notes.head_since.store(0, Relaxed),
            }
            if self.scanner.is_opaque() {
                // Should hyper read on as HTTP, what it finds was not looked at and is not served.
                self.notes.refuse_from.store(self.scanner.heads() + 1, Relaxed);
            }
            return Ok(());
        }
        self.refused = true;
        self.notes.head_since.store(0, Relaxed);
        if self.scanner.heads() == heads && !(began || self.scanner.at_head()) {
            // In the body of a request that is under way: nothing may end it as if it were whole.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is malformed"));
        }
        // In a head, or in a body right behind its head: that request is refused, when hyper hands it out.
        let number =
            if self.scanner.at_head() { self.scanner.heads() + 1 } else { self.scanner.heads() };
        self.notes.refuse_from.store(number, Relaxed);
        Ok(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused {
            // What comes behind a refused message has no meaning: for hyper the visitor is silent.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = this.io().poll_read(cx, buf);
        if read.is_ready() {
            this.notes.body_since.store(0, Relaxed);
        } else if this.scanner.in_body() && this.notes.body_since.load(Relaxed) == 0 {
            // hyper asks again at every wakeup: only the first time counts.
            this.notes.body_since.store(now_ms(), Relaxed);
        }
        std::task::ready!(read)?;
        Poll::Ready(this.look_at(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().io().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().io().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        net::{TcpListener, TcpStream},
        sync::Semaphore,
    };

    use super::*;
    use crate::{config::sections, proxy::drain::Crowd};

    fn notes() -> Arc<Notes> {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Notes::new(permit, None, Crowd::default().enter())
    }

    #[test]
    fn half_a_head_has_its_time_from_the_end_of_the_request_before() {
        let notes = notes();
        let mut settings = Settings::new(&sections::Proxy::default());
        let in_hand = notes.begin().unwrap();
        let long_ago = now_ms();
        notes.head_since.store(long_ago, Relaxed);
        std::thread::sleep(Duration::from_millis(30));
        settings.header_timeout = Duration::from_millis(10);
        assert!(matches!(notes.health(&settings), Health::Fine(_)));
        drop(in_hand);
        assert!(notes.head_since.load(Relaxed) >= long_ago + 30);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(notes.health(&settings), Health::Slow);
    }

    #[tokio::test]
    async fn what_was_not_looked_at_is_not_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let notes = notes();
        let mut guarded = Guarded::new(Visitor::Plain(tcp), notes.clone());
        let plain = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        guarded.look_at(plain).unwrap();
        guarded.look_at(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n").unwrap();
        guarded.look_at(plain).unwrap();
        let begun: Vec<_> = (0..3).map(|_| notes.begin().is_some()).collect();
        assert_eq!(begun, [true, true, false]);
    }
}
