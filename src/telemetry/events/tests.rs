//! The tables against the sources. `UPDATE=1` writes the page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::config::catalogue;

/// Said without a macro: `telemetry::logs::line` makes it.
const RENDERED: &[&str] = &["log lines dropped"];

/// Spans whose fields the page's head tells about: name and fields.
const SPANS: &[(&str, &[&str])] = &[("request", &["request", "method", "path", "user"])];

#[derive(Debug, Default, Clone)]
struct Found {
    levels: BTreeSet<String>,
    roles: BTreeSet<&'static str>,
    fields: BTreeSet<String>,
    places: Vec<String>,
}

/// A call of a macro: where, which, its arguments.
struct Call {
    place: String,
    level: String,
    arguments: Vec<String>,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["tests", "tests.rs", "testing", "testing.rs", "faults.rs"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            sources(&path, out);
        } else if name.ends_with(".rs") {
            out.push(path);
        }
    }
}

/// Which processes run what is in this file.
fn roles(path: &str) -> &'static [&'static str] {
    let ours = [
        ("actors/", &["hub"][..]),
        ("src/root", &["root"]),
        ("src/run.rs", &["root"]),
        ("src/config", &["root"]),
        ("src/proxy", &["proxy"]),
        ("src/helper", &["helper"]),
        ("src/channel", &["hub", "proxy"]),
        ("src/telemetry", &["root", "hub", "proxy"]),
    ];
    ours.iter().find(|(start, _)| path.starts_with(start)).map_or(&["hub"], |(_, roles)| roles)
}

/// The arguments of a call that begins behind this bracket, and how long they are.
fn arguments(text: &str) -> Vec<String> {
    let (mut out, mut one, mut depth) = (Vec::new(), String::new(), 0);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                one.push(c);
                while let Some(c) = chars.next() {
                    one.push(c);
                    match c {
                        '\\' => one.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                continue;
            }
            ',' if depth == 0 => {
                out.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        one.push(c);
    }
    out.push(one.trim().to_owned());
    out.retain(|one| !one.is_empty());
    out
}

fn calls(macros: &[&str]) -> Vec<Call> {
    let mut paths = Vec::new();
    sources(&top().join("src"), &mut paths);
    sources(&top().join("actors/src"), &mut paths);
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(top()).unwrap().display().to_string();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for level in macros {
            let name = format!("{level}!(");
            for (at, _) in text.match_indices(&name) {
                let line = text[..at].rsplit('\n').next().unwrap();
                if line.trim_start().starts_with("//")
                    || text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                {
                    continue;
                }
                out.push(Call {
                    place: format!("{path}:{}", text[..at].matches('\n').count() + 1),
                    level: (*level).to_owned(),
                    arguments: arguments(&text[at + name.len()..]),
                });
            }
        }
    }
    out
}

/// The name of a field in `name = value`, `%name`, `?name`, `name`.
fn field(argument: &str) -> &str {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name.trim());
    name.trim_start_matches(['%', '?'])
}

fn in_code(wrong: &mut Vec<String>) -> BTreeMap<String, Found> {
    let mut out = BTreeMap::<String, Found>::new();
    for Call { place, level, arguments } in calls(&["error", "warn", "info", "debug", "trace"]) {
        let at = arguments.iter().position(|one| one.starts_with('"'));
        let Some(at) = at.filter(|at| at + 1 == arguments.len()) else {
            wrong.push(format!("{place}: the name is the last argument, with nothing put into it"));
            continue;
        };
        let name = arguments[at].trim_matches('"');
        let words = name.split(' ').count();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " -".contains(c);
        if !name.chars().all(plain) || !(2..=5).contains(&words) {
            wrong.push(format!("{place}: {name:?} is not two to five lower-case words"));
        }
        let found = out.entry(name.to_owned()).or_default();
        let fields = arguments[..at].iter().filter(|one| !one.starts_with("target:"));
        found.fields.extend(fields.map(|one| field(one).to_owned()));
        found.roles.extend(roles(&place));
        found.levels.insert(level);
        found.places.push(place);
    }
    out
}

fn set<'a, T: AsRef<str> + 'a>(words: impl IntoIterator<Item = &'a T>) -> BTreeSet<String> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

fn words<'a, T: AsRef<str> + 'a>(words: impl IntoIterator<Item = &'a T>) -> String {
    set(words).into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_tables_say_what_the_code_logs() {
    let mut wrong = Vec::new();
    let mut code = in_code(&mut wrong);
    assert!(code.len() > 150, "only {} events found", code.len());
    for event in AREAS.iter().flat_map(|area| area.events) {
        let name = event.name;
        if RENDERED.contains(&name) {
            continue;
        }
        let Some(found) = code.remove(name) else {
            wrong.push(format!("{name:?} is in a table and nowhere in the code"));
            continue;
        };
        for (what, table, code) in [
            ("levels", set(event.levels), found.levels),
            ("fields", set(event.fields), found.fields),
            ("roles", set(event.roles), set(&found.roles)),
        ] {
            if table != code {
                let places = found.places.join(" ");
                let (table, code) = (words(&table), words(&code));
                wrong.push(format!(
                    "{name:?}: {what} in the table: {table}; in the code: {code} ({places})"
                ));
            }
        }
    }
    for (name, found) in code {
        let Found { levels, roles, fields, places } = found;
        wrong.push(format!(
            "no row for this event of {}; in src/telemetry/events/:\n    \"{name}\" [{}] [{}] ({})\n    \"What it means.\" \"What to do.\"",
            places.join(" "),
            words(&levels),
            words(&roles),
            words(&fields),
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_is_whole_and_stands_once() {
    let mut seen = BTreeSet::new();
    let mut used = BTreeSet::new();
    for event in AREAS.iter().flat_map(|area| area.events) {
        assert!(seen.insert(event.name), "{:?} stands twice", event.name);
        used.extend(event.fields);
        let sentence = |text: &str| text.ends_with(['.', '?']) && !text.contains(['|', '\n']);
        assert!(sentence(event.meaning), "{:?}", event.name);
        assert!(event.todo.is_empty() || sentence(event.todo), "{:?}", event.name);
        for setting in quoted(event.meaning).chain(quoted(event.todo)) {
            let known = !setting.contains('.') || catalogue::setting(setting).is_some();
            assert!(known, "{:?} names the setting {setting}", event.name);
        }
        let urgent = event.levels.contains(&"error");
        assert!(!urgent || !event.todo.is_empty(), "{:?} wakes somebody: for what?", event.name);
    }
    let known: BTreeSet<_> = FIELDS.iter().map(|(name, _)| name).collect();
    assert_eq!(known.len(), FIELDS.len(), "a field is explained twice");
    assert!(FIELDS.is_sorted(), "fields are in order");
    assert_eq!(used, known, "fields used and fields explained");
}

#[test]
fn no_field_has_a_name_of_the_line_itself() {
    for name in ["time", "level", "role", "target", "event", "message"] {
        assert!(FIELDS.iter().all(|(field, _)| *field != name), "{name}");
    }
}

#[test]
fn spans_bring_the_fields_that_the_page_tells_of() {
    let macros = ["error_span", "warn_span", "info_span", "debug_span", "trace_span", "span"];
    for Call { place, arguments, .. } in calls(&macros) {
        let name = arguments[0].trim_matches('"');
        let fields: Vec<_> = arguments[1..].iter().map(|one| field(one)).collect();
        assert!(SPANS.contains(&(name, &fields)), "{place}: {name:?} {fields:?}");
    }
    for (_, fields) in SPANS {
        assert!(fields.iter().all(|field| HEAD.contains(&format!("`{field}`"))));
    }
}

#[test]
fn the_page_is_made_from_the_tables() {
    let path = top().join("docs/events.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let how = "UPDATE=1 cargo test --lib telemetry::events";
    assert!(there == reference(), "docs/events.md is out of date: {how}");
}

#[test]
fn arguments_are_read_as_rust_reads_them() {
    let read = arguments(r#"%user, a = f(x, "),\""), ?why, "server ended"), rest"#);
    assert_eq!(read, ["%user", r#"a = f(x, "),\"")"#, "?why", "\"server ended\""]);
    assert_eq!(read.iter().map(|one| field(one)).collect::<Vec<_>>()[..3], ["user", "a", "why"]);
}
