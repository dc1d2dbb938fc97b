//! People at work while something breaks: sockets that echo, requests, downloads, knocks at the door. One thread, and
//! little of it, so that two cores are left for what is tested.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{interval, sleep, timeout},
};

use super::Site;

/// A request that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// An echo that has not come by then will not.
const ECHO: Duration = Duration::from_secs(10);
/// Kinds of failures told apart; what is beyond counts as "other".
const KINDS: usize = 30;

/// Who does how much.
#[derive(Debug, Clone, Default)]
pub struct Mix {
    /// Paths of user servers, as `/user/anna/`. Sockets, requests and downloads go round them.
    pub servers: Vec<String>,
    /// Sockets, each with an echo a second.
    pub sockets: usize,
    /// Open a socket that was cut again.
    pub reopen: bool,
    /// Requests to user servers a second.
    pub requests: u32,
    /// Requests to the hub a second.
    pub hub: u32,
    /// The hub's page they ask for; nothing: `/hub/api`.
    pub page: Option<String>,
    /// Their `Authorization`.
    pub token: Option<String>,
    /// Downloads that go on all the time.
    pub downloads: usize,
    /// Connections a second that are opened and closed.
    pub knocks: u32,
}

/// What became of many of a kind.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many went well.
    pub fine: u64,
    /// How many did not, by what was seen: a status, "refused", "broken: …", "no answer".
    pub failed: BTreeMap<String, u64>,
    /// When the first failures were, counted from the start of the load.
    pub when: Vec<(Duration, String)>,
    took: Vec<Duration>,
}

impl Tally {
    fn note(&mut self, began: Instant, result: Result<Duration, String>) {
        match result {
            Ok(took) => {
                self.fine += 1;
                self.took.push(took);
            }
            Err(why) => {
                if self.when.len() < KINDS {
                    self.when.push((began.elapsed(), why.clone()));
                }
                let full = self.failed.len() >= KINDS && !self.failed.contains_key(&why);
                *self.failed.entry(if full { "other".to_owned() } else { why }).or_default() += 1;
            }
        }
    }

    /// How many went wrong.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How many went wrong in this way.
    pub fn of(&self, why: &str) -> u64 {
        self.failed.iter().filter(|(this, _)| this.starts_with(why)).map(|(_, count)| count).sum()
    }

    /// The longest any took of the quickest `share` of a hundred; zero without any.
    pub fn percentile(&self, share: usize) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    /// The longest of all.
    pub fn longest(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_default()
    }
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Echoes of sockets. A failure is a socket that was cut, or an echo that was late, lost or another's.
    pub sockets: Tally,
    /// Requests to user servers.
    pub requests: Tally,
    /// Requests to the hub.
    pub hub: Tally,
    /// Downloads: each piece that came. A failure is a download that broke or held other bytes than were sent.
    pub downloads: Tally,
    /// Connections.
    pub knocks: Tally,
}

impl Report {
    /// One line for each kind.
    pub fn print(&self, what: &str) {
        let all = [
            ("echoes", &self.sockets),
            ("requests", &self.requests),
            ("hub requests", &self.hub),
            ("pieces of downloads", &self.downloads),
            ("connections", &self.knocks),
        ];
        for (name, tally) in all.into_iter().filter(|(_, it)| it.fine + it.failures() > 0) {
            println!(
                "{what}: {name}: {} fine, {} failed {:?}, median {:.1?}, p99 {:.1?}, longest {:.1?}",
                tally.fine,
                tally.failures(),
                tally.failed,
                tally.percentile(50),
                tally.percentile(99),
                tally.longest(),
            );
        }
    }
}

struct Shared {
    address: SocketAddr,
    mix: Mix,
    began: Instant,
    report: Mutex<Report>,
    open: AtomicUsize,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self, number: usize) -> &str {
        &self.mix.servers[number % self.mix.servers.len()]
    }
}

/// It goes on until it is stopped or dropped.
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins; comes back when all sockets and downloads are open. Panics if that takes too long.
    pub fn start(site: &Site, mix: Mix) -> Self {
        Self::at(site.public, mix)
    }

    /// The same for an address.
    pub fn at(address: SocketAddr, mix: Mix) -> Self {
        let began = Instant::now();
        let wanted = mix.sockets + mix.downloads;
        let (report, open) = (Mutex::default(), AtomicUsize::new(0));
        let shared = Arc::new(Shared { address, mix, began, report, open });
        let (stop, stopped) = watch::channel(false);
        let (work, runtime) = (shared.clone(), tokio::runtime::Builder::new_current_thread());
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let mut runtime = runtime;
            let runtime = runtime.enable_all().build().expect("there are descriptors left");
            runtime.block_on(all(work, stopped));
        });
        let load = Self { shared, stop, thread: Some(thread.expect("there are threads left")) };
        super::wait_until("all sockets and downloads are open", PATIENCE, || {
            load.shared.open.load(Ordering::Relaxed) >= wanted
        });
        load
    }

    /// What was seen so far.
    pub fn so_far(&self) -> Report {
        self.shared.report().clone()
    }

    /// How long it runs.
    pub fn age(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Ends it. What is in hand then counts for nothing.
    pub fn stop(mut self) -> Report {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the load itself failed");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

async fn all(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mix = &shared.mix;
    for number in 0..mix.sockets {
        tokio::spawn(socket(shared.clone(), number));
    }
    for number in 0..mix.downloads {
        tokio::spawn(download(shared.clone(), number));
    }
    if mix.requests > 0 {
        let ask = |shared: Arc<Shared>, number| async move {
            let path = format!("{}api", shared.server(number));
            let result = request(shared.address, &path, None).await;
            let began = shared.began;
            shared.report().requests.note(began, result);
        };
        tokio::spawn(steadily(shared.clone(), mix.requests, ask));
    }
    if mix.hub > 0 {
        let ask = |shared: Arc<Shared>, _| async move {
            let page = shared.mix.page.as_deref().unwrap_or("/hub/api");
            let result = request(shared.address, page, shared.mix.token.as_deref()).await;
            let began = shared.began;
            shared.report().hub.note(began, result);
        };
        tokio::spawn(steadily(shared.clone(), mix.hub, ask));
    }
    if mix.knocks > 0 {
        let knock = |shared: Arc<Shared>, _| async move {
            let asked = Instant::now();
            let result = match timeout(PATIENCE, TcpStream::connect(shared.address)).await {
                Ok(Ok(_)) => Ok(asked.elapsed()),
                Ok(Err(error)) => Err(why(&error)),
                Err(_) => Err("no answer".to_owned()),
            };
            let began = shared.began;
            shared.report().knocks.note(began, result);
        };
        tokio::spawn(steadily(shared.clone(), mix.knocks, knock));
    }
    // dropping the runtime ends all the others, with what they have in hand
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Does it so many times a second, whether or not earlier ones have ended.
async fn steadily<F, W>(shared: Arc<Shared>, rate: u32, work: F)
where
    F: Fn(Arc<Shared>, usize) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let mut tick = interval(Duration::from_secs(1) / rate);
    for number in 0.. {
        tick.tick().await;
        tokio::spawn(work(shared.clone(), number));
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        kind => format!("broken: {kind}"),
    }
}

async fn connect(
    address: SocketAddr,
    path: &str,
    headers: &str,
) -> io::Result<(TcpStream, u16, usize, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let rest = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|value| value.trim().parse().ok()).unwrap_or(usize::MAX);
    Ok((stream, status, length, rest))
}

/// One request; a good one has status 200 and all its body.
async fn request(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Duration, String> {
    let began = Instant::now();
    let mut headers = "Connection: close\r\n".to_owned();
    if let Some(token) = token {
        headers += &format!("Authorization: {token}\r\n");
    }
    let work = async {
        let (mut stream, status, length, mut body) = connect(address, path, &headers).await?;
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                if length == usize::MAX {
                    break;
                }
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<u16, io::Error>(status)
    };
    match timeout(PATIENCE, work).await {
        Ok(Ok(200)) => Ok(began.elapsed()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn socket(shared: Arc<Shared>, number: usize) {
    // not all at the same moment
    sleep(Duration::from_millis(number as u64 * 1009 % 1000)).await;
    let mut first = true;
    loop {
        let result = echoes(&shared, number, &mut first).await;
        let Err(error) = result;
        let began = shared.began;
        // one that cannot be opened again yet is cut once, not each time it is tried
        if !first {
            shared.report().sockets.note(began, Err(error));
            first = true;
        }
        if !shared.mix.reopen {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn echoes(
    shared: &Shared,
    number: usize,
    first: &mut bool,
) -> Result<std::convert::Infallible, String> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let path = format!("{}ws", shared.server(number));
    let (mut stream, status, _, _) = timeout(PATIENCE, connect(shared.address, &path, upgrade))
        .await
        .map_err(|_| "no upgrade".to_owned())?
        .map_err(|error| why(&error))?;
    if status != 101 {
        return Err(status.to_string());
    }
    let mut tick = interval(Duration::from_secs(1));
    for sequence in 0_u64.. {
        tick.tick().await;
        let asked = Instant::now();
        let text = format!("{number:08} {sequence:08}");
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        let mut answer = vec![0; 2 + text.len()];
        let work = async {
            stream.write_all(&frame).await?;
            stream.read_exact(&mut answer).await.map(drop)
        };
        timeout(ECHO, work)
            .await
            .map_err(|_| "no echo".to_owned())?
            .map_err(|error| why(&error))?;
        if answer[2..] != *text.as_bytes() {
            return Err("another echo".to_owned());
        }
        if *first {
            *first = false;
            shared.open.fetch_add(1, Ordering::Relaxed);
        }
        let began = shared.began;
        shared.report().sockets.note(began, Ok(asked.elapsed()));
    }
    unreachable!("it goes on")
}

async fn download(shared: Arc<Shared>, number: usize) {
    let mut first = true;
    loop {
        if let Err(error) = piece_by_piece(&shared, number, &mut first).await
            && !first
        {
            let began = shared.began;
            shared.report().downloads.note(began, Err(error));
            first = true;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A gigabyte, so slowly that it does not end: each byte is known beforehand.
async fn piece_by_piece(shared: &Shared, number: usize, first: &mut bool) -> Result<(), String> {
    let path = format!("{}flow?bytes=1000000000&rate=200000", shared.server(number));
    let opened = timeout(PATIENCE, connect(shared.address, &path, "Connection: close\r\n")).await;
    let (mut stream, status, length, mut bytes) =
        opened.map_err(|_| "no answer".to_owned())?.map_err(|error| why(&error))?;
    if status != 200 {
        return Err(status.to_string());
    }
    let mut at = 0;
    while at < length {
        if bytes.iter().enumerate().any(|(n, byte)| *byte != ((at + n) % 251) as u8) {
            return Err("other bytes than were sent".to_owned());
        }
        at += bytes.len();
        if *first && at > 0 {
            *first = false;
            shared.open.fetch_add(1, Ordering::Relaxed);
        }
        let (began, asked) = (shared.began, Instant::now());
        bytes.clear();
        let read = timeout(ECHO, stream.read_buf(&mut bytes)).await;
        if read.map_err(|_| "stalled".to_owned())?.map_err(|error| why(&error))? == 0 {
            return Err("ended early".to_owned());
        }
        shared.report().downloads.note(began, Ok(asked.elapsed()));
    }
    Ok(())
}
