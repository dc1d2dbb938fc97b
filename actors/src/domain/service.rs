//! Services: programs beside the hub, known by name.

use serde::{Deserialize, Serialize};

use super::{Scope, ServiceName};

/// A service as it is recorded. Those of the configuration are recorded too, at each start and reload, so that their
/// tokens, clients and models are like everybody's; what runs them stands in the configuration alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Has it the role `admin`?
    pub admin: bool,
    /// Where it listens; none: it has no page of its own.
    pub url: Option<String>,
    /// Is it offered in menus?
    pub display: bool,
    /// Whatever its operator says of it.
    pub info: serde_json::Map<String, serde_json::Value>,
    /// Are visitors let in without being asked?
    pub oauth_no_confirm: bool,
    /// What visitors' tokens may carry besides identity and access.
    pub oauth_client_allowed_scopes: Vec<Scope>,
    /// The program the hub runs, with its arguments; empty: somebody else runs it.
    pub command: Vec<String>,
    /// Does it stand in the configuration (and so not go by a request)?
    pub configured: bool,
}
