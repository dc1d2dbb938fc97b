//! API tokens: issue, revoke, delete what has expired. (`spec/rest-api.md` 4.5.)

use std::{convert::Infallible, sync::Arc, time::Duration};

use thiserror::Error;

use super::{Decided, access};
use crate::{
    domain::{Moment, Owner, Policy, Scope, Token, TokenHash, TokenId},
    store::{Image, Write},
};

/// Longest note, in bytes.
pub const LONGEST_NOTE: usize = 1_024;

/// Most scopes one token may be given.
pub const MOST_SCOPES: usize = 200;

/// Most API tokens one owner may have at a time. Servers' own count, those given to OAuth clients do not.
pub const MOST_TOKENS: usize = 1_000;

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
    #[error("no such owner")]
    NoOwner,
    /// It would hold what its owner does not.
    #[error("not allowed to request scopes: {0}")]
    Excess(String),
    /// Its note is longer than [`LONGEST_NOTE`].
    #[error("a note has at most {LONGEST_NOTE} bytes")]
    LongNote,
    /// It was to have more than [`MOST_SCOPES`].
    #[error("a token has at most {MOST_SCOPES} scopes")]
    ManyScopes,
    /// Its owner has [`MOST_TOKENS`] already.
    #[error("there are {MOST_TOKENS} tokens already: revoke some first")]
    ManyTokens,
}

/// Makes an API token. Its scopes are held against what the owner has now. Where it gets tight, the owner's expired
/// tokens are taken out.
pub fn issue_token(
    image: &Image,
    policy: &Policy,
    new: NewToken,
    now: Moment,
) -> Decided<Arc<Token>, TokenRefused> {
    if new.note.len() > LONGEST_NOTE {
        return Err(TokenRefused::LongNote);
    }
    if new.scopes.len() > MOST_SCOPES {
        return Err(TokenRefused::ManyScopes);
    }
    let (holder, held) =
        access::of_owner(image, policy, &new.owner).ok_or(TokenRefused::NoOwner)?;
    let excess = access::excess(image, policy, &new.scopes, &holder, &held);
    if !excess.is_empty() {
        return Err(TokenRefused::Excess(excess.join(", ")));
    }
    let mut writes = make_room(image, &new.owner, now)?;
    let token = Token {
        id: TokenId(image.next_id()),
        owner: new.owner,
        hash: new.hash,
        scopes: new.scopes.into(),
        created: now,
        expires_at: new.expires_in.map(|life| now.plus(life)),
        last_activity: None,
        note: new.note.into(),
        client: None,
        session: None,
    };
    let (made, token) = record(token);
    writes.extend(made);
    Ok((writes, token))
}

/// There must be room for one more API token of this owner.
fn make_room(image: &Image, owner: &Owner, now: Moment) -> Result<Vec<Write>, TokenRefused> {
    let plain = || image.tokens_of(owner).filter(|token| token.client.is_none());
    if plain().count() < MOST_TOKENS {
        return Ok(Vec::new());
    }
    let expired = plain().filter(|token| !token.is_valid(now));
    let gone: Vec<_> = expired.map(|token| Write::TokenGone(token.id)).collect();
    if plain().count() - gone.len() < MOST_TOKENS {
        Ok(gone)
    } else {
        Err(TokenRefused::ManyTokens)
    }
}

/// The writes and the answer for a new token. Its id stays used when the token has gone.
pub(super) fn record(token: Token) -> (Vec<Write>, Arc<Token>) {
    let token = Arc::new(token);
    (vec![Write::IdsUsed(token.id.0), Write::Token(token.clone())], token)
}

/// Revokes a token. One of an OAuth client takes all of that user's tokens for that client with it. False: no such
/// token of this owner.
pub fn revoke_token(image: &Image, owner: &Owner, id: TokenId) -> Decided<bool, Infallible> {
    let Some(token) = image.token(id).filter(|token| token.owner == *owner) else {
        return Ok((Vec::new(), false));
    };
    let writes = match &token.client {
        None => vec![Write::TokenGone(id)],
        Some(client) => image
            .tokens_of(owner)
            .filter(|token| token.client.as_ref() == Some(client))
            .map(|token| Write::TokenGone(token.id))
            .collect(),
    };
    Ok((writes, true))
}

/// Takes out every token and code, those for shares too, that no longer counts. All records are looked at: not for the store's thread, see
/// [`crate::janitor`].
pub fn delete_expired(image: &Image, now: Moment) -> Vec<Write> {
    let tokens = image.tokens().filter(|it| !it.is_valid(now)).map(|it| Write::TokenGone(it.id));
    let codes = image.codes().filter(|it| now >= it.expires_at).map(|it| Write::CodeGone(it.hash));
    let sharing = image.share_codes().filter(|it| now >= it.expires_at);
    let announced = image.announcement().filter(|it| !it.is_shown(now));
    let announced = announced.map(|_| Write::AnnouncementGone);
    let sharing = sharing.map(|it| Write::ShareCodeGone(it.id));
    tokens.chain(codes).chain(sharing).chain(announced).collect()
}
