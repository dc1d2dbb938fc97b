//! Routes: which path prefix goes to which server.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::ServerKey;

/// A path prefix that ends with `/`, percent-decoded: `/user/alice/`; or the same with a host before it, for requests to
/// that host only: `alice.example.com/user/alice/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteSpec(Arc<str>);

impl RouteSpec {
    /// From a decoded path; a slash is put at both ends where it is missing.
    pub fn new(path: &str) -> Self {
        let inner = path.trim_matches('/');
        if inner.is_empty() { Self("/".into()) } else { Self(format!("/{inner}/").into()) }
    }

    /// The same for one host only: `host.example.com/path/` (slashes at the path's beginning stay). The host is a name or an address (in brackets
    /// if it is IPv6) without a port; its letters become small.
    pub fn on_host(host: &str, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let lead = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        Self(format!("{}{lead}{path}/", host.to_ascii_lowercase()).into())
    }

    /// From what [`RouteSpec::as_str`] gave, as it is.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The host it is for; none: all.
    pub fn host(&self) -> Option<&str> {
        let (host, _) = self.0.split_once('/')?;
        (!host.is_empty()).then_some(host)
    }

    /// Would a route here take the hub's pages and its API from it, or a part of them? `base_url`: everything's prefix.
    /// `site`: the host that the hub is at and all others are below, where users have hosts of their own.
    pub fn is_in_the_hubs_way(&self, base_url: &str, site: Option<&str>) -> bool {
        let reaches = match (self.host(), site) {
            (Some(host), Some(site)) => {
                host.strip_suffix(site).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => true,
        };
        let path = &self.0[self.host().map_or(0, str::len)..];
        let hubs = format!("{base_url}hub/");
        reaches && (hubs.starts_with(path) || path.starts_with(&hubs))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A route as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it begins.
    pub spec: RouteSpec,
    /// Where it leads: `http://127.0.0.1:20001` (no path).
    pub target: String,
    /// Whose activity its traffic is; none for services and extra routes.
    pub server: Option<ServerKey>,
}
