//! One file per section of `hub.ron`. Plain data: adapters take their section; a section knows no adapter.
//!
//! A setting that JupyterHub has keeps JupyterHub's name, type and meaning, in a section named after its class. The
//! doc comment of a field is its reference text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod acme;
mod auth;
mod docker;
mod hub;
mod log;
mod providers;
mod proxy;
mod roles;
mod root;
mod services;
mod spawner;

pub use jovis_actors::domain::profile::{
    Choice, Image, Number, Offer, OptionKind, Overrides, Profile, ProfileOption, Text,
    UnlistedChoice,
};

pub use acme::{Acme, AcmeChallenge};
pub use auth::{Auth, AuthClass, Dummy, OtherAuth, Pam};
pub use docker::{Docker, PullPolicy, engines_name, tcp_address};
pub use hub::{HostLabels, Hub, SameSite, Shutdown, ShutdownServers};
pub use log::{Log, LogFormat};
pub use providers::{GitHub, Oidc, claims_in};
pub use proxy::{Certificate, Proxy, TlsVersion};
pub use roles::{CustomScope, LoadGroup, Role};
pub use root::Root;
pub use services::Service;
pub use spawner::{Local, Restart, Simple, Spawner, SpawnerClass};

/// The whole of `hub.ron`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The hub itself: addresses, state, cookies, limits. (JupyterHub's class `JupyterHub`.)
    pub hub: Hub,
    /// The proxy that carries every byte. (`Proxy`, `ConfigurableHTTPProxy`.)
    pub proxy: Proxy,
    /// How people sign in and who may. (`Authenticator` and its classes.)
    pub auth: Auth,
    /// How user servers are started. (`Spawner` and its classes.)
    pub spawner: Spawner,
    /// Roles: who may do what, besides what everybody and administrators may. Each is a
    /// `(name: .., scopes: [..], users: [..])`.
    #[serde(alias = "load_roles")]
    pub roles: Vec<Role>,
    /// Services: programs beside the hub, run by it or by others. Each is a `(name: .., url: ..)`.
    pub services: Vec<Service>,
    /// Groups to be there, by name, with users to be in them.
    pub load_groups: BTreeMap<String, LoadGroup>,
    /// The root process: accounts, watchdog.
    pub root: Root,
    /// What happens when jovis is told to end.
    pub shutdown: Shutdown,
    /// What is logged, how and where.
    pub log: Log,
}

impl Config {
    /// Is the public side TLS?
    pub fn is_tls(&self) -> bool {
        !self.hub.ssl_cert.as_os_str().is_empty() || self.proxy.acme.is_on()
    }
}
