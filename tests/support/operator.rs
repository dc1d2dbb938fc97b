//! What an operator does: `jovis COMMAND` beside a running hub, and its control socket itself.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use jovis::os::{fd, packets};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::{PATIENCE, Site};

/// One conversation over a control socket.
pub struct Talk(OwnedFd);

impl Talk {
    /// Connects, and says nothing yet.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        packets::connect(socket, PATIENCE).map(Self)
    }

    /// Says this.
    pub fn say(&self, bytes: &[u8]) -> io::Result<()> {
        fd::send(self.0.as_fd(), bytes, &[])
    }

    /// The next answer within `limit`; none: the link has ended. An error: nothing came.
    pub fn next(&self, limit: Duration) -> io::Result<Option<Value>> {
        let until = Instant::now() + limit;
        loop {
            match fd::recv(self.0.as_fd(), 1 << 20) {
                Ok((bytes, _)) if bytes.is_empty() => return Ok(None),
                Ok((bytes, _)) => return Ok(Some(serde_json::from_slice(&bytes)?)),
                // told once, before what was still said and the end
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) if !fd::would_block(&error) => return Err(error),
                Err(_) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut one = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::try_from(left.as_millis() as i32 + 1).expect("it fits");
            let _ = poll(&mut one, left);
        }
    }

    /// All answers up to the end of the link. Panics if that does not come.
    pub fn all(&self) -> Vec<Value> {
        let next = || self.next(PATIENCE).expect("an answer, or the end");
        std::iter::from_fn(next).collect()
    }
}

/// Everything a command said.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// How it ended.
pub fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

/// Everything it said, if it did what it was to do.
pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, said(output));
    said(output)
}

impl Site {
    /// Where its control socket is.
    pub fn control_socket(&self) -> PathBuf {
        let runtime = Path::new("/run/jovis").join(&self.name);
        let own = self.file.with_file_name("state").join("run");
        let dir = if self.is_of_root() { runtime } else { own };
        dir.join("control")
    }

    /// Says this to the control socket; all that is answered.
    pub fn control(&self, request: &Value) -> Vec<Value> {
        let talk = Talk::connect(&self.control_socket()).expect("root listens");
        talk.say(request.to_string().as_bytes()).expect("root reads");
        talk.all()
    }

    /// `jovis ARGUMENTS` with this hub's configuration, as who runs the tests; not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary());
        command.args(arguments).arg("-f").arg(&self.file).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// `jovis ARGUMENTS` with this hub's configuration: what it said, and how it ended.
    pub fn jovis(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary is built")
    }
}
