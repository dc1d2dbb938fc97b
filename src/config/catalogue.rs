//! What settings there are, read out of the sections' own source: names, types and doc comments stand there once, and
//! `hub.ron`, `--help-all`, `show-config` and the reference are made from them.

mod file;

pub use file::{Style, default_file, render};

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::LazyLock,
};

use serde_json::Value;

use super::{
    change,
    sections::{
        Certificate, Choice, Config, CustomScope, Docker, Dummy, GitHub, Image, LoadGroup, Local,
        Number, Offer, Oidc, OtherAuth, Pam, Profile, ProfileOption, Role, Service, Simple, Text,
    },
};

/// Settings whose values are never shown.
pub const SECRETS: &[&str] = &[
    "auth.class.Dummy.password",
    "auth.class.GitHub.client_secret",
    "auth.class.Oidc.client_secret",
    "auth.others.class",
    "spawner.environment",
    "spawner.profiles.overrides.environment",
    "spawner.profiles.profile_options.kind.Choice.choices.overrides.environment",
    "spawner.profiles.profile_options.kind.Image.choices.overrides.environment",
    "services.api_token",
    "services.environment",
];

/// One setting.
#[derive(Debug, Clone)]
pub struct Setting {
    /// `hub.port`, `auth.class.Pam.service`.
    pub path: String,
    /// Its type, in words.
    pub kind: String,
    /// Its default, as RON.
    pub default: String,
    /// Its reference text.
    pub doc: String,
    /// Other names it may have in the file.
    pub aliases: Vec<&'static str>,
}

impl Setting {
    /// Is it there so that its name is known, without effect so far?
    pub fn unbuilt(&self) -> bool {
        self.doc.contains("Not built yet")
    }
}

struct Field {
    name: &'static str,
    kind: &'static str,
    doc: Vec<&'static str>,
    aliases: Vec<&'static str>,
}

#[derive(Default)]
struct Schema {
    structs: BTreeMap<&'static str, Vec<Field>>,
    enums: BTreeMap<&'static str, Vec<Field>>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = Schema::default();
    for source in [
        include_str!("sections/mod.rs"),
        include_str!("sections/hub.rs"),
        include_str!("sections/proxy.rs"),
        include_str!("sections/acme.rs"),
        include_str!("sections/auth.rs"),
        include_str!("sections/providers.rs"),
        include_str!("sections/spawner.rs"),
        include_str!("sections/docker.rs"),
        include_str!("../../actors/src/domain/profile.rs"),
        include_str!("sections/roles.rs"),
        include_str!("sections/services.rs"),
        include_str!("sections/root.rs"),
        include_str!("sections/log.rs"),
    ] {
        schema.read(source);
    }
    schema
});

static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut all = Vec::new();
    collect(&mut all, "", "Config", &value_of(&Config::default()));
    all
});

static FIELDS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (path, inner) in lists() {
        collect(&mut all, &path, inner, &default_of(inner));
    }
    all
});

impl Schema {
    /// Reads structs and enums as rustfmt writes them.
    fn read(&mut self, source: &'static str) {
        let mut item: Option<(bool, &'static str)> = None;
        let (mut doc, mut aliases) = (Vec::new(), Vec::new());
        for line in source.lines() {
            let text = line.trim();
            if let Some(words) = text.strip_prefix("///") {
                doc.push(words.trim());
                continue;
            }
            if text.starts_with("#[") {
                if let Some((_, rest)) = text.split_once("alias = \"") {
                    aliases.extend(rest.split('"').next());
                }
                continue;
            }
            let head =
                |word| text.strip_prefix(word).and_then(|rest: &str| rest.split([' ', '{']).next());
            if let Some(name) = head("pub struct ") {
                item = (!text.ends_with('}')).then_some((true, name));
                self.structs.entry(name).or_default();
            } else if let Some(name) = head("pub enum ") {
                item = Some((false, name));
                self.enums.entry(name).or_default();
            } else if line == "}" {
                item = None;
            } else if let Some((true, owner)) = item
                && let Some((name, kind)) =
                    text.strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
            {
                let kind = kind.trim_end_matches(',');
                let field = Field { name, kind, doc: doc.clone(), aliases: aliases.clone() };
                self.structs.entry(owner).or_default().push(field);
            } else if let Some((false, owner)) = item {
                let (name, kind) = text
                    .trim_end_matches(',')
                    .split_once('(')
                    .unwrap_or((text.trim_end_matches(','), ""));
                let field = Field {
                    name,
                    kind: kind.trim_end_matches(')'),
                    doc: doc.clone(),
                    aliases: Vec::new(),
                };
                self.enums.entry(owner).or_default().push(field);
            }
            doc.clear();
            aliases.clear();
        }
    }

    /// The variants, where the type is an enum whose variants have settings of their own.
    fn payloads(&self, kind: &str) -> Option<&[Field]> {
        self.enums
            .get(kind)
            .filter(|all| all.iter().any(|one| !one.kind.is_empty()))
            .map(Vec::as_slice)
    }
}

/// Every setting, in the order of the sections.
pub fn settings() -> &'static [Setting] {
    &SETTINGS
}

/// What stands in each entry of a setting that is a list or a map of such: `services.url` is the `url` of any service.
pub fn fields() -> &'static [Setting] {
    &FIELDS
}

/// The setting at this path, by its name or another one; or a field of entries.
pub fn setting(path: &str) -> Option<&'static Setting> {
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
    SETTINGS.iter().chain(FIELDS.iter()).find(|one| {
        one.path == path
            || one.aliases.contains(&last)
                && one.path.rsplit_once('.').map_or("", |(of, _)| of) == parent
    })
}

/// The names that may stand below this path (`""`: the sections).
pub fn names_below(path: &str) -> Vec<&'static str> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let mut names: Vec<&'static str> = Vec::new();
    for one in settings().iter().chain(fields()) {
        if let Some(rest) = one.path.strip_prefix(&prefix) {
            let name = rest.split('.').next().unwrap_or(rest);
            if !names.contains(&name) && !name.starts_with(char::is_uppercase) {
                names.push(name);
            }
            if !rest.contains('.') {
                names.extend(&one.aliases);
            }
        }
    }
    names
}

/// May this variant with settings of its own stand at this path?
pub fn is_variant(path: &str, name: &str) -> bool {
    let prefix = format!("{path}.{name}");
    name.starts_with(char::is_uppercase)
        && (SETTINGS.iter().any(|one| one.path.starts_with(&format!("{prefix}.")))
            || setting(path).is_some_and(|one| one.kind.contains(&format!("{name}("))))
}

/// Is the value of this path, or of one above it, never to be shown?
pub fn is_secret(path: &str) -> bool {
    SECRETS.iter().any(|secret| {
        path == *secret || path.strip_prefix(secret).is_some_and(|rest| rest.starts_with('.'))
    })
}

fn value_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("sections are plain data")
}

macro_rules! defaults {
    ($kind:expr, $($name:ident),*) => {
        match $kind { $(stringify!($name) => value_of(&$name::default()),)* _ => Value::Null }
    };
}

/// The defaults of what a variant or an entry holds.
#[rustfmt::skip]
fn default_of(kind: &str) -> Value {
    defaults!(
        kind, Pam, Dummy, GitHub, Oidc, OtherAuth, Local, Simple, Docker, Role, Service, LoadGroup, CustomScope,
        Profile, ProfileOption, Choice, Number, Text, Image, Offer, Certificate
    )
}

/// The struct of which this is a list, or a map by name.
fn entry_of(kind: &'static str) -> Option<&'static str> {
    let inner = kind.strip_prefix("Vec<").or_else(|| kind.strip_prefix("BTreeMap<String, "))?;
    inner.strip_suffix('>').filter(|inner| SCHEMA.structs.contains_key(inner))
}

/// The settings that are lists or maps of entries, with the entry's struct; also those inside of entries.
fn lists() -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let mut owners = VecDeque::from([(String::new(), "Config")]);
    while let Some((path, owner)) = owners.pop_front() {
        for field in SCHEMA.structs.get(owner).map(Vec::as_slice).unwrap_or_default() {
            let path = join(&path, field.name);
            if let Some(inner) = entry_of(field.kind) {
                found.push((path.clone(), inner));
                owners.push_back((path, inner));
            } else if SCHEMA.structs.contains_key(field.kind) {
                owners.push_back((path, field.kind));
            } else {
                let variants = SCHEMA.payloads(field.kind).unwrap_or_default();
                owners.extend(variants.iter().map(|one| (join(&path, one.name), one.kind)));
            }
        }
    }
    found
}

/// As [`fields`], of this list.
fn fields_of(path: &str) -> impl Iterator<Item = &'static Setting> {
    let below = format!("{path}.");
    fields().iter().filter(move |one| one.path.starts_with(&below))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn collect(all: &mut Vec<Setting>, path: &str, owner: &str, value: &Value) {
    for field in SCHEMA.structs.get(owner).map(Vec::as_slice).unwrap_or_default() {
        let path = join(path, field.name);
        let value = &value[field.name];
        if SCHEMA.structs.contains_key(field.kind) {
            collect(all, &path, field.kind, value);
            continue;
        }
        all.push(Setting {
            path: path.clone(),
            kind: in_words(field.kind),
            default: ron_text(field.kind, value),
            doc: field.doc.join(" "),
            aliases: field.aliases.clone(),
        });
        for variant in SCHEMA.payloads(field.kind).unwrap_or_default() {
            collect(all, &join(&path, variant.name), variant.kind, &default_of(variant.kind));
        }
    }
}

fn in_words(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("Option<") {
        return format!("{}, or None", in_words(inner.strip_suffix('>').unwrap_or(inner)));
    }
    if kind.contains('<') && SCHEMA.structs.keys().any(|name| kind.ends_with(&format!("{name}>"))) {
        return if kind.starts_with("Vec") { "list of entries" } else { "map of names to entries" }
            .to_owned();
    }
    if let Some(variants) = SCHEMA.enums.get(kind) {
        let names: Vec<_> = variants
            .iter()
            .map(|one| {
                if one.kind.is_empty() { one.name.to_owned() } else { format!("{}(..)", one.name) }
            })
            .collect();
        return names.join(" or ");
    }
    match kind {
        "String" => "text",
        "PathBuf" => "path",
        "bool" => "true or false",
        "u16" => "whole number, 0 to 65535",
        "u32" | "u64" => "whole number",
        "f64" => "number",
        "Seconds" => "seconds",
        "(u16, u16)" => "two ports",
        "Vec<String>" | "Vec<PathBuf>" => "list of texts",
        "BTreeSet<String>" => "set of texts",
        "BTreeMap<String, String>" => "map of text to text",
        "Map<String, Value>" => "map",
        other => other,
    }
    .to_owned()
}

/// A value as it stands in `hub.ron`, on one line.
fn ron_text(kind: &str, value: &Value) -> String {
    let kind = kind.strip_prefix("Option<").map_or(kind, |inner| inner.trim_end_matches('>'));
    let list = |items: &[Value]| {
        items.iter().map(|item| ron_text("", item)).collect::<Vec<_>>().join(", ")
    };
    match value {
        Value::Null => "None".to_owned(),
        Value::String(text) if SCHEMA.enums.contains_key(kind) => text.clone(),
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
        Value::Array(items) if kind.starts_with('(') => format!("({})", list(items)),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Object(fields) if SCHEMA.enums.contains_key(kind) => {
            fields.keys().map(|name| format!("{name}(..)")).collect()
        }
        Value::Object(fields) => {
            let pairs: Vec<_> = fields
                .iter()
                .map(|(name, value)| {
                    format!(
                        "{}: {}",
                        ron_text("", &Value::String(name.clone())),
                        ron_text("", value)
                    )
                })
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Puts `***` in the place of every secret of a whole configuration: what is shown tells that there is something, not
/// what.
pub fn mask(config: &mut Value) {
    for secret in SECRETS {
        let names: Vec<_> = secret.split('.').collect();
        mask_at(config, &names);
    }
}

fn mask_at(value: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return hide(value) };
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| mask_at(one, path)),
        Value::Object(all) => {
            if let Some(one) = all.get_mut(*first) {
                mask_at(one, rest);
            }
        }
        _ => {}
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::String(text) if text.is_empty() => {}
        other => *other = Value::from("***"),
    }
}

/// The text of `--help-all`.
pub fn help() -> String {
    let mut out = String::new();
    for one in settings() {
        for one in std::iter::once(one).chain(fields_of(&one.path)) {
            let _ = writeln!(out, "{} ({}) = {}\n    {}", one.path, one.kind, one.default, one.doc);
        }
    }
    out
}

/// The reference page of all settings, Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Settings\n\nMade from the settings' own documentation. All stand in `hub.ron`.\n\n\
         `jovis reload` (or SIGHUP to the first process) puts a changed file into effect, as a whole or, if anything in \
         it is wrong, not at all. When each setting then takes effect:\n\n",
    );
    for (word, meaning) in change::LEGEND {
        let _ = writeln!(out, "- *{word}*: {meaning}");
    }
    out.push_str("\nWhat waits for a restart, and why:\n\n");
    for one in settings() {
        if let Some(change::Class::Restart(why)) = change::class(&one.path) {
            let _ = writeln!(out, "- `{}`: {why}", one.path);
        }
    }
    let mut section = "";
    for one in settings() {
        let head = one.path.split('.').next().unwrap_or_default();
        if head != section {
            section = head;
            let _ = writeln!(
                out,
                "\n## {section}\n\n| setting | type | default | takes effect | meaning |\n|---|---|---|---|---|"
            );
        }
        let when = change::class(&one.path).map_or("", change::Class::word);
        for row in std::iter::once(one).chain(fields_of(&one.path)) {
            let also =
                row.aliases.iter().map(|name| format!(" (also `{name}`)")).collect::<String>();
            let path = row.path.strip_prefix(&one.path).unwrap_or_default();
            let which = match (path, one.kind.starts_with("list")) {
                ("", _) => "",
                (_, true) => "[]",
                (_, false) => ".NAME",
            };
            let _ = writeln!(
                out,
                "| `{}{which}{path}`{also} | {} | `{}` | {when} | {} |",
                one.path, row.kind, row.default, row.doc
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(path: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() && !path.ends_with("environment") => {
                for (name, value) in fields {
                    leaves(&join(path, name), value, out);
                }
            }
            _ => out.push(path.to_owned()),
        }
    }

    #[test]
    fn every_field_that_serde_sees_is_in_the_catalogue_with_a_text() {
        let mut seen = Vec::new();
        leaves("", &value_of(&Config::default()), &mut seen);
        for path in seen.iter().filter(|path| *path != "spawner.class.Local") {
            assert!(setting(path).is_some(), "{path}");
        }
        assert!(settings().len() >= seen.len());
        assert!(setting("load_roles").is_some() && setting("services.url").is_some());
        // Also in entries of entries.
        for path in ["name", "kind", "kind.Number.min", "kind.Choice.choices.overrides.args"] {
            assert!(
                setting(&format!("spawner.profiles.profile_options.{path}")).is_some(),
                "{path}"
            );
        }
        for one in settings() {
            assert!(one.doc.len() > 8, "{}", one.path);
            let optional = [
                "shutdown.servers",
                "auth.allow_existing_users",
                "auth.refresh_pre_spawn",
                "hub.cookie_host_prefix_enabled",
                "spawner.class.Docker.use_internal_ip",
            ];
            let optional = optional.contains(&one.path.as_str());
            assert_eq!(one.default == "None", optional, "{}", one.path);
        }
    }

    #[test]
    fn other_names_are_known() {
        assert_eq!(setting("auth.whitelist").unwrap().path, "auth.allowed_users");
        assert_eq!(setting("spawner.env").unwrap().path, "spawner.environment");
        assert_eq!(setting("hub.db_file").unwrap().path, "hub.db_url");
        assert!(setting("hub.whitelist").is_none());
        assert!(names_below("").contains(&"spawner"));
        assert!(names_below("auth.class.Pam").contains(&"service"));
    }

    #[test]
    fn secrets_are_masked() {
        let mut config = Config::default();
        config.auth.class = crate::config::sections::AuthClass::Dummy(Dummy {
            password: "hunter2".into(),
            allow_remote: false,
        });
        config.spawner.environment.insert("TOKEN".into(), "hunter2".into());
        config.services.push(Service {
            api_token: "hunter2".into(),
            environment: config.spawner.environment.clone(),
            ..Service::default()
        });
        let text = render(&config, &Style { comments: false, masked: true, remark: &|_| None });
        assert!(!text.contains("hunter2") && text.contains("TOKEN"), "{text}");
        assert!(!format!("{:?}{:?}", config.auth, config.services).contains("hunter2"));
    }
}
