//! Where servers and services are reached (`spec/oauth-and-cookies.md` 9): one host with a prefix for each, or a host for
//! each.

use super::{Hosts, RouteSpec, ServerName, ServiceName, Username, quote};

/// What is fixed while the hub runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Prefix of everything, escaped, with slashes at both ends.
    pub base_url: String,
    /// Scheme, host and port under which browsers reach the hub, if configured (`public_url`); else empty. No path.
    pub public_host: String,
    /// The hosts of users and services, if each has one of its own.
    pub hosts: Option<Hosts>,
}

impl Facts {
    /// Path prefix of a server, escaped: `/user/alice/`.
    pub fn prefix(&self, user: &Username, server: &ServerName) -> String {
        let mut prefix = format!("{}user/{}/", self.base_url, user.escaped());
        if !server.is_default() {
            prefix.push_str(&quote::segment(server.as_str()));
            prefix.push('/');
        }
        prefix
    }

    /// Path prefix of a service, escaped: `/services/NAME/`.
    pub fn service_prefix(&self, name: &ServiceName) -> String {
        format!("{}services/{}/", self.base_url, quote::segment(name.as_str()))
    }

    /// How browsers get from the hub to a server: its path, or its address where users have hosts.
    pub fn url(&self, user: &Username, server: &ServerName) -> String {
        self.user_origin(user) + &self.prefix(user, server)
    }

    /// What stands before a path on the user's host; empty where users have none.
    pub fn user_origin(&self, name: &Username) -> String {
        self.hosts.as_ref().map(|hosts| hosts.origin(&hosts.of_user(name))).unwrap_or_default()
    }

    /// The same to a service.
    pub fn service_url(&self, name: &ServiceName) -> String {
        let origin = self.hosts.as_ref().map(|hosts| hosts.origin(&hosts.of_service(name)));
        origin.unwrap_or_default() + &self.service_prefix(name)
    }

    /// A server's address for others than browsers at the hub; nothing if it isn't known.
    pub fn full_url(&self, user: &Username, server: &ServerName) -> Option<String> {
        let url = self.url(user, server);
        if self.hosts.is_some() { Some(url) } else { self.public(&url) }
    }

    /// The same of a service.
    pub fn full_service_url(&self, name: &ServiceName) -> Option<String> {
        let url = self.service_url(name);
        if self.hosts.is_some() { Some(url) } else { self.public(&url) }
    }

    /// The address of a path of the hub; nothing if it isn't known.
    pub fn public(&self, path: &str) -> Option<String> {
        (!self.public_host.is_empty()).then(|| format!("{}{path}", self.public_host))
    }

    /// What proxies compare with requests to a service: decoded.
    pub fn service_route(&self, name: &ServiceName) -> RouteSpec {
        let host = self.hosts.as_ref().map(|hosts| hosts.of_service(name));
        self.spec(host, &format!("services/{name}"))
    }

    /// What proxies compare with requests to a server: decoded.
    pub fn route(&self, user: &Username, server: &ServerName) -> RouteSpec {
        let host = self.hosts.as_ref().map(|hosts| hosts.of_user(user));
        self.spec(host, &format!("user/{user}/{server}"))
    }

    fn spec(&self, host: Option<String>, inside: &str) -> RouteSpec {
        let base = quote::unquote(&self.base_url).unwrap_or_else(|| self.base_url.clone());
        let path = format!("{base}{inside}");
        host.map_or_else(|| RouteSpec::new(&path), |host| RouteSpec::on_host(&host, &path))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{ClientId, hosts::Labels};

    #[test]
    fn servers_and_services_have_addresses_of_their_own_where_users_have_hosts() {
        let hosts = Hosts {
            scheme: "http".into(),
            domain: "hub.test".into(),
            port: ":8000".into(),
            labels: Labels::Idna,
        };
        let plain = Facts { base_url: "/pre/".into(), ..Facts::default() };
        let public_host = "http://hub.test:8000".to_owned();
        let public = Facts { public_host: public_host.clone(), ..plain.clone() };
        let hosted = Facts { hosts: Some(hosts), ..public.clone() };
        let (user, lab) = (Username::new("a b@x").unwrap(), ServerName::new("lab").unwrap());
        let (default, cull) = (ServerName::default_server(), ServiceName::new("cull").unwrap());
        let own = "http://u-abx--1ebb382.hub.test:8000";

        assert_eq!(plain.url(&user, &lab), "/pre/user/a%20b@x/lab/");
        assert_eq!(plain.full_url(&user, &lab), None);
        assert_eq!(public.url(&user, &lab), "/pre/user/a%20b@x/lab/");
        let full = |facts: &Facts| facts.full_url(&user, &lab).unwrap();
        assert_eq!(full(&public), format!("{public_host}/pre/user/a%20b@x/lab/"));
        assert_eq!(hosted.url(&user, &lab), format!("{own}/pre/user/a%20b@x/lab/"));
        assert_eq!(full(&hosted), hosted.url(&user, &lab));
        assert_eq!(hosted.prefix(&user, &lab), "/pre/user/a%20b@x/lab/");
        assert_eq!(hosted.public("/x").unwrap(), format!("{public_host}/x"));

        let service = "http://cull--service.hub.test:8000/pre/services/cull/";
        assert_eq!(hosted.service_url(&cull), service);
        assert_eq!(hosted.full_service_url(&cull).as_deref(), Some(service));
        assert_eq!(plain.service_url(&cull), "/pre/services/cull/");

        let route = |facts: &Facts, server| facts.route(&user, server).to_string();
        assert_eq!(route(&plain, &lab), "/pre/user/a b@x/lab/");
        assert_eq!(route(&hosted, &default), "u-abx--1ebb382.hub.test/pre/user/a b@x/");
        let service = hosted.service_route(&cull).to_string();
        assert_eq!(service, "cull--service.hub.test/pre/services/cull/");
    }

    fn a_name() -> impl Strategy<Value = Username> {
        let letters = prop::sample::select(vec![
            "a", "b", "-", "--", ".", "@", "~", "_", "+", "%", "%2", "%2b", "%40", "5", " ", "ü",
            "lab", "A",
        ]);
        prop::collection::vec(letters, 1..5)
            .prop_filter_map("no name", |letters| Username::new(&letters.concat()).ok())
    }

    fn a_service() -> impl Strategy<Value = ServiceName> {
        a_name().prop_filter_map("no name", |name| ServiceName::new(name.as_str()).ok())
    }

    fn a_server() -> impl Strategy<Value = ServerName> {
        let letters = prop::sample::select(vec!["a", "b", "-", "1", "lab"]);
        prop::collection::vec(letters, 0..4)
            .prop_filter_map("no name", |letters| ServerName::new(&letters.concat()).ok())
    }

    proptest! {
        /// CVE-2026-108752 and its kind: `alice-prod`, and alice's server `prod`.
        #[test]
        fn names_that_differ_lead_to_different_places(
            one in (a_name(), a_server()), other in (a_name(), a_server()),
            service in a_service(),
        ) {
            let facts = Facts { base_url: "/pre/".to_owned(), ..Facts::default() };
            let client = |it: &(Username, ServerName)| ClientId::of_server(&it.0, &it.1);
            let prefix = |it: &(Username, ServerName)| facts.prefix(&it.0, &it.1);
            let route = |it: &(Username, ServerName)| facts.route(&it.0, &it.1);
            let same = one == other;
            prop_assert_eq!(client(&one) == client(&other), same, "{:?}", client(&one));
            prop_assert_eq!(prefix(&one) == prefix(&other), same, "{}", prefix(&one));
            prop_assert_eq!(route(&one) == route(&other), same, "{}", route(&one));
            // What a browser asks for is decoded once and then finds the route.
            let decoded = quote::unquote(&prefix(&one)).unwrap();
            prop_assert_eq!(RouteSpec::new(&decoded), route(&one));
            prop_assert_ne!(ClientId::of_service(&service), client(&one));
        }

        #[test]
        fn services_have_clients_of_their_own(one in a_service(), other in a_service()) {
            let same = ClientId::of_service(&one) == ClientId::of_service(&other);
            prop_assert_eq!(same, one == other);
        }
    }
}
