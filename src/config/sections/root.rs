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
    /// Account that services run as whose entry names none, where jovis is started by root.
    pub service_user: String,
    /// Accounts below this number can neither sign in nor run servers.
    pub min_uid: u32,
    /// Seconds without a sign of life after which hub or proxy is killed and started again.
    pub watchdog: Seconds,
    /// Most user servers root will keep.
    pub max_children: u32,
    /// Most memory in bytes that the hub, and as much that the proxy, may ask for; one that wants more ends and is started
    /// again, before the whole machine suffers. 0: half of the machine's, at least a gibibyte. For roles started from
    /// then on.
    pub role_memory: u64,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            hub_user: "jovis".to_owned(),
            proxy_user: "jovis-proxy".to_owned(),
            service_user: "jovis-service".to_owned(),
            min_uid: 1000,
            watchdog: Seconds::new(20),
            max_children: 10_000,
            role_memory: 0,
        }
    }
}
