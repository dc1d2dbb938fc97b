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
    sections::{AuthClass, Config, SpawnerClass},
    world::World,
};

mod acme;
mod docker;
mod folders;
mod guard;
mod network;
mod pages;
mod people;
mod profiles;
mod providers;
mod roles;
mod services;
mod site;

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

/// One thing about a configuration. Shown without its place in the file: who shows it puts that in front.
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
        match self.source {
            Source::CommandLine(_) | Source::Variable(_) => write!(f, " ({})", self.source),
            Source::Default | Source::File { .. } => Ok(()),
        }
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
    network::addresses(&mut say, config, world);
    network::rest(&mut say, config, world);
    network::headers(&mut say, config);
    site::site(&mut say, config);
    network::tls(&mut say, config, world);
    acme::acme(&mut say, config, world);
    hub(&mut say, config, world);
    pages::look(&mut say, config, world);
    people::auth(&mut say, config, world);
    roles::roles(&mut say, config);
    services::services(&mut say, config, world);
    spawner(&mut say, config);
    profiles::profiles(&mut say, config);
    docker::docker(&mut say, config);
    waits(&mut say, config);
    folders::of_roots_files(&mut say, config, world);
    guard::guard(&mut say, config, world);
    people::accounts(&mut say, config, world);
    names(&mut say);
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
        ("hub.port", &*config.hub.ip, config.hub.port),
        ("hub.hub_port", &config.hub.hub_ip, config.hub.hub_port),
        ("proxy.redirect_port", &config.hub.ip, config.proxy.redirect_port),
        ("hub.proxy_api_port", config.hub.proxy_api_ip(), config.hub.proxy_api_port),
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
    if let Err(error) = super::secret::tls(config) {
        say.error("hub.ssl_cert", error.to_string());
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
    /// About a field of one entry of a list (by number) or map (by name).
    fn add_in(&mut self, severity: Severity, path: &str, entry: &str, words: String) {
        let source = self.effective.source_in(path, entry);
        let (list, field) = path.rsplit_once('.').unwrap_or((path, ""));
        let path = format!("{list}[{entry}].{field}");
        self.findings.push(Finding { severity, path, words, source });
    }
    fn error_in(&mut self, path: &str, entry: &str, words: impl Into<String>) {
        self.add_in(Severity::Error, path, entry, words.into());
    }
    fn warn_in(&mut self, path: &str, entry: &str, words: impl Into<String>) {
        self.add_in(Severity::Warning, path, entry, words.into());
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
    if let Err(error) = jovis_actors::domain::ServerName::new(&hub.default_server_name) {
        say.error("hub.default_server_name", format!("this is no name of a server: {error}"));
    } else if !hub.default_server_name.is_empty() && !hub.allow_named_servers {
        say.warn("hub.default_server_name", "without hub.allow_named_servers it is ignored");
    }
    if !hub.default_url.is_empty()
        && (!hub.default_url.starts_with('/') || hub.default_url.starts_with("//"))
    {
        say.error("hub.default_url", "it is a path of this hub and begins with one slash");
    }
    if hub.api_page_max_limit == 0
        || !(1..=hub.api_page_max_limit).contains(&hub.api_page_default_limit)
    {
        say.error("hub.api_page_default_limit", "1 to `api_page_max_limit` items stand on a page");
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

/// What a role needs to begin with, in bytes: threads, and a store of some size.
const LEAST_MEMORY: u64 = 128 << 20;

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
    if (1..LEAST_MEMORY).contains(&config.root.role_memory) {
        say.error("root.role_memory", "a role needs at least 134217728 bytes (128 MiB)");
    }
    if config.root.min_uid == 0 {
        say.error("root.min_uid", "root itself can never sign in or run a server; write 1 or more");
    }
}

/// Old names and settings without effect.
fn names(say: &mut Say<'_>) {
    if say.effective.places.iter().any(|at| at.path == "auth.whitelist") {
        say.note(
            "auth.allowed_users",
            "`whitelist` is its old name; it works, but write `allowed_users`",
        );
    }
    let defaults = Config::default();
    let config = &say.effective.config;
    let set = [("hub.db_url", config.hub.db_url != defaults.hub.db_url)];
    for (path, _) in set.iter().filter(|(_, set)| *set) {
        let doc = catalogue::setting(path).map(|one| one.doc.as_str()).unwrap_or_default();
        let rest = doc.split_once("Not built yet").map_or(".", |(_, rest)| rest);
        say.warn(path, format!("not built yet, so it does nothing{rest}"));
    }
}

#[cfg(test)]
mod tests;
