//! A link between processes for the roles that have a runtime (hub, proxy): [`crate::ipc::frame`] that waits.
//! Root, which has none, polls by itself.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{Interest, unix::AsyncFd};

use crate::ipc::frame::{self, FrameError};

/// Descriptors that make room for what comes with a message: without room it is cut off, and the link with it.
const KEPT: usize = 2;

/// One end of a link. Must be made inside a runtime. Sending and receiving may go on at the same time.
#[derive(Debug)]
pub struct Channel {
    fd: AsyncFd<OwnedFd>,
    kept: Mutex<Vec<OwnedFd>>,
}

impl Channel {
    /// From a descriptor made by [`crate::os::fd::pair`] (non-blocking).
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd keeps what that asks for: it stays open and the same"
    )]
    pub fn new(fd: OwnedFd) -> Result<Self, FrameError> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = AsyncFd::with_interest(fd, interest).map_err(FrameError::Os)?;
        let this = Self { fd, kept: Mutex::default() };
        this.keep();
        Ok(this)
    }

    /// Keeps as many as there are to be, or as can be had.
    fn keep(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() < KEPT
            && let Ok(copy) = self.fd.get_ref().try_clone()
        {
            kept.push(copy);
        }
    }

    fn make_room(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sends; waits while the other side has no room. The caller sets the deadline.
    pub async fn send(
        &self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), FrameError> {
        loop {
            let mut ready = self.fd.writable().await.map_err(FrameError::Os)?;
            match frame::send(self.fd.get_ref().as_fd(), message, fds) {
                Err(FrameError::WouldBlock) => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }

    /// Receives the next message. Dropping the future loses nothing.
    pub async fn recv<M: DeserializeOwned>(&self) -> Result<(M, Vec<OwnedFd>), FrameError> {
        loop {
            let mut ready = self.fd.readable().await.map_err(FrameError::Os)?;
            self.make_room();
            let received = frame::recv(self.fd.get_ref().as_fd());
            self.keep();
            match received {
                Err(FrameError::WouldBlock) => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }
}
