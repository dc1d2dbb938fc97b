//! What each role gets of the configuration: no more than it needs, and the secrets that are its own. Root makes the
//! slices; they travel as JSON in a sealed memfd.

use std::{collections::BTreeMap, sync::OnceLock};

use jovis_actors::{
    domain::{Facts, Secret},
    ports::Need,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Config,
    secret::{Identity, Tls},
    sections, site,
};

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
    pub roles: Vec<sections::Role>,
    /// As in the file.
    pub services: Vec<sections::Service>,
    /// As in the file.
    pub load_groups: BTreeMap<String, sections::LoadGroup>,
    /// As in the file.
    pub root: sections::Root,
    /// As in the file.
    pub log: sections::Log,
    /// `proxy.extra_routes`, as in the file.
    #[serde(default)]
    pub extra_routes: BTreeMap<String, String>,
    /// The key that signs cookies.
    pub cookie_secret: Secret<Vec<u8>>,
    /// Seal what is kept about people, the first for writing; none where nothing is kept.
    #[serde(default)]
    pub crypt_keys: Vec<Secret<Vec<u8>>>,
    /// Where servers reach the API: `http://127.0.0.1:8081/hub/api` (the port as it was bound).
    pub api_url: String,
    /// Is the public side TLS? (Cookies are `Secure` then.)
    pub tls: bool,
    /// Does jovis run as root (so that every user's server runs as that user)?
    pub privileged: bool,
    #[serde(skip)]
    cookies: OnceLock<site::Cookies>,
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
    /// Is a server that does not run told as 503 instead of 424?
    #[serde(default)]
    pub legacy_stopped_status: bool,
    /// Path of the Unix socket on which the hub answers the proxy.
    pub hub_socket: String,
    /// Certificate chain, PEM; empty: no TLS.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Secret<Vec<u8>>,
    /// Those for other names, each with its key, PEM.
    #[serde(default)]
    pub certificates: Vec<(Vec<u8>, Secret<Vec<u8>>)>,
    /// Who signs visitors' certificates, PEM; empty: visitors need none.
    #[serde(default)]
    pub client_ca: Vec<u8>,
    /// Where visitors without TLS are sent, if they are.
    #[serde(default)]
    pub redirect_to: u16,
    /// Who vouches for the server of the authority that certificates are got from, PEM; empty: whom this machine trusts.
    #[serde(default)]
    pub acme_ca: Vec<u8>,
    /// Port of the REST API's listener, which is among the public ones; 0: none.
    #[serde(default)]
    pub api_port: u16,
    /// Its token; empty: nobody may.
    #[serde(default = "no_token")]
    pub api_token: Secret<String>,
    /// The hub's host, where users have hosts below it; empty: they have none.
    #[serde(default)]
    pub site_host: String,
}

fn no_token() -> Secret<String> {
    Secret::new(String::new())
}

impl HubSlice {
    /// What the hub gets. `api_url`: where servers reach it, with the port as it was bound.
    pub fn new(
        config: &Config,
        cookie_secret: Secret<Vec<u8>>,
        api_url: String,
        privileged: bool,
    ) -> Self {
        Self {
            hub: config.hub.clone(),
            auth: config.auth.clone(),
            spawner: config.spawner.as_offered(),
            roles: config.roles.clone(),
            services: config.services.clone(),
            load_groups: config.load_groups.clone(),
            root: config.root.clone(),
            log: config.log.clone(),
            extra_routes: config.proxy.extra_routes.clone(),
            cookie_secret,
            crypt_keys: Vec::new(),
            api_url,
            tls: config.is_tls(),
            privileged,
            cookies: OnceLock::new(),
        }
    }

    /// With these keys, if anything is to be sealed.
    pub fn with_crypt_keys(mut self, keys: &[Secret<Vec<u8>>]) -> Self {
        if self.auth.enable_auth_state {
            self.crypt_keys = keys.to_vec();
        }
        self
    }

    /// Who needs an account of the machine. Not started by root, there is one account, and nothing to ask.
    pub fn accounts(&self) -> Need {
        match self.spawner.class {
            _ if !self.privileged => Need::Nobody,
            _ if self.auth.create_system_users => Need::Made,
            sections::SpawnerClass::Local(_) => Need::New,
            sections::SpawnerClass::Simple(_) | sections::SpawnerClass::Docker(_) => Need::Nobody,
        }
    }

    /// Under which addresses the site is known.
    pub fn facts(&self) -> Facts {
        site::facts(&self.hub)
    }

    /// What its cookies are like.
    pub fn cookies(&self) -> &site::Cookies {
        self.cookies.get_or_init(|| site::cookies(&self.hub, self.tls))
    }

    /// What servers and services are told of cookies, if anything.
    pub fn cookie_options(&self) -> Option<Value> {
        let options = &self.hub.cookie_options;
        (!options.is_empty()).then(|| Value::Object(options.clone()))
    }

    /// Reads what [`ToWire::to_wire`] wrote.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_wire(wire: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(wire)
    }
}

impl ProxySlice {
    /// What the proxy gets. `hub_socket`: where the hub answers it.
    pub fn new(config: &Config, tls: Option<Tls>, hub_socket: String) -> Self {
        let nobody = Identity { certificate: Vec::new(), key: Secret::new(Vec::new()) };
        let none = Tls {
            identity: nobody,
            others: Vec::new(),
            client_ca: Vec::new(),
            acme_ca: Vec::new(),
        };
        let Tls { identity: Identity { certificate, key }, others, client_ca, acme_ca } =
            tls.unwrap_or(none);
        let certificates = others.into_iter().map(|one| (one.certificate, one.key)).collect();
        let redirect_to = match config.proxy.redirect_to {
            0 => config.hub.port,
            other => other,
        };
        Self {
            proxy: config.proxy.clone(),
            log: config.log.clone(),
            base_url: config.hub.base_url.clone(),
            legacy_stopped_status: config.hub.use_legacy_stopped_server_status_code,
            hub_socket,
            certificate,
            key,
            certificates,
            client_ca,
            redirect_to,
            acme_ca,
            api_port: config.hub.proxy_api_port,
            api_token: no_token(),
            site_host: site::facts(&config.hub).hosts.map(|hosts| hosts.domain).unwrap_or_default(),
        }
    }

    /// With the token of the REST API.
    pub fn with_token(mut self, token: Option<Secret<String>>) -> Self {
        self.api_token = token.unwrap_or_else(no_token);
        self
    }

    /// Reads what [`ToWire::to_wire`] wrote.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_wire(wire: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(wire)
    }
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
            roles: &'a [sections::Role],
            services: &'a [sections::Service],
            load_groups: &'a BTreeMap<String, sections::LoadGroup>,
            root: &'a sections::Root,
            log: &'a sections::Log,
            extra_routes: &'a BTreeMap<String, String>,
            cookie_secret: &'a [u8],
            crypt_keys: Vec<&'a [u8]>,
            api_url: &'a str,
            tls: bool,
            privileged: bool,
        }
        let wire = Wire {
            hub: &self.hub,
            auth: &self.auth,
            spawner: &self.spawner,
            roles: &self.roles,
            services: &self.services,
            load_groups: &self.load_groups,
            root: &self.root,
            log: &self.log,
            extra_routes: &self.extra_routes,
            cookie_secret: self.cookie_secret.reveal(),
            crypt_keys: self.crypt_keys.iter().map(|key| key.reveal().as_slice()).collect(),
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
            legacy_stopped_status: bool,
            hub_socket: &'a str,
            certificate: &'a [u8],
            key: &'a [u8],
            certificates: Vec<(&'a [u8], &'a [u8])>,
            client_ca: &'a [u8],
            redirect_to: u16,
            acme_ca: &'a [u8],
            api_port: u16,
            api_token: &'a str,
            site_host: &'a str,
        }
        let wire = Wire {
            proxy: &self.proxy,
            log: &self.log,
            base_url: &self.base_url,
            legacy_stopped_status: self.legacy_stopped_status,
            hub_socket: &self.hub_socket,
            certificate: &self.certificate,
            key: self.key.reveal(),
            certificates: self
                .certificates
                .iter()
                .map(|(certificate, key)| (certificate.as_slice(), key.reveal().as_slice()))
                .collect(),
            client_ca: &self.client_ca,
            redirect_to: self.redirect_to,
            acme_ca: &self.acme_ca,
            api_port: self.api_port,
            api_token: self.api_token.reveal(),
            site_host: &self.site_host,
        };
        serde_json::to_vec(&wire).expect("a slice is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::change;

    #[test]
    fn slices_travel_whole_and_show_no_secret() {
        let mut config = Config::default();
        config.hub.base_url = "/lab/".into();
        config.hub.ssl_cert = "/c.pem".into();
        let dummy = sections::Dummy { password: "hunter2".into(), allow_remote: false };
        config.auth.class = sections::AuthClass::Dummy(dummy);
        let secret = vec![201, 202, 203, 204];
        let hub = HubSlice::new(
            &config,
            Secret::new(secret.clone()),
            "http://127.0.0.1:8081/hub/api".into(),
            true,
        );
        let back = HubSlice::from_wire(&hub.to_wire()).unwrap();
        assert_eq!(
            (&back.hub, &back.auth, &back.spawner),
            (&config.hub, &config.auth, &config.spawner)
        );
        assert_eq!((&back.root, &back.log), (&config.root, &config.log));
        assert_eq!((back.cookie_secret.reveal(), back.tls, back.privileged), (&secret, true, true));
        assert_eq!(back.api_url, "http://127.0.0.1:8081/hub/api");

        let identity =
            || Identity { certificate: b"chain".to_vec(), key: Secret::new(secret.clone()) };
        let client_ca = b"authority".to_vec();
        let acme_ca = b"house".to_vec();
        let tls = Tls { identity: identity(), others: vec![identity()], client_ca, acme_ca };
        config.proxy.redirect_to = 8443;
        (config.hub.proxy_api_port, config.hub.subdomain_host) =
            (8001, "https://hub.test:8443".into());
        let proxy = ProxySlice::new(&config, Some(tls), "/run/x".into());
        let proxy = proxy.with_token(Some(Secret::new("hunter2".into())));
        let back = ProxySlice::from_wire(&proxy.to_wire()).unwrap();
        assert_eq!(
            (&back.proxy, &back.log, back.base_url.as_str()),
            (&config.proxy, &config.log, "/lab/")
        );
        assert_eq!(
            (back.hub_socket.as_str(), back.certificate.as_slice()),
            ("/run/x", b"chain".as_slice())
        );
        assert_eq!(back.key.reveal(), &secret);
        let (certificate, key) = &back.certificates[0];
        assert_eq!((certificate.as_slice(), key.reveal()), (&b"chain"[..], &secret));
        assert_eq!((back.client_ca.as_slice(), back.redirect_to), (&b"authority"[..], 8443));
        assert_eq!(back.acme_ca, b"house");
        assert_eq!((back.api_port, &**back.api_token.reveal()), (8001, "hunter2"));
        assert_eq!(back.site_host, "hub.test");
        let shown = format!("{hub:?}{proxy:?}{:?}", config);
        assert!(!shown.contains("hunter2") && !shown.contains("201"), "{shown}");
    }

    /// What takes effect while jovis runs has to get to the one it is about. (Root's own it reads from the whole.)
    #[test]
    fn each_setting_that_takes_effect_reaches_a_role() {
        let wires = |config: &Config| {
            let secret = || Secret::new(vec![1]);
            let hub = HubSlice::new(config, secret(), String::new(), true).to_wire();
            (hub, ProxySlice::new(config, None, String::new()).to_wire())
        };
        for one in crate::config::catalogue::settings() {
            let Some((old, new)) = change::another(&one.path) else { continue };
            let ((hub, proxy), (new_hub, new_proxy)) = (wires(&old), wires(&new));
            let section = one.path.split('.').next().unwrap_or_default();
            match section {
                "shutdown" => assert_eq!((hub, proxy), (new_hub, new_proxy), "{}", one.path),
                // Routes are the hub's.
                "proxy" if one.path == "proxy.extra_routes" => {
                    assert!(hub != new_hub, "{}", one.path);
                }
                // Cookies are for TLS only then.
                "proxy" if one.path == "proxy.acme.names" => {
                    assert!(hub != new_hub && proxy != new_proxy, "{}", one.path);
                }
                "proxy" => assert!(hub == new_hub && proxy != new_proxy, "{}", one.path),
                "log" => assert!(hub != new_hub && proxy != new_proxy, "{}", one.path),
                _ => assert!(hub != new_hub, "{}", one.path),
            }
        }
    }
}
