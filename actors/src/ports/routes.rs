//! Where routes take effect: our proxy, or another's.

use std::time::Duration;

use thiserror::Error;

use super::Boxed;
use crate::domain::{Route, RouteSpec};

/// A sink that could not be reached or would not.
#[derive(Debug, Clone, Error)]
#[error("the proxy could not {doing}: {error}")]
pub struct SinkError {
    /// What was being done.
    pub doing: &'static str,
    /// What was said.
    pub error: String,
}

/// Traffic seen on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// Which route.
    pub spec: RouteSpec,
    /// How long ago the last traffic was.
    pub ago: Duration,
}

/// A route table somewhere else. Setting what is there already and removing what is gone are no errors.
pub trait RouteSink: Send + Sync {
    /// For the log.
    fn name(&self) -> &str;
    /// All routes it has now.
    fn list(&self) -> Boxed<'_, Result<Vec<Route>, SinkError>>;
    /// Adds or replaces these.
    fn set(&self, routes: Vec<Route>) -> Boxed<'_, Result<(), SinkError>>;
    /// Takes these out.
    fn remove(&self, specs: Vec<RouteSpec>) -> Boxed<'_, Result<(), SinkError>>;
    /// Tells it that its table is complete now: it may begin to accept.
    fn synced(&self) -> Boxed<'_, Result<(), SinkError>>;
}
