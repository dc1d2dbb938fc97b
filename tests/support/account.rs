//! A Unix user for one test.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Duration,
};

use super::{process::Process, unique, wait_for, wait_until};

/// The account tools lock /etc/passwd and fail instead of waiting; within this program we queue.
static TOOLS: Mutex<()> = Mutex::new(());

/// A Unix user with a home and a password. Its processes end and it goes when this is dropped.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its home folder.
    pub home: PathBuf,
}

impl Account {
    /// A usual one.
    pub fn make() -> Self {
        Self::with(&[])
    }

    /// One made with further options of `useradd`.
    pub fn with(options: &[&str]) -> Self {
        let name = format!("jv{}", unique());
        let password = format!("pass word {} ü", unique());
        let home = PathBuf::from(format!("/home/{name}"));
        tool("useradd", &[&["--create-home", "--shell", "/bin/bash"], options, &[&name]].concat());
        let (uid, gid) = look_up(&name);
        let account = Self { name, password, uid, gid, home };
        account.set_password();
        account
    }

    /// One that is not there yet and that somebody else is to make. It goes when this is dropped, like any other.
    pub fn to_come() -> Self {
        let name = format!("jv{}", unique());
        let home = PathBuf::from(format!("/home/{name}"));
        Self { name, password: String::new(), uid: 0, gid: 0, home }
    }

    /// Has it come? Then its numbers are known from here on.
    pub fn came(&mut self) -> bool {
        let there = run("getent", &["passwd", &self.name]).status.success();
        if there {
            (self.uid, self.gid) = look_up(&self.name);
        }
        there
    }

    /// Puts it into a group, by name.
    pub fn join(&self, group: &str) {
        tool("usermod", &["--append", "--groups", group, &self.name]);
    }

    /// Ends its validity: the password is right, the account is not.
    pub fn expire(&self) {
        tool("usermod", &["--expiredate", "1970-01-02", &self.name]);
    }

    /// Its processes, none for an account that shares its number with root.
    pub fn processes(&self) -> Vec<Process> {
        if self.uid < 1000 { Vec::new() } else { Process::owned_by(self.uid) }
    }

    fn set_password(&self) {
        let _queue = TOOLS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut child =
            Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd is installed");
        writeln!(child.stdin.take().expect("it is piped"), "{}:{}", self.name, self.password)
            .expect("chpasswd reads");
        assert!(child.wait().expect("it is our child").success(), "chpasswd failed");
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        for process in self.processes() {
            process.kill();
        }
        if !std::thread::panicking() {
            wait_until("the test user's processes are gone", Duration::from_secs(5), || {
                self.processes().is_empty()
            });
        }
        let _queue = TOOLS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = run("userdel", &["--remove", "--force", &self.name]);
        if self.home.starts_with("/home/jv") {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

fn look_up(name: &str) -> (u32, u32) {
    let text = fs::read_to_string(Path::new("/etc/passwd")).expect("it is readable");
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let fields: Vec<&str> = line.expect("useradd has made it").split(':').collect();
    (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"))
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("it is installed")
}

/// Runs an account tool; again while another program holds the lock on /etc/passwd.
fn tool(program: &str, arguments: &[&str]) {
    let _queue = TOOLS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    wait_for(program, Duration::from_secs(20), || {
        let output = run(program, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("lock"), "{program}: {said}");
        output.status.success().then_some(())
    });
}
