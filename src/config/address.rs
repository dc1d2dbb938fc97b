//! Where others are asked: by TLS, or in plain to this machine itself. The check of a configuration, and whoever asks,
//! go by the same rule.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};

/// Is this host the machine itself, by whatever name? `[::1]` as an address has it, or without its brackets.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// May something be asked at this address? `plain_to_itself`: without TLS, too, where it is this machine.
#[must_use]
pub fn may_be_asked(uri: &Uri, plain_to_itself: bool) -> bool {
    let Some(host) = uri.host() else { return false };
    uri.scheme() == Some(&Scheme::HTTPS)
        || plain_to_itself && uri.scheme() == Some(&Scheme::HTTP) && is_loopback(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_machine_is_asked() {
        let may = |text: &str, plain| may_be_asked(&text.parse().expect("an address"), plain);
        for far in ["https://login.example.org/a", "https://127.0.0.1:8443", "https://[::1]/"] {
            assert!(may(far, false) && may(far, true), "{far}");
        }
        for near in
            ["http://127.0.0.1:1", "http://127.9.9.9/", "http://[::1]:8/", "http://LocalHost/"]
        {
            assert!(may(near, true), "{near}");
            assert!(!may(near, false), "{near}");
        }
        for never in [
            "http://login.example.org/",
            "http://localhost.example.org/",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "ftp://127.0.0.1/",
            "/well-known",
            "127.0.0.1:80",
        ] {
            assert!(!may(never, true), "{never}");
        }
    }
}
