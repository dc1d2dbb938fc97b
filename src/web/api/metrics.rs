//! `{hub}metrics`: numbers for Prometheus. JupyterHub's names where it has them, ours begin with `jovis_`.

use std::{collections::BTreeMap, fs, time::Duration};

use http::{HeaderName, StatusCode};
use jovis_actors::{
    domain::{
        Moment, ServerState,
        scope::{Mask, Resource},
    },
    store::Image,
};

use crate::{
    telemetry::metrics::{self, Gauge},
    web::{
        answer::{self, Answer},
        call::Call,
    },
};

/// For whoever may read it; for everybody if `hub.authenticate_prometheus` is off.
pub(crate) async fn show(call: &Call) -> Answer {
    if call.settings.hub.authenticate_prometheus {
        call.may(Mask::of(&["read:metrics"]), Resource::Hub)?;
    }
    let text = metrics::encode(&now(&call.image, call.app.clock.moment()));
    let mut out = answer::bare(StatusCode::OK, "text/plain; version=1.0.0; charset=utf-8");
    *out.body_mut() = text.into();
    answer::put(&mut out, HeaderName::from_static("cache-control"), "no-store");
    Ok(out)
}

/// What is a state and no event.
fn now(image: &Image, now: Moment) -> Vec<Gauge<'static>> {
    let mut states: BTreeMap<&'static str, f64> =
        STATES.iter().map(|state| (*state, 0.0)).collect();
    for server in image.servers() {
        *states.entry(state(&server.state)).or_default() += 1.0;
    }
    let running = states["ready"];
    let states = states.into_iter().map(|(state, count)| (vec![("state", state)], count));
    const DAY: Duration = Duration::from_secs(86_400);
    let active = [("24h", DAY), ("7d", DAY * 7), ("30d", DAY * 30)].map(|(period, length)| {
        let recent = |last: Moment| now.since(last) <= length;
        let count = image.users().filter(|user| user.last_activity.is_some_and(recent)).count();
        (vec![("period", period)], count as f64)
    });
    let gauge = |name, help, values| Gauge { name, help, values };
    let one = |name, help, value: f64| gauge(name, help, vec![(vec![], value)]);
    let mut out = vec![
        one("jupyterhub_running_servers", "Servers in service", running),
        one("jupyterhub_total_users", "Users the hub knows", image.users().count() as f64),
        gauge("jupyterhub_active_users", "Users seen in this period", active.into()),
        gauge("jovis_servers", "Servers that have a record, by state", states.collect()),
        one("jovis_store_records", "Records in the store", image.len() as f64),
        gauge(
            "jovis_build_info",
            "Which jovis this is",
            vec![(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        ),
    ];
    out.extend(process());
    out
}

/// All that [`state`] says.
const STATES: &[&str] =
    &["stopped", "queued", "starting", "ready", "stopping", "waiting", "failed"];

fn state(state: &ServerState) -> &'static str {
    match state {
        ServerState::Stopped(_) => "stopped",
        ServerState::Queued { .. } => "queued",
        ServerState::Starting { .. } | ServerState::Probing { .. } => "starting",
        ServerState::Running { .. } => "ready",
        ServerState::Stopping { .. } => "stopping",
        ServerState::Waiting { .. } => "waiting",
        ServerState::Failed(_) => "failed",
    }
}

/// This process, by the names that Prometheus's own libraries use. Nothing where the system does not say.
fn process() -> Vec<Gauge<'static>> {
    let mut out = Vec::new();
    let mut one = |name, help, value: Option<f64>| {
        let values = value.map(|value| (Vec::new(), value)).into_iter().collect::<Vec<_>>();
        if !values.is_empty() {
            out.push(Gauge { name, help, values });
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
    };
    one(
        "process_resident_memory_bytes",
        "Memory of the hub's process",
        field("VmRSS").map(|kib| kib * 1024.0),
    );
    one("process_threads", "Threads of the hub's process", field("Threads"));
    let open = fs::read_dir("/proc/self/fd").map(|list| list.count() as f64);
    one("process_open_fds", "Open descriptors of the hub's process", open.ok());
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jovis_actors::{
        domain::{User, UserId, Username},
        store::Write,
    };

    use super::*;

    #[test]
    fn users_are_active_for_a_day_a_week_or_a_month() {
        const HOUR: i64 = 3_600_000_000;
        let present = Moment(HOUR * 24 * 365 * 50);
        let mut image = Image::default();
        let (day, week, month) = (24, 24 * 7, 24 * 30);
        let ago = [0, day, day + 1, week, week + 1, month, month + 1].map(Some);
        for (n, hours) in (1..).zip(ago.into_iter().chain([None])) {
            image.apply(&Write::User(Arc::new(User {
                id: UserId(n),
                name: Username::new(&format!("u{n}")).unwrap(),
                admin: false,
                created: Moment(0),
                last_activity: hours.map(|hours| Moment(present.0 - hours * HOUR)),
                cookie_id: String::new(),
                user_info: None,
            })));
        }
        let all = now(&image, present);
        let active = all.iter().find(|it| it.name == "jupyterhub_active_users").unwrap();
        let told: Vec<_> =
            active.values.iter().map(|(labels, count)| (labels.as_slice(), *count)).collect();
        let wanted = [("24h", 2.0), ("7d", 4.0), ("30d", 6.0)];
        let wanted = wanted.map(|(period, count)| ([("period", period)], count));
        let wanted: Vec<_> =
            wanted.iter().map(|(labels, count)| (labels.as_slice(), *count)).collect();
        assert_eq!(told, wanted);
    }

    #[test]
    fn every_state_has_a_name() {
        assert!(STATES.contains(&state(&ServerState::Stopped(None))));
        let names: Vec<_> = now(&Image::default(), Moment(0)).iter().map(|it| it.name).collect();
        for name in ["jupyterhub_running_servers", "jovis_servers", "process_open_fds"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
