//! Is a new server answering? One bounded HTTP attempt.

use std::{fmt::Display, io::ErrorKind, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use jovis_actors::ports::{Boxed, Probe, ProbeError};
use tokio::{net::TcpStream, time::timeout};

use super::listeners::Expected;

/// How long connecting may take, and then the answer.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long the rest of an answer is read, and how much of it: a connection closed with unread bytes in it is reset,
/// and servers fill their logs with that.
const REST: (Duration, usize) = (Duration::from_millis(500), 64 * 1024);

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
    fn probe<'a>(&'a self, url: &'a str, prefix: &'a str) -> Boxed<'a, Result<String, ProbeError>> {
        Box::pin(async move {
            let address = url.strip_prefix("http://").ok_or_else(|| not_yet("not an http URL"))?;
            let late = |_| Err(not_yet("no answer in time"));
            let stream = match timeout(ATTEMPT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream,
                // Nobody listens there: nobody has taken it either.
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err(failed("connect", &error));
                }
                Ok(Err(error)) => {
                    return self.unless_a_stranger(url, Err(failed("connect", &error)));
                }
                Err(elapsed) => return self.unless_a_stranger(url, late(elapsed)),
            };
            let asked = timeout(ATTEMPT, ask(stream, address, prefix)).await;
            // Looked at after the answer, good or bad: a stranger's is not to be believed.
            self.unless_a_stranger(url, asked.unwrap_or_else(late))
        })
    }
}

impl HttpProbe {
    fn unless_a_stranger(
        &self,
        url: &str,
        answer: Result<String, ProbeError>,
    ) -> Result<String, ProbeError> {
        self.0.stranger(url).map_or(answer, |uid| Err(ProbeError::Stranger { uid }))
    }
}

fn not_yet(why: &str) -> ProbeError {
    ProbeError::NotYet(why.to_owned())
}

fn failed(what: &str, error: &dyn Display) -> ProbeError {
    ProbeError::NotYet(format!("{what}: {error}"))
}

async fn ask(stream: TcpStream, address: &str, prefix: &str) -> Result<String, ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("handshake", &error))?;
    let serving = tokio::spawn(connection);
    let request = Request::get(format!("{prefix}api"))
        .header("host", address)
        .header("connection", "close")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed("request", &error))?;
    let outcome = match sender.send_request(request).await {
        Ok(answer) => {
            let outcome = judge(&answer);
            let rest = Limited::new(answer.into_body(), REST.1).collect();
            _ = timeout(REST.0, rest).await;
            outcome
        }
        Err(error) => Err(failed("no answer", &error)),
    };
    serving.abort();
    outcome
}

/// What the head of an answer says.
fn judge<B>(answer: &Response<B>) -> Result<String, ProbeError> {
    if answer.status().is_server_error() {
        return Err(not_yet(&format!("it answered {}", answer.status())));
    }
    let version =
        answer.headers().get("x-jupyterhub-version").and_then(|value| value.to_str().ok());
    Ok(version.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with this status line.
    async fn serve(status: &'static str) -> (String, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 {status}\r\nx-jupyterhub-version: 6.1.1\r\n");
            let _ = stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await;
            // Open until the test ends, so that the listener is there to be looked at.
            std::future::pending::<()>().await;
        });
        (format!("http://127.0.0.1:{port}"), port)
    }

    #[tokio::test]
    async fn an_answer_counts_only_if_it_is_the_users_own() {
        let me = nix::unistd::getuid().as_raw();
        for (status, uid, expected) in [
            ("200 OK", me, Ok("6.1.1".to_owned())),
            ("404 Not Found", me, Ok("6.1.1".to_owned())),
            ("200 OK", me + 1, Err(ProbeError::Stranger { uid: me })),
            ("500 Oh", me + 1, Err(ProbeError::Stranger { uid: me })),
        ] {
            let (url, port) = serve(status).await;
            let known = Arc::<Expected>::default();
            known.expect(&url, port, uid);
            assert_eq!(HttpProbe::new(known).probe(&url, "/").await, expected, "{status} {uid}");
        }
        let (url, _) = serve("503 Busy").await;
        let busy = HttpProbe::new(Arc::default()).probe(&url, "/").await;
        assert!(matches!(busy, Err(ProbeError::NotYet(_))), "{busy:?}");
    }

    #[tokio::test]
    async fn where_nobody_listens_there_is_no_stranger() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("http://127.0.0.1:{port}");
        let refused = HttpProbe::new(Arc::default()).probe(&url, "/").await;
        assert!(matches!(refused, Err(ProbeError::NotYet(_))), "{refused:?}");
    }
}
