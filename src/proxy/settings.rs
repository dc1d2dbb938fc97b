//! What the proxy goes by: its slice, understood. Replaced as a whole on reload.

use std::{net::IpAddr, time::Duration};

use http::{HeaderValue, StatusCode};
use jovis_actors::domain::Secret;

use super::stopped;
use crate::config::{sections, slice::ProxySlice};

/// See [`Settings::body_timeout`].
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// See [`Settings::most_connections`]. A class of a hundred, each with a browser's six connections and some WebSockets,
/// may stand behind one address.
const MOST_CONNECTIONS: usize = 1024;
/// See [`Settings::most_at_hub`]. The hub serves 4,096 connections of ours at once.
const MOST_AT_HUB: usize = 256;

/// Where operators manage routes of their own, and how they show who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    /// The port of its listener.
    pub(super) port: u16,
    /// Their token.
    pub(super) token: Secret<String>,
    /// The hub's host, where users have hosts below it: then routes begin with one.
    pub(super) site: Option<String>,
}

/// Durations, shares and trust.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// See [`sections::Proxy`].
    pub(super) hub_patience: Duration,
    /// See [`sections::Proxy`].
    pub(super) drain: Duration,
    /// The same for one that another has taken over from.
    pub(super) upgrade_drain: Duration,
    /// See [`sections::Proxy`].
    pub(super) header_timeout: Duration,
    /// Longest silence of a visitor in the middle of a body.
    pub(super) body_timeout: Duration,
    /// See [`sections::Proxy`].
    pub(super) keep_alive_timeout: Duration,
    /// See [`sections::Proxy`].
    pub(super) connect_timeout: Duration,
    /// Longest silence of a backend that has been asked something, but for WebSockets; none: no limit.
    pub(super) proxy_timeout: Option<Duration>,
    /// Longest time until an answer begins, where we stand alone; none: no limit.
    pub(super) visitor_silence: Option<Duration>,
    /// Most connections of one stranger (an IPv4 address or an IPv6 network of 64 bits) at once, and never more than half
    /// of all. More are closed unheard. Proxies that we trust may have as many as there are.
    pub(super) most_connections: usize,
    /// Most requests of one visitor (the same) that the hub has in hand at once. More wait for their turn as long as
    /// they'd wait for the hub, then they are 429. So who sends bodies that never come, or reads no answers, takes
    /// places from nobody else.
    pub(super) most_at_hub: usize,
    /// See [`sections::Proxy`].
    pub(super) access_log_every: u64,
    /// Everything's prefix.
    pub(super) base_url: String,
    /// What programs hear where a server does not run.
    pub(super) stopped: StatusCode,
    /// Does each connection begin with the PROXY protocol?
    pub(super) proxy_protocol: bool,
    /// Said with every answer by TLS, unless the backend says something else.
    pub(super) hsts: Option<HeaderValue>,
    /// The port whose visitors are sent to TLS; 0: none.
    pub(super) redirect_port: u16,
    /// The port they are sent to.
    pub(super) redirect_to: u16,
    /// The REST API; none: there is none.
    pub(super) rest: Option<Rest>,
    /// Is loopback trusted? Always so, but in tests that play strangers.
    pub(super) trusts_loopback: bool,
    /// Whose forwarded headers are believed, besides loopback's.
    trusted: Vec<Network>,
}

impl Settings {
    /// From the slice. What cannot be read as a network is told and left out: not trusting is safe.
    pub(super) fn new(proxy: &sections::Proxy) -> Self {
        let network = |text: &String| {
            let network = Network::parse(text);
            if network.is_none() {
                tracing::warn!(entry = %text, "trusted proxy not understood");
            }
            network
        };
        Self {
            hub_patience: proxy.hub_patience.duration(),
            drain: proxy.drain.duration(),
            upgrade_drain: proxy.upgrade_drain.duration(),
            header_timeout: proxy.header_timeout.duration().max(Duration::from_millis(10)),
            body_timeout: BODY_TIMEOUT,
            keep_alive_timeout: proxy.keep_alive_timeout.duration(),
            connect_timeout: proxy.connect_timeout.duration(),
            proxy_timeout: None,
            visitor_silence: None,
            access_log_every: proxy.access_log_every.into(),
            most_connections: MOST_CONNECTIONS,
            most_at_hub: MOST_AT_HUB,
            base_url: "/".to_owned(),
            stopped: stopped::status(false),
            proxy_protocol: proxy.proxy_protocol,
            hsts: hsts(proxy.hsts.duration()),
            redirect_port: proxy.redirect_port,
            redirect_to: 443,
            rest: None,
            trusts_loopback: true,
            trusted: proxy.trusted_proxies.iter().filter_map(network).collect(),
        }
    }

    /// From the whole slice.
    pub(super) fn of(slice: &ProxySlice) -> Self {
        Self {
            base_url: slice.base_url.clone(),
            stopped: stopped::status(slice.legacy_stopped_status),
            redirect_to: slice.redirect_to,
            rest: (slice.api_port != 0 && !slice.api_token.reveal().is_empty()).then(|| Rest {
                port: slice.api_port,
                token: slice.api_token.clone(),
                site: Some(slice.site_host.clone()).filter(|host| !host.is_empty()),
            }),
            ..Self::new(&slice.proxy)
        }
    }

    /// Are this peer's forwarded headers believed?
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusts_loopback && peer.is_loopback()
            || self.trusted.iter().any(|network| network.contains(peer))
    }
}

/// Is this an address, or a network of addresses?
pub(super) fn is_network(text: &str) -> bool {
    Network::parse(text).is_some()
}

/// RFC 6797; for nothing it is not said at all, since `max-age=0` would undo what somebody else has said.
fn hsts(age: Duration) -> Option<HeaderValue> {
    let said = (!age.is_zero()).then(|| format!("max-age={}", age.as_secs().max(1)));
    said.and_then(|said| said.parse().ok())
}

/// An address with the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// From `10.0.0.0/8`, `::1`.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differs = a.to_bits() ^ b.to_bits();
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differs = a.to_bits() ^ b.to_bits();
                differs.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "x", "1.2.3.4/33"];
        let section = sections::Proxy {
            trusted_proxies: trusted_proxies.map(str::to_owned).into(),
            ..sections::Proxy::default()
        };
        let settings = Settings::new(&section);
        assert_eq!(settings.trusted.len(), 3);
        let table = [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.255.0.1", true),
            ("::ffff:10.1.1.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ];
        for (peer, expected) in table {
            assert_eq!(settings.trusts(peer.parse().unwrap()), expected, "{peer}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("9.9.9.9".parse().unwrap()));
    }
}
