//! The hub as OAuth provider: give a code out, exchange it once. (`spec/oauth-and-cookies.md` 2 and 3; where an
//! attacker would notice, as RFC 9700: see `SECURITY.md`, AS3 to AS5.)

use std::{convert::Infallible, sync::Arc, time::Duration};

use thiserror::Error;

use super::{Decided, tokens};
use crate::{
    domain::{ClientId, Moment, OAuthCode, Owner, Scope, Token, TokenHash, TokenId, UserId},
    store::{Image, Write},
};

/// An authorization code to be given out.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// Of the code.
    pub hash: TokenHash,
    /// For whom.
    pub client: ClientId,
    /// Who agreed.
    pub user: UserId,
    /// What was granted, raw.
    pub scopes: Vec<Scope>,
    /// In which browser session.
    pub session: Option<String>,
    /// S256 challenge.
    pub challenge: Option<String>,
}

/// How long a code lives (`SECURITY.md`: 60 s).
pub const CODE_LIFE: Duration = Duration::from_secs(60);

/// Why no code is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodeRefused {
    /// The person signed out in this browser session while the request was under way.
    #[error("this browser session was signed out")]
    SignedOut,
}

/// Gives a code out. Not into a session that was signed out just now: its request was let in before that, and the token
/// made from its code would outlive the sign-out.
pub fn give_code(image: &Image, new: NewCode, now: Moment) -> Decided<(), CodeRefused> {
    if let Some(session) = &new.session
        && image.codes().any(|code| ends(code, new.user, session) && now < code.expires_at)
    {
        return Err(CodeRefused::SignedOut);
    }
    let code = OAuthCode {
        hash: new.hash,
        client: new.client,
        user: new.user,
        scopes: new.scopes,
        session: new.session,
        challenge: new.challenge,
        expires_at: now.plus(CODE_LIFE),
        used: None,
    };
    Ok((vec![Write::Code(Arc::new(code))], ()))
}

/// So many ended sessions of one user are remembered.
const MOST_ENDED: usize = 16;

/// Remembers for the life of a code that this session has ended, by a spent code of no client: nobody can redeem it,
/// and it goes with the expired ones.
pub(super) fn end_session(image: &Image, user: UserId, session: &str, now: Moment) -> Vec<Write> {
    let mut ended: Vec<_> =
        image.codes().filter(|code| code.user == user && is_mark(code)).collect();
    ended.sort_by_key(|code| code.expires_at);
    let surplus = (ended.len() + 1).saturating_sub(MOST_ENDED);
    let mut writes: Vec<_> =
        ended.iter().take(surplus).map(|code| Write::CodeGone(code.hash)).collect();
    // No digest of anything: ids are never given again, so marks never meet.
    let id = image.next_id();
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&id.to_be_bytes());
    let mark = OAuthCode {
        hash: TokenHash(hash),
        client: ClientId::claimed(""),
        user,
        scopes: Vec::new(),
        session: Some(session.to_owned()),
        challenge: None,
        expires_at: now.plus(CODE_LIFE),
        used: None,
    };
    writes.extend([Write::IdsUsed(id), Write::Code(Arc::new(mark))]);
    writes
}

/// Is this no code but the mark of an ended session?
fn is_mark(code: &OAuthCode) -> bool {
    code.client.as_str().is_empty()
}

fn ends(code: &OAuthCode, user: UserId, session: &str) -> bool {
    is_mark(code) && code.user == user && code.session.as_deref() == Some(session)
}

/// A code presented at the token endpoint. Secrets are hashed, the verifier's S256 computed, by the caller.
#[derive(Debug, Clone)]
pub struct Redemption {
    /// Of the code.
    pub code: TokenHash,
    /// Who presents it.
    pub client: ClientId,
    /// Of the client's secret.
    pub secret: TokenHash,
    /// As sent; none: the registered one is meant.
    pub redirect_uri: Option<String>,
    /// base64url(SHA-256(code_verifier)), if one was sent.
    pub challenge: Option<String>,
    /// Of the access token to be made.
    pub token: TokenHash,
    /// How long that lives.
    pub expires_in: Duration,
}

/// Why a code is not exchanged (RFC 6749, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RedeemRefused {
    /// Unknown client or wrong secret.
    #[error("invalid_client")]
    Client,
    /// Wrong, used, expired or foreign code; wrong verifier.
    #[error("invalid_grant")]
    Grant,
    /// Wrong redirect URI, or a verifier is missing.
    #[error("invalid_request")]
    Request,
}

/// What came of presenting a code. A used code that is presented again ends the token made from it, so refusals can
/// come with writes too.
pub type Redeemed = Result<Arc<Token>, RedeemRefused>;

/// Exchanges a code for a token, once. Nobody but the client the code was given to can use it up or end anything.
pub fn redeem_code(image: &Image, what: Redemption, now: Moment) -> Decided<Redeemed, Infallible> {
    let code = match presented(image, &what, now) {
        Ok(code) => code,
        Err(refusal) => return Ok((Vec::new(), Err(refusal))),
    };
    if let Some(made) = code.used {
        // One of the two who had this code should not have: the token ends for both (RFC 6749, 4.1.2).
        let revoked = image.token(made).map(|token| Write::TokenGone(token.id));
        return Ok((revoked.into_iter().collect(), Err(RedeemRefused::Grant)));
    }
    let token = Token {
        id: TokenId(image.next_id()),
        owner: Owner::User(code.user),
        hash: what.token,
        scopes: code.scopes.as_slice().into(),
        created: now,
        expires_at: Some(now.plus(what.expires_in)),
        last_activity: None,
        note: "".into(),
        client: Some(code.client.clone()),
        session: code.session.as_deref().map(Into::into),
    };
    let used = OAuthCode { used: Some(token.id), ..OAuthCode::clone(code) };
    let (mut writes, token) = tokens::record(token);
    writes.push(Write::Code(Arc::new(used)));
    Ok((writes, Ok(token)))
}

/// The code that was presented, if it is this client's, in time, and proven. It may have been used.
fn presented<'a>(
    image: &'a Image,
    what: &Redemption,
    now: Moment,
) -> Result<&'a Arc<OAuthCode>, RedeemRefused> {
    let client = image
        .client(&what.client)
        .filter(|client| client.secret == what.secret)
        .ok_or(RedeemRefused::Client)?;
    if what.redirect_uri.as_ref().is_some_and(|uri| *uri != client.redirect_uri) {
        return Err(RedeemRefused::Request);
    }
    let code = image
        .code(&what.code)
        .filter(|code| code.client == client.id && now < code.expires_at)
        .filter(|code| image.user(code.user).is_some())
        .ok_or(RedeemRefused::Grant)?;
    match (&code.challenge, &what.challenge) {
        (None, None) => Ok(code),
        (Some(expected), Some(proof)) if expected == proof => Ok(code),
        (Some(_), Some(_)) => Err(RedeemRefused::Grant),
        (Some(_), None) => Err(RedeemRefused::Request),
        // Somebody took the challenge out of the authorization request: a downgrade (RFC 9700, 2.1.1).
        (None, Some(_)) => Err(RedeemRefused::Grant),
    }
}
