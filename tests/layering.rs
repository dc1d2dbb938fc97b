//! Who may import whom (DESIGN.md, sections 3 and 8), and how big files may grow. It reads paths that begin with `crate`,
//! `jovis_actors` or the name of a crate; `#[cfg(test)]` parts and files named `tests.rs` are exempt.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What starts threads, loops and stores.
const RUNTIME: &[&str] = &[
    "tokio",
    "actix",
    "axum",
    "hyper",
    "sled",
    "std::thread::spawn",
    "std::thread::scope",
    "std::thread::Builder",
    "thread::spawn",
    "thread::scope",
    "thread::Builder",
];

/// A place, what it must not name, and why. A place is the start of a path below the top folder. `*` at the end of a
/// forbidden name means: whatever begins so.
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "actors/src",
        &[
            "hyper",
            "axum",
            "sled",
            "pam",
            "nix",
            "ring",
            "libc",
            "std::fs",
            "std::net::Tcp*",
            "std::net::Udp*",
            "std::net::ToSocketAddrs",
            "std::process",
            "std::time::SystemTime",
            "tokio::fs",
            "tokio::net",
            "tokio::process",
        ],
        "what is in actors/ decides: it asks a port, or is told",
    ),
    (
        "actors/src/domain",
        &["actix", "tokio", "crate::ports", "crate::supervise"],
        "rules are functions of values",
    ),
    (
        "actors/src/ports",
        &["actix", "crate::store::Client", "crate::spawner*", "crate::logins"],
        "ports know values only",
    ),
    ("src/root", RUNTIME, "root forks: one thread, small, little to attack"),
    ("src/helper", RUNTIME, "a helper is small and has one thread"),
    ("src/os", RUNTIME, "what is called between fork and exec is small"),
    ("src/ipc", RUNTIME, "root speaks it"),
    ("src/config", RUNTIME, "root reads it"),
    (
        "src/root",
        &["pam", "crate::helper"],
        "PAM modules are foreign code: only a short-lived helper loads them",
    ),
    (
        "src/proxy",
        &[
            "sled",
            "jovis_actors::store",
            "jovis_actors::logins",
            "jovis_actors::spawner*",
            "jovis_actors::accounts",
            "jovis_actors::routes",
            "jovis_actors::activity",
            "jovis_actors::tree",
        ],
        "the proxy outlives the hub",
    ),
    ("src/web", &["sled", "pam"], "web speaks; others decide and do"),
    ("src/store", &["http", "hyper", "axum"], "HTTP is web's"),
    ("src/web", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/hub", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/proxy", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/helper", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/store", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/auth", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/spawn", CONFIG_FILE, "root alone reads the file: one truth, one moment"),
    ("src/auth", &["http::StatusCode", "axum"], "statuses are web's: errors here are ours"),
    ("src/spawn", &["axum"], "statuses are web's: errors here are ours"),
];

/// What reads settings and secrets from files.
const CONFIG_FILE: &[&str] =
    &["crate::config::load", "crate::config::secret", "crate::config::Effective"];

/// Modules of `src/` and the others they may name; each may name itself. What is not here is refused until it is.
const EDGES: &[(&str, &[&str], &str)] = &[
    ("os", &[], "os is the floor"),
    ("broken", &[], "it only breaks"),
    ("fetch", &["config"], "it asks at an address and knows nobody's meaning"),
    ("ipc", &["os"], "ipc stands on os alone"),
    ("channel", &["ipc", "os"], "a link that waits knows what it carries"),
    ("config", &["ipc", "os"], "config knows no adapter, so root can read all of it"),
    ("telemetry", &["config", "ipc", "os"], "everybody logs, so it knows nobody"),
    (
        "link",
        &["channel", "telemetry", "config", "ipc", "os", "broken"],
        "a link carries messages; it decides nothing",
    ),
    ("store", &["telemetry", "config", "ipc", "os"], "adapters are islands"),
    ("auth", &["fetch", "link", "telemetry", "config", "ipc", "os"], "adapters are islands"),
    ("spawn", &["fetch", "link", "telemetry", "config", "ipc", "os"], "adapters are islands"),
    (
        "web",
        &["telemetry", "config", "ipc", "os"],
        "web reaches others through ports and clients it is given",
    ),
    ("root", &["telemetry", "config", "ipc", "os", "broken"], "roles never name each other"),
    ("helper", &["telemetry", "config", "ipc", "os"], "roles never name each other"),
    (
        "proxy",
        &["fetch", "channel", "telemetry", "config", "ipc", "os", "broken"],
        "roles never name each other",
    ),
    (
        "hub",
        &[
            "web",
            "store",
            "auth",
            "spawn",
            "link",
            "channel",
            "telemetry",
            "config",
            "ipc",
            "os",
            "broken",
        ],
        "roles never name each other",
    ),
    (
        "run",
        &["root", "cli", "telemetry", "config", "ipc", "os", "broken"],
        "run puts root together",
    ),
    (
        "cli",
        &["store", "telemetry", "config", "ipc", "os"],
        "the command line hands over to its caller; backup and restore work where no hub runs",
    ),
    ("run", &["root", "telemetry", "config", "os"], "it joins a checked configuration to root"),
];

/// Files of pure rules: no actors, no runtime, nothing asynchronous.
const PURE: &[&str] = &[
    "machine.rs",
    "admit.rs",
    "diff.rs",
    "throttle.rs",
    "window.rs",
    "policy.rs",
    "table.rs",
    "cull.rs",
];

/// Files that may be longer than 500 lines without tests, and why.
const LONG: &[(&str, &str)] = &[];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            out.push(path);
        }
    }
}

/// Every source file: its path below the top, and its lines without tests and comments, numbered.
fn files() -> Vec<(String, Vec<(usize, String)>)> {
    let mut paths = Vec::new();
    sources(&top().join("src"), &mut paths);
    sources(&top().join("actors/src"), &mut paths);
    assert!(paths.len() > 40, "only {} files found", paths.len());
    paths.sort();
    let name = |path: &Path| {
        path.strip_prefix(top())
            .expect("they are below")
            .to_str()
            .expect("names are ASCII")
            .to_owned()
    };
    let under_test = |path: &str| path.contains("/tests/") || path.contains("/testing/");
    let all =
        paths.iter().map(|path| (name(path), fs::read_to_string(path).expect("it was listed")));
    all.filter(|(path, _)| !under_test(path)).map(|(path, text)| (path, code(&text))).collect()
}

/// The lines of a file without comments and without what stands under `#[cfg(test)]`.
fn code(text: &str) -> Vec<(usize, String)> {
    let text = bare(text);
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let bare = line.trim_start();
        if bare.starts_with("#[cfg(test)]") || bare.starts_with("#[cfg(any(test") {
            let indent = line.len() - bare.len();
            let end = format!("{}}}", " ".repeat(indent));
            let mut block = false;
            for (_, line) in lines.by_ref() {
                let item = line.len() - line.trim_start().len() == indent
                    && !line.trim_start().starts_with("#[");
                let whole = item && !block && line.ends_with([';', '}']);
                if line.starts_with(&end) || whole {
                    break;
                }
                block |= item && line.ends_with('{');
            }
            continue;
        }
        let bare = bare.trim_end();
        if !bare.is_empty() {
            out.push((number + 1, bare.to_owned()));
        }
    }
    out
}

/// The text without comments and without what stands in quotes; its lines stay where they are.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw =
            rest.strip_prefix('r').map(|after| after.trim_start_matches('#')).filter(|after| {
                let word =
                    out.ends_with(|c: char| c.is_ascii_alphanumeric() && c != 'b' || c == '_');
                after.starts_with('"') && !word
            });
        let length = if let Some(after) = raw {
            let marks = rest.len() - after.len() - 1;
            let end = format!("\"{}", "#".repeat(marks));
            let from = marks + 2;
            rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let closes = |&(_, c): &(usize, char)| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            };
            rest[1..].char_indices().find(closes).map_or(rest.len(), |(at, _)| at + 2)
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().filter(|&c| c == '\n'));
        rest = &rest[length..];
    }
    out
}

/// The paths that a file names: `use` trees spread out, and paths in the code, as `a::b::c`.
fn names(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut statement: Option<(usize, String)> = None;
    for (number, line) in lines {
        let starts = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .find_map(|head| line.strip_prefix(head));
        if let Some((first, mut so_far)) = statement.take() {
            so_far.push_str(line);
            statement = Some((first, so_far));
        } else if let Some(rest) = starts {
            statement = Some((*number, rest.to_owned()));
        } else {
            let breaks = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
            let paths = line
                .split(breaks)
                .map(|word| word.trim_matches(':'))
                .filter(|word| word.contains("::"));
            out.extend(paths.map(|path| (*number, path.to_owned())));
        }
        if let Some((first, tree)) = statement.take_if(|(_, tree)| tree.ends_with(';')) {
            let tree: String =
                tree.trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
            spread("", &tree, &mut |path| out.push((first, path.to_owned())));
        }
    }
    out
}

/// `a::{b, c::{d, e}}` becomes a::b, a::c::d, a::c::e.
fn spread(prefix: &str, tree: &str, give: &mut impl FnMut(&str)) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return give(&format!("{prefix}{path}"));
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let prefix = format!("{prefix}{head}");
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spread(&prefix, &inner[from..at], give);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        spread(&prefix, &inner[from..], give);
    }
}

fn forbidden(path: &str, never: &str) -> bool {
    match never.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => {
            path == never || path.strip_prefix(never).is_some_and(|rest| rest.starts_with("::"))
        }
    }
}

fn is_below(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_place_names_what_it_must_not() {
    let mut wrong = Vec::new();
    for (file, lines) in files() {
        for (line, path) in names(&lines) {
            for (place, never, because) in NEVER.iter().filter(|(place, ..)| is_below(&file, place))
            {
                if never.iter().any(|name| forbidden(&path, name)) {
                    wrong.push(format!("{file}:{line}: {place} must not name {path}: {because}"));
                }
            }
            let pure = PURE.iter().any(|name| file.ends_with(&format!("/{name}")));
            if pure && ["actix", "tokio"].iter().any(|name| forbidden(&path, name)) {
                wrong.push(format!("{file}:{line}: it must not name {path}: rules are functions"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn pure_files_are_not_asynchronous() {
    let mut wrong = Vec::new();
    for (file, lines) in files() {
        let pure = PURE.iter().any(|name| file.ends_with(&format!("/{name}")));
        for (line, text) in lines.iter().filter(|_| pure) {
            if text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "async") {
                wrong.push(format!("{file}:{line}: async in a file of rules: rules are functions"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn modules_import_downwards_only() {
    let mut wrong = Vec::new();
    for (file, lines) in files() {
        let Some(inner) = file.strip_prefix("src/") else { continue };
        let module = inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let Some((_, allowed, because)) = EDGES.iter().find(|(name, ..)| *name == module) else {
            wrong.push(format!("{file}: the module {module} has no row in EDGES"));
            continue;
        };
        for (line, path) in names(&lines) {
            let target = path.strip_prefix("crate::").or_else(|| path.strip_prefix("jovis::"));
            let Some(target) = target.and_then(|rest| rest.split("::").next()) else { continue };
            let is_module = EDGES.iter().any(|(name, ..)| *name == target);
            if is_module && target != module && !allowed.contains(&target) {
                wrong.push(format!("{file}:{line}: {module} must not name {target}: {because}"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_message_of_an_actor_passes_a_point() {
    let (mut wrong, mut taken) = (Vec::new(), Vec::new());
    for (file, lines) in files().iter().filter(|(file, _)| is_below(file, "actors/src")) {
        if file.ends_with("supervise/message.rs") {
            continue;
        }
        if lines.iter().any(|(_, text)| text.contains("Handler<") && text.contains(" for ")) {
            wrong.push(format!("{file}: an actor takes messages by `handles!` only"));
        }
        // The names stand in quotes, which `lines` leaves out.
        let text = fs::read_to_string(top().join(file)).expect("it was read before");
        for list in text.split("handles!(").skip(1) {
            let (list, _) = list.split_once(')').expect("a list ends");
            let (actor, messages) = list.split_once(':').expect("an actor and its messages");
            let actor = actor.split(" as ").nth(1).expect("a name").trim().trim_matches('"');
            let messages = messages.split(',').map(str::trim).filter(|name| !name.is_empty());
            taken.extend(messages.map(|name| format!("{actor}:{name}")));
        }
    }
    taken.sort_unstable();
    let mut listed = jovis_actors::tree::messages();
    listed.sort_unstable();
    if taken != listed {
        wrong.push(format!("tree::messages() lists {listed:?}, but there are {taken:?}"));
    }
    report(&wrong);
}

#[test]
fn ipc_takes_values_only_from_the_actors() {
    let mut wrong = Vec::new();
    for (file, lines) in files().iter().filter(|(file, _)| is_below(file, "src/ipc")) {
        for (line, path) in names(lines) {
            // `Exit` and `Stop` are plain values that happen to stand beside the trait which needs them.
            let value =
                path.starts_with("jovis_actors::domain") || path.starts_with("jovis_actors::ports");
            if path.starts_with("jovis_actors::") && !value {
                wrong.push(format!("{file}:{line}: ipc must not name {path}: names and ids only"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn http_statuses_stay_in_web_and_proxy() {
    let mut wrong = Vec::new();
    for (file, lines) in files() {
        if ["src/web", "src/proxy"].iter().any(|place| is_below(&file, place)) {
            continue;
        }
        // A link and a spawner may read the statuses of others; they never make one.
        for (line, path) in names(&lines) {
            if path.contains("StatusCode::")
                && !is_below(&file, "src/link")
                && !is_below(&file, "src/spawn")
            {
                wrong.push(format!(
                    "{file}:{line}: {path}: statuses are web's, errors here are ours"
                ));
            }
        }
    }
    report(&wrong);
}

#[test]
fn unsafe_is_in_os_only() {
    let mut wrong = Vec::new();
    for (file, lines) in files() {
        for (line, text) in lines {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            if !is_below(&file, "src/os")
                && words.into_iter().any(|word| word == "unsafe" || word == "unsafe_code")
            {
                wrong.push(format!(
                    "{file}:{line}: unsafe is allowed in src/os only: one place to read"
                ));
            }
        }
    }
    report(&wrong);
}

/// Most lines of code in the process with privilege: without comments, blanks and tests.
///
/// DESIGN.md says 2,000 after OpenSSH's `monitor.c`, which has 2,093 with its comments and blanks; but that is one file of
/// many in OpenSSH's monitor, which forks, logs and passes descriptors elsewhere. Ours forks, supervises, reloads and
/// hands over sockets within these lines. `pam.rs` lies in `os` for its `unsafe`, but runs in the helper alone.
/// 2,700 and not 2,600 since children wait until they are noted and die with root before they are another program, and
/// since descriptors and ends of children are taken from the kernel without losing any.
/// 2,860 and not 2,700 since a reload is one at a time, waits for the roles' word and is told to who asked.
/// 3,060 and not 2,860 since listeners are bound anew while jovis runs, and old ones kept for the servers that call them.
/// 3,600 since operators ask root itself over its control socket: a hub that is paused or dead cannot answer for it.
/// 4,900 and not 3,600 since root can become another program and go back: what it takes along, the trial before, the
/// roll-back after, one proxy after the other; and since it speaks with systemd.
/// 5,100 and not 5,000 since services of the configuration are started here too: their programs are root's to know.
/// 5,200 since listeners are asked of the kernel: reading its table of every connection was half of a start.
/// 5,250 since root makes the folder in which the proxy, which may write nowhere else, keeps certificates that it gets.
/// 5,545 since root has accounts looked up and made for people who sign in: its questions, their queue, its own check of
/// names and of what the configuration's command is given.
/// 5,570 since root says how it is when it gets SIGUSR1, which ended it before.
/// 5,600 since groups of the machine are looked up for who signs in, and names that are to be the account's own.
/// Lower it when it can be lowered; raising it wants a reason here.
const PRIVILEGED: usize = 5_600;

#[test]
fn the_privileged_part_stays_small() {
    let privileged = ["src/root", "src/os", "src/ipc"];
    let parts: Vec<_> = files()
        .into_iter()
        .filter(|(file, _)| privileged.iter().any(|place| is_below(file, place)))
        .filter(|(file, _)| file != "src/os/pam.rs")
        .map(|(file, lines)| (file, lines.len()))
        .collect();
    let lines: usize = parts.iter().map(|(_, lines)| lines).sum();
    assert!(lines > 1_000, "only {lines} lines found");
    assert!(lines < PRIVILEGED, "root, os and ipc have {lines} lines of code: {parts:#?}");
}

#[test]
fn a_file_is_one_idea() {
    let mut wrong = Vec::new();
    let mut long = BTreeSet::new();
    for (file, lines) in files() {
        if lines.len() <= 500 {
            continue;
        }
        long.insert(file.clone());
        if !LONG.iter().any(|(name, reason)| *name == file && !reason.is_empty()) {
            wrong.push(format!(
                "{file}: {} lines without tests; split it, or say in LONG why not",
                lines.len()
            ));
        }
    }
    wrong.extend(
        LONG.iter()
            .filter(|(name, _)| !long.contains(*name))
            .map(|(name, _)| format!("{name}: no longer long, drop it from LONG")),
    );
    report(&wrong);
}

#[test]
fn the_reader_reads() {
    let quoted = "let a = \"crate::web::x // \\\" \"; let b = r#\"crate::\"web::y\"#; let c = '\"'; use z::w; // use v::v;\n/* use\nu::u; */ let d = e::f();";
    let found: Vec<_> = names(&code(quoted)).into_iter().map(|(_, path)| path).collect();
    assert_eq!(found, ["z::w", "e::f"]);
    let text = "use a::{b, c::{d as x, e}};\n// use f::g;\nfn y() { crate::web::z(); }\n#[cfg(test)]\nmod tests {\n    use h::i;\n}\n\
                #[cfg(test)]\nuse j::k;\npub(crate) use l::m;\nuse n::{\n    o,\n    p,\n};\n#[cfg(test)]\nmod tests;\nuse q::r;\n\
                #[cfg(test)]\nmod t {\n    const S: &str = \"\n\";\n    use s::t;\n}\n";
    let found: Vec<_> =
        names(&code(text)).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    assert_eq!(
        found,
        [
            "1 a::b",
            "1 a::c::d",
            "1 a::c::e",
            "3 crate::web::z",
            "10 l::m",
            "11 n::o",
            "11 n::p",
            "17 q::r"
        ]
    );
    assert!(
        forbidden("tokio::fs::read", "tokio")
            && forbidden("tokio", "tokio")
            && !forbidden("tokio_x::a", "tokio")
    );
    assert!(forbidden("crate::spawners::Client", "crate::spawner*"));
    assert!(
        is_below("src/os/fd.rs", "src/os")
            && is_below("src/os.rs", "src/os")
            && !is_below("src/osx/a.rs", "src/os")
    );
}
