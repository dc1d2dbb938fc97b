//! A proxy with TLS, and visitors who speak it: a real HTTP/2 client, and one who writes frames by hand.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use super::support::{Backend, Proxy, quick};
use crate::{
    config::sections,
    proxy::{settings::Settings, tls},
};

pub(super) const EC: &[u8] = include_bytes!("tls/ec-cert.pem");
pub(super) const KEY: &[u8] = include_bytes!("tls/ec-pkcs8.pem");

/// A proxy with TLS and a route `/user/a/` to a backend.
pub(super) fn proxy(section: &sections::Proxy, backend: &Backend) -> Proxy {
    let proxy = Proxy::start(section, Path::new("/nonexistent/hub"));
    proxy
        .shared
        .tls
        .store(Some(Arc::new(tls::acceptor(&[(EC, KEY)], tls::Offer::default()).unwrap())));
    proxy.route("/user/a", backend.address);
    proxy
}

/// The same with short times.
pub(super) fn proxy_to(backend: &Backend) -> Proxy {
    proxy(&quick(), backend)
}

/// Changes settings of a running proxy.
pub(super) fn set(proxy: &Proxy, change: impl FnOnce(&mut Settings)) {
    let mut settings = (*proxy.shared.settings.load_full()).clone();
    change(&mut settings);
    proxy.shared.settings.store(Arc::new(settings));
}

/// What a client trusts and offers.
pub(super) fn client(alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(EC).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A connection by TLS that offers these protocols.
pub(super) fn connect(
    address: SocketAddr,
    alpn: &[&str],
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(client(alpn), name).unwrap();
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
    connection.complete_io(&mut tcp)?;
    Ok(StreamOwned::new(connection, tcp))
}

/// Runs a test's visitors.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime.block_on(limited).expect("the test came to its end in time")
}

/// A connection of a client that knows HTTP/2. The task gives the connection's end.
pub(super) async fn browse(
    address: SocketAddr,
    builder: &h2::client::Builder,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(client(&["h2"]));
    let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = builder.handshake(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

/// A frame, as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// Writes frames by hand.
pub(super) struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;

    /// Says the preface and empty settings.
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut raw = Self(connect(address, &["h2"]).unwrap());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.say(Self::SETTINGS, 0, 0, b"").unwrap();
        raw
    }

    pub(super) fn say(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))
    }

    /// Bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame. `None`: the connection has ended.
    pub(super) fn hear(&mut self) -> Option<Frame> {
        let mut front = [0; 9];
        self.0.read_exact(&mut front).map_err(still_open).ok()?;
        let [a, b, c, kind, _, stream @ ..] = front;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).map_err(still_open).ok()?;
        Some(Frame { kind, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of this stream, or what ends all streams.
    pub(super) fn hear_of(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.hear()?;
            if frame.stream == stream || frame.kind == Self::GOAWAY {
                return Some(frame);
            }
        }
    }

    /// Waits for the end of the connection.
    pub(super) fn ends(&mut self) {
        while self.hear().is_some() {}
    }
}

/// A time that ran out is no end.
fn still_open(error: io::Error) {
    let open = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    assert!(!open, "the connection is still open: {error}");
}

/// A frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as HPACK's plainest form: literal, never indexed, not packed (RFC 7541, section 6.2.2).
pub(super) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in list {
        bytes.push(0);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// A length of seven bits in front (RFC 7541, section 5.1).
fn integer(bytes: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return bytes.push(u8::try_from(value).unwrap());
    }
    bytes.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}
