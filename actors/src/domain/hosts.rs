//! One host per user and per service (`subdomain_host`): which label a name gets (`spec/oauth-and-cookies.md` 9).
//!
//! Two names never share a host under [`Labels::Idna`]: what a mapping would change (`ﬁ` to `fi`) is hashed instead, since
//! pages of one host can read each other.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use sha2::{Digest, Sha256};

use super::{ServiceName, Username};

/// Longest label of a host (RFC 1035, 2.3.4).
const LONGEST: usize = 63;
/// Letters of a hashed name that are kept as a hint.
const HINT: usize = 8;

/// How a name becomes a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// The name where it is a label, else its IDNA form, else some of its letters and a hash.
    Idna,
    /// Escaped with `_xx`; all services share one host. As sites of old have it.
    Legacy,
}

/// The hosts below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// `http` or `https`.
    pub scheme: String,
    /// The host they are below, in small letters, without its port.
    pub domain: String,
    /// `:8000`, or empty.
    pub port: String,
    /// How names become labels.
    pub labels: Labels,
}

impl Hosts {
    /// Host of a user's servers, without scheme and port.
    pub fn of_user(&self, name: &Username) -> String {
        let label = match self.labels {
            Labels::Idna => label(name.as_str()),
            Labels::Legacy => quoted(name.as_str()),
        };
        format!("{label}.{}", self.domain)
    }

    /// Host of a service, without scheme and port.
    pub fn of_service(&self, name: &ServiceName) -> String {
        match self.labels {
            Labels::Idna => format!("{}--service.{}", label(name.as_str()), self.domain),
            Labels::Legacy => format!("services.{}", self.domain),
        }
    }

    /// Such a host as the beginning of an address: `https://alice.example.com:8443`.
    pub fn origin(&self, host: &str) -> String {
        format!("{}://{host}{}", self.scheme, self.port)
    }

    /// Is this a `Host` (with its port) at or below ours?
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let Some(name) = host.strip_suffix(self.port.as_str()) else { return false };
        name == self.domain
            || name.strip_suffix(self.domain.as_str()).is_some_and(|front| {
                let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                front.len() > 1 && front.ends_with('.') && front.chars().all(letters)
            })
    }
}

/// The label of a name.
fn label(name: &str) -> String {
    // What has two hyphens could be taken for what we make of another name.
    if name.contains("--") {
        return hashed(name);
    }
    if is_label(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return name.to_owned();
    }
    encoded(name).filter(|label| is_label(label)).unwrap_or_else(|| hashed(name))
}

/// Letters, digits and hyphens, with none at the ends, and not a number.
fn is_label(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `xn--…`, if that is the same name.
fn encoded(name: &str) -> Option<String> {
    let rules = Uts46::new();
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::Check);
    let label = rules.to_ascii(name.as_bytes(), deny, hyphens, DnsLength::Verify).ok()?;
    let (back, valid) = rules.to_unicode(label.as_bytes(), deny, hyphens);
    (valid.is_ok() && back == name && label != name).then(|| label.into_owned())
}

/// `u-HINT--HASH`: always a label.
fn hashed(name: &str) -> String {
    let plain = name.chars().flat_map(char::to_lowercase);
    let plain = plain.filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let mut hint: String = plain.take(HINT).collect();
    if hint.is_empty() {
        hint.push('x');
    }
    let hash = Sha256::digest(name.as_bytes());
    format!("u-{hint}--{:02x}{:02x}{:02x}{:x}", hash[0], hash[1], hash[2], hash[3] >> 4)
}

/// Letters, digits, `-` and `.` as they are, all else as `_xx` of its UTF-8.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' => out.push(byte as char),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.to_ascii_lowercase() as char),
            _ => out.push_str(&format!("_{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(labels: Labels) -> Hosts {
        let (scheme, domain, port) = ("https".into(), "hub.test".into(), ":8443".into());
        Hosts { scheme, domain, port, labels }
    }

    #[test]
    fn each_user_and_service_has_a_host() {
        let user =
            |labels, name: &str| hosts(labels).of_user(&Username::new(name).expect("a name"));
        // (The hashes are those of JupyterHub 6.1.1 for the same names.)
        for (name, idna, legacy) in [
            ("alice", "alice", "alice"),
            ("a-1", "a-1", "a-1"),
            ("bücher", "xn--bcher-kva", "b_c3_bccher"),
            ("a.b", "u-ab--2e7336d", "a.b"),
            ("a_b@x", "u-abx--8a639e0", "a_5fb_40x"),
            ("123", "u-123--a665a45", "123"),
            ("a--b", "u-ab--90827a2", "a--b"),
            ("-a", "u-a--c274891", "-a"),
            ("üb er", "u-ber--918e35e", "_c3_bcb_20er"),
            ("ﬁ", "u-x--b6554cc", "_ef_ac_81"),
            ("日本", "xn--wgv71a", "_e6_97_a5_e6_9c_ac"),
        ] {
            assert_eq!(user(Labels::Idna, name), format!("{idna}.hub.test"), "{name}");
            assert_eq!(user(Labels::Legacy, name), format!("{legacy}.hub.test"), "{name}");
        }
        let service = |labels| hosts(labels).of_service(&ServiceName::new("cull").unwrap());
        assert_eq!(service(Labels::Idna), "cull--service.hub.test");
        assert_eq!(service(Labels::Legacy), "services.hub.test");
        assert_eq!(hosts(Labels::Idna).origin("x.hub.test"), "https://x.hub.test:8443");
    }

    #[test]
    fn hosts_at_or_below_ours_are_told_apart() {
        let hosts = hosts(Labels::Idna);
        for host in ["hub.test:8443", "HUB.test:8443", "a.hub.test:8443", "a.b-c.hub.test:8443"] {
            assert!(hosts.covers(host), "{host}");
        }
        for host in [
            "hub.test",
            "xhub.test:8443",
            ".hub.test:8443",
            "evil:8443",
            "hub.test:8443.evil",
            "u@hub.test:8443",
            "evil/.hub.test:8443",
            "e\\.hub.test:8443",
            "",
        ] {
            assert!(!hosts.covers(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_label_of_its_own(one in "[a-zß-ü0-9._@ ﬁ-]{1,40}", other in "\\PC{1,20}") {
            for name in [&one, &other] {
                let label = label(name);
                prop_assert!(is_label(&label), "{name}: {label}");
            }
            prop_assert!(one == other || label(&one) != label(&other), "{one} {other}");
        }
    }
}
