//! A whole running hub in a fresh folder: [`Plan`] says how it shall be, [`Site`] is it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{
    Account, Line, Log, PATIENCE, Visitor, free_ports, process::Process, unique, wait_for,
};

/// How a hub shall be.
pub struct Plan {
    settings: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// `PATH` of the hub and so of its servers.
    path: String,
    /// The folder with hub.ron and the state can be entered by root only.
    private: bool,
    /// Its runtime directory (as root), unless a test gives it another name.
    runtime: PathBuf,
    /// Words before the binary's: a program that becomes it.
    wrapper: Vec<String>,
    /// The binary lies in its folder, where a test may replace it.
    own_program: bool,
    /// Started by this account (user and group); none: by whoever runs the tests.
    starter: Option<(u32, u32)>,
    /// The starter does it by sudo, with the words [`RUN`] and nothing else.
    by_sudo: bool,
}

/// What a sudo rule lets somebody run, before the configuration's place.
pub const RUN: [&str; 3] = ["run", "--guarded", "-f"];

impl Plan {
    /// Quiet and quick: PAM, the fake user server in its mode `ok`, a name, ports and a folder of its own.
    pub fn quick() -> Self {
        let base = free_ports(PORTS);
        let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
        let name = format!("test-{}", unique());
        let runtime = Path::new("/run/jovis").join(&name);
        let mut plan = Self {
            settings: BTreeMap::new(),
            path,
            private: false,
            runtime,
            wrapper: Vec::new(),
            own_program: false,
            starter: None,
            by_sudo: false,
        };
        plan.put("hub.name", &format!("{name:?}"));
        plan.put("hub.port", &base.to_string());
        plan.put("hub.hub_port", "0");
        plan.put("spawner.ports", &format!("({}, {})", base + 1, base + PORTS - 1));
        plan.put("spawner.http_timeout", "10");
        plan.put("log.format", "Json");
        plan.put("log.level", "\"debug\"");
        plan.fake(&["ok"])
    }

    /// Sets one setting, `section.name` or a section that is a list, to a value written in RON. `FOLDER` in it becomes the
    /// hub's folder, `PUBLIC` the public port.
    pub fn set(mut self, setting: &'static str, value: &str) -> Self {
        self.put(setting, value);
        self
    }

    /// By TLS, with the certificate of the fixtures.
    pub fn tls(self) -> Self {
        let file = |name: &str| {
            format!("\"{}/tests/fixtures/tls/{name}.pem\"", env!("CARGO_MANIFEST_DIR"))
        };
        self.set("hub.ssl_cert", &file("cert")).set("hub.ssl_key", &file("key"))
    }

    /// The fake user server, behaving so (see `fake_singleuser.py`).
    pub fn fake(self, mode: &[&str]) -> Self {
        let words: Vec<&str> =
            std::iter::once("FOLDER/fake_singleuser.py").chain(mode.iter().copied()).collect();
        self.command(&words)
    }

    /// The user server's command line. `FOLDER` in it becomes the hub's folder.
    pub fn command(self, words: &[&str]) -> Self {
        self.set("spawner.cmd", &format!("{words:?}"))
    }

    /// The real thing: `jupyterhub-singleuser` of the environment that `.ci/install` makes.
    pub fn notebooks(self) -> Self {
        self.notebooks_of("env")
    }

    /// The same of another environment.
    pub fn notebooks_of(mut self, env: &str) -> Self {
        self.path = format!("{}/{env}/bin:{}", python_home().display(), self.path);
        self.command(&["jupyterhub-singleuser"])
            .set("spawner.start_timeout", "120")
            .set("spawner.http_timeout", "120")
    }

    /// In a folder that only root can enter, as a checkout in root's home is.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// So many open files at most, for root and all it starts.
    pub fn open_files(mut self, most: u64) -> Self {
        self.wrapper = vec!["prlimit".to_owned(), format!("--nofile={most}:{most}")];
        self
    }

    /// Servers of people who have no account of the machine: all as one account, in `/tmp`.
    pub fn without_accounts(self) -> Self {
        let class = r#"Simple(user: "jovis-user", home_dir_template: "/tmp/{username}")"#;
        self.set("spawner.class", class)
    }

    /// With a program in its own folder, which a test may replace ([`Site::program`]).
    pub fn program_of_its_own(mut self) -> Self {
        self.own_program = true;
        self
    }

    /// Started by an ordinary user, with a copy of the binary that one can reach.
    pub fn started_by(mut self, account: &Account) -> Self {
        self.starter = Some((account.uid, account.gid));
        self
    }

    /// Started by an ordinary user through a rule of sudo; all of it lies where root alone can write.
    pub fn by_sudo(mut self, account: &Account) -> Self {
        (self.starter, self.by_sudo) = (Some((account.uid, account.gid)), true);
        self.set("hub.ip", "\"127.0.0.1\"")
    }

    fn put(&mut self, setting: &'static str, value: &str) {
        let (section, name) = setting.split_once('.').unwrap_or((setting, WHOLE));
        self.settings.entry(section).or_default().insert(name.to_owned(), value.to_owned());
    }

    fn setting(&self, section: &str, name: &str) -> &str {
        &self.settings[section][name]
    }

    fn ron(&self) -> String {
        let mut text = "(\n".to_owned();
        for (section, settings) in &self.settings {
            if let Some(value) = settings.get(WHOLE) {
                writeln!(text, "    {section}: {value},").expect("a string takes everything");
                continue;
            }
            let pairs = settings.iter().map(|(name, value)| format!("        {name}: {value},\n"));
            let lines = pairs.collect::<String>();
            write!(text, "    {section}: (\n{lines}    ),\n").expect("a string takes everything");
        }
        text + ")\n"
    }

    /// Makes folder and configuration, starts nothing.
    pub fn prepare(mut self) -> Site {
        let place = if self.by_sudo { "/opt" } else { "/tmp" };
        let folder =
            tempfile::Builder::new().prefix("jovis-").tempdir_in(place).expect("it is writable");
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .expect("the folder is ours");
        };
        open(folder.path(), 0o755);
        // what users execute must be reachable for them, whatever the rest of the folder is
        let fake = folder.path().join("fake_singleuser.py");
        fs::write(&fake, include_str!("fake_singleuser.py")).expect("the folder is ours");
        open(&fake, 0o755);
        if self.setting("spawner", "cmd").contains("fake_server") {
            let fake = folder.path().join("fake_server");
            fs::copy(super::crowd::fake_server(), &fake).expect("the folder is ours");
            open(&fake, 0o755);
            fs::create_dir(folder.path().join("homes")).expect("the folder is ours");
            open(&folder.path().join("homes"), 0o1777);
        }
        let home = folder.path().join("hub");
        fs::create_dir(&home).expect("the folder is ours");
        open(&home, if self.private { 0o700 } else { 0o755 });
        if !self.settings["hub"].contains_key("state_dir") {
            self.put("hub.state_dir", &format!("{:?}", home.join("state")));
        }
        let public = SocketAddr::from((
            [127, 0, 0, 1],
            self.setting("hub", "port").parse().expect("a port"),
        ));
        let text = self.ron().replace("FOLDER", &folder.path().display().to_string());
        let text = text.replace("PUBLIC", &public.port().to_string());
        fs::write(home.join("hub.ron"), text).expect("the folder is ours");
        let file = home.join("hub.ron");
        let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_jovis"));
        if let Some((uid, gid)) = self.starter {
            if !self.by_sudo {
                chown(&home, Some(uid), Some(gid)).expect("the tests run as root");
            }
            let copy = folder.path().join("jovis");
            fs::copy(&binary, &copy).expect("the folder is ours");
            open(&copy, 0o755);
            binary = copy;
        }
        if self.own_program {
            let link = folder.path().join("jovis");
            // Another disk: then a copy must do.
            let linked =
                fs::hard_link(&binary, &link).or_else(|_| fs::copy(&binary, &link).map(drop));
            linked.expect("the folder is ours");
            binary = link;
        }
        let name = self.setting("hub", "name").trim_matches('"').to_owned();
        Site {
            name,
            public,
            file,
            log: Log::default(),
            binary,
            wrapper: self.wrapper,
            starter: self.starter,
            by_sudo: self.by_sudo,
            variables: vec![("PATH", self.path), ("LANG", "C.UTF-8".to_owned())],
            runtime: self.runtime,
            child: None,
            handed: None,
            known: Mutex::default(),
            folder,
        }
    }

    /// Starts it and waits until it serves.
    pub fn start(self) -> Site {
        let mut site = self.prepare();
        site.start();
        site
    }
}

/// A hub. Whatever it started ends when this is dropped.
pub struct Site {
    /// `hub.name`: its runtime directory's.
    pub name: String,
    /// Where people reach it.
    pub public: SocketAddr,
    /// Its hub.ron.
    pub file: PathBuf,
    /// What root, hub and proxy say.
    pub log: Log,
    /// Its environment.
    pub variables: Vec<(&'static str, String)>,
    binary: PathBuf,
    wrapper: Vec<String>,
    starter: Option<(u32, u32)>,
    by_sudo: bool,
    runtime: PathBuf,
    child: Option<Child>,
    /// For the next start: a listener that is handed over.
    handed: Option<Stdio>,
    /// All processes of ours ever seen: the last to be ended, also where their parent is long gone.
    known: Mutex<BTreeSet<Process>>,
    folder: TempDir,
}

impl Site {
    /// Starts the binary and waits until it serves.
    pub fn start(&mut self) -> Line {
        let mark = self.launch();
        self.log.event(mark, "jovis is ready", PATIENCE)
    }

    /// Starts the binary; the place in the log where it begins.
    pub fn launch(&mut self) -> usize {
        let mark = self.log.mark();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        self.launch_into(writer.into());
        self.log.read(reader);
        mark
    }

    /// Starts the binary with this as its standard error.
    pub fn launch_into(&mut self, errors: Stdio) {
        assert!(self.child.is_none(), "it runs already");
        let mut handed = false;
        let mut command = match (self.wrapper.split_first(), self.handed.take()) {
            (None, None) => Command::new(&self.binary),
            (Some((program, words)), _) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.binary);
                command
            }
            (None, Some(listener)) => {
                // As systemd does: descriptor 3, and whom it is meant for.
                let give = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 0</dev/null";
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", give, "sh"]).arg(&self.binary).stdin(listener);
                handed = true;
                shell
            }
        };
        if self.by_sudo {
            command = Command::new("sudo");
            command.arg("-n").arg(&self.binary).args(RUN).arg(&self.file).env_clear();
        } else {
            command.arg("-f").arg(&self.file).args(["--ip", "127.0.0.1"]).env_clear();
        }
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        if !handed {
            command.stdin(Stdio::null());
        }
        command.stdout(Stdio::null()).stderr(errors);
        if let Some((uid, gid)) = self.starter {
            command.uid(uid).gid(gid);
        }
        self.child = Some(command.spawn().expect("the binary is built"));
    }

    /// Was it started by root?
    pub fn is_of_root(&self) -> bool {
        (self.starter.is_none() || self.by_sudo) && nix::unistd::geteuid().is_root()
    }

    /// The program it was started from.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder everybody can read, which holds the fake server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next start has this as descriptor 3, as systemd hands over what it has opened.
    pub fn hand_over(&mut self, listener: std::os::fd::OwnedFd) {
        self.handed = Some(listener.into());
    }

    /// The binary it runs.
    pub fn program(&self) -> &Path {
        &self.binary
    }

    /// A fresh browser.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.public)
    }

    /// Root's process.
    pub fn root(&self) -> Process {
        let child = self.child.as_ref().expect("it was started");
        let pid = i32::try_from(child.id()).expect("a pid is small");
        let started = Process::of(pid).expect("root runs");
        if !self.by_sudo {
            return started;
        }
        // sudo waits beside it, or has become it.
        let ours = |it: &Process| it.arguments().get(1).is_some_and(|word| word == RUN[0]);
        let all = [vec![started], started.children()].concat();
        all.into_iter().find(ours).expect("sudo has started it")
    }

    /// All of root's living children.
    pub fn children(&self) -> Vec<Process> {
        let root = self.root();
        self.known.lock().expect("no holder panics").extend(root.descendants());
        root.children()
    }

    /// The child in this role (`@hub`, `@proxy`), if it lives.
    pub fn role(&self, role: &str) -> Option<Process> {
        let plays = |child: &Process| child.arguments().get(1).is_some_and(|word| word == role);
        self.children().into_iter().find(plays)
    }

    /// The hub's process; waits for it.
    pub fn hub(&self) -> Process {
        wait_for("a hub process", PATIENCE, || self.role("@hub")).0
    }

    /// The proxy's process; waits for it.
    pub fn proxy(&self) -> Process {
        wait_for("a proxy process", PATIENCE, || self.role("@proxy")).0
    }

    /// Processes of user servers.
    pub fn servers(&self) -> Vec<Process> {
        let ours = |child: &Process| {
            let arguments = child.arguments();
            // between fork and exec a child still looks like root
            let ours = ["-f", "run", "@", "--resume=", "--rehearse=", "--rollback="];
            let begins = |word: &String| ours.iter().any(|start| word.starts_with(start));
            let roles = arguments.get(1).is_some_and(begins);
            !roles && !arguments.is_empty()
        };
        self.children().into_iter().filter(ours).collect()
    }

    /// The one user server; waits for it.
    pub fn server(&self) -> Process {
        wait_for("one user server", PATIENCE, || match self.servers()[..] {
            [server] => Some(server),
            _ => None,
        })
        .0
    }

    /// Signals root.
    pub fn signal(&self, signal: Signal) {
        self.children();
        self.root().signal(signal);
    }

    /// Waits until root has ended; how it did.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("it was started");
        let ask = || child.try_wait().expect("it is our child");
        let (status, _) = wait_for("root ends", limit, ask);
        self.child = None;
        status
    }

    /// Every process of ours that still runs.
    pub fn left_over(&self) -> Vec<Process> {
        let known = self.known.lock().expect("no holder panics");
        known.iter().copied().filter(|process| process.lives()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last log lines of {}:\n{}", self.name, self.log.tail(60));
        }
        if let Some(mut child) = self.child.take() {
            let root = i32::try_from(child.id()).ok().and_then(Process::of);
            let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            known.extend(root.iter().flat_map(|root| root.descendants()));
            // A test that wants to see an orderly end asks for one; here only the end counts.
            let _ = child.kill();
            let _ = child.wait();
        }
        for process in self.left_over() {
            process.kill();
        }
        // servers that were born and orphaned before anybody looked: their program, or their home, is in our folder
        let folder = self.folder.path().display().to_string();
        for process in Process::all() {
            if process.arguments().iter().any(|word| word.contains(&folder)) {
                process.kill();
            }
        }
        let gone = || self.left_over().is_empty().then_some(());
        if !std::thread::panicking() {
            wait_for("everything of this hub is gone", Duration::from_secs(5), gone);
        }
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// Stands for the name of a setting that is a section's whole value.
const WHOLE: &str = "";

/// Ports each hub has to itself: the public one and its user servers'.
const PORTS: u16 = 40;

/// Where `.ci/install` keeps its Python environments.
pub fn python_home() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        "/opt/jovis".into()
    } else {
        PathBuf::from(std::env::var("HOME").expect("a user has a home")).join(".local/share/jovis")
    }
}
