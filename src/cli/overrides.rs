//! `--section.setting=value` and `--section.setting value`: any setting from the command line, taken out before the
//! named options are read.

use std::ffi::OsString;

use serde_json::Value;

use crate::config::{
    Override, catalogue,
    load::{self, nearest},
};

/// The other arguments, and what goes over the file.
///
/// # Errors
///
/// A setting that does not exist, has no value or a wrong one, or is a secret: command lines can be read by everybody.
pub(super) fn take(
    args: impl Iterator<Item = OsString>,
) -> Result<(Vec<OsString>, Vec<Override>), String> {
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    let mut args = args;
    while let Some(arg) = args.next() {
        let Some((name, value)) = arg.to_str().and_then(dotted) else {
            rest.push(arg);
            continue;
        };
        let value = match value {
            Some(value) => value.to_owned(),
            None => args
                .next()
                .and_then(|next| next.into_string().ok())
                .ok_or_else(|| format!("--{name}: a value is missing"))?,
        };
        found.push(setting(name, &value)?);
    }
    Ok((rest, found))
}

/// `--a.b=c` as `a.b` and `c`.
fn dotted(arg: &str) -> Option<(&str, Option<&str>)> {
    let rest = arg.strip_prefix("--")?;
    let (name, value) =
        rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
    (plain && name.contains('.')).then_some((name, value))
}

fn setting(name: &str, value: &str) -> Result<Override, String> {
    let Some(one) = catalogue::setting(name) else {
        let all: Vec<_> = catalogue::settings().iter().map(|one| one.path.as_str()).collect();
        let near =
            nearest(name, &all).map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
        return Err(format!("--{name}: there is no such setting{near}"));
    };
    if catalogue::is_secret(&one.path) {
        return Err(format!(
            "--{name}: everybody on this machine can read command lines; write it in the file"
        ));
    }
    // Numbers, lists and maps are JSON; what is none of these, or does not fit, is a text.
    let candidates = [serde_json::from_str(value).ok(), Some(Value::from(value))];
    let fits = |value: Value| {
        let given = Override { path: &one.path, option: &one.path, value };
        load::fits(&given).then_some(given)
    };
    candidates
        .into_iter()
        .flatten()
        .find_map(fits)
        .ok_or_else(|| format!("--{name}: `{value}` is not what belongs there: {}", one.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> Result<(Vec<OsString>, Vec<Override>), String> {
        take(args.iter().map(OsString::from))
    }

    #[test]
    fn any_setting_can_be_given() {
        let (rest, found) = given(&[
            "jovis",
            "--hub.port=81",
            "check",
            "--hub.name",
            "5",
            "--auth.whitelist=[\"a\"]",
            "--spawner.restart=Never",
            "--hub.ip=127.0.0.1",
            "--ip",
            "1.2.3.4",
        ])
        .unwrap();
        assert_eq!(rest, ["jovis", "check", "--ip", "1.2.3.4"]);
        let pairs: Vec<_> = found.iter().map(|one| format!("{}={}", one.path, one.value)).collect();
        assert_eq!(
            pairs,
            [
                "hub.port=81",
                "hub.name=\"5\"",
                "auth.allowed_users=[\"a\"]",
                "spawner.restart=\"Never\"",
                "hub.ip=\"127.0.0.1\""
            ]
        );
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for (args, words) in [
            (&["--hub.prot=1"][..], "did you mean --hub.port?"),
            (&["--hub.port"], "a value is missing"),
            (&["--hub.port=x"], "whole number"),
            (&["--hub.port=70000"], "whole number"),
            (&["--auth.class.Dummy.password=hunter2"], "can read command lines"),
            (&["--auth.class=Dummy"], "Pam(..) or Dummy(..)"),
            (&["--auth.class.Dummy.allow_remote=true"], "true or false"),
        ] {
            let error = given(args).expect_err(words);
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
