//! An answer, without what differs from run to run: secrets, ids, moments, ports. What clients rely on stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::support::Answer;

/// Headers that clients and browsers act on. Of some only whether they are there is compared.
const HEADERS: &[&str] = &[
    "access-control-allow-headers",
    "access-control-allow-origin",
    "allow",
    "cache-control",
    "content-security-policy",
    "content-type",
    "location",
    "pragma",
    "www-authenticate",
    "x-jupyterhub-version",
];
const PRESENCE: &[&str] = &["etag", "retry-after"];

/// What came back, in comparable form: everything in one JSON value.
///
/// `status`, `headers`, `cookies`, and one of `body` (JSON, or a word on what it is), `events` (of a stream).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen(pub(crate) Value);

impl Seen {
    /// No answer, and why.
    pub(crate) fn nothing(why: &str) -> Self {
        Self(json!({ "status": null, "why": why }))
    }

    pub(crate) fn new(answer: &Answer, words: &Words) -> Self {
        let mut headers = Map::new();
        let (mut cookies, mut kind) = (Map::new(), "");
        for (name, value) in &answer.headers {
            let name = name.to_ascii_lowercase();
            if name == "content-type" {
                kind = value;
            }
            if HEADERS.contains(&name.as_str()) {
                // in a query a slash may be escaped or not
                let value =
                    if name == "location" { value.replace("%2F", "/") } else { value.clone() };
                headers.insert(name, json!(words.plain(&value)));
            } else if PRESENCE.contains(&name.as_str()) {
                headers.insert(name, json!("there"));
            } else if name == "set-cookie" {
                let (name, what) = cookie(value);
                cookies.insert(name, what);
            }
        }
        let mut all = json!({ "status": answer.status, "headers": headers, "cookies": cookies });
        let media = kind.split(';').next().unwrap_or_default();
        match (media, serde_json::from_slice::<Value>(&answer.body)) {
            _ if answer.body.is_empty() => all["body"] = json!("empty"),
            ("application/json", Ok(body)) => all["body"] = words.json(body, ""),
            ("text/event-stream", _) => all["events"] = json!(events(&answer.text(), words)),
            ("text/html", _) => all["body"] = json!({ "html": hidden(&answer.text(), words) }),
            _ => all["body"] = json!("some"),
        }
        Self(all)
    }
}

/// A cookie's name, and how it is set.
fn cookie(line: &str) -> (String, Value) {
    let mut parts = line.split(';').map(str::trim);
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap_or((line, ""));
    let mut how = BTreeMap::new();
    how.insert(
        "value".to_owned(),
        json!(if value.trim_matches('"').is_empty() { "none" } else { "some" }),
    );
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, "yes"));
        let key = key.to_ascii_lowercase();
        // a date says what it says relative to now: days, rounded
        let value = if key == "expires" { days(value) } else { value.to_owned() };
        how.insert(key, json!(value));
    }
    (name.to_owned(), json!(how))
}

fn days(date: &str) -> String {
    let date = jiff::fmt::rfc2822::parse(date).map(|it| it.timestamp().as_second());
    let from_now = date.map(|it| (it - Timestamp::now().as_second()) as f64 / 86_400.0);
    from_now.map_or_else(|_| date_error(), |days| format!("{} days", days.round()))
}

fn date_error() -> String {
    "no date".to_owned()
}

/// The events of a stream; blank lines keep it open.
fn events(text: &str, words: &Words) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match line.strip_prefix("data: ").map(serde_json::from_str::<Value>) {
            Some(Ok(event)) => words.json(event, ""),
            _ => json!(line),
        })
        .collect()
}

/// What a page's forms would send unseen: names and values, in order of names.
fn hidden(page: &str, words: &Words) -> Vec<String> {
    let attribute = |tag: &str, name: &str| {
        let from = tag.find(&format!("{name}=\""))? + name.len() + 2;
        Some(tag[from..].split('"').next()?.to_owned())
    };
    let tags = page.split('<').filter(|tag| tag.starts_with("input") && tag.contains("\"hidden\""));
    let mut all: Vec<String> = tags
        .filter_map(|tag| {
            let name = attribute(tag, "name")?;
            let value = attribute(tag, "value").unwrap_or_default();
            let value = if name == "_xsrf" { "some".to_owned() } else { words.plain(&value) };
            Some(format!("{name}={value}"))
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// What to write for words that no two runs share.
pub(crate) struct Words(Vec<(String, String)>);

/// Lists whose order says nothing.
const UNORDERED: &[&str] = &["scopes", "roles", "groups", "users"];
/// Words in one text whose order says nothing.
const WORDS: &[&str] = &["scope"];
/// Texts for people: ours are our own. That there is one is compared.
const FOR_PEOPLE: &[&str] = &["message", "html_message", "error_description"];
/// Values given out once.
const SECRETS: &[&str] = &["token", "code", "access_token", "session_id"];
/// Query arguments of addresses: what is given out once, and what is for people.
const ARGUMENTS: &[(&str, &str)] = &[("code=", "some"), ("error_description=", "words")];

impl Words {
    /// Names of values, and the values.
    pub(crate) fn new<'a>(kept: impl Iterator<Item = (&'a String, &'a String)>) -> Self {
        let long = kept.filter(|(name, value)| value.len() >= 8 && !value.contains(name.as_str()));
        let mut all: Vec<_> =
            long.map(|(name, value)| (value.clone(), format!("{{{name}}}"))).collect();
        all.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Self(all)
    }

    /// A text with those words, and with addresses of this machine, replaced.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.0 {
            text = text.replace(value, name);
        }
        nonce(&arguments(&addresses(&text)))
    }

    fn json(&self, value: Value, key: &str) -> Value {
        match value {
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| {
                    let value = self.json(value, &key);
                    (self.plain(&key), value)
                })
                .collect(),
            Value::Array(items) => {
                let mut items: Vec<_> = items.into_iter().map(|it| self.json(it, key)).collect();
                if UNORDERED.contains(&key) && items.iter().all(Value::is_string) {
                    items.sort_by_key(Value::to_string);
                }
                Value::Array(items)
            }
            Value::String(_) if FOR_PEOPLE.contains(&key) => json!("words"),
            Value::String(text) if SECRETS.contains(&key) => json!(secret(&text)),
            Value::String(text) if key == "target" => json!(addresses(&text)),
            Value::String(text) if key == "id" || key == "token_id" => json!(id(&text)),
            Value::String(text) if WORDS.contains(&key) => {
                let mut words: Vec<_> = text.split(' ').collect();
                words.sort_unstable();
                json!(words.join(" "))
            }
            Value::String(text) => match moment(&text) {
                Some(moment) => json!(moment),
                None => json!(self.plain(&text)),
            },
            Value::Number(_) if key == "pid" => json!("a number"),
            other => other,
        }
    }
}

/// How long it is, and of what. (Whether one of 43 has a dash among its letters is chance.)
fn secret(text: &str) -> String {
    let kind = if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        "hex digits"
    } else if text.len() != 43 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        "letters and digits"
    } else {
        "characters"
    };
    format!("{} {kind}", text.len())
}

/// An address without what its arguments say only once, or to people.
fn arguments(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    let plain = |argument: &str| {
        let known = ARGUMENTS.iter().find(|(name, _)| argument.starts_with(name));
        known.map_or_else(|| argument.to_owned(), |(name, what)| format!("{name}{what}"))
    };
    let query: Vec<_> = query.split('&').map(plain).collect();
    format!("{path}?{}", query.join("&"))
}

/// `a17`, `sc_3`: the number says nothing.
fn id(text: &str) -> String {
    let kind = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if kind.len() < text.len() { format!("{kind}<number>") } else { text.to_owned() }
}

/// A moment as the API writes it, if it is near: then what matters is how far off. What lies far in the past was sent
/// by a test, and must come back as it is.
fn moment(text: &str) -> Option<String> {
    // whole seconds, milliseconds (what a proxy tells), microseconds
    let fraction = text.as_bytes().get(19) == Some(&b'.');
    let shape = text.len() == 20 || (matches!(text.len(), 24 | 27) && fraction);
    if !(shape && text.ends_with('Z') && text.as_bytes()[10] == b'T') {
        return None;
    }
    let at: Timestamp = text.parse().ok()?;
    let seconds = at.as_second() - Timestamp::now().as_second();
    match seconds {
        -300..=5 => Some("now".to_owned()),
        6.. => Some(format!("in {} minutes", (seconds as f64 / 60.0).round())),
        _ => None,
    }
}

/// The policy of a page names what its scripts are known by: new for each page.
fn nonce(text: &str) -> String {
    let mut parts = text.split("'nonce-");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "'nonce'";
        out += part.split_once('\'').map_or("", |(_, rest)| rest);
    }
    out
}

/// `127.0.0.1:8081` and the like become one word.
fn addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("127.") {
        let end = |c: char| !(c.is_ascii_digit() || c == '.' || c == ':');
        let length = rest[at..].find(end).unwrap_or(rest.len() - at);
        let found = &rest[at..at + length];
        out.push_str(&rest[..at]);
        let is_one = found.contains(':') && found.matches('.').count() == 3;
        out.push_str(if is_one { "ADDRESS" } else { found });
        rest = &rest[at + length..];
    }
    out + rest
}
