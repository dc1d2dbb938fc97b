//! What the proxy counts: requests and how long they took, by where they went; connections, tunnels, failures, what of
//! the limits is used. Told to the hub now and then, which adds it to its own numbers (`{hub}metrics`).
//!
//! Every worker has a row of its own, so that counting is no meeting place; who reads adds the rows up. No label is a
//! visitor's word.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use crate::{os::process, telemetry::metrics};

/// Bounds of the buckets, in microseconds.
const BUCKETS: [u64; 12] = [
    250, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
    60_000_000,
];
/// Rows; workers beyond share them.
const ROWS: usize = 16;
/// First digits of statuses: 1 to 5.
const STATUSES: usize = 5;

/// Where a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// To a user's server.
    Server,
    /// To the hub.
    Hub,
    /// To a service, or by a route somebody else has made.
    Other,
    /// It was answered here.
    Here,
}

const CLASSES: [(Class, &str); 4] = [
    (Class::Server, "server"),
    (Class::Hub, "hub"),
    (Class::Other, "other"),
    (Class::Here, "proxy"),
];

/// Things that are counted as they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection to a backend was opened.
    Dialled,
    /// A backend could not be reached.
    Unreachable,
    /// A backend did not accept in time.
    Late,
    /// A backend broke off before an answer.
    Broken,
    /// A backend broke off in the middle of an answer.
    Cut,
    /// A backend's answer was not valid.
    Irregular,
    /// The hub stayed away for longer than requests wait.
    HubAway,
    /// Something that is no unambiguous request.
    Refused,
    /// A connection more than one address may have.
    Crowded,
}

/// In the order of [`Event`]: the family, and the label's value.
const EVENTS: [(Event, &str, &str); 9] = [
    (Event::Dialled, "jovis_proxy_backend_connections_total", ""),
    (Event::Unreachable, FAILURES, "unreachable"),
    (Event::Late, FAILURES, "timeout"),
    (Event::Broken, FAILURES, "broken"),
    (Event::Cut, FAILURES, "cut"),
    (Event::Irregular, FAILURES, "irregular"),
    (Event::HubAway, FAILURES, "hub away"),
    (Event::Refused, "jovis_proxy_refused_total", "malformed"),
    (Event::Crowded, "jovis_proxy_refused_total", "crowded"),
];
const FAILURES: &str = "jovis_proxy_backend_failures_total";
const REQUESTS: &str = "jovis_proxy_request_duration_seconds";

/// All of it.
#[derive(Debug)]
pub(super) struct Figures {
    rows: Box<[Row; ROWS]>,
    tunnels: AtomicUsize,
}

/// A worker's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    requests: [[Times; STATUSES]; CLASSES.len()],
    events: [AtomicU64; EVENTS.len()],
}

#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            rows: Box::new(std::array::from_fn(|_| Row::default())),
            tunnels: AtomicUsize::new(0),
        }
    }
}

/// This thread's row.
fn row() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static ROW: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    ROW.with(|row| {
        if row.get() == usize::MAX {
            row.set(NEXT.fetch_add(1, Relaxed) % ROWS);
        }
        row.get()
    })
}

impl Figures {
    /// A request was answered with this status; until its head left it took so long.
    pub(super) fn served(&self, class: Class, status: u16, took: Duration) {
        let first = usize::from(status / 100).clamp(1, STATUSES) - 1;
        let times = &self.rows[row()].requests[class as usize][first];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        times.buckets[bucket].fetch_add(1, Relaxed);
        times.micros.fetch_add(micros, Relaxed);
    }

    /// It has happened.
    pub(super) fn count(&self, event: Event) {
        self.rows[row()].events[event as usize].fetch_add(1, Relaxed);
    }

    /// One more tunnel, until this is dropped.
    pub(super) fn tunnel(&self) -> Tunnel<'_> {
        self.tunnels.fetch_add(1, Relaxed);
        Tunnel(self)
    }

    /// How often has it happened?
    fn counted(&self, event: Event) -> u64 {
        self.rows.iter().map(|row| row.events[event as usize].load(Relaxed)).sum()
    }

    /// Everything in Prometheus's text format. `connections`: visitors' now; `routes`: in the table.
    pub(super) fn text(&self, connections: usize, routes: usize) -> String {
        let mut out = String::new();
        self.requests(&mut out);
        let mut last = "";
        for (event, family, label) in EVENTS {
            if family != last {
                metrics::head(&mut out, family, help(family), "counter");
                last = family;
            }
            let labels =
                if label.is_empty() { String::new() } else { format!("cause=\"{label}\"") };
            metrics::line(&mut out, family, &labels, self.counted(event) as f64);
        }
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            if let Some(value) = value {
                metrics::head(&mut out, name, help, "gauge");
                metrics::line(&mut out, name, "", value);
            }
        };
        let tunnels = self.tunnels.load(Relaxed);
        gauge("jovis_proxy_connections", "Visitors' connections now", Some(connections as f64));
        gauge("jovis_proxy_tunnels", "WebSockets now", Some(tunnels as f64));
        gauge("jovis_proxy_routes", "Routes in the proxy's table", Some(routes as f64));
        let open = fs::read_dir("/proc/self/fd").map(|list| list.count() as f64);
        gauge("jovis_proxy_open_fds", "Open descriptors of the proxy", open.ok());
        let limit = Some(process::open_files() as f64);
        gauge("jovis_proxy_max_fds", "Descriptors the proxy may have", limit);
        gauge("jovis_proxy_resident_memory_bytes", "Memory of the proxy", resident());
        let ports = ports();
        let name = "jovis_proxy_local_ports_in_use";
        gauge(name, "Sockets of the whole machine that have a port the kernel chose", used_ports());
        let name = "jovis_proxy_local_ports";
        gauge(name, "Ports the kernel chooses from for connections to backends", ports);
        out
    }

    fn requests(&self, out: &mut String) {
        metrics::head(out, REQUESTS, help(REQUESTS), "histogram");
        for (class, class_name) in CLASSES {
            for first in 0..STATUSES {
                let times = || self.rows.iter().map(|row| &row.requests[class as usize][first]);
                let total: u64 =
                    times().flat_map(|it| &it.buckets).map(|it| it.load(Relaxed)).sum();
                if total == 0 {
                    continue;
                }
                let labels = format!("to=\"{class_name}\",code=\"{}xx\"", first + 1);
                let mut below = 0;
                for (at, bound) in BUCKETS.iter().enumerate() {
                    below += times().map(|it| it.buckets[at].load(Relaxed)).sum::<u64>();
                    let mut labels = labels.clone();
                    let _ = write!(labels, ",le=\"{}\"", *bound as f64 / 1e6);
                    metrics::line(out, &format!("{REQUESTS}_bucket"), &labels, below as f64);
                }
                let all = format!("{labels},le=\"+Inf\"");
                metrics::line(out, &format!("{REQUESTS}_bucket"), &all, total as f64);
                let micros: u64 = times().map(|it| it.micros.load(Relaxed)).sum();
                metrics::line(out, &format!("{REQUESTS}_sum"), &labels, micros as f64 / 1e6);
                metrics::line(out, &format!("{REQUESTS}_count"), &labels, total as f64);
            }
        }
    }
}

/// A tunnel while it lasts.
pub(super) struct Tunnel<'a>(&'a Figures);

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Relaxed);
    }
}

fn help(family: &str) -> &'static str {
    match family {
        REQUESTS => "Seconds until an answer began, by where the request went and its status",
        FAILURES => "Requests without a whole answer of their backend, by cause",
        "jovis_proxy_refused_total" => {
            "Requests and connections that were refused unheard, by cause"
        }
        _ => "Connections opened to servers and the hub",
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// How many ports there are to choose from.
fn ports() -> Option<f64> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<f64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(high - low + 1.0)
}

/// TCP sockets of this machine: in use and waiting out their time. (Counting those of ours alone would mean to read a
/// table of all of them.)
fn used_ports() -> Option<f64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let of = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse::<f64>().ok()
    };
    Some(of("inuse")? + of("tw")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_told() {
        let figures = Figures::default();
        figures.served(Class::Server, 200, Duration::from_micros(900));
        figures.served(Class::Server, 200, Duration::from_millis(3));
        figures.served(Class::Hub, 503, Duration::from_secs(100));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| figures.count(Event::Irregular));
            }
        });
        let text = figures.text(7, 3);
        for line in [
            "# TYPE jovis_proxy_request_duration_seconds histogram",
            "jovis_proxy_request_duration_seconds_bucket{to=\"server\",code=\"2xx\",le=\"0.00025\"} 0",
            "jovis_proxy_request_duration_seconds_bucket{to=\"server\",code=\"2xx\",le=\"0.001\"} 1",
            "jovis_proxy_request_duration_seconds_bucket{to=\"server\",code=\"2xx\",le=\"0.005\"} 2",
            "jovis_proxy_request_duration_seconds_sum{to=\"server\",code=\"2xx\"} 0.0039",
            "jovis_proxy_request_duration_seconds_bucket{to=\"hub\",code=\"5xx\",le=\"60\"} 0",
            "jovis_proxy_request_duration_seconds_count{to=\"hub\",code=\"5xx\"} 1",
            "jovis_proxy_backend_failures_total{cause=\"irregular\"} 2",
            "jovis_proxy_backend_failures_total{cause=\"timeout\"} 0",
            "jovis_proxy_connections 7",
            "jovis_proxy_routes 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        for name in ["jovis_proxy_open_fds", "jovis_proxy_max_fds", "jovis_proxy_local_ports "] {
            assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
        }
        let families = text.lines().filter(|line| line.starts_with("# TYPE"));
        let mut names: Vec<_> = families.map(|line| line.split(' ').nth(2)).collect();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn each_kind_has_its_place() {
        for (at, (class, _)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, at);
        }
        for (at, (event, ..)) in EVENTS.iter().enumerate() {
            assert_eq!(*event as usize, at);
        }
    }
}
