//! How visitors come in: by which certificate, by which version, through whom; and who is sent elsewhere.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::{
    secure::{self, EC, KEY, set},
    support::{Backend, Proxy, Visitor, wait_until},
};
use crate::{config::sections::TlsVersion, proxy::tls};

const GET: &str = "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NAMES: &[u8] = include_bytes!("tls/names-cert.pem");
const NAMES_KEY: &[u8] = include_bytes!("tls/names-key.pem");
const RSA: &[u8] = include_bytes!("tls/rsa-cert.pem");
const RSA_KEY: &[u8] = include_bytes!("tls/rsa-pkcs1.pem");

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Trusts one certificate only, and speaks these versions.
fn trusting(pem: &[u8], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A connection to this name, with whatever is to be said before; one request on it.
fn visit(
    address: SocketAddr,
    first: &[u8],
    name: &'static str,
    config: &Arc<ClientConfig>,
) -> io::Result<Stream> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.write_all(first)?;
    let mut connection = ClientConnection::new(config.clone(), name.try_into().unwrap())
        .map_err(io::Error::other)?;
    connection.complete_io(&mut tcp)?;
    let mut stream = StreamOwned::new(connection, tcp);
    ask(&mut stream)?;
    Ok(stream)
}

fn ask(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(GET.as_bytes())?;
    let mut got = Vec::new();
    while !got.ends_with(b"ok") {
        let mut piece = [0; 1000];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            size => got.extend_from_slice(&piece[..size]),
        }
    }
    Ok(())
}

fn show(proxy: &Proxy, identities: &[(&[u8], &[u8])], offer: tls::Offer<'_>) {
    proxy.shared.tls.store(Some(Arc::new(tls::acceptor(identities, offer).unwrap())));
}

#[test]
fn each_name_has_its_certificate_and_a_renewed_one_drops_nobody() {
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    let both = [NAMES, NAMES_KEY].concat();
    show(&proxy, &[(EC, KEY), (&both, b"")], tls::Offer::default());
    let any = [&TLS13, &TLS12];
    let (ec, names, rsa) =
        (trusting(EC, &any).into(), trusting(NAMES, &any).into(), trusting(RSA, &any).into());
    let mut kept = visit(proxy.address, b"", "localhost", &ec).unwrap();
    for name in ["hub.example.org", "x.lab.example.org"] {
        visit(proxy.address, b"", name, &names).unwrap();
        assert!(visit(proxy.address, b"", name, &ec).is_err(), "{name}");
    }
    // A name that none bears is shown the first, which is not its own.
    let error = visit(proxy.address, b"", "elsewhere.org", &ec).err().unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    show(&proxy, &[(RSA, RSA_KEY)], tls::Offer::default());
    ask(&mut kept).unwrap();
    visit(proxy.address, b"", "localhost", &rsa).unwrap();
    // (Who was here before comes back by his session, and is shown none.)
    assert!(visit(proxy.address, b"", "localhost", &trusting(EC, &any).into()).is_err());
}

#[test]
fn versions_below_the_oldest_are_not_spoken() {
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    let (old, new) = (trusting(EC, &[&TLS12]).into(), trusting(EC, &[&TLS13]).into());
    visit(proxy.address, b"", "localhost", &old).unwrap();
    visit(proxy.address, b"", "localhost", &new).unwrap();
    let oldest = TlsVersion::Tls13;
    show(&proxy, &[(EC, KEY)], tls::Offer { oldest, ..tls::Offer::default() });
    assert!(visit(proxy.address, b"", "localhost", &old).is_err());
    visit(proxy.address, b"", "localhost", &new).unwrap();
    // Nor is HTTP/2, where it is turned off.
    let stream = secure::connect(proxy.address, &["h2", "http/1.1"]).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    show(&proxy, &[(EC, KEY)], tls::Offer { http2: false, ..tls::Offer::default() });
    let stream = secure::connect(proxy.address, &["h2", "http/1.1"]).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_session_is_taken_up_again_also_after_a_reload_but_not_by_whom_it_was_not_for() {
    let client_ca = include_bytes!("tls/client-ca.pem");
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    for version in [&TLS12, &TLS13] {
        show(&proxy, &[(EC, KEY)], tls::Offer::default());
        let client = Arc::new(trusting(EC, &[version]));
        let kind = || {
            let stream = visit(proxy.address, b"", "localhost", &client)?;
            Ok::<_, io::Error>(stream.conn.handshake_kind().unwrap())
        };
        assert_eq!(kind().unwrap(), HandshakeKind::Full);
        assert_eq!(kind().unwrap(), HandshakeKind::Resumed, "{version:?}");
        show(&proxy, &[(EC, KEY)], tls::Offer::default());
        assert_eq!(kind().unwrap(), HandshakeKind::Resumed, "{version:?}");
        // Who has no certificate does not get in by an old session.
        show(&proxy, &[(EC, KEY)], tls::Offer { client_ca, ..tls::Offer::default() });
        assert!(kind().is_err(), "{version:?}");
        let chain = CertificateDer::pem_slice_iter(include_bytes!("tls/client-cert.pem"));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/client-key.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(EC).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let person = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        visit(proxy.address, b"", "localhost", &person.into()).unwrap();
    }
}

#[test]
fn handshakes_of_one_address_wait_their_turn() {
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    set(&proxy, |settings| settings.trusts_loopback = false);
    let silent: Vec<_> = (0..64).map(|_| TcpStream::connect(proxy.address).unwrap()).collect();
    wait_until("all of them are there", || proxy.shared.crowd.count() == 64);
    let address = proxy.address;
    let late = thread::spawn(move || {
        visit(address, b"", "localhost", &trusting(EC, &[&TLS13]).into()).map(drop)
    });
    wait_until("the late one is there", || proxy.shared.crowd.count() == 65);
    thread::sleep(Duration::from_millis(300));
    assert!(!late.is_finished());
    drop(silent);
    late.join().unwrap().unwrap();
}

#[test]
fn that_only_tls_will_do_is_said_as_the_settings_want() {
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    for (said, expected) in [(Some("max-age=7"), 1), (None, 0)] {
        set(&proxy, |settings| settings.hsts = said.map(|said| said.parse().unwrap()));
        let mut stream =
            visit(proxy.address, b"", "localhost", &trusting(EC, &[&TLS13]).into()).unwrap();
        let request = "GET /_chp_healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_default();
        let count = answer.matches("strict-transport-security: max-age=7\r\n").count();
        assert_eq!(count, expected, "{answer}");
        assert_eq!(answer.matches("strict-transport-security").count(), expected);
    }
}

#[test]
fn who_comes_without_tls_is_sent_there() {
    let backend = Backend::says(OK);
    let proxy = secure::proxy_to(&backend);
    set(&proxy, |settings| {
        (settings.redirect_port, settings.redirect_to) = (proxy.address.port(), 8443);
    });
    let mut visitor = proxy.visit();
    for (request, status, said) in [
        ("GET /user/a/x?y=z HTTP/1.1\r\nHost: hub:80", 308, "https://hub:8443/user/a/x?y=z"),
        ("HEAD / HTTP/1.1\r\nHost: [::1]", 308, "https://[::1]:8443/"),
        ("GET http://hub/x HTTP/1.1\r\nHost: hub", 308, "https://hub:8443/x"),
        ("GET //evil HTTP/1.1\r\nHost: hub", 308, "https://hub:8443//evil"),
        ("GET /hub/api/users HTTP/1.1\r\nHost: hub", 403, "HTTPS"),
        ("GET /user/a/x HTTP/1.1\r\nHost: hub\r\nAuthorization: token x", 403, "HTTPS"),
    ] {
        visitor.say(format!("{request}\r\n\r\n"));
        let head = visitor.until("\r\n\r\n").to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{request}: {head}");
        if status == 308 {
            assert!(head.contains(&format!("\r\nlocation: {said}\r\n")), "{request}: {head}");
        } else {
            visitor.until("}");
        }
        assert!(!head.contains("strict-transport-security"));
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    ] {
        let answer = proxy.ask(request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    let answer = proxy.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert_eq!(backend.seen(), Vec::<String>::new());
}

/// Says this and then asks; the answer.
fn say_first(proxy: &Proxy, first: &[u8], request: &str) -> String {
    let mut visitor = proxy.visit();
    visitor.say([first, request.as_bytes()].concat());
    visitor.all()
}

#[test]
fn a_balancer_says_whom_it_speaks_for() {
    let backend = Backend::says(OK);
    let proxy = Proxy::to(&backend);
    set(&proxy, |settings| settings.proxy_protocol = true);
    let v2 = |command: u8, block: &[u8]| {
        let start = b"\r\n\r\n\0\r\nQUIT\n";
        [&start[..], &[command, 0x11, 0, u8::try_from(block.len()).unwrap()], block].concat()
    };
    let last = "GET /user/a/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n";
    let block = [192, 0, 2, 7, 127, 0, 0, 1, 1, 1, 1, 1];
    // A stranger is not believed what he says of others; the balancer itself is.
    for (first, from) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 999 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 999 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "9.9.9.9,127.0.0.1"),
        (v2(0x21, &block), "192.0.2.7"),
        (v2(0x21, &[&block[..], &[4, 0, 1, 1]].concat()), "192.0.2.7"),
        (v2(0x20, &block), "9.9.9.9,127.0.0.1"),
    ] {
        let answer = say_first(&proxy, &first, last);
        assert!(answer.ends_with("ok"), "{}: {answer}", first.escape_ascii());
        let head = backend.heads.lock().unwrap().pop().unwrap().to_lowercase();
        assert!(head.contains(&format!("\r\nx-forwarded-for: {from}\r\n")), "{from}: {head}");
    }
    // No header, a wrong one, two, half of one.
    for first in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7 127.0.0.1 999\r\n",
        b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n",
        &v2(0x11, &block),
    ] {
        let answer = say_first(&proxy, first, last);
        assert!(!answer.contains("ok"), "{}: {answer}", first.escape_ascii());
    }
    let mut half = proxy.visit();
    half.say("PROXY TCP4 192");
    assert_eq!(half.all(), "");
    assert_eq!(backend.seen(), Vec::<String>::new());
    // TLS comes behind it; and what counts by address counts by that one.
    show(&proxy, &[(EC, KEY)], tls::Offer::default());
    set(&proxy, |settings| settings.most_connections = 1);
    let client = trusting(EC, &[&TLS13]).into();
    let named = |name: &str| format!("PROXY TCP4 {name} 127.0.0.1 999 80\r\n").into_bytes();
    let _one = visit(proxy.address, &named("192.0.2.7"), "localhost", &client).unwrap();
    assert!(visit(proxy.address, &named("192.0.2.7"), "localhost", &client).is_err());
    visit(proxy.address, &named("192.0.2.8"), "localhost", &client).unwrap();
    // Nobody else may speak so.
    set(&proxy, |settings| settings.trusts_loopback = false);
    assert!(visit(proxy.address, &named("192.0.2.9"), "localhost", &client).is_err());
    let mut stranger = Visitor::new(TcpStream::connect(proxy.address).unwrap());
    assert_eq!(stranger.all(), "");
}
