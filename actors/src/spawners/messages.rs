//! What can be asked about servers, and what may come back.

use std::{sync::Arc, time::Duration};

use actix::Message;
use thiserror::Error;

use crate::{
    domain::{Cause, Moment, ServerKey, Stopper},
    supervise::{Quarantined, Unavailable},
};

/// With what a server is to be started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// What the user chose; none: as last time.
    pub options: Option<serde_json::Value>,
    /// A new display name for a named server.
    pub display_name: Option<String>,
    /// By somebody who may also start servers while there is maintenance.
    pub in_maintenance: bool,
    /// Where there is no room it may wait for that: somebody looks on. Otherwise it is refused.
    pub waits: bool,
}

/// For whom a server is to be stopped, and what is to become of its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopAsk {
    /// Who wants it; none: its owner.
    pub by: Option<Stopper>,
    /// Its record is to go, too, once it has ended.
    pub remove: bool,
}

impl StopAsk {
    /// Somebody else than its owner wants it stopped.
    pub fn by(who: Stopper) -> Self {
        Self { by: Some(who), remove: false }
    }
}

/// A start was taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It was not running; it is being started now (and that is recorded).
    Started,
    /// It was being started already.
    Already,
    /// There is no room now; it waits for that (and that is recorded).
    Queued,
}

/// Why a server is not started. All of it is known at once, before anything is done.
#[derive(Debug, Clone, Error)]
pub enum StartRefused {
    /// It runs.
    #[error("the server is already running")]
    Running,
    /// It is being stopped.
    #[error("the server is being stopped")]
    Stopping,
    /// No such user.
    #[error("no such user")]
    NoUser,
    /// Too many are being started.
    #[error("{limit} servers are starting already; try again in {} s", retry_after.as_secs())]
    TooManyStarting {
        /// The limit.
        limit: u32,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many are running.
    #[error("{limit} servers are running already; try again in a few minutes")]
    TooManyActive {
        /// The limit.
        limit: u32,
    },
    /// There is maintenance.
    #[error("no server is started during maintenance{}{message}", if message.is_empty() { "" } else { ": " })]
    Maintenance {
        /// What whoever began it says.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// So many wait for room already.
    #[error("{limit} servers are waiting to be started already; try again in {} s", retry_after.as_secs())]
    QueueFull {
        /// The limit.
        limit: u32,
        /// When to try again.
        retry_after: Duration,
    },
    /// So many of this user's do.
    #[error("{waiting} of this user's servers are waiting to be started already")]
    QueuedEnough {
        /// So many.
        waiting: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The intention could not be recorded, so nothing was done.
    #[error("the start could not be recorded: {0}")]
    NotRecorded(String),
    /// Actors died of this ask too often.
    #[error(transparent)]
    Aside(#[from] Quarantined),
    /// An actor did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a server is not stopped.
#[derive(Debug, Clone, Error)]
pub enum StopRefused {
    /// It does not run.
    #[error("the server is not running")]
    NotRunning,
    /// The intention could not be recorded, so nothing was done.
    #[error("the stop could not be recorded: {0}")]
    NotRecorded(String),
    /// Actors died of this ask too often.
    #[error(transparent)]
    Aside(#[from] Quarantined),
    /// An actor did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// One step of a start, for the person who waits. (`spec/rest-api.md` 4.7.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 0 to 100.
    pub progress: u8,
    /// One sentence.
    pub message: String,
}

/// All steps of one start so far. Watched by progress pages; replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// In order.
    pub events: Vec<Event>,
    /// How it ended, once it has.
    pub outcome: Option<Result<(), Trouble>>,
}

/// Why a start failed or a server ended, with its last words.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// What happened.
    pub cause: Cause,
    /// When.
    pub at: Moment,
    /// The last lines of the server's own output; may be empty.
    pub tail: Arc<str>,
}

/// Start this server. Answered when the intention is recorded.
#[derive(Debug, Message)]
#[rtype(result = "Result<Begun, StartRefused>")]
pub(crate) struct Start {
    /// Which.
    pub(crate) key: ServerKey,
    /// With what.
    pub(crate) ask: Ask,
}

/// Stop this server. Answered when the intention is recorded.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StopRefused>")]
pub(crate) struct Stop {
    /// Which.
    pub(crate) key: ServerKey,
    /// For whom, and for good?
    pub(crate) ask: StopAsk,
}
