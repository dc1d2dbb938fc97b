//! What can be asked about routes, and what may come back.

use std::sync::Arc;

use actix::Message;
use thiserror::Error;

use crate::{
    domain::{Route, RouteSpec},
    ports::{RouteSink, SinkError},
    supervise::Unavailable,
};

/// Why a proxy may not have a change yet. It stays wanted; the proxies are made to agree later.
#[derive(Debug, Clone, Error)]
pub enum RouteError {
    /// Some live proxy did not take it within the deadline.
    #[error("the proxy did not take the route in time")]
    Late,
    /// The proxy does not tell its table.
    #[error(transparent)]
    Unread(#[from] SinkError),
    /// The actor did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Names a sink that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub u64);

/// Lead there. Answered when all live sinks do; with no sink present at once.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RouteError>")]
pub(crate) struct Set(pub(crate) Route);

/// Lead there no more. Answered like [`Set`].
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RouteError>")]
pub(crate) struct Remove(pub(crate) RouteSpec);

/// Read every sink's table anew and make it the wanted one. Answered like [`Set`].
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RouteError>")]
pub(crate) struct Check;

/// What does the newest sink have? With no sink present: what is wanted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Route>, RouteError>")]
pub(crate) struct List;

/// Keep this sink's table too. One of the same name is replaced.
#[derive(Message)]
#[rtype(result = "SinkId")]
pub(crate) struct AddSink(pub(crate) Arc<dyn RouteSink>);

/// It has gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct RemoveSink(pub(crate) SinkId);

/// Recovery is complete: tables may be called complete.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Recovered;
