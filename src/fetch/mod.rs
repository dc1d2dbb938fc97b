//! One request to somebody else's server, one answer: by TLS, in time, of bounded size, and never led on to another
//! place. For the authority that certificates come from, and for the providers that vouch for people.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{HOST, USER_AGENT},
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Body, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::config::address::may_be_asked;

pub(crate) mod trust;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// Not an address we ask at.
    #[error("{0} is no address that begins with https://")]
    Address(String),
    /// Nobody there, or not the one we mean.
    #[error("{0} cannot be connected to")]
    Connect(String, #[source] std::io::Error),
    /// Something else is spoken there.
    #[error("{0} gives no HTTP")]
    Http(String, #[source] hyper::Error),
    /// Took too long, all together.
    #[error("{0} does not answer in time")]
    Silent(String),
    /// The answer did not come whole.
    #[error("the answer of {0} broke off or is too long")]
    Answer(String, #[source] Box<dyn StdError + Send + Sync>),
}

/// Asks others.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    /// Whom we believe.
    pub(crate) trust: Arc<ClientConfig>,
    /// Longest wait for connecting, and again for the whole answer.
    pub(crate) patience: Duration,
    /// Longest answer, in bytes.
    pub(crate) longest: usize,
    /// May it be `http` to this machine itself?
    pub(crate) plain_to_itself: bool,
}

impl Fetch {
    /// May we ask at this address?
    pub(crate) fn is_allowed(&self, uri: &http::Uri) -> bool {
        may_be_asked(uri, self.plain_to_itself)
    }

    /// The answer, whatever its status. Nobody follows where it may lead.
    ///
    /// # Errors
    ///
    /// There is none, or none that we take.
    pub(crate) async fn ask<B>(&self, request: Request<B>) -> Result<Response<Bytes>, FetchError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let uri = request.uri().clone();
        let Some(authority) = uri.authority().filter(|_| self.is_allowed(&uri)) else {
            // Not more of it: what follows the place may be a secret.
            let place = uri.authority().map_or("it", Authority::as_str);
            return Err(FetchError::Address(short(place)));
        };
        let whom = short(authority.as_str());
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let connecting = async {
            let host = bare(authority);
            let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            let plain: Box<dyn Stream> = if tls {
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                Box::new(TlsConnector::from(self.trust.clone()).connect(name, tcp).await?)
            } else {
                Box::new(tcp)
            };
            Ok(plain)
        };
        let silent = |_| FetchError::Silent(whom.clone());
        let stream = timeout(self.patience, connecting).await.map_err(silent)?;
        let stream = stream.map_err(|error| FetchError::Connect(whom.clone(), error))?;
        let exchange = exchange(stream, request, authority, self.longest);
        let answer = timeout(self.patience, exchange).await.map_err(silent)?;
        answer.map_err(|error| match error {
            Broken::Http(error) => FetchError::Http(whom, error),
            Broken::Body(error) => FetchError::Answer(whom, error),
        })
    }
}

fn bare(authority: &Authority) -> String {
    authority.host().trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// What carries an exchange.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where an exchange broke.
enum Broken {
    Http(hyper::Error),
    Body(Box<dyn StdError + Send + Sync>),
}

async fn exchange<B>(
    stream: Box<dyn Stream>,
    mut request: Request<B>,
    authority: &Authority,
    longest: usize,
) -> Result<Response<Bytes>, Broken>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    // Without a name and a password, if the address had them.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(HOST, host);
    }
    let us = concat!("jovis/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(us));
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Broken::Http)?;
    // Ends with us.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let answer = sender.send_request(request).await.map_err(Broken::Http)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, longest).collect().await.map_err(Broken::Body)?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// So that a line of the log stays one.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn fetch() -> Fetch {
        let patience = Duration::from_millis(300);
        Fetch { trust: trust::usual(), patience, longest: 1_000, plain_to_itself: true }
    }

    #[tokio::test]
    async fn nobody_is_asked_without_tls_but_this_machine() {
        let address = "http://idp.test/x";
        let request = Request::get(address).body(Empty::<Bytes>::new()).unwrap();
        assert!(matches!(fetch().ask(request).await, Err(FetchError::Address(_))));
        let (address, _serving) = serving(Vec::new()).await;
        let request = Request::get(address).body(Empty::<Bytes>::new()).unwrap();
        let never = Fetch { plain_to_itself: false, ..fetch() };
        assert!(matches!(never.ask(request).await, Err(FetchError::Address(_))));
    }

    /// Answers one request with this, and keeps the connection open.
    async fn serving(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let size = stream.read(&mut head).await.unwrap();
            head.truncate(size);
            _ = stream.write_all(&answer).await;
            // Until the other side has gone.
            while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
            head
        });
        (address, serving)
    }

    async fn ask(answer: &str) -> Result<Response<Bytes>, FetchError> {
        let (address, serving) = serving(answer.as_bytes().to_vec()).await;
        let request = Request::get(format!("{address}/a?b=c")).body(Empty::<Bytes>::new());
        let answer = fetch().ask(request.unwrap()).await;
        let head = String::from_utf8(serving.await.unwrap()).unwrap();
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("user-agent: jovis/"), "{head}");
        answer
    }

    #[tokio::test]
    async fn an_answer_is_whole_or_none() {
        let ok = ask("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(ok.body().as_ref(), b"ok");
        let moved =
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask(moved).await.unwrap().status(), 302);
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001));
        assert!(matches!(ask(&long).await, Err(FetchError::Answer(..))));
        let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
        assert!(matches!(ask(endless).await, Err(FetchError::Silent(_))));
        assert!(matches!(ask("").await, Err(FetchError::Silent(_))));
        assert!(matches!(ask("SSH-2.0-x\r\n").await, Err(FetchError::Http(..))));
    }

    #[tokio::test]
    async fn errors_show_no_secret() {
        let request =
            Request::get("http://idp.test/token?code=hunter2").body(Empty::<Bytes>::new());
        let error = fetch().ask(request.unwrap()).await.unwrap_err();
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn what_others_say_fits_into_a_line() {
        assert_eq!(short("a\nb\u{1b}[31m"), "ab[31m");
        assert_eq!(short(&"x".repeat(1000)).len(), 300);
    }
}
