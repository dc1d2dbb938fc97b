//! The port `RouteSink`: what is set is listed, asking twice is no harm, and nobody waits for one that is gone.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jovis::{
    channel::Channel,
    config::{
        Config,
        slice::{ProxySlice, ToWire as _},
    },
    ipc::{
        Envelope, Hello, VERSION, frame,
        proxy::{HubToProxy, ProxyToHub},
        root::{Given, RootToProxy},
    },
    link::proxy::ProxyLink,
    os::fd,
};
use jovis_actors::{
    domain::{Route, RouteSpec, ServerKey, ServerName, UserId},
    ports::{RouteSink, SinkError},
    routes,
    spawner::Facts,
    supervise::named,
    testing::{MemoryJournal, MemoryRoutes},
};

use crate::{root::role, support::scale::promise};

/// A sink may take so long over one call, and no longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A table somewhere, and a way to lose it.
trait World {
    /// The sink under test.
    fn sink(&self) -> &dyn RouteSink;
    /// From now on the other side is gone, or does not answer.
    fn cut(&mut self);
}

fn route(n: u64, port: u16) -> Route {
    Route {
        spec: RouteSpec::new(&format!("/user/person{n}")),
        target: format!("http://127.0.0.1:{port}"),
        server: n
            .is_multiple_of(2)
            .then(|| ServerKey { user: UserId(n), name: ServerName::default_server() }),
    }
}

async fn table(sink: &dyn RouteSink) -> BTreeMap<RouteSpec, Route> {
    let listed = sink.list().await.unwrap();
    let count = listed.len();
    let table: BTreeMap<_, _> = listed.into_iter().map(|it| (it.spec.clone(), it)).collect();
    assert_eq!(table.len(), count, "a route is listed twice");
    table
}

fn wanted(routes: &[Route]) -> BTreeMap<RouteSpec, Route> {
    routes.iter().map(|it| (it.spec.clone(), it.clone())).collect()
}

/// Runs the suite on a fresh world.
async fn contract(mut world: impl World) {
    let sink = world.sink();
    assert!(!sink.name().is_empty());
    assert_eq!(table(sink).await, BTreeMap::new(), "it begins empty");

    let (one, two) = (route(1, 1001), route(2, 1002));
    sink.set(vec![one.clone(), two.clone()]).await.unwrap();
    assert_eq!(table(sink).await, wanted(&[one.clone(), two.clone()]));
    sink.set(vec![two.clone(), one.clone()]).await.unwrap();
    assert_eq!(table(sink).await, wanted(&[one.clone(), two.clone()]), "what is there is set");

    let (moved, other) = (route(1, 2001), Route { server: None, ..route(2, 1002) });
    sink.set(vec![moved.clone(), other.clone()]).await.unwrap();
    assert_eq!(table(sink).await, wanted(&[moved.clone(), other.clone()]), "replaced");
    sink.set(Vec::new()).await.unwrap();
    sink.remove(Vec::new()).await.unwrap();
    assert_eq!(table(sink).await, wanted(&[moved.clone(), other.clone()]), "nothing to do");

    sink.remove(vec![moved.spec.clone()]).await.unwrap();
    sink.remove(vec![moved.spec.clone(), RouteSpec::new("/never")]).await.unwrap();
    assert_eq!(table(sink).await, wanted(std::slice::from_ref(&other)), "what is gone is removed");
    for _ in 0..2 {
        sink.synced().await.unwrap();
    }
    sink.remove(vec![other.spec]).await.unwrap();

    unusual(sink).await;
    thousands(sink).await;

    world.cut();
    gone(world.sink()).await;
}

/// Prefixes as long and as odd as names allow, as many as one message may be made to hold.
async fn unusual(sink: &dyn RouteSink) {
    let odd =
        ["/", "/user/ünal ☃", "/user/a b%20c", "/user/alice@example.org/lab", "/user/\"\\'<>"];
    let mut routes: Vec<Route> =
        odd.iter().map(|spec| Route { spec: RouteSpec::new(spec), ..route(2, 1) }).collect();
    routes.extend((0..100).map(|n| {
        let spec = RouteSpec::new(&format!("/a/long/prefix/user/{n}{}/lab", "\"".repeat(1_000)));
        Route { spec, ..route(n, 1) }
    }));
    sink.set(routes.clone()).await.unwrap();
    assert_eq!(table(sink).await, wanted(&routes));
    sink.remove(routes.into_iter().map(|it| it.spec).collect()).await.unwrap();
    assert_eq!(table(sink).await, BTreeMap::new());
}

async fn thousands(sink: &dyn RouteSink) {
    let mut routes: Vec<_> = (0..5_000).map(|n| route(n, 3_000)).collect();
    sink.set(routes.clone()).await.unwrap();
    assert_eq!(table(sink).await, wanted(&routes));
    let rest = routes.split_off(4_000);
    sink.remove(routes.into_iter().map(|it| it.spec).collect()).await.unwrap();
    assert_eq!(table(sink).await, wanted(&rest));
}

/// Every call fails, and in time; none of them waits for another.
async fn gone(sink: &dyn RouteSink) {
    async fn fails<T: std::fmt::Debug>(call: impl Future<Output = Result<T, SinkError>>) {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(DEADLINE, call).await.expect("it ends in time");
        let error = outcome.expect_err("nobody is there to do it");
        assert!(!error.doing.is_empty() && !error.error.is_empty(), "{error:?}");
        assert!(begun.elapsed() < DEADLINE);
    }
    let many = (0..200).map(|n| route(n, 1)).collect();
    let specs = (0..200).map(|n| route(n, 1).spec).collect();
    tokio::join!(
        fails(sink.list()),
        fails(sink.set(many)),
        fails(sink.remove(specs)),
        fails(sink.synced()),
    );
}

struct Memory(MemoryRoutes);

impl World for Memory {
    fn sink(&self) -> &dyn RouteSink {
        &self.0
    }
    fn cut(&mut self) {
        self.0.set_failing(true);
    }
}

/// A proxy in this process that keeps a table, until it is silenced or ended.
struct Peer {
    link: Arc<ProxyLink>,
    task: tokio::task::JoinHandle<()>,
    silent: tokio::sync::watch::Sender<bool>,
    falls_silent: bool,
}

impl Peer {
    async fn new(falls_silent: bool) -> Self {
        let (ours, theirs) = fd::pair().unwrap();
        let silent = tokio::sync::watch::Sender::new(false);
        let task = tokio::spawn(keep(Channel::new(theirs).unwrap(), silent.subscribe()));
        let link = ProxyLink::connect("proxy".to_owned(), ours, Box::new(|_, _| {})).await.unwrap();
        Self { link, task, silent, falls_silent }
    }
}

async fn keep(channel: Channel, silent: tokio::sync::watch::Receiver<bool>) {
    let mut table = BTreeMap::new();
    while let Ok((Envelope { id, message }, _)) = channel.recv::<Envelope<HubToProxy>>().await {
        if *silent.borrow() {
            continue;
        }
        let mut fds = Vec::new();
        let answer = match message {
            HubToProxy::Hello(_) => continue,
            HubToProxy::Set(routes) => {
                assert!(routes.len() <= 100, "too many in one message");
                table.extend(routes.into_iter().map(|it| (it.spec.clone(), it)));
                ProxyToHub::Done
            }
            HubToProxy::Remove(specs) => {
                specs.iter().for_each(|spec| drop(table.remove(spec)));
                ProxyToHub::Done
            }
            HubToProxy::List => {
                fds.push(frame::seal(&table.values().collect::<Vec<&Route>>()).unwrap());
                ProxyToHub::Routes
            }
            HubToProxy::Synced => ProxyToHub::Done,
        };
        let envelope = Envelope { id, message: answer };
        if channel.send(&envelope, &frame::borrow(&fds)).await.is_err() {
            return;
        }
    }
}

impl World for Peer {
    fn sink(&self) -> &dyn RouteSink {
        &*self.link
    }
    fn cut(&mut self) {
        if self.falls_silent {
            self.silent.send_replace(true);
        } else {
            self.task.abort();
        }
    }
}

/// The proxy itself, a process of its own.
struct Real {
    link: Arc<ProxyLink>,
    process: Child,
    _root: OwnedFd,
}

impl Real {
    async fn new() -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap()).await
    }

    async fn at(listener: TcpListener) -> Self {
        let (root, theirs) = fd::pair().unwrap();
        let process = role("@proxy", theirs);
        let slice = ProxySlice::new(&Config::default(), None, "/nonexistent/hub".to_owned());
        let given: [OwnedFd; 2] = [fd::sealed(&slice.to_wire()).unwrap(), listener.into()];
        let (ours, peer) = fd::pair().unwrap();
        let hello = Hello { version: VERSION, role: "root".into(), build: "test".into() };
        let greeting = RootToProxy::Hello { hello, given: vec![Given::Config, Given::Public] };
        let say = |message, fds: &[OwnedFd]| {
            let envelope = Envelope { id: None, message };
            frame::send(root.as_fd(), &envelope, &frame::borrow(fds)).unwrap();
        };
        say(greeting, &given);
        say(RootToProxy::Peer, &[peer]);
        let link = ProxyLink::connect("proxy".to_owned(), ours, Box::new(|_, _| {})).await.unwrap();
        Self { link, process, _root: root }
    }
}

impl World for Real {
    fn sink(&self) -> &dyn RouteSink {
        &*self.link
    }
    fn cut(&mut self) {
        self.process.kill().unwrap();
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn routes_in_memory_keep_the_contract() {
    contract(Memory(MemoryRoutes::default())).await;
}

#[tokio::test]
async fn the_link_keeps_the_contract_until_its_peer_is_gone() {
    contract(Peer::new(false).await).await;
}

#[tokio::test]
async fn the_link_keeps_the_contract_until_its_peer_is_silent() {
    contract(Peer::new(true).await).await;
}

#[tokio::test]
async fn the_proxy_keeps_the_contract() {
    contract(Real::new().await).await;
}

/// A new proxy, five thousand servers, and people who are there before it: the actor that keeps routes fills the table
/// over the real link of a real process.
#[test]
fn row_03_five_thousand_routes_are_served_within_a_second_of_a_new_proxy() {
    const ROUTES: usize = 5_000;
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = backend.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in backend.incoming().flatten() {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    let route = |n: usize| Route {
        spec: RouteSpec::new(&format!("/user/person{n}")),
        target: format!("http://{target}"),
        server: None,
    };
    let fixed: Vec<Route> = (0..ROUTES).map(route).collect();
    actix::System::new().block_on(async {
        let (publisher, name) = named("routes");
        let journal = Box::new(MemoryJournal::default());
        let (store, _writer) = jovis_actors::store::open(journal, Default::default()).unwrap();
        let facts = Facts { base_url: "/".to_owned(), ..Facts::default() };
        let fixed = Arc::new(ArcSwap::from_pointee(fixed));
        let settings = routes::Settings { fixed, ..routes::Settings::default() };
        let entropy = Arc::new(jovis_actors::testing::SeededEntropy::new(1));
        let sinks = routes::actor::Sinks::default();
        let actor = routes::Actor::new(store, Arc::new(facts), entropy, settings, sinks);
        publisher.publish(Some(actix::Actor::start(actor)));
        let client = routes::Client::new(name, DEADLINE);
        client.recovered().await.unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let public = listener.local_addr().unwrap();
        let begun = Instant::now();
        let early: Vec<_> = (0..50)
            .map(|n| {
                tokio::task::spawn_blocking(move || {
                    let mut stream = std::net::TcpStream::connect(public).unwrap();
                    ask(&mut stream, n * (ROUTES / 50))
                })
            })
            .collect();
        let proxy = Real::at(listener).await;
        client.add_sink(proxy.link.clone()).await.unwrap();
        for asked in early {
            assert_eq!(asked.await.unwrap(), 200, "nobody is served before the table is complete");
        }
        let took = begun.elapsed();
        println!(
            "row 3: {ROUTES} routes: the first people served {took:.1?} after the proxy was started"
        );
        let all = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(public).unwrap();
            (0..ROUTES).filter(|n| ask(&mut stream, *n) == 200).count()
        });
        assert_eq!(all.await.unwrap(), ROUTES);
        assert!(took <= promise(Duration::from_secs(1)), "{took:?}");
    });
}

/// A server for everybody.
fn answer_all(mut stream: std::net::TcpStream) {
    while head(&mut stream).is_some() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if std::io::Write::write_all(&mut stream, answer).is_err() {
            return;
        }
    }
}

/// The status of a request to this person's server, over a connection that is kept.
fn ask(stream: &mut std::net::TcpStream, person: usize) -> u16 {
    use std::io::{Read as _, Write as _};
    let request = format!("GET /user/person{person}/api HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let head = head(stream).expect("an answer");
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.expect("its length")]).unwrap();
    head[9..12].parse().expect("a status")
}

fn head(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") {
        if std::io::Read::read(stream, &mut byte).ok()? == 0 {
            return None;
        }
        got.push(byte[0]);
    }
    String::from_utf8(got).ok()
}

#[tokio::test]
async fn a_proxy_of_another_version_is_let_go() {
    let (ours, theirs) = fd::pair().unwrap();
    let link = ProxyLink::connect("old".to_owned(), ours, Box::new(|_, _| {})).await.unwrap();
    let channel = Channel::new(theirs).unwrap();
    let hello = |version| {
        ProxyToHub::Hello(Hello { version, role: "proxy".to_owned(), build: "old".to_owned() })
    };
    channel.send(&Envelope { id: None, message: hello(VERSION) }, &[]).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_millis(200), link.ended());
    assert!(ended.await.is_err(), "one of our own stays");
    channel.send(&Envelope { id: None, message: hello(VERSION + 1) }, &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), link.ended()).await.expect("it is let go");
}
