//! Where an engine is: a Unix socket of this machine, or an address spoken to by TLS.

use std::{fmt, fs, io, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    config::sections::{Docker, tcp_address},
    fetch::trust::Trust,
};

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where an engine is.
pub enum Place {
    /// On this machine.
    Unix(PathBuf),
    /// At an address.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// How we know it and it knows us. None: not at all.
        tls: Option<Arc<ClientConfig>>,
    },
}

impl Place {
    /// This socket, `unix:///…`, a path or `tcp://host:port`; TLS as these settings say.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub fn of(socket: &str, docker: &Docker) -> Result<Self, String> {
        let secured = docker.speaks_tls();
        match tcp_address(socket, secured) {
            Some((host, port)) => {
                let tls = if secured { Some(trust(docker)?) } else { None };
                Ok(Self::Tcp { host, port, tls })
            }
            None => Ok(Self::Unix(socket.strip_prefix("unix://").unwrap_or(socket).into())),
        }
    }

    /// May every account of this machine use it? Whoever may reads the environment of all containers.
    pub fn is_open_to_all(&self) -> bool {
        match self {
            Self::Unix(path) => fs::metadata(path).is_ok_and(|it| it.mode() & 0o002 != 0),
            Self::Tcp { .. } => false,
        }
    }

    /// Connects; with whose process listens there, where that can be known.
    pub(super) async fn connect(&self) -> io::Result<(Box<dyn Stream>, Option<u32>)> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                let owner = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Box::new(stream), owner))
            }
            Self::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let Some(tls) = tls else { return Ok((Box::new(stream), None)) };
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Ok((Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?), None))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn trust(docker: &Docker) -> Result<Arc<ClientConfig>, String> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let identity = match docker.tls_cert.as_os_str().is_empty() {
        true => None,
        false => Some((read(&docker.tls_cert)?, read(&docker.tls_key)?.into())),
    };
    let authorities = read(&docker.tls_ca)?;
    let trust = Trust { authorities, identity, unverified: false };
    trust.config().map_err(|error| format!("tls_ca, tls_cert, tls_key: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_that_all_may_use_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let name = socket.display().to_string();
        for (mode, open) in [(0o666, true), (0o660, false), (0o600, false), (0o662, true)] {
            fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).unwrap();
            let place = Place::of(&format!("unix://{name}"), &Docker::default()).unwrap();
            assert_eq!(place.is_open_to_all(), open, "{mode:o}");
            assert_eq!(place.to_string(), name);
        }
    }

    #[test]
    fn who_cannot_be_known_is_no_place() {
        let docker = Docker { tls_ca: "/none/ca.pem".into(), ..Docker::default() };
        let error = Place::of("tcp://engine", &docker).unwrap_err();
        assert!(error.contains("/none/ca.pem"), "{error}");
        assert_eq!(Place::of("tcp://e:9", &Docker::default()).unwrap().to_string(), "e:9");
    }
}
