//! Certificates that jovis gets by itself: what no authority would give, or could see.

use std::collections::BTreeSet;

use http::Uri;

use super::Say;
use crate::config::{
    Config,
    address::may_be_asked,
    sections::{Acme, AcmeChallenge},
    world::World,
};

/// Most names of one certificate (Let's Encrypt takes as many).
const MOST_NAMES: usize = 100;

pub(super) fn acme(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let acme = &config.proxy.acme;
    if !acme.is_on() {
        if acme.terms_agreed || !acme.email.is_empty() {
            say.warn(
                "proxy.acme.names",
                "empty: no certificate is got; name what people call the hub",
            );
        }
        return;
    }
    if !cfg!(feature = "acme") {
        return say.error(
            "proxy.acme.names",
            "this jovis was built without ACME; build it with `--features acme`, or set hub.ssl_cert",
        );
    }
    names(say, &acme.names);
    if !acme.terms_agreed {
        say.error(
            "proxy.acme.terms_agreed",
            "without your consent to the authority's terms there is no certificate; read them and write true",
        );
    }
    if !acme.email.is_empty() && !is_address(&acme.email) {
        say.error(
            "proxy.acme.email",
            format!("`{}` is no address like admin@example.org", acme.email),
        );
    }
    if !acme.directory.parse().is_ok_and(|uri: Uri| may_be_asked(&uri, false)) {
        say.error(
            "proxy.acme.directory",
            format!("`{}` is no address that begins with https://", acme.directory),
        );
    }
    let authorities = &acme.directory_ca;
    if !authorities.as_os_str().is_empty()
        && let Err(error) = world.read(authorities)
    {
        say.error(
            "proxy.acme.directory_ca",
            format!("{} cannot be read: {error}", authorities.display()),
        );
    }
    if !config.hub.subdomain_host.is_empty() && config.hub.ssl_cert.as_os_str().is_empty() {
        say.warn(
            "proxy.acme.names",
            "it has no wildcards, so it is good for none of the hosts below hub.subdomain_host; set hub.ssl_cert to one that is",
        );
    }
    challenge(say, config, acme);
}

fn names(say: &mut Say<'_>, names: &[String]) {
    if names.len() > MOST_NAMES {
        say.error(
            "proxy.acme.names",
            format!("more than {MOST_NAMES} names go into no certificate"),
        );
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if name.starts_with("*.") {
            say.error(
                "proxy.acme.names",
                format!("`{name}`: for a wildcard authorities want DNS records, which jovis cannot make; name each host, or set hub.ssl_cert"),
            );
        } else if !is_host(name) {
            say.error(
                "proxy.acme.names",
                format!("`{name}` is no host name; write one like hub.example.org (others than ASCII letters in punycode)"),
            );
        } else if !seen.insert(name.to_ascii_lowercase()) {
            say.error("proxy.acme.names", format!("`{name}` stands there twice"));
        }
    }
}

/// Labels of letters, digits and hyphens (RFC 1123, section 2.1), and not the digits and dots of an address.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Something at a host, as authorities write to.
fn is_address(email: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"\"(),:;<>@[\\]?%".contains(c);
    email
        .split_once('@')
        .is_some_and(|(who, host)| !who.is_empty() && who.chars().all(plain) && is_host(host))
}

/// Can the authority come where it will look?
fn challenge(say: &mut Say<'_>, config: &Config, acme: &Acme) {
    let proxy = &config.proxy;
    if acme.chosen(proxy.redirect_port != 0) == AcmeChallenge::Http01 {
        match proxy.redirect_port {
            0 => say.error(
                "proxy.acme.challenge",
                "Http01 is answered at proxy.redirect_port; set that too (80), or take TlsAlpn01",
            ),
            80 => {}
            port => say.warn(
                "proxy.redirect_port",
                format!("the authority asks at port 80; have it led to {port}"),
            ),
        }
        return;
    }
    if !proxy.client_ca.as_os_str().is_empty() {
        say.error(
            "proxy.acme.challenge",
            "with proxy.client_ca the authority gets no TLS connection; set proxy.redirect_port (80) for Http01",
        );
    }
    if config.hub.port != 443 {
        say.warn(
            "proxy.acme.challenge",
            format!(
                "TlsAlpn01: the authority asks at port 443; have it led to {}, or set proxy.redirect_port for Http01",
                config.hub.port
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_other_things() {
        for good in ["a", "hub.example.org", "HUB.example.org", "xn--bcher-kva.example", "1.2.3.x"]
        {
            assert!(is_host(good), "{good}");
        }
        let long = format!("{}.org", "a".repeat(64));
        for bad in
            ["", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a_b", "bücher.example", "a b", "1.2.3.4"]
                .into_iter()
                .chain(["[::1]", "https://a", "a:443", "a/b", "*.a", &long])
        {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_of_people_are_told_from_other_things() {
        for good in ["a@b", "first.last+hub@example.org"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "@", "a@", "@b", "a b@c", "a@b@c", "a@b?subject=x", "mailto:a@b", "a,b@c"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
