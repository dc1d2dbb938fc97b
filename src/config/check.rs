//! All that is wrong with a configuration on this machine, at once: each finding says which setting, what, and what to do.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use jovis_actors::domain::Seconds;

use super::{
    catalogue,
    load::{Effective, Source},
    pam_stack,
    sections::{AuthClass, Config, SpawnerClass},
    world::World,
};

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// jovis does not start so.
    Error,
    /// It starts; somebody should act.
    Warning,
    /// It starts; somebody should know.
    Notice,
}

/// One thing about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The setting: `hub.base_url`.
    pub path: String,
    /// What is wrong and what to do.
    pub words: String,
    /// Where the setting's value came from.
    pub source: Source,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        write!(f, "{severity}: {}: {}", self.path, self.words)?;
        if self.source == Source::Default { Ok(()) } else { write!(f, " ({})", self.source) }
    }
}

/// Is there anything that keeps jovis from starting?
pub fn is_fatal(findings: &[Finding]) -> bool {
    findings.iter().any(|one| one.severity == Severity::Error)
}

/// Everything there is to say, errors first.
pub fn check(effective: &Effective, world: &dyn World) -> Vec<Finding> {
    let mut say = Say { effective, findings: Vec::new() };
    let config = &effective.config;
    addresses(&mut say, config, world);
    tls(&mut say, config, world);
    hub(&mut say, config, world);
    auth(&mut say, config, world);
    spawner(&mut say, config);
    waits(&mut say, config);
    accounts(&mut say, config, world);
    names(&mut say, world);
    say.findings.sort_by_key(|one| one.severity);
    say.findings
}

/// What `check --deep` adds: things that may change from one moment to the next.
pub fn deep(effective: &Effective, world: &dyn World) -> Vec<Finding> {
    let mut say = Say { effective, findings: Vec::new() };
    let config = &effective.config;
    if let Some(program) = config.spawner.cmd.first()
        && !world.program_exists(program)
    {
        say.warn(
            "spawner.cmd",
            format!("`{program}` is not found in this PATH; a user's may differ"),
        );
    }
    for (path, ip, port) in [
        ("hub.port", &config.hub.ip, config.hub.port),
        ("hub.hub_port", &config.hub.hub_ip, config.hub.hub_port),
    ] {
        let ip = if ip.is_empty() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        };
        if port != 0
            && let Err(error) = std::net::TcpListener::bind((ip, port))
        {
            say.warn(path, format!("port {port} cannot be had now: {error} (is a hub running?)"));
        }
    }
    for name in config.auth.allowed_users.iter().chain(&config.auth.admin_users) {
        if matches!(config.auth.class, AuthClass::Pam(_)) && !world.account_exists(name) {
            say.warn("auth.allowed_users", format!("`{name}` has no account on this machine"));
        }
    }
    say.findings
}

struct Say<'a> {
    effective: &'a Effective,
    findings: Vec<Finding>,
}

impl Say<'_> {
    fn add(&mut self, severity: Severity, path: &str, words: String) {
        let source = self.effective.source(path);
        self.findings.push(Finding { severity, path: path.to_owned(), words, source });
    }
    fn error(&mut self, path: &str, words: impl Into<String>) {
        self.add(Severity::Error, path, words.into());
    }
    fn warn(&mut self, path: &str, words: impl Into<String>) {
        self.add(Severity::Warning, path, words.into());
    }
    fn note(&mut self, path: &str, words: impl Into<String>) {
        self.add(Severity::Notice, path, words.into());
    }
}

fn addresses(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let hub = &config.hub;
    for (path, ip, empty) in [
        ("hub.ip", &hub.ip, true),
        ("hub.hub_ip", &hub.hub_ip, true),
        ("spawner.ip", &config.spawner.ip, true),
    ] {
        if !(empty && ip.is_empty()) && ip.parse::<IpAddr>().is_err() {
            say.error(
                path,
                format!("`{ip}` is not an IP address; write one, or \"\" for all interfaces"),
            );
        }
    }
    if hub.port == 0 {
        say.error("hub.port", "0 is not a port people can visit; write one from 1 to 65535");
    } else if hub.port < 1024 && !world.is_root() {
        say.warn(
            "hub.port",
            "ports below 1024 mostly need root; start as root or take a higher one",
        );
    }
    if hub.hub_port == 0 {
        say.note(
            "hub.hub_port",
            "a free port is drawn once and kept; running servers need it unchanged",
        );
    }
    let overlap = |a: &str, b: &str| a == b || any(a) || any(b);
    if hub.port == hub.hub_port && hub.port != 0 && overlap(&hub.ip, &hub.hub_ip) {
        say.error("hub.hub_port", format!("{} is the public port already; take another", hub.port));
    }
    let (first, last) = config.spawner.ports;
    if first == 0 || first > last {
        say.error(
            "spawner.ports",
            format!("({first}, {last}) is no range; write first and last, from 1 to 65535"),
        );
    } else if first < 1024 {
        say.error(
            "spawner.ports",
            "a server runs as its user and cannot have a port below 1024; begin at 1024 or above",
        );
    } else {
        for (path, port) in [("hub.port", hub.port), ("hub.hub_port", hub.hub_port)] {
            if (first..=last).contains(&port) {
                say.warn(
                    "spawner.ports",
                    format!("{path} ({port}) lies in the range; servers may collide with it"),
                );
            }
        }
    }
    if config.spawner.port != 0 {
        say.warn(
            "spawner.port",
            "one fixed port means one server at a time on this machine; 0 draws a free one",
        );
    }
    for proxy in &config.proxy.trusted_proxies {
        if !is_network(proxy) {
            say.error(
                "proxy.trusted_proxies",
                format!("`{proxy}` is neither an address nor a network like 10.0.0.0/8"),
            );
        }
    }
}

fn any(ip: &str) -> bool {
    ip.is_empty() || ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// An address, or an address and a number of bits.
fn is_network(text: &str) -> bool {
    let (address, bits) =
        text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| {
        bits.bytes().all(|b| b.is_ascii_digit())
            && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    })
}

fn is_loopback(ip: &str) -> bool {
    ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn tls(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let (key, cert) = (&config.hub.ssl_key, &config.hub.ssl_cert);
    let set = |path: &Path| !path.as_os_str().is_empty();
    if !set(cert) {
        if set(key) {
            return say
                .error("hub.ssl_cert", "there is a key but no certificate; set both or neither");
        }
        if is_loopback(&config.hub.ip) {
            return say.note("hub.ssl_cert", "no TLS; only this machine can connect");
        }
        return say.warn(
            "hub.ssl_cert",
            "no TLS: passwords and cookies cross the network readable; set ssl_key and ssl_cert, or put a TLS proxy in front",
        );
    }
    let mut pem = |path: &'static str, file: &Path| match world.read(file) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            say.error(path, format!("{} cannot be read: {error}", file.display()));
            None
        }
    };
    let chain = pem("hub.ssl_cert", cert);
    let key_text = if set(key) { pem("hub.ssl_key", key) } else { chain.clone() };
    if chain.is_some_and(|text| !text.contains("-----BEGIN CERTIFICATE-----")) {
        say.error("hub.ssl_cert", format!("{} holds no PEM certificate", cert.display()));
    }
    if key_text.is_some_and(|text| !text.contains("PRIVATE KEY-----")) {
        let words = if set(key) {
            format!("{} holds no PEM private key", key.display())
        } else {
            format!("unset, and {} holds no private key; name the key's file", cert.display())
        };
        say.error("hub.ssl_key", words);
    }
    let key = if set(key) { key } else { cert };
    if world.facts(key).is_some_and(|facts| facts.mode & 0o004 != 0) {
        say.warn(
            "hub.ssl_key",
            format!("everybody on this machine can read {}; chmod 600 it", key.display()),
        );
    }
}

fn hub(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let hub = &config.hub;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/@".contains(c);
    let dots = hub.base_url.split('/').any(|part| part == "." || part == "..");
    if !hub.base_url.chars().all(plain) || hub.base_url.contains("//") || dots {
        say.error(
            "hub.base_url",
            format!(
                "`{}` is no prefix; write a path of letters, digits and -_.~@ like \"/lab/\"",
                hub.base_url
            ),
        );
    }
    if hub.name.is_empty()
        || hub.name.len() > 30
        || !hub.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        say.error("hub.name", "it names a folder: 1 to 30 letters, digits and hyphens");
    }
    let state = if hub.state_dir.as_os_str().is_empty() { None } else { Some(&hub.state_dir) };
    match state.map(|dir| world.facts(dir)) {
        None => say.error("hub.state_dir", "a folder for lasting state is needed"),
        Some(Some(facts)) if !facts.folder => say.error("hub.state_dir", "this is no folder"),
        Some(Some(facts)) if facts.mode & 0o022 != 0 => {
            say.error("hub.state_dir", "others can write into it; chmod 700 it");
        }
        Some(Some(_)) => {}
        Some(None) => {
            let parent = hub
                .state_dir
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            if !world.facts(parent).is_some_and(|facts| facts.folder) {
                say.error(
                    "hub.state_dir",
                    format!("the folder it would be made in, {}, is not there", parent.display()),
                );
            }
        }
    }
    let secret = if hub.cookie_secret_file.as_os_str().is_empty() {
        hub.state_dir.join(super::secret::COOKIE_SECRET)
    } else {
        hub.cookie_secret_file.clone()
    };
    match world.variable(super::secret::COOKIE_VARIABLE) {
        Some(hex) => {
            if let Err(error) = super::secret::from_hex(&hex) {
                say.error(
                    "hub.cookie_secret_file",
                    format!("{}: {error}", super::secret::COOKIE_VARIABLE),
                );
            }
        }
        None if world.facts(&secret).is_some_and(|facts| facts.mode & 0o007 != 0) => {
            say.error(
                "hub.cookie_secret_file",
                format!("others can open {}; chmod 600 it", secret.display()),
            );
        }
        None => {}
    }
    if !(hub.cookie_max_age_days > 0.0 && hub.cookie_max_age_days <= 3650.0) {
        say.error("hub.cookie_max_age_days", "days a sign-in lasts: more than 0, at most 3650");
    }
    for folder in &hub.template_paths {
        if !world.facts(folder).is_some_and(|facts| facts.folder) {
            say.error("hub.template_paths", format!("there is no folder {}", folder.display()));
        }
    }
    if !hub.default_url.is_empty()
        && (!hub.default_url.starts_with('/') || hub.default_url.starts_with("//"))
    {
        say.error("hub.default_url", "it is a path of this hub and begins with one slash");
    }
    if let Err(bad) = log_filter(&config.log.level) {
        say.error(
            "log.level",
            format!(
                "`{bad}` is none of error, warn, info, debug, trace (or a list of target=level)"
            ),
        );
    }
    if let Some(folder) = config.log.file.parent().filter(|dir| !dir.as_os_str().is_empty())
        && !world.facts(folder).is_some_and(|facts| facts.folder)
    {
        say.error("log.file", format!("there is no folder {}", folder.display()));
    }
    if let Some(file) = &say.effective.file
        && world.is_root()
        && world.facts(file).is_some_and(|facts| facts.mode & 0o022 != 0)
    {
        let words =
            format!("others can change {}, and root obeys it; chmod 640 it", file.display());
        say.error("file", words);
    }
}

/// The first part of a log filter that is none.
fn log_filter(text: &str) -> Result<(), &str> {
    let level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .contains(&text.to_ascii_lowercase().as_str())
    };
    let good = |part: &&str| match part.split_once('=') {
        Some((target, name)) => !target.trim().is_empty() && level(name.trim()),
        None => level(part.trim()),
    };
    match text.split(',').find(|part| !good(part)) {
        Some(bad) => Err(bad.trim()),
        None => Ok(()),
    }
}

fn auth(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let auth = &config.auth;
    match &auth.class {
        AuthClass::Dummy(dummy) => {
            if !is_loopback(&config.hub.ip) && !dummy.allow_remote {
                say.error(
                    "auth.class.Dummy.allow_remote",
                    "Dummy lets anybody in under any name and hub.ip is no loopback address; set hub.ip to \"127.0.0.1\", or allow_remote if that is really meant",
                );
            } else {
                say.warn(
                    "auth.class",
                    "Dummy lets anybody in under any name: for trying things out only",
                );
            }
            if world.is_root() && matches!(config.spawner.class, SpawnerClass::Local(_)) {
                say.warn(
                    "auth.class",
                    "as root, Dummy gives every account of this machine to anybody who can connect",
                );
            }
        }
        AuthClass::Pam(pam) => pam_service(say, &pam.service, world),
    }
    if !auth.allow_all && auth.allowed_users.is_empty() && auth.allow_existing_users != Some(true) {
        say.note(
            "auth.allowed_users",
            "no allow rule: everybody whom the authenticator accepts may sign in (with PAM every account with a password); set allowed_users, or allow_all to say that it is meant",
        );
    }
    if auth.allow_all && !auth.allowed_users.is_empty() {
        say.note("auth.allow_all", "everybody may sign in, so allowed_users restricts nobody");
    }
    for name in auth.allowed_users.intersection(&auth.blocked_users) {
        say.warn("auth.blocked_users", format!("`{name}` is allowed and blocked; blocked wins"));
    }
    for (path, names) in [
        ("auth.allowed_users", &auth.allowed_users),
        ("auth.blocked_users", &auth.blocked_users),
        ("auth.admin_users", &auth.admin_users),
    ] {
        for name in names {
            match jovis_actors::domain::Username::normalise(name) {
                Err(error) => say.error(path, format!("`{name}` is no name of a user: {error}")),
                Ok(normal) if normal.as_str() != name => {
                    say.warn(
                        path,
                        format!("`{name}` is compared as `{normal}`: names are lower case"),
                    );
                }
                Ok(_) => {}
            }
        }
    }
}

fn pam_service(say: &mut Say<'_>, service: &str, world: &dyn World) {
    let path = "auth.class.Pam.service";
    if service.is_empty() || service.contains('/') || service.starts_with('.') {
        return say.error(path, "it is the name of a file in /etc/pam.d, without folders");
    }
    let stack = pam_stack::read(world, service);
    for missing in &stack.missing {
        if missing == service {
            say.error(path, format!("there is no readable /etc/pam.d/{service}; make it, or name one that exists (\"login\")"));
        } else {
            say.error(
                path,
                format!("/etc/pam.d/{service} includes {missing}, which cannot be read"),
            );
        }
    }
    for (module, file) in &stack.modules {
        if module.contains("pam_rootok") {
            say.error(
                path,
                format!("/etc/pam.d/{file} accepts root's word for a password (pam_rootok), and jovis asks as root: anybody could sign in; take a service without it"),
            );
        } else if module.contains("pam_permit") && stack.modules.len() == 1 {
            say.error(path, format!("/etc/pam.d/{file} accepts any password (pam_permit alone)"));
        }
    }
}

fn spawner(say: &mut Say<'_>, config: &Config) {
    let spawner = &config.spawner;
    if spawner.cmd.first().is_none_or(String::is_empty) {
        say.error("spawner.cmd", "a program is needed, such as [\"jupyterhub-singleuser\"]");
    }
    for name in spawner.environment.keys().chain(&spawner.env_keep) {
        if name.is_empty() || name.contains(['=', '\0']) {
            say.error("spawner.environment", format!("{name:?} is no name of a variable"));
        }
    }
    if spawner.log_size < 4096 {
        say.error("spawner.log_size", "at least 4096 bytes are needed to keep any output");
    }
    if let SpawnerClass::Simple(simple) = &spawner.class {
        if !simple.home_dir_template.starts_with('/') {
            say.error("spawner.class.Simple.home_dir_template", "a path from / is needed");
        }
        say.warn(
            "spawner.class",
            "Simple runs all servers as one account: users can read each other's files",
        );
    }
}

fn waits(say: &mut Say<'_>, config: &Config) {
    let (proxy, spawner) = (&config.proxy, &config.spawner);
    let mut positive: Vec<(&str, Seconds)> = vec![
        ("proxy.header_timeout", proxy.header_timeout),
        ("proxy.keep_alive_timeout", proxy.keep_alive_timeout),
        ("proxy.connect_timeout", proxy.connect_timeout),
        ("spawner.start_timeout", spawner.start_timeout),
        ("spawner.http_timeout", spawner.http_timeout),
        ("spawner.kill_timeout", spawner.kill_timeout),
        ("root.watchdog", config.root.watchdog),
        ("hub.activity_resolution", config.hub.activity_resolution),
    ];
    if let AuthClass::Pam(pam) = &config.auth.class {
        positive.push(("auth.class.Pam.timeout", pam.timeout));
        if pam.concurrency == 0 {
            say.error("auth.class.Pam.concurrency", "nobody could sign in; write 1 or more");
        }
    }
    for (path, seconds) in positive {
        if seconds.is_zero() {
            say.error(path, "0 seconds leave no time at all; write more than 0");
        }
    }
    if config.root.max_children == 0 {
        say.error("root.max_children", "no server could start; write 1 or more");
    }
    if config.root.min_uid == 0 {
        say.error("root.min_uid", "root itself can never sign in or run a server; write 1 or more");
    }
}

fn accounts(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    if !world.is_root() {
        return say.note(
            "root.hub_user",
            "not started by root: one account for all, and PAM checks that account's password only",
        );
    }
    let mut needed = vec![
        ("root.hub_user", config.root.hub_user.as_str()),
        ("root.proxy_user", config.root.proxy_user.as_str()),
    ];
    if let SpawnerClass::Simple(simple) = &config.spawner.class {
        needed.push(("spawner.class.Simple.user", &simple.user));
    }
    for (path, name) in &needed {
        if *name == "root" {
            say.error(path, "this part must not be root; name an account without rights");
        } else if !world.account_exists(name) {
            say.error(
                path,
                format!("there is no account `{name}`; make it: useradd --system --no-create-home --shell /usr/sbin/nologin {name}"),
            );
        }
    }
    if config.root.hub_user == config.root.proxy_user {
        say.warn("root.proxy_user", "hub and proxy share an account, so the proxy could read the hub's state; give it its own");
    }
}

/// Old names and settings without effect.
fn names(say: &mut Say<'_>, world: &dyn World) {
    if say.effective.places.iter().any(|at| at.path == "auth.whitelist") {
        say.note(
            "auth.allowed_users",
            "`whitelist` is its old name; it works, but write `allowed_users`",
        );
    }
    let defaults = Config::default();
    let config = &say.effective.config;
    let set = [
        ("hub.proxy_api_ip", config.hub.proxy_api_ip != defaults.hub.proxy_api_ip),
        ("hub.proxy_api_port", config.hub.proxy_api_port != defaults.hub.proxy_api_port),
        ("hub.db_url", config.hub.db_url != defaults.hub.db_url),
        ("auth.create_system_users", config.auth.create_system_users),
    ];
    for (path, _) in set.iter().filter(|(_, set)| *set) {
        let doc = catalogue::setting(path).map(|one| one.doc.as_str()).unwrap_or_default();
        say.warn(path, format!("not built yet, so it does nothing. {doc}"));
    }
    if world.variable(super::secret::PROXY_VARIABLE).is_some() {
        say.note(
            "hub.proxy_api_port",
            format!(
                "{} is set; the proxy's REST API is not built yet, so it does nothing",
                super::secret::PROXY_VARIABLE
            ),
        );
    }
}

#[cfg(test)]
mod tests;
