//! Providers of `tests/providers`, and browsers that sign in there.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{Site, Visitor, site::python_home, wait_for};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers").join(name)
}

fn python() -> PathBuf {
    let python = python_home().join("test/bin/python3");
    assert!(python.exists(), "{} is missing: run .ci/install", python.display());
    python
}

/// A provider that runs; it ends with its standard input.
pub struct Provider {
    child: Child,
    address: SocketAddr,
}

impl Provider {
    /// Starts this script.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(python());
        command.arg("-u").arg(script(name)).args(arguments);
        Self::run(command)
    }

    /// Starts the provider that others have certified. `callback`: where its one client sends people back to.
    pub fn certified(callback: &str, arguments: &[&str]) -> Self {
        let (node, modules) = ("bench/bin/node", "certified/node_modules");
        let [node, modules] = [node, modules].map(|it| python_home().join(it));
        for it in [&node, &modules] {
            assert!(it.exists(), "{} is missing: run .ci/install", it.display());
        }
        let mut command = Command::new(node);
        command.arg(script("certified/provider.mjs")).arg("--modules").arg(modules);
        command.args(["--callback", callback]).args(arguments);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut said).expect("it says where it listens");
        let port = said.trim().strip_prefix("listening on ").expect("a port").parse();
        Self { child, address: ([127, 0, 0, 1], port.expect("a port")).into() }
    }

    /// Its address, without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has there.
    pub fn get(&self, path: &str) -> String {
        Visitor::new(self.address).get(path).text()
    }

    /// Tells it what to do.
    pub fn control(&self, what: &Value) {
        let headers = [("Content-Type", "application/json")];
        let mut visitor = Visitor::new(self.address);
        let answer = visitor.send("POST", "/_control", &headers, what.to_string().as_bytes());
        let answer = answer.expect("it answers");
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/_seen")).expect("a list")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Browsers that sign in by HTTP alone (`walk.py`): what came of each.
/// `token`: an administrator's, with which the hub's list of users is looked at.
pub fn walk(
    site: &Site,
    provider: &Provider,
    token: &str,
    arguments: &[&str],
    limit: Duration,
) -> Vec<Value> {
    let mut child = Command::new(python())
        .env("JOVIS_TEST_TOKEN", token)
        .arg("-u")
        .arg(script("walk.py"))
        .args(["--hub", &format!("http://{}/hub/", site.public), "--provider", &provider.url()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let out = child.stdout.take().expect("it is piped");
    let lines = std::thread::spawn(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str(&line).ok()).collect::<Vec<Value>>()
    });
    wait_for("walk.py ends", limit, || child.try_wait().expect("it is our child"));
    lines.join().expect("it only reads")
}
