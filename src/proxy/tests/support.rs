//! A proxy with one worker, a backend that does as it is told, and a visitor who speaks bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use jovis_actors::domain::{Route, RouteSpec, Seconds};

use crate::{
    config::sections,
    proxy::{drain::Phase, settings::Settings, shared::Shared, workers::Workers},
};

/// A running proxy; gone when dropped.
pub(super) struct Proxy {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    workers: Option<Workers>,
}

/// Settings with short times.
pub(super) fn quick() -> sections::Proxy {
    sections::Proxy {
        hub_patience: Seconds::try_from(3.0).unwrap(),
        header_timeout: Seconds::try_from(0.3).unwrap(),
        keep_alive_timeout: Seconds::try_from(20.0).unwrap(),
        ..sections::Proxy::default()
    }
}

impl Proxy {
    pub(super) fn start(section: &sections::Proxy, hub_socket: &Path) -> Self {
        Self::with_room(section, hub_socket, 1000)
    }

    /// Serves so many connections at once.
    pub(super) fn with_room(section: &sections::Proxy, hub_socket: &Path, room: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(hub_socket.to_owned(), Settings::new(section), None);
        let mut workers = Workers::new(&shared, room);
        workers.arrange(vec![listener], 1).unwrap();
        shared.phase.send_replace(Phase::Open);
        Self { shared, address, workers: Some(workers) }
    }

    /// With a route `/user/a/` to a backend.
    pub(super) fn to(backend: &Backend) -> Self {
        let proxy = Self::start(&quick(), Path::new("/nonexistent/hub"));
        proxy.route("/user/a", backend.address);
        proxy
    }

    pub(super) fn route(&self, spec: &str, target: SocketAddr) {
        let target = format!("http://{target}");
        self.shared.routes.set(vec![Route { spec: RouteSpec::new(spec), target, server: None }]);
    }

    pub(super) fn visit(&self) -> Visitor {
        Visitor::new(TcpStream::connect(self.address).unwrap())
    }

    /// One request on a connection of its own; the whole of what comes back.
    pub(super) fn ask(&self, request: &str) -> String {
        let mut visitor = self.visit();
        visitor.say(request);
        visitor.all()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Gone);
        self.workers.take().unwrap().join();
    }
}

/// A connection that speaks bytes.
pub(super) struct Visitor(pub(super) TcpStream);

impl Visitor {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    pub(super) fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).unwrap();
    }

    /// Reads up to and with this text.
    pub(super) fn until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        let mut byte = [0];
        while !got.ends_with(end.as_bytes()) {
            match self.0.read(&mut byte) {
                Ok(1) => got.push(byte[0]),
                other => panic!("{other:?} after {}", got.escape_ascii()),
            }
        }
        String::from_utf8(got).unwrap()
    }

    /// Reads to the end; a reset is an end.
    pub(super) fn all(&mut self) -> String {
        let mut got = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => break,
                Ok(size) => got.extend_from_slice(&piece[..size]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error} after {}", got.escape_ascii()),
            }
        }
        String::from_utf8_lossy(&got).into_owned()
    }
}

/// What a backend does with a connection.
type Play = dyn Fn(&mut Visitor, &Backend) + Send + Sync;

/// Serves connections by a function; keeps the heads it has seen.
#[derive(Clone)]
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<Mutex<u32>>,
}

impl Backend {
    pub(super) fn new(play: impl Fn(&mut Visitor, &Self) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let backend = Self { address, heads: Arc::default(), connections: Arc::default() };
        let (this, play) = (backend.clone(), Arc::new(play) as Arc<Play>);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (this, play) = (this.clone(), play.clone());
                *this.connections.lock().unwrap() += 1;
                thread::spawn(move || play(&mut Visitor::new(stream.unwrap()), &this));
            }
        });
        backend
    }

    /// Answers every request with these bytes, connection kept.
    pub(super) fn says(answer: &'static str) -> Self {
        Self::new(move |visitor, this| {
            while this.head(visitor).is_some() {
                visitor.say(answer);
            }
        })
    }

    /// Reads a head. `None`: the connection has ended.
    pub(super) fn head(&self, visitor: &mut Visitor) -> Option<String> {
        let head = read_head(&mut visitor.0)?;
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads a head from anything. `None`: it ends before.
pub(super) fn read_head(from: &mut impl Read) -> Option<String> {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") {
        match from.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(got).unwrap())
}

/// Waits until it is so.
pub(super) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
