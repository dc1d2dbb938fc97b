//! The envelope of every message between processes: JSON in one datagram.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::os::fd;

/// Longest datagram, in bytes. What can grow travels as a sealed memory file ([`fd::sealed`]).
pub const LIMIT: usize = 32 * 1024;

/// Longest content of a memory file that we read, in bytes.
pub const SEALED_LIMIT: u64 = 64 << 20;

/// Why a message did not travel.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The other side is gone.
    #[error("the link has ended")]
    Closed,
    /// Nothing there now, or no room now.
    #[error("not now")]
    WouldBlock,
    /// The operating system's word.
    #[error("the link failed")]
    Os(#[source] io::Error),
    /// It would not fit into a datagram.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Not a message of ours: the link must be ended.
    #[error("not a message of ours")]
    Malformed(#[source] serde_json::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if fd::would_block(&error) => Self::WouldBlock,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected => Self::Closed,
            _ => Self::Os(error),
        }
    }
}

/// Sends a message with descriptors beside it.
pub fn send(
    to: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let bytes = serde_json::to_vec(message).map_err(FrameError::Malformed)?;
    if bytes.len() > LIMIT {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(fd::send(to, &bytes, fds)?)
}

/// Receives a message with the descriptors beside it.
pub fn recv<M: DeserializeOwned>(from: BorrowedFd<'_>) -> Result<(M, Vec<OwnedFd>), FrameError> {
    let (bytes, fds) = fd::recv(from, LIMIT)?;
    if bytes.is_empty() {
        return Err(FrameError::Closed);
    }
    let message = serde_json::from_slice(&bytes).map_err(FrameError::Malformed)?;
    Ok((message, fds))
}

/// A value as JSON in a sealed memory file.
pub fn seal(value: &impl Serialize) -> Result<OwnedFd, FrameError> {
    let bytes = serde_json::to_vec(value).map_err(FrameError::Malformed)?;
    Ok(fd::sealed(&bytes)?)
}

/// A value from JSON in a sealed memory file.
pub fn unseal<M: DeserializeOwned>(file: OwnedFd) -> Result<M, FrameError> {
    let bytes = fd::read_sealed(file, SEALED_LIMIT)?;
    serde_json::from_slice(&bytes).map_err(FrameError::Malformed)
}

/// Borrows a list of owned descriptors, for [`send`].
pub fn borrow(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::{Envelope, proxy::HubToProxy, root::HubSays};

    #[test]
    fn a_message_travels_with_its_descriptors() {
        let (a, b) = fd::pair().unwrap();
        let file = seal(&vec![1, 2, 3]).unwrap();
        let sent = Envelope { id: Some(7), message: HubSays::Children };
        send(a.as_fd(), &sent, &[file.as_fd()]).unwrap();
        let (got, fds): (Envelope<HubSays>, _) = recv(b.as_fd()).unwrap();
        assert_eq!(got, sent);
        assert_eq!(unseal::<Vec<u32>>(fds.into_iter().next().unwrap()).unwrap(), [1, 2, 3]);
        assert!(matches!(recv::<Envelope<HubSays>>(b.as_fd()), Err(FrameError::WouldBlock)));
        drop(a);
        assert!(matches!(recv::<Envelope<HubSays>>(b.as_fd()), Err(FrameError::Closed)));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let (a, b) = fd::pair().unwrap();
        fd::send(a.as_fd(), b"{\"m\":\"Reboot\"}", &[]).unwrap();
        assert!(matches!(recv::<Envelope<HubSays>>(b.as_fd()), Err(FrameError::Malformed(_))));
        fd::send(a.as_fd(), &vec![b' '; LIMIT + 1], &[]).unwrap();
        assert!(matches!(recv::<Envelope<HubToProxy>>(b.as_fd()), Err(FrameError::Os(_))));
        let long = HubSays::Pam { user: "x".repeat(LIMIT), rhost: None };
        assert!(matches!(send(a.as_fd(), &long, &[]), Err(FrameError::TooLong(_))));
    }
}
