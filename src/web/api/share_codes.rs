//! Codes by which people take a share themselves (`spec/rest-api.md` 4.11). The page where they do is
//! [`crate::web::pages::accept`].

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewShareCode, SHARE_CODE_LIFE, WhichCodes},
    domain::{ServerKey, ShareCode},
};
use serde_json::{Map, Value, json};

use super::{
    page::Page,
    shares::{fields, key, only, scopes},
    user,
};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form, model,
};

/// The codes of all of one owner's servers.
pub(crate) async fn by_owner(call: &Call, owner: &str) -> Answer {
    let owner = user(call, owner)?;
    list(call, accounts::valid_share_codes_by(&call.image, owner.id, call.now))
}

/// The codes of one server.
pub(crate) async fn of_server(call: &Call, owner: &str, name: &str) -> Answer {
    let key = key(call, owner, name)?;
    list(call, accounts::valid_share_codes(&call.image, &key, call.now))
}

fn list<'a>(call: &'a Call, codes: impl Iterator<Item = &'a Arc<ShareCode>>) -> Answer {
    let page = Page::of(call)?;
    let mut all: Vec<_> = codes.collect();
    all.sort_by_key(|code| code.id);
    let (items, total) = page.cut(all.into_iter());
    let models: Vec<Value> = items
        .into_iter()
        .filter_map(|code| model::share::code(call.facts(), &call.image, code))
        .collect();
    page.always(call, json!(models), total)
}

/// Makes a code. It is told this once.
pub(crate) async fn make(call: &mut Call, owner: &str, name: &str) -> Answer {
    let fields = fields(call.json().await?)?;
    let (scopes, life) = read(&fields)?;
    let server = key(call, owner, name)?;
    let (code, secret) = issue(call, server, scopes, life).await?;
    let model = model::share::code(call.facts(), &call.image, &code);
    let mut model = model.ok_or_else(Error::hidden)?;
    model["code"] = json!(secret);
    model["accept_url"] = json!(accept_url(call, &secret));
    model["full_accept_url"] = json!(call.facts().public(&accept_url(call, &secret)));
    Ok(answer::json(StatusCode::OK, &model))
}

/// Makes a code: it, and itself.
pub(crate) async fn issue(
    call: &mut Call,
    server: ServerKey,
    scopes: Vec<String>,
    life: Duration,
) -> Result<(Arc<ShareCode>, String), Error> {
    let mut bytes = [0; 32];
    call.app.entropy.fill(&mut bytes);
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let hash = call.app.entropy.digest(&secret);
    let by = call.known()?.granted.clone();
    let new = NewShareCode { server, hash, scopes, life, by };
    let issued = |image: &_, policy: &_, now| accounts::issue_share_code(image, policy, new, now);
    Ok((call.change(issued).await?, secret))
}

/// Where a code is taken.
pub(crate) fn accept_url(call: &Call, secret: &str) -> String {
    form::with_query(&format!("{}accept-share", call.hub()), &form::encode([("code", secret)]))
}

/// Deletes a code by its id or by itself, or all of a server.
pub(crate) async fn delete(call: &mut Call, owner: &str, name: &str) -> Answer {
    let server = key(call, owner, name)?;
    let hash = call.query.get("code").map(|code| call.app.entropy.digest(code));
    let id = call.query.get("id").map(model::share::parse_code_id);
    let which = match (id, hash) {
        (None, None) => WhichCodes::All,
        (None, Some(hash)) => WhichCodes::Hashed(hash),
        (Some(Some(id)), None) => WhichCodes::Numbered(id),
        // Both mean the same code, or none.
        (Some(Some(id)), Some(hash))
            if call.image.share_code(id).is_some_and(|code| code.hash == hash) =>
        {
            WhichCodes::Numbered(id)
        }
        (Some(_), _) => return Err(Error::hidden()),
    };
    let drop = move |image: &_, _: &_, now| accounts::drop_share_codes(image, &server, which, now);
    if call.change(drop).await? {
        Ok(answer::empty(StatusCode::NO_CONTENT))
    } else {
        Err(Error::hidden())
    }
}

/// Scopes and life of a code.
fn read(fields: &Map<String, Value>) -> Result<(Vec<String>, Duration), Error> {
    only(fields, &["scopes", "expires_in"])?;
    let bad = || Error::bad("expires_in must be a whole number of seconds");
    let life = match fields.get("expires_in") {
        None => SHARE_CODE_LIFE,
        Some(value) => {
            let seconds = match value {
                Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
                Value::String(text) => text.trim().parse().ok(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            };
            Duration::from_secs(seconds.ok_or_else(bad)?)
        }
    };
    Ok((scopes(fields)?, life))
}

/// A float that is a whole number, as some clients write them.
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..1e12).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_whole_number_of_seconds() {
        let life = |value: Value| {
            let fields = json!({ "expires_in": value });
            read(fields.as_object().unwrap()).map(|(_, life)| life.as_secs())
        };
        assert_eq!(read(&Map::new()).unwrap(), (vec![], SHARE_CODE_LIFE));
        for (value, seconds) in [(json!(60), 60), (json!("3600"), 3_600), (json!(90.0), 90)] {
            assert_eq!(life(value), Ok(seconds));
        }
        for bad in [
            json!(null),
            json!(60.5),
            json!("60.5"),
            json!("soon"),
            json!(-60),
            json!(1e300),
            json!(true),
            json!([60]),
        ] {
            assert_eq!(life(bad.clone()).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        let unknown = json!({"user": "eve"});
        assert!(read(unknown.as_object().unwrap()).is_err());
    }
}
