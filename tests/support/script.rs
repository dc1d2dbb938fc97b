//! Running the Python scripts of `tests/browser`.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Log, process::Process, site::python_home, wait_for};

/// A running script. What it prints can be waited for.
pub struct Script {
    child: Child,
    said: Log,
    name: String,
}

impl Script {
    /// Starts `tests/browser/NAME` in the environment for tests. The password goes by a variable, so that it stands in
    /// no process list.
    pub fn start(name: &str, arguments: &[&str], password: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(name);
        let python = python_home().join("test/bin/python3");
        assert!(python.exists(), "{} is missing: run .ci/install", python.display());
        let mut child = Command::new(python)
            .arg("-u")
            .arg(file)
            .args(arguments)
            .env("JOVIS_TEST_PASSWORD", password)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        let said = Log::default();
        said.read(child.stdout.take().expect("it is piped"));
        said.read(child.stderr.take().expect("it is piped"));
        Self { child, said, name: name.to_owned() }
    }

    /// Waits for a line that starts so.
    pub fn says(&self, start: &str, limit: Duration) -> String {
        let line = self.said.find(0, limit, |line| line.raw.starts_with(start));
        let told = || panic!("{} did not say {start:?}:\n{}", self.name, self.said.tail(40));
        line.unwrap_or_else(told).raw
    }

    /// Waits for its end, which must be a good one.
    pub fn done(mut self, limit: Duration) {
        let (status, took) = wait_for(&format!("{} ends", self.name), limit, || {
            self.child.try_wait().expect("it is our child")
        });
        let said = self.said.tail(40);
        assert!(status.success(), "{}: {status}\n{said}", self.name);
        println!("{} took {took:.1?}\n{said}", self.name);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let process = i32::try_from(self.child.id()).ok().and_then(Process::of);
        // with its browser, which does not end by itself when it is killed
        let family = process.map(Process::descendants).unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in family {
            process.kill();
        }
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.said.tail(40));
        }
    }
}
