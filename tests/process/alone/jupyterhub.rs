//! A real JupyterHub 6.1.1 whose proxy we are, and JupyterHub's own tests of its proxy.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::stand::ports;
use crate::support::{process::Process, python_home, wait_for};

/// Longest time for all of it, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs it to its end; what it said, and whether that was a good end.
fn run(command: &mut Command) -> (bool, String) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.reopen().unwrap())
        .stderr(fs::OpenOptions::new().append(true).open(out.path()).unwrap())
        .spawn()
        .unwrap();
    let (status, _) = wait_for("it ends", LIMIT, || child.try_wait().unwrap());
    (status.success(), fs::read_to_string(out.path()).unwrap())
}

#[test]
fn a_real_jupyterhub_runs_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/alone/hub.py");
    let (good, said) = run(Command::new(python_home().join("env/bin/python3"))
        .args(["-u".as_ref(), script.as_os_str(), dir.path().as_os_str()])
        .args([env!("CARGO_BIN_EXE_jovis"), "proxy"]));
    let log = fs::read_to_string(dir.path().join("hub.log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(80)..].join("\n");
    assert!(good, "{said}\n{tail}");
    println!("{said}");
}

/// What JupyterHub's tests leave behind, known by this folder in their `PATH`: servers that some of them do not stop. They
/// are ended when this is dropped.
struct Left(String);

impl Drop for Left {
    fn drop(&mut self) {
        for process in Process::all() {
            let theirs = |entry: &String| entry.starts_with("PATH=") && entry.contains(&self.0);
            if process.environment().iter().any(theirs) {
                process.kill();
            }
        }
    }
}

/// JupyterHub's tests that go through the proxy, and whether with a domain for each user. Its other tests do not touch it.
/// Named servers and services use it as these do; they would only take longer.
const OF_THE_PROXY: [(&[&str], bool); 2] = [
    (&["test_proxy.py", "test_unix_socket.py", "test_internal_ssl_connections.py"], false),
    (&["test_proxy.py"], true),
];

#[test]
fn jupyterhubs_own_proxy_tests_pass_against_it() {
    let python = python_home().join("jupyterhub-tests/bin/python3");
    assert!(python.exists(), "{} is missing: run .ci/install", python.display());
    // In small letters: sockets are named in URLs by them, and clients make the letters of hosts small.
    let name = format!("jovis-alone-{}", std::process::id());
    let dir = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().unwrap();
    // They run whatever has this name.
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let shim = bin.join("configurable-http-proxy");
    let count = dir.path().join("count");
    let script = format!(
        "#!/bin/sh\necho >>'{}'\nexec '{}' proxy \"$@\"\n",
        count.display(),
        env!("CARGO_BIN_EXE_jovis")
    );
    fs::write(&shim, script).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let place = "import jupyterhub.tests as t; print(t.__path__[0])";
    let folder = Command::new(&python).args(["-c", place]).output().unwrap();
    let folder = String::from_utf8(folder.stdout).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = python.parent().unwrap().display().to_string();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/alone");
    let _left = Left(bin.display().to_string());
    for (tests, subdomains) in OF_THE_PROXY {
        let [port] = ports();
        let mut pytest = Command::new(&python);
        pytest
            .args(["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", "-p", "names"])
            .args(["-rs", "--basetemp"])
            .arg(dir.path().join("temp"))
            .arg("--rootdir")
            .arg(dir.path())
            .args(["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=module"])
            .args(["-o", "asyncio_default_test_loop_scope=module"])
            .args(tests.iter().map(|test| format!("{}/{test}", folder.trim())))
            .current_dir(dir.path())
            .env("PATH", format!("{}:{environment}:{path}", bin.display()))
            .env("PYTHONPATH", &plugin)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", dir.path());
        if subdomains {
            let host = format!("http://localhost.jovyan.org:{port}");
            pytest.env("JUPYTERHUB_TEST_SUBDOMAIN_HOST", host);
        }
        let (good, said) = run(&mut pytest);
        assert!(good, "{tests:?} {subdomains}: {said}");
        println!("{said}");
    }
    let runs = fs::read_to_string(&count).unwrap_or_default().lines().count();
    assert!(runs >= 5, "the tests have run our proxy only {runs} times");
}
