//! What the registry of all spawner actors asks one of them. Everybody else asks [`crate::spawners::Client`].

use actix::Message;
use thiserror::Error;

use super::machine;
use crate::{
    domain::{Moment, OrderId, ServerName},
    spawners::{Ask, StopAsk},
    supervise::Quarantined,
};

/// Why nothing was begun.
#[derive(Debug, Clone, Error)]
pub enum NotBegun {
    /// The machine says no.
    #[error(transparent)]
    Refused(#[from] machine::Refused),
    /// The intention could not be recorded.
    #[error("not recorded: {0}")]
    NotRecorded(String),
    /// The user is gone.
    #[error("no such user")]
    NoUser,
    /// Too many asks for one server wait already.
    #[error("busy")]
    Busy,
    /// The actor ended with the ask in hand; it may or may not have been begun.
    #[error("it failed while it was asked")]
    Died,
    /// This actor died of such an ask too often.
    #[error(transparent)]
    Aside(Quarantined),
}

/// Start this server. Answered when the intention is recorded.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), NotBegun>")]
pub struct Start {
    /// Which.
    pub name: ServerName,
    /// With what.
    pub ask: Ask,
    /// Not now: it is to wait for room, from this moment on.
    pub queue: Option<Moment>,
}

/// Stop this server. Answered when the intention is recorded.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), NotBegun>")]
pub struct Stop {
    /// Which.
    pub name: ServerName,
    /// For whom, and for good?
    pub ask: StopAsk,
}

/// The spawner's inventory does not have this order: see what became of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Check {
    /// Which server.
    pub name: ServerName,
    /// Which act.
    pub order: OrderId,
}

/// End if nothing goes on. True: it ends.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct Rest;
