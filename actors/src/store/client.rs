//! The door to the store.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Image, Write};
use crate::ports::StoreError;

/// How many changes may wait; more are refused with [`ChangeError::Busy`].
pub const QUEUE: usize = 1_000;

/// Why a change was not made.
#[derive(Debug, Error)]
pub enum ChangeError<E: fmt::Debug + fmt::Display> {
    /// The decision itself said no; nothing was written.
    #[error("{0}")]
    Refused(E),
    /// Too many changes wait already.
    #[error("the store is busy")]
    Busy,
    /// The store is restarting, or did not answer in time. The change may or may not have been made.
    #[error("the store did not answer")]
    Unavailable,
    /// The disk would not take it; nothing was written.
    #[error(transparent)]
    Store(StoreError),
}

/// A decision without its typed answer.
pub(crate) type Decision = Box<dyn FnOnce(&Image) -> Vec<Write> + Send>;

/// What a decision yields before its answer can be given: its writes, kept apart from the typed answer.
pub(crate) struct Pending {
    /// Runs the decision on the image; an empty list of writes is a decision too (a refusal, or nothing to do).
    pub(crate) decide: Decision,
    /// Told once durable, or why not.
    pub(crate) done: oneshot::Sender<Result<(), StoreError>>,
}

/// What all actors and the web hold.
#[derive(Clone)]
pub struct Client {
    pub(crate) image: Arc<ArcSwap<Image>>,
    pub(crate) published: watch::Receiver<u64>,
    pub(crate) queue: mpsc::Sender<Pending>,
    pub(crate) patience: std::time::Duration,
}

impl Client {
    /// Everything, at this moment. Never waits.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// How many changes wait for the writer.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Changes whenever a new image is published (its value is the sequence number).
    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.clone()
    }

    /// Decides on the newest state and makes the outcome durable. When it returns `Ok`, the writes survive anything.
    ///
    /// The decision runs on the store's thread: it must be quick and must not block. It is made also if the caller
    /// stops waiting. What it decides on may hold changes of others that are not durable yet; its answer is given only
    /// once they are.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Image) -> Result<(Vec<Write>, T), E> + Send + 'static,
    ) -> Result<T, ChangeError<E>>
    where
        T: Send + 'static,
        E: fmt::Debug + fmt::Display + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let (done, durable) = oneshot::channel();
        let decide = Box::new(move |image: &Image| match decide(image) {
            Ok((writes, value)) => {
                let _ = answer.send(Ok(value));
                writes
            }
            Err(refusal) => {
                let _ = answer.send(Err(refusal));
                Vec::new()
            }
        });
        self.queue.try_send(Pending { decide, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChangeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ChangeError::Unavailable,
        })?;
        match tokio::time::timeout(self.patience, durable).await {
            Ok(Ok(Ok(()))) => {
                outcome.await.map_err(|_| ChangeError::Unavailable)?.map_err(ChangeError::Refused)
            }
            Ok(Ok(Err(error))) => Err(ChangeError::Store(error)),
            Ok(Err(_)) | Err(_) => Err(ChangeError::Unavailable),
        }
    }
}
