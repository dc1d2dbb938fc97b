//! Old and new configuration compared, setting by setting: what can take effect while jovis runs, and what waits for a
//! restart. Pure.

use serde_json::Value;

use super::{Config, catalogue};

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// At once, or for what starts from now on.
    Live,
    /// When jovis is started anew.
    Restart,
    /// Never: it is not built yet.
    Never,
}

use Takes::{Live, Never, Restart};

/// One row per setting; a test finds a missing one.
const TABLE: &[(&str, Takes)] = &[
    ("hub.ip", Restart),
    ("hub.port", Restart),
    ("hub.base_url", Restart),
    ("hub.ssl_key", Live),
    ("hub.ssl_cert", Live),
    ("hub.hub_ip", Restart),
    ("hub.hub_port", Restart),
    ("hub.hub_connect_ip", Restart),
    ("hub.name", Restart),
    ("hub.state_dir", Restart),
    ("hub.cookie_secret_file", Restart),
    ("hub.cookie_max_age_days", Live),
    ("hub.oauth_token_expires_in", Live),
    ("hub.oauth_require_pkce", Live),
    ("hub.concurrent_spawn_limit", Live),
    ("hub.active_server_limit", Live),
    ("hub.allow_named_servers", Live),
    ("hub.redirect_to_server", Live),
    ("hub.default_url", Live),
    ("hub.implicit_spawn_seconds", Live),
    ("hub.shutdown_on_logout", Live),
    ("hub.slow_spawn_timeout", Live),
    ("hub.slow_stop_timeout", Live),
    ("hub.activity_resolution", Restart),
    ("hub.template_paths", Restart),
    ("hub.template_vars", Live),
    ("hub.admin_access", Live),
    ("hub.proxy_api_ip", Never),
    ("hub.proxy_api_port", Never),
    ("hub.db_url", Never),
    ("proxy.sockets", Restart),
    ("proxy.hub_patience", Live),
    ("proxy.drain", Live),
    ("proxy.header_timeout", Live),
    ("proxy.keep_alive_timeout", Live),
    ("proxy.connect_timeout", Live),
    ("proxy.trusted_proxies", Live),
    ("auth.class", Restart),
    ("auth.class.Pam.service", Live),
    ("auth.class.Pam.timeout", Live),
    ("auth.class.Pam.concurrency", Live),
    ("auth.class.Dummy.password", Restart),
    ("auth.class.Dummy.allow_remote", Restart),
    ("auth.allow_all", Live),
    ("auth.allowed_users", Live),
    ("auth.allow_existing_users", Live),
    ("auth.blocked_users", Live),
    ("auth.admin_users", Live),
    ("auth.username_map", Live),
    ("auth.create_system_users", Never),
    ("spawner.class", Restart),
    ("spawner.class.Simple.user", Restart),
    ("spawner.class.Simple.home_dir_template", Restart),
    ("spawner.cmd", Live),
    ("spawner.args", Live),
    ("spawner.notebook_dir", Restart),
    ("spawner.default_url", Restart),
    ("spawner.ip", Restart),
    ("spawner.port", Restart),
    ("spawner.ports", Restart),
    ("spawner.environment", Live),
    ("spawner.env_keep", Live),
    ("spawner.start_timeout", Live),
    ("spawner.http_timeout", Live),
    ("spawner.debug", Restart),
    ("spawner.disable_user_config", Restart),
    ("spawner.restart", Live),
    ("spawner.log_size", Live),
    ("spawner.open_files", Live),
    ("spawner.interrupt_timeout", Live),
    ("spawner.term_timeout", Live),
    ("spawner.kill_timeout", Live),
    ("root.hub_user", Restart),
    ("root.proxy_user", Restart),
    ("root.min_uid", Live),
    ("root.watchdog", Live),
    ("root.max_children", Live),
    ("shutdown.servers", Live),
    ("log.level", Live),
    ("log.format", Restart),
    ("log.file", Live),
];

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Settings that can take effect now.
    pub live: Vec<&'static str>,
    /// Settings that wait for a restart.
    pub restart: Vec<&'static str>,
    /// Settings that do nothing so far.
    pub never: Vec<&'static str>,
}

impl Changes {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Does a setting of this section (`auth`) change live?
    pub fn touches(&self, section: &str) -> bool {
        self.live.iter().any(|path| path.split('.').next() == Some(section))
    }
}

/// When a change of this setting takes effect; `None` for a path that is none.
pub fn takes(path: &str) -> Option<Takes> {
    TABLE.iter().find(|(name, _)| *name == path).map(|(_, takes)| *takes)
}

/// Compares two configurations.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let value = |config| serde_json::to_value(config).expect("sections are plain data");
    let (old, new): (Value, Value) = (value(old), value(new));
    let mut changes = Changes::default();
    for (path, takes) in TABLE {
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
            match takes {
                Live => changes.live.push(path),
                Restart => changes.restart.push(path),
                Never => changes.never.push(path),
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::{AuthClass, Dummy, Pam};

    #[test]
    fn every_setting_has_one_row() {
        for one in catalogue::settings() {
            let rows = TABLE.iter().filter(|(path, _)| *path == one.path).count();
            assert_eq!(rows, 1, "{}", one.path);
            assert_eq!(takes(&one.path) == Some(Never), one.unbuilt(), "{}", one.path);
        }
        for (path, _) in TABLE {
            assert!(catalogue::setting(path).is_some(), "{path}");
        }
    }

    #[test]
    fn changes_are_sorted_by_when_they_take_effect() {
        let old = Config::default();
        assert!(changes(&old, &old.clone()).is_empty());
        let mut new = old.clone();
        new.hub.port = 1;
        new.auth.allowed_users.insert("a".into());
        new.auth.class = AuthClass::Pam(Pam { service: "su".into(), ..Pam::default() });
        new.hub.db_url = "x".into();
        let found = changes(&old, &new);
        assert_eq!(found.live, ["auth.class.Pam.service", "auth.allowed_users"]);
        assert_eq!(found.restart, ["hub.port"]);
        assert_eq!(found.never, ["hub.db_url"]);
        assert!(found.touches("auth") && !found.touches("hub"));
    }

    #[test]
    fn what_waits_for_a_restart_stays_as_it_was() {
        let old = Config::default();
        let mut new = old.clone();
        new.hub.port = 1;
        new.auth.class = AuthClass::Dummy(Dummy::default());
        new.auth.allowed_users.insert("a".into());
        let kept = without_restart(&old, &new);
        assert_eq!(changes(&old, &kept).live, ["auth.allowed_users"]);
        assert!(changes(&old, &kept).restart.is_empty());
        assert_eq!(changes(&kept, &new).restart, ["hub.port", "auth.class"]);
    }

    #[test]
    fn another_class_is_one_change() {
        let old = Config::default();
        let mut new = old.clone();
        new.auth.class = AuthClass::Dummy(Dummy::default());
        assert_eq!(changes(&old, &new).restart, ["auth.class"]);
    }
}
