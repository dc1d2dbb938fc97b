//! Where the settings of a JupyterHub configuration have their place here. A Python file is not run, only searched for
//! lines of the form `c.Class.name = value`.

use std::fmt::Write as _;

use super::catalogue;

/// Classes of JupyterHub and the section that holds their settings under the same names.
const CLASSES: &[(&str, &str)] = &[
    ("JupyterHub", "hub"),
    ("Authenticator", "auth"),
    ("LocalAuthenticator", "auth"),
    ("PAMAuthenticator", "auth.class.Pam"),
    ("DummyAuthenticator", "auth.class.Dummy"),
    ("Spawner", "spawner"),
    ("LocalProcessSpawner", "spawner"),
    ("SimpleLocalProcessSpawner", "spawner.class.Simple"),
    ("DockerSpawner", "spawner.class.Docker"),
    ("Proxy", "proxy"),
    ("ConfigurableHTTPProxy", "proxy"),
];

/// Settings that stand elsewhere or under another name, with what to do.
const MOVED: &[(&str, &str)] = &[
    ("JupyterHub.admin_users", "auth.admin_users"),
    (
        "JupyterHub.authenticator_class",
        "auth.class: Pam(..), GitHub(..), Oidc(..) or Dummy(..); others are not built yet",
    ),
    (
        "JupyterHub.spawner_class",
        "spawner.class: Local(), Docker(..) or Simple(..); others are not built yet",
    ),
    ("PAMAuthenticator.admin_groups", "auth.admin_groups"),
    ("PAMAuthenticator.allowed_groups", "auth.allowed_groups"),
    ("JupyterHub.bind_url", "hub.ip, hub.port, hub.base_url"),
    ("JupyterHub.hub_bind_url", "hub.hub_ip, hub.hub_port"),
    ("JupyterHub.hub_connect_url", "hub.hub_connect_ip, hub.hub_port"),
    ("JupyterHub.cookie_secret", "the variable JPY_COOKIE_SECRET, or hub.cookie_secret_file"),
    ("JupyterHub.trusted_downstream_ips", "proxy.trusted_proxies"),
    ("JupyterHub.cleanup_servers", "shutdown.servers: Stop or Keep"),
    ("JupyterHub.log_level", "log.level"),
    ("JupyterHub.extra_log_file", "log.file"),
    ("Application.log_level", "log.level"),
    ("JupyterHub.db_kwargs", "nothing: there is no SQL database; state is in hub.state_dir"),
    ("JupyterHub.proxy_cmd", "nothing: the proxy is built in"),
    ("JupyterHub.proxy_class", "nothing: the proxy is built in"),
    ("JupyterHub.cleanup_proxy", "nothing: the proxy is built in"),
    ("JupyterHub.proxy_check_interval", "nothing: the proxy is built in"),
    ("JupyterHub.debug_proxy", "log.level"),
    ("JupyterHub.api_tokens", "services[].api_token; people make theirs by page or API"),
    ("JupyterHub.service_tokens", "services[].api_token"),
    ("Authenticator.blacklist", "auth.blocked_users"),
    ("LocalAuthenticator.group_whitelist", "auth.allowed_groups"),
    ("PAMAuthenticator.group_whitelist", "auth.allowed_groups"),
    ("ConfigurableHTTPProxy.command", "nothing: the proxy is built in"),
    ("ConfigurableHTTPProxy.should_start", "nothing: the proxy is built in"),
    ("Proxy.should_start", "nothing: the proxy is built in"),
    ("ConfigurableHTTPProxy.api_url", "hub.proxy_api_ip, hub.proxy_api_port"),
    (
        "ConfigurableHTTPProxy.auth_token",
        "the variable CONFIGPROXY_AUTH_TOKEN, or hub.proxy_auth_token_file",
    ),
    (
        "JupyterHub.proxy_auth_token",
        "the variable CONFIGPROXY_AUTH_TOKEN, or hub.proxy_auth_token_file",
    ),
    (
        "GitHubOAuthenticator.oauth_callback_url",
        "auth.class: GitHub(oauth_callback_url: ..), or the variable OAUTH_CALLBACK_URL",
    ),
    (
        "GitHubOAuthenticator.client_id",
        "auth.class: GitHub(client_id: ..), or the variable GITHUB_CLIENT_ID",
    ),
    (
        "GitHubOAuthenticator.client_secret",
        "auth.class: GitHub(client_secret: ..), or the variable GITHUB_CLIENT_SECRET",
    ),
    ("DummyAuthenticator.password", "auth.class: Dummy(password: ..)"),
    ("PAMAuthenticator.service", "auth.class: Pam(service: ..)"),
    ("GitHubOAuthenticator.allowed_organizations", "auth.class: GitHub(allowed_organizations: ..)"),
    (
        "GitHubOAuthenticator.github_organization_whitelist",
        "auth.class: GitHub(allowed_organizations: ..)",
    ),
    ("GitHubOAuthenticator.scope", "auth.class: GitHub(scope: ..)"),
    ("GenericOAuthenticator.username_claim", "auth.class: Oidc(username_template: \"{claim}\")"),
    ("CryptKeeper.keys", "the variable JUPYTERHUB_CRYPT_KEY"),
    ("JupyterHub.services", "services"),
    ("JupyterHub.load_roles", "roles"),
    ("JupyterHub.load_groups", "load_groups"),
];

/// Where a setting of JupyterHub (`Class.name`) has its place here; `None` where we know of none.
pub fn place(name: &str) -> Option<String> {
    if let Some((_, words)) = MOVED.iter().find(|(old, _)| *old == name) {
        return Some((*words).to_owned());
    }
    let (class, field) = name.split_once('.')?;
    let (_, section) = CLASSES.iter().find(|(old, _)| *old == class)?;
    let setting = catalogue::setting(&format!("{section}.{field}"))?;
    let unbuilt = if setting.unbuilt() { " (not built yet)" } else { "" };
    Some(format!("{}{unbuilt}", setting.path))
}

/// What a name that JupyterHub once had, of whatever class, is called here; none where its classes disagree.
pub fn now_called(name: &str) -> Option<&'static str> {
    let mut all =
        MOVED.iter().filter(|(old, _)| old.rsplit('.').next() == Some(name)).map(|(_, new)| *new);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// The settings a Python file assigns, with the line of each, in its order.
pub fn scan(python: &str) -> Vec<(usize, &str)> {
    let assigned = |line: &'_ str| -> Option<usize> {
        let rest = line.trim_start().strip_prefix("c.")?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))?;
        let after = rest[end..].trim_start();
        let sets =
            after.starts_with(['=', '[']) || after.starts_with("+=") || after.starts_with("|=");
        (sets && !after.starts_with("==") && rest[..end].contains('.')).then_some(end)
    };
    let mut found = Vec::new();
    for (number, line) in python.lines().enumerate() {
        if let Some(end) = assigned(line) {
            let rest = &line.trim_start()[2..];
            // `c.Spawner.environment.update(..)` and the like count as the setting.
            let name = &rest[..end];
            let second = name.match_indices('.').nth(1).map_or(end, |(at, _)| at);
            found.push((number + 1, &name[..second]));
        }
    }
    found
}

/// What to tell somebody who names a Python file.
pub fn explain(file: &str, python: &str) -> String {
    let mut out = format!(
        "{file}: this is a Python file; jovis is configured by data, in RON (`hub.ron`). `jovis --generate-config` writes one with \
         every setting. The file was not run; what it sets has its place here:\n"
    );
    let found = scan(python);
    for (line, name) in &found {
        let words = place(name).unwrap_or_else(|| "no place here that we know of".to_owned());
        let _ = writeln!(out, "  line {line}: c.{name} -> {words}");
    }
    if found.is_empty() {
        out.push_str("  (no line of the form `c.Class.name = value`)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_first_documentation_has_a_place() {
        for (name, here) in [
            ("JupyterHub.ip", "hub.ip"),
            ("JupyterHub.port", "hub.port"),
            ("JupyterHub.proxy_api_ip", "hub.proxy_api_ip"),
            ("JupyterHub.proxy_api_port", "hub.proxy_api_port"),
            ("JupyterHub.hub_ip", "hub.hub_ip"),
            ("JupyterHub.hub_port", "hub.hub_port"),
            ("JupyterHub.ssl_key", "hub.ssl_key"),
            ("JupyterHub.ssl_cert", "hub.ssl_cert"),
            ("JupyterHub.cookie_secret_file", "hub.cookie_secret_file"),
            ("JupyterHub.db_file", "hub.db_url (not built yet)"),
            ("JupyterHub.db_url", "hub.db_url (not built yet)"),
            ("JupyterHub.admin_users", "auth.admin_users"),
            ("JupyterHub.admin_access", "hub.admin_access"),
            ("Authenticator.whitelist", "auth.allowed_users"),
            ("LocalAuthenticator.create_system_users", "auth.create_system_users"),
            ("Spawner.notebook_dir", "spawner.notebook_dir"),
            ("Spawner.args", "spawner.args"),
        ] {
            assert_eq!(place(name).as_deref(), Some(here), "{name}");
        }
        assert!(place("GitHubOAuthenticator.oauth_callback_url").is_some());
        assert!(place("JupyterHub.authenticator_class").is_some());
        assert_eq!(place("Nobody.knows"), None);
    }

    #[test]
    fn old_options_are_named_with_what_has_become_of_them() {
        for (name, words) in [
            ("JupyterHub.proxy_cmd", "built in"),
            ("JupyterHub.proxy_auth_token", "CONFIGPROXY_AUTH_TOKEN"),
            ("JupyterHub.proxy_check_interval", "built in"),
            ("JupyterHub.debug_proxy", "log.level"),
            ("JupyterHub.api_tokens", "services[].api_token"),
            ("JupyterHub.extra_log_file", "log.file"),
            ("Authenticator.blacklist", "auth.blocked_users"),
            ("LocalAuthenticator.group_whitelist", "auth.allowed_groups"),
        ] {
            let told = explain("x.py", &format!("c.{name} = 1\n"));
            assert!(told.contains(&format!("line 1: c.{name} -> ")), "{told}");
            assert!(told.contains(words), "{name}: {told}");
        }
    }

    #[test]
    fn assignments_are_found_and_nothing_else() {
        let python = "c = get_config()\nc.JupyterHub.port = 443\n# c.JupyterHub.ip = ''\nif c.JupyterHub.port == 1:\n    \
                      c.Spawner.environment['A'] = 'b'\nc.Authenticator.admin_users |= {'x'}\nc.JupyterHub.ip == 3\nüc.\nc.é = 1\n";
        assert_eq!(
            scan(python),
            [(2, "JupyterHub.port"), (5, "Spawner.environment"), (6, "Authenticator.admin_users")]
        );
        let told = explain("x.py", python);
        assert!(told.contains("line 2: c.JupyterHub.port -> hub.port"), "{told}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(c\\.)?.{0,80}") {
            scan(&text);
        }
    }
}
