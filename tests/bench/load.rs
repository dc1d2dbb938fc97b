//! The traffic of `.ci/bench`: a user server that is there at once, and WebSocket clients. One file on the standard
//! library alone, so that `rustc -O` builds it in a moment; a thread for each connection, which is plenty here.
//!
//! - `load serve`: listens where `JUPYTERHUB_SERVICE_URL` says. `…/size/N` is N bytes, `…/ws` an echo, the rest is empty.
//! - `load echo ADDRESS PATH SOCKETS SECONDS`: small messages to and fro; prints round trips and seconds.
//! - `load idle ADDRESS PATH SOCKETS`: opens sockets, says so, holds them until its input ends.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

/// One unmasked text frame of 32 bytes, as the server sends it.
const ANSWER: [u8; 34] = frame(0x20);
/// The key and its right answer stand in RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const fn frame(length: u8) -> [u8; 34] {
    let mut bytes = [b'x'; 34];
    bytes[0] = 0x81;
    bytes[1] = length;
    bytes
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve"] => serve(&env::var("JUPYTERHUB_SERVICE_URL")?),
        ["echo", address, path, sockets, seconds] => {
            echo(address, path, sockets.parse()?, Duration::from_secs_f64(seconds.parse()?))
        }
        ["idle", address, path, sockets] => idle(address, path, sockets.parse()?),
        _ => Err("usage: see the head of tests/bench/load.rs".into()),
    }
}

fn light(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(64 << 10).spawn(work)
}

fn serve(url: &str) -> Result<(), Box<dyn Error>> {
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let body: Arc<[u8]> = vec![b'x'; 1 << 20].into();
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, body) = (stream?, Arc::clone(&body));
        // a connection that breaks is the other side's matter
        light(move || drop(attend(stream, &body)))?;
    }
    Ok(())
}

/// Answers one connection until it ends.
fn attend(mut stream: TcpStream, body: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        let (mut path, mut last) = (String::new(), false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if path.is_empty() {
                path.push_str(line.split(' ').nth(1).unwrap_or("/"));
            } else if line == "\r\n" {
                break;
            } else {
                last |= line.trim_end().eq_ignore_ascii_case("connection: close");
            }
        }
        if path.ends_with("/ws") {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
            stream.write_all(
                format!("{head}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").as_bytes(),
            )?;
            let mut masked = [0; 38];
            while reader.read_exact(&mut masked).is_ok() {
                stream.write_all(&ANSWER)?;
            }
            return Ok(());
        }
        let wanted = path.split_once("/size/").and_then(|(_, size)| size.parse().ok()).unwrap_or(0);
        let body = &body[..body.len().min(wanted)];
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Bench: 1\r\nContent-Length: {}\r\n\r\n", body.len());
        // head and body in one write, as a real server would
        stream.write_all(&[head.as_bytes(), body].concat())?;
        if last {
            return Ok(());
        }
    }
}

struct Socket(TcpStream);

impl Socket {
    fn open(address: &str, path: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\n{upgrade}\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self(stream))
    }

    fn round_trip(&mut self) -> io::Result<()> {
        let mut masked = [0; 38]; // a mask of zeros leaves the text as it is
        masked[..2].copy_from_slice(&[0x81, 0x80 | 0x20]);
        masked[6..].fill(b'x');
        self.0.write_all(&masked)?;
        let mut answer = [0; 34];
        self.0.read_exact(&mut answer)?;
        if answer == ANSWER { Ok(()) } else { Err(io::Error::other("not the echo")) }
    }
}

fn echo(address: &str, path: &str, sockets: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let start = Arc::new(Barrier::new(sockets));
    let mut threads = Vec::new();
    for _ in 0..sockets {
        let (mut socket, start) = (Socket::open(address, path)?, Arc::clone(&start));
        threads.push(thread::spawn(move || {
            start.wait();
            let (began, mut count) = (Instant::now(), 0_u64);
            while began.elapsed() < time {
                socket.round_trip()?;
                count += 1;
            }
            io::Result::Ok(count)
        }));
    }
    let mut total = 0;
    for thread in threads {
        total += thread.join().map_err(|_| "a client panicked")??;
    }
    println!("{total} {}", time.as_secs_f64());
    Ok(())
}

fn idle(address: &str, path: &str, sockets: usize) -> Result<(), Box<dyn Error>> {
    let mut held = Vec::new();
    for _ in 0..sockets {
        let mut socket = Socket::open(address, path)?;
        socket.round_trip()?;
        held.push(socket);
    }
    println!("open");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
