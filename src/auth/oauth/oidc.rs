//! Any provider of OpenID Connect.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jovis_actors::{
    domain::{Secret, Subject},
    ports::{
        Authenticator, Boxed, Departure, Flow, Identity, LoginError, Redirect, Refresh, Return,
    },
};
use oauth2::url::Url;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{
    asking::{self, Asking, Shared, word},
    claims::{self, Claims},
    id_token::{self, Bad, Expected},
    metadata::{Known, Provider},
    one,
    token::{Proof, Tokens, Us},
};
use crate::config::sections;

/// A provider.
pub struct Oidc {
    settings: sections::Oidc,
    asking: Shared,
    provider: Provider,
}

impl Oidc {
    /// By these settings.
    ///
    /// # Errors
    ///
    /// They cannot be used.
    pub fn new(settings: sections::Oidc) -> Result<Self, String> {
        let asking = Asking::new(&settings.issuer, &settings.ca_file, settings.timeout)?;
        let asking = Arc::new(asking);
        let provider = Provider::new(settings.issuer.clone(), asking.clone());
        Ok(Self { settings, asking, provider })
    }

    fn us<'a>(&'a self, known: &'a Known) -> Us<'a> {
        let methods = &known.metadata.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        // Where nothing is said it is the header (Discovery 1.0, section 3).
        let header = methods.is_empty() || has("client_secret_basic");
        let proof = if header && !self.settings.client_secret.is_empty() {
            Proof::Header
        } else {
            Proof::Body
        };
        Us {
            endpoint: &known.metadata.token_endpoint,
            id: &self.settings.client_id,
            secret: &self.settings.client_secret,
            proof,
        }
    }

    async fn target(&self, departure: &Departure) -> Result<String, LoginError> {
        let known = self.provider.known().await?;
        let mut target = Url::parse(&known.metadata.authorization_endpoint)
            .map_err(|_| LoginError::Failed("the provider's address cannot be used".to_owned()))?;
        let wanted = &self.settings;
        let scope = std::iter::once("openid")
            .chain(wanted.scope.iter().map(String::as_str).filter(|scope| *scope != "openid"));
        let scope: Vec<_> = scope.collect();
        let mut query = target.query_pairs_mut();
        for (name, value) in &wanted.extra_authorize_params {
            query.append_pair(name, value);
        }
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &wanted.client_id)
            .append_pair("redirect_uri", &departure.callback)
            .append_pair("scope", &scope.join(" "))
            .append_pair("state", &departure.state)
            .append_pair("nonce", &nonce(&departure.challenge))
            .append_pair("code_challenge", &departure.challenge)
            .append_pair("code_challenge_method", "S256");
        if wanted.max_age.duration().as_secs() > 0 {
            query.append_pair("max_age", &wanted.max_age.duration().as_secs().to_string());
        }
        if !wanted.acr_values.is_empty() {
            let all: Vec<_> = wanted.acr_values.iter().map(String::as_str).collect();
            query.append_pair("acr_values", &all.join(" "));
        }
        drop(query);
        Ok(target.into())
    }

    async fn who(&self, back: &Return) -> Result<Identity, LoginError> {
        let refused = |why: String| LoginError::Refused(why);
        let known = self.provider.known().await?;
        // RFC 9207: a word of another provider, led here, ends here.
        match one(&back.query, "iss").map_err(refused)? {
            Some(issuer) if issuer != self.settings.issuer => {
                return Err(refused("the answer is another provider's (iss)".to_owned()));
            }
            None if known.metadata.authorization_response_iss_parameter_supported => {
                return Err(refused("the answer does not say whose it is (iss)".to_owned()));
            }
            _ => {}
        }
        if let Some(error) = one(&back.query, "error").map_err(refused)? {
            return Err(refused(format!("the provider said {}", word(error))));
        }
        let code = one(&back.query, "code").map_err(refused)?;
        let code = code.ok_or_else(|| refused("there is no code in the answer".to_owned()))?;
        let us = self.us(&known);
        let tokens = us.redeem(&self.asking, &back.callback, code, &back.verifier).await?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, back.verifier.reveal().as_bytes()));
        let claims = self.verified(&known, &tokens, Some(&nonce(&challenge))).await?;
        self.identity(&known, claims, &tokens).await
    }

    /// The claims of the token, if it is good; keys that have changed are found.
    async fn verified(
        &self,
        known: &Known,
        tokens: &Tokens,
        nonce: Option<&str>,
    ) -> Result<Claims, LoginError> {
        let refused = |why: &dyn std::fmt::Display| LoginError::Refused(format!("id_token: {why}"));
        let token = tokens.id_token.as_ref().ok_or_else(|| refused(&"there is none"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expected = Expected {
            issuer: &self.settings.issuer,
            client: &self.settings.client_id,
            nonce,
            algorithms: &self.settings.algorithms,
            access_token: tokens.access.reveal(),
            max_age: if nonce.is_some() { self.settings.max_age.duration().as_secs() } else { 0 },
            acr: &self.settings.acr_values,
            now: i64::try_from(now).unwrap_or(i64::MAX),
        };
        match id_token::verify(token.reveal(), &known.keys, &expected) {
            Err(Bad::Key) => {
                let Some(newer) = self.provider.newer(known).await? else {
                    return Err(refused(&Bad::Key));
                };
                id_token::verify(token.reveal(), &newer.keys, &expected)
                    .map_err(|bad| refused(&bad))
            }
            other => other.map_err(|bad| refused(&bad)),
        }
    }

    async fn identity(
        &self,
        known: &Known,
        mut claims: Claims,
        tokens: &Tokens,
    ) -> Result<Identity, LoginError> {
        let refused = |why: String| LoginError::Refused(why);
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.settings.userinfo {
            let more = self.userinfo(known, tokens).await?;
            // Section 5.3.2: or it could be about somebody else.
            if more.get("sub").and_then(Value::as_str) != Some(&subject) {
                return Err(refused("userinfo is about somebody else (sub)".to_owned()));
            }
            // What was signed goes first.
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        let wanted = &self.settings;
        claims::meets(&wanted.required_claims, &claims).map_err(refused)?;
        if wanted.require_verified_email && !claims::is_email_verified(&claims) {
            return Err(refused("the address is not verified (email_verified)".to_owned()));
        }
        let name = claims::username(&wanted.username_template, &wanted.username_suffix, &claims);
        let groups = match wanted.groups_claim.as_str() {
            "" => None,
            path => Some(claims::groups(path, &claims).map_err(refused)?),
        };
        Ok(Identity {
            subject: Some(Subject { issuer: wanted.issuer.clone(), id: subject }),
            groups,
            unix_groups: None,
            auth_state: Some(state(tokens, &claims)),
            ..Identity::named(name.map_err(refused)?)
        })
    }

    async fn userinfo(&self, known: &Known, tokens: &Tokens) -> Result<Claims, LoginError> {
        let address = known.metadata.userinfo_endpoint.as_deref();
        let address = address.ok_or_else(|| {
            LoginError::Failed("the provider has no userinfo endpoint".to_owned())
        })?;
        let answer = self.asking.get(address, Some(tokens.access.reveal())).await?;
        asking::json("userinfo", &answer)
    }

    /// Is the person still who they were? The provider is asked with what it gave us.
    async fn again(&self, who: &Identity) -> Result<Refresh, LoginError> {
        let Some(state) = kept(who) else { return Ok(Refresh::Expired) };
        let known = self.provider.known().await?;
        let text = |name: &str| state.get(name).and_then(Value::as_str);
        let Some(old) = text("refresh_token") else {
            // All we can ask is whether the token is still good.
            let Some(address) = known.metadata.userinfo_endpoint.as_deref() else {
                return Ok(Refresh::Same);
            };
            let token = text("access_token").unwrap_or_default();
            let answer = self.asking.get(address, Some(token)).await?;
            return match answer.status().as_u16() {
                400..=403 => Ok(Refresh::Expired),
                _ => {
                    let claims: Claims = asking::json("userinfo", &answer)?;
                    let subject = who.subject.as_ref().map(|subject| subject.id.as_str());
                    let same = claims.get("sub").and_then(Value::as_str) == subject;
                    Ok(if same { Refresh::Same } else { Refresh::Expired })
                }
            };
        };
        let old = Secret::new(old.to_owned());
        let mut tokens = match self.us(&known).refresh(&self.asking, &old).await {
            Ok(tokens) => tokens,
            Err(LoginError::Refused(_)) => return Ok(Refresh::Expired),
            Err(error) => return Err(error),
        };
        tokens.refresh = tokens.refresh.or(Some(old));
        // Section 12.2: it may come with a word of its own; about the same person.
        let claims = if tokens.id_token.is_some() {
            self.verified(&known, &tokens, None).await
        } else {
            let before = state.get("oauth_user").and_then(Value::as_object).cloned();
            Ok(before.unwrap_or_default())
        };
        let now = match claims {
            Ok(claims) => self.identity(&known, claims, &tokens).await,
            Err(error) => Err(error),
        };
        match now {
            Ok(now) if now.subject == who.subject => Ok(Refresh::Changed(now)),
            Ok(_) | Err(LoginError::Refused(_)) => Ok(Refresh::Expired),
            Err(error) => Err(error),
        }
    }
}

/// What is kept, as JupyterHub's authenticators keep it.
fn state(tokens: &Tokens, claims: &Claims) -> Secret {
    let reveal = |secret: &Option<Secret>| secret.as_ref().map(|it| it.reveal().clone());
    let state = json!({
        "access_token": tokens.access.reveal(),
        "refresh_token": reveal(&tokens.refresh),
        "id_token": reveal(&tokens.id_token),
        "scope": tokens.scope,
        "oauth_user": claims,
    });
    Secret::new(state.to_string())
}

/// What was kept.
pub(super) fn kept(who: &Identity) -> Option<Claims> {
    serde_json::from_str(who.auth_state.as_ref()?.reveal()).ok()
}

/// Of the visit that this challenge is of: whoever has the one has the other, and nobody else can make a visit with it.
fn nonce(challenge: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("nonce of {challenge}").as_bytes()))
}

impl Redirect for Oidc {
    fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    fn service(&self) -> &str {
        &self.settings.login_service
    }

    fn callback(&self) -> &str {
        &self.settings.oauth_callback_url
    }

    fn farewell(&self) -> &str {
        &self.settings.logout_redirect_url
    }

    fn depart<'a>(&'a self, departure: &'a Departure) -> Boxed<'a, Result<String, LoginError>> {
        Box::pin(self.target(departure))
    }

    fn arrive<'a>(&'a self, back: &'a Return) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(self.who(back))
    }
}

impl Authenticator for Oidc {
    fn flow(&self) -> Flow<'_> {
        Flow::Redirect(self)
    }

    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(self.again(who))
    }
}
