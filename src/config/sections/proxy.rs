use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

/// The proxy that carries every byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Sockets bound to each public address (SO_REUSEPORT), and so the most workers. 0: one per core, at most 16.
    pub sockets: u16,
    /// Seconds a request for the hub waits while the hub restarts.
    pub hub_patience: Seconds,
    /// Seconds open connections get to end when the proxy is told to go.
    pub drain: Seconds,
    /// Seconds open connections, WebSockets above all, may stay with a proxy that another has taken over from (after an
    /// upgrade). It ends as soon as they have.
    pub upgrade_drain: Seconds,
    /// Seconds within which a request's head must be complete.
    pub header_timeout: Seconds,
    /// Seconds a connection may stay open between requests.
    pub keep_alive_timeout: Seconds,
    /// Seconds to connect to a user server.
    pub connect_timeout: Seconds,
    /// Every so many requests one gets a line in the log (event `visitor answered`: who, what, how it went; never what stands
    /// behind a `?`). 1: all of them. 0: none.
    pub access_log_every: u32,
    /// Peers whose `X-Forwarded-*` headers are believed, besides loopback: addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<String>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            sockets: 0,
            hub_patience: Seconds::new(10),
            drain: Seconds::new(10),
            upgrade_drain: Seconds::new(24 * 3600),
            header_timeout: Seconds::new(15),
            keep_alive_timeout: Seconds::new(60),
            connect_timeout: Seconds::new(5),
            access_log_every: 0,
            trusted_proxies: Vec::new(),
        }
    }
}
