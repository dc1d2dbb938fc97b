//! Where a route leads, from its URL. Pure.

use std::path::PathBuf;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A host name or address and a port.
    Tcp(String, u16),
    /// A Unix socket: the hub.
    Unix(PathBuf),
    /// Nothing we can reach; requests get 502.
    Unusable,
}

impl Target {
    /// From `http://host:port`; a path behind it has no meaning to us.
    pub(super) fn parse(url: &str) -> Self {
        let Ok(uri) = url.parse::<http::Uri>() else {
            return Self::Unusable;
        };
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Self::Tcp(host.to_owned(), uri.port_u16().unwrap_or(80))
            }
            _ => Self::Unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_http_urls() {
        let tcp = |host: &str, port| Target::Tcp(host.to_owned(), port);
        assert_eq!(Target::parse("http://127.0.0.1:20001"), tcp("127.0.0.1", 20001));
        assert_eq!(Target::parse("http://[::1]:8888/x"), tcp("::1", 8888));
        assert_eq!(Target::parse("http://node7"), tcp("node7", 80));
        for url in ["https://a:1", "ftp://a", "127.0.0.1:80", "", "http://"] {
            assert_eq!(Target::parse(url), Target::Unusable, "{url}");
        }
    }
}
