use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Everything pages can say: the texts in templates, scripts and handlers, each with where it is said.
fn said() -> BTreeMap<String, String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
    let mut out = BTreeMap::new();
    let mut folders = vec![std::path::PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let marks: &[&str] = match name.rsplit('.').next() {
                Some("html") => &["_(\"", "_('"],
                Some("js") => &["t(\""],
                Some("rs") if name != "words.rs" && !path.ends_with("words/tests.rs") => {
                    &[".say(\"", ".fill(\"", "mark(\""]
                }
                _ => continue,
            };
            // A text may stand on the line after its bracket.
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split('\n').map(str::trim_start).collect::<Vec<_>>().join("\n");
            let text = text.replace("(\n\"", "(\"");
            for mark in marks {
                for (at, _) in text.match_indices(mark) {
                    // `t("` is also the end of a longer name.
                    let before = text[..at].chars().next_back().unwrap_or(' ');
                    if !mark.starts_with('.')
                        && (before.is_alphanumeric() || before == '_' || before == '.')
                    {
                        continue;
                    }
                    let literal = &text[at + mark.len()..];
                    let quote = mark.chars().next_back().unwrap();
                    out.insert(literal_text(literal, quote), name.clone());
                }
            }
        }
    }
    out
}

/// Up to the quote that ends it; a backslash at a line's end joins lines.
fn literal_text(text: &str, quote: char) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => break,
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
            },
            _ => out.push(c),
        }
    }
    out
}

fn names(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect()
}

#[test]
fn each_language_has_all_that_pages_say_and_nothing_more() {
    let said = said();
    assert!(said.len() > 30, "the texts were found: {}", said.len());
    for (language, file) in LANGUAGES.iter().filter(|(language, _)| *language != "en") {
        let entries = entries(file);
        let known: BTreeMap<&str, &str> =
            entries.iter().map(|(english, text)| (english.as_str(), text.as_str())).collect();
        let lacking: Vec<_> =
            said.iter().filter(|(text, _)| !known.contains_key(text.as_str())).collect();
        assert!(lacking.is_empty(), "{language}.po lacks (text, where): {lacking:#?}");
        let stale: Vec<_> = known.keys().filter(|text| !said.contains_key(**text)).collect();
        assert!(stale.is_empty(), "{language}.po has what nobody says: {stale:#?}");
        assert_eq!(known.len(), entries.len(), "{language}.po says something twice");
        for (english, text) in &known {
            assert_eq!(names(english), names(text), "the names in {english:?} and {text:?}");
        }
    }
}

#[test]
fn a_browser_gets_the_language_it_prefers_of_those_there_are() {
    for (fixed, accept, wanted) in [
        ("", None, "en"),
        ("", Some("de"), "de"),
        ("", Some("de-AT,en;q=0.5"), "de"),
        ("", Some("en-GB,de;q=0.9"), "en"),
        ("", Some("fr,de;q=0.4,en;q=0.3"), "de"),
        ("", Some("fr, *"), "en"),
        ("", Some("de;q=0"), "en"),
        ("", Some("de;q=x"), "de"),
        ("en", Some("de"), "en"),
        ("de", None, "de"),
    ] {
        assert_eq!(chosen(fixed, accept).language(), wanted, "{fixed:?} {accept:?}");
    }
    let ours: Vec<_> = LANGUAGES.iter().map(|(language, _)| *language).collect();
    assert_eq!(ours, crate::config::look::LANGUAGES);
}

#[test]
fn names_are_filled_once_and_values_are_not_looked_into() {
    let value = |name: &str| match name {
        "a" => Some("{b}".to_owned()),
        "b" => Some("B".to_owned()),
        _ => None,
    };
    assert_eq!(fill("{a} and {b}, {c} {", value), "{b} and B, {c} {");
    assert_eq!(of("en").fill("Hello {name}", &[("name", "bob")]), "Hello bob");
}

#[test]
fn a_catalogue_is_read_as_gettext_writes_it() {
    let file = "# a comment\nmsgid \"\"\nmsgstr \"Language: de\\n\"\n\nmsgid \"A \\\"b\\\"\"\nmsgstr \"\"\n\"C \"\n\"d\"\n\
                \nmsgid \"not done\"\nmsgstr \"\"\n";
    assert_eq!(entries(file), [("A \"b\"".to_owned(), "C d".to_owned())]);
}
