//! A Docker or podman engine of our own: in a folder of its own, with a network of its own, ended with the last test that
//! uses it.
//! Its one image has nothing in it but links into `/usr`, which servers get as a read-only volume from this machine.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{certificates, free_ports, podman, wait_until};

/// The image.
pub const IMAGE: &str = "jovis-test:1";

/// The network servers join.
pub const NETWORK: &str = "jovis-test";

/// How long the engine may take to begin or end.
const LONG: Duration = Duration::from_secs(60);

/// What an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Debian's docker.io.
    Docker,
    /// The same; at this port of the machine, too, by TLS, for who has a certificate.
    Secured(u16),
    /// Debian's podman.
    Podman,
}

/// A running engine. It is asked by Docker's program, whichever it is.
pub struct Engine {
    kind: Kind,
    folder: TempDir,
    daemon: Mutex<Child>,
    gateway: String,
    bridge: String,
}

static BEGUN: AtomicU32 = AtomicU32::new(0);
static RUNNING: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

impl Engine {
    /// The one of these tests. None where there is no Docker, or we are not root.
    pub fn shared() -> Option<Arc<Self>> {
        if !Self::possible(Kind::Docker) {
            return None;
        }
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = running.upgrade() {
            return Some(engine);
        }
        let engine = Arc::new(Self::begin(Kind::Docker));
        *running = Arc::downgrade(&engine);
        Some(engine)
    }

    /// One that a test may kill.
    pub fn alone() -> Option<Arc<Self>> {
        Self::possible(Kind::Docker).then(|| Arc::new(Self::begin(Kind::Docker)))
    }

    /// One that also takes connections at a port: with it and its folder, in which the certificates are.
    pub fn secured() -> Option<(Arc<Self>, u16)> {
        let port = free_ports(1);
        let kind = Kind::Secured(port);
        Self::possible(kind).then(|| (Arc::new(Self::begin(kind)), port))
    }

    /// Podman's, for one test alone.
    pub fn podman() -> Option<Arc<Self>> {
        Self::possible(Kind::Podman).then(|| Arc::new(Self::begin(Kind::Podman)))
    }

    fn possible(kind: Kind) -> bool {
        let there = |program: &str| Path::new(program).exists();
        let possible = nix::unistd::geteuid().is_root()
            && there("/usr/sbin/dockerd")
            && (kind != Kind::Podman || there(podman::PROGRAM));
        if !possible {
            eprintln!("skipped: it needs root and Debian's docker.io (and podman)");
        }
        possible
    }

    fn begin(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("jovis-engine-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let (pid, nth) = (std::process::id(), BEGUN.fetch_add(1, Ordering::Relaxed));
        let bridge = format!("jovis{pid}-{nth}");
        let subnet = format!("10.213.{}", (pid * 7 + nth) % 250);
        if kind == Kind::Podman {
            podman::enter();
            podman::prepare(folder.path(), &bridge, &subnet);
        }
        if let Kind::Secured(_) = kind {
            certificates::make(folder.path());
        }
        let engine = Self {
            kind,
            daemon: Mutex::new(daemon(kind, folder.path())),
            folder,
            gateway: format!("{subnet}.1"),
            bridge,
        };
        engine.wait();
        if kind != Kind::Podman {
            engine.make_network(&subnet);
        }
        engine.make_image();
        engine
    }

    fn make_network(&self, subnet: &str) {
        let options = format!("com.docker.network.bridge.name={}", self.bridge);
        let (subnet, gateway) = (format!("{subnet}.0/24"), self.gateway.clone());
        self.ask(&[
            "network",
            "create",
            "--opt",
            &options,
            "--subnet",
            &subnet,
            "--gateway",
            &gateway,
            NETWORK,
        ]);
    }

    fn make_image(&self) {
        let root = self.folder.path().join("root");
        for folder in ["usr", "tmp", "etc", "opt/jovis", "control", "home/jovyan"] {
            fs::create_dir_all(root.join(folder)).expect("it is ours");
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))
            .expect("it is ours");
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).expect("it is ours");
        }
        let people =
            "root:x:0:0:root:/root:/bin/sh\njovyan:x:1000:100:jovyan:/home/jovyan:/bin/sh\n";
        fs::write(root.join("etc/passwd"), people).expect("it is ours");
        std::os::unix::fs::chown(root.join("home/jovyan"), Some(1000), Some(100))
            .expect("we are root");
        let archive = self.folder.path().join("root.tar");
        let packed =
            Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.expect("tar is there").success());
        self.ask(&["import", archive.to_str().expect("it is ASCII"), IMAGE]);
    }

    fn wait(&self) {
        wait_until("the engine answers", LONG, || {
            let asked =
                self.command(&["info"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        });
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// This machine's address in its network.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// A folder that servers may be given.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// What `docker WORDS` says and how it ends.
    pub fn try_ask(&self, words: &[&str]) -> Result<String, String> {
        let out = self.command(words).output().expect("docker is there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// What `docker WORDS` says.
    pub fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).unwrap_or_else(|error| panic!("docker {words:?}: {error}"))
    }

    /// The ids of the containers with this label, whether they run or not.
    pub fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        let all = self.ask(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        all.lines().map(str::to_owned).collect()
    }

    /// The engine stands still; it hangs, but its socket takes connections.
    pub fn signal(&self, signal: Signal) {
        let pid = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).id();
        kill(Pid::from_raw(pid as i32), signal).expect("it runs");
    }

    /// The engine is killed, and its containers with it or not, as it may be.
    pub fn crash(&self) {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.kill().expect("it runs");
        daemon.wait().expect("it is ours");
        // It takes containerd along, and must not find it dying.
        let file = self.folder.path().join("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(&file).unwrap_or_default();
        let gone = || pid.is_empty() || !Path::new("/proc").join(pid.trim()).exists();
        wait_until("containerd is gone", LONG, gone);
        _ = fs::remove_file(file);
    }

    /// It comes back.
    pub fn revive(&self) {
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) =
            daemon(self.kind, self.folder.path());
        self.wait();
    }
}

/// Begins it. It is to end with this process however that ends, and not with the thread that began it.
fn daemon(kind: Kind, folder: &Path) -> Child {
    let below = |name: &str| folder.join(name).display().to_string();
    let docker = || {
        vec![
            "/usr/sbin/dockerd".to_owned(),
            format!("--host=unix://{}", below("docker.sock")),
            format!("--data-root={}", below("data")),
            format!("--exec-root={}", below("exec")),
            format!("--pidfile={}", below("pid")),
            "--group=jovis".to_owned(),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--ip-forward=false".to_owned(),
            "--shutdown-timeout=1".to_owned(),
        ]
    };
    let words = match kind {
        Kind::Docker => docker(),
        Kind::Secured(port) => {
            let mut words = docker();
            words.extend([
                format!("--host=tcp://127.0.0.1:{port}"),
                "--tlsverify".to_owned(),
                format!("--tlscacert={}", below("ca.pem")),
                format!("--tlscert={}", below("server.pem")),
                format!("--tlskey={}", below("server-key.pem")),
            ]);
            words
        }
        Kind::Podman => podman::service(folder, &folder.join("docker.sock")),
    };
    let settings = folder.join("containers.conf");
    _ = fs::remove_file(folder.join("pid"));
    let log =
        fs::File::options().append(true).create(true).open(folder.join("log")).expect("it is ours");
    let place = folder.to_owned();
    let (told, begun) = mpsc::channel();
    thread::spawn(move || {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .args(words)
            .env("CONTAINERS_CONF", settings)
            .current_dir(&place);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        _ = told.send(command.spawn());
        loop {
            thread::park();
        }
    });
    begun.recv().expect("the thread lives").expect("util-linux is there")
}

impl Drop for Engine {
    fn drop(&mut self) {
        let all = self.try_ask(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let ids: Vec<_> = all.lines().collect();
        if !ids.is_empty() {
            _ = self.try_ask(&[&["rm", "--force", "--volumes"][..], &ids].concat());
        }
        _ = self.try_ask(&["network", "rm", NETWORK]);
        let daemon = self.daemon.get_mut().unwrap_or_else(PoisonError::into_inner);
        _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
        _ = daemon.wait();
        _ = Command::new("ip").args(["link", "del", &self.bridge]).stderr(Stdio::null()).status();
        podman::unmount(self.folder.path());
        if self.kind == Kind::Podman {
            podman::leave();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the engine's last words:\n{}", last.join("\n"));
        }
    }
}
