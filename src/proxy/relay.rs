//! Bytes both ways, until one side ends. Buffers belong to the thread, not to the tunnel: an idle tunnel holds none.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One read takes at most this.
const BUFFER: usize = 64 * 1024;
/// Once one side has ended, the other may finish for so long.
const FAREWELL: Duration = Duration::from_secs(5);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// One direction.
struct Way {
    /// Read but not written yet, from `at`.
    rest: Vec<u8>,
    at: usize,
    ended: bool,
    closed: bool,
}

impl Way {
    fn new(first: Vec<u8>) -> Self {
        Self { rest: first, at: 0, ended: false, closed: false }
    }

    /// Carries what can be carried. Ready: the reader has ended, and the writer knows.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        on_bytes: &mut impl FnMut(),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut dirty = false;
        loop {
            while self.at < self.rest.len() {
                let written = ready!(Pin::new(&mut *writer).poll_write(cx, &self.rest[self.at..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.at += written;
                dirty = true;
            }
            if self.at > 0 {
                (self.rest, self.at) = (Vec::new(), 0);
            }
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.closed = true;
                continue;
            }
            match self.carry(cx, reader, writer, on_bytes) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => {
                    if dirty || self.at < self.rest.len() {
                        continue_flush(cx, writer)?;
                    }
                    return Poll::Pending;
                }
            }
            dirty = true;
        }
    }

    /// One read and one write.
    fn carry<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        on_bytes: &mut impl FnMut(),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(reader).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            on_bytes();
            let written = match Pin::new(writer).poll_write(cx, bytes) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            if written < bytes.len() {
                self.rest = bytes[written..].to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }
}

/// Pushes out what the writer holds (TLS does).
fn continue_flush<W: AsyncWrite + Unpin>(cx: &mut Context<'_>, writer: &mut W) -> io::Result<()> {
    match Pin::new(writer).poll_flush(cx) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
    }
}

/// Relays until both sides have ended, or one has and the other doesn't follow. `early`: what was read of each side
/// already. `on_bytes` is called for every piece from `a` to `b`, and never for what `b` says.
pub(super) async fn relay<A, B>(
    mut a: A,
    mut b: B,
    early: (Vec<u8>, Vec<u8>),
    mut on_bytes: impl FnMut(),
) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut out, mut back) = (Way::new(early.0), Way::new(early.1));
    if !out.rest.is_empty() {
        on_bytes();
    }
    let mut poll = |cx: &mut Context<'_>, all: bool| {
        let there = out.poll(cx, &mut a, &mut b, &mut on_bytes)?;
        let here = back.poll(cx, &mut b, &mut a, &mut || ())?;
        let done = if all {
            there.is_ready() && here.is_ready()
        } else {
            there.is_ready() || here.is_ready()
        };
        if done { Poll::Ready(Ok::<_, io::Error>(())) } else { Poll::Pending }
    };
    poll_fn(|cx| poll(cx, false)).await?;
    tokio::time::timeout(FAREWELL, poll_fn(|cx| poll(cx, true))).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_both_ways_and_the_end_too() {
        let (mut left, a) = duplex(100);
        let (b, mut right) = duplex(7);
        let mut pieces = 0;
        let relaying = relay(a, b, (b"early ".to_vec(), Vec::new()), || pieces += 1);
        let talking = async move {
            let sent = vec![b'x'; 10_000];
            let (mut got, mut back) = (vec![0; 10_006], [0; 4]);
            let (read, written) = tokio::join!(right.read_exact(&mut got), left.write_all(&sent));
            read.unwrap();
            written.unwrap();
            assert!(got.starts_with(b"early x"));
            right.write_all(b"pong").await.unwrap();
            left.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"pong");
            drop(right);
            assert_eq!(left.read(&mut back).await.unwrap(), 0);
            drop(left);
        };
        let (outcome, ()) = tokio::join!(relaying, talking);
        assert!(outcome.is_ok() || pieces > 0);
        assert!(pieces >= 2);
    }

    #[tokio::test]
    async fn only_what_the_first_side_says_is_counted() {
        for (first, second, early, expected) in
            [("", "printed", "", 0), ("", "", "typed", 1), ("typed", "printed", "", 1)]
        {
            let (mut left, a) = duplex(100);
            let (b, mut right) = duplex(100);
            left.write_all(first.as_bytes()).await.unwrap();
            right.write_all(second.as_bytes()).await.unwrap();
            drop((left.shutdown().await, right.shutdown().await));
            let mut pieces = 0;
            let early = (early.as_bytes().to_vec(), b"printed".to_vec());
            relay(a, b, early, || pieces += 1).await.unwrap();
            assert_eq!(pieces, expected, "{first} {second}");
        }
    }
}
