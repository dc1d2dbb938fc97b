//! One request to the authority, one answer: by TLS only, in time, of bounded size. What authorities say in headers and
//! in pages of errors is made harmless here, before anybody counts with it.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{HOST, RETRY_AFTER, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

/// Longest wait for an answer. (Shorter where tests play authorities that give none.)
const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "faults") { 3 } else { 30 });
/// Longest answer, in bytes: a chain of certificates has less than 20 kB.
const LONGEST: usize = 128 << 10;
/// Longest wait, in seconds, that it may ask for while an order is under way.
const MOST_WAIT: u64 = 10;

/// Why there is no answer.
#[derive(Debug, Error)]
enum ClientError {
    #[error("{0} is no address that begins with https://")]
    Address(String),
    #[error("{0} cannot be connected to")]
    Connect(String, #[source] std::io::Error),
    #[error("{0} gives no HTTP")]
    Http(String, #[source] hyper::Error),
    #[error("{0} does not answer in time")]
    Silent(String),
    #[error("the answer of {0} broke off or is too long")]
    Answer(String, #[source] Box<dyn StdError + Send + Sync>),
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
    trust: Arc<ClientConfig>,
    wait: Arc<AtomicU64>,
}

impl Client {
    /// Believing whom this says.
    pub(super) fn new(trust: Arc<ClientConfig>) -> Self {
        Self { trust, wait: Arc::default() }
    }

    /// The seconds that the authority last asked us to wait, when it refused something.
    pub(super) fn told_to_wait(&self) -> Option<u64> {
        Some(self.wait.load(Relaxed)).filter(|seconds| *seconds > 0)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, ClientError> {
        let uri = request.uri().clone();
        let wrong = || ClientError::Address(short(&uri.to_string()));
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(wrong());
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        let whom = short(authority.as_str());
        let connecting = connect(&self.trust, authority);
        let stream =
            timeout(PATIENCE, connecting).await.map_err(|_| ClientError::Silent(whom.clone()));
        let stream = stream?.map_err(|error| ClientError::Connect(whom.clone(), error))?;
        let mut answer = timeout(PATIENCE, exchange(stream, request, authority.as_str()))
            .await
            .map_err(|_| ClientError::Silent(whom.clone()))?
            .map_err(|error| match error {
                Exchange::Http(error) => ClientError::Http(whom.clone(), error),
                Exchange::Body(error) => ClientError::Answer(whom.clone(), error),
            })?;
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

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(trust: &Arc<ClientConfig>, to: &http::uri::Authority) -> std::io::Result<Stream> {
    let host = to.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let tcp = TcpStream::connect((host.as_str(), to.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    TlsConnector::from(trust.clone()).connect(name, tcp).await
}

/// Where an exchange broke.
enum Exchange {
    Http(hyper::Error),
    Body(Box<dyn StdError + Send + Sync>),
}

async fn exchange(
    stream: Stream,
    mut request: Request<BodyWrapper<Bytes>>,
    authority: &str,
) -> Result<http::Response<Bytes>, Exchange> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(authority) {
        headers.insert(HOST, host);
    }
    let us = concat!("jovis/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(us));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Exchange::Http)?;
    // Ends with us.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let answer = sender.send_request(request).await.map_err(Exchange::Http)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.map_err(Exchange::Body)?;
    Ok(http::Response::from_parts(parts, body.to_bytes()))
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

/// So that a line of the log stays one.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_others_say_fits_into_a_line() {
        assert_eq!(short("a\nb\u{1b}[31m"), "ab[31m");
        assert_eq!(short(&"x".repeat(1000)).len(), 300);
    }
}
