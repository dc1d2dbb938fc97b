//! What people read, in their language. English is the key: templates say `_("Sign in")`, scripts `t("Sign in")`, and a
//! catalogue (`words/*.po`, gettext's own format) holds the other languages, each in one file. What a catalogue lacks
//! stays English. The REST API speaks English only.
//!
//! To add a language: its file, a line in [`LANGUAGES`], a line in `statics.rs`. A test tells what it lacks.

use std::{collections::HashMap, sync::LazyLock};

/// The catalogues, by language: `(language, its file)`. English has none.
const LANGUAGES: &[(&str, &str)] = &[("en", ""), ("de", include_str!("words/de.po"))];

/// One language.
#[derive(Debug)]
pub(crate) struct Words {
    language: &'static str,
    /// English to this.
    catalogue: HashMap<String, String>,
}

static ALL: LazyLock<Vec<Words>> = LazyLock::new(|| {
    let read = |(language, file): &(&'static str, &str)| Words {
        language,
        catalogue: entries(file).into_iter().collect(),
    };
    LANGUAGES.iter().map(read).collect()
});

/// That language; English if there is no such one.
pub(crate) fn of(language: &str) -> &'static Words {
    ALL.iter().find(|words| words.language == language).unwrap_or(&ALL[0])
}

/// The language of a visitor: `fixed` by the operator, else the one of ours that `Accept-Language` prefers.
pub(crate) fn chosen(fixed: &str, accept: Option<&str>) -> &'static Words {
    if !fixed.is_empty() {
        return of(fixed);
    }
    let mut best: Option<(&str, f32)> = None;
    for item in accept.unwrap_or_default().split(',').take(20) {
        let mut parts = item.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let language = tag.split('-').next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        let known = LANGUAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(language));
        if let Some((known, _)) = known
            && quality > best.map_or(0.0, |(_, quality)| quality)
        {
            best = Some((known, quality));
        }
    }
    of(best.map_or("en", |(language, _)| language))
}

impl Words {
    /// As `lang` of HTML has it.
    pub(crate) fn language(&self) -> &'static str {
        self.language
    }

    /// This text in this language.
    pub(crate) fn say<'a>(&'a self, english: &'a str) -> &'a str {
        self.catalogue.get(english).map_or(english, String::as_str)
    }

    /// The same with values for its `{names}`.
    pub(crate) fn fill(&self, english: &str, values: &[(&str, &str)]) -> String {
        fill(self.say(english), |name| {
            values.iter().find(|(which, _)| *which == name).map(|(_, value)| (*value).to_owned())
        })
    }
}

/// Notes a text that is said elsewhere, by [`Words::say`]: the catalogues must have it. (gettext's `N_`.)
pub(crate) const fn mark(english: &'static str) -> &'static str {
    english
}

/// A text with values for its `{names}`; a name without a value stays as it is. Values are not looked into.
pub(crate) fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}').and_then(|(name, after)| Some((value(name)?, after))) {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

/// `msgid` and `msgstr` of each entry of a gettext catalogue, in order. Comments, the header (whose `msgid` is empty)
/// and what is no entry are left out; plural forms are not known here.
fn entries(file: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut in_value = false;
    for line in file.lines().map(str::trim) {
        let text = if let Some(text) = line.strip_prefix("msgid ") {
            out.push((String::new(), String::new()));
            in_value = false;
            text
        } else if let Some(text) = line.strip_prefix("msgstr ") {
            in_value = true;
            text
        } else if line.starts_with('"') {
            line
        } else {
            continue;
        };
        let text = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        if let (Some(text), Some(entry)) = (text, out.last_mut()) {
            let part = if in_value { &mut entry.1 } else { &mut entry.0 };
            part.push_str(&text.replace("\\n", "\n").replace("\\\"", "\""));
        }
    }
    out.retain(|(english, text)| !english.is_empty() && !text.is_empty());
    out
}

/// A catalogue as a module for scripts: what they say is looked up there.
pub(crate) fn module(language: &str) -> String {
    let all = serde_json::to_string(&of(language).catalogue).unwrap_or_default();
    format!("export default {all};\n")
}

#[cfg(test)]
mod tests;
