//! Where the ends of a provider are, and with which keys it signs. (OpenID Connect Discovery 1.0.)
//!
//! Asked for when somebody first needs it and kept for an hour; while the provider cannot be asked then, what is known goes
//! on for a day. A key that is not known is looked for once a minute: providers change them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jovis_actors::ports::LoginError;
use openidconnect::core::CoreJsonWebKeySet;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::asking::{Shared, json};

/// For so long it is believed without asking.
const FRESH: Duration = Duration::from_secs(3600);
/// For so long it is believed where the provider cannot be asked.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Between two looks for keys.
const KEYS: Duration = Duration::from_secs(60);
/// After a failure nobody asks for so long: whoever waited would fail as late, one after the other.
const PAUSE: Duration = Duration::from_secs(2);

/// What a provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) userinfo_endpoint: Option<String>,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// What is known at a moment.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) metadata: Arc<Metadata>,
    pub(super) keys: Arc<CoreJsonWebKeySet>,
    at: Instant,
    keys_at: Instant,
}

/// What is known of one provider.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    asking: Shared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    failed: Option<(Instant, LoginError)>,
}

/// Is it an RSA key that could be broken? (RFC 7518, section 3.3: 2048 bits or more.)
fn is_short(key: &Value) -> bool {
    let modulus = key.get("n").and_then(Value::as_str).unwrap_or_default();
    let modulus = URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default();
    let length = modulus.iter().skip_while(|byte| **byte == 0).count();
    key.get("kty").and_then(Value::as_str) == Some("RSA") && length < 256
}

impl Provider {
    /// Of whom nothing is known yet.
    pub(super) fn new(issuer: String, asking: Shared) -> Self {
        Self { issuer, asking, state: Mutex::default() }
    }

    /// What is known, asked for if need be; by one for all who wait.
    pub(super) async fn known(&self) -> Result<Known, LoginError> {
        let mut state = self.state.lock().await;
        let age = state.known.as_ref().map(|known| known.at.elapsed());
        if let Some(known) = state.known.clone()
            && age.is_some_and(|age| age < FRESH)
        {
            return Ok(known);
        }
        let asked = match &state.failed {
            Some((when, error)) if when.elapsed() < PAUSE => Err(error.clone()),
            _ => self.ask().await,
        };
        match asked {
            Ok(known) => {
                *state = State { known: Some(known.clone()), failed: None };
                Ok(known)
            }
            Err(error) => {
                if state.failed.as_ref().is_none_or(|(when, _)| when.elapsed() >= PAUSE) {
                    state.failed = Some((Instant::now(), error.clone()));
                }
                let known = state.known.clone().filter(|known| known.at.elapsed() < STALE);
                known.ok_or(error)
            }
        }
    }

    /// Others than these keys, if it is time to look for any.
    pub(super) async fn newer(&self, old: &Known) -> Result<Option<Known>, LoginError> {
        let mut state = self.state.lock().await;
        let Some(known) = state.known.clone() else { return Ok(None) };
        if known.keys_at > old.keys_at {
            return Ok(Some(known));
        }
        if known.keys_at.elapsed() < KEYS && known.keys_at != known.at {
            return Ok(None);
        }
        // The first time at once: the keys that came with the rest may be an hour old.
        let keys = self.keys(&known.metadata.jwks_uri).await;
        let keys_at = Instant::now();
        let keys = match keys {
            Ok(keys) => Arc::new(keys),
            Err(error) => {
                state.known = Some(Known { keys_at, ..known });
                return Err(error);
            }
        };
        let known = Known { keys, keys_at, ..known };
        state.known = Some(known.clone());
        Ok(Some(known))
    }

    async fn ask(&self) -> Result<Known, LoginError> {
        let home = self.issuer.trim_end_matches('/');
        let address = format!("{home}/.well-known/openid-configuration");
        let answer = self.asking.get(&address, None).await?;
        let metadata: Metadata = json("what the provider says of itself", &answer)?;
        if metadata.issuer != self.issuer {
            return Err(LoginError::Failed(
                "the provider calls itself otherwise than `issuer` in the configuration".to_owned(),
            ));
        }
        let all = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.userinfo_endpoint.as_ref(),
        ];
        if all.into_iter().flatten().any(|address| !self.asking.is_allowed(address)) {
            return Err(LoginError::Failed(
                "an address of the provider does not begin with https://".to_owned(),
            ));
        }
        let keys = Arc::new(self.keys(&metadata.jwks_uri).await?);
        let at = Instant::now();
        Ok(Known { metadata: Arc::new(metadata), keys, at, keys_at: at })
    }

    async fn keys(&self, address: &str) -> Result<CoreJsonWebKeySet, LoginError> {
        let answer = self.asking.get(address, None).await?;
        let mut set: Value = json("the provider's keys", &answer)?;
        if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
            keys.retain(|key| !is_short(key));
        }
        serde_json::from_value(set)
            .map_err(|_| LoginError::Failed("the provider's keys cannot be read".to_owned()))
    }
}
