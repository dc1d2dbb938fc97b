use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

/// The root process: accounts, watchdog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Root {
    /// Account the hub runs as, where jovis is started by root.
    pub hub_user: String,
    /// Account the proxy runs as, where jovis is started by root.
    pub proxy_user: String,
    /// Accounts below this number can neither sign in nor run servers.
    pub min_uid: u32,
    /// Seconds without a sign of life after which hub or proxy is killed and started again.
    pub watchdog: Seconds,
    /// Most user servers root will keep.
    pub max_children: u32,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            hub_user: "jovis".to_owned(),
            proxy_user: "jovis-proxy".to_owned(),
            min_uid: 1000,
            watchdog: Seconds::new(20),
            max_children: 10_000,
        }
    }
}
