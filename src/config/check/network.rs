//! Addresses, ports, networks, TLS.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use super::Say;
use crate::config::{Config, address::is_loopback, secret, world::World};

/// What an answer says of itself, and nobody else can: a configured one would break it.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "location",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn headers(say: &mut Say<'_>, config: &Config) {
    let mut seen = BTreeSet::new();
    for (name, value) in &config.hub.headers {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            say.error("hub.headers", format!("`{name}` is no name of a header"));
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            say.error("hub.headers", format!("`{name}` is not for you to set"));
        } else if !seen.insert(lower) {
            say.error("hub.headers", format!("`{name}` stands there twice, in another spelling"));
        }
        if http::HeaderValue::from_str(value).is_err() {
            say.error(
                "hub.headers",
                format!("the value of `{name}` has characters that no header has"),
            );
        }
    }
}

pub(super) fn addresses(say: &mut Say<'_>, config: &Config, world: &dyn World) {
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
    let redirect = config.proxy.redirect_port;
    if redirect != 0 && redirect == hub.port
        || redirect != 0 && redirect == hub.hub_port && overlap(&hub.ip, &hub.hub_ip)
    {
        say.error("proxy.redirect_port", format!("{redirect} is taken already; take another"));
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

/// The proxy's REST API: a port of its own, a token that others do not have.
pub(super) fn rest(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let (hub, at) = (&config.hub, "hub.proxy_api_port");
    let port = hub.proxy_api_port;
    if port == 0 {
        return;
    }
    // The proxy knows it by its port, whatever the addresses.
    if [hub.port, hub.hub_port, config.proxy.redirect_port].contains(&port) {
        say.error(at, format!("{port} is taken already; take another"));
    }
    if !is_loopback(hub.proxy_api_ip()) {
        say.warn(
            "hub.proxy_api_ip",
            "the REST API knows no TLS: who listens on the way reads its token, and with it the users' traffic",
        );
    }
    let file = if hub.proxy_auth_token_file.as_os_str().is_empty() {
        hub.state_dir.join(secret::PROXY_TOKEN)
    } else {
        hub.proxy_auth_token_file.clone()
    };
    let at = "hub.proxy_auth_token_file";
    match world.variable(secret::PROXY_VARIABLE) {
        Some(token) => {
            if let Err(error) = secret::token(&token) {
                say.error(at, format!("{}: {error}", secret::PROXY_VARIABLE));
            }
        }
        None if world.facts(&file).is_some_and(|facts| facts.mode & 0o007 != 0) => {
            say.error(at, format!("others can open {}; chmod 600 it", file.display()));
        }
        None => {}
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

/// What only makes sense with a certificate.
fn needs_tls(say: &mut Say<'_>, config: &Config) {
    let proxy = &config.proxy;
    for (path, set) in [
        ("proxy.certificates", !proxy.certificates.is_empty()),
        ("proxy.client_ca", !proxy.client_ca.as_os_str().is_empty()),
        ("proxy.redirect_port", proxy.redirect_port != 0),
    ] {
        if set {
            say.error(
                path,
                "without hub.ssl_cert (or proxy.acme) there is no TLS; set that too, or neither",
            );
        }
    }
}

pub(super) fn tls(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let (key, cert) = (&config.hub.ssl_key, &config.hub.ssl_cert);
    let set = |path: &Path| !path.as_os_str().is_empty();
    if !set(cert) && set(key) {
        say.error("hub.ssl_cert", "there is a key but no certificate; set both or neither");
    }
    if !config.is_tls() {
        needs_tls(say, config);
        if set(key) {
            return;
        }
        if is_loopback(&config.hub.ip) {
            return say.note("hub.ssl_cert", "no TLS; only this machine can connect");
        }
        return say.warn(
            "hub.ssl_cert",
            "no TLS: passwords and cookies cross the network readable; set ssl_key and ssl_cert, or put a TLS proxy in front",
        );
    }
    if set(cert) {
        pair(say, world, ("hub.ssl_cert", "hub.ssl_key"), cert, key);
    }
    for one in &config.proxy.certificates {
        pair(say, world, ("proxy.certificates", "proxy.certificates"), &one.cert, &one.key);
    }
    let authorities = &config.proxy.client_ca;
    if set(authorities)
        && let Err(error) = world.read(authorities)
    {
        say.error("proxy.client_ca", format!("{} cannot be read: {error}", authorities.display()));
    }
}

/// A certificate and its key, with the settings that name them.
fn pair(
    say: &mut Say<'_>,
    world: &dyn World,
    (cert_setting, key_setting): (&'static str, &'static str),
    cert: &Path,
    key: &Path,
) {
    let set = |path: &Path| !path.as_os_str().is_empty();
    let mut pem = |path: &'static str, file: &Path| match world.read(file) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            say.error(path, format!("{} cannot be read: {error}", file.display()));
            None
        }
    };
    let chain = pem(cert_setting, cert);
    let key_text = if set(key) { pem(key_setting, key) } else { chain.clone() };
    if chain.is_some_and(|text| !text.contains("-----BEGIN CERTIFICATE-----")) {
        say.error(cert_setting, format!("{} holds no PEM certificate", cert.display()));
    }
    if key_text.is_some_and(|text| !text.contains("PRIVATE KEY-----")) {
        let words = if set(key) {
            format!("{} holds no PEM private key", key.display())
        } else {
            format!("unset, and {} holds no private key; name the key's file", cert.display())
        };
        say.error(key_setting, words);
    }
    let key = if set(key) { key } else { cert };
    if world.facts(key).is_some_and(|facts| facts.mode & 0o004 != 0) {
        say.warn(
            key_setting,
            format!("everybody on this machine can read {}; chmod 600 it", key.display()),
        );
    }
}
