//! Old and new configuration compared, setting by setting: what takes effect while jovis runs, and how. Pure.

use serde_json::Value;

use super::{Config, catalogue};

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// At once.
    Live,
    /// For servers that start from now on; those that run keep what they were started with.
    NextStart,
    /// At once, by a new socket or certificate: the old one finishes what it has in hand.
    Rebind,
    /// When jovis is started anew, and why not before.
    Restart(&'static str),
    /// Never: it is not built yet.
    Never,
}

use Class::{Live, Never, NextStart, Rebind, Restart};

impl Class {
    /// In a word or two, as the settings' documentation has it.
    pub fn word(self) -> &'static str {
        match self {
            Live => "live",
            NextStart => "next start",
            Rebind => "rebind",
            Restart(_) => "restart",
            Never => "not built",
        }
    }
}

/// What the words mean, for the settings' documentation.
pub const LEGEND: &[(&str, &str)] = &[
    ("live", "at once"),
    ("next start", "for servers that start from then on"),
    ("rebind", "at once, by a new socket or certificate; open connections stay"),
    ("restart", "when jovis is started anew"),
];

/// One row per setting; a test finds a missing one.
const TABLE: &[(&str, Class)] = &[
    ("hub.ip", Rebind),
    ("hub.port", Rebind),
    ("hub.base_url", Restart("cookies, routes and running servers have it in them")),
    ("hub.public_url", Restart("running servers have it in them")),
    ("hub.subdomain_host", Restart("routes and running servers have it in them")),
    ("hub.subdomain_hook", Restart("routes and running servers have it in them")),
    ("hub.ssl_key", Rebind),
    ("hub.ssl_cert", Rebind),
    ("hub.hub_ip", Rebind),
    ("hub.hub_port", Rebind),
    ("hub.hub_connect_ip", Rebind),
    ("hub.name", Restart("it names the runtime directory, by which a next root finds what runs")),
    ("hub.state_dir", Restart("it holds the open store")),
    ("hub.cookie_secret_file", Restart("another key signs everybody out")),
    ("hub.cookie_max_age_days", Live),
    ("hub.cookie_host_prefix_enabled", Live),
    ("hub.cookie_options", Live),
    ("hub.oauth_token_expires_in", Live),
    ("hub.oauth_require_pkce", Live),
    ("hub.token_expires_in_max_seconds", Live),
    ("hub.api_page_default_limit", Live),
    ("hub.api_page_max_limit", Live),
    ("hub.extra_user_scopes", Live),
    ("hub.custom_scopes", Live),
    ("hub.service_check_interval", Live),
    ("hub.concurrent_spawn_limit", Live),
    ("hub.active_server_limit", Live),
    ("hub.spawn_queue_limit", Live),
    ("hub.allow_named_servers", Live),
    ("hub.default_server_name", Live),
    ("hub.named_server_limit_per_user", Live),
    ("hub.redirect_to_server", Live),
    ("hub.default_url", Live),
    ("hub.implicit_spawn_seconds", Live),
    ("hub.authenticate_prometheus", Live),
    ("hub.shutdown_on_logout", Live),
    ("hub.headers", Live),
    ("hub.use_legacy_stopped_server_status_code", Live),
    ("hub.slow_spawn_timeout", Live),
    ("hub.slow_stop_timeout", Live),
    ("hub.activity_resolution", Live),
    ("hub.template_paths", Live),
    ("hub.template_vars", Live),
    ("hub.site_name", Live),
    ("hub.logo_file", Live),
    ("hub.logo_url", Live),
    ("hub.colors", Live),
    ("hub.language", Live),
    ("hub.admin_access", NextStart),
    ("hub.proxy_api_ip", Rebind),
    ("hub.proxy_api_port", Rebind),
    ("hub.proxy_auth_token_file", Live),
    ("hub.db_url", Never),
    ("proxy.sockets", Rebind),
    ("proxy.hub_patience", Live),
    ("proxy.drain", Live),
    ("proxy.upgrade_drain", Live),
    ("proxy.header_timeout", Live),
    ("proxy.keep_alive_timeout", Live),
    ("proxy.connect_timeout", Live),
    ("proxy.access_log_every", Live),
    ("proxy.extra_routes", Live),
    ("proxy.trusted_proxies", Live),
    ("proxy.proxy_protocol", Live),
    ("proxy.certificates", Rebind),
    ("proxy.acme.names", Rebind),
    ("proxy.acme.terms_agreed", Live),
    ("proxy.acme.email", Live),
    ("proxy.acme.directory", Live),
    ("proxy.acme.directory_ca", Live),
    ("proxy.acme.challenge", Live),
    ("proxy.acme.renew_before_days", Live),
    ("proxy.acme.retry", Live),
    ("proxy.client_ca", Rebind),
    ("proxy.tls_min", Live),
    ("proxy.http2", Live),
    ("proxy.hsts", Live),
    ("proxy.redirect_port", Rebind),
    ("proxy.redirect_to", Live),
    ("auth.class", Live),
    ("auth.class.Pam.service", Live),
    ("auth.class.Pam.timeout", Live),
    ("auth.class.Pam.concurrency", Live),
    ("auth.class.Pam.pam_normalize_username", Live),
    ("auth.class.Pam.request_otp", Live),
    ("auth.class.Pam.otp_prompt", Live),
    ("auth.class.Dummy.password", Live),
    ("auth.class.Dummy.allow_remote", Live),
    ("auth.class.GitHub.client_id", Live),
    ("auth.class.GitHub.client_secret", Live),
    ("auth.class.GitHub.oauth_callback_url", Live),
    ("auth.class.GitHub.github_url", Live),
    ("auth.class.GitHub.github_api_url", Live),
    ("auth.class.GitHub.allowed_organizations", Live),
    ("auth.class.GitHub.scope", Live),
    ("auth.class.GitHub.login_service", Live),
    ("auth.class.GitHub.ca_file", Live),
    ("auth.class.GitHub.timeout", Live),
    ("auth.class.Oidc.issuer", Live),
    ("auth.class.Oidc.client_id", Live),
    ("auth.class.Oidc.client_secret", Live),
    ("auth.class.Oidc.oauth_callback_url", Live),
    ("auth.class.Oidc.scope", Live),
    ("auth.class.Oidc.username_template", Live),
    ("auth.class.Oidc.username_suffix", Live),
    ("auth.class.Oidc.groups_claim", Live),
    ("auth.class.Oidc.required_claims", Live),
    ("auth.class.Oidc.require_verified_email", Live),
    ("auth.class.Oidc.userinfo", Live),
    ("auth.class.Oidc.max_age", Live),
    ("auth.class.Oidc.acr_values", Live),
    ("auth.class.Oidc.algorithms", Live),
    ("auth.class.Oidc.extra_authorize_params", Live),
    ("auth.class.Oidc.logout_redirect_url", Live),
    ("auth.class.Oidc.login_service", Live),
    ("auth.class.Oidc.ca_file", Live),
    ("auth.class.Oidc.timeout", Live),
    ("auth.others", Live),
    ("auth.auto_login", Live),
    ("auth.auto_login_oauth2_authorize", Live),
    ("auth.custom_403_message", Live),
    ("auth.custom_html", Live),
    ("auth.allow_all", Live),
    ("auth.allowed_users", Live),
    ("auth.allow_existing_users", Live),
    ("auth.blocked_users", Live),
    ("auth.admin_users", Live),
    ("auth.manage_groups", Live),
    ("auth.allowed_groups", Live),
    ("auth.admin_groups", Live),
    ("auth.enable_auth_state", Live),
    ("auth.auth_refresh_age", Live),
    ("auth.refresh_pre_spawn", Live),
    ("auth.auth_refresh_grace", Live),
    ("auth.username_map", Live),
    ("auth.username_pattern", Live),
    ("auth.create_system_users", Live),
    ("auth.add_user_cmd", Live),
    ("auth.uids", Live),
    ("auth.home_mode", Live),
    ("spawner.class", NextStart),
    ("spawner.class.Simple.user", NextStart),
    ("spawner.class.Simple.home_dir_template", NextStart),
    ("spawner.class.Docker.socket", NextStart),
    ("spawner.class.Docker.tls_ca", Restart("an engine is met once")),
    ("spawner.class.Docker.tls_cert", Restart("an engine is met once")),
    ("spawner.class.Docker.tls_key", Restart("an engine is met once")),
    ("spawner.class.Docker.image", NextStart),
    ("spawner.class.Docker.allowed_images", NextStart),
    ("spawner.class.Docker.pull_policy", NextStart),
    ("spawner.class.Docker.pull_timeout", NextStart),
    ("spawner.class.Docker.prefix", NextStart),
    ("spawner.class.Docker.name_template", NextStart),
    ("spawner.class.Docker.volumes", NextStart),
    ("spawner.class.Docker.network_name", NextStart),
    ("spawner.class.Docker.use_internal_ip", NextStart),
    ("spawner.class.Docker.host_ip", NextStart),
    ("spawner.class.Docker.port", NextStart),
    ("spawner.class.Docker.hub_connect_url", NextStart),
    ("spawner.class.Docker.extra_hosts", NextStart),
    ("spawner.class.Docker.cmd", NextStart),
    ("spawner.class.Docker.mem_limit", NextStart),
    ("spawner.class.Docker.mem_guarantee", NextStart),
    ("spawner.class.Docker.cpu_limit", NextStart),
    ("spawner.class.Docker.cpu_guarantee", NextStart),
    ("spawner.class.Docker.pids_limit", NextStart),
    ("spawner.class.Docker.remove", NextStart),
    ("spawner.class.Docker.labels", NextStart),
    ("spawner.class.Docker.user", NextStart),
    ("spawner.class.Docker.no_new_privileges", NextStart),
    ("spawner.class.Docker.cap_drop", NextStart),
    ("spawner.class.Docker.cap_add", NextStart),
    ("spawner.class.Docker.read_only", NextStart),
    ("spawner.class.Docker.extra_host_config", NextStart),
    ("spawner.class.Docker.system_users", NextStart),
    ("spawner.class.Docker.host_homedir_format_string", NextStart),
    ("spawner.class.Docker.image_homedir_format_string", NextStart),
    ("spawner.class.Docker.run_as_root", NextStart),
    ("spawner.cmd", NextStart),
    ("spawner.args", NextStart),
    ("spawner.notebook_dir", NextStart),
    ("spawner.default_url", NextStart),
    ("spawner.ip", NextStart),
    ("spawner.port", NextStart),
    ("spawner.ports", NextStart),
    ("spawner.environment", NextStart),
    ("spawner.auth_state_environment", NextStart),
    ("spawner.env_keep", NextStart),
    ("spawner.profiles", Live),
    ("spawner.server_token_scopes", NextStart),
    ("spawner.oauth_client_allowed_scopes", NextStart),
    ("spawner.start_timeout", NextStart),
    ("spawner.http_timeout", NextStart),
    ("spawner.debug", NextStart),
    ("spawner.disable_user_config", NextStart),
    ("spawner.restart", Live),
    ("spawner.reconcile_interval", Live),
    ("spawner.usage_interval", Live),
    ("spawner.log_size", Live),
    ("spawner.open_files", NextStart),
    ("spawner.interrupt_timeout", Live),
    ("spawner.term_timeout", Live),
    ("spawner.kill_timeout", Live),
    ("roles", Live),
    ("services", Live),
    ("load_groups", Live),
    ("root.hub_user", Restart("the state directory belongs to that account")),
    ("root.proxy_user", Restart("the hub's socket for the proxy belongs to that account")),
    ("root.service_user", Live),
    ("root.min_uid", Live),
    ("root.watchdog", Live),
    ("root.max_children", Live),
    ("root.role_memory", Live),
    ("shutdown.servers", Live),
    ("log.level", Live),
    ("log.format", Live),
    ("log.file", Live),
];

/// What differs between two configurations, sorted by when it takes effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// At once.
    pub live: Vec<&'static str>,
    /// For servers that start from now on.
    pub next_start: Vec<&'static str>,
    /// At once, by another socket or certificate.
    pub rebind: Vec<&'static str>,
    /// At the next start of jovis.
    pub restart: Vec<&'static str>,
    /// Not at all so far.
    pub never: Vec<&'static str>,
}

impl Changes {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When a change of this setting takes effect; `None` for a path that is none.
pub fn class(path: &str) -> Option<Class> {
    TABLE.iter().find(|(name, _)| *name == path).map(|(_, class)| *class)
}

/// Compares two configurations.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let value = |config| serde_json::to_value(config).expect("sections are plain data");
    let (old, new): (Value, Value) = (value(old), value(new));
    let mut changes = Changes::default();
    for (path, class) in TABLE {
        let pointer = format!("/{}", path.replace('.', "/"));
        let part = |whole: &Value| match whole.pointer(&pointer) {
            // Of a class with settings of its own only its name counts here: the settings have rows of their own.
            Some(Value::Object(fields))
                if catalogue::setting(path).is_some_and(|one| one.kind.contains("(..)")) =>
            {
                fields.keys().next().cloned().map(Value::String)
            }
            other => other.cloned(),
        };
        // With another class its settings come and go with it; the class's own row tells enough.
        let (Some(before), Some(after)) = (part(&old), part(&new)) else { continue };
        if before != after {
            let list = match class {
                Live => &mut changes.live,
                NextStart => &mut changes.next_start,
                Rebind => &mut changes.rebind,
                Restart(_) => &mut changes.restart,
                Never => &mut changes.never,
            };
            list.push(path);
        }
    }
    changes
}

/// The new configuration, with what waits for a restart as it was: what runs must not half believe it.
pub fn without_restart(old: &Config, new: &Config) -> Config {
    let value = |config| serde_json::to_value(config).expect("sections are plain data");
    let (before, mut after): (Value, Value) = (value(old), value(new));
    for path in changes(old, new).restart {
        let pointer = format!("/{}", path.replace('.', "/"));
        if let (Some(was), Some(place)) = (before.pointer(&pointer), after.pointer_mut(&pointer)) {
            *place = was.clone();
        }
    }
    serde_json::from_value(after).expect("each part comes from a configuration")
}

/// A configuration with this setting in it, and one that differs in nothing else; for tests.
#[cfg(test)]
pub(super) fn another(path: &str) -> Option<(Config, Config)> {
    use super::sections::{AuthClass, Docker, Dummy, Simple, SpawnerClass};
    let mut old = Config::default();
    if path.starts_with("auth.class.Dummy") {
        old.auth.class = AuthClass::Dummy(Dummy::default());
    }
    if path.starts_with("auth.class.GitHub") {
        old.auth.class = AuthClass::GitHub(Default::default());
    }
    if path.starts_with("auth.class.Oidc") {
        old.auth.class = AuthClass::Oidc(Default::default());
    }
    if path.starts_with("spawner.class.Simple") {
        old.spawner.class = SpawnerClass::Simple(Simple::default());
    }
    if path.starts_with("spawner.class.Docker") {
        old.spawner.class = SpawnerClass::Docker(Docker::default());
    }
    let mut value = serde_json::to_value(&old).ok()?;
    let place = value.pointer_mut(&format!("/{}", path.replace('.', "/")))?;
    *place = match &*place {
        Value::Bool(yes) => (!yes).into(),
        Value::Number(number) if number.is_f64() => (number.as_f64()? + 1.0).into(),
        Value::Number(number) => (number.as_u64()? + 1).into(),
        Value::String(_) if path == "log.format" => "Json".into(),
        Value::String(_) if path.ends_with(".pull_policy") => "Always".into(),
        Value::String(_) if path == "spawner.restart" => "Never".into(),
        Value::String(_) if path == "proxy.acme.challenge" => "Http01".into(),
        Value::String(_) if path == "proxy.tls_min" => "Tls13".into(),
        Value::String(_) if path == "hub.subdomain_hook" => "Legacy".into(),
        Value::String(text) => format!("{text}x").into(),
        Value::Null if path == "shutdown.servers" => "Keep".into(),
        Value::Null => true.into(),
        Value::Array(_) if path == "proxy.certificates" => serde_json::json!([{"cert": "x"}]),
        Value::Array(_) if ["roles", "services", "auth.others"].contains(&path) => {
            serde_json::json!([{"name": "x"}])
        }
        Value::Object(_) if ["load_groups", "hub.custom_scopes"].contains(&path) => {
            serde_json::json!({"x": {}})
        }
        Value::Array(_) if path == "spawner.profiles" => serde_json::json!([{"slug": "x"}]),
        Value::Array(_) if path == "spawner.ports" => serde_json::json!([1, 2]),
        Value::Array(items) => [items.clone(), vec!["x".into()]].concat().into(),
        Value::Object(_) if path == "auth.class" => serde_json::json!({"Dummy": Dummy::default()}),
        Value::Object(_) if path == "spawner.class" => {
            serde_json::json!({"Simple": Simple::default()})
        }
        Value::Object(_) if path == "auth.class.Oidc.required_claims" => {
            serde_json::json!({"x": ["y"]})
        }
        Value::Object(_) if path == "auth.uids" => serde_json::json!({"x": 1000}),
        Value::Object(_) => serde_json::json!({"x": "y"}),
    };
    Some((old, serde_json::from_value(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::{AuthClass, Dummy, Pam};

    #[test]
    fn every_setting_has_one_row() {
        for one in catalogue::settings() {
            let rows = TABLE.iter().filter(|(path, _)| *path == one.path).count();
            assert_eq!(rows, 1, "{}", one.path);
            assert_eq!(class(&one.path) == Some(Never), one.unbuilt(), "{}", one.path);
        }
        for (path, _) in TABLE {
            assert!(catalogue::setting(path).is_some(), "{path}");
        }
    }

    #[test]
    fn few_settings_need_a_restart_and_each_says_why() {
        let reasons: Vec<_> = TABLE
            .iter()
            .filter_map(|(_, class)| if let Restart(why) = class { Some(why) } else { None })
            .collect();
        assert!(reasons.len() <= 15 && reasons.iter().all(|why| why.len() > 10), "{reasons:?}");
    }

    /// Each setting in turn, and no other: it is found, under its class and nowhere else; and what waits for a restart,
    /// only that, stays as it was.
    #[test]
    fn each_setting_is_found_changed_under_its_class_alone() {
        for (path, class) in TABLE {
            let (old, new) = another(path).unwrap_or_else(|| panic!("{path}"));
            let mut want = Changes::default();
            match class {
                Live => want.live.push(path),
                NextStart => want.next_start.push(path),
                Rebind => want.rebind.push(path),
                Restart(_) => want.restart.push(path),
                Never => want.never.push(path),
            }
            assert_eq!(changes(&old, &new), want, "{path}");
            let kept = without_restart(&old, &new);
            assert_eq!(kept == old, matches!(class, Restart(_)), "{path}");
            assert_eq!(changes(&kept, &new).restart, want.restart, "{path}");
            assert!(changes(&old, &old.clone()).is_empty());
        }
    }

    #[test]
    fn what_waits_for_a_restart_stays_as_it_was_while_the_rest_changes() {
        let old = Config::default();
        let mut new = old.clone();
        new.hub.base_url = "/x/".into();
        new.auth.class = AuthClass::Dummy(Dummy::default());
        new.auth.allowed_users.insert("a".into());
        let kept = without_restart(&old, &new);
        assert_eq!(changes(&old, &kept).live, ["auth.class", "auth.allowed_users"]);
        assert!(changes(&old, &kept).restart.is_empty());
        // Asked again it is named again; taken back it is not.
        assert_eq!(changes(&kept, &new).restart, ["hub.base_url"]);
        new.hub.base_url = "/".into();
        assert!(changes(&kept, &new).is_empty());
    }

    #[test]
    fn of_a_class_its_settings_are_compared_and_of_another_only_the_name() {
        let old = Config::default();
        let mut new = old.clone();
        new.auth.class = AuthClass::Pam(Pam { service: "su".into(), ..Pam::default() });
        assert_eq!(changes(&old, &new).live, ["auth.class.Pam.service"]);
        new.auth.class = AuthClass::Dummy(Dummy::default());
        assert_eq!(changes(&old, &new).live, ["auth.class"]);
    }
}
