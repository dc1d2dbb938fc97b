//! The traffic of `.ci/bench`: a user server that is there at once, and clients. One file on the standard library alone,
//! so that `rustc -O` builds it in a moment; a thread for each connection, which is plenty here.
//!
//! - `load serve`: listens where `JUPYTERHUB_SERVICE_URL` says. `…/size/N` is N bytes, `…/ws` echoes frames, the rest is
//!   empty. Bodies that are sent to it are read and thrown away.
//! - `load echo ADDRESS PATH SOCKETS SECONDS [BYTES]`: messages to and fro; prints round trips and seconds.
//! - `load put ADDRESS PATH CONNECTIONS SECONDS BYTES`: bodies of that size, one after the other; prints how many, and
//!   seconds.
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

/// The key and its right answer stand in RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Bytes of a message, where nobody says how many.
const MESSAGE: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let time = |text: &str| text.parse().map(Duration::from_secs_f64);
    match words[..] {
        ["serve"] => serve(&env::var("JUPYTERHUB_SERVICE_URL")?),
        ["echo", address, path, sockets, seconds] => {
            echo(address, path, sockets.parse()?, time(seconds)?, MESSAGE)
        }
        ["echo", address, path, sockets, seconds, bytes] => {
            echo(address, path, sockets.parse()?, time(seconds)?, bytes.parse()?)
        }
        ["put", address, path, connections, seconds, bytes] => {
            put(address, path, connections.parse()?, time(seconds)?, bytes.parse()?)
        }
        ["idle", address, path, sockets] => idle(address, path, sockets.parse()?),
        _ => Err("usage: see the head of tests/bench/load.rs".into()),
    }
}

fn light(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(96 << 10).spawn(work)
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
        let (mut path, mut last, mut length) = (String::new(), false, 0);
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
                let (name, value) = line.split_once(':').unwrap_or_default();
                last |= name.eq_ignore_ascii_case("connection")
                    && value.trim().eq_ignore_ascii_case("close");
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
        }
        throw_away(&mut reader, length)?;
        if path.ends_with("/ws") {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
            stream.write_all(
                format!("{head}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").as_bytes(),
            )?;
            let mut frame = Vec::new();
            while read_frame(&mut reader, &mut frame).is_ok() {
                stream.write_all(&message(&frame, false))?;
            }
            return Ok(());
        }
        let wanted = path.split_once("/size/").and_then(|(_, size)| size.parse().ok()).unwrap_or(0);
        let head = format!("HTTP/1.1 200 OK\r\nX-Bench: 1\r\nContent-Length: {wanted}\r\n\r\n");
        // head and body in one write, as a real server would
        let first = &body[..body.len().min(wanted)];
        stream.write_all(&[head.as_bytes(), first].concat())?;
        let mut left = wanted - first.len();
        while left > 0 {
            let piece = &body[..body.len().min(left)];
            stream.write_all(piece)?;
            left -= piece.len();
        }
        if last {
            return Ok(());
        }
    }
}

fn throw_away(reader: &mut BufReader<TcpStream>, mut length: usize) -> io::Result<()> {
    let held = reader.buffer().len().min(length);
    reader.consume(held);
    length -= held;
    if length == 0 {
        return Ok(());
    }
    let mut room = vec![0; length.min(256 << 10)];
    while length > 0 {
        let most = room.len().min(length);
        match reader.read(&mut room[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length -= read,
        }
    }
    Ok(())
}

/// A text frame, masked by zeros (which leave the text as it is) or not at all.
fn message(text: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    match text.len() {
        size @ 0..126 => frame.push(mask | size as u8),
        size @ 126..65536 => {
            frame.push(mask | 126);
            frame.extend((size as u16).to_be_bytes());
        }
        size => {
            frame.push(mask | 127);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(text);
    frame
}

/// Reads a frame; its text.
fn read_frame(reader: &mut impl Read, text: &mut Vec<u8>) -> io::Result<()> {
    let mut two = [0; 2];
    reader.read_exact(&mut two)?;
    let size = match two[1] & 0x7f {
        126 => {
            let mut size = [0; 2];
            reader.read_exact(&mut size)?;
            u16::from_be_bytes(size).into()
        }
        127 => {
            let mut size = [0; 8];
            reader.read_exact(&mut size)?;
            u64::from_be_bytes(size) as usize
        }
        size => size.into(),
    };
    if two[1] & 0x80 != 0 {
        reader.read_exact(&mut [0; 4])?;
    }
    text.resize(size, 0);
    reader.read_exact(text)
}

struct Socket(BufReader<TcpStream>);

impl Socket {
    fn open(address: &str, path: &str) -> io::Result<Self> {
        let mut stream = connect(address)?;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\n{upgrade}\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let head = read_head(&mut stream)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self(BufReader::with_capacity(512, stream)))
    }

    /// Sends a frame and waits for its text to come back.
    fn round_trip(&mut self, frame: &[u8], text: &mut Vec<u8>) -> io::Result<()> {
        self.0.get_mut().write_all(frame)?;
        read_frame(&mut self.0, text)?;
        if frame.ends_with(text) { Ok(()) } else { Err(io::Error::other("not the echo")) }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// So many do the same again and again for that time; prints how often, and the time.
fn repeat<C: Send + 'static>(
    connections: Vec<C>,
    time: Duration,
    once: impl Fn(&mut C) -> io::Result<()> + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    let (start, once) = (Arc::new(Barrier::new(connections.len())), Arc::new(once));
    let each = |mut connection| {
        let (start, once) = (Arc::clone(&start), Arc::clone(&once));
        thread::spawn(move || {
            start.wait();
            let (began, mut count) = (Instant::now(), 0_u64);
            while began.elapsed() < time {
                once(&mut connection)?;
                count += 1;
            }
            io::Result::Ok(count)
        })
    };
    let threads: Vec<_> = connections.into_iter().map(each).collect();
    let mut total = 0;
    for thread in threads {
        total += thread.join().map_err(|_| "a client panicked")??;
    }
    println!("{total} {}", time.as_secs_f64());
    Ok(())
}

fn echo(
    address: &str,
    path: &str,
    sockets: usize,
    time: Duration,
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let open = |_| Socket::open(address, path).map(|socket| (socket, Vec::new()));
    let sockets = (0..sockets).map(open).collect::<io::Result<_>>()?;
    let frame = message(&vec![b'x'; bytes], true);
    repeat(sockets, time, move |(socket, text)| socket.round_trip(&frame, text))
}

fn put(
    address: &str,
    path: &str,
    connections: usize,
    time: Duration,
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let connections = (0..connections).map(|_| connect(address)).collect::<io::Result<_>>()?;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {bytes}\r\n\r\n");
    let body = vec![b'x'; bytes.min(1 << 20)];
    repeat(connections, time, move |stream| {
        stream.write_all(head.as_bytes())?;
        let mut left = bytes;
        while left > 0 {
            let piece = &body[..body.len().min(left)];
            stream.write_all(piece)?;
            left -= piece.len();
        }
        let head = read_head(stream)?;
        if head.starts_with(b"HTTP/1.1 200") {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()))
        }
    })
}

fn idle(address: &str, path: &str, sockets: usize) -> Result<(), Box<dyn Error>> {
    let (mut held, mut text) = (Vec::new(), Vec::new());
    let frame = message(&[b'x'; MESSAGE], true);
    for _ in 0..sockets {
        let mut socket = Socket::open(address, path)?;
        socket.round_trip(&frame, &mut text)?;
        held.push(socket);
    }
    println!("open");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
