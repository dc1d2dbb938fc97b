//! `SOCK_SEQPACKET` sockets with a path: one datagram is one message, whoever else sends into the same socket.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Listens at this path, which must be free. Non-blocking, close-on-exec; what may connect the file's mode says, by the umask at first.
pub fn listen(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Connects to who listens at this path. Close-on-exec; blocking, but for no longer than `patience`, also when read.
pub fn connect(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// The process that listens at the other end, as it was when it began to.
pub fn listening_process(link: BorrowedFd<'_>) -> io::Result<i32> {
    Ok(getsockopt(&link, sockopt::PeerCredentials)?.pid())
}

/// The next one who has connected, non-blocking and close-on-exec, and its account at that time.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, u32)> {
    let (socket, _) = SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok((socket.into(), peer.uid()))
}
