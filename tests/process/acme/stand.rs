//! The authority, a hub that knows it, and clients that believe it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Line, PATIENCE, Plan, Site, Visitor, free_ports, python_home};

/// What people call the hub in these tests.
pub(super) const NAME: &str = "hub.acme.example";
/// Longest time until a certificate is there, or a try is given up.
pub(super) const TRY: Duration = PATIENCE;

/// An authority that runs.
pub(super) struct Authority {
    child: Child,
    folder: TempDir,
    directory: String,
    control: SocketAddr,
}

impl Authority {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("/tmp is writable");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/acme/authority.py");
        let python = python_home().join("env/bin/python");
        assert!(python.exists(), "{} is missing: run .ci/install", python.display());
        let mut child = Command::new(python)
            .arg("-u")
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut said).expect("it says that it is ready");
        let words: Vec<_> = said.split_whitespace().collect();
        let [_, directory, control] = words[..] else { panic!("{said:?}") };
        let (directory, control) = (directory.to_owned(), control.parse().expect("an address"));
        Self { child, folder, directory, control }
    }

    /// From now on it does so.
    pub(super) fn play(&self, what: &Value) {
        let answer = self.ask("POST", "/play", &what.to_string());
        assert_eq!(answer["fault"], what.get("fault").unwrap_or(&answer["fault"]).clone());
    }

    /// It has lost its list of accounts.
    pub(super) fn forget_accounts(&self) {
        self.ask("POST", "/forget", "{}");
    }

    /// What it has seen of this.
    pub(super) fn seen(&self, what: &str) -> Value {
        self.ask("GET", "/seen", "")[what].clone()
    }

    /// How often it has seen this.
    pub(super) fn count(&self, what: &str) -> u64 {
        self.seen(what).as_u64().expect("a number")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut visitor = Visitor::new(self.control);
        let headers = [("Content-Type", "application/json")];
        visitor.send(method, path, &headers, body.as_bytes()).expect("it answers").json()
    }

    /// Who signs its certificates.
    pub(super) fn root(&self) -> String {
        self.folder.path().join("root.pem").display().to_string()
    }

    /// Settings that name it. `more`: further settings of `proxy.acme`.
    pub(super) fn settings(&self, more: &str) -> String {
        format!(
            "(names: [{NAME:?}], terms_agreed: true, email: \"admin@acme.example\", directory: {:?}, \
             directory_ca: {:?}, retry: 1{more})",
            self.directory,
            self.folder.path().join("house.pem"),
        )
    }

    /// A hub that gets its certificate by HTTP-01, prepared; and where it sends visitors to TLS.
    pub(super) fn hub_by_http(&self, plan: Plan, more: &str) -> (Site, SocketAddr) {
        let plain = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
        let plan = plan.set("proxy.redirect_port", &plain.port().to_string());
        (self.hub(plan, plain.port(), more), plain)
    }

    /// A hub that gets its certificate by TLS-ALPN-01, prepared.
    pub(super) fn hub_by_tls(&self, plan: Plan, more: &str) -> Site {
        self.hub(plan, 0, more)
    }

    fn hub(&self, plan: Plan, plain: u16, more: &str) -> Site {
        let site = plan.set("proxy.acme", &self.settings(more)).prepare();
        self.play(&json!({ "http_port": plain, "tls_port": site.public.port() }));
        site
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of the log that says that there is a certificate.
pub(super) fn obtained(site: &Site, mark: usize) -> Line {
    site.log
        .find(mark, TRY, |line| line.is("acme certificate obtained"))
        .unwrap_or_else(|| panic!("no certificate:\n{}", site.log.tail(30)))
}

/// The first line that says why there is none, in words like these.
pub(super) fn failed(site: &Site, mark: usize, words: &str) -> Line {
    let fits = |line: &Line| {
        line.is("acme attempt failed") && line.text("error").is_some_and(|it| it.contains(words))
    };
    site.log
        .find(mark, TRY, fits)
        .unwrap_or_else(|| panic!("no failure with {words:?}:\n{}", site.log.tail(30)))
}

/// SIGHUP; the place in the log where that begins.
pub(super) fn reload(site: &Site) -> usize {
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    site.log.event(mark, "proxy reloaded", PATIENCE);
    mark
}

/// Changes hub.ron so, and reloads.
pub(super) fn change(site: &Site, from: &str, to: &str) -> usize {
    let text = fs::read_to_string(&site.file).expect("it is ours");
    assert!(text.contains(from), "{from}: {text}");
    fs::write(&site.file, text.replace(from, to)).expect("it is ours");
    reload(site)
}

/// The status of an answer to who asks for this name, and believes this authority alone; `000`: no believable answer.
pub(super) fn believed(site: &Site, name: &str, root: &str) -> String {
    curl(site, name, &["--cacert", root])
}

/// The status of an answer to who believes everybody.
pub(super) fn answered(site: &Site, name: &str) -> String {
    curl(site, name, &["--insecure"])
}

fn curl(site: &Site, name: &str, more: &[&str]) -> String {
    let port = site.public.port();
    let done = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{name}:{port}/hub/login"))
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// What openssl says of the certificate that who asks for this name is shown: `-serial`, `-issuer`, `-ext subjectAltName`.
pub(super) fn shown(site: &Site, name: &str, what: &[&str]) -> String {
    let handshake = Command::new("openssl")
        .args(["s_client", "-servername", name, "-connect", &site.public.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("openssl is installed");
    let mut reading = Command::new("openssl")
        .args(["x509", "-noout"])
        .args(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let mut to = reading.stdin.take().expect("it is piped");
    let _ = std::io::Write::write_all(&mut to, &handshake.stdout);
    drop(to);
    let done = reading.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Its number.
pub(super) fn serial(site: &Site) -> String {
    shown(site, NAME, &["-serial"])
}
