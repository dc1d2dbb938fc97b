//! People who sign in at a provider (OAuth 2, RFC 6749; OpenID Connect Core 1.0).
//!
//! ```text
//! oidc ─┬─ metadata   where the provider's ends and keys are; kept, fetched anew when it is time
//!       ├─ id_token   is its word good?                       (pure)
//!       └─ claims     what the word says: name, groups        (pure)
//! github ─ its own API, page by page
//!       both ─ token (a code, or a refresh token, against tokens) ─ asking (one request, one answer)
//! ```
//!
//! Nobody comes in over an answer that is late, long, broken, or for somebody else: every such answer is an error here.

mod asking;
mod claims;
pub mod github;
mod id_token;
mod metadata;
pub mod oidc;
mod token;

/// Seconds by which clocks may differ.
const SKEW: i64 = 60;

/// What the provider sent back with the browser; each word once.
pub(super) fn one<'a>(
    query: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, String> {
    let mut all = query.iter().filter(|(word, _)| word == name).map(|(_, value)| value.as_str());
    match (all.next(), all.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => Err(format!("`{name}` came back twice")),
    }
}
