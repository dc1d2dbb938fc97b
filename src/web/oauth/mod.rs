//! The hub as OAuth provider for user servers and services (`spec/oauth-and-cookies.md` 1 to 4): authorization codes
//! with exact redirect URIs, PKCE with S256 only, codes of 60 seconds.

pub(crate) mod authorize;
pub(crate) mod request;
pub(crate) mod token;
