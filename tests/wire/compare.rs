//! Two answers beside each other: where they differ, and how.

use std::fmt;

use serde_json::Value;

use super::seen::Seen;

/// One place where two answers differ.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// Which exchange: its id.
    pub(crate) exchange: String,
    /// Where in the answer: a path like `headers/location` or `body/servers//ready`.
    pub(crate) at: String,
    /// There; nothing: it is missing.
    pub(crate) reference: Option<Value>,
    /// Here.
    pub(crate) ours: Option<Value>,
}

impl Difference {
    /// What stands there, as JSON.
    pub(crate) fn show(value: &Option<Value>) -> String {
        value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value| Self::show(value).chars().take(400).collect::<String>();
        let (reference, ours) = (short(&self.reference), short(&self.ours));
        write!(
            out,
            "{} @ {}\n    reference {reference}\n    jovis     {ours}",
            self.exchange, self.at
        )
    }
}

/// Everything in which the answers to one exchange differ. Where the statuses do, the rest follows from that.
pub(crate) fn differences(exchange: &str, reference: &Seen, ours: &Seen) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut add = |at: &str, reference: Option<&Value>, ours: Option<&Value>| {
        all.push(Difference {
            exchange: exchange.to_owned(),
            at: at.to_owned(),
            reference: reference.cloned(),
            ours: ours.cloned(),
        });
    };
    let (theirs, our) = (reference.0.get("status"), ours.0.get("status"));
    // where a hub is silent, both being so is no agreement
    let silent = |seen: &Seen| seen.0["why"].as_str().is_some_and(|it| it.starts_with("no answer"));
    if theirs != our || silent(reference) {
        add("status", theirs, our);
    } else {
        walk("", Some(&reference.0), Some(&ours.0), &mut add);
    }
    all
}

fn walk(
    at: &str,
    reference: Option<&Value>,
    ours: Option<&Value>,
    add: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
) {
    let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}/{key}") };
    match (reference, ours) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let extra = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(extra) {
                walk(&join(key), a.get(key), b.get(key), add);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (number, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&join(&number.to_string()), Some(a), Some(b), add);
            }
        }
        (a, b) if a == b => {}
        (a, b) => add(at, a, b),
    }
}

/// Does the text fit the pattern? `*` stands for anything.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    // the last part must reach to the end, wherever it stood first
    last.map_or(rest.is_empty(), |part| text.ends_with(part))
}
