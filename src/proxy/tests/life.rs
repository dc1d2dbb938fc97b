//! Root's and the hub's links: beginning, reload, draining, end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jovis_actors::domain::{Route, RouteSpec, Seconds};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Serialize, de::DeserializeOwned};

use super::support::{Backend, Visitor, quick, wait_until};
use crate::{
    config::{
        sections::{self, Log},
        slice::{ProxySlice, ToWire},
    },
    ipc::{
        Envelope, Hello, VERSION,
        frame::{self, FrameError},
        proxy::{HubToProxy, ProxyToHub},
        root::{Given, ProxyToRoot, RootToProxy},
    },
    os::fd,
    proxy::run::{RunError, run},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /user/a/x HTTP/1.1\r\nHost: a\r\n\r\n";
const EC: &[u8] = include_bytes!("tls/ec-cert.pem");
const RSA: &[u8] = include_bytes!("tls/rsa-cert.pem");

/// Our end of a link.
struct Link(OwnedFd);

impl Link {
    fn say(&self, id: Option<u64>, message: impl Serialize, fds: &[BorrowedFd<'_>]) {
        frame::send(self.0.as_fd(), &Envelope { id, message }, fds).unwrap();
    }

    fn hear<M: DeserializeOwned>(&self) -> (Envelope<M>, Vec<OwnedFd>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match frame::recv(self.0.as_fd()) {
                Err(FrameError::WouldBlock) => {
                    assert!(Instant::now() < deadline, "nothing heard");
                    thread::sleep(Duration::from_millis(2));
                }
                heard => return heard.unwrap(),
            }
        }
    }

    /// The answer to this id; events before it are skipped.
    fn answer<M: DeserializeOwned>(&self, id: u64) -> (M, Vec<OwnedFd>) {
        loop {
            let (envelope, fds) = self.hear::<M>();
            if envelope.id == Some(id) {
                return (envelope.message, fds);
            }
        }
    }
}

fn hello(role: &str) -> Hello {
    Hello { version: VERSION, role: role.to_owned(), build: "test".to_owned() }
}

fn slice(proxy: sections::Proxy, certificate: &[u8], key: &[u8]) -> ProxySlice {
    let json = serde_json::json!({
        "proxy": proxy,
        "log": Log::default(),
        "base_url": "/",
        "hub_socket": "/nonexistent/hub",
        "certificate": certificate,
        "key": key,
    });
    serde_json::from_value(json).unwrap()
}

/// A role under a root of ours.
struct Role {
    root: Link,
    address: SocketAddr,
    thread: JoinHandle<Result<(), RunError>>,
}

impl Role {
    fn start(slice: &ProxySlice) -> Self {
        let (ours, theirs) = fd::pair().unwrap();
        let thread = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(run(theirs, |_| None))
        });
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listeners[1].local_addr().unwrap();
        let config = fd::sealed(&slice.to_wire()).unwrap();
        let given = vec![Given::Public, Given::Config, Given::Public];
        let message = RootToProxy::Hello { hello: hello("root"), given };
        let root = Link(ours);
        root.say(None, message, &[listeners[0].as_fd(), config.as_fd(), listeners[1].as_fd()]);
        let greeting = root.hear::<ProxyToRoot>().0.message;
        assert!(matches!(greeting, ProxyToRoot::Hello(hello) if hello.role == "proxy"));
        Self { root, address, thread }
    }

    /// Introduces a hub.
    fn meet(&self) -> Link {
        let (ours, theirs) = fd::pair().unwrap();
        self.root.say(None, RootToProxy::Peer, &[theirs.as_fd()]);
        drop(theirs);
        let hub = Link(ours);
        assert!(matches!(hub.hear::<ProxyToHub>().0.message, ProxyToHub::Hello(_)));
        hub.say(None, HubToProxy::Hello(hello("hub")), &[]);
        hub
    }

    fn is_ready(&self) {
        assert!(matches!(self.root.hear().0.message, ProxyToRoot::Ready));
    }

    fn end(self) -> Result<(), RunError> {
        self.root.say(None, RootToProxy::Stop { hard: true }, &[]);
        self.thread.join().unwrap()
    }

    fn visit(&self) -> Visitor {
        Visitor::new(TcpStream::connect(self.address).unwrap())
    }
}

fn route(spec: &str, target: SocketAddr) -> Route {
    Route { spec: RouteSpec::new(spec), target: format!("http://{target}"), server: None }
}

#[test]
fn it_opens_when_the_routes_are_complete_and_keeps_them_without_a_hub() {
    let backend = Backend::says(OK);
    let role = Role::start(&slice(quick(), b"", b""));
    let hub = role.meet();
    let routes = vec![route("/user/a", backend.address), route("/user/b", backend.address)];
    hub.say(Some(1), HubToProxy::Set(routes.clone()), &[]);
    assert_eq!(hub.answer::<ProxyToHub>(1).0, ProxyToHub::Done);
    hub.say(Some(2), HubToProxy::Remove(vec![RouteSpec::new("/user/b")]), &[]);
    assert_eq!(hub.answer::<ProxyToHub>(2).0, ProxyToHub::Done);
    hub.say(Some(3), HubToProxy::List, &[]);
    let (answer, mut fds) = hub.answer::<ProxyToHub>(3);
    assert_eq!(answer, ProxyToHub::Routes);
    assert_eq!(frame::unseal::<Vec<Route>>(fds.remove(0)).unwrap(), routes[..1]);
    let mut early = role.visit();
    early.say(GET);
    role.root.say(Some(9), RootToProxy::Ping, &[]);
    assert!(matches!(role.root.answer::<ProxyToRoot>(9).0, ProxyToRoot::Pong));
    assert_eq!(backend.seen().len(), 0, "nobody is let in yet");
    hub.say(Some(4), HubToProxy::Synced, &[]);
    assert_eq!(hub.answer::<ProxyToHub>(4).0, ProxyToHub::Done);
    role.is_ready();
    early.until("ok");
    // The hub goes; another comes, and hears of the traffic.
    drop(hub);
    early.say(GET);
    early.until("ok");
    let hub = role.meet();
    loop {
        if let ProxyToHub::Activity(seen) = hub.hear().0.message {
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].spec, RouteSpec::new("/user/a"));
            break;
        }
    }
    role.end().unwrap();
}

#[test]
fn it_leaves_with_root() {
    let role = Role::start(&slice(quick(), b"", b""));
    let Role { root, thread, .. } = role;
    drop(root);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_root_of_another_version_is_left() {
    let (ours, theirs) = fd::pair().unwrap();
    let old = Hello { version: VERSION + 1, ..hello("root") };
    let message = RootToProxy::Hello { hello: old, given: Vec::new() };
    Link(ours).say(None, message, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(runtime.block_on(run(theirs, |_| None)), Err(RunError::Link(_))));
}

/// A role with a hub and the route `/user/a`.
fn open(slice: &ProxySlice, backend: &Backend) -> (Role, Link) {
    let role = Role::start(slice);
    let hub = role.meet();
    hub.say(Some(1), HubToProxy::Set(vec![route("/user/a", backend.address)]), &[]);
    hub.say(Some(2), HubToProxy::Synced, &[]);
    role.is_ready();
    (role, hub)
}

#[test]
fn draining_finishes_what_is_in_hand_and_closes_the_rest() {
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            if head.contains("/slow") {
                wait_until("the second is seen", || this.seen().iter().any(|head| head == "go"));
            }
            visitor.say(OK);
        }
    });
    let (role, _hub) = open(&slice(quick(), b"", b""), &backend);
    let (mut slow, mut kept) = (role.visit(), role.visit());
    kept.say(GET);
    kept.until("ok");
    slow.say("GET /user/a/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is in hand", || backend.seen().len() == 2);
    role.root.say(None, RootToProxy::Stop { hard: false }, &[]);
    assert_eq!(kept.all(), "");
    assert!(!role.thread.is_finished());
    backend.heads.lock().unwrap().push("go".to_owned());
    let answer = slow.all();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    role.thread.join().unwrap().unwrap();
}

#[test]
fn draining_has_an_end() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.all();
    });
    let section = sections::Proxy { drain: Seconds::try_from(0.2).unwrap(), ..quick() };
    let (role, _hub) = open(&slice(section, b"", b""), &backend);
    let mut stuck = role.visit();
    stuck.say(GET);
    wait_until("it is in hand", || backend.seen().len() == 1);
    role.root.say(None, RootToProxy::Stop { hard: false }, &[]);
    role.thread.join().unwrap().unwrap();
    assert_eq!(stuck.all(), "");
}

/// A connection by TLS, trusting this certificate only.
fn tls(
    address: SocketAddr,
    certificate: &[u8],
) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(StreamOwned::new(connection, tcp))
}

/// Sends this and reads up to that.
fn exchange(
    stream: &mut (impl Read + Write),
    request: &str,
    end: &str,
) -> Result<String, std::io::Error> {
    stream.write_all(request.as_bytes())?;
    let mut got = String::new();
    while !got.ends_with(end) {
        let mut piece = [0; 1000];
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            size => got.push_str(std::str::from_utf8(&piece[..size]).unwrap()),
        }
    }
    Ok(got)
}

/// A request by TLS, trusting this certificate only.
fn ask_by_tls(address: SocketAddr, certificate: &[u8]) -> Result<String, std::io::Error> {
    exchange(&mut tls(address, certificate)?, GET, "ok")
}

#[test]
fn a_websocket_runs_over_tls_too() {
    let backend = Backend::new(|visitor, this| {
        this.head(visitor);
        visitor.say(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let mut piece = [0; 100];
        while let Ok(size @ 1..) = visitor.0.read(&mut piece) {
            visitor.say(&piece[..size]);
        }
    });
    let (role, _hub) = open(&slice(quick(), EC, include_bytes!("tls/ec-pkcs8.pem")), &backend);
    let mut visitor = tls(role.address, EC).unwrap();
    let request =
        "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(exchange(&mut visitor, request, "\r\n\r\n").unwrap().starts_with("HTTP/1.1 101 "));
    for text in ["one", "two"] {
        assert_eq!(exchange(&mut visitor, text, text).unwrap(), text);
    }
    // Tunnels end with the proxy, when it is told to go at once.
    role.end().unwrap();
    assert!(exchange(&mut visitor, "three", "three").is_err());
}

#[test]
fn certificates_are_served_and_replaced_without_a_restart() {
    let backend = Backend::says(OK);
    let pkcs8 = include_bytes!("tls/ec-pkcs8.pem");
    let (role, _hub) = open(&slice(quick(), EC, pkcs8), &backend);
    ask_by_tls(role.address, EC).unwrap();
    assert!(backend.seen()[0].to_lowercase().contains("x-forwarded-proto: https\r"));
    assert!(ask_by_tls(role.address, RSA).is_err());
    let both = [EC, include_bytes!("tls/ec-sec1.pem")].concat();
    type Change<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a str);
    let changes: [Change<'_>; 5] = [
        (RSA, include_bytes!("tls/rsa-pkcs1.pem"), RSA, ""),
        (b"garbage", b"", RSA, "certificate: "),
        (EC, include_bytes!("tls/rsa-pkcs1.pem"), RSA, "certificate: "),
        (&both, b"", EC, ""),
        (EC, include_bytes!("tls/ec-sec1.pem"), EC, ""),
    ];
    for (id, (certificate, key, trusted, expected)) in (10..).zip(changes) {
        let config = fd::sealed(&slice(quick(), certificate, key).to_wire()).unwrap();
        role.root.say(
            Some(id),
            RootToProxy::Reload { serial: id + 7, acme: false },
            &[config.as_fd()],
        );
        let ProxyToRoot::Reloaded(outcome) = role.root.answer(id).0 else {
            panic!("another answer");
        };
        assert_eq!(outcome.serial, id + 7);
        assert_eq!(outcome.kept.is_empty(), expected.is_empty());
        assert!(outcome.kept.iter().all(|kept| kept.starts_with(expected)), "{outcome:?}");
        ask_by_tls(role.address, trusted).unwrap();
    }
    // Who doesn't speak TLS gets no answer.
    let mut plain = role.visit();
    plain.say(GET);
    assert!(!plain.all().contains("HTTP/1.1"));
    role.end().unwrap();
}

#[test]
fn an_unused_connection_does_not_hold_the_drain_up() {
    let backend = Backend::says(OK);
    let (role, _hub) = open(&slice(sections::Proxy::default(), b"", b""), &backend);
    let (mut unused, mut kept) = (role.visit(), role.visit());
    kept.say(GET);
    kept.until("ok");
    let began = Instant::now();
    role.root.say(None, RootToProxy::Stop { hard: false }, &[]);
    assert_eq!((unused.all(), kept.all()), (String::new(), String::new()));
    role.thread.join().unwrap().unwrap();
    let limit = sections::Proxy::default().drain.duration();
    assert!(began.elapsed() < limit, "it was not the limit that ended it");
}

#[test]
fn by_tls_every_answer_says_that_only_tls_will_do() {
    const OWN: &str =
        "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=5\r\nContent-Length: 2\r\n\r\nok";
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            visitor.say(if head.contains("/own") { OWN } else { OK });
        }
    });
    let (role, _hub) = open(&slice(quick(), EC, include_bytes!("tls/ec-pkcs8.pem")), &backend);
    let mut visitor = tls(role.address, EC).unwrap();
    let ours = "\r\nstrict-transport-security: max-age=31536000\r\n";
    let own = "\r\nstrict-transport-security: max-age=5\r\n";
    let table = [
        ("/user/a/x", "ok", ours),
        ("/user/a/own", "ok", own),
        ("/_chp_healthz", "\"OK\"}", ours),
        ("/user/a/%00", "}", ours),
    ];
    for (path, end, expected) in table {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = exchange(&mut visitor, &request, end).unwrap().to_lowercase();
        assert_eq!(answer.matches("strict-transport-security").count(), 1, "{path}: {answer}");
        assert!(answer.contains(expected), "{path}: {answer}");
    }
    role.end().unwrap();
    let (role, _hub) = open(&slice(quick(), b"", b""), &backend);
    let mut visitor = role.visit();
    visitor.say(GET);
    assert!(!visitor.until("ok").to_lowercase().contains("strict-transport-security"));
    role.end().unwrap();
}

#[test]
fn who_retires_lets_nobody_in_and_keeps_tunnels_and_its_links() {
    const UPGRADE: &str =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let backend = Backend::new(|visitor, this| {
        while let Some(head) = this.head(visitor) {
            if head.contains("/ws") {
                visitor.say(UPGRADE);
                while visitor.until("?").ends_with('?') {
                    visitor.say("!");
                }
            }
            visitor.say(OK);
        }
    });
    let (role, hub) = open(&slice(quick(), b"", b""), &backend);
    let (mut kept, mut tunnel) = (role.visit(), role.visit());
    kept.say(GET);
    assert!(!kept.until("ok").to_lowercase().contains("connection: close"));
    tunnel.say(
        "GET /user/a/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    tunnel.until("\r\n\r\n");
    role.root.say(None, RootToProxy::Retire, &[]);
    role.root.say(Some(1), RootToProxy::Ping, &[]);
    assert_eq!(role.root.answer::<ProxyToRoot>(1).0, ProxyToRoot::Pong);
    // A request that was on its way is answered, and is the last one of its connection.
    kept.say(GET);
    assert!(kept.all().to_lowercase().contains("connection: close"));
    // Whoever comes now waits in the queue of the socket, for the next proxy.
    let mut late = role.visit();
    late.say(GET);
    late.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let unheard = late.0.read(&mut [0]).unwrap_err();
    assert_eq!(unheard.kind(), std::io::ErrorKind::WouldBlock);
    // A hub that comes meanwhile hears of the tunnel's traffic.
    drop(hub);
    let hub = role.meet();
    tunnel.say("a?");
    assert_eq!(tunnel.until("!"), "!");
    let seen = wait_for_news(&hub);
    assert_eq!(seen, ["/user/a/"]);
    assert!(!role.thread.is_finished());
    drop(tunnel);
    role.thread.join().unwrap().unwrap();
}

/// The routes that traffic is told of next.
fn wait_for_news(hub: &Link) -> Vec<String> {
    loop {
        if let ProxyToHub::Activity(seen) = hub.hear().0.message {
            return seen.into_iter().map(|seen| seen.spec.as_str().to_owned()).collect();
        }
    }
}
