//! Signing in and out, and where `/hub/` leads.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use jovis_actors::{
    domain::{Owner, Secret, User, UserId, quote},
    logins::{OfferKind, SignInRefused},
    ports::{AccountError, Credentials},
    spawners::StopAsk,
    store::Image,
};
use serde_json::json;
use tracing::debug;

use super::{elsewhere, next_or_default, page};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    csrf,
    error::Error,
    guard::{By, Who},
    oauth::request,
    words::Words,
};

/// Longest sign-in form.
const FORM: usize = 16 * 1024;
/// Longest password, in bytes.
pub(crate) const PASSWORD: usize = 1_024;

/// `{hub}`.
pub(crate) async fn root(call: &mut Call) -> Answer {
    let default = &call.settings.hub.default_url;
    let target = match call.who.as_ref().and_then(Who::user) {
        _ if !default.is_empty() => default.clone(),
        Some(user) => next_or_default(call, user),
        None => format!("{}login?next={}", call.hub(), quote::query(&call.hub())),
    };
    Ok(answer::found(&target))
}

/// The form; who is signed in goes on, with a fresh form token.
pub(crate) async fn form(call: &mut Call) -> Answer {
    if let Some(user) = call.who.as_ref().and_then(Who::user) {
        let target = next_or_default(call, user);
        call.xsrf(true);
        return Ok(answer::found(&target));
    }
    if let Some(way) = call.straight_on(call.settings.auth.auto_login) {
        let next = call.query.get("next").unwrap_or_default();
        return Ok(answer::found(&elsewhere::address(call, &way, next)));
    }
    let username = call.query.get("username").unwrap_or_default().to_owned();
    show(call, StatusCode::OK, &username, None)
}

fn show(call: &mut Call, status: StatusCode, username: &str, error: Option<&str>) -> Answer {
    // What was typed may be anything, of any length.
    let short: String = username.chars().filter(|c| !c.is_control()).take(64).collect();
    let next = call.query.get("next").map(quote::query);
    let action = match next {
        Some(next) => format!("{}login?next={next}", call.hub()),
        None => format!("{}login", call.hub()),
    };
    let next_page = call.query.get("next").unwrap_or_default();
    let offers = call.app.doors.offers();
    let (mut forms, mut services) = (Vec::new(), Vec::new());
    for offer in offers {
        match offer.kind {
            OfferKind::Form { otp } => {
                forms.push(json!({"authenticator": offer.name, "otp_prompt": otp}));
            }
            OfferKind::Service(service) => {
                services
                    .push(json!({"name": service, "url": elsewhere::address(call, &offer.name, next_page)}));
            }
        }
    }
    let mut values = json!({
        "username": short,
        "login_error": error,
        "action": action,
        "next": call.query.get("next").unwrap_or_default(),
        "no_login": true,
        "login_forms": forms,
        // Where there is one way, and it leads elsewhere: as JupyterHub's templates know it.
        "login_service": match services.as_slice() {
            [one] if forms.is_empty() => one["name"].clone(),
            _ => json!(null),
        },
        "authenticator_login_url": match services.as_slice() {
            [one] if forms.is_empty() => one["url"].clone(),
            _ => json!(action),
        },
        "login_services": services,
    });
    let settings = call.settings.clone();
    let custom = &settings.auth.custom_html;
    if !custom.is_empty() {
        values["xsrf"] = json!(call.xsrf(true));
        values["login_url"] = json!(action);
        let html = call.app.templates.load().render_text(custom, values.clone());
        values["custom_html"] = json!(html.map_err(|error| {
            tracing::error!(template = "auth.custom_html", error = %error, "template failed");
            Error::failed("this page cannot be shown: its template failed")
        })?);
    }
    let mut out = page(call, "login.html", status, values)?;
    answer::put(&mut out, header::REFERRER_POLICY, "no-referrer");
    // Browsers hold `form-action` against each redirect that follows on a form. Signing in for a client on another host
    // leads there, without a page of ours between.
    let next = super::given_next(call);
    let host = next.and_then(|next| request::led_to_host(&call.image, &call.hub(), &next));
    if let Some(host) = host {
        let policy = call.page_policy(Some(&host));
        answer::put(&mut out, header::CONTENT_SECURITY_POLICY, &policy);
    }
    Ok(out)
}

/// The form comes back.
pub(crate) async fn submit(call: &mut Call) -> Answer {
    let form = call.form(FORM).await?;
    let before = call.who.take();
    // The form was made for whoever was signed in then, or for nobody.
    let ours = call.check_xsrf(Some(&form)).or_else(|refusal| {
        call.who = before.clone();
        if call.who.is_some() { call.check_xsrf(Some(&form)) } else { Err(refusal) }
    });
    // Whoever was signed in still is, until this succeeds: a form token for nobody would break the pages they have open.
    call.who.clone_from(&before);
    let typed = form.get("username").unwrap_or_default().trim().to_owned();
    if let Err(refusal) = ours {
        if !csrf::navigates(call.header("sec-fetch-mode")) {
            return Err(Error::forbidden(refusal.message(&call.method)));
        }
        let hint = if call.header("cookie").is_none() {
            call.words().say(
                "Your browser sent no cookie back. Please allow cookies for this site, then try again.",
            )
        } else {
            call.words().say("This form was out of date. Please try again.")
        };
        return show(call, StatusCode::FORBIDDEN, &typed, Some(hint));
    }
    let password = form.get("password").unwrap_or_default();
    let code = form.get("otp").unwrap_or_default();
    let outcome = if password.len() > PASSWORD || code.len() > PASSWORD {
        Err(SignInRefused::Refused)
    } else {
        let password = Secret::new(password.to_owned());
        let way = form.get("authenticator").unwrap_or_default().to_owned();
        let otp = form.get("otp").map(|code| Secret::new(code.trim().to_owned()));
        let who = Credentials { way, username: typed.clone(), password, otp, from: call.from };
        call.app.doors.sign_in(who).await
    };
    let user = match outcome {
        Ok(user) => user,
        Err(refused) => {
            let message = sentence(call.words(), &refused);
            let error = Error::from(refused);
            let out = show(call, error.status, &typed, Some(&message))?;
            return Ok(answer::with_retry(out, &error));
        }
    };
    signed_in(call, before, user).await
}

/// Somebody has just proved who they are: a new session, and on to where they wanted to go.
pub(super) async fn signed_in(call: &mut Call, before: Option<Who>, user: Arc<User>) -> Answer {
    // Nobody can sign out of the old browser session any more: what was given in it ends, whosever it was.
    if let Some(old) = call.cookies.session().map(ToOwned::to_owned) {
        let before = before.as_ref().and_then(Who::user).map(|user| user.id);
        let before = before.filter(|id| *id != user.id);
        for id in before.into_iter().chain([user.id]) {
            let ended = call.app.doors.sign_out(id, old.clone()).await;
            // Where nothing was given in it, nothing is left open: no reason to keep anybody out while the disk is full.
            if ended.is_err() && was_used(&call.fresh(), id, &old) {
                ended?;
            }
        }
    }
    call.image = call.fresh();
    call.who = Some(Who::signed_in(&call.image, &call.policy, user.clone()));
    call.now = call.app.clock.moment();
    call.set.clear();
    // A new one each time: the old may have been put there by somebody else.
    call.session = None;
    call.ensure_session();
    let secret = call.settings.cookie_secret.reveal();
    let cookie = call.with_jar(|jar| jar.login(secret, &user, call.now));
    call.set.push(cookie);
    call.xsrf(true);
    let target = next_or_default(call, &user);
    debug!(user = %user.name, "session begun");
    Ok(answer::found(&target))
}

/// Was a token or a code given to this user in this browser session?
fn was_used(image: &Image, user: UserId, session: &str) -> bool {
    let of_session = |it: Option<&str>| it == Some(session);
    image.tokens_of(&Owner::User(user)).any(|token| of_session(token.session.as_deref()))
        || image.codes().any(|code| code.user == user && of_session(code.session.as_deref()))
}

/// The sign-in page again, after an attempt elsewhere that came to nothing.
pub(super) fn refused(call: &mut Call, refused: SignInRefused) -> Answer {
    let message = match &refused {
        SignInRefused::NotAllowed { name } if !call.settings.auth.custom_403_message.is_empty() => {
            call.settings.auth.custom_403_message.replace("{name}", name.as_str())
        }
        SignInRefused::NotAllowed { name } => {
            let name = [("name", name.as_str())];
            call.words().fill("You signed in as {name}, who may not enter here. Please ask whoever runs this hub.", &name)
        }
        SignInRefused::Refused => {
            call.words().say("Signing in there did not work, or you may not enter here.").to_owned()
        }
        other => sentence(call.words(), other),
    };
    let error = Error::from(refused);
    let out = show(call, error.status, "", Some(&message))?;
    Ok(answer::with_retry(out, &error))
}

/// What the visitor hears. Why a name or password was refused is nobody's business.
fn sentence(words: &Words, refused: &SignInRefused) -> String {
    match refused {
        SignInRefused::Refused | SignInRefused::NotAllowed { .. } => {
            words.say("Invalid username or password.").to_owned()
        }
        SignInRefused::Throttled { retry_after } => {
            let seconds = retry_after.as_secs().max(1);
            let minutes = seconds.div_ceil(60).to_string();
            match seconds {
                1 => words.say("Too many attempts. Please try again in a second.").to_owned(),
                2..120 => words.fill(
                    "Too many attempts. Please try again in {seconds} seconds.",
                    &[("seconds", &seconds.to_string())],
                ),
                _ => words.fill(
                    "Too many attempts. Please try again in {minutes} minutes.",
                    &[("minutes", &minutes)],
                ),
            }
        }
        SignInRefused::Unable(_) | SignInRefused::Unavailable(_) => words
            .say("Passwords cannot be checked at the moment. Please try again in a few seconds.")
            .to_owned(),
        SignInRefused::Aside(_) => words
            .say("Signing in under this name fails for a reason of ours, which the log knows.")
            .to_owned(),
        SignInRefused::Account(AccountError::Missing(name)) => words.fill(
            "There is no account {name} on this machine. Please ask who runs it to make one.",
            &[("name", name.as_str())],
        ),
        SignInRefused::Account(AccountError::Refused(_)) => {
            words.say("Under this name nobody can have an account on this machine.").to_owned()
        }
        SignInRefused::Account(AccountError::Failed(_)) => words
            .say("Your account on this machine could not be made. Please try again later.")
            .to_owned(),
        SignInRefused::NotRecorded(_) => words
            .say("Signing in is not possible at the moment: the hub cannot save anything.")
            .to_owned(),
    }
}

/// Ends the browser session. Who is not signed in is only sent to the form, so that no other site can end a session.
pub(crate) async fn logout(call: &mut Call) -> Answer {
    debug_assert_eq!(call.method, Method::GET);
    let target = format!("{}login", call.hub());
    let Some(By::User(user)) = call.who.take().map(|who| who.by) else {
        return Ok(answer::found(&target));
    };
    if call.settings.hub.shutdown_on_logout {
        let active: Vec<_> = call
            .image
            .servers_of(user.id)
            .filter(|server| server.state.is_active())
            .map(|server| server.key.clone())
            .collect();
        for key in active {
            if let Err(refused) = call.app.doors.stop(key, StopAsk::default()).await {
                tracing::warn!(user = %user.name, error = %refused, "stop at sign-out refused");
            }
        }
    }
    let sent = call.cookies.session().map(ToOwned::to_owned);
    if let Some(session) = sent.clone() {
        call.app.doors.sign_out(user.id, session).await?;
    }
    call.set = call.with_jar(|jar| jar.clear(sent.is_some(), call.now));
    tracing::info!(user = %user.name, "user signed out");
    if let Some(target) = call.app.doors.farewell(&call.image, user.id) {
        return Ok(answer::found(&target));
    }
    // Who is sent to the provider at once would be back at once, too.
    if call.settings.auth.auto_login {
        return page(call, "logout.html", StatusCode::OK, json!({ "no_login": false }));
    }
    Ok(answer::found(&target))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_throttled_visitor_hears_how_long() {
        let words = crate::web::words::of("en");
        let wait = |secs| {
            sentence(words, &SignInRefused::Throttled { retry_after: Duration::from_secs(secs) })
        };
        assert!(wait(1).contains("in a second."));
        assert!(wait(30).contains("30 seconds"));
        assert!(wait(600).contains("10 minutes"));
        assert!(!sentence(words, &SignInRefused::Unable("secret".into())).contains("secret"));
    }
}
