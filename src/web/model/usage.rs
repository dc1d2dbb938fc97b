//! What a server takes, for pages.

use jovis_actors::{domain::ServerKey, usage::Usage};
use serde_json::{Value, json};

use crate::web::call::Call;

/// What this server took when it was last measured: numbers for scripts and texts for people; `null` where nobody knows.
/// Until there are two measurements `cpu` is `null`.
pub(crate) fn usage(call: &Call, key: &ServerKey) -> Value {
    call.app.doors.usage(key).map_or(Value::Null, shown)
}

fn shown(usage: Usage) -> Value {
    let Usage { memory, memory_limit, cpu, processes } = usage;
    json!({
        "memory": memory,
        "memory_text": amount(memory),
        "memory_limit": memory_limit,
        "memory_limit_text": memory_limit.map(amount),
        "cpu": cpu,
        "cpu_text": cpu.map(share),
        "processes": processes,
    })
}

/// Bytes in the unit people would choose.
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 1 && value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A share of a processor in percent: two of them all the time are 200.
fn share(cpu: f64) -> String {
    format!("{:.0} %", cpu * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_people_would_choose() {
        for (bytes, text) in [
            (0, "0 KB"),
            (900 << 10, "900 KB"),
            (1000 << 10, "1 MB"),
            (312 << 20, "312 MB"),
            (1023 << 20, "1.0 GB"),
            (3 << 29, "1.5 GB"),
            (100 << 30, "100 GB"),
            (5 << 40, "5.0 TB"),
        ] {
            assert_eq!(amount(bytes), text, "{bytes}");
        }
        assert_eq!(
            (share(0.004), share(0.125), share(2.0)),
            ("0 %".into(), "12 %".into(), "200 %".into())
        );
    }
}
