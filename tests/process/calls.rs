//! What a kept-alive request costs the proxy in system calls, counted by strace. The same in debug builds and releases.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    as_root,
    support::{PATIENCE, Plan, process::Process, wait_for, wait_until},
};

/// Requests that are counted.
const REQUESTS: u32 = 2000;
/// A request and its answer are each read once and written once, and nothing else is done: calls a thousand requests.
const FLOOR: u32 = 4000;
/// Each of the two is waited for; more where somebody else's timer wakes a thread.
const WAKE_UPS: u32 = 2500;

/// A backend with a short answer; one thread a connection.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut had, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(size @ 1..) = stream.read(&mut piece) {
        had.extend_from_slice(&piece[..size]);
        if had.ends_with(b"\r\n\r\n") {
            had.clear();
            let ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
            if stream.write_all(ok).is_err() {
                return;
            }
        }
    }
}

/// Asks so often, one request after the other.
fn ask(stream: &mut TcpStream, count: u32) {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    for _ in 0..count {
        let request =
            b"GET /services/small/x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n";
        stream.write_all(request).expect("the proxy listens");
        answer.clear();
        while !answer.ends_with(b"\r\n\r\nok") {
            let size = stream.read(&mut piece).expect("it answers");
            assert!(size > 0, "{}", answer.escape_ascii());
            answer.extend_from_slice(&piece[..size]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
    }
}

/// strace, counting all calls of a process and writing the sums down at its end.
fn count(process: Process, sums: &std::path::Path) -> Child {
    Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(sums)
        .args(["-p", &process.pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed (.ci/install)")
}

/// Does it look at every thread? None: it has ended, since it may not.
fn looks(strace: &mut Child, process: Process) -> Option<()> {
    let traced = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten();
        let mut status = tasks.flatten().map(|it| fs::read_to_string(it.path().join("status")));
        status.all(|text| text.is_ok_and(|text| !text.contains("TracerPid:\t0\n")))
    };
    let state = || match strace.try_wait().expect("it is our child") {
        Some(_) => Some(None),
        None => traced().then_some(Some(())),
    };
    wait_for("strace looks, or gives up", PATIENCE, state).0
}

#[test]
fn a_kept_alive_request_costs_four_calls_and_two_wake_ups() {
    as_root!();
    let port = backend();
    let site = Plan::quick()
        // What is logged costs calls of its own.
        .set("log.level", "\"info\"")
        .set("services", &format!(r#"[(name: "small", url: "http://127.0.0.1:{port}")]"#))
        .start();
    wait_until("the route is there", PATIENCE, || {
        site.visitor().get("/services/small/").status == 200
    });
    let proxy = site.proxy();
    let mut stream = TcpStream::connect(site.public).expect("it listens");
    stream.set_nodelay(true).expect("it is TCP");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is TCP");
    // What a connection costs once does not count.
    ask(&mut stream, 200);
    let sums = site.folder().join("calls");
    let mut strace = count(proxy, &sums);
    if looks(&mut strace, proxy).is_none() {
        eprintln!("not counted: strace may not look at other processes here");
        return;
    }
    ask(&mut stream, REQUESTS);
    let pid = Pid::from_raw(strace.id().try_into().expect("a pid is small"));
    kill(pid, Signal::SIGINT).expect("it runs");
    strace.wait().expect("it is our child");

    let text = fs::read_to_string(&sums).expect("strace has written it");
    let calls: BTreeMap<&str, u32> = text
        .lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .filter_map(|(name, count)| Some((name, count.trim().parse().ok()?)))
        .filter(|(name, _)| *name != "total")
        .collect();
    let sum = |waits: bool| -> u32 {
        let of_kind = |name: &str| name.starts_with("epoll_") && name.ends_with("wait");
        calls.iter().filter(|(name, _)| of_kind(name) == waits).map(|(_, count)| count).sum()
    };
    let (work, waits) = (sum(false) * 1000 / REQUESTS, sum(true) * 1000 / REQUESTS);
    println!("a thousand requests: {work} calls and {waits} waits; all: {calls:?}");
    // Something was counted at all: nobody does it with less.
    assert!(work >= FLOOR && waits >= 1000, "{calls:?}");
    assert!(work <= FLOOR + FLOOR / 10, "{work} calls a thousand requests: {calls:?}");
    assert!(waits <= WAKE_UPS, "{waits} waits a thousand requests: {calls:?}");
}
