//! What a server finds in its environment (`spec/singleuser.md` 2): pure. Where it is to listen
//! (`JUPYTERHUB_SERVICE_URL`) is added by the spawner, which knows.

use std::{collections::BTreeMap, time::Duration};

use super::restart::Restart;
use crate::{
    accounts,
    domain::{
        ClientId, Facts, Scope, Secret, ServerName, Username,
        profile::{Overrides, Profile},
    },
    ports::{EnvVars, Keys},
};

/// What can change on reload; it counts from the next start on.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where servers reach the hub's API: `http://127.0.0.1:8081/hub/api`, no slash at the end.
    pub api_url: String,
    /// How long the spawner may take.
    pub start_timeout: Duration,
    /// How long the server then may take to answer.
    pub http_timeout: Duration,
    /// How long a soft stop may take (all its stages); then it is hard.
    pub stop_timeout: Duration,
    /// How often the records are compared with what the spawner runs.
    pub reconcile_interval: Duration,
    /// When a server that ended by itself is started again.
    pub restart: Restart,
    /// Folder the server shows; empty: not said. `{username}` and `{base_url}` are filled in.
    pub notebook_dir: String,
    /// Page it opens with; empty: not said. `{username}` and `{base_url}` are filled in.
    pub default_url: String,
    /// Debug output.
    pub debug: bool,
    /// Ignore the user's own configuration.
    pub disable_user_config: bool,
    /// Variables that go before all others.
    pub environment: BTreeMap<String, String>,
    /// Variables out of what the authenticator keeps about the user: to each its field there (`access_token`,
    /// `github_user.email`).
    pub from_auth_state: BTreeMap<String, String>,
    /// What opens that.
    pub keys: Keys,
    /// What people choose from.
    pub profiles: Vec<Profile>,
    /// Sets `JUPYTERHUB_ADMIN_ACCESS`.
    pub admin_access: bool,
    /// Scopes of the token a server is given; `!server` is filled in.
    pub server_token_scopes: Vec<Scope>,
    /// What visitors' tokens may carry besides identity and access.
    pub oauth_client_allowed_scopes: Vec<Scope>,
    /// Are cookies named with the `__Host-` prefix?
    pub cookie_host_prefix: bool,
    /// `cookie_options`, a JSON object; none: not configured.
    pub cookie_options: Option<serde_json::Value>,
    /// Most bytes of memory.
    pub mem_limit: Option<u64>,
    /// Bytes of memory it is sure to have.
    pub mem_guarantee: Option<u64>,
    /// Most processors.
    pub cpu_limit: Option<f64>,
    /// Processors it is sure to have.
    pub cpu_guarantee: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_url: String::new(),
            start_timeout: Duration::from_secs(60),
            http_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(75),
            reconcile_interval: Duration::from_secs(60),
            restart: Restart::default(),
            notebook_dir: String::new(),
            default_url: String::new(),
            debug: false,
            disable_user_config: false,
            environment: BTreeMap::new(),
            from_auth_state: BTreeMap::new(),
            keys: Keys::default(),
            profiles: Vec::new(),
            admin_access: false,
            server_token_scopes: accounts::SERVER_SCOPES.map(Scope::new).into(),
            oauth_client_allowed_scopes: Vec::new(),
            cookie_host_prefix: false,
            cookie_options: None,
            mem_limit: None,
            mem_guarantee: None,
            cpu_limit: None,
            cpu_guarantee: None,
        }
    }
}

/// The holes that whatever is configured for a server may have, besides its options.
pub fn holes(facts: &Facts, user: &Username) -> BTreeMap<String, String> {
    [("username", user.as_str()), ("base_url", &facts.base_url)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The variables that `auth_state` is good for: texts as they are, anything else as JSON; what is not there is left out.
pub fn from_auth_state(
    wanted: &BTreeMap<String, String>,
    keys: &Keys,
    kept: Option<&str>,
) -> BTreeMap<String, String> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let open = keys.0.as_ref().and_then(|vault| vault.open(kept?));
    let state = open.and_then(|open| serde_json::from_str::<serde_json::Value>(open.reveal()).ok());
    let Some(state) = state else { return BTreeMap::new() };
    let value = |path: &str| {
        let found = path.split('.').try_fold(&state, |value, step| value.get(step))?;
        match found {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    };
    let found = wanted.iter().filter_map(|(name, path)| Some((name.clone(), value(path)?)));
    // What cannot stand in an environment is not put there.
    found.filter(|(_, value)| !value.contains('\0')).collect()
}

/// The environment of one user's server, with its API token in it. What was chosen for it goes before what holds for all.
pub fn variables(
    facts: &Facts,
    settings: &Settings,
    user: &Username,
    server: &ServerName,
    token: &Secret,
    chosen: &Overrides,
    kept: Option<&str>,
) -> Secret<EnvVars> {
    let access = json(&[Scope::access_server(user, server), Scope::access_user(user)]);
    let fill = |text: &str| {
        text.replace("{username}", user.as_str()).replace("{base_url}", &facts.base_url)
    };
    let flag = |on: bool| on.then(|| "1".to_owned());
    // What was chosen is filled in already, and not filled in again.
    let text = |chosen: &str, text: &str| match chosen {
        "" => (!text.is_empty()).then(|| fill(text)),
        chosen => Some(chosen.to_owned()),
    };
    let memory = chosen.memory().ok().flatten().or(settings.mem_limit);
    let processors = chosen.processors().ok().flatten().or(settings.cpu_limit);

    let mut vars = BTreeMap::new();
    let mut set = |name: &str, value: String| vars.insert(name.to_owned(), value);
    set("JUPYTERHUB_API_TOKEN", token.reveal().clone());
    set("JPY_API_TOKEN", token.reveal().clone());
    set("JUPYTERHUB_CLIENT_ID", ClientId::of_server(user, server).as_str().to_owned());
    set("JUPYTERHUB_USER", user.to_string());
    set("JUPYTERHUB_SERVER_NAME", server.to_string());
    set("JUPYTERHUB_API_URL", settings.api_url.clone());
    set(
        "JUPYTERHUB_ACTIVITY_URL",
        format!("{}/users/{}/activity", settings.api_url, user.escaped()),
    );
    set("JUPYTERHUB_BASE_URL", facts.base_url.clone());
    set("JUPYTERHUB_SERVICE_PREFIX", facts.prefix(user, server));
    set("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{}oauth_callback", facts.url(user, server)));
    set("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access.clone());
    set("JUPYTERHUB_OAUTH_SCOPES", access);
    set("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", json(&settings.oauth_client_allowed_scopes));
    set("JUPYTERHUB_HOST", facts.public_host.clone());
    set("JUPYTERHUB_PUBLIC_URL", facts.full_url(user, server).unwrap_or_default());
    let hub = facts.public(&format!("{}hub/", facts.base_url));
    set("JUPYTERHUB_PUBLIC_HUB_URL", hub.unwrap_or_default());
    let host_prefix = if settings.cookie_host_prefix { "1" } else { "0" };
    set("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", host_prefix.to_owned());
    for (name, value) in [
        ("JUPYTERHUB_COOKIE_OPTIONS", settings.cookie_options.as_ref().map(ToString::to_string)),
        ("JUPYTERHUB_ADMIN_ACCESS", flag(settings.admin_access)),
        ("JUPYTERHUB_ROOT_DIR", text(&chosen.notebook_dir, &settings.notebook_dir)),
        ("JUPYTERHUB_DEFAULT_URL", text(&chosen.default_url, &settings.default_url)),
        ("JUPYTERHUB_DEBUG", flag(settings.debug)),
        ("JUPYTERHUB_DISABLE_USER_CONFIG", flag(settings.disable_user_config)),
        ("MEM_LIMIT", memory.map(|it| it.to_string())),
        ("MEM_GUARANTEE", settings.mem_guarantee.map(|it| it.to_string())),
        ("CPU_LIMIT", processors.map(|it| it.to_string())),
        ("CPU_GUARANTEE", settings.cpu_guarantee.map(|it| it.to_string())),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    vars.extend(from_auth_state(&settings.from_auth_state, &settings.keys, kept));
    vars.extend(settings.environment.clone());
    vars.extend(chosen.environment.clone());
    Secret::new(EnvVars(vars))
}

/// A list of scopes as a JSON list.
fn json(scopes: &[Scope]) -> String {
    serde_json::Value::from(scopes.iter().map(Scope::as_str).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { base_url: "/pre/".to_owned(), ..Facts::default() }
    }

    fn settings() -> Settings {
        Settings { api_url: "http://127.0.0.1:8081/pre/hub/api".to_owned(), ..Settings::default() }
    }

    fn vars(facts: &Facts, settings: &Settings, server: &str) -> BTreeMap<String, String> {
        let (bob, server) = (Username::new("bob").unwrap(), ServerName::new(server).unwrap());
        let chosen = Overrides::default();
        variables(facts, settings, &bob, &server, &Secret::new("s3cret".to_owned()), &chosen, None)
            .reveal()
            .0
            .clone()
    }

    #[test]
    fn the_table_of_the_contract() {
        let (default, named) = (vars(&facts(), &settings(), ""), vars(&facts(), &settings(), "n1"));
        let both = [
            ("JUPYTERHUB_API_TOKEN", "s3cret"),
            ("JPY_API_TOKEN", "s3cret"),
            ("JUPYTERHUB_USER", "bob"),
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/pre/hub/api"),
            ("JUPYTERHUB_ACTIVITY_URL", "http://127.0.0.1:8081/pre/hub/api/users/bob/activity"),
            ("JUPYTERHUB_BASE_URL", "/pre/"),
            ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]"),
            ("JUPYTERHUB_HOST", ""),
            ("JUPYTERHUB_PUBLIC_URL", ""),
            ("JUPYTERHUB_PUBLIC_HUB_URL", ""),
            ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0"),
        ];
        let each = [
            ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-bob", "jupyterhub-user-bob+n1"),
            ("JUPYTERHUB_SERVER_NAME", "", "n1"),
            ("JUPYTERHUB_SERVICE_PREFIX", "/pre/user/bob/", "/pre/user/bob/n1/"),
            (
                "JUPYTERHUB_OAUTH_CALLBACK_URL",
                "/pre/user/bob/oauth_callback",
                "/pre/user/bob/n1/oauth_callback",
            ),
            (
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
                r#"["access:servers!server=bob/","access:servers!user=bob"]"#,
                r#"["access:servers!server=bob/n1","access:servers!user=bob"]"#,
            ),
            (
                "JUPYTERHUB_OAUTH_SCOPES",
                r#"["access:servers!server=bob/","access:servers!user=bob"]"#,
                r#"["access:servers!server=bob/n1","access:servers!user=bob"]"#,
            ),
        ];
        for (name, value) in both {
            assert_eq!(default.get(name).map(String::as_str), Some(value), "{name}");
            assert_eq!(named.get(name).map(String::as_str), Some(value), "{name}");
        }
        for (name, one, other) in each {
            assert_eq!(default.get(name).map(String::as_str), Some(one), "{name}");
            assert_eq!(named.get(name).map(String::as_str), Some(other), "{name}");
        }
        assert_eq!(default.len(), both.len() + each.len(), "{default:?}");
    }

    #[test]
    fn what_is_configured_is_said_and_the_environment_goes_first() {
        let settings = Settings {
            notebook_dir: "~/{username}".to_owned(),
            default_url: "{base_url}x".to_owned(),
            debug: true,
            disable_user_config: true,
            admin_access: true,
            cookie_options: Some(serde_json::json!({"secure": true})),
            cookie_host_prefix: true,
            mem_limit: Some(1024),
            cpu_limit: Some(0.5),
            environment: [("JUPYTERHUB_USER".to_owned(), "eve".to_owned())].into(),
            ..Settings::default()
        };
        let facts = Facts { public_host: "https://hub.test".to_owned(), ..facts() };
        let vars = vars(&facts, &settings, "");
        for (name, value) in [
            ("JUPYTERHUB_ROOT_DIR", "~/bob"),
            ("JUPYTERHUB_DEFAULT_URL", "/pre/x"),
            ("JUPYTERHUB_DEBUG", "1"),
            ("JUPYTERHUB_DISABLE_USER_CONFIG", "1"),
            ("JUPYTERHUB_ADMIN_ACCESS", "1"),
            ("JUPYTERHUB_COOKIE_OPTIONS", r#"{"secure":true}"#),
            ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "1"),
            ("MEM_LIMIT", "1024"),
            ("CPU_LIMIT", "0.5"),
            ("JUPYTERHUB_HOST", "https://hub.test"),
            ("JUPYTERHUB_PUBLIC_URL", "https://hub.test/pre/user/bob/"),
            ("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.test/pre/hub/"),
            ("JUPYTERHUB_USER", "eve"),
        ] {
            assert_eq!(vars.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn what_was_chosen_goes_before_what_holds_for_all() {
        let settings = Settings {
            default_url: "/tree".to_owned(),
            mem_limit: Some(1024),
            environment: [("A", "1"), ("B", "1")].map(|(a, b)| (a.into(), b.into())).into(),
            ..settings()
        };
        let chosen = Overrides {
            environment: [("B".to_owned(), "2".to_owned())].into(),
            default_url: "/lab/{username}".to_owned(),
            mem_limit: "2G".to_owned(),
            cpu_limit: "1.5".to_owned(),
            ..Overrides::default()
        };
        let (bob, server) = (Username::new("bob").unwrap(), ServerName::default_server());
        let token = Secret::new("x".to_owned());
        let all = variables(&facts(), &settings, &bob, &server, &token, &chosen, None);
        for (name, value) in [
            ("A", "1"),
            ("B", "2"),
            ("JUPYTERHUB_DEFAULT_URL", "/lab/{username}"),
            ("MEM_LIMIT", "2147483648"),
            ("CPU_LIMIT", "1.5"),
        ] {
            assert_eq!(all.reveal().0.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    /// Seals nothing.
    #[derive(Debug)]
    struct Plain;

    impl crate::ports::Vault for Plain {
        fn seal(&self, open: &Secret) -> Option<String> {
            Some(open.reveal().clone())
        }
        fn open(&self, sealed: &str) -> Option<Secret> {
            Some(Secret::new(sealed.to_owned()))
        }
    }

    #[test]
    fn what_is_kept_about_a_user_reaches_the_server_where_that_is_wanted() {
        let keys = Keys(Some(std::sync::Arc::new(Plain)));
        let kept =
            r#"{"access_token": "t0ken", "user": {"id": 7, "mail": null}, "odd": "a\u0000b"}"#;
        let wanted = [("TOKEN", "access_token"), ("ID", "user.id"), ("MAIL", "user.mail")];
        let more = [("ODD", "odd"), ("NONE", "user.id.x"), ("ALL", "user")];
        let wanted = wanted.into_iter().chain(more).map(|(a, b)| (a.to_owned(), b.to_owned()));
        let wanted: BTreeMap<_, _> = wanted.collect();
        let found = from_auth_state(&wanted, &keys, Some(kept));
        let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let all = r#"{"id":7,"mail":null}"#;
        assert_eq!(found, [("ALL", all), ("ID", "7"), ("TOKEN", "t0ken")]);
        assert!(from_auth_state(&wanted, &Keys::default(), Some(kept)).is_empty());
        assert!(from_auth_state(&wanted, &keys, None).is_empty());
        assert!(from_auth_state(&BTreeMap::new(), &keys, Some(kept)).is_empty());
    }
}
