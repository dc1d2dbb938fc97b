//! `GET` and `POST {hub}api/oauth2/authorize`: a page, for people who are signed in by cookie.

use http::{Method, StatusCode, header};
use jovis_actors::{
    accounts::{NewCode, access},
    domain::{Owner, Scope, ServerKey, User, oauth::ClientOf},
};
use serde_json::json;
use tracing::info;

use super::request::{self, Asked, Wrong};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form, pages,
};

/// Letters and digits in a code.
const CODE: usize = 30;

/// Asks the user where that is needed, and gives the client its code.
pub(crate) async fn serve(call: &mut Call) -> Answer {
    let mut declined = false;
    let answers = if call.method == Method::POST {
        let form = call.form(64 * 1024).await?;
        call.require_xsrf(Some(&form))?;
        declined = form.get("decline").is_some();
        Some(form.all("scopes").map(Scope::new).collect::<Vec<_>>())
    } else {
        None
    };
    let pkce = call.settings.hub.oauth_require_pkce;
    let user = call.person()?.clone();
    let mut asked = match request::check(&call.image, &call.policy, &user, &call.query, pkce) {
        Ok(asked) => asked,
        Err(Wrong::Fatal(why)) => return Err(Error::bad(why)),
        Err(Wrong::Told { target }) => return Ok(private(answer::found(&target))),
    };
    // The reference checks this on GET only; here a forged POST gets no code either.
    let held = access::of_user(&call.image, &call.policy, &user);
    if !request::has_access(&call.image, &asked.client, &held) {
        let what = &asked.client.description;
        return Err(Error::forbidden(format!("you have no access to {what}")));
    }
    if declined {
        // (RFC 6749 4.1.2.1)
        return Ok(told(&asked, "access_denied"));
    }
    let consented = answers.is_some();
    if let Some(scopes) = answers {
        if !request::allowed(&call.image, &call.policy, &asked.client, &user, &scopes) {
            return Ok(told(&asked, "invalid_scope"));
        }
        asked.scopes = if scopes.iter().any(|it| it.as_str() == "inherit") {
            scopes
        } else {
            request::with_required(&call.image, &asked.client, scopes)
        };
    }
    asked.scopes = request::granted(&call.image, &call.policy, &asked.client, &user, asked.scopes);
    if !consented && request::needs_consent(&call.image, &asked, &user, call.now) {
        return consent(call, &asked);
    }
    let code = call.app.alphanumerics(CODE);
    let new = NewCode {
        hash: call.app.entropy.digest(&code),
        client: asked.client.id.clone(),
        user: user.id,
        scopes: asked.scopes,
        session: Some(call.ensure_session()),
        challenge: asked.challenge,
    };
    call.app.doors.give_code(new).await?;
    tell(call, &asked.client.of, &user);
    let mut pairs = vec![("code", code.as_str())];
    pairs.extend(asked.state.as_deref().map(|state| ("state", state)));
    let target = form::with_query(&asked.client.redirect_uri, &form::encode(pairs));
    Ok(private(answer::found(&target)))
}

/// That somebody enters a server of another is in the log; its owner reads so on the home page while it lasts.
fn tell(call: &Call, of: &ClientOf, user: &User) {
    let ClientOf::Server(owner, server) = of else { return };
    let Some(owner) = call.image.user(*owner).filter(|owner| owner.id != user.id) else { return };
    let (server, visitor, admin) = (server.as_str(), &user.name, user.admin);
    info!(user = %owner.name, server, %visitor, admin, "server opened by another");
}

/// Sends the browser back to the client, which hears what went wrong.
fn told(asked: &Asked, error: &str) -> http::Response<axum::body::Body> {
    let mut pairs = vec![("error", error)];
    pairs.extend(asked.state.as_deref().map(|state| ("state", state)));
    private(answer::found(&form::with_query(&asked.client.redirect_uri, &form::encode(pairs))))
}

/// Codes and states are in the addresses here: none of them may leak by `Referer`.
fn private(mut out: http::Response<axum::body::Body>) -> http::Response<axum::body::Body> {
    answer::put(&mut out, header::REFERRER_POLICY, "no-referrer");
    out
}

fn consent(call: &mut Call, asked: &Asked) -> Answer {
    let user = call.person()?.clone();
    let inherit = Scope::new("inherit");
    let scopes: Vec<&str> = if asked.scopes.contains(&inherit) {
        vec!["inherit"]
    } else {
        asked.scopes.iter().map(Scope::as_str).collect()
    };
    let owner = Owner::User(user.id);
    let client = Some(&asked.client);
    let effective = access::of_scopes(&call.image, &call.policy, &owner, &asked.scopes, client)
        .unwrap_or_default();
    let vocabulary = call.policy.vocabulary();
    let told = effective.names(vocabulary).into_iter().map(|scope| {
        let base = scope.split('!').next().unwrap_or_default();
        json!({"about": vocabulary.description(base), "scope": scope})
    });
    let told: Vec<_> = told.collect();
    let of_server = match &asked.client.of {
        ClientOf::Server(owner, name) => {
            let key = ServerKey { user: *owner, name: name.clone() };
            let shown = call.image.server(&key).map(|server| server.display_name.clone());
            let shown = shown.filter(|shown| !shown.is_empty());
            let shown = shown.unwrap_or_else(|| name.as_str().to_owned());
            Some(json!({"name": shown, "owner": call.image.called(*owner)}))
        }
        ClientOf::Service(_) => None,
    };
    let hosts = call.facts().hosts.as_ref();
    let is_ours = |origin: &str| {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        hosts.is_some_and(|hosts| hosts.covers(host))
    };
    let other = request::other_host(&asked.client).filter(|other| !is_ours(other));
    let values = json!({
        "of_server": of_server,
        "other_host": other,
        "client": asked.client.description,
        "redirect_uri": asked.client.redirect_uri,
        "scopes": scopes,
        "effective": told,
        "action": call.uri(),
    });
    let mut out = pages::page(call, "oauth.html", StatusCode::OK, values)?;
    // The answer to the form leads to the client, perhaps on another host.
    if let Some(other) = other {
        let policy = call.page_policy(Some(&other));
        answer::put(&mut out, header::CONTENT_SECURITY_POLICY, &policy);
    }
    Ok(private(out))
}
