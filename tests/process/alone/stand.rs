//! A proxy of either kind, a backend that tells what it has seen, and a visitor who speaks bytes.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, free_ports, wait_for};

/// The token that all proxies here have.
pub(crate) const TOKEN: &str = "the-token";

/// Whose proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `jovis proxy`.
    Ours,
    /// configurable-http-proxy.
    Theirs,
}

/// Both kinds, or only ours where the other is not installed.
pub(crate) fn all() -> Vec<Whose> {
    if theirs().1.exists() {
        return vec![Whose::Ours, Whose::Theirs];
    }
    eprintln!("configurable-http-proxy is not installed (.ci/install bench): only ours is asked");
    vec![Whose::Ours]
}

/// Its Node and its script.
fn theirs() -> (PathBuf, PathBuf) {
    let home = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/opt/jovis")
    } else {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share/jovis")
    };
    let script = "bench/npm/node_modules/configurable-http-proxy/bin/configurable-http-proxy";
    (home.join("bench/bin/node"), home.join(script))
}

/// The command, without flags.
pub(crate) fn command(whose: Whose) -> Command {
    match whose {
        Whose::Ours => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_jovis"));
            command.arg("proxy");
            command
        }
        Whose::Theirs => {
            let (node, script) = theirs();
            let mut command = Command::new(node);
            command.arg(script);
            command
        }
    }
}

/// Ports nobody has, all different.
pub(crate) fn ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_ports(1))
}

/// A running proxy; ended when dropped.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) dir: TempDir,
}

impl Proxy {
    /// With these flags besides those for its addresses. `{dir}` in them is a folder of its own,
    /// `{public}` its public port.
    pub(crate) fn start(whose: Whose, flags: &[&str]) -> Self {
        Self::start_in(whose, flags, tempfile::tempdir().unwrap())
    }

    /// The same in a folder that is there already.
    pub(crate) fn start_in(whose: Whose, flags: &[&str], dir: TempDir) -> Self {
        let mut dir = dir;
        for _ in 0..5 {
            match Self::try_start(whose, flags, dir) {
                Ok(proxy) => return proxy,
                // Somebody else was quicker at a port that was free a moment ago.
                Err((place, log)) if log.contains("in use") || log.contains("EADDRINUSE") => {
                    dir = place
                }
                Err((_, log)) => panic!("{whose:?} {flags:?} ended: {log}"),
            }
        }
        panic!("no free ports")
    }

    /// The folder and the log of one that has ended.
    fn try_start(whose: Whose, flags: &[&str], dir: TempDir) -> Result<Self, (TempDir, String)> {
        let [public, api] = ports();
        let log = File::create(dir.path().join("log")).unwrap();
        let place = dir.path().to_str().unwrap();
        let mut command = command(whose);
        command
            .args(["--ip", "127.0.0.1", "--port", &public.to_string()])
            .args(["--api-ip", "127.0.0.1", "--api-port", &api.to_string()])
            .args(
                flags.iter().map(|flag| {
                    flag.replace("{dir}", place).replace("{public}", &public.to_string())
                }),
            )
            .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (public, api) = (at(public), at(api));
        let (ended, _) = wait_for("the proxy listens", PATIENCE, || {
            let open = |at: &SocketAddr| TcpStream::connect(at).is_ok();
            match child.try_wait().unwrap() {
                Some(status) => Some(Some(status)),
                None => (open(&public) && open(&api)).then_some(None),
            }
        });
        if ended.is_some() {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            return Err((dir, log));
        }
        Ok(Self { child, public, api, dir })
    }

    /// One request on a connection of its own; `{host}` in it is the public address.
    pub(crate) fn ask(&self, request: &str) -> Reply {
        ask(self.public, &request.replace("{host}", &self.public.to_string()))
    }

    /// `GET` of a path, with fields (each with its line end).
    pub(crate) fn get(&self, path: &str, fields: &str) -> Reply {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {{host}}\r\n{fields}Connection: close\r\n\r\n"
        ))
    }

    /// A request to the REST API.
    pub(crate) fn rest(&self, method: &str, path: &str, body: &str) -> Reply {
        self.rest_as(&format!("token {TOKEN}"), method, path, body)
    }

    /// The same with other words for who we are; empty: none.
    pub(crate) fn rest_as(&self, who: &str, method: &str, path: &str, body: &str) -> Reply {
        ask(self.api, &rest_request(who, method, path, body))
    }

    /// Adds a route.
    pub(crate) fn route(&self, spec: &str, target: &str) {
        let body = json!({ "target": target }).to_string();
        assert_eq!(self.rest("POST", &format!("/api/routes{spec}"), &body).status, 201);
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the proxy ends", PATIENCE, || self.child.try_wait().unwrap()).0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn rest_request(who: &str, method: &str, path: &str, body: &str) -> String {
    let who = if who.is_empty() { String::new() } else { format!("Authorization: {who}\r\n") };
    let size = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: api\r\n{who}Content-Length: {size}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// From all bytes of a connection.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Self { status, head: head.to_owned(), body }
    }

    /// All values of a field, as they came.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// All values of a field in a head.
pub(crate) fn fields(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim().to_owned()).collect()
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        out.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}

/// Says it and hears to the end; a reset is an end.
pub(crate) fn ask(at: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    Reply::read(&hear(&mut stream))
}

/// Everything up to the end.
pub(crate) fn hear(stream: &mut impl Read) -> Vec<u8> {
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return got,
            Ok(size) => got.extend_from_slice(&piece[..size]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return got,
            Err(error) => panic!("{error} after {}", got.escape_ascii()),
        }
    }
}

/// Reads a head. None: the connection ended before.
pub(crate) fn head(stream: &mut impl Read) -> Option<String> {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(got).ok()
}

/// Answers `200`, its name and the head it has seen; or as the path says: `/status/CODE`, `/to/URL` (302 to it, by
/// default; `/to/CODE/URL`), `/cookies`, `/hang`, `/reset`; `Upgrade: websocket` gets an echo.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    place: String,
}

impl Backend {
    pub(crate) fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { name: name.to_owned(), heads: Arc::default(), place };
        let backend = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let backend = backend.clone();
                thread::spawn(move || backend.serve(stream));
            }
        });
        this
    }

    /// The same at a Unix socket.
    pub(crate) fn at(name: &str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let place = format!("http+unix://{}", path.to_str().unwrap().replace('/', "%2F"));
        let this = Self { name: name.to_owned(), heads: Arc::default(), place };
        let backend = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let backend = backend.clone();
                thread::spawn(move || backend.serve(stream));
            }
        });
        this
    }

    /// Its address, with a path behind it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.place)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The target of the last request.
    pub(crate) fn last_target(&self) -> String {
        let heads = self.seen();
        heads.last().and_then(|head| head.split(' ').nth(1)).unwrap_or_default().to_owned()
    }

    fn serve(&self, mut stream: impl Read + Write) {
        while let Some(head) = head(&mut stream) {
            self.heads.lock().unwrap().push(head.clone());
            let size = fields(&head, "content-length").first().and_then(|it| it.parse().ok());
            let mut body = vec![0; size.unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            let target = head.split(' ').nth(1).unwrap_or_default();
            let path = target.split('?').next().unwrap_or_default();
            let after = |word: &str| path.split_once(word).map(|(_, rest)| rest.to_owned());
            if !fields(&head, "upgrade").is_empty() && after("/status/").is_none() {
                let _ = stream.write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
                );
                let mut piece = [0; 1024];
                while let Ok(size @ 1..) = stream.read(&mut piece) {
                    if stream.write_all(&piece[..size]).is_err() {
                        return;
                    }
                }
                return;
            }
            if after("/hang").is_some() {
                thread::sleep(PATIENCE);
                return;
            }
            if after("/reset").is_some() {
                return;
            }
            let (status, more) = match (after("/status/"), after("/to/")) {
                (Some(status), _) => (status, String::new()),
                (_, Some(rest)) => {
                    let (status, place) = rest.split_once('/').unwrap();
                    (status.to_owned(), format!("Location: {place}\r\n"))
                }
                _ => ("200".to_owned(), String::new()),
            };
            let cookies =
                after("/cookies").map_or("", |_| "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n");
            let body =
                if status == "304" { String::new() } else { format!("{}\n{head}", self.name) };
            let head = format!(
                "HTTP/1.1 {status} Told\r\nContent-Type: text/x-told\r\n{more}{cookies}Content-Length: {}\r\n\r\n",
                body.len()
            );
            if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A WebSocket's handshake; the connection, and the head that came back.
pub(crate) fn upgrade(at: SocketAddr, path: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let head = head(&mut stream).unwrap_or_default();
    (stream, head)
}

/// Ends within this.
pub(crate) fn ends(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
