//! Codes by which people take a share themselves: issue, use, delete. (`spec/rest-api.md` 4.11.)
//!
//! A code may be used by several people, and as often as they like, until it expires. Only its hash is kept.

use std::{convert::Infallible, sync::Arc, time::Duration};

use super::{
    Decided,
    shares::{self, ShareRefused},
};
use crate::{
    domain::{
        Moment, Policy, ServerKey, Share, ShareCode, ShareCodeId, ShareKey, SharedWith, TokenHash,
        UserId, scope::Granted,
    },
    store::{Image, Write},
};

/// How long a code lives unless told otherwise.
pub const SHARE_CODE_LIFE: Duration = Duration::from_secs(86_400);

/// The shortest and the longest life of a code.
const LIVES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(31_536_000);

/// Most codes one server may have at a time.
pub const MOST_SHARE_CODES: usize = 100;

/// Most codes for all servers of one owner at a time.
pub const MOST_CODES_GIVEN: usize = 1_000;

/// A code to be made.
#[derive(Debug, Clone)]
pub struct NewShareCode {
    /// For what.
    pub server: ServerKey,
    /// Of the code.
    pub hash: TokenHash,
    /// As in [`shares::Grant::scopes`].
    pub scopes: Vec<String>,
    /// How long it lives.
    pub life: Duration,
    /// What whoever makes it holds: it gives nothing beyond.
    pub by: Granted,
}

/// Makes a code. Where it gets tight, the server's expired codes are taken out.
pub fn issue_share_code(
    image: &Image,
    policy: &Policy,
    new: NewShareCode,
    now: Moment,
) -> Decided<Arc<ShareCode>, ShareRefused> {
    if !LIVES.contains(&new.life) {
        return Err(ShareRefused::Life);
    }
    let scopes = shares::scopes_for(image, policy, &new.server, &new.scopes, &new.by)?;
    let mut writes = make_room(image, &new.server, now)?;
    let code = Arc::new(ShareCode {
        id: ShareCodeId(image.next_id()),
        hash: new.hash,
        server: new.server,
        scopes,
        created: now,
        expires_at: now.plus(new.life),
        exchange_count: 0,
        last_exchanged: None,
    });
    writes.extend([Write::IdsUsed(code.id.0), Write::ShareCode(code.clone())]);
    Ok((writes, code))
}

/// There must be room for one more code.
fn make_room(image: &Image, server: &ServerKey, now: Moment) -> Result<Vec<Write>, ShareRefused> {
    if image.share_codes_by(server.user).filter(|it| counts(it, now)).count() >= MOST_CODES_GIVEN {
        return Err(ShareRefused::ManyCodes(MOST_CODES_GIVEN));
    }
    if image.share_codes_of(server).count() < MOST_SHARE_CODES {
        return Ok(Vec::new());
    }
    let expired = image.share_codes_of(server).filter(|code| !counts(code, now));
    let gone: Vec<_> = expired.map(|code| Write::ShareCodeGone(code.id)).collect();
    if gone.is_empty() { Err(ShareRefused::ManyCodes(MOST_SHARE_CODES)) } else { Ok(gone) }
}

/// Has it not expired?
fn counts(code: &ShareCode, now: Moment) -> bool {
    now < code.expires_at
}

/// The code of this hash, if it still counts and its server is there.
pub fn valid_share_code<'a>(
    image: &'a Image,
    hash: &TokenHash,
    now: Moment,
) -> Option<&'a Arc<ShareCode>> {
    image.share_code_hashed(hash).filter(|code| {
        let server = &code.server;
        let there = server.name.is_default() || image.server(server).is_some();
        counts(code, now) && there && image.user(server.user).is_some()
    })
}

/// The codes of a server that still count, oldest first.
pub fn valid_share_codes<'a>(
    image: &'a Image,
    server: &'a ServerKey,
    now: Moment,
) -> impl Iterator<Item = &'a Arc<ShareCode>> {
    image.share_codes_of(server).filter(move |code| counts(code, now))
}

/// The same of all servers of an owner, by server.
pub fn valid_share_codes_by(
    image: &Image,
    owner: UserId,
    now: Moment,
) -> impl Iterator<Item = &Arc<ShareCode>> {
    image.share_codes_by(owner).filter(move |code| counts(code, now))
}

/// Gives this user what the code is good for.
pub fn use_share_code(
    image: &Image,
    hash: &TokenHash,
    user: UserId,
    now: Moment,
) -> Decided<Arc<Share>, ShareRefused> {
    let code = valid_share_code(image, hash, now).ok_or(ShareRefused::NoCode)?;
    if image.user(user).is_none() {
        return Err(ShareRefused::NoTarget);
    }
    if code.server.user == user {
        return Err(ShareRefused::Own);
    }
    let key = ShareKey { server: code.server.clone(), with: SharedWith::User(user) };
    let (mut writes, share) = shares::add(image, key, code.scopes.clone(), now)?;
    let mut used = ShareCode::clone(code);
    used.exchange_count += 1;
    used.last_exchanged = Some(now);
    writes.push(Write::ShareCode(Arc::new(used)));
    Ok((writes, share))
}

/// Which codes of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichCodes {
    /// All.
    All,
    /// The one of this number.
    Numbered(ShareCodeId),
    /// The one of this hash.
    Hashed(TokenHash),
}

/// Deletes codes of a server. False: there was none that counts, where one was meant.
pub fn drop_share_codes(
    image: &Image,
    server: &ServerKey,
    which: WhichCodes,
    now: Moment,
) -> Decided<bool, Infallible> {
    let one = match which {
        WhichCodes::All => {
            let all = image.share_codes_of(server).map(|code| Write::ShareCodeGone(code.id));
            return Ok((all.collect(), true));
        }
        WhichCodes::Numbered(id) => image.share_code(id),
        WhichCodes::Hashed(hash) => image.share_code_hashed(&hash),
    };
    let one = one.filter(|code| code.server == *server && counts(code, now));
    Ok((one.map(|code| Write::ShareCodeGone(code.id)).into_iter().collect(), one.is_some()))
}

/// Codes of a server that is called otherwise from now on.
pub(super) fn moved(image: &Image, from: &ServerKey, to: &ServerKey) -> Vec<Write> {
    let codes = image.share_codes_of(from).map(|code| {
        let server = to.clone();
        Write::ShareCode(Arc::new(ShareCode { server, ..ShareCode::clone(code) }))
    });
    codes.collect()
}
