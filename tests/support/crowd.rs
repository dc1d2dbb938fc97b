//! Many users with cheap servers: names that need no account, all servers as one account, a fake server in Rust.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::Ipv4Addr,
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError, atomic::AtomicU8, atomic::Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{Answer, PATIENCE, Plan, Site, Visitor, process::Process, wait_for, wait_until};

const PASSWORD: &str = "a password for everybody";
/// The crowd's admin.
const BOSS: &str = "boss";
/// People signing in, or servers starting, at once.
const AT_ONCE: usize = 8;

impl Plan {
    /// For a [`Crowd`]: anybody may sign in, servers run as `jovis-user` from `fake_server.rs`, on a loopback address of
    /// their own with ports enough for hundreds.
    pub fn crowd() -> Self {
        Self::quick()
            .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
            .set("auth.admin_users", &format!("[{BOSS:?}]"))
            .set(
                "spawner.class",
                r#"Simple(user: "jovis-user", home_dir_template: "FOLDER/homes/{username}")"#,
            )
            .set("spawner.ip", &format!("\"{}\"", address()))
            .set("spawner.ports", "(20000, 32000)")
            .command(&["FOLDER/fake_server"])
    }
}

/// A loopback address nobody else's crowd has.
fn address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    Ipv4Addr::new(127, 1 + (pid >> 8) as u8 % 250, pid as u8, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `fake_server.rs`, compiled once for each text it ever has.
pub(super) fn fake_server() -> PathBuf {
    static COMPILER: Mutex<()> = Mutex::new(());
    let _one = COMPILER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hasher = DefaultHasher::new();
    include_str!("fake_server.rs").hash(&mut hasher);
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("fake_server-{:x}", hasher.finish()));
    if !program.exists() {
        let fresh = program.with_extension(std::process::id().to_string());
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition", "2024", "-O", "-C", "strip=symbols", "-o"])
            .arg(&fresh)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/fake_server.rs"))
            .output()
            .expect("who runs cargo has rustc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(fresh, &program).expect("the folder is ours");
    }
    program
}

/// People of one hub, each with a token.
#[derive(Clone)]
pub struct Crowd {
    /// Their names.
    pub names: Vec<String>,
    tokens: BTreeMap<String, String>,
    boss: String,
    address: std::net::SocketAddr,
    folder: PathBuf,
}

impl Crowd {
    /// Signs the boss and these people in.
    pub fn sign_in(site: &Site, names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<String> = names.into_iter().collect();
        let everybody: Vec<String> = names.iter().cloned().chain([BOSS.to_owned()]).collect();
        let tokens = Mutex::new(BTreeMap::new());
        at_once(&everybody, |name| {
            let mut visitor = site.visitor();
            let answer = visitor.sign_in_as(name, PASSWORD);
            assert_eq!(answer.status, 302, "{name} signs in: {}", answer.words());
            let made = visitor.api("POST", &format!("/hub/api/users/{name}/tokens"), "{}");
            assert_eq!(made.status, 201, "{}", made.text());
            let token = made.json()["token"].as_str().expect("shown once").to_owned();
            tokens.lock().expect("no holder panics").insert(name.clone(), token);
        });
        let mut tokens = tokens.into_inner().expect("no holder panics");
        let boss = tokens.remove(BOSS).expect("he signed in");
        let folder = site.folder().to_owned();
        Self { names, tokens, boss, address: site.public, folder }
    }

    /// `count` of them, named `word-1`, `word-2` …
    pub fn of(site: &Site, word: &str, count: usize) -> Self {
        Self::sign_in(site, (1..=count).map(|n| format!("{word}-{n}")))
    }

    /// The header by which the boss is known.
    pub fn boss(&self) -> String {
        format!("token {}", self.boss)
    }

    /// The header by which this person is known.
    pub fn token(&self, name: &str) -> String {
        format!("token {}", self.tokens[name])
    }

    /// What must stand in no log.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.tokens.values().chain([&self.boss]).map(String::as_str).chain([PASSWORD])
    }

    /// This person's browser, signed in.
    pub fn browser(&self, site: &Site, name: &str) -> Visitor {
        let mut visitor = site.visitor();
        let answer = visitor.sign_in_as(name, PASSWORD);
        assert_eq!(answer.status, 302, "{name} signs in: {}", answer.words());
        visitor
    }

    /// A call of the API as the boss.
    pub fn api(&self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let mut visitor = Visitor::new(self.address);
        let headers = [("Authorization", &*self.boss()), ("Content-Type", "application/json")];
        visitor.send(method, &format!("/hub/api{path}"), &headers, body.as_bytes())
    }

    /// Asks for this server's start; the status.
    pub fn start(&self, name: &str) -> std::io::Result<u16> {
        Ok(self.api("POST", &format!("/users/{name}/server"), "")?.status)
    }

    /// Asks for this server's stop; the status.
    pub fn stop(&self, name: &str) -> std::io::Result<u16> {
        Ok(self.api("DELETE", &format!("/users/{name}/server"), "")?.status)
    }

    /// Starts everybody's server; comes back when all answer through the proxy.
    pub fn start_all(&self) {
        at_once(&self.names, |name| {
            let status = self.start(name).expect("an answer");
            assert!(matches!(status, 201 | 202), "{name}: {status}");
            wait_until(&format!("{name}'s server answers"), PATIENCE, || self.answers(name));
        });
    }

    /// Does this server answer through the proxy?
    pub fn answers(&self, name: &str) -> bool {
        let mut visitor = Visitor::new(self.address);
        let answer = visitor.send("GET", &format!("/user/{name}/api"), &[], b"");
        answer.is_ok_and(|answer| answer.status == 200 && answer.text().contains("fake"))
    }

    /// Which process answers for this person through the proxy, by its own word.
    pub fn pid(&self, name: &str) -> Option<i32> {
        let mut visitor = Visitor::new(self.address);
        let answer = visitor.send("GET", &format!("/user/{name}/pid"), &[], b"").ok()?;
        (answer.status == 200).then(|| answer.text().parse().ok())?
    }

    /// What the hub says of this person's server: its model, null where none runs. Waits for a hub.
    pub fn said(&self, name: &str) -> Value {
        let ask = || self.api("GET", &format!("/users/{name}"), "").ok();
        let fine = || ask().filter(|answer| answer.status == 200);
        let (answer, _) = wait_for("the hub answers", PATIENCE, fine);
        answer.json()["servers"][""].take()
    }

    /// All living processes of user servers, with the user each serves, wherever their parent is.
    pub fn processes(&self) -> Vec<(String, Process)> {
        let program = self.folder.join("fake_server").display().to_string();
        let ours = Process::all().into_iter().filter(|it| it.arguments().first() == Some(&program));
        let whose = |process: Process| {
            let variables = process.environment();
            let name = variables.iter().find_map(|it| it.strip_prefix("JUPYTERHUB_USER="));
            name.map(|name| (name.to_owned(), process))
        };
        let mut all: Vec<_> = ours.filter_map(whose).collect();
        all.sort();
        all
    }

    /// The process of this person's server, if there is one. Panics if there are two.
    pub fn process(&self, name: &str) -> Option<Process> {
        let all = self.processes();
        let mine: Vec<_> = all.iter().filter(|(user, _)| user == name).collect();
        assert!(mine.len() < 2, "{name} has {} servers", mine.len());
        mine.first().map(|(_, process)| *process)
    }
}

/// Does `work` for each name, a few at once.
pub fn at_once(names: &[String], work: impl Fn(&String) + Sync) {
    let queue = Mutex::new(names.iter());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no holder panics").next();
                    let Some(name) = next else { return };
                    work(name);
                }
            });
        }
    });
}

/// Asserts that `condition` holds and goes on holding for a moment: what is said of an end state.
pub fn settles(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let mut since = None;
    wait_until(what, limit, || {
        if !condition() {
            since = None;
            return false;
        }
        since.get_or_insert_with(std::time::Instant::now).elapsed() > Duration::from_millis(300)
    });
}
