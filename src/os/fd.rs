//! Descriptors: pairs of packet sockets, passing descriptors along, sealed memory files.

#![expect(unsafe_code, reason = "descriptors that arrive with a datagram are owned from here on")]

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
            recvmsg, sendmsg, socketpair,
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
    let (size, fds, cut) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(from.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for us; nobody else knows their numbers.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        (message.bytes, fds, message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC))
    };
    if cut || size > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a datagram is longer than allowed",
        ));
    }
    bytes.truncate(size);
    Ok((bytes, fds))
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
