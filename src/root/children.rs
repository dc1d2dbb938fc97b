//! Who lives: user servers by order, in memory and on file. The file's one reader is a starting root, which adopts what
//! still has the pid and start time (and uid, once that is known) it had. Never synced: the page cache outlives a
//! process, and a reboot ends the children too.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use jovis_actors::{domain::OrderId, ports::Exit};
use nix::sys::wait::WaitStatus;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{ipc::root::Child, os::process};

/// A line of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Line {
    Boot(String),
    Born { order: OrderId, pid: i32, since: u64, uid: Option<u32>, user: String },
    Ended { order: OrderId, exit: Exit },
    Forgotten { order: OrderId },
}

/// One user server.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its process.
    pub(super) pid: i32,
    /// Start time of that, in ticks since boot.
    pub(super) since: u64,
    /// The account it runs as; none until it has become that.
    pub(super) uid: Option<u32>,
    /// For the log.
    pub(super) user: String,
    /// How it ended; none: it lives.
    pub(super) exit: Option<Exit>,
    /// Open while it lives.
    pub(super) pidfd: Option<OwnedFd>,
    /// A child of an earlier root: its end shows only at its pidfd.
    pub(super) adopted: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Children {
    /// By order; ended ones stay until they are forgotten.
    pub(super) entries: BTreeMap<OrderId, Entry>,
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Children {
    /// Reads the file of an earlier root, adopts what lives, and begins a new file.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("children");
        let old = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            old => old?,
        };
        let mut entries = parse(&old, &boot_id());
        for (order, entry) in entries.iter_mut().filter(|(_, entry)| entry.exit.is_none()) {
            let (pid, user) = (entry.pid, &entry.user);
            entry.pidfd = adopt(entry);
            if entry.pidfd.is_some() {
                // If root died between its birth and the note of what it became.
                entry.uid = entry.uid.or_else(|| process::uid(pid).filter(|uid| *uid != 0));
                info!(%order, pid, %user, "server adopted");
            } else {
                entry.exit = Some(Exit::Unknown);
                warn!(%order, pid, %user, "server gone meanwhile");
            }
        }
        let mut children = Self { entries, path, file: File::open("/dev/null")?, lines: 0 };
        children.compact();
        Ok(children)
    }

    /// A server was born. `uid` is known once it has become that account; say it again then.
    pub(super) fn born(&mut self, order: &OrderId, entry: Entry) {
        self.entries.insert(order.clone(), entry);
        self.note(order);
    }

    /// The server has become this account and the configured program.
    pub(super) fn became(&mut self, order: &OrderId) {
        if let Some(entry) = self.entries.get_mut(order) {
            entry.uid = process::uid(entry.pid);
            self.note(order);
        }
    }

    /// A server has ended.
    pub(super) fn ended(&mut self, order: &OrderId, exit: Exit) {
        if let Some(entry) = self.entries.get_mut(order) {
            entry.exit = Some(exit);
            entry.pidfd = None;
            self.write(&Line::Ended { order: order.clone(), exit });
        }
    }

    /// Takes it out of the table.
    pub(super) fn forget(&mut self, order: &OrderId) {
        if self.entries.remove(order).is_some() {
            self.write(&Line::Forgotten { order: order.clone() });
        }
    }

    /// How many live.
    pub(super) fn living(&self) -> usize {
        self.entries.values().filter(|entry| entry.exit.is_none()).count()
    }

    /// Whose process is this child of ours?
    pub(super) fn by_pid(&self, pid: i32) -> Option<OrderId> {
        let mut own =
            self.entries.iter().filter(|(_, entry)| !entry.adopted && entry.exit.is_none());
        own.find(|(_, entry)| entry.pid == pid).map(|(order, _)| order.clone())
    }

    /// For the hub.
    pub(super) fn list(&self) -> Vec<Child> {
        let one = |(order, entry): (&OrderId, &Entry)| Child {
            order: order.clone(),
            pid: entry.pid,
            since: entry.since,
            exit: entry.exit,
        };
        self.entries.iter().map(one).collect()
    }

    fn note(&mut self, order: &OrderId) {
        if let Some(entry) = self.entries.get(order) {
            self.write(&line(order, entry));
        }
    }

    fn write(&mut self, line: &Line) {
        self.lines += 1;
        if self.lines > 1000 + 4 * self.entries.len() {
            return self.compact();
        }
        if let Err(error) = put(&mut self.file, line) {
            warn!(%error, "children file not written");
        }
    }

    /// Writes what is known into a new file that takes the old one's place.
    fn compact(&mut self) {
        let next = self.path.with_extension("next");
        let written = fresh(&next).and_then(|mut file| {
            put(&mut file, &Line::Boot(boot_id()))?;
            for (order, entry) in &self.entries {
                put(&mut file, &line(order, entry))?;
                if let Some(exit) = entry.exit {
                    put(&mut file, &Line::Ended { order: order.clone(), exit })?;
                }
            }
            fs::rename(&next, &self.path)?;
            Ok(file)
        });
        match written {
            Ok(file) => (self.file, self.lines) = (file, 2 * self.entries.len()),
            Err(error) => warn!(%error, "children file not written"),
        }
    }
}

/// How a process ended, in our words. None: it has not.
pub(super) fn exit(status: WaitStatus) -> Option<(i32, Exit)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), Exit::Code(code))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid.as_raw(), Exit::Signal(signal as i32))),
        _ => None,
    }
}

/// The processes that go with this one when it is killed: its descendants and the rest of its session.
pub(super) fn family(all: &[(i32, process::Stat)], head: i32) -> Vec<i32> {
    let mut found = vec![head];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for (pid, stat) in all {
            if (stat.parent == parent || stat.session == head) && !found.contains(pid) {
                found.push(*pid);
            }
        }
    }
    found
}

fn line(order: &OrderId, entry: &Entry) -> Line {
    let Entry { pid, since, uid, ref user, .. } = *entry;
    Line::Born { order: order.clone(), pid, since, uid, user: user.clone() }
}

fn put(file: &mut File, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

fn fresh(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    file.set_len(0)?;
    Ok(file)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What an earlier root left; nothing if that was before a reboot. A line cut short is skipped.
fn parse(text: &str, boot: &str) -> BTreeMap<OrderId, Entry> {
    let mut entries = BTreeMap::new();
    let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    if lines.next() != Some(Line::Boot(boot.to_owned())) {
        return entries;
    }
    for line in lines {
        match line {
            Line::Boot(_) => {}
            Line::Born { order, pid, since, uid, user } => {
                let entry = Entry { pid, since, uid, user, exit: None, pidfd: None, adopted: true };
                entries.insert(order, entry);
            }
            Line::Ended { order, exit } => {
                entries
                    .get_mut(&order)
                    .into_iter()
                    .for_each(|entry: &mut Entry| entry.exit = Some(exit));
            }
            Line::Forgotten { order } => drop(entries.remove(&order)),
        }
    }
    entries
}

/// The pidfd first, then the comparison: what it then names cannot become another process any more.
fn adopt(entry: &Entry) -> Option<OwnedFd> {
    let pidfd = process::pidfd(entry.pid).ok()?;
    let stat = process::stat(entry.pid)?;
    let same = stat.since == entry.since && !stat.ended;
    let whose = entry.uid.is_none_or(|uid| process::uid(entry.pid) == Some(uid));
    (same && whose).then_some(pidfd)
}

#[cfg(test)]
mod tests;
