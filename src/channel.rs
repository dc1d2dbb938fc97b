//! A link between processes for the roles that have a runtime (hub, proxy): [`crate::ipc::frame`] that waits.
//! Root, which has none, polls by itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{Interest, unix::AsyncFd};

use crate::ipc::frame::{self, FrameError};

/// One end of a link. Must be made inside a runtime. Sending and receiving may go on at the same time.
#[derive(Debug)]
pub struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    /// From a descriptor made by [`crate::os::fd::pair`] (non-blocking).
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd keeps what that asks for: it stays open and the same"
    )]
    pub fn new(fd: OwnedFd) -> Result<Self, FrameError> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        AsyncFd::with_interest(fd, interest).map(Self).map_err(FrameError::Os)
    }

    /// Sends; waits while the other side has no room. The caller sets the deadline.
    pub async fn send(
        &self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), FrameError> {
        loop {
            let mut ready = self.0.writable().await.map_err(FrameError::Os)?;
            match frame::send(self.0.get_ref().as_fd(), message, fds) {
                Err(FrameError::WouldBlock) => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }

    /// Receives the next message. Dropping the future loses nothing.
    pub async fn recv<M: DeserializeOwned>(&self) -> Result<(M, Vec<OwnedFd>), FrameError> {
        loop {
            let mut ready = self.0.readable().await.map_err(FrameError::Os)?;
            match frame::recv(self.0.get_ref().as_fd()) {
                Err(FrameError::WouldBlock) => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }
}
