//! How the authority is asked. What authorities say in headers and in pages of errors is made harmless here, before
//! anybody counts with it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header::RETRY_AFTER};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::ClientConfig;
use thiserror::Error;

use crate::fetch::{Fetch, FetchError, short};

/// Longest wait for an answer. (Shorter where tests play authorities that give none.)
const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "faults") { 3 } else { 30 });
/// Longest answer, in bytes: a chain of certificates has less than 20 kB.
const LONGEST: usize = 128 << 10;
/// Longest wait, in seconds, that it may ask for while an order is under way.
const MOST_WAIT: u64 = 10;

/// Why there is no answer to go on with.
#[derive(Debug, Error)]
enum ClientError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::Other(Box::new(error))
    }
}

/// How the authority is reached.
#[derive(Debug, Clone)]
pub(super) struct Client {
    fetch: Fetch,
    wait: Arc<AtomicU64>,
}

impl Client {
    /// Believing whom this says.
    pub(super) fn new(trust: Arc<ClientConfig>) -> Self {
        let fetch = Fetch { trust, patience: PATIENCE, longest: LONGEST, plain_to_itself: false };
        Self { fetch, wait: Arc::default() }
    }

    /// The seconds that the authority last asked us to wait, when it refused something.
    pub(super) fn told_to_wait(&self) -> Option<u64> {
        Some(self.wait.load(Relaxed)).filter(|seconds| *seconds > 0)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, ClientError> {
        let whom = short(request.uri().authority().map_or("", |authority| authority.as_str()));
        let mut answer = self.fetch.ask(request).await?;
        let status = answer.status();
        let wait = wait(answer.headers());
        if status.is_client_error() || status.is_server_error() {
            self.wait.store(wait.unwrap_or(0), Relaxed);
            if serde_json::from_slice::<Problem>(answer.body()).is_err() {
                return Err(ClientError::Status(whom, status));
            }
        } else if !status.is_success() {
            return Err(ClientError::Status(whom, status));
        }
        answer.headers_mut().remove(RETRY_AFTER);
        if let Some(seconds) = wait {
            answer.headers_mut().insert(RETRY_AFTER, seconds.min(MOST_WAIT).into());
        }
        let (parts, body) = answer.into_parts();
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asking = self.clone().ask(request);
        Box::pin(async move { Ok(asking.await?) })
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn wait(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || {
        let then = DateTimeParser::new().parse_timestamp(text).ok()?;
        let seconds = then.as_second() - jiff::Timestamp::now().as_second();
        u64::try_from(seconds).ok()
    };
    text.parse().ok().or_else(until)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_wait_is_read_in_seconds_or_as_a_date() {
        let of = |text: &str| {
            wait(&[(RETRY_AFTER, HeaderValue::from_str(text).unwrap())].into_iter().collect())
        };
        assert_eq!(of("120"), Some(120));
        assert_eq!(of(&u64::MAX.to_string()), Some(u64::MAX));
        for text in ["", "-1", "soon", "99999999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(of(text), None, "{text}");
        }
        let far = of("Tue, 31 Dec 2999 23:59:59 GMT").unwrap();
        assert!(far > 1_000_000_000, "{far}");
    }
}
