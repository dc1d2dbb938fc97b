//! Is a new server answering? One bounded HTTP attempt.

use std::{sync::Arc, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use jovis_actors::ports::{Boxed, Probe};
use tokio::net::TcpStream;

use super::listeners::Expected;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Probes over HTTP/1.1, and checks that the listener is the user's own.
#[derive(Debug)]
pub struct HttpProbe(Arc<Expected>);

impl HttpProbe {
    /// With the knowledge of whose each address must be.
    pub fn new(expected: Arc<Expected>) -> Self {
        Self(expected)
    }
}

impl Probe for HttpProbe {
    fn probe<'a>(&'a self, url: &'a str, prefix: &'a str) -> Boxed<'a, Result<String, String>> {
        Box::pin(async move {
            let version = tokio::time::timeout(ATTEMPT, attempt(url, prefix))
                .await
                .map_err(|_| "no answer in time".to_owned())??;
            match self.0.stranger(url) {
                Some(uid) => Err(format!("somebody else (uid {uid}) listens there")),
                None => Ok(version),
            }
        })
    }
}

async fn attempt(url: &str, prefix: &str) -> Result<String, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let address = url.strip_prefix("http://").ok_or("not an http URL")?;
    let stream = TcpStream::connect(address).await.map_err(|error| failed("connect", &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("handshake", &error))?;
    let serving = tokio::spawn(connection);
    let request =
        Request::get(format!("{prefix}api")).header("host", address).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed("request", &error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed("no answer", &error));
    serving.abort();
    let answer = answer?;
    if answer.status().is_server_error() {
        return Err(format!("it answered {}", answer.status()));
    }
    let version =
        answer.headers().get("x-jupyterhub-version").and_then(|value| value.to_str().ok());
    Ok(version.unwrap_or_default().to_owned())
}
