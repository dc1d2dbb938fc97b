//! `{hub}accept-share`: takes what a code is good for (`spec/pages.md` 11, `spec/rest-api.md` 4.11).

use http::{Response, StatusCode, header};
use jovis_actors::{
    accounts,
    domain::{Scope, ShareCode, User},
};
use serde_json::{Value, json};

use super::given_next;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form, model,
};

/// Shows who invites to what.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let text = call.query.get("code").filter(|code| !code.is_empty());
    let text = text.ok_or_else(|| Error::bad("the address has no code"))?.to_owned();
    let hash = call.app.entropy.digest(&text);
    let code = accounts::valid_share_code(&call.image, &hash, call.now)
        .cloned()
        .ok_or_else(|| Error::missing("this code is unknown or has expired"))?;
    let person = call.person()?.clone();
    if code.server.user == person.id {
        return Err(Error::forbidden("this server is yours already"));
    }
    let owner = call.image.user(code.server.user).cloned().ok_or_else(Error::hidden)?;
    let target = given_next(call);
    let values = invitation(call, &owner, &code, &text, target.as_deref());
    let page = super::page(call, "accept-share.html", StatusCode::OK, values)?;
    Ok(private(page))
}

/// What the page shows.
fn invitation(
    call: &Call,
    owner: &User,
    code: &ShareCode,
    text: &str,
    target: Option<&str>,
) -> Value {
    let name = code.server.name.as_str();
    let server = call.image.server(&code.server);
    let vocabulary = call.policy.vocabulary();
    let scopes = model::share::scopes(&call.image, &code.server, &code.scopes);
    let scopes: Vec<Value> = scopes
        .unwrap_or_default()
        .iter()
        .map(|scope| {
            let words = vocabulary.description(Scope::new(scope).base());
            json!({ "scope": scope, "description": words })
        })
        .collect();
    let url = model::server::url(call.facts(), owner, name);
    let query = target.map(|target| form::encode([("next", target)])).unwrap_or_default();
    json!({
        "owner": owner.name.as_str(),
        "server_name": name,
        "display_name": server.map_or("", |server| server.display_name.as_str()),
        "server_url": url,
        "next_url": target.unwrap_or(&url),
        "ready": server.is_some_and(|server| server.state.is_ready()),
        "scopes": scopes,
        "code": text,
        "action": form::with_query(&format!("{}accept-share", call.hub()), &query),
    })
}

/// Takes it.
pub(crate) async fn take(call: &mut Call) -> Answer {
    let fields = call.form(64 * 1024).await?;
    call.require_xsrf(Some(&fields))?;
    let code = fields.get("code").or_else(|| call.query.get("code"));
    let code = code.filter(|code| !code.is_empty());
    let hash = call.app.entropy.digest(code.ok_or_else(|| Error::bad("there is no code"))?);
    let inside = fields.get("next").and_then(|next| call.inside(next));
    let target = given_next(call).or(inside);
    let person = call.person()?.id;
    let share = call
        .change(move |image, _, now| accounts::use_share_code(image, &hash, person, now))
        .await?;
    let owner = call.image.user(share.key.server.user).ok_or_else(Error::hidden)?;
    let home = model::server::url(call.facts(), owner, share.key.server.name.as_str());
    Ok(private(answer::found(&target.unwrap_or(home))))
}

/// The code is in the address: it must not leak by `Referer`.
fn private(mut out: Response<axum::body::Body>) -> Response<axum::body::Body> {
    answer::put(&mut out, header::REFERRER_POLICY, "no-referrer");
    out
}
