//! Numbers of this process, told in Prometheus's text format at `{hub}metrics`.
//!
//! What the log tells is counted where the log is made ([`Counts`](super::logs) hears every event from `info` up,
//! whatever `log.level` hides), so deciders know nothing of metrics. Durations are given to [`observe`] where they are
//! measured. What is a state and no event (how many servers run) is looked up when somebody asks, and passed to
//! [`encode`].
//!
//! To add a number of an event: a row in [`COUNTED`]. Names of JupyterHub keep its prefix and labels.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is counted or measured under one name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// Seconds a request took, by method, row of the table and status.
pub const REQUESTS: Family = Family {
    name: "jupyterhub_request_duration_seconds",
    help: "Seconds the hub took to answer, by method, handler (path) and status code",
};
/// Seconds from the wish to the first answer of a server.
pub const SPAWNS: Family = Family {
    name: "jupyterhub_server_spawn_duration_seconds",
    help: "Seconds from the recorded start of a server to its being in service (success) or over (failure)",
};
/// Seconds until a group of changes is durable.
pub const COMMITS: Family = Family {
    name: "jovis_store_commit_duration_seconds",
    help: "Seconds from the beginning of an append to the journal until it is on the disk",
};
/// Every event, by name and level.
pub const EVENTS: Family = Family {
    name: "jovis_events_total",
    help: "Events of the log, by name and level (docs/events.md)",
};
/// Lines of the log that nobody has.
pub const LOST: Family =
    Family { name: "jovis_log_lines_dropped_total", help: "Lines the log could not be rid of" };
/// Ends of servers.
pub const ENDS: Family =
    Family { name: "jovis_server_ends_total", help: "Servers that are over, by cause" };
/// Lives of actors.
pub const RESTARTS: Family =
    Family { name: "jovis_actor_restarts_total", help: "Actors that failed and were started anew" };
/// Attempts to sign in.
pub const LOGINS: Family =
    Family { name: "jovis_logins_total", help: "Attempts to sign in, by outcome" };
/// Reloads.
pub const RELOADS: Family =
    Family { name: "jovis_reloads_total", help: "New settings the hub has taken on" };

/// Bounds of the buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];
/// How many series there may be under one name; what is beyond is not counted.
const MOST: usize = 2_000;

/// A label's value: always the same, or a field of the event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    Is(&'static str),
    Field(&'static str),
}

/// An event's name, what it counts for, and with which labels.
type Counted = (&'static str, &'static Family, &'static [(&'static str, Label)]);

/// Events that have a number of their own.
pub(super) const COUNTED: &[Counted] = {
    use Label::{Field, Is};
    &[
        ("server ended", &ENDS, &[("cause", Field("kind"))]),
        ("actor restarting", &RESTARTS, &[("actor", Field("actor"))]),
        ("actor restarting later", &RESTARTS, &[("actor", Field("actor"))]),
        ("spawner actor panicked", &RESTARTS, &[("actor", Is("spawner"))]),
        ("user signed in", &LOGINS, &[("outcome", Is("success"))]),
        ("password refused", &LOGINS, &[("outcome", Is("refused"))]),
        ("provider refused", &LOGINS, &[("outcome", Is("refused"))]),
        ("name taken", &LOGINS, &[("outcome", Is("refused"))]),
        ("name invalid", &LOGINS, &[("outcome", Is("refused"))]),
        ("user blocked", &LOGINS, &[("outcome", Is("not allowed"))]),
        ("user has no account", &LOGINS, &[("outcome", Is("not allowed"))]),
        ("user not allowed", &LOGINS, &[("outcome", Is("not allowed"))]),
        ("attempt throttled", &LOGINS, &[("outcome", Is("throttled"))]),
        ("too many attempts", &LOGINS, &[("outcome", Is("turned away"))]),
        ("no place for attempt", &LOGINS, &[("outcome", Is("turned away"))]),
        ("authenticator timed out", &LOGINS, &[("outcome", Is("failed"))]),
        ("authenticator busy", &LOGINS, &[("outcome", Is("failed"))]),
        ("authenticator failed", &LOGINS, &[("outcome", Is("failed"))]),
        ("sign-in not recorded", &LOGINS, &[("outcome", Is("failed"))]),
        ("new settings taken on", &RELOADS, &[]),
    ]
};

/// Labels as they stand between the braces.
type Series<T> = BTreeMap<String, T>;

#[derive(Debug, Default)]
struct Numbers {
    counts: BTreeMap<&'static Family, Series<u64>>,
    times: BTreeMap<&'static Family, Series<Times>>,
}

/// How often, and how long.
#[derive(Debug, Clone, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

static NUMBERS: LazyLock<Mutex<Numbers>> = LazyLock::new(Mutex::default);

fn numbers() -> MutexGuard<'static, Numbers> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many more of these.
pub fn count(family: &'static Family, labels: &[(&str, &str)], more: u64) {
    let mut numbers = numbers();
    if let Some(count) = entry(numbers.counts.entry(family).or_default(), labels) {
        *count += more;
    }
}

/// One took so long.
pub fn observe(family: &'static Family, labels: &[(&str, &str)], took: Duration) {
    let mut numbers = numbers();
    if let Some(times) = entry(numbers.times.entry(family).or_default(), labels) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            times.buckets[at] += 1;
        }
        times.count += 1;
        times.sum += took;
    }
}

fn entry<'a, T: Default>(series: &'a mut Series<T>, labels: &[(&str, &str)]) -> Option<&'a mut T> {
    let labels = between_braces(labels);
    let room = series.len() < MOST || series.contains_key(&labels);
    room.then(|| series.entry(labels).or_default())
}

/// A number of now: its name, what it means, and a value for each set of labels.
#[derive(Debug)]
pub struct Gauge<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it means.
    pub help: &'a str,
    /// Labels and values.
    pub values: Vec<(Vec<(&'a str, &'a str)>, f64)>,
}

/// What the proxy has told of itself, in the format it goes out in.
static PROXY: Mutex<(String, String)> = Mutex::new((String::new(), String::new()));

/// The numbers of the proxy of this name, in Prometheus's text format.
pub fn set_proxy(name: &str, text: String) {
    *PROXY.lock().unwrap_or_else(PoisonError::into_inner) = (name.to_owned(), text);
}

/// That proxy has gone. If another has told of itself since, its numbers stay.
pub fn clear_proxy(name: &str) {
    let mut proxy = PROXY.lock().unwrap_or_else(PoisonError::into_inner);
    if proxy.0 == name {
        proxy.1.clear();
    }
}

/// All numbers of this process, the proxy's, and these.
pub fn encode(gauges: &[Gauge<'_>]) -> String {
    let mut out = String::new();
    for Gauge { name, help, values } in gauges {
        head(&mut out, name, help, "gauge");
        for (labels, value) in values {
            line(&mut out, name, &between_braces(labels), *value);
        }
    }
    out.push_str(&PROXY.lock().unwrap_or_else(PoisonError::into_inner).1);
    let numbers = numbers();
    for (family, series) in &numbers.counts {
        head(&mut out, family.name, family.help, "counter");
        for (labels, count) in series {
            line(&mut out, family.name, labels, *count as f64);
        }
    }
    for (family, series) in &numbers.times {
        head(&mut out, family.name, family.help, "histogram");
        for (labels, times) in series {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut below = 0;
            for (bound, more) in BUCKETS.iter().zip(times.buckets) {
                below += more;
                let labels = format!("{labels}{comma}le=\"{bound}\"");
                line(&mut out, &format!("{}_bucket", family.name), &labels, below as f64);
            }
            let all = format!("{labels}{comma}le=\"+Inf\"");
            line(&mut out, &format!("{}_bucket", family.name), &all, times.count as f64);
            line(&mut out, &format!("{}_sum", family.name), labels, times.sum.as_secs_f64());
            line(&mut out, &format!("{}_count", family.name), labels, times.count as f64);
        }
    }
    out
}

fn between_braces(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if out.is_empty() { "" } else { "," };
        put(&mut out, format_args!("{comma}{name}=\"{value}\""));
    }
    out
}

/// The first lines of a family.
pub(crate) fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    put(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// One number; its labels as they stand between the braces.
pub(crate) fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    if labels.is_empty() {
        put(out, format_args!("{name} {value}\n"));
    } else {
        put(out, format_args!("{name}{{{labels}}} {value}\n"));
    }
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    static THINGS: Family = Family { name: "test_things_total", help: "Things" };
    static WAITS: Family = Family { name: "test_waits_seconds", help: "Waits" };
    static MANY: Family = Family { name: "test_many_total", help: "Many" };

    fn lines(start: &str) -> Vec<String> {
        let text = encode(&[]);
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_counted_is_told() {
        count(&THINGS, &[("of", "a\"b\\c\nd")], 1);
        count(&THINGS, &[("of", "a\"b\\c\nd")], 2);
        count(&THINGS, &[], 5);
        assert_eq!(
            lines("test_things_total"),
            ["test_things_total 5", "test_things_total{of=\"a\\\"b\\\\c\\nd\"} 3"]
        );
        assert!(encode(&[]).contains("# TYPE test_things_total counter\n"));
    }

    #[test]
    fn buckets_count_what_is_not_longer() {
        for ms in [1, 2, 300, 600_000] {
            observe(&WAITS, &[("on", "x")], Duration::from_millis(ms));
        }
        let lines = lines("test_waits_seconds");
        for (bound, count) in [("0.001", 1), ("0.0025", 2), ("0.25", 2), ("0.5", 3), ("+Inf", 4)] {
            let line = format!("test_waits_seconds_bucket{{on=\"x\",le=\"{bound}\"}} {count}");
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
        assert!(lines.contains(&"test_waits_seconds_sum{on=\"x\"} 600.303".to_owned()));
        assert!(lines.contains(&"test_waits_seconds_count{on=\"x\"} 4".to_owned()));
    }

    #[test]
    fn there_is_a_bound_to_what_others_can_make_us_count() {
        for number in 0..MOST + 10 {
            count(&MANY, &[("n", &number.to_string())], 1);
        }
        count(&MANY, &[("n", "0")], 1);
        let lines = lines("test_many_total");
        assert_eq!(lines.len(), MOST);
        assert!(lines.contains(&"test_many_total{n=\"0\"} 2".to_owned()));
    }

    #[test]
    fn gauges_stand_with_their_labels() {
        let gauge = Gauge {
            name: "test_now",
            help: "Now",
            values: vec![(vec![], 1.5), (vec![("state", "ready")], 2.0)],
        };
        let text = encode(&[gauge]);
        assert!(text.starts_with(
            "# HELP test_now Now\n# TYPE test_now gauge\ntest_now 1.5\ntest_now{state=\"ready\"} 2\n"
        ));
    }

    #[test]
    fn only_events_of_the_catalogue_are_counted() {
        let events: Vec<_> =
            super::super::events::AREAS.iter().flat_map(|area| area.events).collect();
        for (name, _, labels) in COUNTED {
            let event = events.iter().find(|event| event.name == *name);
            let event = event.unwrap_or_else(|| panic!("{name:?} is in no table"));
            for (_, label) in *labels {
                if let Label::Field(field) = label {
                    assert!(event.fields.contains(field), "{name:?} has no field {field}");
                }
            }
        }
    }
}
