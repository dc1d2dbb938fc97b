//! `POST {hub}api/oauth2/token`: a code for a token (`spec/oauth-and-cookies.md` 3). The client proves itself in the
//! body; an `Authorization` header beside it is not its proof.

use std::time::Duration;

use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, Response, StatusCode, header};
use jovis_actors::{
    accounts::{RedeemRefused, Redemption},
    domain::{ClientId, Scope},
};
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::web::{
    answer::{self, Answer},
    call::Call,
    form::Form,
};

/// Letters and digits in an access token.
const TOKEN: usize = 30;

/// Exchanges a code.
pub(crate) async fn serve(call: &mut Call) -> Answer {
    let form = call.form(16 * 1024).await?;
    let app = call.app.clone();
    let secret = app.alphanumerics(TOKEN);
    let life = life(call);
    let read = match read(&form) {
        Ok(read) => read,
        Err(refusal) => return Ok(refused(refusal)),
    };
    let what = Redemption {
        code: app.entropy.digest(read.code),
        client: ClientId::claimed(read.client),
        secret: app.entropy.digest(read.secret),
        redirect_uri: form.get("redirect_uri").map(ToOwned::to_owned),
        challenge: form.get("code_verifier").map(challenge),
        token: app.entropy.digest(&secret),
        expires_in: life,
    };
    match app.doors.redeem(what).await? {
        Ok(token) => {
            let scope: Vec<_> = token.scopes.iter().map(Scope::as_str).collect();
            let body = json!({
                "access_token": secret,
                "expires_in": life.as_secs(),
                "token_type": "Bearer",
                "scope": scope.join(" "),
            });
            Ok(unkept(answer::json(StatusCode::OK, &body)))
        }
        Err(why) => Ok(refused(match why {
            RedeemRefused::Client => Refusal::Client,
            RedeemRefused::Grant => Refusal::Grant,
            RedeemRefused::Request => Refusal::Request("redirect_uri or code_verifier is wrong"),
        })),
    }
}

/// How long access tokens live.
fn life(call: &Call) -> Duration {
    let hub = &call.settings.hub;
    if hub.oauth_token_expires_in.is_zero() {
        Duration::from_secs_f64((hub.cookie_max_age_days * 86_400.0).clamp(1.0, 315_360_000.0))
    } else {
        hub.oauth_token_expires_in.duration()
    }
}

/// What the verifier's challenge would be.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// RFC 6749, 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Client,
    Grant,
    GrantType,
    Request(&'static str),
}

struct Presented<'a> {
    client: &'a str,
    secret: &'a str,
    code: &'a str,
}

fn read(form: &Form) -> Result<Presented<'_>, Refusal> {
    let twice =
        ["grant_type", "client_id", "client_secret", "code", "redirect_uri", "code_verifier"]
            .iter()
            .any(|name| form.repeats(name));
    if form.get("grant_type") != Some("authorization_code") {
        return Err(Refusal::GrantType);
    }
    if twice {
        return Err(Refusal::Request("a parameter stands twice"));
    }
    let code = form.get("code").filter(|it| !it.is_empty());
    let code = code.ok_or(Refusal::Request("code is missing"))?;
    let given = |name: &str| form.get(name).filter(|it| !it.is_empty() && it.len() <= 1_024);
    let client = given("client_id").ok_or(Refusal::Client)?;
    let secret = given("client_secret").filter(|it| it.len() <= 64).ok_or(Refusal::Client)?;
    // Longer than any code of ours: refused unhashed.
    if code.len() > 64 {
        return Err(Refusal::Grant);
    }
    Ok(Presented { client, secret, code })
}

fn refused(refusal: Refusal) -> Response<Body> {
    let (status, body) = match refusal {
        Refusal::Client => (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"})),
        Refusal::Grant => (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
        Refusal::GrantType => (StatusCode::BAD_REQUEST, json!({"error": "unsupported_grant_type"})),
        Refusal::Request(why) => {
            (StatusCode::BAD_REQUEST, json!({"error": "invalid_request", "error_description": why}))
        }
    };
    let mut out = unkept(answer::json(status, &body));
    if refusal == Refusal::Client {
        let name = HeaderName::from_static("www-authenticate");
        answer::put(&mut out, name, "Bearer error=\"invalid_client\"");
    }
    out
}

fn unkept(mut out: Response<Body>) -> Response<Body> {
    answer::put(&mut out, header::CACHE_CONTROL, "no-store");
    answer::put(&mut out, header::PRAGMA, "no-cache");
    answer::put(&mut out, header::REFERRER_POLICY, "no-referrer");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_rfc_7636s() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_wrong_request_has_its_error() {
        let code = "grant_type=authorization_code&code=c";
        let long = format!("{code}{}&client_id=a&client_secret=b", "c".repeat(64));
        for (form, wanted) in [
            ("", Refusal::GrantType),
            ("grant_type=password", Refusal::GrantType),
            ("grant_type=client_credentials&client_id=a&client_secret=b", Refusal::GrantType),
            (
                "grant_type=authorization_code&client_id=a&client_secret=b",
                Refusal::Request("code is missing"),
            ),
            (code, Refusal::Client),
            (&format!("{code}&client_id=a"), Refusal::Client),
            (&format!("{code}&code=d"), Refusal::Request("a parameter stands twice")),
            (&long, Refusal::Grant),
        ] {
            assert_eq!(read(&Form::parse(form).unwrap()).err(), Some(wanted), "{form}");
        }
        let good = format!("{code}&client_id=a&client_secret=b");
        assert!(read(&Form::parse(&good).unwrap()).is_ok());
        let out = refused(Refusal::Client);
        assert_eq!(out.status().as_u16(), 401);
        assert!(out.headers().contains_key("www-authenticate"));
        assert_eq!(refused(Refusal::Grant).status().as_u16(), 400);
        assert_eq!(refused(Refusal::Grant).headers()["cache-control"], "no-store");
    }
}
