//! journald's own protocol: an event as one datagram, its fields by name, so that `journalctl USER=ada` finds them.
//!
//! `MESSAGE` is the line a person reads, without time and level, which the journal has itself; `EVENT` is the event's
//! name, `ROLE` and `TARGET` as in a JSON line, every field under its name in capitals. Where there is no journal, or it
//! does not take the datagram, the line goes where lines go without it.

use std::{
    io::{self, ErrorKind},
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{MsgFlags, UnixAddr, sendto};
use serde_json::Value;
use tracing::Level;

use super::line::{Fields, words};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// How long one attempt waits for a full journal; then it is tried again.
const PERIOD: Duration = Duration::from_secs(1);

/// A way to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The journal has it.
    Done,
    /// It takes nothing now.
    Busy,
    /// It is not there, or does not take this one.
    Refused,
}

impl Journal {
    /// Nothing is connected: each datagram finds whoever listens there then.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PERIOD))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Sends it; waits for a journal that is busy, however long that takes.
    pub(super) fn patient(&self, datagram: &[u8]) -> Sent {
        loop {
            match self.send(datagram, MsgFlags::empty()) {
                Sent::Busy => {}
                other => return other,
            }
        }
    }

    /// Sends it, if that can be done at once.
    pub(super) fn at_once(&self, datagram: &[u8]) -> Sent {
        self.send(datagram, MsgFlags::MSG_DONTWAIT)
    }

    fn send(&self, datagram: &[u8], how: MsgFlags) -> Sent {
        let Ok(address) = UnixAddr::new(&self.path) else { return Sent::Refused };
        let how = how | MsgFlags::MSG_NOSIGNAL;
        match sendto(self.socket.as_raw_fd(), datagram, &address, how) {
            Ok(_) => Sent::Done,
            Err(error) => match io::Error::from(error).kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Sent::Busy,
                _ => Sent::Refused,
            },
        }
    }
}

/// An event as a datagram.
pub(super) fn encode(role: &str, level: Level, target: &str, fields: &Fields) -> Vec<u8> {
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let event = fields.event();
    let mut out = Vec::with_capacity(512);
    for (name, value) in [
        ("MESSAGE", words(fields).as_str()),
        ("PRIORITY", priority),
        ("SYSLOG_IDENTIFIER", "jovis"),
        ("EVENT", event),
        ("ROLE", role),
        ("TARGET", target),
    ] {
        put(&mut out, name, value);
    }
    for (name, value) in fields.rest() {
        let Some(name) = named(name) else { continue };
        match value {
            Value::String(text) => put(&mut out, &name, text),
            other => put(&mut out, &name, &other.to_string()),
        }
    }
    out
}

/// A field's name as the journal takes it: capitals, digits and underscores, a letter first. One of ours that is taken
/// gets a `_` behind it.
fn named(name: &str) -> Option<String> {
    let valid = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let mut out: String = name.chars().map(valid).collect();
    let taken = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT", "ROLE", "TARGET"];
    if taken.contains(&out.as_str()) {
        out.push('_');
    }
    (out.starts_with(|c: char| c.is_ascii_alphabetic()) && out.len() <= 64).then_some(out)
}

/// A value of one line is written as such, any other with its length.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value.as_bytes());
    out.push(b'\n');
}
