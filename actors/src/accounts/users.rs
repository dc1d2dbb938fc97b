//! Signing in and out, as far as it is recorded. (`spec/auth-and-spawn.md` 1.1, `spec/oauth-and-cookies.md` 4.)

use std::{convert::Infallible, sync::Arc};

use super::{Decided, oauth};
use crate::{
    domain::{Moment, Owner, User, UserId, Username},
    store::{Image, Write},
};

/// A user after signing in: made if new, admin and user_info set where the authenticator said so. `cookie_id` is used
/// for a new user only: signing in does not end sessions elsewhere.
pub fn sign_in(
    image: &Image,
    name: &Username,
    admin: Option<bool>,
    info: Option<serde_json::Value>,
    cookie_id: String,
    now: Moment,
) -> Decided<Arc<User>, Infallible> {
    let Some(known) = image.user_named(name.as_str()) else {
        let id = image.next_id();
        let user = Arc::new(User {
            id: UserId(id),
            name: name.clone(),
            admin: admin.unwrap_or(false),
            created: now,
            last_activity: None,
            cookie_id,
            user_info: info,
        });
        return Ok((vec![Write::IdsUsed(id), Write::User(user.clone())], user));
    };
    let mut user = User::clone(known);
    user.admin = admin.unwrap_or(user.admin);
    user.user_info = info.or(user.user_info);
    if user == **known {
        return Ok((Vec::new(), known.clone()));
    }
    let user = Arc::new(user);
    Ok((vec![Write::User(user.clone())], user))
}

/// Ends all tokens of this user that were given in this browser session, and codes not exchanged yet; for the life of a
/// code none is given there any more.
pub fn sign_out(
    image: &Image,
    user: UserId,
    session: &str,
    now: Moment,
) -> Decided<(), Infallible> {
    let tokens = image
        .tokens_of(&Owner::User(user))
        .filter(|token| token.session.as_deref() == Some(session))
        .map(|token| Write::TokenGone(token.id));
    let codes = image
        .codes()
        .filter(|code| code.user == user && code.session.as_deref() == Some(session))
        .map(|code| Write::CodeGone(code.hash));
    let ended = oauth::end_session(image, user, session, now);
    Ok((tokens.chain(codes).chain(ended).collect(), ()))
}
