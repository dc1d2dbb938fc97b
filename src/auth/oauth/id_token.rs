//! Is a provider's word good? (OpenID Connect Core 1.0, section 3.1.3.7.) Signature, issuer and audience are the library's;
//! what it leaves to its callers, and what a hostile word could hold besides, is checked here on the same bytes. Pure.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, Nonce,
    SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;
use thiserror::Error;

use super::{SKEW, claims::Claims};

/// Longest token, in bytes.
const LONGEST: usize = 256 << 10;
/// Longest subject (section 2).
const SUBJECT: usize = 255;

/// Why a word is not good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Bad {
    /// No key that we know signed it: there may be others by now.
    #[error("no key of the provider signed it")]
    Key,
    /// Anything else.
    #[error("{0}")]
    Word(String),
}

fn bad<T>(why: &str) -> Result<T, Bad> {
    Err(Bad::Word(why.to_owned()))
}

/// What it has to be.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    /// From whom.
    pub(super) issuer: &'a str,
    /// For whom.
    pub(super) client: &'a str,
    /// For which visit. None: a refresh, which has none.
    pub(super) nonce: Option<&'a str>,
    /// How it may be signed.
    pub(super) algorithms: &'a BTreeSet<String>,
    /// What came with it.
    pub(super) access_token: &'a str,
    /// Seconds since the person proved who they are, at most; 0: any.
    pub(super) max_age: u64,
    /// One of these ways of proving it; empty: any.
    pub(super) acr: &'a BTreeSet<String>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The claims of a good one.
///
/// # Errors
///
/// It is not good.
pub(super) fn verify(
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Claims, Bad> {
    let (header, claims) = parts(token)?;
    if ["jwk", "jku", "x5u"].iter().any(|name| header.contains_key(*name)) {
        return bad("it brings a key of its own");
    }
    let parsed: CoreIdToken =
        token.parse().or_else(|_| bad("its claims are not of the kinds they should be"))?;
    let issuer = IssuerUrl::new(expected.issuer.to_owned());
    let issuer = issuer.or_else(|_| bad("the issuer is no address"))?;
    let algorithms = expected.algorithms.iter().filter_map(|name| algorithm(name));
    let client = ClientId::new(expected.client.to_owned());
    let verifier = CoreIdTokenVerifier::new_public_client(client, issuer, keys.clone())
        .set_allowed_algs(algorithms)
        .set_time_fn(|| (SystemTime::now() - Duration::from_secs(SKEW.unsigned_abs())).into());
    let nonce = expected.nonce.map(|nonce| Nonce::new(nonce.to_owned()));
    let same = |given: Option<&Nonce>| match (&nonce, given) {
        (Some(ours), Some(_)) => openidconnect::NonceVerifier::verify(ours, given),
        (Some(_), None) => Err("missing".to_owned()),
        (None, _) => Ok(()),
    };
    parsed.claims(&verifier, same).map_err(|error| match error {
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_),
        ) => Bad::Key,
        other => Bad::Word(spoken(&other).to_owned()),
    })?;
    times(&claims, expected)?;
    party(&claims, expected)?;
    subject(&claims)?;
    if let Some(hash) = claims.get("at_hash") {
        let key = parsed.signing_key(&verifier).or(Err(Bad::Key))?;
        let algorithm = parsed.signing_alg().or_else(|_| bad("it is not signed"))?;
        let token = AccessToken::new(expected.access_token.to_owned());
        let ours = AccessTokenHash::from_token(&token, algorithm, key);
        let ours = ours.or_else(|_| bad("its way of signing has no hash"))?;
        if hash.as_str() != Some(ours.as_str()) {
            return bad("it came with another token (at_hash)");
        }
    }
    Ok(claims)
}

/// In our words: the library's hold what the token says.
fn spoken(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "it has expired",
        ClaimsVerificationError::InvalidAudience(_) => "it is for somebody else (aud)",
        ClaimsVerificationError::InvalidIssuer(_) => "it is from somebody else (iss)",
        ClaimsVerificationError::InvalidNonce(_) => "it is for another visit (nonce)",
        ClaimsVerificationError::SignatureVerification(_) => "it is not signed as it has to be",
        _ => "it is of a kind we do not take",
    }
}

fn algorithm(name: &str) -> Option<CoreJwsSigningAlgorithm> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

/// Header and claims; the signature is the library's.
fn parts(token: &str) -> Result<(Claims, Claims), Bad> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return bad("it has not three parts");
    };
    if token.len() > LONGEST {
        return bad("it is too long");
    }
    let read = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Claims>(&bytes).ok()
    };
    match (read(header), read(claims)) {
        (Some(header), Some(claims)) => Ok((header, claims)),
        _ => bad("it is not made of JSON"),
    }
}

/// Is it of now?
fn times(claims: &Claims, expected: &Expected<'_>) -> Result<(), Bad> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds)),
            None => bad("its times are no numbers"),
        },
    };
    let now = expected.now as f64;
    let skew = SKEW as f64;
    match time("exp")? {
        Some(end) if end + skew > now => {}
        _ => return bad("it has expired"),
    }
    match time("iat")? {
        Some(issued) if issued <= now + skew => {}
        _ => return bad("it was issued later than now"),
    }
    if time("nbf")?.is_some_and(|begin| begin > now + skew) {
        return bad("it is not good yet");
    }
    if expected.max_age > 0 {
        let least = now - skew - expected.max_age as f64;
        match time("auth_time")? {
            Some(proved) if proved >= least && proved <= now + skew => {}
            _ => return bad("the person proved too long ago who they are (auth_time)"),
        }
    }
    Ok(())
}

/// Is it for us alone, and did the person prove it as they should?
fn party(claims: &Claims, expected: &Expected<'_>) -> Result<(), Bad> {
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match claims.get("azp") {
        None if several => return bad("it is for several, and does not say who asked (azp)"),
        None => {}
        Some(party) if party.as_str() == Some(expected.client) => {}
        Some(_) => return bad("somebody else asked for it (azp)"),
    }
    let acr = claims.get("acr").and_then(Value::as_str).unwrap_or_default();
    if !expected.acr.is_empty() && !expected.acr.contains(acr) {
        return bad("the person did not prove it in a way that is required (acr)");
    }
    Ok(())
}

fn subject(claims: &Claims) -> Result<(), Bad> {
    match claims.get("sub").and_then(Value::as_str) {
        Some(subject)
            if (1..=SUBJECT).contains(&subject.len())
                && !subject.trim().is_empty()
                && !subject.chars().any(char::is_control) =>
        {
            Ok(())
        }
        _ => bad("its subject (sub) is none"),
    }
}
