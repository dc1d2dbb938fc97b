//! How services of before 2.0 ask who somebody is (`spec/rest-api.md` 4.12). They still may; new ones ask `/user` with the
//! visitor's own token.

use http::StatusCode;
use jovis_actors::domain::Owner;

use super::users;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::{By, LONGEST_TOKEN},
    session,
};

/// Whose token is this?
pub(crate) async fn token(call: &Call, secret: &str) -> Answer {
    with_token(call)?;
    let fits = (1..=LONGEST_TOKEN).contains(&secret.len());
    let found = fits.then(|| call.image.token_hashed(&call.app.entropy.digest(secret))).flatten();
    let token = found.filter(|token| token.is_valid(call.now)).ok_or_else(Error::hidden)?;
    let owner = match &token.owner {
        Owner::User(id) => call.image.user(*id).cloned().map(By::User),
        Owner::Service(name) => call.image.service(name.as_str()).cloned().map(By::Service),
    };
    let owner = owner.ok_or_else(Error::hidden)?;
    call.app.doors.token_used(token.id, call.now);
    if let By::User(user) = &owner {
        call.app.doors.user_used(user.id, call.now);
    }
    let model = users::identified(call, &owner, &call.known()?.granted)?;
    Ok(answer::json(StatusCode::OK, &model))
}

/// Whose login cookie is this? Its value stands in the path, or is the body.
pub(crate) async fn cookie(call: &mut Call, name: &str, value: &str) -> Answer {
    with_token(call)?;
    let body = call.body(8 * 1024).await?;
    let text =
        if value.is_empty() { std::str::from_utf8(&body).unwrap_or_default() } else { value };
    let text = text.trim().trim_matches('"');
    let user = (name == session::login_name(call.settings.cookies()))
        .then(|| call.user_of_login(text))
        .flatten();
    let user = user.ok_or_else(Error::hidden)?;
    let model = users::seen(call, &user, &call.known()?.granted).ok_or_else(Error::hidden)?;
    Ok(answer::json(StatusCode::OK, &model))
}

/// There was a time when tokens were made here.
pub(crate) async fn moved(_call: &Call) -> Answer {
    Err(Error::missing("tokens are made at /hub/api/users/:user/tokens"))
}

/// A cookie is not enough: whoever asks about others is a program.
fn with_token(call: &Call) -> Result<(), Error> {
    let by_token = call.known()?.token.is_some();
    if by_token { Ok(()) } else { Err(Error::anonymous()) }
}
