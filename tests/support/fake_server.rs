//! A stand-in for a single-user server for crowds: a hundred of them are cheap. Compiled on its own (`crowd.rs`), with
//! nothing but std.
//!
//! How it behaves is said by the first word of its user's name, up to a `-`:
//!
//! | word | it |
//! |---|---|
//! | `exit` | leaves at once with status 3 |
//! | `hang` | listens to nobody: it never opens its port |
//! | `silent` | listens, accepts, never answers |
//! | `broken` | answers everything with 500 |
//! | `die` | answers, and leaves with status 7 half a second after the first answer |
//! | `slow` | sleeps two seconds before it listens |
//! | any other | answers |
//!
//! Under its prefix: `api`, `pid`, `echo`, `size?bytes=N`, `flow?bytes=N&rate=N` (N bytes in all, so many a second; byte
//! number n is n mod 251), `chunks?seconds=N` (one every tenth of a second), `cut?bytes=N` (announces N, sends half, leaves by SIGKILL), `ws` (echo), `exit?status=N`, `hold`
//! (no answer ever).

use std::{
    env,
    io::{BufRead, BufReader, Read, Result, Write},
    net::{TcpListener, TcpStream},
    process, thread,
    time::Duration,
};

fn main() {
    let user = env::var("JUPYTERHUB_USER").unwrap_or_default();
    let mode = user.split('-').next().unwrap_or_default().to_owned();
    println!("fake: {mode} pid {}", process::id());
    match mode.as_str() {
        "exit" => {
            println!("fake: these are my last words");
            process::exit(3);
        }
        "hang" => forever(),
        "slow" => thread::sleep(Duration::from_secs(2)),
        _ => {}
    }
    let url = env::var("JUPYTERHUB_SERVICE_URL").expect("a hub says where");
    let address = url.trim_start_matches("http://").split('/').next().expect("a host").to_owned();
    let prefix = env::var("JUPYTERHUB_SERVICE_PREFIX").expect("a hub says under what");
    let listener = TcpListener::bind(&address).expect("the port is free");
    println!("fake: listening on {address}");
    for stream in listener.incoming().flatten() {
        let (mode, prefix) = (mode.clone(), prefix.clone());
        let work = move || drop(serve(stream, &mode, &prefix));
        let _ = thread::Builder::new().stack_size(128 * 1024).spawn(work);
    }
}

fn forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn serve(stream: TcpStream, mode: &str, prefix: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    if mode == "silent" {
        forever();
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if mode == "broken" {
            answer(&mut writer, 500, b"broken on purpose")?;
            continue;
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let number = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0)
        };
        match path.strip_prefix(prefix) {
            None => answer(&mut writer, 404, b"{\"message\": \"not here\"}")?,
            Some("api") => {
                answer(&mut writer, 200, b"{\"version\": \"fake\"}")?;
                if mode == "die" {
                    thread::sleep(Duration::from_millis(500));
                    process::exit(7);
                }
            }
            Some("pid") => answer(&mut writer, 200, process::id().to_string().as_bytes())?,
            Some("echo") => answer(&mut writer, 200, &body)?,
            Some("size") => answer(&mut writer, 200, &vec![b'x'; number("bytes")])?,
            Some("flow") => flow(&mut writer, number("bytes"), number("rate"))?,
            Some("chunks") => chunks(&mut writer, number("seconds"))?,
            Some("cut") => {
                let whole = number("bytes");
                head(&mut writer, 200, whole)?;
                writer.write_all(&vec![b'x'; whole / 2])?;
                thread::sleep(Duration::from_millis(200));
                let _ = process::Command::new("/bin/kill")
                    .args(["-9", &process::id().to_string()])
                    .status();
                forever();
            }
            Some("exit") => {
                answer(&mut writer, 200, b"{}")?;
                process::exit(i32::try_from(number("status")).unwrap_or(1));
            }
            Some("hold") => forever(),
            Some("ws") => return echo(&mut reader, &mut writer),
            Some(_) => answer(&mut writer, 200, b"{}")?,
        }
    }
}

fn head(writer: &mut TcpStream, status: u16, length: usize) -> Result<()> {
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         X-JupyterHub-Version: 6.1.1\r\n\r\n"
    );
    writer.write_all(text.as_bytes())
}

fn answer(writer: &mut TcpStream, status: u16, body: &[u8]) -> Result<()> {
    head(writer, status, body.len())?;
    writer.write_all(body)
}

fn flow(writer: &mut TcpStream, bytes: usize, rate: usize) -> Result<()> {
    head(writer, 200, bytes)?;
    let piece = (rate / 10).max(1);
    let mut sent = 0;
    while sent < bytes {
        let end = (sent + piece).min(bytes);
        let part: Vec<u8> = (sent..end).map(|n| (n % 251) as u8).collect();
        writer.write_all(&part)?;
        sent = end;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn chunks(writer: &mut TcpStream, seconds: usize) -> Result<()> {
    writer.write_all(
        b"HTTP/1.1 200 X\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for _ in 0..seconds * 10 {
        writer.write_all(b"5\r\ndrip\n\r\n")?;
        thread::sleep(Duration::from_millis(100));
    }
    writer.write_all(b"0\r\n\r\n")
}

/// Small masked frames only: it is a test's echo. The key is always the example of the RFC.
fn echo(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> Result<()> {
    writer.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    loop {
        let mut start = [0; 6];
        reader.read_exact(&mut start)?;
        let mut data = vec![0; usize::from(start[1] & 0x7F)];
        reader.read_exact(&mut data)?;
        data.iter_mut().zip(start[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        writer.write_all(&[&[start[0], start[1] & 0x7F], &data[..]].concat())?;
    }
}
