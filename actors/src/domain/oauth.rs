//! The hub as OAuth provider: clients, codes, and the rules that need no clock of their own.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Moment, Scope, ServerName, ServiceName, TokenHash, TokenId, UserId, Username, quote};

/// Names a client: `jupyterhub-user-NAME` for a default server, `jupyterhub-user-NAME+SERVER` for a named one,
/// `service-NAME`.
///
/// The reference joins user and server by `-`, so user `a-b` and server `b` of user `a` share one client
/// (CVE-2026-108752). `+` never stands in a quoted name, so the map is injective.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The client that a user's server is.
    pub fn of_server(user: &Username, server: &ServerName) -> Self {
        let user = quote::client(user.as_str());
        if server.is_default() {
            Self(format!("jupyterhub-user-{user}").into())
        } else {
            Self(format!("jupyterhub-user-{user}+{server}").into())
        }
    }

    /// The client that a service is.
    pub fn of_service(name: &ServiceName) -> Self {
        Self(format!("service-{}", quote::client(name.as_str())).into())
    }

    /// What a request brought. It need not exist.
    pub fn claimed(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientOf {
    /// A user's server.
    Server(UserId, ServerName),
    /// A service.
    Service(ServiceName),
}

/// A registered client. A server's lives from its start to its stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OAuthClient {
    /// Its public name.
    pub id: ClientId,
    /// Of its secret (a server's API token).
    pub secret: TokenHash,
    /// Compared byte for byte; a path for servers on our own host.
    pub redirect_uri: String,
    /// For the consent page.
    pub description: String,
    /// What its tokens may carry besides identity and access.
    pub allowed_scopes: Vec<Scope>,
    /// What it is.
    pub of: ClientOf,
}

/// An authorization code: single use, short-lived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OAuthCode {
    /// Of the code.
    pub hash: TokenHash,
    /// Who asked for it.
    pub client: ClientId,
    /// Who agreed.
    pub user: UserId,
    /// What was granted, raw.
    pub scopes: Vec<Scope>,
    /// The browser session it was given in.
    pub session: Option<String>,
    /// S256 challenge, if one was sent.
    pub challenge: Option<String>,
    /// Not valid from then on.
    pub expires_at: Moment,
    /// The token it was exchanged for. Kept until it expires, so that a second use can end that token.
    #[serde(default)]
    pub used: Option<TokenId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_are_injective() {
        let id = |user: &str, server: &str| {
            ClientId::of_server(&Username::new(user).unwrap(), &ServerName::new(server).unwrap())
        };
        assert_eq!(id("bob", "").as_str(), "jupyterhub-user-bob");
        assert_eq!(id("b@x", "").as_str(), "jupyterhub-user-b%40x");
        assert_ne!(id("a-b", ""), id("a", "b"));
        assert_ne!(id("a+b", ""), id("a", "b"));
    }
}
