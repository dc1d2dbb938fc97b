//! Rules for changing users, tokens and OAuth clients: pure decisions `(&Image, …) → writes and an answer`, run by the
//! store. Nothing here does I/O or draws random numbers; hashes and ids of secrets come in as arguments.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    domain::{ClientId, Moment, Owner, Scope, Token, TokenHash, TokenId, User, UserId, Username},
    store::{Image, Write},
};

/// What a decision yields: writes for the journal, and an answer for the caller.
pub type Decided<T, E> = Result<(Vec<Write>, T), E>;

/// A user after signing in: made if new, admin and user_info set where the authenticator said so.
pub fn sign_in(
    _image: &Image,
    _name: &Username,
    _admin: Option<bool>,
    _info: Option<serde_json::Value>,
    _cookie_id: String,
    _now: Moment,
) -> Decided<Arc<User>, std::convert::Infallible> {
    unimplemented!()
}

/// Ends all tokens of this user that were given in this browser session.
pub fn sign_out(
    _image: &Image,
    _user: UserId,
    _session: &str,
) -> Decided<(), std::convert::Infallible> {
    unimplemented!()
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose.
    pub owner: Owner,
    /// Of the secret.
    pub hash: TokenHash,
    /// Raw.
    pub scopes: Vec<Scope>,
    /// For people.
    pub note: String,
    /// How long it lives; none: for ever.
    pub expires_in: Option<Duration>,
}

/// Why a token is not made.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TokenRefused {
    /// No such owner.
    #[error("no such user")]
    NoOwner,
    /// It would hold what its owner does not.
    #[error("not allowed to request scopes: {0}")]
    Excess(String),
}

/// Makes an API token.
pub fn issue_token(
    _image: &Image,
    _new: NewToken,
    _now: Moment,
) -> Decided<Arc<Token>, TokenRefused> {
    unimplemented!()
}

/// Revokes a token. One of an OAuth client takes all of that user's tokens for that client with it. False: no such
/// token of this owner.
pub fn revoke_token(
    _image: &Image,
    _owner: &Owner,
    _id: TokenId,
) -> Decided<bool, std::convert::Infallible> {
    unimplemented!()
}

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

/// Gives a code out.
pub fn give_code(
    _image: &Image,
    _new: NewCode,
    _now: Moment,
) -> Decided<(), std::convert::Infallible> {
    unimplemented!()
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

/// Exchanges a code for a token, once.
pub fn redeem_code(
    _image: &Image,
    _what: Redemption,
    _now: Moment,
) -> Decided<Redeemed, std::convert::Infallible> {
    unimplemented!()
}
