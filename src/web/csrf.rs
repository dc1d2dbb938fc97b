//! Is the form ours? Tokens bound to browser session and user, and the rule when they are needed
//! (`spec/oauth-and-cookies.md` 6, `spec/rest-api.md` 1.6).
//!
//! Stricter than the reference (CVE-2026-40864): only what is listed in [`exempt`] needs no token, and a write that the
//! browser itself calls cross-site is refused even with one.

use std::net::IpAddr;

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use http::Method;
use ring::digest::{Context, SHA256};
use subtle::ConstantTimeEq;

use super::{session, signed};

/// Seconds a token is good for.
const MAX_AGE: i64 = 31 * 86_400;

/// What a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound(String);

impl Bound {
    /// To a signed-in user in a browser session.
    pub(crate) fn user(session: Option<&str>, cookie_id: &str) -> Self {
        Self(format!("{}:{cookie_id}", session.unwrap_or("None")))
    }

    /// To somebody anonymous: where from, and with which browser.
    pub(crate) fn anonymous(session: Option<&str>, from: Option<IpAddr>, agent: &[u8]) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(from.map(|ip| ip.to_string()).unwrap_or_default().as_bytes());
        hash.update(agent);
        hash.update(&[0xff]);
        let id = URL_SAFE.encode(hash.finish());
        Self(format!("{}:{id}", session.unwrap_or("None")))
    }

    /// A fresh token.
    pub(crate) fn issue(&self, secret: &[u8], now: i64) -> String {
        URL_SAFE_NO_PAD.encode(signed::sign(secret, session::XSRF, &self.0, now))
    }

    /// Is this token good and bound to the same?
    pub(crate) fn accepts(&self, secret: &[u8], token: &str, now: i64) -> bool {
        URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| signed::verify(secret, session::XSRF, &text, MAX_AGE, now))
            .is_some_and(|payload| payload == self.0)
    }
}

/// What the browser says about a request, and what the request carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Its method.
    pub(crate) method: &'a Method,
    /// `Sec-Fetch-Mode`.
    pub(crate) mode: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub(crate) site: Option<&'a str>,
    /// The token in argument or header.
    pub(crate) given: Option<&'a str>,
    /// The valid token among its cookies.
    pub(crate) cookie: Option<&'a str>,
}

/// Why a request is refused; the text goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No token came.
    Missing,
    /// Another token came, or there is no valid cookie.
    Mismatch,
    /// The browser says another site sent it.
    CrossSite,
}

impl Refusal {
    /// For the error body.
    pub(crate) fn message(self, method: &Method) -> String {
        match self {
            Self::Missing => format!("'_xsrf' argument is missing from {method}"),
            Self::Mismatch => format!("the '_xsrf' argument of {method} does not match its cookie"),
            Self::CrossSite => format!("cross-site {method} is refused"),
        }
    }
}

/// Needs no token: it changes nothing, and no script of another site reads the answer.
pub(crate) fn exempt(method: &Method, mode: Option<&str>, site: Option<&str>) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match mode {
        None | Some("navigate") => reads,
        Some("no-cors") => reads && site == Some("same-origin"),
        // Websockets are never ours to answer; a token would not fit into their handshake.
        Some("websocket") => reads,
        Some(_) => false,
    }
}

/// May the request pass?
pub(crate) fn check(facts: Facts<'_>) -> Result<(), Refusal> {
    if exempt(facts.method, facts.mode, facts.site) {
        return Ok(());
    }
    let writes = !matches!(*facts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if writes && facts.site == Some("cross-site") {
        return Err(Refusal::CrossSite);
    }
    let given = facts.given.filter(|given| !given.is_empty()).ok_or(Refusal::Missing)?;
    let cookie = facts.cookie.ok_or(Refusal::Mismatch)?;
    if bool::from(given.as_bytes().ct_eq(cookie.as_bytes())) {
        Ok(())
    } else {
        Err(Refusal::Mismatch)
    }
}

/// Is it a visit to a page (so that a token cookie may be set)?
pub(crate) fn navigates(mode: Option<&str>) -> bool {
    matches!(mode, None | Some("navigate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anonymous_id_is_the_references() {
        let bound = Bound::anonymous(None, Some("127.0.0.1".parse().unwrap()), b"Mozilla/5.0");
        assert_eq!(bound.0, "None:eTHuwVZAR-wUQ0cBvwV-q4auKhTDBytw6hstwJohfoM=");
    }

    #[test]
    fn a_token_fits_its_own_session_and_user_only() {
        let bound = Bound::user(Some("s1"), "bob");
        let token = bound.issue(b"k", 1_000);
        assert!(!token.contains('='));
        assert!(bound.accepts(b"k", &token, 1_000 + MAX_AGE));
        assert!(!bound.accepts(b"k", &token, 1_001 + MAX_AGE));
        assert!(!bound.accepts(b"other", &token, 1_000));
        for other in [
            Bound::user(Some("s2"), "bob"),
            Bound::user(Some("s1"), "eve"),
            Bound::user(None, "bob"),
            Bound::anonymous(Some("s1"), None, b""),
        ] {
            assert!(!other.accepts(b"k", &token, 1_000), "{other:?}");
        }
    }

    #[test]
    fn only_listed_combinations_pass_without_a_token() {
        let methods = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT]
            .into_iter()
            .chain([Method::PATCH, Method::DELETE]);
        let modes = ["navigate", "cors", "no-cors", "same-origin", "websocket", "odd"];
        let sites = ["same-origin", "same-site", "cross-site", "none"];
        for method in methods {
            let reads = ["GET", "HEAD", "OPTIONS"].contains(&method.as_str());
            for mode in modes.into_iter().map(Some).chain([None]) {
                for site in sites.into_iter().map(Some).chain([None]) {
                    let wanted = reads
                        && (matches!(mode, None | Some("navigate" | "websocket"))
                            || (mode == Some("no-cors") && site == Some("same-origin")));
                    let facts =
                        Facts { method: &method, mode, site, given: None, cookie: Some("t") };
                    assert_eq!(check(facts).is_ok(), wanted, "{method} {mode:?} {site:?}");
                    // With the right token all pass but writes from another site.
                    let facts = Facts { given: Some("t"), ..facts };
                    let foreign = !reads && site == Some("cross-site");
                    assert_eq!(check(facts).is_ok(), !foreign, "{method} {mode:?} {site:?}");
                    // A wrong token helps nowhere.
                    let facts = Facts { given: Some("u"), ..facts };
                    assert_eq!(check(facts).is_ok(), wanted, "{method} {mode:?} {site:?}");
                }
            }
        }
    }

    #[test]
    fn without_a_valid_cookie_no_token_fits() {
        let facts = Facts {
            method: &Method::POST,
            mode: None,
            site: None,
            given: Some(""),
            cookie: Some(""),
        };
        assert_eq!(check(facts), Err(Refusal::Missing));
        assert_eq!(
            check(Facts { given: Some("x"), cookie: None, ..facts }),
            Err(Refusal::Mismatch)
        );
    }
}
