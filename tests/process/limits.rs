//! What runs out: memory, descriptors, processes.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket as Raw, Type};

use crate::{
    as_root,
    support::{
        Account, PATIENCE, Plan, Site, Visitor, process::Process, scale, unique, wait_until,
    },
    wait_for_server, with_server,
};

/// Limits a running process's resource, soft and hard. As its own user, who may do so without a capability.
fn prlimit(process: Process, what: &str, limit: u64) {
    let (uid, gid) = (process.ids("Uid")[0], process.ids("Gid")[0]);
    let status = Command::new("prlimit")
        .uid(uid)
        .gid(gid)
        .args(["--pid", &process.pid.to_string(), &format!("--{what}={limit}:{limit}")])
        .status();
    assert!(status.expect("util-linux is everywhere").success(), "{what} {limit}");
}

/// A control group of version 1 with this controller, gone with this value.
struct Group(PathBuf);

impl Group {
    /// None where the machine does not have it.
    fn new(controller: &str) -> Option<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/{controller}/jv{}", unique()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        if group.0.join("cgroup.procs").exists() {
            return Some(group);
        }
        None
    }

    fn set(&self, file: &str, value: impl ToString) {
        let path = self.0.join(file);
        fs::write(&path, value.to_string()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    fn add(&self, process: Process) {
        self.set("cgroup.procs", process.pid);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is still in it goes to the group above.
        let above = self.0.parent().expect("it has one").join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            drop(fs::write(&above, pid));
        }
        drop(fs::remove_dir(&self.0));
    }
}

fn skipped(test: &str, why: &str) {
    eprintln!("{test}: skipped, {why}");
}

fn oom_score(process: Process) -> i32 {
    let text = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid));
    text.expect("it lives").trim().parse().expect("a number")
}

fn server_of(visitor: &mut Visitor, account: &Account) -> serde_json::Value {
    visitor.api("GET", &format!("/hub/api/users/{}", account.name), "").json()
}

#[test]
fn row_10_the_kernel_takes_a_users_server_before_a_role() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    with_server(&site, &account);
    let server = oom_score(site.server());
    for role in [site.root(), site.hub(), site.proxy()] {
        assert!(oom_score(role) <= server - 500, "{} {server}", oom_score(role));
    }
}

#[test]
fn row_10_a_server_killed_for_want_of_memory_says_so() {
    as_root!();
    let Some(group) = Group::new("memory") else {
        return skipped("row_10", "there is no memory control group of version 1");
    };
    let account = Account::make();
    let site = Plan::quick().set("spawner.restart", "Never").start();
    let mut visitor = with_server(&site, &account);
    group.set("memory.limit_in_bytes", 64 << 20);
    group.add(site.server());
    let (hub, proxy, mark) = (site.hub(), site.proxy(), site.log.mark());
    let eat = format!("/user/{}/eat?mib=200", account.name);
    drop(visitor.send("GET", &eat, &[], b""));
    wait_until("it is gone", PATIENCE, || server_of(&mut visitor, &account)["server"].is_null());
    let line = site.log.event(mark, "server process ended", PATIENCE);
    assert!(line.raw.contains("OutOfMemory"), "{}", line.raw);
    let words = visitor.get("/hub/home").words();
    assert!(words.contains("out of memory"), "{words}");
    assert_eq!((site.hub(), site.proxy()), (hub, proxy));
}

/// Private writable memory of a process in bytes: what RLIMIT_DATA counts.
fn data(process: Process) -> u64 {
    let kib = process.status("VmData");
    kib.trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Makes tokens until the hub does not answer any more; those that were acknowledged.
fn tokens_until_the_hub_ends(
    site: &Site,
    visitor: &mut Visitor,
    path: &str,
    hub: Process,
) -> Vec<String> {
    let mut made = Vec::new();
    let until = Instant::now() + PATIENCE;
    // A note of some length, so that each takes memory in the store, its journal and the image.
    let body = format!(r#"{{"note": "{}"}}"#, "n".repeat(1000));
    while hub.lives() {
        assert!(Instant::now() < until, "the hub never ran out of memory ({})", made.len());
        let token = visitor.cookie("_xsrf", "/hub/").unwrap_or_default();
        let headers = [("X-Xsrftoken", token.as_str()), ("Content-Type", "application/json")];
        let Ok(answer) = visitor.send("POST", path, &headers, body.as_bytes()) else { continue };
        if answer.status == 201 {
            made.push(answer.json()["id"].as_str().expect("it has an id").to_owned());
        } else if answer.status == 400 {
            // As many tokens as one may have, and there was memory for them: another kind of end.
            hub.kill();
        }
    }
    wait_until("another hub", PATIENCE, || site.role("@hub").is_some_and(|now| now != hub));
    made
}

#[test]
fn row_10_row_27_a_hub_without_memory_ends_cleanly_and_loses_nothing() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let mut acknowledged = Vec::new();
    let (server, values) = (site.server(), scale::scaled(6u64, 100));
    for k in 0..values {
        // A root that starts its hub again and again backs off, which is not what is looked at here.
        if k % 3 == 2 {
            site.signal(nix::sys::signal::Signal::SIGTERM);
            assert!(site.ended(PATIENCE).success());
            site.start();
        }
        let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
        let hub = site.hub();
        wait_until("the hub answers", PATIENCE, || {
            visitor.send("GET", "/hub/api", &[], b"").is_ok_and(|answer| answer.status == 200)
        });
        // So much more than it has now: from nothing to some mebibytes.
        prlimit(hub, "data", data(hub) + ((k % 7 * 30) << 10));
        acknowledged.extend(tokens_until_the_hub_ends(&site, &mut visitor, &path, hub));
        assert_eq!(socket.echo("here").expect("the tunnel does not pass the hub"), "here");
    }
    let seen = visitor.api("GET", &path, "");
    let seen = seen.json()["api_tokens"].as_array().expect("a list").clone();
    let known: Vec<_> = seen.iter().filter_map(|token| token["id"].as_str()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !known.contains(&id.as_str())).collect();
    println!(
        "rows 10, 27: {values} hubs out of memory, {} writes acknowledged, {} lost",
        acknowledged.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert!(server.lives(), "it is nobody's business but its own");
}

/// Connects from another address of the loopback, so that no limit per address is what is seen.
fn connect(to: SocketAddr, from: u8) -> Option<TcpStream> {
    let raw = Raw::new(Domain::IPV4, Type::STREAM, None).ok()?;
    raw.bind(&SocketAddr::new(IpAddr::from([127, 0, 7, from]), 0).into()).ok()?;
    raw.connect_timeout(&to.into(), Duration::from_secs(5)).ok()?;
    let stream = TcpStream::from(raw);
    stream.set_read_timeout(Some(Duration::from_millis(1))).ok()?;
    Some(stream)
}

/// Processor time used so far, in hundredths of a second.
fn ticks(process: Process) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", process.pid)).expect("it lives");
    let fields: Vec<&str> = text[text.rfind(')').expect("a name") + 2..].split(' ').collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

/// A crowd of visitors who each ask once and keep their connection: how many came in, by status (0: no answer yet).
fn crowd(
    to: SocketAddr,
    host: &str,
    path: &str,
    count: usize,
) -> (Vec<TcpStream>, BTreeMap<u16, usize>) {
    let mut streams = Vec::new();
    for k in 0..count {
        let from = u8::try_from(k % 200 + 1).expect("below 201");
        let Some(mut stream) = connect(to, from) else { continue };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        drop(stream.write_all(request.as_bytes()));
        streams.push(stream);
    }
    let until = Instant::now() + Duration::from_secs(2);
    let mut seen: BTreeMap<usize, u16> = BTreeMap::new();
    while Instant::now() < until && seen.len() < streams.len() {
        for (k, stream) in streams.iter_mut().enumerate() {
            let mut head = [0; 64];
            if !seen.contains_key(&k) && stream.read(&mut head).is_ok_and(|size| size > 12) {
                let status = std::str::from_utf8(&head[9..12]).ok().and_then(|s| s.parse().ok());
                seen.insert(k, status.unwrap_or(999));
            }
        }
    }
    let mut counts = BTreeMap::new();
    for k in 0..streams.len() {
        *counts.entry(seen.get(&k).copied().unwrap_or(0)).or_insert(0) += 1;
    }
    (streams, counts)
}

/// What a process uses of a processor over two seconds, in percent.
fn busy(process: Process) -> u64 {
    let (before, began) = (ticks(process), Instant::now());
    sleep(Duration::from_secs(2));
    (ticks(process) - before) * 1000 / u64::try_from(began.elapsed().as_millis()).expect("seconds")
}

#[test]
fn row_24_a_proxy_without_descriptors_keeps_what_it_has_and_recovers() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let path = format!("/user/{}", account.name);
    let mut sockets: Vec<_> = (0..scale::scaled(10, 50))
        .map(|_| visitor.socket(&format!("{path}/ws")).expect("an upgrade"))
        .collect();
    let proxy = site.proxy();
    prlimit(proxy, "nofile", 256);
    let many = scale::scaled(500, 1000);
    let (crowd, seen) = crowd(site.public, &site.public.to_string(), "/hub/api", many);
    let used = busy(proxy);
    println!(
        "row 24: proxy with 256 descriptors, {} of {many} visitors connected, answers {seen:?} (0: waits), {used} % processor",
        crowd.len()
    );
    assert_eq!(crowd.len(), many, "the socket's queue takes them");
    assert!(seen.keys().all(|status| matches!(status, 0 | 200 | 503)), "{seen:?}");
    assert!(seen.contains_key(&0) || seen.contains_key(&503), "there was room for all: {seen:?}");
    assert!(used < 20, "{used} % of a processor for refusing");
    for socket in &mut sockets {
        assert_eq!(socket.echo("here").expect("it was there before"), "here");
    }
    // Root and hub can still speak to it.
    let hub = site.hub();
    hub.kill();
    wait_until("another hub", PATIENCE, || site.role("@hub").is_some_and(|now| now != hub));
    drop(crowd);
    let began = Instant::now();
    wait_until("it serves again", scale::promise(Duration::from_secs(1)), || {
        visitor.send("GET", &format!("{path}/api"), &[], b"").is_ok_and(|it| it.status == 200)
    });
    println!("row 24: served again {:?} after the visitors had left", began.elapsed());
    let about = ["role ended", "role killed", "link broken", "role does not answer"];
    let told = site.log.since(0).into_iter().filter(|line| about.iter().any(|it| line.is(it)));
    let told: Vec<_> = told.map(|line| line.raw).collect();
    assert_eq!(site.proxy(), proxy, "{told:#?}");
    for socket in &mut sockets {
        assert_eq!(socket.echo("still").expect("it was there before"), "still");
    }
}

#[test]
fn row_24_a_hub_without_descriptors_keeps_its_links_and_recovers() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().open_files(400).start();
    let mut visitor = with_server(&site, &account);
    let port = fs::read_to_string(site.file.with_file_name("state").join("hub_port"));
    let port: u16 = port.expect("it was drawn").trim().parse().expect("a number");
    let hub = site.hub();
    let many = scale::scaled(500, 1000);
    let (crowd, seen) = crowd(([127, 0, 0, 1], port).into(), "127.0.0.1", "/hub/api", many);
    let used = busy(hub);
    println!(
        "row 24: hub with 400 descriptors, {} of {many} visitors connected, answers {seen:?} (0: waits), {used} % processor",
        crowd.len()
    );
    assert!(seen.keys().all(|status| matches!(status, 0 | 200 | 503)), "{seen:?}");
    assert!(used < 20, "{used} % of a processor for refusing");
    assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
    // The visitors keep quiet: nobody who asks is kept out by them.
    let made = visitor.api("POST", &format!("/hub/api/users/{}/tokens", account.name), "{}");
    assert_eq!(made.status, 201, "{}", made.text());
    drop(crowd);
    let began = Instant::now();
    wait_until("it serves again", scale::promise(Duration::from_secs(1)), || {
        visitor.send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
    });
    println!("row 24: the hub served again {:?} after the visitors had left", began.elapsed());
    assert_eq!(site.hub(), hub);
}

#[test]
fn row_26_a_fork_that_fails_is_told_and_harms_nobody() {
    as_root!();
    let Some(group) = Group::new("pids") else {
        return skipped("row_26", "there is no pids control group of version 1");
    };
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let (root, hub, proxy) = (site.root(), site.hub(), site.proxy());
    group.add(root);
    group.set("pids.max", 1);
    let mark = site.log.mark();
    visitor.get("/hub/spawn");
    let line = site.log.event(mark, "server process not started", PATIENCE);
    assert!(line.raw.contains("fork"), "{}", line.raw);
    wait_until("the page says why", PATIENCE, || {
        let words = visitor.get("/hub/home").words();
        words.contains("fork") && words.contains("temporarily unavailable")
    });
    // Signing in needs a fork too: that is told, and is not "wrong password".
    let answer = site.visitor().sign_in_as(&account.name, &account.password);
    assert!(answer.status >= 500, "{}: {}", answer.status, answer.words());
    assert_eq!([site.root(), site.hub(), site.proxy()], [root, hub, proxy]);
    group.set("pids.max", "max");
    visitor.get("/hub/spawn");
    wait_for_server(&mut visitor, &account);
}
