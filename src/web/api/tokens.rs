//! API tokens of users (`spec/rest-api.md` 4.5).

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewToken, access},
    domain::{
        Owner, Policy, Scope, Secret, Token, User, UserId, Username, role,
        scope::{Mask, Resource},
    },
    ports::Credentials,
    store::Image,
};
use serde_json::{Map, Value, json};

use super::{said, user};
use crate::{
    config::sections::AuthClass,
    web::{
        answer::{self, Answer},
        call::Call,
        error::Error,
        guard::By,
        model,
        pages::login::PASSWORD,
    },
};

/// What it takes to make one.
const TOKENS: Mask = Mask::of(&["tokens"]);

/// All valid tokens, the longest unused first.
pub(crate) async fn list(call: &Call, name: &str) -> Answer {
    let user = user(call, name)?;
    let tokens: Vec<Value> =
        valid(call, user.id).iter().map(|token| model::token::model(call, token)).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "api_tokens": tokens })))
}

/// The tokens of a user that still count, the longest unused first, as far as it is recorded: what was used just now does
/// not change its place.
pub(crate) fn valid(call: &Call, user: UserId) -> Vec<Arc<Token>> {
    let owner = Owner::User(user);
    let mut tokens: Vec<_> =
        call.image.tokens_of(&owner).filter(|it| it.is_valid(call.now)).cloned().collect();
    tokens.sort_by_key(|token| (token.last_activity.unwrap_or(token.created), token.id));
    tokens
}

/// Makes a token: for whoever holds `tokens`, or whoever sends name and password in the body.
pub(crate) async fn make(call: &mut Call, name: &str) -> Answer {
    if call.who.is_some() {
        if call.known()?.token.is_none() {
            call.require_xsrf(None)?;
        }
        let denied = || Error::forbidden("no access to this user's tokens");
        // Unknown users and those of others get the same answer.
        if !call.covers(TOKENS, Resource::User(name)) || user(call, name).is_err() {
            return Err(denied());
        }
    }
    let body = match said(call.json().await?) {
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    let requester = match &call.who {
        Some(who) => who.by.clone(),
        None => By::User(by_body(call, name, &body).await?),
    };
    let user = user(call, name)?;
    let (token, secret) = issue_for(call, &requester, &user, &body).await?;
    let mut model = model::token::model(call, &token);
    model["token"] = json!(secret);
    Ok(answer::json(StatusCode::CREATED, &model))
}

/// Makes a token for oneself, as a body of the API asks for it: the token and its secret.
pub(crate) async fn issue(
    call: &mut Call,
    user: &Arc<User>,
    body: &Map<String, Value>,
) -> Result<(Arc<Token>, String), Error> {
    issue_for(call, &By::User(user.clone()), user, body).await
}

async fn issue_for(
    call: &mut Call,
    requester: &By,
    user: &User,
    body: &Map<String, Value>,
) -> Result<(Arc<Token>, String), Error> {
    let most = call.settings.hub.token_expires_in_max_seconds.duration();
    let asked = read(&call.policy, most, body, requester, user)?;
    let secret = call.app.entropy.hex(16);
    let new = NewToken {
        owner: Owner::User(user.id),
        hash: call.app.entropy.digest(&secret),
        scopes: asked.scopes,
        note: asked.note,
        expires_in: asked.expires_in,
    };
    let issued =
        |image: &Image, policy: &Policy, now| accounts::issue_token(image, policy, new, now);
    let token = call.change(issued).await?;
    Ok((token, secret))
}

/// Somebody with nothing but a name and a password in the body, and already known here.
async fn by_body(call: &Call, name: &str, body: &Map<String, Value>) -> Result<Arc<User>, Error> {
    let nobody = || Error { message: None, ..Error::anonymous() };
    let Some(auth) = body.get("auth").and_then(Value::as_object) else {
        if call.headers.contains_key("origin") {
            call.require_xsrf(None)?;
        }
        return Err(Error::anonymous());
    };
    let text = |key: &str| auth.get(key).and_then(Value::as_str).ok_or_else(nobody);
    let typed = text("username")?.trim().to_owned();
    let given = text("password")?;
    // An authenticator refuses these unasked, and so at once: here for everybody, as others' passwords take a while.
    let code = auth.get("otp").and_then(Value::as_str);
    if [Some(given), code].into_iter().flatten().any(|it| it.len() > PASSWORD || it.contains('\0'))
    {
        return Err(nobody());
    }
    let otp = code.map(|code| Secret::new(code.to_owned()));
    let known = Username::normalise(&typed)
        .is_ok_and(|name| call.image.user_named(name.as_str()).is_some());
    // A name that is unknown here is checked like others, or the time taken would tell who has an account; with a
    // password that is nobody's, as the right one would make a user of it. For PAM it is one more wrong password.
    let password = match &call.settings.auth.class {
        _ if known => given.to_owned(),
        AuthClass::Dummy(dummy) if dummy.password.is_empty() => return Err(nobody()),
        AuthClass::Dummy(_) | AuthClass::Pam(_) | AuthClass::GitHub(_) | AuthClass::Oidc(_) => {
            call.app.entropy.hex(16)
        }
    };
    let password = Secret::new(password);
    let who = Credentials { way: String::new(), username: typed, password, otp, from: call.from };
    let user = call.app.doors.sign_in(who).await.map_err(|refused| {
        let error = Error::from(refused);
        if error.status == StatusCode::FORBIDDEN { nobody() } else { error }
    })?;
    if !known {
        return Err(nobody());
    }
    let image = call.fresh();
    let own = access::of_user(&image, &call.policy, &user);
    let may = own.covers(TOKENS, Resource::User(name), &*image);
    if may { Ok(user) } else { Err(nobody()) }
}

/// A token as it was asked for.
#[derive(Debug, PartialEq)]
struct Asked {
    scopes: Vec<Scope>,
    note: String,
    expires_in: Option<Duration>,
}

/// `most`: no token lives longer; nothing: as long as it is asked to.
fn read(
    policy: &Policy,
    most: Duration,
    body: &Map<String, Value>,
    requester: &By,
    target: &User,
) -> Result<Asked, Error> {
    let given = |key: &str| body.get(key).filter(|value| !value.is_null());
    let texts = |key: &str| {
        given(key)
            .map(|value| {
                let items =
                    value.as_array().ok_or_else(|| Error::bad(format!("{key} must be a list")))?;
                let text = |item: &Value| {
                    item.as_str()
                        .map(ToOwned::to_owned)
                        .ok_or_else(|| Error::bad(format!("{key} must be a list of strings")))
                };
                items.iter().map(text).collect::<Result<Vec<_>, _>>()
            })
            .transpose()
    };
    let expires_in = match given("expires_in") {
        None => None,
        Some(Value::Bool(true)) => Some(Duration::from_secs(1)),
        Some(value) => {
            let seconds = value.as_u64().filter(|seconds| *seconds >= 1);
            let seconds =
                seconds.ok_or_else(|| Error::bad("expires_in must be a positive integer"))?;
            Some(Duration::from_secs(seconds))
        }
    };
    let expires_in = match expires_in {
        None if !most.is_zero() => Some(most),
        Some(life) if !most.is_zero() && life > most => {
            return Err(Error::bad(format!("expires_in is {} seconds at most", most.as_secs())));
        }
        other => other,
    };
    let scopes = match (texts("scopes")?, texts("roles")?) {
        (Some(_), Some(_)) => return Err(Error::bad("give scopes or roles, not both")),
        (Some(scopes), None) => {
            scopes.iter().map(|text| known(policy, text)).collect::<Result<_, _>>()?
        }
        (None, Some(roles)) => {
            let roles: Vec<_> =
                roles.iter().map(|name| role(policy, name)).collect::<Result<_, _>>()?;
            roles.concat()
        }
        (None, None) => role(policy, role::TOKEN)?,
    };
    let note = match given("note") {
        Some(value) => {
            value.as_str().ok_or_else(|| Error::bad("note must be a string"))?.to_owned()
        }
        None => match requester {
            By::User(user) if user.id == target.id => "Requested via api".to_owned(),
            By::User(user) => format!("Requested via api by user {}", user.name),
            By::Service(service) => format!("Requested via api by service {}", service.name),
        },
    };
    Ok(Asked { scopes, note, expires_in })
}

/// A scope that exists.
pub(super) fn known(policy: &Policy, text: &str) -> Result<Scope, Error> {
    let scope = Scope::new(text);
    let plain = text.len() <= 1_024 && !text.chars().any(char::is_whitespace);
    // For roles that word is there; a token without scopes says so by having none.
    if plain && text != "(no_scope)" && scope.is_known(policy.vocabulary()) {
        Ok(scope)
    } else {
        Err(Error::bad(format!("no such scope: {text}")))
    }
}

/// What a role holds now.
fn role(policy: &Policy, name: &str) -> Result<Vec<Scope>, Error> {
    let role = policy.role(name).ok_or_else(|| Error::bad(format!("no such role: {name}")))?;
    Ok(role.scopes.clone())
}

/// The token of this id, if it is this user's.
fn token(call: &Call, user: &User, id: &str) -> Result<Arc<Token>, Error> {
    let id = model::token::parse_id(id).ok_or_else(Error::hidden)?;
    let token = call.image.token(id).ok_or_else(Error::hidden)?;
    let own = token.owner == Owner::User(user.id) && token.is_valid(call.now);
    if own { Ok(token.clone()) } else { Err(Error::hidden()) }
}

/// One token.
pub(crate) async fn show(call: &Call, name: &str, id: &str) -> Answer {
    let token = token(call, &*user(call, name)?, id)?;
    Ok(answer::json(StatusCode::OK, &model::token::model(call, &token)))
}

/// Ends a token; one of an OAuth client takes the others for that client with it.
pub(crate) async fn revoke(call: &mut Call, name: &str, id: &str) -> Answer {
    let user = user(call, name)?;
    token(call, &user, id)?;
    if end(call, &user, id).await? {
        Ok(answer::empty(StatusCode::NO_CONTENT))
    } else {
        Err(Error::hidden())
    }
}

/// Ends a token of this user. False: it is none (any more).
pub(crate) async fn end(call: &mut Call, user: &User, id: &str) -> Result<bool, Error> {
    let Ok(token) = token(call, user, id) else { return Ok(false) };
    let (owner, id) = (Owner::User(user.id), token.id);
    call.change(move |image, _, _| accounts::revoke_token(image, &owner, id)).await
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::Moment;

    use super::*;

    fn person(id: u64, name: &str) -> User {
        User {
            id: UserId(id),
            name: Username::new(name).unwrap(),
            admin: false,
            created: Moment(0),
            last_activity: None,
            cookie_id: String::new(),
            user_info: None,
        }
    }

    fn asked(body: Value) -> Result<Asked, u16> {
        let body = body.as_object().unwrap().clone();
        let by = By::User(person(2, "admin").into());
        read(&Policy::default(), Duration::ZERO, &body, &by, &person(1, "bob"))
            .map_err(|it| it.status.as_u16())
    }

    #[test]
    fn a_request_without_words_inherits() {
        let plain = asked(json!({})).unwrap();
        assert_eq!(plain.scopes, [Scope::new("inherit")]);
        assert_eq!(plain.note, "Requested via api by user admin");
        assert_eq!(plain.expires_in, None);
        let full = asked(json!({"note": "n", "expires_in": 60, "scopes": []})).unwrap();
        let wanted =
            Asked { scopes: vec![], note: "n".into(), expires_in: Some(Duration::from_secs(60)) };
        assert_eq!(full, wanted);
        assert_eq!(asked(json!({"roles": ["user"]})).unwrap().scopes, [Scope::new("self")]);
        assert!(asked(json!({"expires_in": true})).is_ok());
    }

    #[test]
    fn odd_requests_are_bad_requests() {
        for bad in [
            json!({"expires_in": 0}),
            json!({"expires_in": -1}),
            json!({"expires_in": 1.5}),
            json!({"expires_in": "60"}),
            json!({"expires_in": 1e300}),
            json!({"note": 1}),
            json!({"scopes": "a"}),
            json!({"scopes": [1]}),
            json!({"scopes": ["nope"]}),
            json!({"scopes": ["read:users x"]}),
            json!({"roles": ["admin2"]}),
            json!({"scopes": [], "roles": []}),
        ] {
            assert_eq!(asked(bad.clone()), Err(400), "{bad}");
        }
    }
}
