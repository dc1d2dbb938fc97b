//! A busy day in little: WebSockets of which half are abandoned, starts and stops, requests all the time. Nothing may
//! be left behind, nothing may grow. `SOAK_SECONDS` makes it longer (`make soak-proxy`).

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use jovis_actors::domain::{Route, RouteSpec, Seconds};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    gone::{descriptors, resident},
    support::{Proxy, quick},
};
use crate::config::sections;

/// Users with a server, WebSockets at any time, visitors who ask, and how often each asks in a second.
const USERS: usize = 20;
const SOCKETS: usize = 500;
const VISITORS: usize = 10;
const RATE: u64 = 50;
/// Longest time a connection may outlive its route.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_busy_time_leaves_nothing_behind() {
    super::gone::alone("soak::for_a_while");
}

/// Counts while it is there.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Reads a head; what is behind it is not expected.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    buffer.clear();
    let mut piece = [0; 1024];
    while !buffer.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(size @ 1..) => buffer.extend_from_slice(&piece[..size]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(buffer).into_owned())
}

/// A user's server: answers, and echoes in tunnels.
async fn server(listener: TcpListener, open: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let counted = Counted::new(&open);
        tokio::spawn(async move {
            let _counted = counted;
            let mut buffer = Vec::new();
            while let Some(head) = head(&mut stream, &mut buffer).await {
                let answer = if head.contains("/ws ") {
                    "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                let mut piece = [0; 1024];
                while head.contains("/ws ") {
                    let Ok(size @ 1..) = stream.read(&mut piece).await else { return };
                    if stream.write_all(&piece[..size]).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// What all tasks share.
struct Day {
    proxy: SocketAddr,
    /// Ends of connections that visitors hold.
    held: Arc<AtomicUsize>,
    served: AtomicU64,
    echoed: AtomicU64,
    seed: Mutex<u64>,
}

impl Day {
    fn random(&self, below: usize) -> usize {
        let mut seed = self.seed.lock().unwrap();
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        usize::try_from(*seed >> 16).unwrap() % below
    }

    /// A WebSocket's life; half of them end without a word, or go silent first.
    async fn socket(self: Arc<Self>) {
        loop {
            let _held = Counted::new(&self.held);
            let Ok(mut stream) = TcpStream::connect(self.proxy).await else { return };
            let asked = format!(
                "GET /user/{}/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                self.random(USERS)
            );
            let mut buffer = Vec::new();
            let switched = async {
                stream.write_all(asked.as_bytes()).await.ok()?;
                head(&mut stream, &mut buffer).await.filter(|it| it.starts_with("HTTP/1.1 101"))
            };
            if !matches!(timeout(Duration::from_secs(10), switched).await, Ok(Some(_))) {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let abandons = self.random(2) == 0;
            for _ in 0..self.random(8) + 1 {
                let message = vec![b'x'; self.random(1000) + 1];
                let mut back = vec![0; message.len()];
                let exchange = async {
                    stream.write_all(&message).await?;
                    stream.read_exact(&mut back).await
                };
                match timeout(Duration::from_secs(10), exchange).await {
                    Ok(Ok(_)) => self.echoed.fetch_add(1, SeqCst),
                    _ => break, // its server was stopped
                };
                sleep(Duration::from_millis(self.random(1500) as u64)).await;
            }
            if abandons {
                sleep(Duration::from_millis(self.random(3000) as u64)).await;
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// Somebody who asks and asks, and now and then goes in the middle.
    async fn visitor(self: Arc<Self>) {
        loop {
            let _held = Counted::new(&self.held);
            let Ok(mut stream) = TcpStream::connect(self.proxy).await else { return };
            let mut buffer = Vec::new();
            for _ in 0..self.random(200) {
                let asked =
                    format!("GET /user/{}/x HTTP/1.1\r\nHost: a\r\n\r\n", self.random(USERS));
                if stream.write_all(asked.as_bytes()).await.is_err() || self.random(100) == 0 {
                    break;
                }
                let answer = timeout(Duration::from_secs(10), head(&mut stream, &mut buffer)).await;
                let Ok(Some(answer)) = answer else { break };
                if !answer.starts_with("HTTP/1.1 200") {
                    break; // not running just now
                }
                self.served.fetch_add(1, SeqCst);
                sleep(Duration::from_micros(1_000_000 / RATE)).await;
            }
        }
    }
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
fn for_a_while() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(20, |it| it.parse::<u64>().unwrap());
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(day(Duration::from_secs(seconds)));
}

async fn day(length: Duration) {
    let section = sections::Proxy { hub_patience: Seconds::try_from(0.2).unwrap(), ..quick() };
    let proxy = Proxy::with_room(&section, Path::new("/nonexistent/hub"), 10_000);
    let day = Arc::new(Day {
        proxy: proxy.address,
        held: Arc::default(),
        served: AtomicU64::new(0),
        echoed: AtomicU64::new(0),
        seed: Mutex::new(4711),
    });
    let mut tasks = JoinSet::new();
    let mut servers = Vec::new();
    for i in 0..USERS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let route = Route {
            spec: RouteSpec::new(&format!("/user/{i}")),
            target: format!("http://{}", listener.local_addr().unwrap()),
            server: None,
        };
        let open = Arc::<AtomicUsize>::default();
        tasks.spawn(server(listener, open.clone()));
        proxy.shared.routes.set(vec![route.clone()]);
        servers.push((route, open));
    }
    for _ in 0..SOCKETS {
        tasks.spawn(day.clone().socket());
    }
    for _ in 0..VISITORS {
        tasks.spawn(day.clone().visitor());
    }
    let began = Instant::now();
    let (mut settled, mut most) = (0, 0);
    let mut stopped: Vec<(usize, Instant)> = Vec::new();
    let mut stops = 0;
    let open = || servers.iter().map(|(_, open)| open.load(SeqCst)).sum::<usize>();
    while began.elapsed() < length {
        sleep(Duration::from_millis(100)).await;
        // A server stops every second; it starts again when nothing of it is left.
        if began.elapsed().as_secs() > stops && stopped.len() < USERS / 4 {
            let which = day.random(USERS);
            if stopped.iter().all(|(it, _)| *it != which) {
                proxy.shared.routes.remove(&[servers[which].0.spec.clone()]);
                stopped.push((which, Instant::now()));
                stops += 1;
            }
        }
        stopped.retain(|(which, since)| {
            let (route, open) = &servers[*which];
            let left = open.load(SeqCst);
            assert!(left == 0 || since.elapsed() < LIMIT, "{left} connections outlive their route");
            if left == 0 {
                proxy.shared.routes.set(vec![route.clone()]);
            }
            left > 0
        });
        // All ends of all connections are in this process.
        let (held, open) = (day.held.load(SeqCst), open());
        let (there, allowed) = (descriptors(), 2 * (held + open) + 200);
        assert!(there <= allowed, "{there} descriptors with {held} visitors and {open} at servers");
        if began.elapsed() < length / 3 {
            settled = resident().max(settled);
        } else {
            most = resident().max(most);
        }
    }
    tasks.abort_all();
    for (route, _) in &servers {
        proxy.shared.routes.remove(std::slice::from_ref(&route.spec));
    }
    let end = Instant::now();
    while open() > 0 || proxy.shared.crowd.count() > 0 {
        assert!(end.elapsed() < LIMIT, "{} and {} are left", open(), proxy.shared.crowd.count());
        sleep(Duration::from_millis(20)).await;
    }
    let (served, echoed) = (day.served.load(SeqCst), day.echoed.load(SeqCst));
    println!("{served} served, {echoed} echoed, {stops} stops, {settled} bytes, later {most}");
    assert!(served > length.as_secs() * 50 && echoed > length.as_secs() * 20 && stops > 3);
    assert!(most <= settled + settled / 20, "{settled} bytes at first, {most} later");
}
