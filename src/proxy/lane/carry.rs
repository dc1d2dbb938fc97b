//! Bytes from one side to the other: a known number of them, by the kernel alone (`splice`) where there are many and
//! nobody has to look at them; or the rest of an answer whose end has to be found.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::proxy::{
    chunks::Chunks,
    stream::{Backend, Visitor},
};

/// One read takes at most this.
pub(super) const PIECE: usize = 64 * 1024;
/// From so many bytes on a pipe pays.
const MANY: u64 = 64 * 1024;
/// What a pipe holds, if the kernel grants it.
const PIPE: usize = 1024 * 1024;
/// Most pipes of a worker at once; each takes two descriptors.
const MOST_PIPES: usize = 32;

thread_local! {
    /// Where bytes are between a read and its write. Nothing is in it between two polls.
    pub(super) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
    static PIPES: RefCell<Pipes> = const { RefCell::new(Pipes { spare: Vec::new(), lent: 0 }) };
}

/// One side of a conversation.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket, if its bytes go over the wire as they are.
    fn plain(&self) -> Option<&TcpStream>;
}

impl Side for Visitor {
    fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(_) => None,
        }
    }
}

impl Side for Backend {
    fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Unix(_) | Self::Tls(_) | Self::Timed(_) => None,
        }
    }
}

/// Which side has failed, or ended too early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The one that is read.
    From,
    /// The one that is written to.
    To,
}

/// So many bytes, one way.
pub(super) struct Carry {
    /// Still to be read.
    left: u64,
    /// Read, not yet written, from `at`.
    rest: Vec<u8>,
    at: usize,
    pipe: Option<Pipe>,
}

impl Carry {
    /// These bytes first, then so many that have to be read.
    pub(super) fn new(first: Vec<u8>, left: u64) -> Self {
        Self { left, rest: first, at: 0, pipe: None }
    }

    /// Has everything been read?
    pub(super) fn is_read(&self) -> bool {
        self.left == 0
    }

    /// Is everything done?
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
            && self.at == self.rest.len()
            && self.pipe.as_ref().is_none_or(|pipe| pipe.holds == 0)
    }

    /// Is nothing there to be written, and more to be read?
    pub(super) fn waits_for_more(&self) -> bool {
        self.left > 0
            && self.at == self.rest.len()
            && self.pipe.as_ref().is_none_or(|pipe| pipe.holds == 0)
    }

    /// Carries on. `on_bytes` is called for every piece that was read.
    pub(super) fn poll<F: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        mut on_bytes: impl FnMut(),
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(write_rest(cx, &mut self.rest, &mut self.at, to))?;
            if let Some((pipe, to)) =
                self.pipe.as_mut().zip(to.plain()).filter(|(pipe, _)| pipe.holds > 0)
            {
                ready!(pipe.pour_out(cx, to)).map_err(|_| Broken::To)?;
                continue;
            }
            if self.left == 0 {
                self.pipe = None;
                // TLS may hold some of it.
                return Pin::new(to).poll_flush(cx).map_err(|_| Broken::To);
            }
            if self.left >= MANY
                && let (Some(from), Some(_)) = (from.plain(), to.plain())
            {
                if self.pipe.is_none() {
                    self.pipe = Pipe::take();
                }
                if let Some(pipe) = &mut self.pipe {
                    let read =
                        ready!(pipe.pour_in(cx, from, self.left)).map_err(|_| Broken::From)?;
                    if read == 0 {
                        return Poll::Ready(Err(Broken::From));
                    }
                    self.left -= read as u64;
                    on_bytes();
                    continue;
                }
            }
            let (left, rest) = (&mut self.left, &mut self.rest);
            ready!(SCRATCH.with_borrow_mut(|scratch| {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(scratch.len());
                let mut buf = ReadBuf::new(&mut scratch[..most]);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut buf)).map_err(|_| Broken::From)?;
                let bytes = buf.filled();
                if bytes.is_empty() {
                    return Poll::Ready(Err(Broken::From));
                }
                *left -= bytes.len() as u64;
                on_bytes();
                write_now(cx, bytes, rest, to)
            }))?;
            self.at = 0;
        }
    }
}

/// Writes what was kept.
fn write_rest<T: Side>(
    cx: &mut Context<'_>,
    rest: &mut Vec<u8>,
    at: &mut usize,
    to: &mut T,
) -> Poll<Result<(), Broken>> {
    while *at < rest.len() {
        let written =
            ready!(Pin::new(&mut *to).poll_write(cx, &rest[*at..])).map_err(|_| Broken::To)?;
        if written == 0 {
            return Poll::Ready(Err(Broken::To));
        }
        *at += written;
    }
    if *at > 0 {
        (*rest, *at) = (Vec::new(), 0);
    }
    Poll::Ready(Ok(()))
}

/// Writes what it can; keeps the rest.
fn write_now<T: Side>(
    cx: &mut Context<'_>,
    bytes: &[u8],
    rest: &mut Vec<u8>,
    to: &mut T,
) -> Poll<Result<(), Broken>> {
    let written = match Pin::new(to).poll_write(cx, bytes) {
        Poll::Ready(written) => written.map_err(|_| Broken::To)?,
        Poll::Pending => 0,
    };
    if written < bytes.len() {
        *rest = bytes[written..].to_vec();
    }
    Poll::Ready(Ok(()))
}

/// The rest of an answer that comes in chunks or ends with its connection; it leaves us in chunks of ours.
pub(super) struct Rechunked {
    /// Reads theirs; none: the end of the connection is the end.
    theirs: Option<Chunks>,
    rest: Vec<u8>,
    at: usize,
    ended: bool,
    /// Bytes came behind the end.
    pub(super) more: bool,
}

impl Rechunked {
    /// Chunked, or not; are its trailers wanted?
    pub(super) fn new(chunked: bool, trailers: bool) -> Self {
        let theirs = chunked.then(|| Chunks::new(trailers));
        Self { theirs, rest: Vec::new(), at: 0, ended: false, more: false }
    }

    /// What was read already; it is added to `out`.
    pub(super) fn begin(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        if !bytes.is_empty() {
            self.chunk(bytes, out)?;
        }
        Ok(())
    }

    /// These bytes were not written.
    pub(super) fn keep(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let Some(theirs) = &mut self.theirs else {
            add(out, bytes);
            return Ok(());
        };
        let behind = theirs.read(bytes, |data| add(out, data)).map_err(|_| Broken::From)?;
        if let Some(behind) = behind {
            (self.ended, self.more) = (true, !behind.is_empty());
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(theirs.trailers());
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Carries on to the end. `on_bytes` is called for every piece that was read.
    pub(super) fn poll<T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Backend,
        to: &mut T,
        mut on_bytes: impl FnMut(),
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(write_rest(cx, &mut self.rest, &mut self.at, to))?;
            if self.ended {
                return Pin::new(to).poll_flush(cx).map_err(|_| Broken::To);
            }
            // What came before is not held back while nothing comes.
            if let Poll::Ready(Err(_)) = Pin::new(&mut *to).poll_flush(cx) {
                return Poll::Ready(Err(Broken::To));
            }
            let out = ready!(SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut buf)).map_err(|_| Broken::From)?;
                let bytes = buf.filled();
                let mut out = Vec::with_capacity(bytes.len() + 64);
                if !bytes.is_empty() {
                    self.chunk(bytes, &mut out)?;
                } else if self.theirs.is_none() {
                    self.ended = true;
                    out.extend_from_slice(b"0\r\n\r\n");
                } else {
                    return Poll::Ready(Err(Broken::From));
                }
                Poll::Ready(Ok(out))
            }))?;
            (self.rest, self.at) = (out, 0);
            on_bytes();
        }
    }
}

/// Adds a chunk.
fn add(out: &mut Vec<u8>, data: &[u8]) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{:x}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// A pipe between two sockets; back to the others when it is empty.
struct Pipe {
    ends: Option<(OwnedFd, OwnedFd)>,
    holds: usize,
}

struct Pipes {
    spare: Vec<(OwnedFd, OwnedFd)>,
    lent: usize,
}

impl Pipe {
    fn take() -> Option<Self> {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.lent >= MOST_PIPES {
                return None;
            }
            let ends = pipes.spare.pop().or_else(|| {
                let ends = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
                // Who has many pipes already gets a small one.
                let _ = fcntl(&ends.1, FcntlArg::F_SETPIPE_SZ(i32::try_from(PIPE).ok()?));
                Some(ends)
            })?;
            pipes.lent += 1;
            Some(Self { ends: Some(ends), holds: 0 })
        })
    }

    fn pour_in(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        left: u64,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIPE);
        let Some((_, entry)) = &self.ends else { return Poll::Ready(Ok(0)) };
        let pour = || splice(from, None, entry, None, most, flags()).map_err(io::Error::from);
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, pour) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                poured => {
                    let poured = poured?;
                    self.holds += poured;
                    return Poll::Ready(Ok(poured));
                }
            }
        }
    }

    fn pour_out(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while self.holds > 0 {
            let Some((exit, _)) = &self.ends else { return Poll::Ready(Ok(())) };
            let holds = self.holds;
            let pour = || splice(exit, None, to, None, holds, flags()).map_err(io::Error::from);
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, pour) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                poured => self.holds -= poured?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // When the thread ends its pool may be gone already.
        let _ = PIPES.try_with(|pipes| {
            let mut pipes = pipes.borrow_mut();
            pipes.lent -= 1;
            if let Some(ends) = self.ends.take().filter(|_| self.holds == 0) {
                pipes.spare.push(ends);
            }
        });
    }
}
