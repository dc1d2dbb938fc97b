//! `jovis status`: both halves for people, and as JSON.

use std::{
    fs,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::operate::plain;
use crate::ipc::{
    control::{ActorStatus, Answer, HubStatus, ProcessStatus, RootStatus, UpgradeStatus},
    reload::ReloadReport,
};

/// What the kernel tells of a process: resident memory in KiB, open descriptors. Read here and not by root, which has
/// better things to do than to count a proxy's connections.
fn measured(pid: i32) -> (Option<u64>, Option<usize>) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    (resident, fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).ok())
}

/// Seconds as people say them.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes as people say them.
fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{} KiB", bytes >> 10),
        10_000_000..=9_999_999_999 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn row(process: &ProcessStatus) -> [String; 9] {
    let dash = || "-".to_owned();
    let (memory, files) = process.pid.map_or((None, None), measured);
    let last = process
        .last_exit
        .as_ref()
        .map(|exit| format!("{exit}, {} ago", age(process.last_exit_s.unwrap_or_default())));
    [
        super::operate::word(&process.role),
        process.state.clone(),
        process.pid.map_or_else(dash, |pid| pid.to_string()),
        if process.build.is_empty() { dash() } else { process.build.clone() },
        process.up_s.map_or_else(dash, age),
        process.restarts.to_string(),
        memory.map_or_else(dash, |kib| format!("{:.1} MiB", kib as f64 / 1024.0)),
        files.map_or_else(dash, |files| files.to_string()),
        last.unwrap_or_else(dash),
    ]
}

/// Columns below each other.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], out: &mut dyn Write) {
    let head = head.map(str::to_owned);
    let all: Vec<_> = std::iter::once(&head).chain(rows).collect();
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    for row in all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "{}", plain(line.trim_end()));
    }
}

/// Root's half, for people.
pub(super) fn root(status: &RootStatus, out: &mut dyn Write) {
    let RootStatus { name, url, file, stage, processes, children, reload, upgrade } = status;
    let file = file.as_ref().map_or_else(|| "no file".to_owned(), |it| it.display().to_string());
    let _ = writeln!(out, "{}\n", plain(&format!("jovis {name}: {stage} at {url} ({file})")));
    let head =
        ["process", "state", "pid", "version", "up", "restarts", "memory", "files", "last end"];
    table(head, &processes.iter().map(row).collect::<Vec<_>>(), out);
    let _ = writeln!(out, "\nuser servers' processes: {children}");
    if let Some(report) = reload {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let word = if report.refused { "refused" } else { "done" };
        let _ = writeln!(out, "last reload: {word} {} ago", age(now.saturating_sub(report.at)));
        reloaded(report, out);
    }
    upgraded(upgrade, out);
}

fn upgraded(upgrade: &UpgradeStatus, out: &mut dyn Write) {
    let line = match upgrade {
        UpgradeStatus { under_way: true, .. } => "under way".to_owned(),
        UpgradeStatus { refused: Some(why), .. } => format!("refused: {why}"),
        UpgradeStatus { done: Some(version), .. } => format!("done: {version} serves"),
        UpgradeStatus { .. } => return,
    };
    let _ = writeln!(out, "last upgrade: {}", plain(&line));
}

/// What came of a reload, for people.
pub(super) fn reloaded(report: &ReloadReport, out: &mut dyn Write) {
    for finding in &report.findings {
        let word = if report.refused { "wrong" } else { "not taken on" };
        let _ = writeln!(out, "{word}: {}", plain(finding));
    }
    if report.refused {
        let _ = writeln!(out, "nothing was changed");
        return;
    }
    let lists = [
        ("applied", &report.applied),
        ("for servers that start from now on", &report.next_start),
        ("by another socket or certificate", &report.rebound),
        ("needs restart", &report.needs_restart),
    ];
    for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(out, "{what}: {}", plain(&names.join(" ")));
    }
    if lists.iter().all(|(_, names)| names.is_empty()) {
        let _ = writeln!(out, "nothing has changed");
    }
}

/// The hub's half, for people.
pub(super) fn hub(answer: &Result<Answer, String>, out: &mut dyn Write) {
    let HubStatus { users, servers, store, routes, routes_wanted, actors, aside, .. } = match answer
    {
        Ok(Answer::Hub(status)) => status,
        Ok(other) => return drop(writeln!(out, "hub: {}", plain(&format!("{other:?}")))),
        Err(why) => return drop(writeln!(out, "hub: no answer ({})", plain(why))),
    };
    let servers: Vec<_> = servers.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let servers = if servers.is_empty() { "none".to_owned() } else { servers.join(", ") };
    let _ = writeln!(out, "servers: {servers} (users: {users})");
    let routes = routes.map_or_else(|| "no answer".to_owned(), |count| count.to_string());
    let _ = writeln!(out, "routes: {routes} in the proxy, {routes_wanted} wanted");
    let _ = writeln!(out, "store: {} records, change {}", store.records, store.sequence);
    let newest = store.snapshot_age_s.map_or_else(|| "none".to_owned(), |s| age(s) + " old");
    let (journal, snapshots) = (size(store.journal_bytes), store.snapshots);
    let free = store.free_bytes.map_or_else(|| "unknown".to_owned(), size);
    let _ = writeln!(
        out,
        "  journal {journal}, snapshots {snapshots} (newest {newest}), free {free}\n"
    );
    let row = |one: &ActorStatus| {
        let since = one.failure_s.map(|seconds| format!("{} ago", age(seconds)));
        let failure = one.failure.iter().cloned().chain(since).collect::<Vec<_>>().join(", ");
        let numbers = [one.count as u64, one.restarts, one.waiting as u64];
        let [count, restarts, waiting] = numbers.map(|number| number.to_string());
        [one.actor.clone(), one.state.clone(), count, restarts, waiting, failure]
    };
    let head = ["actor", "state", "count", "restarts", "waiting", "last failure"];
    table(head, &actors.iter().map(row).collect::<Vec<_>>(), out);
    for input in aside {
        let _ = writeln!(out, "put aside: {}", plain(input));
    }
}

/// Both halves as one value; its shape is in `docs/reference/command-line.md`.
pub(super) fn json(root: &RootStatus, hub: &Result<Answer, String>, out: &mut dyn Write) {
    let mut value = serde_json::to_value(root).expect("a status is plain data");
    for process in value["processes"].as_array_mut().into_iter().flatten() {
        let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let (memory, files) = pid.map_or((None, None), measured);
        (process["memory_kib"], process["open_files"]) = (json!(memory), json!(files));
    }
    let (hub, silent) = match hub {
        Ok(Answer::Hub(status)) => (serde_json::to_value(status), Value::Null),
        Ok(other) => (Ok(Value::Null), json!(format!("{other:?}"))),
        Err(why) => (Ok(Value::Null), json!(why)),
    };
    value["hub"] = hub.expect("a status is plain data");
    value["hub_silent"] = silent;
    let text = serde_json::to_string_pretty(&value).expect("a value is written as it is");
    let _ = writeln!(out, "{text}");
}
