//! Descriptors: pairs of packet sockets, passing descriptors along, sealed memory files.

#![expect(unsafe_code, reason = "descriptors that arrive with a datagram are owned from here on")]

use std::{
    fs::File,
    io::{self, IoSlice, Read, Seek, SeekFrom, Write},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{
            AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
        },
    },
};

/// Most descriptors that travel with one datagram.
pub const MOST_FDS: usize = 64;

/// A connected pair of `SOCK_SEQPACKET` sockets: one datagram is one message, the other's death is end-of-file.
/// Non-blocking, close-on-exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends one datagram with descriptors. `WouldBlock` when the other side does not read.
pub fn send(to: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    Ok(())
}

/// Receives one datagram of at most `limit` bytes. An empty one is the end of the link. A longer one is an error.
pub fn recv(from: BorrowedFd<'_>, limit: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; limit + 1];
    let mut space = cmsg_space!([RawFd; MOST_FDS]);
    let mut slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a header without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut slice, 1);
    (message.msg_control, message.msg_controllen) = (space.as_mut_ptr().cast(), space.capacity());
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the header names our two buffers and their sizes; both outlive the call.
    let size = Errno::result(unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut message, flags) })?;
    let size = size.unsigned_abs();
    // Whatever arrived is ours, also if the rest did not fit: dropped below, it is closed.
    let fds = received(&message);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 || size > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a datagram is longer than allowed",
        ));
    }
    bytes.truncate(size);
    Ok((bytes, fds))
}

/// The descriptors beside a message. (nix tells none if some were cut off: those that came would stay open.)
fn received(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the buffer and its length in; the macros stay within that.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: not null, so it lies in the buffer.
    while let Some(header) = unsafe { control.as_ref() } {
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: takes a number only.
            let size = header.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: as above; the data follows its header.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            // SAFETY: so many numbers are there; the kernel has just made them for us, and nobody else knows them.
            fds.extend(
                (0..size / size_of::<RawFd>())
                    .map(|at| unsafe { OwnedFd::from_raw_fd(data.add(at).read_unaligned()) }),
            );
        }
        // SAFETY: as for the first.
        control = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    fds
}

/// A sealed file in memory with these bytes: what is too large for a datagram travels as its descriptor.
pub fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create("jovis", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads a file in memory to its end, at most `limit` bytes.
pub fn read_sealed(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a memory file is longer than allowed",
        ));
    }
    Ok(bytes)
}

/// Takes over a descriptor that was left open for us across exec under a number both sides know.
///
/// Errors where it is not open. Call it once per number, before anything else opens files.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asks for the flags; an unused number yields EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the contract above nobody else has taken it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_cloexec(fd.as_fd(), true)?;
    Ok(fd)
}

/// Shall it be closed at exec?
pub fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let flag = if on { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flag))?;
    Ok(())
}

/// Shall it block?
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// A pipe, close-on-exec at both ends: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Is this error "not now"?
pub fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(Errno::EINTR as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_open_of_a_message_that_is_cut() {
        let (a, b) = pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        set_nonblocking(reader.as_fd(), true).unwrap();
        // One more than fits.
        send(a.as_fd(), b"x", &[writer.as_fd(); MOST_FDS + 1]).unwrap();
        let cut = recv(b.as_fd(), 10).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::InvalidData);
        drop(writer);
        // End-of-file, not "not now": nobody holds the writing end. (A child that another test forks may, until its exec.)
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while nix::unistd::read(&reader, &mut [0]) != Ok(0) {
            assert!(std::time::Instant::now() < until, "it is still open");
            std::thread::yield_now();
        }
        send(a.as_fd(), b"y", &[reader.as_fd(); MOST_FDS]).unwrap();
        assert_eq!(recv(b.as_fd(), 10).unwrap().1.len(), MOST_FDS);
        send(a.as_fd(), b"long", &[reader.as_fd()]).unwrap();
        assert!(recv(b.as_fd(), 3).is_err());
        assert!(would_block(&recv(b.as_fd(), 3).unwrap_err()));
    }
}
