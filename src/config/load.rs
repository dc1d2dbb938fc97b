//! A file and the command line become one configuration; every value knows where it came from.
//!
//! Default, then file, then command line: the later goes before the earlier. Faults carry line, column and the source
//! line with a caret; where a value may be secret, neither it nor its line is shown.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ron::extensions::Extensions;
use serde_json::Value;
use thiserror::Error;

use super::{
    catalogue,
    environment::{self, Taken},
    legacy,
    outline::{self, Place},
    sections::Config,
};

/// The file that is read where none is named, in the working directory; it may be missing.
pub const DEFAULT_FILE: &str = "hub.ron";
/// Longest file, in bytes: more is a mistake.
const MAX_FILE: u64 = 1 << 20;

/// A value given on the command line.
#[derive(Debug, Clone)]
pub struct Override {
    /// The setting.
    pub path: &'static str,
    /// The option, as it is typed.
    pub option: &'static str,
    /// Its value, as JSON.
    pub value: Value,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The file.
    File {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// This option.
    CommandLine(&'static str),
    /// This variable.
    Variable(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line, column } => write!(f, "file, {line}:{column}"),
            Self::CommandLine(option) => write!(f, "command line, {option}"),
            Self::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

/// A configuration that loaded, and where its values came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// The names in the file.
    pub places: Vec<Place>,
    /// The command line's part, kept for the next reading of the file.
    pub overrides: Vec<Override>,
    /// What the environment filled in.
    pub environment: Vec<Taken>,
    /// Whoever started jovis shall not become root by it: nothing of this may be theirs to change.
    pub guarded: bool,
}

impl Effective {
    /// Where the value of this setting came from.
    pub fn source(&self, path: &str) -> Source {
        if let Some(given) = self.overrides.iter().rev().find(|one| one.path == path) {
            return Source::CommandLine(given.option);
        }
        if let Some(taken) = self.environment.iter().find(|one| one.path == path) {
            return Source::Variable(taken.variable);
        }
        self.place(path)
            .map_or(Source::Default, |at| Source::File { line: at.line, column: at.column })
    }

    /// Where the file names this setting, under whichever of its names.
    pub fn place(&self, path: &str) -> Option<&Place> {
        let named = |at: &&Place| {
            at.path == path || catalogue::setting(&at.path).is_some_and(|one| one.path == path)
        };
        self.places.iter().find(named)
    }

    /// Where a field of an entry came from: entries of lists by number, of maps by name. Where the entry does not have
    /// it: where the entry begins.
    pub fn source_in(&self, path: &str, entry: &str) -> Source {
        let (list, _) = path.rsplit_once('.').unwrap_or((path, ""));
        let inside = |at: &&Place| at.entry.as_deref() == Some(entry);
        let mut of_list = self
            .places
            .iter()
            .filter(inside)
            .filter(|at| at.path.strip_prefix(list).is_some_and(|rest| rest.starts_with('.')));
        let first = of_list.clone().next();
        match of_list.find(|at| at.path == path).or(first) {
            Some(at) => Source::File { line: at.line, column: at.column },
            None => self.source(list),
        }
    }

    /// Reads the same file again, under the same command line (SIGHUP).
    ///
    /// # Errors
    ///
    /// As [`load`]; the old configuration is untouched.
    pub fn reload(&self) -> Result<Self, LoadError> {
        let new = load(self.file.as_deref(), &self.overrides)?;
        Ok(Self { guarded: self.guarded, ..new })
    }
}

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line and column, from 1; none for a value of the command line.
    pub at: Option<(usize, usize)>,
    /// The setting or option concerned, if one is.
    pub path: Option<String>,
    /// What is wrong, and what to write instead.
    pub words: String,
    /// The line of the file, unless it may hold a secret.
    pub excerpt: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.words)?;
        if let (Some((line, column)), Some(excerpt)) = (self.at, &self.excerpt) {
            let number = line.to_string();
            let space: String = excerpt
                .chars()
                .take(column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n  {number} | {excerpt}\n  {} | {space}^", " ".repeat(number.len()))?;
        }
        Ok(())
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file was named and is not there.
    #[error("{}: there is no such file; `jovis --generate-config -f {}` writes one", .0.display(), .0.display())]
    Missing(PathBuf),
    /// It is there but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read and is wrong.
    #[error("{}", list(file, faults))]
    Faults {
        /// Which.
        file: PathBuf,
        /// All that could be found.
        faults: Vec<Fault>,
    },
}

fn list(file: &Path, faults: &[Fault]) -> String {
    let lines: Vec<_> =
        faults
            .iter()
            .map(|one| {
                if one.at.is_some() { format!("{}:{one}", file.display()) } else { one.to_string() }
            })
            .collect();
    lines.join("\n")
}

/// Reads the named file, or [`DEFAULT_FILE`] if it is there, and puts the command line's values over it.
///
/// # Errors
///
/// The file is named and missing, cannot be read, or is wrong; an override has a value of a wrong type.
pub fn load(named: Option<&Path>, overrides: &[Override]) -> Result<Effective, LoadError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match read(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::Missing(path.to_owned()));
        }
        Err(source) => return Err(LoadError::Unreadable { path: path.to_owned(), source }),
    };
    let faults = |faults| LoadError::Faults { file: path.to_owned(), faults };
    let (config, places) = match &text {
        Some(text) => parse(text).map_err(faults)?,
        None => (Config::default(), Vec::new()),
    };
    let mut config = overlay(config, overrides).map_err(faults)?;
    let environment = environment::fill(&mut config, |name| env::var(name).ok());
    Ok(Effective {
        config,
        file: text.map(|_| path.to_owned()),
        places,
        overrides: overrides.to_vec(),
        environment,
        guarded: false,
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(text)
}

/// Reads a configuration from its text.
///
/// # Errors
///
/// Every unknown name and every unfit value; of the notation, the first mistake.
pub fn parse(text: &str) -> Result<(Config, Vec<Place>), Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = outline::outline(text);
    match read_ron(text) {
        Ok(mut config) => {
            config.hub.base_url = base_url(&config.hub.base_url);
            Ok((config, places))
        }
        Err(error) => Err(faults(text, &places, error)),
    }
}

fn read_ron(text: &str) -> Result<Config, ron::error::SpannedError> {
    let options = ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_default_extension(Extensions::UNWRAP_NEWTYPES)
        .with_recursion_limit(64);
    let short = options.clone().with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES);
    // `Pam(service: ..)` is our form; plain RON would have `Pam((service: ..))`, which is taken too. Of two errors the
    // one further on is about what the writer meant.
    short.from_str::<Config>(text).or_else(|error| {
        options.from_str::<Config>(text).map_err(|other| {
            let at =
                |error: &ron::error::SpannedError| (error.span.start.line, error.span.start.col);
            if at(&other) > at(&error) { other } else { error }
        })
    })
}

/// JupyterHub takes a prefix with or without its slashes; inside there is one form.
fn base_url(given: &str) -> String {
    let inner = given.trim_matches('/');
    if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") }
}

/// RON stops at the first error. We note it, take the field it is in out of the text and read again.
fn faults(text: &str, places: &[Place], first: ron::error::SpannedError) -> Vec<Fault> {
    let mut all: Vec<Fault> = places.iter().filter_map(|at| unknown(text, places, at)).collect();
    let mut left = text.to_owned();
    let mut next = Some(first);
    // A bound, though each round takes at least one field away.
    for _ in 0..100 {
        let Some(error) = next else { break };
        let now = outline::outline(&left);
        let start = (error.span.start.line.max(1), error.span.start.col.max(1));
        let at = after_blanks(text, start);
        let named = matches!(error.code, ron::Error::NoSuchStructField { .. });
        let told = all.iter().any(|fault| fault.at == Some(at));
        if !(named && told) {
            all.push(fault_of(text, places, at, &error.code));
        }
        let field = outline::setting_at(&now, at.0, at.1).filter(|_| !is_notation(&error.code));
        let Some(span) = field.map(|field| field.span.clone()) else { break };
        let blanks: String =
            left[span.clone()].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        left.replace_range(span, &blanks);
        next = read_ron(&left).err();
    }
    all.sort_by_key(|one| one.at);
    all
}

/// Is the text itself broken, so that what follows cannot be trusted?
fn is_notation(code: &ron::Error) -> bool {
    use ron::Error as E;
    !matches!(
        code,
        E::NoSuchStructField { .. }
            | E::NoSuchEnumVariant { .. }
            | E::DuplicateStructField { .. }
            | E::InvalidValueForType { .. }
            | E::Message(_)
            | E::IntegerOutOfBounds
            | E::ExpectedInteger
            | E::ExpectedFloat
            | E::ExpectedBoolean
            | E::ExpectedString
            | E::ExpectedArray
            | E::ExpectedMap
    )
}

/// RON points before the blanks in front of a value; we point at the value, if it stands on that line.
fn after_blanks(text: &str, (line, column): (usize, usize)) -> (usize, usize) {
    let rest = text.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1);
    let blanks = rest.clone().take_while(|c| c.is_whitespace()).count();
    if blanks < rest.count() { (line, column + blanks) } else { (line, column) }
}

/// The fault of a name that means nothing where it stands.
fn unknown(text: &str, places: &[Place], at: &Place) -> Option<Fault> {
    let (parent, name) = at.path.rsplit_once('.').unwrap_or(("", &at.path));
    let siblings = catalogue::names_below(parent);
    if siblings.is_empty() || siblings.contains(&name) {
        // Nothing is known below an unknown name: its own fault is enough.
        return None;
    }
    let mut words = format!("there is no setting `{name}` here");
    let elsewhere = catalogue::settings()
        .iter()
        .find(|one| one.path.rsplit('.').next() == Some(name) || one.aliases.contains(&name));
    // A letter too many or too few is likelier than the right name in the wrong place.
    let slip = siblings.iter().find(|it| {
        it.len().abs_diff(name.len()) == 1 && (it.starts_with(name) || name.starts_with(**it))
    });
    if let Some(near) = slip {
        words.push_str(&format!("; did you mean `{near}`?"));
    } else if let Some(other) = elsewhere {
        words.push_str(&format!("; it stands in `{}`", other.path));
    } else if let Some(place) = legacy::now_called(name) {
        words.push_str(&format!("; JupyterHub's setting of this name has its place here: {place}"));
    } else if let Some(near) = nearest(name, &siblings) {
        words.push_str(&format!("; did you mean `{near}`?"));
    } else {
        words.push_str(&format!("; there are: {}", siblings.join(", ")));
    }
    Some(Fault {
        at: Some((at.line, at.column)),
        path: Some(at.path.clone()),
        words,
        excerpt: excerpt(text, places, at.line),
    })
}

/// The valid name that looks most like this one, if one does.
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let likeness = |other: &&'a str| {
        let slip = if strsim::osa_distance(name, other) == 1 { 1.0 } else { 0.0 };
        strsim::jaro_winkler(name, other) + slip
    };
    let best = names.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.8).then_some(best)
}

fn fault_of(text: &str, places: &[Place], at: (usize, usize), code: &ron::Error) -> Fault {
    let path = outline::setting_at(places, at.0, at.1).map(|place| place.path.clone());
    let secret = path.as_deref().is_some_and(catalogue::is_secret);
    let kind = path
        .as_deref()
        .and_then(catalogue::setting)
        .map(|one| one.kind.as_str())
        .unwrap_or("another type");
    let words = match code {
        ron::Error::NoSuchEnumVariant { expected, found, .. } => {
            let near = nearest(found, expected)
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            let all = expected.join(", ");
            if PLANNED.contains(&found.as_str()) {
                format!("`{found}` is not built yet; there are: {all}")
            } else {
                format!("`{found}` is none of {all}{near}")
            }
        }
        ron::Error::NoSuchStructField { found, expected, .. } => {
            format!("there is no setting `{found}` here; there are: {}", expected.join(", "))
        }
        ron::Error::DuplicateStructField { field, .. } => {
            format!("`{field}` is set twice (perhaps once under another name of it)")
        }
        ron::Error::Message(_) | ron::Error::InvalidValueForType { .. } if secret => {
            "the value has the wrong type or form".to_owned()
        }
        ron::Error::InvalidValueForType { expected, found } => {
            format!("expected {expected}, found {found}")
        }
        ron::Error::ExpectedComma | ron::Error::ExpectedStructLikeEnd => {
            "a comma or a closing bracket is missing here or before".to_owned()
        }
        other if secret => format!("not readable as RON ({})", kind_of(other)),
        ron::Error::ExpectedIdentifier => {
            "a name is missing here: settings are written `name: value`".to_owned()
        }
        ron::Error::ExpectedString => format!("expected here: {kind}, in double quotes"),
        ron::Error::ExpectedBoolean
        | ron::Error::ExpectedInteger
        | ron::Error::ExpectedFloat
        | ron::Error::ExpectedMap
        | ron::Error::IntegerOutOfBounds => format!("expected here: {kind}"),
        ron::Error::ExpectedArray => format!("expected here: {kind}, in brackets: `[\"..\"]`"),
        ron::Error::Eof
        | ron::Error::ExpectedStructLike
        | ron::Error::ExpectedNamedStructLike(_) => {
            "a section and the whole stand in brackets: `(name: value, ..)`".to_owned()
        }
        ron::Error::ExpectedDifferentStructName { .. } => {
            "a section and the whole stand in brackets, without a name before: `(name: value, ..)`"
                .to_owned()
        }
        other => other.to_string(),
    };
    Fault { at: Some(at), path, words, excerpt: excerpt(text, places, at.0) }
}

/// What kind of error, without anything of the text.
fn kind_of(code: &ron::Error) -> String {
    let debug = format!("{code:?}");
    debug.split(['(', '{', ' ']).next().unwrap_or_default().to_owned()
}

/// Authenticators and spawners that are meant to come.
const PLANNED: &[&str] = &["Google", "OAuth", "Ldap", "SharedPassword", "Kubernetes", "Slurm"];

/// The line, unless some of it may belong to a secret.
fn excerpt(text: &str, places: &[Place], line: usize) -> Option<String> {
    let before = outline::setting_at(places, line, 1);
    let on = places.iter().filter(|at| at.line == line);
    if before.into_iter().chain(on).any(|at| catalogue::is_secret(&at.path)) {
        return None;
    }
    let line = text.lines().nth(line - 1)?;
    let lower = line.to_lowercase();
    let suspect = ["password", "secret", "token", "dummy"].iter().any(|word| lower.contains(word));
    (!suspect && line.chars().count() <= 200).then(|| line.to_owned())
}

fn overlay(config: Config, overrides: &[Override]) -> Result<Config, Vec<Fault>> {
    let mut config = config;
    let mut faults = Vec::new();
    for one in overrides {
        match apply(&config, one) {
            Ok(next) => config = next,
            Err(words) => faults.push(Fault {
                at: None,
                path: Some(one.option.to_owned()),
                words,
                excerpt: None,
            }),
        }
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn apply(config: &Config, one: &Override) -> Result<Config, String> {
    let mut whole = serde_json::to_value(config).expect("sections are plain data");
    let slot = whole
        .pointer_mut(&format!("/{}", one.path.replace('.', "/")))
        .ok_or("it belongs to a class that is not the one in use")?;
    *slot = one.value.clone();
    let mut config: Config = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    config.hub.base_url = base_url(&config.hub.base_url);
    Ok(config)
}

/// Is this a value for the setting (where its class is the default one)?
pub fn fits(one: &Override) -> bool {
    apply(&Config::default(), one).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Fault {
        parse(text).expect_err(text).remove(0)
    }

    #[test]
    fn an_unknown_name_is_shown_with_a_caret_and_its_neighbour() {
        let fault = first("(\n    hub: (\n        prot: 1,\n    ),\n)");
        assert_eq!(fault.at, Some((3, 9)));
        let text = fault.to_string();
        assert!(text.contains("did you mean `port`?"), "{text}");
        assert!(text.ends_with("3 |         prot: 1,\n    |         ^"), "{text}");
    }

    #[test]
    fn all_unknown_names_are_told_at_once() {
        let faults = parse("(hub: (prot: 1, admin_users: []), huub: (a: 1))")
            .expect_err("three unknown names");
        let words: Vec<_> = faults.iter().map(|one| one.words.as_str()).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words[1].contains("auth.admin_users"), "{words:?}");
    }

    #[test]
    fn unfit_values_are_told_at_once_too() {
        let text = "(\n hub: (port: \"x\", prot: 1, ip: 7),\n auth: (class: Dumy(\"é\")),\n log: (format: Xml, level: true),\n)";
        let faults = parse(text).expect_err("six faults");
        let at: Vec<_> = faults.iter().map(|one| one.at.unwrap()).collect();
        assert_eq!(at, [(2, 14), (2, 19), (2, 32), (3, 16), (4, 16), (4, 28)], "{faults:?}");
    }

    #[test]
    fn secrets_are_not_echoed() {
        for text in [
            "(auth: (class: Dummy(password: 314159265)))",
            "(auth: (class: Dummy(password: 314159265\n)))",
            "(auth: (class: Dummy(password: \"314159265)))",
            "(spawner: (environment: {\"A\": 314159265}))",
            "(spawner: (environment: {\n\"A\": 314159265}))",
            "(auth: (class: Dummy(password: \"314159265\" allow_remote: true)))",
            "(auth: (class: Dummy(password: \"314159265\", allow: true)))",
            "(auth: (class: Dummy(\"314159265\")))",
            "(services: [(name: \"x\", api_token: 314159265)])",
            "(services: [(name: \"x\",\n environment: {\"A\":\n 314159265})])",
        ] {
            let faults = parse(text).expect_err(text);
            assert!(!format!("{faults:?}").contains("314159265"), "{text}: {faults:?}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.ron");
        std::fs::write(&file, "(hub: (port: 1, hub_port: 2, base_url: \"lab\"))").unwrap();
        let over = Override { path: "hub.port", option: "--port", value: Value::from(3) };
        let loaded = load(Some(&file), std::slice::from_ref(&over)).unwrap();
        assert_eq!((loaded.config.hub.port, loaded.config.hub.hub_port), (3, 2));
        assert_eq!(loaded.config.hub.base_url, "/lab/");
        assert_eq!(loaded.source("hub.port"), Source::CommandLine("--port"));
        assert_eq!(loaded.source("hub.hub_port"), Source::File { line: 1, column: 17 });
        assert_eq!(loaded.source("hub.ip"), Source::Default);
        std::fs::write(&file, "(hub: (port: 9, hub_port: 4))").unwrap();
        let again = loaded.reload().unwrap();
        assert_eq!((again.config.hub.port, again.config.hub.hub_port), (3, 4));
        let bad = Override { value: Value::from(70_000), ..over };
        assert!(load(Some(&file), &[bad]).unwrap_err().to_string().contains("--port"));
    }

    #[test]
    fn lists_of_entries_are_read_and_their_faults_found() {
        let text = "(load_roles: [(name: \"abc\", description: \"x\", scopes: [])], services: [(name: \"s\", command: \"run\", info: {\"a\": {\"b\": [1, None]}})], load_groups: {\"g\": (properties: {\"n\": 1.5})})";
        let (config, _) = parse(text).unwrap();
        assert_eq!(config.roles[0].scopes, Some(vec![]));
        assert_eq!(config.services[0].command, ["run"]);
        assert_eq!(config.services[0].info["a"]["b"], serde_json::json!([1, null]));
        assert_eq!(config.load_groups["g"].properties.as_ref().unwrap()["n"], 1.5);
        let again = catalogue::render(
            &config,
            &catalogue::Style { comments: true, masked: false, remark: &|_| None },
        );
        assert_eq!(parse(&again).unwrap().0, config, "{again}");
        for (text, at, words) in [
            ("(services: [\n (name: \"a\"),\n (nam: \"b\")])", (3, 3), "did you mean `name`"),
            ("(load_roles: [(scope: [])])", (1, 16), "did you mean `scopes`"),
            ("(auth: (blacklist: []))", (1, 9), "its place here: auth.blocked_users"),
            ("(auth: (group_whitelist: []))", (1, 9), "its place here: auth.allowed_groups"),
            ("(load_groups: {\"g\": (usrs: [])})", (1, 22), "did you mean `users`"),
            ("(roles: [(scopes: \"x\")])", (1, 19), "in brackets"),
        ] {
            let fault = first(text);
            assert_eq!(fault.at, Some(at), "{text}: {fault}");
            assert!(fault.to_string().contains(words), "{text}: {fault}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none.ron");
        assert!(matches!(load(Some(&missing), &[]), Err(LoadError::Missing(_))));
    }

    #[test]
    fn a_single_program_is_a_command() {
        let (config, _) = parse("(spawner: (cmd: \"lab server\"))").unwrap();
        assert_eq!(config.spawner.cmd, ["lab server"]);
        let (config, _) = parse("(spawner: (cmd: [\"lab\", \"--x\"]))").unwrap();
        assert_eq!(config.spawner.cmd, ["lab", "--x"]);
    }

    #[test]
    fn enums_and_options_read_naturally() {
        let text = "(auth: (class: Dummy(allow_remote: true), whitelist: [\"a\"], allow_existing_users: false), shutdown: (servers: Keep), spawner: (class: Local(), ports: (1, 2), env: {\"A\": \"b\"}))";
        let (config, _) = parse(text).unwrap();
        assert!(config.auth.allowed_users.contains("a"));
        assert_eq!(config.auth.allow_existing_users, Some(false));
        assert_eq!(config.spawner.ports, (1, 2));
        let (config, places) =
            parse("(auth: (class: Pam((timeout: 5, service: \"su\"))))").unwrap();
        assert!(
            matches!(config.auth.class, crate::config::sections::AuthClass::Pam(pam) if pam.service == "su")
        );
        assert_eq!(places.last().unwrap().path, "auth.class.Pam.service");
    }
}
