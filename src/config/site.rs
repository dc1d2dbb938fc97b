//! Under which addresses the site is known outside: what `public_url`, `subdomain_host` and the cookies' settings say, by
//! the rules of `spec/config.md` 1.1 and 1.3. Pure. `check` complains of what is refused here; who runs takes it as not set.

use std::collections::BTreeMap;

use jovis_actors::domain::{Facts, Hosts, Route, RouteSpec, hosts::Labels, quote};
use serde_json::{Map, Value};

use super::sections::{HostLabels, Hub, SameSite};

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `http` or `https`.
    scheme: &'static str,
    /// In small letters.
    host: String,
    /// `:8000`, or empty where it is the scheme's own.
    port: String,
    /// What follows; empty or beginning with `/`.
    pub(super) path: String,
    /// Did it say its scheme?
    pub(super) complete: bool,
}

impl Address {
    /// Without a scheme it is taken for https.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest, complete) = match text.split_once("://") {
            Some(("https", rest)) => ("https", rest, true),
            Some(("http", rest)) => ("http", rest, true),
            Some(_) => return None,
            None => ("https", text, false),
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let end = place.rfind(']').map_or(0, |at| at + 1);
        let (host, port) =
            place.split_at(place[end..].find(':').map_or(place.len(), |at| end + at));
        let port = match port.strip_prefix(':') {
            None => None,
            Some(digits) => Some(digits.parse::<u16>().ok().filter(|port| *port != 0)?),
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let known = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(letters) && !host.starts_with('.'),
        };
        let plain =
            path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#\"<>".contains(&byte));
        let own = if scheme == "https" { 443 } else { 80 };
        let port = port.filter(|port| *port != own).map(|port| format!(":{port}"));
        (known && plain).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or_default(),
            path: path.to_owned(),
            complete,
        })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.port)
    }

    /// Is it reached by TLS?
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Can there be hosts below it?
    pub(super) fn has_subdomains(&self) -> bool {
        let bare = self.host.trim_matches(['[', ']']);
        bare.parse::<std::net::IpAddr>().is_err()
    }

    /// Is this host that one, or below it?
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.host == other.host
            || self.host.strip_suffix(&other.host).is_some_and(|front| front.ends_with('.'))
    }
}

/// What the addresses of this site are made of.
pub fn facts(hub: &Hub) -> Facts {
    let below = Address::parse(&hub.subdomain_host).filter(Address::has_subdomains);
    let public = Address::parse(&hub.public_url).or_else(|| below.clone());
    let labels = match hub.subdomain_hook {
        HostLabels::Idna => Labels::Idna,
        HostLabels::Legacy => Labels::Legacy,
    };
    Facts {
        base_url: hub.base_url.clone(),
        public_host: public.map(|public| public.origin()).unwrap_or_default(),
        hosts: below.map(|Address { scheme, host, port, .. }| Hosts {
            scheme: scheme.to_owned(),
            domain: host,
            port,
            labels,
        }),
    }
}

/// The routes of `proxy.extra_routes`.
pub fn extra_routes(given: &BTreeMap<String, String>) -> Vec<Route> {
    let route = |(begin, target): (&String, &String)| Route {
        spec: beginning(begin),
        target: target.clone(),
        server: None,
    };
    given.iter().map(route).collect()
}

/// Where such a route begins, as proxies compare it.
pub(super) fn beginning(given: &str) -> RouteSpec {
    let (host, path) = given.split_at(given.find('/').unwrap_or(given.len()));
    let path = quote::unquote(path).unwrap_or_else(|| path.to_owned());
    match host {
        "" => RouteSpec::new(&path),
        host => RouteSpec::on_host(host, &path),
    }
}

/// What cookies are like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cookies {
    /// Is the login cookie called `__Host-…`?
    pub host_prefix: bool,
    /// Host that session cookies are for, with all hosts below it; nothing: the one that sets them.
    pub domain: Option<String>,
    /// `SameSite`, where it is not what we would say.
    pub same_site: Option<SameSite>,
    /// Days until they go, where browsers keep them longer than a session.
    pub expires_days: Option<f64>,
    /// `Secure` in any case.
    pub secure: bool,
}

/// What these settings say of cookies. `tls`: does jovis speak TLS itself?
pub fn cookies(hub: &Hub, tls: bool) -> Cookies {
    let facts = facts(hub);
    let secure = match facts.public_host.as_str() {
        "" => tls,
        host => host.starts_with("https://"),
    };
    let option = |name: &str| options(&hub.cookie_options).find(|(key, _)| *key == name);
    let text = |name: &str| option(name).and_then(|(_, value)| value.as_str().map(str::to_owned));
    let public = facts.public_host.split_once("://").map(|(_, rest)| rest);
    // (No port: cookies know none. An address in brackets has no hosts below it.)
    let host = public.and_then(|host| host.split(':').next());
    Cookies {
        host_prefix: hub.cookie_host_prefix_enabled.unwrap_or(secure && facts.hosts.is_some()),
        domain: host.filter(|_| facts.hosts.is_some()).map(str::to_owned),
        same_site: text("samesite").and_then(|text| SameSite::parse(&text)),
        expires_days: option("expires_days").and_then(|(_, value)| value.as_f64()),
        secure: option("secure").is_some_and(|(_, value)| *value == Value::Bool(true)),
    }
}

/// Names in small letters, as cookies' attributes are compared.
fn options(map: &Map<String, Value>) -> impl Iterator<Item = (String, &Value)> {
    map.iter().map(|(name, value)| (name.to_ascii_lowercase(), value))
}

/// What cannot be said in `cookie_options`, and why.
pub(super) fn wrong_options(map: &Map<String, Value>) -> Vec<String> {
    let wrong = |(name, value): (String, &Value)| match name.as_str() {
        "samesite" if value.as_str().and_then(SameSite::parse).is_some() => None,
        "samesite" => Some("`SameSite` is \"Lax\", \"Strict\" or \"None\"".to_owned()),
        "expires_days" if value.as_f64().is_some_and(|days| days > 0.0 && days <= 400.0) => None,
        "expires_days" => Some("`expires_days` is a number of days, at most 400".to_owned()),
        "secure" if *value == Value::Bool(true) => None,
        "secure" => Some("`secure` can only be true; it follows the address otherwise".to_owned()),
        _ => Some(format!("`{name}` is not for you to set; SameSite, expires_days and secure are")),
    };
    options(map).filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let origin = |text: &str| Address::parse(text).map(|it| (it.origin(), it.path));
        for (text, wanted, path) in [
            ("https://hub.test", "https://hub.test", ""),
            ("hub.test/x/", "https://hub.test", "/x/"),
            ("http://HUB.test:8000/", "http://hub.test:8000", "/"),
            ("https://hub.test:443/a", "https://hub.test", "/a"),
            ("http://[::1]:80", "http://[::1]", ""),
        ] {
            assert_eq!(origin(text), Some((wanted.to_owned(), path.to_owned())), "{text}");
        }
        for text in [
            "",
            "ftp://a",
            "https://",
            "https://a:0",
            "https://a:x",
            "https://u@a",
            "https://a/ b",
            "https://[x]",
            "https://a/?q",
            "https://a/#f",
            "//a",
            "https://.a",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn a_site_is_one_host_or_many() {
        let hub = |change: &dyn Fn(&mut Hub)| {
            let mut hub = Hub { base_url: "/b/".into(), ..Hub::default() };
            change(&mut hub);
            hub
        };
        let plain = hub(&|_| ());
        assert_eq!(facts(&plain), Facts { base_url: "/b/".into(), ..Facts::default() });
        assert_eq!(cookies(&plain, true), Cookies::default());

        let public = hub(&|hub| hub.public_url = "https://hub.test/b/".into());
        assert_eq!(facts(&public).public_host, "https://hub.test");
        assert_eq!(cookies(&public, false), Cookies::default());

        let many = hub(&|hub| hub.subdomain_host = "https://hub.test:8443".into());
        assert_eq!(facts(&many).public_host, "https://hub.test:8443");
        let hosts = facts(&many).hosts.unwrap();
        assert_eq!((&*hosts.domain, &*hosts.port), ("hub.test", ":8443"));
        let wanted =
            Cookies { host_prefix: true, domain: Some("hub.test".into()), ..Cookies::default() };
        assert_eq!(cookies(&many, false), wanted);
        let insecure = hub(&|hub| hub.subdomain_host = "http://hub.test".into());
        assert!(!cookies(&insecure, true).host_prefix);

        let address = hub(&|hub| hub.subdomain_host = "http://127.0.0.1:8000".into());
        assert_eq!(facts(&address).hosts, None);
    }

    #[test]
    fn what_cookies_may_be_told_is_little() {
        let map = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let good = map(r#"{"SameSite": "none", "Expires_Days": 7, "secure": true}"#);
        assert_eq!(wrong_options(&good), Vec::<String>::new());
        let hub = Hub { cookie_options: good, ..Hub::default() };
        let wanted = Cookies {
            same_site: Some(SameSite::None),
            expires_days: Some(7.0),
            secure: true,
            ..Cookies::default()
        };
        assert_eq!(cookies(&hub, false), wanted);
        for bad in [
            r#"{"samesite": "Loose"}"#,
            r#"{"samesite": null}"#,
            r#"{"expires_days": -1}"#,
            r#"{"secure": false}"#,
            r#"{"domain": "evil"}"#,
            r#"{"path": "/"}"#,
            r#"{"httponly": false}"#,
        ] {
            assert_eq!(wrong_options(&map(bad)).len(), 1, "{bad}");
        }
    }
}
