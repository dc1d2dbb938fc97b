//! What each role gets of the configuration: no more than it needs, and the secrets that are its own. Root makes the
//! slices; they travel as JSON in a sealed memfd.

use jovis_actors::domain::Secret;
use serde::{Deserialize, Serialize};

use super::sections;

/// The hub's.
#[derive(Debug, Clone, Deserialize)]
pub struct HubSlice {
    /// As in the file.
    pub hub: sections::Hub,
    /// As in the file.
    pub auth: sections::Auth,
    /// As in the file.
    pub spawner: sections::Spawner,
    /// As in the file.
    pub root: sections::Root,
    /// As in the file.
    pub log: sections::Log,
    /// The key that signs cookies.
    pub cookie_secret: Secret<Vec<u8>>,
    /// Where servers reach the API: `http://127.0.0.1:8081/hub/api` (the port as it was bound).
    pub api_url: String,
    /// Is the public side TLS? (Cookies are `Secure` then.)
    pub tls: bool,
    /// Does jovis run as root (so that every user's server runs as that user)?
    pub privileged: bool,
}

/// The proxy's.
#[derive(Debug, Clone, Deserialize)]
pub struct ProxySlice {
    /// As in the file.
    pub proxy: sections::Proxy,
    /// As in the file.
    pub log: sections::Log,
    /// Everything's prefix.
    pub base_url: String,
    /// Path of the Unix socket on which the hub answers the proxy.
    pub hub_socket: String,
    /// Certificate chain, PEM; empty: no TLS.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Secret<Vec<u8>>,
}

/// Turns a slice into the JSON that travels. Secrets have no `Serialize` on purpose; this is the one place that spells
/// them out.
pub trait ToWire {
    /// The JSON.
    fn to_wire(&self) -> Vec<u8>;
}

impl ToWire for HubSlice {
    fn to_wire(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Wire<'a> {
            hub: &'a sections::Hub,
            auth: &'a sections::Auth,
            spawner: &'a sections::Spawner,
            root: &'a sections::Root,
            log: &'a sections::Log,
            cookie_secret: &'a [u8],
            api_url: &'a str,
            tls: bool,
            privileged: bool,
        }
        let wire = Wire {
            hub: &self.hub,
            auth: &self.auth,
            spawner: &self.spawner,
            root: &self.root,
            log: &self.log,
            cookie_secret: self.cookie_secret.reveal(),
            api_url: &self.api_url,
            tls: self.tls,
            privileged: self.privileged,
        };
        serde_json::to_vec(&wire).expect("a slice is plain data")
    }
}

impl ToWire for ProxySlice {
    fn to_wire(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Wire<'a> {
            proxy: &'a sections::Proxy,
            log: &'a sections::Log,
            base_url: &'a str,
            hub_socket: &'a str,
            certificate: &'a [u8],
            key: &'a [u8],
        }
        let wire = Wire {
            proxy: &self.proxy,
            log: &self.log,
            base_url: &self.base_url,
            hub_socket: &self.hub_socket,
            certificate: &self.certificate,
            key: self.key.reveal(),
        };
        serde_json::to_vec(&wire).expect("a slice is plain data")
    }
}
