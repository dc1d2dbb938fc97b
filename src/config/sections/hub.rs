use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jovis_actors::domain::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CustomScope;

/// The hub itself: addresses, state, cookies, limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hub {
    /// Public address to listen on. Empty: all interfaces, IPv4 and IPv6.
    pub ip: String,
    /// Public port.
    pub port: u16,
    /// Prefix of everything, with slashes at both ends.
    pub base_url: String,
    /// Address under which people reach the hub, where it is not the one they ask for: behind a proxy that does not tell
    /// it. Links to it, cookies and redirects follow it. Without a path, `base_url` is meant; without a scheme, https.
    pub public_url: String,
    /// Every user and every service gets a host of its own below this one: `https://hub.example.org` gives
    /// `https://alice.hub.example.org`. Pages of one server cannot read those of another then. Names of all these hosts
    /// must lead here (a wildcard in DNS), and the certificate must be good for them. Empty: all on one host.
    pub subdomain_host: String,
    /// How the names of users and services become hosts. `Legacy`: as JupyterHub before 5 did, with one host for all
    /// services; different names may share a host.
    pub subdomain_hook: HostLabels,
    /// Private key of the public listener, PEM. Empty: no TLS, or the key stands in `ssl_cert`.
    pub ssl_key: PathBuf,
    /// Certificate chain of the public listener, PEM. Empty: no TLS.
    pub ssl_cert: PathBuf,
    /// Address of the hub's API, which user servers and services call.
    pub hub_ip: String,
    /// Port of the hub's API. 0: any free one, drawn once and kept in the state directory (for tests).
    pub hub_port: u16,
    /// Address under which servers reach the hub's API. Empty: `hub_ip`, or this machine's name where that is all
    /// interfaces.
    pub hub_connect_ip: String,
    /// Name of this hub: its runtime directory is `/run/jovis/NAME`, so that several can run on one machine.
    pub name: String,
    /// Where everything lasting is kept; made with mode 0700.
    pub state_dir: PathBuf,
    /// File with the key that signs cookies, in hex, mode 0600; made if missing. Empty: `cookie_secret` in `state_dir`.
    /// The environment variable `JPY_COOKIE_SECRET` goes before it.
    pub cookie_secret_file: PathBuf,
    /// Days a sign-in lasts.
    pub cookie_max_age_days: f64,
    /// Call the login cookies of hub and servers `__Host-…`, which no other host can set; that needs TLS. None: where
    /// users have hosts of their own and TLS.
    pub cookie_host_prefix_enabled: Option<bool>,
    /// What cookies of the hub and of servers say besides: `{"SameSite": "None"}`, `{"expires_days": 7}` (the login
    /// cookie), `{"secure": true}`.
    pub cookie_options: Map<String, Value>,
    /// Seconds an OAuth token given to a server or service lives. 0: as long as a sign-in.
    pub oauth_token_expires_in: Seconds,
    /// Refuse OAuth clients that send no PKCE challenge (single-user servers before 6.0 do not).
    pub oauth_require_pkce: bool,
    /// Longest life of a token made by the API, in seconds: what asks for more is refused, what asks for none gets this.
    /// 0: no limit.
    pub token_expires_in_max_seconds: Seconds,
    /// Items on a page of a list, for clients that ask for pages.
    pub api_page_default_limit: u32,
    /// Most items on a page of a list; and what clients get who do not ask for pages.
    pub api_page_max_limit: u32,
    /// Scopes that everybody has, besides those of the role `user`. Without effect where `roles` sets that role's scopes.
    pub extra_user_scopes: BTreeSet<String>,
    /// Scopes of one's own, by name (`custom:..`), for services.
    pub custom_scopes: BTreeMap<String, CustomScope>,
    /// Seconds between two looks whether services answer. 0: none.
    pub service_check_interval: Seconds,
    /// Servers that may be starting at once. Who starts one more on a page waits in a queue for room, by turns with the
    /// others; a client of the API is refused with 429. 0: no limit.
    pub concurrent_spawn_limit: u32,
    /// Servers that may be running at once; further starts as above. 0: no limit.
    pub active_server_limit: u32,
    /// Starts that may wait for room; whoever comes when so many do is told to come back later. 0: nobody waits, as at
    /// JupyterHub.
    pub spawn_queue_limit: u32,
    /// May users have servers besides the default one?
    pub allow_named_servers: bool,
    /// The named server to which `/hub/user-redirect/` leads, where users may have such. Empty: the default one.
    pub default_server_name: String,
    /// Servers a user may have besides the default one, running or not. 0: no limit.
    pub named_server_limit_per_user: u32,
    /// After signing in go to one's own server (true) or to the home page (false).
    pub redirect_to_server: bool,
    /// Where `/hub/` leads. Empty: see `redirect_to_server`.
    pub default_url: String,
    /// Seconds after which the page of a stopped server starts it by itself. 0: only on request.
    pub implicit_spawn_seconds: Seconds,
    /// Ask who reads `/hub/metrics` for the scope `read:metrics`. Off: everybody may read it.
    pub authenticate_prometheus: bool,
    /// Stop a user's servers when the user signs out.
    pub shutdown_on_logout: bool,
    /// Further headers of the hub's answers, by name; one that the hub sets itself is replaced.
    pub headers: BTreeMap<String, String>,
    /// Answer 503 instead of 424 where a server does not run, for notebooks made for JupyterHub 1.
    pub use_legacy_stopped_server_status_code: bool,
    /// Seconds a start request waits before it answers "pending".
    pub slow_spawn_timeout: Seconds,
    /// Seconds a stop request waits before it answers "pending".
    pub slow_stop_timeout: Seconds,
    /// Seconds within which repeated activity is not written anew.
    pub activity_resolution: Seconds,
    /// Folders with templates that replace the built-in ones.
    pub template_paths: Vec<PathBuf>,
    /// Values for templates, as text.
    pub template_vars: BTreeMap<String, String>,
    /// What pages call this place.
    pub site_name: String,
    /// Picture on every page: a file the hub can read (.svg, .png, .jpg, .gif, .webp, .ico; at most 1 MiB). Empty: ours.
    pub logo_file: PathBuf,
    /// Where the picture leads. Empty: to the hub.
    pub logo_url: String,
    /// Colours of the pages, by name: `ground`, `card`, `text`, `soft`, `line`, `edge`, `main`, `on_main`, `danger`, `good`,
    /// `warn`; for dark pages with `_dark` behind. `{"main": "#8b1a1a", "main_dark": "#ff9b9b"}`.
    pub colors: BTreeMap<String, String>,
    /// Language of the pages: `en`, `de`. Empty: the one the browser prefers.
    pub language: String,
    /// Old name of giving administrators access to servers. Only sets `JUPYTERHUB_ADMIN_ACCESS=1` in servers.
    pub admin_access: bool,
    /// Address of the proxy's REST API. Empty: 127.0.0.1.
    pub proxy_api_ip: String,
    /// Port of the proxy's REST API, that of configurable-http-proxy, over which operators manage routes of their own beside
    /// the hub's (which it does not need). 0: there is none.
    pub proxy_api_port: u16,
    /// File with the token of the proxy's REST API, mode 0600: at least 16 letters, digits and the like; made if missing.
    /// Empty: `proxy_auth_token` in `state_dir`. The environment variable `CONFIGPROXY_AUTH_TOKEN` goes before it.
    pub proxy_auth_token_file: PathBuf,
    /// Place of a database. Not built yet: everything is kept in `state_dir`.
    #[serde(alias = "db_file")]
    pub db_url: String,
}

impl Hub {
    /// Address of the proxy's REST API.
    pub fn proxy_api_ip(&self) -> &str {
        if self.proxy_api_ip.is_empty() { "127.0.0.1" } else { &self.proxy_api_ip }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            ip: String::new(),
            port: 8000,
            base_url: "/".to_owned(),
            public_url: String::new(),
            subdomain_host: String::new(),
            subdomain_hook: HostLabels::Idna,
            ssl_key: PathBuf::new(),
            ssl_cert: PathBuf::new(),
            hub_ip: "127.0.0.1".to_owned(),
            hub_port: 8081,
            hub_connect_ip: String::new(),
            name: "hub".to_owned(),
            state_dir: "./state".into(),
            cookie_secret_file: PathBuf::new(),
            cookie_max_age_days: 14.0,
            cookie_host_prefix_enabled: None,
            cookie_options: Map::new(),
            oauth_token_expires_in: Seconds::new(0),
            oauth_require_pkce: false,
            token_expires_in_max_seconds: Seconds::new(0),
            api_page_default_limit: 50,
            api_page_max_limit: 200,
            extra_user_scopes: BTreeSet::new(),
            custom_scopes: BTreeMap::new(),
            service_check_interval: Seconds::new(60),
            concurrent_spawn_limit: 100,
            active_server_limit: 0,
            spawn_queue_limit: 1000,
            allow_named_servers: false,
            default_server_name: String::new(),
            named_server_limit_per_user: 0,
            redirect_to_server: true,
            default_url: String::new(),
            implicit_spawn_seconds: Seconds::new(0),
            authenticate_prometheus: true,
            shutdown_on_logout: false,
            headers: BTreeMap::new(),
            use_legacy_stopped_server_status_code: false,
            slow_spawn_timeout: Seconds::new(10),
            slow_stop_timeout: Seconds::new(10),
            activity_resolution: Seconds::new(30),
            template_paths: Vec::new(),
            template_vars: Default::default(),
            site_name: "jovis".to_owned(),
            logo_file: PathBuf::new(),
            logo_url: String::new(),
            colors: BTreeMap::new(),
            language: String::new(),
            admin_access: false,
            proxy_api_ip: String::new(),
            proxy_api_port: 0,
            proxy_auth_token_file: PathBuf::new(),
            db_url: String::new(),
        }
    }
}

/// How names become hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostLabels {
    /// As they are where that is possible, else in IDNA's form, else hashed.
    #[serde(alias = "idna")]
    Idna,
    /// Escaped with underscores.
    #[serde(alias = "legacy")]
    Legacy,
}

/// To whose requests a cookie goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Also to addresses that other sites lead to.
    Lax,
    /// Only to those of its own.
    Strict,
    /// To all.
    None,
}

impl SameSite {
    /// By its name in any letters.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Lax, Self::Strict, Self::None]
            .into_iter()
            .find(|one| one.as_str().eq_ignore_ascii_case(text))
    }

    /// As it stands in a cookie.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

/// What happens when jovis is told to end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// What becomes of user servers on SIGTERM. (Ctrl-C stops them too, unless this is set to `Keep` explicitly.)
    pub servers: Option<ShutdownServers>,
}

/// What becomes of user servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownServers {
    /// They run on and are found again at the next start.
    Keep,
    /// They are stopped.
    Stop,
}
