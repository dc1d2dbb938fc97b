//! Addresses the site is known by, and its cookies.

use super::Say;
use crate::config::{
    Config,
    sections::{HostLabels, SameSite},
    site::{self, Address},
};

pub(super) fn site(say: &mut Say<'_>, config: &Config) {
    let hub = &config.hub;
    let public = address(say, "hub.public_url", &hub.public_url);
    let below = address(say, "hub.subdomain_host", &hub.subdomain_host);
    if let Some(public) = &public {
        match public.path.trim_matches('/') {
            "" if hub.base_url == "/" => {}
            "" if public.path.is_empty() => {}
            path if path == hub.base_url.trim_matches('/') => {}
            _ => say.error(
                "hub.public_url",
                format!("its path is not `{}`, which hub.base_url is", hub.base_url),
            ),
        }
    }
    if let Some(outside) = public.as_ref().or(below.as_ref())
        && !outside.is_secure()
        && config.is_tls()
    {
        say.error("hub.public_url", "with a certificate people come by https; say so here, too");
    }
    if let Some(below) = &below {
        if !below.has_subdomains() {
            say.error("hub.subdomain_host", "an address has no hosts below it; write a name");
        }
        if !matches!(&*below.path, "" | "/") {
            say.error("hub.subdomain_host", "a host has no path; hub.base_url is one");
        }
        if public.as_ref().is_some_and(|public| !below.is_below(public)) {
            say.error("hub.subdomain_host", "it is neither hub.public_url's host nor below it");
        }
        if !below.is_secure() {
            say.warn(
                "hub.subdomain_host",
                "without https one user's server can set the cookies of another's",
            );
        }
        if hub.subdomain_hook == HostLabels::Legacy {
            say.warn(
                "hub.subdomain_hook",
                "names may share a host, and all services do; Idna keeps them apart",
            );
        }
    }
    routes(say, config);
    cookies(say, config, public.or(below).map(|address| address.is_secure()));
}

fn routes(say: &mut Say<'_>, config: &Config) {
    let facts = site::facts(&config.hub);
    let domain = facts.hosts.as_ref().map(|hosts| hosts.domain.as_str());
    for (begin, target) in &config.proxy.extra_routes {
        let mut wrong =
            |words: &str| say.error("proxy.extra_routes", format!("`{begin}`: {words}"));
        let path = begin.find('/').map_or("", |at| &begin[at..]);
        let hosted = !begin.starts_with('/');
        if begin.is_empty() || path.contains("//") || path.contains(['?', '#', '\\']) {
            wrong("it is no beginning of a path");
        } else if domain.is_some() && !hosted {
            wrong("where users have hosts it begins with one, without a slash before it");
        } else if domain.is_none() && hosted {
            wrong("it begins with a slash; there is one host for all");
        } else if site::beginning(begin).is_in_the_hubs_way(&facts.base_url, domain) {
            wrong("this is the hub's");
        }
        let schemes = ["http://", "https://", "http+unix://", "unix+http://"];
        if !schemes.iter().any(|scheme| target.len() > scheme.len() && target.starts_with(scheme)) {
            say.error(
                "proxy.extra_routes",
                format!("`{target}` is no target; write it like http://127.0.0.1:9000"),
            );
        }
    }
}

/// What a setting says, if it says one.
fn address(say: &mut Say<'_>, setting: &str, text: &str) -> Option<Address> {
    if text.is_empty() {
        return None;
    }
    let found = Address::parse(text);
    match &found {
        None => say.error(
            setting,
            format!("`{text}` is no address; write one like \"https://hub.example.org\""),
        ),
        Some(address) if !address.complete => {
            say.note(setting, format!("it has no scheme; {} is meant", address.origin()))
        }
        Some(_) => {}
    }
    found
}

/// `public`: do people come by https? Nothing: it isn't said.
fn cookies(say: &mut Say<'_>, config: &Config, public: Option<bool>) {
    let hub = &config.hub;
    for wrong in site::wrong_options(&hub.cookie_options) {
        say.error("hub.cookie_options", wrong);
    }
    let tls = config.is_tls();
    let secure = public.unwrap_or(tls);
    let cookies = site::cookies(hub, tls);
    let lost = "browsers take such cookies by https only: nobody could sign in; set ssl_cert, or \
                public_url where a proxy in front speaks TLS";
    if hub.cookie_host_prefix_enabled == Some(true) && !secure {
        say.error("hub.cookie_host_prefix_enabled", lost);
    }
    if cookies.secure && !secure {
        say.error("hub.cookie_options", lost);
    } else if cookies.same_site == Some(SameSite::None) && !secure {
        say.error("hub.cookie_options", format!("SameSite=None: {lost}"));
    }
}
