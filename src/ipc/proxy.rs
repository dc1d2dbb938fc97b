//! Hub ↔ proxy: the route table and its traffic.

use jovis_actors::domain::{Route, RouteSpec};
use serde::{Deserialize, Serialize};

/// Hub to proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HubToProxy {
    /// First of all.
    Hello(super::Hello),
    /// Add or replace these (at most 100; more come in several). Answer: [`ProxyToHub::Done`].
    Set(Vec<Route>),
    /// Take these out. Answer: [`ProxyToHub::Done`].
    Remove(Vec<RouteSpec>),
    /// What is in the table? Answer: [`ProxyToHub::Routes`].
    List,
    /// The table is complete: accept. Answer: [`ProxyToHub::Done`].
    Synced,
}

/// Proxy to hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProxyToHub {
    /// First of all.
    Hello(super::Hello),
    /// Answer: a memfd with a JSON list of [`Route`] comes with it.
    Routes,
    /// Answer: done.
    Done,
    /// Event: what the proxy has counted; a memfd with a JSON string in Prometheus's text format comes with it.
    Figures,
    /// Event: traffic since the last one, at most 200 routes each.
    Activity(Vec<Seen>),
}

/// Traffic on a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which.
    pub spec: RouteSpec,
    /// Milliseconds ago.
    pub ago_ms: u64,
}
