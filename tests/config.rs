//! `hub.ron`, the examples and the reference are as the settings say; wrong files are refused at the right place; the
//! binary reads, writes and checks them, and says by its exit code what is wrong.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jovis::config::{
    Config, Effective, catalogue, check, environment, load,
    world::{FileFacts, World},
};

/// Compares a file with what it is made from; `UPDATE=1 cargo test` writes it.
fn made(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is out of date: UPDATE=1 cargo test --test config", path.display());
}

#[test]
fn hub_ron_shows_every_setting_at_its_default() {
    made("hub.ron", &catalogue::default_file());
    let (config, places) =
        load::parse(&catalogue::default_file()).unwrap_or_else(|faults| panic!("{}", faults[0]));
    assert_eq!(config, Config::default());
    for one in catalogue::settings() {
        let others = [".Docker.", ".Dummy.", ".GitHub.", ".Oidc.", ".Simple."];
        let of_another_class = others.iter().any(|class| one.path.contains(class));
        assert_eq!(places.iter().any(|at| at.path == one.path), !of_another_class, "{}", one.path);
    }
}

#[test]
fn the_reference_is_made_from_the_settings() {
    made("docs/reference/settings.md", &catalogue::reference());
}

/// A machine that has everything the examples name.
struct Ready(BTreeMap<&'static str, &'static str>);

impl World for Ready {
    fn is_root(&self) -> bool {
        true
    }
    fn account_exists(&self, _: &str) -> bool {
        true
    }
    fn facts(&self, path: &Path) -> Option<FileFacts> {
        let folder = ["/", "/var/lib", "/etc/jovis", "."].contains(&path.to_str()?);
        let file = self.0.contains_key(path.to_str()?);
        (folder || file).then_some(FileFacts {
            mode: if folder || path.starts_with("/usr") { 0o755 } else { 0o600 },
            uid: 0,
            folder,
        })
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text =
            path.to_str().and_then(|path| self.0.get(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }
    fn variable(&self, name: &str) -> Option<String> {
        (name == "JUPYTERHUB_CRYPT_KEY").then(|| "ab".repeat(32))
    }
}

/// What keeps this file from being used on a machine that has all it names: each setting, and what is wrong with it.
fn refused(path: &Path) -> Vec<(String, String)> {
    let world = Ready(BTreeMap::from([
        ("/etc/pam.d/login", "auth required pam_unix.so\n"),
        ("/usr/sbin/useradd", "\u{7f}ELF"),
        ("/etc/jovis/cert.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("/etc/jovis/key.pem", "-----BEGIN PRIVATE KEY-----\n"),
    ]));
    let mut loaded = match load::load(Some(path), &[]) {
        Ok(loaded) => loaded,
        Err(error) => return vec![(String::new(), error.to_string())],
    };
    // what files leave to the environment
    environment::fill(&mut loaded.config, |name| {
        Some(match name {
            "OAUTH_CALLBACK_URL" => "https://hub.example.org/hub/oauth_callback".to_owned(),
            name => name.to_lowercase(),
        })
    });
    let effective = Effective { file: None, ..loaded };
    let findings = check::check(&effective, &world).into_iter();
    let errors = findings.filter(|it| it.severity == check::Severity::Error);
    errors.map(|it| (it.path, it.words)).collect()
}

fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|it| it == end)).collect()
}

#[test]
fn every_example_loads_and_passes_the_check() {
    let examples = files("examples", "ron");
    assert!(examples.len() >= 4, "{examples:?}");
    for path in examples {
        assert_eq!(refused(&path), [], "{}", path.display());
    }
}

/// The blocks of a page that are sections of a configuration.
fn sections(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut fenced = false;
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fenced = kind == "ron";
            blocks.push(String::new());
        } else if fenced || line.starts_with("    ") || line.is_empty() {
            let block = blocks.last_mut().expect("there is one");
            block.push_str(line);
            block.push('\n');
        } else {
            blocks.push(String::new());
        }
    }
    let is_section = |block: &String| {
        let first = block.lines().map(str::trim).find(|it| !it.is_empty() && !it.starts_with("//"));
        let name = first.and_then(|it| it.split_once(": ")).map(|(name, _)| name);
        name.is_some_and(|name| catalogue::names_below("").contains(&name))
    };
    blocks.retain(is_section);
    blocks
}

#[test]
fn what_pages_say_to_write_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.ron");
    let mut seen = 0;
    for path in files("docs/how-to", "md") {
        for section in sections(&fs::read_to_string(&path).unwrap()) {
            fs::write(&file, format!("({})", section.trim_end().trim_end_matches(','))).unwrap();
            // A section alone: what it needs of another one, or of the machine, is not there.
            let mut wrong = refused(&file);
            wrong.retain(|(setting, _)| {
                !setting.starts_with("hub") && !setting.starts_with("proxy")
            });
            assert_eq!(wrong, [], "{}:\n{section}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} sections found");
}

#[test]
fn broken_files_are_refused_with_line_column_and_words() {
    // Text, line, column, words that the message has.
    let table: &[(&str, usize, usize, &str)] = &[
        ("(hub: (prot: 1))", 1, 8, "did you mean `port`"),
        ("(\n  hbu: (port: 1),\n)", 2, 3, "did you mean `hub`"),
        ("(hub: (admin_users: []))", 1, 8, "`auth.admin_users`"),
        ("(hub: (allowed_users: []))", 1, 8, "`auth.allowed_users`"),
        ("(nothing_like_it: 1)", 1, 2, "there are: hub, proxy"),
        ("(auth: (alow_all: true))", 1, 9, "`allow_all`"),
        ("(auth: (white_list: []))", 1, 9, "`whitelist`"),
        ("(auth: (blacklist: [\"a\"]))", 1, 9, "no setting `blacklist`"),
        ("(auth: (group_whitelist: [\"a\"]))", 1, 9, "no setting `group_whitelist`"),
        ("(auth: (class: Pam(servise: \"login\")))", 1, 20, "`service`"),
        ("(auth: (class: Dummy(pasword: \"x\")))", 1, 22, "`password`"),
        ("(spawner: (class: Simple(home: \"/x\")))", 1, 26, "there is no setting `home`"),
        (
            "(spawner: (\n    // a comment with (brackets\n    commnd: [\"x\"],\n))",
            3,
            5,
            "no setting `commnd`",
        ),
        ("(auth: (class: Pan()))", 1, 16, "did you mean `Pam`"),
        ("(auth: (class: Ldap()))", 1, 16, "not built yet"),
        ("(spawner: (class: Kubernetes()))", 1, 19, "not built yet"),
        ("(spawner: (restart: Sometimes))", 1, 21, "Never, OnFailure, Always"),
        ("(shutdown: (servers: Leave))", 1, 22, "Keep, Stop"),
        ("(log: (format: Xml))", 1, 16, "Text, Json"),
        ("(hub: (port: \"8000\"))", 1, 14, "hub.port"),
        ("(hub: (port: 70000))", 1, 14, "whole number, 0 to 65535"),
        ("(hub: (port: -1))", 1, 15, "whole number, 0 to 65535"),
        ("(hub: (ip: 127.0.0.1))", 1, 12, "double quotes"),
        ("(hub: (ip: 'x'))", 1, 12, "double quotes"),
        ("(hub: (allow_named_servers: yes))", 1, 29, "true or false"),
        ("(hub: (allow_named_servers: True))", 1, 29, "true or false"),
        ("(hub: (slow_spawn_timeout: -1))", 1, 28, "span in seconds"),
        ("(hub: (slow_spawn_timeout: \"10s\"))", 1, 28, "hub.slow_spawn_timeout"),
        ("(spawner: (cmd: 7))", 1, 17, "spawner.cmd"),
        ("(spawner: (ports: (1, 2, 3)))", 1, 26, "spawner.ports"),
        ("(hub: (port: 1, port: 2))", 1, 17, "set twice"),
        ("(auth: (whitelist: [\"a\"], allowed_users: [\"b\"]))", 1, 27, "set twice"),
        ("(auth: (class: Pam((servise: \"login\"))))", 1, 21, "`service`"),
        ("(auth: (class: Pam((timeout: \"5\"))))", 1, 30, "seconds"),
        ("(auth: (class: Pam(timeout: \"5\")))", 1, 29, "seconds"),
        ("(hub: (\"port\": 1))", 1, 8, "name: value"),
        ("(hub: (port: 1)", 1, 15, "closing bracket"),
        ("(hub: (port: 1) auth: ())", 1, 17, "comma"),
        ("hub: (port: 1)", 1, 1, "stand in brackets"),
        ("", 1, 1, "stand in brackets"),
    ];
    let mut wrong = Vec::new();
    for (text, line, column, words) in table {
        let Err(faults) = load::parse(text) else {
            wrong.push(format!("{text}: loads"));
            continue;
        };
        let fault = &faults[0];
        if fault.at != Some((*line, *column))
            || !fault.to_string().contains(words)
            || faults.len() != 1
        {
            wrong.push(format!("{text}: wanted {line}:{column} {words}\n  got {faults:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the binary makes of this in a folder.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A command that answers and ends.
fn jovis(folder: &Path, arguments: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_jovis"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("JPY_COOKIE_SECRET")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

/// A configuration that can start on any machine, for whoever asks.
const STARTABLE: &str =
    "(hub: (ip: \"127.0.0.1\"), auth: (class: Dummy(password: \"x\")), spawner: (class: Simple()))";

#[test]
fn a_file_in_the_working_directory_is_found_without_being_named() {
    let folder = tempfile::tempdir().unwrap();
    let shown = jovis(folder.path(), &["show-config"]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(shown.out.starts_with("// no file, all defaults\n"), "{}", shown.out);
    assert!(shown.out.contains("port: 8000,"), "{}", shown.out);

    fs::write(folder.path().join("hub.ron"), "(hub: (port: 4321))").unwrap();
    let shown = jovis(folder.path(), &["show-config"]);
    assert!(shown.out.starts_with("// hub.ron\n"), "{}", shown.out);
    assert!(shown.out.contains("port: 4321,"), "{}", shown.out);
    let over = jovis(folder.path(), &["--port", "1234", "show-config"]);
    assert!(over.out.contains("port: 1234,"), "the command line goes before it: {}", over.out);

    // What is said of a configuration is said of this file.
    fs::write(folder.path().join("hub.ron"), STARTABLE).unwrap();
    let checked = jovis(folder.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("hub.ron: nothing keeps jovis from starting"), "{}", checked.out);
    fs::write(folder.path().join("hub.ron"), "(hub: (\n  prot: 4321,\n))").unwrap();
    let wrong = jovis(folder.path(), &["check"]);
    assert_eq!(wrong.code, Some(78));
    assert!(wrong.err.contains("hub.ron:2:3") && wrong.err.contains("`port`"), "{}", wrong.err);
}

#[test]
fn a_generated_file_is_one_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let written = jovis(folder.path(), &["--generate-config"]);
    assert_eq!(written.code, Some(0), "{}", written.err);
    let text = fs::read_to_string(folder.path().join("hub.ron")).unwrap();
    assert_eq!(text, catalogue::default_file());

    let from_file = jovis(folder.path(), &["show-config", "--json"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let from_nothing = jovis(elsewhere.path(), &["show-config", "--json"]);
    assert_eq!((from_file.code, from_nothing.code), (Some(0), Some(0)), "{}", from_file.err);
    let config = |said: &Said| {
        let mut all: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        all["config"].take()
    };
    assert_eq!(config(&from_file), config(&from_nothing), "a generated file changes nothing");

    fs::write(folder.path().join("hub.ron"), "()").unwrap();
    let again = jovis(folder.path(), &["--generate-config"]);
    assert_eq!(again.code, Some(1), "nobody is there to ask");
    assert_eq!(fs::read_to_string(folder.path().join("hub.ron")).unwrap(), "()");
    let named = jovis(folder.path(), &["--generate-config", "-f", "other.ron"]);
    assert_eq!(named.code, Some(0), "{}", named.err);
    assert_eq!(fs::read_to_string(folder.path().join("other.ron")).unwrap(), text);
    let over = jovis(folder.path(), &["--generate-config", "-y"]);
    assert_eq!(over.code, Some(0), "{}", over.err);
    assert_eq!(fs::read_to_string(folder.path().join("hub.ron")).unwrap(), text);
    assert_eq!(jovis(folder.path(), &["--generate-config", "-f", "-"]).out, text);
}

#[test]
fn exit_codes_tell_wrong_usage_from_a_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.ron"), "(hub: (port: \"x\"))").unwrap();
    fs::write(folder.path().join("fine.ron"), "()").unwrap();
    fs::write(folder.path().join("hub.py"), "c.JupyterHub.port = 1\n").unwrap();
    // What is asked, the code, words in what is said.
    let table: &[(&[&str], i32, &str)] = &[
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["--help"], 0, "show-config"),
        (&["--help-all"], 0, "hub.port"),
        (&["--no-such-option"], 64, "no-such-option"),
        (&["no-such-command"], 64, "no-such-command"),
        (&["--port", "x"], 64, "port"),
        (&["--hub.prot=1"], 64, "hub.port"),
        (&["-f", "gone.ron"], 78, "gone.ron"),
        (&["-f", "gone.ron", "check"], 78, "gone.ron"),
        (&["-f", "bad.ron"], 78, "hub.port"),
        (&["-f", "bad.ron", "show-config"], 78, "hub.port"),
        (&["-f", "hub.py"], 78, "hub.port"),
        (&["-f", "fine.ron", "--auth.class=Nobody()"], 64, "Nobody"),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, words) in table {
        let said = jovis(folder.path(), arguments);
        let (here, there) = if *code == 0 { (said.out, said.err) } else { (said.err, said.out) };
        if said.code != Some(*code) || !here.contains(words) || !there.is_empty() {
            wrong.push(format!("{arguments:?}: {:?} {here}\n---\n{there}", said.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All of the text below a folder.
fn gather(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn what_is_said_to_work_names_a_test_that_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    ["src", "actors/src", "tests"].iter().for_each(|folder| gather(&top.join(folder), &mut code));
    let page = fs::read_to_string(top.join("docs/compatibility.md")).unwrap();
    let mut rows = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # ")) {
        // From the right: a feature may have an escaped bar in it.
        let cells: Vec<_> = line.trim_end_matches('|').rsplitn(4, " | ").map(str::trim).collect();
        let [part, test, status, rest] = cells[..] else { panic!("{line}") };
        let number = rest.split('|').nth(1).unwrap_or_default().trim();
        if !rows.insert(number.to_owned()) || part.is_empty() {
            wrong.push(format!("twice, or without a part: {line}"));
        }
        let known =
            test.split(", ").all(|name| code.contains(&format!("fn {}(", name.trim_matches('`'))));
        match status {
            "open" => {}
            _ if status.starts_with("open: ") => {}
            "yes" if known => {}
            _ if status.starts_with("differs: ") && known => {}
            _ => wrong.push(format!("no such status or test: {line}")),
        }
    }
    assert!(rows.len() > 500, "{} rows", rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_promised_names_tests_that_exist() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    ["src", "actors/src", "tests"].iter().for_each(|folder| gather(&top.join(folder), &mut code));
    let page = fs::read_to_string(top.join("docs/promises.md")).unwrap();
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(lines.len() > 40, "{} lines", lines.len());
    for line in lines {
        let cells: Vec<_> = line.split(" | ").collect();
        let [_, _, promise, tests, seen] = cells[..] else { panic!("{line}") };
        assert!(!promise.is_empty() && !seen.is_empty(), "{line}");
        for name in tests.split(", ").map(|name| name.trim_matches('`')) {
            assert!(code.contains(&format!("fn {name}(")), "no test {name}: {line}");
        }
    }
    // And no test of a row is forgotten there.
    let word = |name: &&str| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let names = code.split("fn row_").skip(1).filter_map(|rest| rest.split('(').next());
    for name in names.filter(word) {
        assert!(page.contains(&format!("`row_{name}`")), "row_{name} is not on the page");
    }
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_panics(at in 0..9000_usize, cut in 0..40_usize, put in "[(){}\\[\\]:,\"a\n/é0]{0,3}") {
        let whole = catalogue::default_file();
        let near = |at: usize| (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap();
        let (from, to) = (near(at), near(at + cut));
        let damaged = format!("{}{put}{}", &whole[..from], &whole[to..]);
        if let Err(faults) = load::parse(&damaged) {
            proptest::prop_assert!(!faults.is_empty());
            faults.iter().for_each(|fault| drop(fault.to_string()));
        }
    }
}
