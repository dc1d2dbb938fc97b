//! What a managed service finds in its environment (`spec/singleuser.md` 2): pure.

use std::collections::BTreeMap;

use crate::domain::{ClientId, Facts, Scope, ServiceName};

/// What is told about one service.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// Where it is to listen; empty: nowhere.
    pub url: &'a str,
    /// Its name as OAuth client.
    pub client: &'a ClientId,
    /// Where browsers come back to; empty: below its prefix.
    pub redirect_uri: &'a str,
    /// What visitors' tokens may carry.
    pub allowed_scopes: &'a [Scope],
    /// Are cookies named with the `__Host-` prefix?
    pub cookie_host_prefix: bool,
    /// `cookie_options`, a JSON object; none: not configured.
    pub cookie_options: Option<&'a serde_json::Value>,
}

/// The environment of a service, with its API token in it. As that of a server, without a user and a server's name.
pub fn variables(
    facts: &Facts,
    api_url: &str,
    about: &About<'_>,
    token: &str,
) -> BTreeMap<String, String> {
    let prefix = facts.service_prefix(about.name);
    let access = json(&[Scope::new("access:services"), Scope::access_service(about.name)]);
    let callback = match about.redirect_uri {
        "" => format!("{}oauth_callback", facts.service_url(about.name)),
        uri => uri.to_owned(),
    };
    let mut vars = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(vars.insert(name.to_owned(), value));
    set("JUPYTERHUB_SERVICE_NAME", about.name.to_string());
    set("JUPYTERHUB_API_TOKEN", token.to_owned());
    set("JPY_API_TOKEN", token.to_owned());
    set("JUPYTERHUB_CLIENT_ID", about.client.to_string());
    set("JUPYTERHUB_USER", String::new());
    set("JUPYTERHUB_SERVER_NAME", String::new());
    set("JUPYTERHUB_API_URL", api_url.to_owned());
    set("JUPYTERHUB_BASE_URL", facts.base_url.clone());
    set("JUPYTERHUB_SERVICE_PREFIX", prefix.clone());
    if !about.url.is_empty() {
        set("JUPYTERHUB_SERVICE_URL", about.url.to_owned());
    }
    set("JUPYTERHUB_OAUTH_CALLBACK_URL", callback);
    set("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access.clone());
    set("JUPYTERHUB_OAUTH_SCOPES", access);
    set("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", json(about.allowed_scopes));
    set("JUPYTERHUB_HOST", facts.public_host.clone());
    set("JUPYTERHUB_PUBLIC_URL", facts.full_service_url(about.name).unwrap_or_default());
    let hub = facts.public(&format!("{}hub/", facts.base_url));
    set("JUPYTERHUB_PUBLIC_HUB_URL", hub.unwrap_or_default());
    let host_prefix = u8::from(about.cookie_host_prefix).to_string();
    set("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", host_prefix);
    if let Some(options) = about.cookie_options {
        set("JUPYTERHUB_COOKIE_OPTIONS", options.to_string());
    }
    vars
}

fn json(scopes: &[Scope]) -> String {
    serde_json::Value::from(scopes.iter().map(Scope::as_str).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_what_a_server_is_told_without_a_user() {
        let name = ServiceName::new("cull er").unwrap();
        let about = About {
            name: &name,
            url: "http://127.0.0.1:9000",
            client: &ClientId::of_service(&name),
            redirect_uri: "",
            allowed_scopes: &[Scope::new("read:users")],
            cookie_host_prefix: false,
            cookie_options: None,
        };
        let facts = Facts { base_url: "/pre/".into(), ..Facts::default() };
        let vars = variables(&facts, "http://127.0.0.1:8081/pre/hub/api", &about, "s3cret");
        for (key, value) in [
            ("JUPYTERHUB_SERVICE_NAME", "cull er"),
            ("JUPYTERHUB_API_TOKEN", "s3cret"),
            ("JUPYTERHUB_CLIENT_ID", "service-cull%20er"),
            ("JUPYTERHUB_USER", ""),
            ("JUPYTERHUB_SERVER_NAME", ""),
            ("JUPYTERHUB_SERVICE_PREFIX", "/pre/services/cull%20er/"),
            ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:9000"),
            ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/pre/services/cull%20er/oauth_callback"),
            (
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
                r#"["access:services","access:services!service=cull er"]"#,
            ),
            ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", r#"["read:users"]"#),
            ("JUPYTERHUB_BASE_URL", "/pre/"),
        ] {
            assert_eq!(vars.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!vars.contains_key("JUPYTERHUB_ACTIVITY_URL"));
        let silent = variables(&facts, "", &About { url: "", ..about }, "x");
        assert!(!silent.contains_key("JUPYTERHUB_SERVICE_URL"));
    }
}
