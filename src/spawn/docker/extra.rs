//! What an operator asks of the engine in the engine's own words, `extra_host_config`: pure.

use bollard::models::HostConfig;
use serde_json::{Map, Value};

use super::names::Holes;
use crate::config::sections::engines_name;

/// What we ask of the engine, with what the operator adds: maps and lists are joined, all else is the operator's.
///
/// # Errors
///
/// What the engine has no word for, in words for the operator.
pub fn joined(
    host: HostConfig,
    extra: &Map<String, Value>,
    holes: &Holes<'_>,
) -> Result<HostConfig, String> {
    if extra.is_empty() {
        return Ok(host);
    }
    let mut all = serde_json::to_value(host).map_err(|error| error.to_string())?;
    let names: Vec<_> = extra.keys().map(|name| engines_name(name)).collect::<Result<_, _>>()?;
    for (name, value) in names.iter().zip(extra.values()) {
        join(&mut all[name.as_str()], filled(value, holes)?);
    }
    let host: HostConfig = serde_json::from_value(all)
        .map_err(|error| format!("extra_host_config: the engine takes no such value: {error}"))?;
    // What was not understood has vanished.
    let known = serde_json::to_value(&host).map_err(|error| error.to_string())?;
    match names.iter().find(|name| known.get(name.as_str()).is_none()) {
        Some(name) => Err(format!("extra_host_config: the engine has no {name:?}")),
        None => Ok(host),
    }
}

fn join(here: &mut Value, more: Value) {
    match (here, more) {
        (Value::Object(here), Value::Object(more)) => {
            for (name, value) in more {
                join(here.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(here), Value::Array(more)) => here.extend(more),
        (here, more) => *here = more,
    }
}

/// Fills in names, in whatever is text. A name that could lead elsewhere does not stand in a path.
fn filled(value: &Value, holes: &Holes<'_>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if text.contains('/') => holes.folder(text)?.into(),
        Value::String(text) => holes.escaped(text).into(),
        Value::Array(all) => all.iter().map(|it| filled(it, holes)).collect::<Result<_, _>>()?,
        Value::Object(all) => {
            let filled = |(name, it): (&String, &Value)| Ok((name.clone(), filled(it, holes)?));
            Value::Object(all.iter().map(filled).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{ServerName, Username};

    use super::*;

    fn with(host: HostConfig, extra: Value) -> Result<HostConfig, String> {
        let (user, server) = (Username::new("b@x").unwrap(), ServerName::default_server());
        let holes = Holes { prefix: "j", user: &user, server: &server };
        joined(host, extra.as_object().unwrap(), &holes)
    }

    #[test]
    fn words_of_the_engine_are_added() {
        let host = HostConfig {
            memory: Some(5),
            cap_drop: Some(vec!["NET_RAW".to_owned()]),
            ..HostConfig::default()
        };
        let extra = serde_json::json!({
            "shm_size": 1024, "Runtime": "nvidia", "CapDrop": ["MKNOD"], "IpcMode": "private",
            "Sysctls": {"net.core.somaxconn": "1024"}, "CgroupParent": "/jovis/{username}",
            "DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}],
            "StorageOpt": {"size": "{prefix}-{username}"},
        });
        let host = with(host, extra).unwrap();
        assert_eq!((host.memory, host.shm_size), (Some(5), Some(1024)));
        assert_eq!(host.runtime.as_deref(), Some("nvidia"));
        assert_eq!(host.cap_drop.unwrap(), ["NET_RAW", "MKNOD"]);
        assert_eq!(host.cgroup_parent.as_deref(), Some("/jovis/b@x"));
        assert_eq!(host.storage_opt.unwrap()["size"], "j-b-40x");
        assert_eq!(host.device_requests.unwrap()[0].count, Some(-1));
    }

    #[test]
    fn what_the_engine_does_not_know_is_refused() {
        for (extra, words) in [
            (serde_json::json!({"ShmSizes": 1}), "no \"ShmSizes\""),
            (serde_json::json!({"ShmSize": "much"}), "no such value"),
            (serde_json::json!({"auto_remove": true}), "AutoRemove"),
            (serde_json::json!({"NetworkMode": "host"}), "NetworkMode"),
        ] {
            let error = with(HostConfig::default(), extra).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(with(HostConfig::default(), serde_json::json!({})), Ok(HostConfig::default()));
    }
}
