//! `hub.ron` written from the catalogue: a configuration as text that loads again, with the settings' own documentation.

use std::fmt::Write as _;

use serde_json::Value;

use super::{SCHEMA, entry_of, fields_of, join, mask, ron_text, value_of};
use crate::config::{Config, change};

/// What to write beside the values.
pub struct Style<'a> {
    /// The reference text above each setting.
    pub comments: bool,
    /// Hide the values of [`SECRETS`].
    pub masked: bool,
    /// A remark behind each setting, by path.
    pub remark: &'a dyn Fn(&str) -> Option<String>,
}

/// A configuration as RON that loads again (unless masked).
pub fn render(config: &Config, style: &Style<'_>) -> String {
    let mut out = String::from("(\n");
    let mut value = value_of(config);
    if style.masked {
        mask(&mut value);
    }
    write_struct(&mut out, 1, "", "Config", &value, style);
    out.push_str(")\n");
    out
}

/// `hub.ron`: every setting at its default, with its comment.
pub fn default_file() -> String {
    let mut head =
        "// The configuration of jovis: every setting at its default. A file may leave out whatever it does not change.\n\
         // Made from the settings' own documentation by `jovis --generate-config`.\n\
         //\n\
         // `jovis reload` (or SIGHUP to the first process) puts a changed file into effect; in brackets, when:\n"
            .to_owned();
    for (word, meaning) in change::LEGEND {
        let _ = writeln!(head, "// [{word}] {meaning}");
    }
    let style = Style { comments: true, masked: false, remark: &|_| None };
    format!("{head}{}", render(&Config::default(), &style))
}

fn write_struct(
    out: &mut String,
    depth: usize,
    path: &str,
    owner: &str,
    value: &Value,
    style: &Style<'_>,
) {
    let indent = "    ".repeat(depth);
    for field in SCHEMA.structs.get(owner).map(Vec::as_slice).unwrap_or_default() {
        let path = join(path, field.name);
        let value = &value[field.name];
        if style.comments {
            if depth == 1 && !out.ends_with("(\n") {
                out.push('\n');
            }
            let class = change::class(&path).filter(|class| *class != change::Class::Never);
            let class = class.map(|class| format!(" [{}]", class.word())).unwrap_or_default();
            for (line, end) in field.doc.iter().zip((1..=field.doc.len()).rev()) {
                let _ = writeln!(out, "{indent}// {line}{}", if end == 1 { &class } else { "" });
            }
            // Of a section the fields of its lists stand at the lists. What lies deeper than a choice's own fields is in
            // the reference.
            let listed = entry_of(field.kind).into_iter().flat_map(|_| fields_of(&path));
            for one in listed {
                let name = one.path.strip_prefix(&path).unwrap_or_default().trim_start_matches('.');
                if name.matches('.').count() > 3 {
                    continue;
                }
                let text = format!("{name} ({}; {}): {}", one.kind, one.default, one.doc);
                write_wrapped(out, &format!("{indent}// - "), &format!("{indent}//   "), &text);
            }
        }
        let nested = |out: &mut String, path: &str, kind: &str, value: &Value, name: &str| {
            if SCHEMA.structs.get(kind).is_none_or(Vec::is_empty) {
                let _ = writeln!(out, "{indent}{}: {name}(),", field.name);
                return;
            }
            let _ = writeln!(out, "{indent}{}: {name}(", field.name);
            write_struct(out, depth + 1, path, kind, value, style);
            let _ = writeln!(out, "{indent}),");
        };
        if SCHEMA.structs.contains_key(field.kind) {
            nested(out, &path, field.kind, value, "");
        } else if let Some(variants) = SCHEMA.payloads(field.kind)
            && let Some((variant, inner)) =
                variants.iter().find_map(|one| Some((one, value.get(one.name)?)))
        {
            nested(out, &join(&path, variant.name), variant.kind, inner, variant.name);
        } else if let Some(inner) = entry_of(field.kind).filter(|_| !is_empty(value)) {
            let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
            let remark =
                (style.remark)(&path).map(|text| format!(" // {text}")).unwrap_or_default();
            let _ = writeln!(out, "{indent}{}: {open}{remark}", field.name);
            let plain = Style { comments: false, masked: false, remark: &|_| None };
            for (head, entry) in entries(value) {
                let _ = writeln!(out, "{indent}    {head}(");
                write_struct(out, depth + 2, &path, inner, entry, &plain);
                let _ = writeln!(out, "{indent}    ),");
            }
            let _ = writeln!(out, "{indent}{close},");
        } else {
            let text = ron_text(field.kind, value);
            let remark =
                (style.remark)(&path).map(|text| format!(" // {text}")).unwrap_or_default();
            let _ = writeln!(out, "{indent}{}: {text},{remark}", field.name);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(|all| all.is_empty())
}

/// The entries of a list or map, each with what stands before it.
fn entries(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Array(all) => all.iter().map(|one| (String::new(), one)).collect(),
        Value::Object(all) => {
            let key = |name: &String| format!("{}: ", Value::String(name.clone()));
            all.iter().map(|(name, one)| (key(name), one)).collect()
        }
        _ => Vec::new(),
    }
}

/// Words in lines of at most 120 characters.
fn write_wrapped(out: &mut String, first: &str, next: &str, text: &str) {
    let mut line = first.to_owned();
    let mut fresh = true;
    for word in text.split(' ') {
        if !fresh && line.chars().count() + 1 + word.chars().count() > 120 {
            let _ = writeln!(out, "{line}");
            line = next.to_owned();
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    let _ = writeln!(out, "{line}");
}
