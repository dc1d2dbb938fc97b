//! Where writes become durable.

use std::sync::Arc;

use thiserror::Error;

use crate::store::{Image, Write};

/// Why the store could not do it. The caller can do nothing but say so.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// No room: changes are refused until there is some.
    #[error("the disk that holds the store is full")]
    Full,
    /// The operating system's word.
    #[error("the store could not {doing}: {error}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        error: String,
    },
    /// The operating system's word, and it would not take back what may have been written: whether the group was made is
    /// known only when it loads again.
    #[error("the store could not {doing}: {error}; whether the change was made is not known yet")]
    Uncertain {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        error: String,
    },
    /// One change cannot be kept; others can.
    #[error("this cannot be stored: {0}")]
    Unfit(String),
    /// What is on disk cannot be trusted; the text says how to restore.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// What opening found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// All records.
    pub image: Image,
    /// Number of the last write that is in the image.
    pub sequence: u64,
    /// What had to be repaired, for the log; empty if nothing.
    pub repairs: Vec<String>,
}

/// A durable log of writes. Used by one thread; blocks.
pub trait Journal: Send {
    /// Reads everything. Called at every start of the store actor, also after a failed append: it then begins a new
    /// segment that continues from what was acknowledged.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Could this be kept and read again? Asked for each write before its group is appended, so that one change that is
    /// too large or too deep is refused by itself and takes no other with it. The error is for its caller.
    fn fits(&self, _write: &Write) -> Result<(), String> {
        Ok(())
    }

    /// Makes one group of writes durable: when it returns `Ok` they survive `kill -9` and power loss, all of them;
    /// when it returns an error none of them is believed, except [`StoreError::Uncertain`]: all or none of them. Never called again after an error without [`Journal::load`].
    /// `first` is the sequence number of the first write of the group.
    fn append(&mut self, first: u64, group: &[Write]) -> Result<(), StoreError>;

    /// Called about once a second and after quiet groups: the place for lazy flushing, snapshots, freeing space.
    fn idle(&mut self, image: &Arc<Image>, sequence: u64) -> Result<(), StoreError>;

    /// Called after each turn, also while nothing can be appended: the place to begin what needs the image of this very
    /// moment, such as a backup. Must be quick.
    fn present(&mut self, _image: &Arc<Image>, _sequence: u64) {}
}
