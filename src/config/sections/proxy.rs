use std::{collections::BTreeMap, path::PathBuf};

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};

use super::Acme;

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
    /// Routes besides those of servers and services: where each begins, and where it leads. `{"/docs/":
    /// "http://127.0.0.1:9000"}`; where users have hosts with one before the path, `{"docs.hub.example.org/": ".."}`.
    /// Targets are `http://`, `https://` (signed by whom this machine trusts) or `http+unix://%2Fpath%2Fof%2Fsocket`.
    pub extra_routes: BTreeMap<String, String>,
    /// Peers whose `X-Forwarded-*` headers are believed, besides loopback: addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<String>,
    /// Does each connection begin with the PROXY protocol, version 1 or 2, in front of everything else? Then only
    /// `trusted_proxies` and loopback may connect, and whom they name counts as the visitor.
    pub proxy_protocol: bool,
    /// Certificates beside `hub.ssl_cert`, each a `(cert: .., key: ..)`. A visitor is shown the one that bears the name
    /// he asks for, `hub.ssl_cert` otherwise.
    pub certificates: Vec<Certificate>,
    /// A certificate that jovis gets and renews by itself.
    pub acme: Acme,
    /// Authorities, PEM. Then every visitor must show a certificate that one of them has signed. Empty: nobody needs one.
    pub client_ca: PathBuf,
    /// Oldest version of TLS that is spoken.
    pub tls_min: TlsVersion,
    /// Is HTTP/2 offered to visitors who come by TLS?
    pub http2: bool,
    /// Seconds that browsers shall remember to come by TLS only (HSTS); told to who comes by TLS. 0: it is not told.
    pub hsts: Seconds,
    /// Port that sends visitors without TLS to the one with TLS. 0: none.
    pub redirect_port: u16,
    /// Port that it sends them to. 0: `hub.port`.
    pub redirect_to: u16,
}

/// A certificate for some of the names that the hub is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// The certificate and those between it and its authority, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM. Empty: the key stands in `cert`.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
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
            extra_routes: BTreeMap::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            certificates: Vec::new(),
            acme: Acme::default(),
            client_ca: PathBuf::new(),
            tls_min: TlsVersion::Tls12,
            http2: true,
            hsts: Seconds::new(31_536_000),
            redirect_port: 0,
            redirect_to: 0,
        }
    }
}
