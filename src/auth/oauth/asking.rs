//! One request to a provider, one answer, and what its failure means.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::Full;
use jovis_actors::{domain::Seconds, ports::LoginError};
use serde::de::DeserializeOwned;

use crate::{
    config::address::may_be_asked,
    fetch::{
        Fetch, FetchError, short,
        trust::{self, Trust},
    },
    telemetry::logs::chain,
};

/// Longest answer, in bytes. A person in a thousand groups has less than 100 kB.
const LONGEST: usize = 512 << 10;

/// How a provider is asked.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    fetch: Fetch,
}

impl Asking {
    /// Of a provider at this address: one on this machine itself may be without TLS. `authorities`: who vouches for its
    /// server; empty: whom this machine trusts.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub(super) fn new(home: &str, authorities: &Path, timeout: Seconds) -> Result<Self, String> {
        let trust = if authorities.as_os_str().is_empty() {
            trust::usual()
        } else {
            let failed = |error: &dyn std::fmt::Display| format!("ca_file: {error}");
            let authorities = std::fs::read(authorities).map_err(|error| failed(&error))?;
            Trust { authorities, ..Trust::default() }.config().map_err(|error| failed(&error))?
        };
        // One that is reached by TLS does not lead on to where there is none.
        let plain_to_itself = home
            .parse()
            .is_ok_and(|home: Uri| may_be_asked(&home, true) && !may_be_asked(&home, false));
        let patience = timeout.duration();
        Ok(Self { fetch: Fetch { trust, patience, longest: LONGEST, plain_to_itself } })
    }

    /// May a browser be sent, or we ask, at this address?
    pub(super) fn is_allowed(&self, address: &str) -> bool {
        address.parse::<Uri>().is_ok_and(|uri| self.fetch.is_allowed(&uri))
    }

    /// The answer, whatever its status.
    pub(super) async fn ask(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Bytes>, LoginError> {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        self.fetch.ask(request).await.map_err(|error| match error {
            FetchError::Silent(_) => LoginError::Timeout(self.fetch.patience.as_secs()),
            other => LoginError::Failed(chain(&other).to_string()),
        })
    }

    /// What is to be read there, as whoever holds this token.
    pub(super) async fn get(
        &self,
        address: &str,
        token: Option<&str>,
    ) -> Result<Response<Bytes>, LoginError> {
        let mut request = Request::get(address).header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Vec::new());
        self.ask(request.map_err(|_| LoginError::Failed("an unfit token or address".to_owned()))?)
            .await
    }
}

/// A successful answer's JSON.
pub(super) fn json<T: DeserializeOwned>(
    what: &str,
    answer: &Response<Bytes>,
) -> Result<T, LoginError> {
    if !answer.status().is_success() {
        return Err(LoginError::Failed(format!("{what}: answered {}", answer.status())));
    }
    serde_json::from_slice(answer.body()).map_err(|error| {
        // Where it is not what we expect; never what it says.
        let at = format!("line {}, column {}", error.line(), error.column());
        LoginError::Failed(format!("{what}: no JSON of the kind that is expected, at {at}"))
    })
}

/// A provider's own word for why, cut so that a line of the log stays one.
pub(super) fn word(text: &str) -> String {
    short(text).chars().take(100).collect()
}

/// Shared by those who ask the same provider.
pub(super) type Shared = Arc<Asking>;
