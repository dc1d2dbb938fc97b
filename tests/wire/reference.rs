//! A running JupyterHub, of the environment that `.ci/install` makes for the servers jovis starts.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    support::{Visitor, wait_for},
    world,
};

/// It ends when this is dropped.
pub(crate) struct Reference {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Reference {
    /// Starts it and waits until it serves.
    pub(crate) fn start() -> Self {
        let python = super::support::python_home().join("env/bin/python3");
        assert!(python.exists(), "{} is missing: .ci/install test", python.display());
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
        let address = free.expect("loopback has a free port");
        let folder = tempfile::Builder::new().prefix("reference-").tempdir().expect("a folder");
        let settings = folder.path().join("settings.json");
        fs::write(&settings, world::reference(address.port()).to_string())
            .expect("the folder is ours");
        let said = File::create(folder.path().join("log")).expect("the folder is ours");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/reference");
        let child = Command::new(python)
            .args(["-m", "jupyterhub", "-f"])
            .arg(here.join("jupyterhub_config.py"))
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("LANG", "C.UTF-8")
            .env("WIRE_SETTINGS", settings)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said)
            .spawn()
            .expect("it is there");
        let mut reference = Self { address, child, folder };
        wait_for("the reference serves", Duration::from_secs(60), || {
            let ended = reference.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the reference has ended: {}", reference.said());
            Visitor::new(address).send("GET", "/hub/health", &[], b"").ok()
        });
        reference
    }

    /// The end of its log.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
