//! The public side by TLS, as real clients see it: versions of HTTP, names, the way from `http` to `https`; and floods.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    reload::{Kept, certificate_of},
    support::{PATIENCE, Plan, Site, free_ports, process::Process, wait_until},
};
use crate::as_root;

/// What curl says of a request, by `--write-out`.
fn curl(arguments: &[&str], say: &str) -> String {
    let done = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "20", "--output", "/dev/null"])
        .args(["--write-out", say])
        .args(arguments)
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The common name that who asks for this name is shown.
fn shown(site: &Site, name: &str) -> String {
    let asked = Command::new("openssl")
        .args(["s_client", "-servername", name, "-connect", &site.public.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_default().replace([' ', '/'], "")
}

#[test]
fn clients_get_http2_their_name_and_the_way_to_tls() {
    as_root!();
    let plain = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let mut site = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#)
        .set("proxy.certificates", r#"[(cert: "FOLDER/two.both")]"#)
        .set("proxy.redirect_port", &plain.port().to_string())
        .prepare();
    certificate_of(site.folder(), "one", "DNS:one.example");
    certificate_of(site.folder(), "two", "DNS:*.two.example");
    let folder = site.folder().to_owned();
    let both = || {
        let part = |end: &str| fs::read(folder.join(format!("two.{end}"))).expect("it was made");
        fs::write(folder.join("two.both"), [part("pem"), part("key")].concat()).expect("ours");
    };
    both();
    site.start();
    let login = format!("https://{}/hub/login", site.public);
    let say = "%{http_version} %{http_code}";
    assert_eq!(curl(&["--http2", &login], say), "2 200");
    assert_eq!(curl(&["--http1.1", &login], say), "1.1 200");
    let form = "username=nobody&password=wrong";
    assert_eq!(curl(&["--http2", "--data", form, &login], say), "2 403");
    // Without TLS there is the way to it, at one port, and nothing else.
    let way = format!("http://{plain}/hub/login?next=/x");
    let to = format!("308 https://{}/hub/login?next=/x", site.public);
    assert_eq!(curl(&[&way], "%{http_code} %{redirect_url}"), to);
    assert_eq!(curl(&["--location", "--http2", &way], say), "2 200");
    let api = format!("http://{plain}/hub/api/users");
    assert_eq!(curl(&["--header", "Authorization: token x", &api], say), "1.1 403");
    // Each name has its certificate; both are read again, and nobody is dropped.
    let mut kept = Kept::open(&site);
    assert!(kept.answers());
    let names = ["one.example", "a.two.example", "elsewhere.example"];
    assert_eq!(names.map(|name| shown(&site, name)), ["CN=one", "CN=two", "CN=one"]);
    certificate_of(site.folder(), "renewed", "DNS:a.two.example");
    for end in ["pem", "key"] {
        fs::rename(folder.join(format!("renewed.{end}")), folder.join(format!("two.{end}")))
            .expect("the folder is ours");
    }
    both();
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    wait_until("the renewed one is shown", PATIENCE, || {
        shown(&site, "a.two.example") == "CN=renewed"
    });
    // It is good for two days only.
    let told = site.log.event(mark, "certificate expires soon", PATIENCE);
    assert!(told.text("name").is_some());
    assert!(kept.answers());
    let parts = fs::read_to_string(&site.file).expect("it is ours");
    let without = parts.replace(&format!("redirect_port: {}", plain.port()), "redirect_port: 0");
    fs::write(&site.file, without).expect("it is ours");
    site.signal(Signal::SIGHUP);
    wait_until("the way is closed", PATIENCE, || curl(&[&way], "%{http_code}") == "000");
    assert!(kept.answers());
}

/// The nth frames of a flood.
type Wave = fn(u32) -> Vec<u8>;

/// Writes frames by hand, over TLS by openssl.
struct Flood(Child);

impl Flood {
    fn begin(site: &Site) -> Self {
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-alpn", "h2", "-connect", &site.public.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        Self(child)
    }

    /// Goes on until it is ended. `wave`: the nth frames.
    fn pour(mut self, wave: Wave) -> bool {
        let until = Instant::now() + Duration::from_secs(60);
        let mut to = self.0.stdin.take().expect("a pipe");
        let _ = to
            .write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat());
        let mut n = 0;
        while Instant::now() < until {
            let batch: Vec<u8> = (n..n + 100).flat_map(wave).collect();
            n += 100;
            let over = matches!(self.0.try_wait(), Ok(Some(_)));
            if to.write_all(&batch).is_err() || over {
                return true;
            }
        }
        false
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET https://a/` by HPACK's own table.
const GET: [u8; 6] = [0x82, 0x87, 0x84, 0x41, 1, b'a'];

/// Kilobytes in memory, and hundredths of a second of work.
fn cost(process: Process) -> (u64, u64) {
    let memory = process.status("VmRSS");
    let memory = memory.trim_end_matches(" kB").trim().parse().expect("a number");
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).expect("it lives");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    (memory, ticks(11) + ticks(12))
}

#[test]
fn floods_cost_the_proxy_little_and_others_nothing() {
    as_root!();
    let mut site = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#)
        .set("log.level", r#""info""#)
        .prepare();
    certificate_of(site.folder(), "one", "IP:127.0.0.1");
    site.start();
    let proxy = site.proxy();
    let login = format!("https://{}/hub/login", site.public);
    assert_eq!(curl(&["--http2", &login], "%{http_code}"), "200");
    let (before, _) = cost(proxy);
    let floods: [(&str, Wave); 6] = [
        ("rapid reset", |n| {
            let open = frame(1, 5, 2 * n + 1, &GET);
            [open, frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        }),
        ("CONTINUATION", |n| match n {
            0 => frame(1, 0, 1, &GET),
            _ => frame(9, 0, 1, &[0, 1, b'x', 1, b'y']),
        }),
        ("HPACK", |n| {
            let remembered = [&[0x40, 1, b'x', 0x7F, 0x9D, 0x1E][..], &[b'v'; 3996]].concat();
            frame(1, 5, 2 * n + 1, &[&GET[..], &remembered, &[0xBE; 12_000]].concat())
        }),
        ("SETTINGS", |_| frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("PING", |_| frame(6, 0, 0, &[7; 8])),
        ("empty DATA", |n| match n {
            0 => frame(1, 4, 1, &[&[0x83][..], &GET[1..]].concat()),
            _ => frame(0, 0, 1, b""),
        }),
    ];
    for (name, wave) in floods {
        let (_, worked) = cost(proxy);
        let began = Instant::now();
        let pouring: Vec<_> = (0..8).map(|_| Flood::begin(&site)).collect();
        let pouring: Vec<_> =
            pouring.into_iter().map(|flood| thread::spawn(move || flood.pour(wave))).collect();
        let mut slowest = Duration::ZERO;
        let mut most = 0;
        loop {
            let asked = Instant::now();
            assert_eq!(curl(&["--http2", &login], "%{http_code}"), "200", "{name}");
            slowest = slowest.max(asked.elapsed());
            most = most.max(cost(proxy).0);
            if pouring.iter().all(thread::JoinHandle::is_finished) {
                break;
            }
        }
        let ended = pouring.into_iter().all(|it| it.join().expect("it does not panic"));
        let (after, work) = cost(proxy);
        println!(
            "{name}: {} kB at most, {} kB more afterwards, {} ms of work, {:.1?}, others waited {slowest:.1?}",
            most,
            after.saturating_sub(before),
            (work - worked) * 10,
            began.elapsed()
        );
        assert!(ended, "{name}: not all were ended");
        assert!(most < before + 16 * 1024, "{name}: {before} kB before, {most} kB at most");
        // Eight handshakes and the others' requests are in it too.
        assert!(work - worked < 300, "{name}: {} ms of work", (work - worked) * 10);
    }
}
