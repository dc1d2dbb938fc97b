//! The door to the route tables.

use std::{sync::Arc, time::Duration};

use super::{
    Actor,
    messages::{AddSink, Check, List, Recovered, Remove, RemoveSink, RouteError, Set, SinkId},
};
use crate::{
    domain::{Route, RouteSpec},
    ports::RouteSink,
    supervise::{Name, Unavailable},
};

/// What spawner actors and the proxies' links hold. What does no harm twice is asked again, once, when the actor died
/// with it in hand: a start must not fail because of that.
#[derive(Clone)]
pub struct Client {
    pub(crate) name: Name<Actor>,
    patience: Duration,
}

impl Client {
    /// The actor of this name, which is given `patience` to answer in all (longer than its own deadline for sinks).
    pub fn new(name: Name<Actor>, patience: Duration) -> Self {
        Self { name, patience }
    }

    /// Leads there; returns when all live proxies do. Without a proxy: at once, it will get the route when it comes.
    pub async fn set(&self, route: Route) -> Result<(), RouteError> {
        match self.name.ask(Set(route.clone()), self.patience).await {
            Err(Unavailable::Died(_)) => self.name.ask(Set(route), self.patience).await?,
            answer => answer?,
        }
    }

    /// Leads there no more; returns when no live proxy does.
    pub async fn remove(&self, spec: RouteSpec) -> Result<(), RouteError> {
        match self.name.ask(Remove(spec.clone()), self.patience).await {
            Err(Unavailable::Died(_)) => self.name.ask(Remove(spec), self.patience).await?,
            answer => answer?,
        }
    }

    /// Has every proxy's table read anew and made the wanted one; returns when all live ones agree.
    pub async fn check(&self) -> Result<(), RouteError> {
        match self.name.ask(Check, self.patience).await {
            Err(Unavailable::Died(_)) => self.name.ask(Check, self.patience).await?,
            answer => answer?,
        }
    }

    /// What the newest proxy has; without one what it would get.
    pub async fn list(&self) -> Result<Vec<Route>, RouteError> {
        match self.name.ask(List, self.patience).await {
            Err(Unavailable::Died(_)) => self.name.ask(List, self.patience).await?,
            answer => answer?,
        }
    }

    /// A proxy has come: its table is made the wanted one, then it is told so (once recovery is complete). A sink of
    /// the same name is replaced.
    pub async fn add_sink(&self, sink: Arc<dyn RouteSink>) -> Result<SinkId, Unavailable> {
        self.name.ask(AddSink(sink), self.patience).await
    }

    /// A proxy has gone. Without this it would be tried for ever.
    pub async fn remove_sink(&self, sink: SinkId) -> Result<(), Unavailable> {
        self.name.ask(RemoveSink(sink), self.patience).await
    }

    /// Recovery is complete.
    pub async fn recovered(&self) -> Result<(), Unavailable> {
        self.name.ask(Recovered, self.patience).await
    }
}
