//! What is counted, by configurable-http-proxy's names (`spec/proxy.md` 10), and the process's own numbers.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;

/// Numbers since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that are no WebSockets.
    pub(super) web: AtomicU64,
    /// Requests for WebSockets.
    pub(super) websockets: AtomicU64,
    /// Tables told.
    pub(super) gets: AtomicU64,
    /// Routes added.
    pub(super) adds: AtomicU64,
    /// Requests to delete routes.
    pub(super) deletes: AtomicU64,
    /// Answers of targets, and ours to visitors where there was none.
    pub(super) proxy: Statuses,
    /// Answers of the REST API.
    pub(super) api: Statuses,
    /// Looking for a route.
    pub(super) finding: Lengths,
}

/// How often each status was given.
#[derive(Debug)]
pub(super) struct Statuses(Box<[AtomicU64]>);

impl Default for Statuses {
    fn default() -> Self {
        Self((100..1000).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Statuses {
    /// Once more.
    pub(super) fn count(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16()) - 100) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// How often and how long.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Lengths {
    /// Once more, for so long.
    pub(super) fn add(&self, length: Duration) {
        self.count.fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of years fit, but for the last")]
    fn seconds(&self) -> f64 {
        self.nanoseconds.load(Relaxed) as f64 / 1e9
    }
}

impl Counts {
    /// In Prometheus's text format.
    pub(super) fn encode(&self) -> String {
        let mut out = String::new();
        for (name, help, count) in [
            ("api_route_get", "Count of API route get requests", &self.gets),
            ("api_route_add", "Count of API route add requests", &self.adds),
            ("api_route_delete", "Count of API route delete requests", &self.deletes),
            ("requests_ws", "Count of websocket requests", &self.websockets),
            ("requests_web", "Count of web requests", &self.web),
        ] {
            let count = count.load(Relaxed);
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}");
        }
        for (name, help, statuses) in [
            ("requests_proxy", "Count of proxy requests", &self.proxy),
            ("requests_api", "Count of API requests", &self.api),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (status, count) in (100..).zip(&statuses.0) {
                match count.load(Relaxed) {
                    0 => {}
                    count => drop(writeln!(out, "{name}{{status=\"{status}\"}} {count}")),
                }
            }
        }
        // Noting a use is one store here: there is nothing to measure, but the name stays for dashboards.
        let none = Lengths::default();
        for (name, help, lengths) in [
            ("find_target_for_req", "Summary of find target requests", &self.finding),
            ("last_activity_updating", "Summary of last activity updating requests", &none),
        ] {
            let (sum, count) = (lengths.seconds(), lengths.count.load(Relaxed));
            let _ = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} summary\n{name}_sum {sum}\n{name}_count {count}"
            );
        }
        process(&mut out);
        out
    }
}

/// What the kernel says of us; what it does not say is left out.
fn process(out: &mut String) {
    let mut gauge = |name: &str, help: &str, value: f64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(kilobytes) = field("VmRSS:") {
        let bytes = kilobytes * 1024.0;
        gauge("process_resident_memory_bytes", "Resident memory size in bytes.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let open = u32::try_from(open.count()).unwrap_or(u32::MAX);
        gauge("process_open_fds", "Number of open file descriptors.", open.into());
    }
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
        let seconds = now.as_secs_f64();
        gauge("process_scrape_time_seconds", "When this was told, since 1970.", seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_names_that_dashboards_know() {
        let counts = Counts::default();
        counts.web.fetch_add(2, Relaxed);
        counts.proxy.count(StatusCode::OK);
        counts.proxy.count(StatusCode::from_u16(999).unwrap());
        counts.finding.add(Duration::from_millis(500));
        let text = counts.encode();
        for line in [
            "requests_web 2",
            "requests_ws 0",
            "requests_proxy{status=\"200\"} 1",
            "requests_proxy{status=\"999\"} 1",
            "find_target_for_req_sum 0.5",
            "find_target_for_req_count 1",
            "last_activity_updating_count 0",
            "# TYPE requests_api counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.contains("process_open_fds "), "{text}");
    }
}
