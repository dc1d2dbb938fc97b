//! What the engine says of a container, and what that means: pure.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use jovis_actors::ports::Exit;

/// What has become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Made, never run.
    Made,
    /// It runs, or stands still for a while.
    Alive,
    /// It has run.
    Ended(Exit),
}

/// Reads its state. None: the engine has said nothing that we know.
pub fn fate(state: &ContainerState) -> Option<Fate> {
    use ContainerStateStatusEnum as Is;
    Some(match state.status? {
        Is::CREATED => Fate::Made,
        Is::RUNNING | Is::PAUSED | Is::RESTARTING | Is::STOPPING => Fate::Alive,
        Is::EXITED => Fate::Ended(exit(state)),
        // On its way out, or half removed: the engine does not run it any more.
        Is::REMOVING | Is::DEAD => Fate::Ended(Exit::Unknown),
        Is::EMPTY => return None,
    })
}

/// Podman has states of its own, which nobody expects who knows only Docker's.
pub fn in_dockers_words(it: &mut serde_json::Value) {
    let Some(status) = it.pointer_mut("/State/Status") else { return };
    let usual = match status.as_str().unwrap_or_default() {
        "configured" | "initialized" => "created",
        // It has ended, and is being cleaned up.
        "stopped" => "exited",
        known @ ("created" | "running" | "paused" | "restarting" | "stopping" | "exited"
        | "removing" | "dead") => known,
        _ => "",
    };
    *status = usual.into();
}

/// Has it been given a port of this machine? (What is only exposed has no place there.)
pub fn is_published(it: &ContainerInspectResponse) -> bool {
    let asked = it.host_config.as_ref().and_then(|it| it.port_bindings.as_ref());
    asked.is_some_and(|all| all.values().flatten().any(|places| !places.is_empty()))
}

fn exit(state: &ContainerState) -> Exit {
    match state.exit_code {
        _ if state.oom_killed == Some(true) => Exit::OutOfMemory,
        // As shells do, the engine says a signal so.
        Some(code @ 129..=192) => Exit::Signal((code - 128) as i32),
        Some(code) => i32::try_from(code).map_or(Exit::Unknown, Exit::Code),
        None => Exit::Unknown,
    }
}

/// How it ended, in words for the person who waits.
pub fn words(state: &ContainerState) -> String {
    let how = match exit(state) {
        Exit::OutOfMemory => "was killed because it ran out of memory".to_owned(),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::Code(code) => format!("ended at once with status {code}"),
        Exit::Unknown => "ended at once".to_owned(),
    };
    match state.error.as_deref() {
        Some(error) if !error.is_empty() => format!("the container {how}: {}", short(error, 300)),
        _ => format!("the container {how}"),
    }
}

/// At most so many bytes of a text from outside, in one line.
pub fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().map(|(at, _)| at).find(|at| *at >= most) {
        Some(at) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Where a running container listens: `http://172.18.0.2:8888` inside of its network, or the port published for it.
pub fn url(
    it: &ContainerInspectResponse,
    internal: bool,
    network: &str,
    port: u16,
) -> Option<String> {
    let settings = it.network_settings.as_ref()?;
    if internal {
        let networks = settings.networks.as_ref()?;
        // An engine may call a network by another name than it was asked for by (podman: its default one).
        let joined = networks.get(network).or_else(|| networks.values().next())?;
        let address = joined.ip_address.as_deref().filter(|address| !address.is_empty())?;
        return Some(format!("http://{}:{port}", host(address)));
    }
    let published = settings.ports.as_ref()?.get(&format!("{port}/tcp"))?.as_ref()?;
    let one = published
        .iter()
        .find(|it| it.host_port.as_deref().is_some_and(|it| it.parse::<u16>().is_ok()))?;
    let address = match one.host_ip.as_deref() {
        None | Some("" | "0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(address) => address,
    };
    Some(format!("http://{}:{}", host(address), one.host_port.as_deref()?))
}

fn host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// The last `bytes` of a text, from the first whole line on.
pub fn tail(text: &str, bytes: usize) -> &str {
    let text = text.trim_end();
    let over = text.len().saturating_sub(bytes);
    if over == 0 {
        return text;
    }
    let from = (over..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let last = &text[from..];
    last.split_once('\n').map_or(last, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: serde_json::Value) -> ContainerState {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn states_are_read() {
        for (json, wanted) in [
            (serde_json::json!({"Status": "created"}), Some(Fate::Made)),
            (serde_json::json!({"Status": "running"}), Some(Fate::Alive)),
            (serde_json::json!({"Status": "paused"}), Some(Fate::Alive)),
            (
                serde_json::json!({"Status": "exited", "ExitCode": 0}),
                Some(Fate::Ended(Exit::Code(0))),
            ),
            (
                serde_json::json!({"Status": "exited", "ExitCode": 137}),
                Some(Fate::Ended(Exit::Signal(9))),
            ),
            (
                serde_json::json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true}),
                Some(Fate::Ended(Exit::OutOfMemory)),
            ),
            (
                serde_json::json!({"Status": "exited", "ExitCode": 255}),
                Some(Fate::Ended(Exit::Code(255))),
            ),
            (serde_json::json!({"Status": "dead"}), Some(Fate::Ended(Exit::Unknown))),
            (serde_json::json!({"Status": ""}), None),
            (serde_json::json!({}), None),
        ] {
            assert_eq!(fate(&state(json.clone())), wanted, "{json}");
        }
    }

    #[test]
    fn podmans_states_are_read_too() {
        for (podmans, wanted) in [
            ("configured", Some(Fate::Made)),
            ("initialized", Some(Fate::Made)),
            ("running", Some(Fate::Alive)),
            ("stopping", Some(Fate::Alive)),
            ("stopped", Some(Fate::Ended(Exit::Code(3)))),
            ("improper", None),
            ("unknown", None),
        ] {
            let mut it = serde_json::json!({"State": {"Status": podmans, "ExitCode": 3}});
            in_dockers_words(&mut it);
            let it: ContainerInspectResponse = serde_json::from_value(it).unwrap();
            assert_eq!(fate(&it.state.unwrap()), wanted, "{podmans}");
        }
    }

    #[test]
    fn a_port_that_is_only_exposed_is_not_published() {
        for (bindings, wanted) in [
            (serde_json::json!({"8888/tcp": null}), false),
            (serde_json::json!({"8888/tcp": []}), false),
            (serde_json::json!({}), false),
            (serde_json::json!({"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}), true),
        ] {
            let it = serde_json::json!({"HostConfig": {"PortBindings": bindings}});
            assert_eq!(is_published(&serde_json::from_value(it).unwrap()), wanted, "{bindings}");
        }
    }

    #[test]
    fn ends_are_told_in_words() {
        let told = |json| words(&state(json));
        assert_eq!(
            told(serde_json::json!({"ExitCode": 137, "OOMKilled": true})),
            "the container was killed because it ran out of memory"
        );
        assert_eq!(
            told(serde_json::json!({"ExitCode": 127, "Error": "exec:\n not found"})),
            "the container ended at once with status 127: exec: not found"
        );
        assert_eq!(short("äää", 2), "ä…");
    }

    #[test]
    fn addresses_are_found() {
        let it: ContainerInspectResponse = serde_json::from_value(serde_json::json!({"NetworkSettings": {
            "Ports": {"8888/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}], "9/tcp": null},
            "Networks": {"lab": {"IPAddress": "172.18.0.2"}, "v6": {"IPAddress": "fd00::2"}, "off": {"IPAddress": ""}},
        }}))
        .unwrap();
        assert_eq!(url(&it, false, "", 8888).as_deref(), Some("http://127.0.0.1:49153"));
        assert_eq!(url(&it, false, "", 9), None);
        assert_eq!(url(&it, true, "lab", 8888).as_deref(), Some("http://172.18.0.2:8888"));
        assert_eq!(url(&it, true, "v6", 80).as_deref(), Some("http://[fd00::2]:80"));
        assert_eq!(url(&it, true, "off", 80), None);
        assert_eq!(url(&ContainerInspectResponse::default(), true, "lab", 80), None);
    }

    #[test]
    fn the_end_of_a_text_begins_with_a_line() {
        let text = "eins äö\nzwei üü\nlast line\n";
        for bytes in 0..40 {
            let tail = tail(text, bytes);
            assert!(tail.len() <= bytes && text.trim_end().ends_with(tail), "{bytes} {tail:?}");
        }
        assert_eq!(tail(text, 12), "last line");
        assert_eq!(tail(text, 100), text.trim_end());
    }
}
