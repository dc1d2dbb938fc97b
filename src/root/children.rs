//! Who lives: user servers by order, in memory and on file. The file's one reader is a starting root, which adopts what
//! still has the pid and start time (and uid, once that is known) it had. It is written as a whole at every change (some
//! hundred kilobytes for a thousand servers) and takes the old one's place. Never synced: the page cache outlives a
//! process, and a reboot ends the children too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use jovis_actors::{domain::OrderId, ports::Exit};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::{
    ipc::root::Child,
    os::process::{self, Stat},
};

/// One user server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its process.
    pub(super) pid: i32,
    /// Start time of that, in ticks since boot.
    pub(super) since: u64,
    /// The account it runs as; none until it has become that.
    pub(super) uid: Option<u32>,
    /// For the log.
    pub(super) user: String,
    /// The address of the hub's API it was told, as it was bound.
    #[serde(default)]
    pub(super) api: Option<SocketAddr>,
    /// The service it is; none: a user's server.
    #[serde(default)]
    pub(super) service: Option<String>,
    /// How it ended; none: it lives.
    pub(super) exit: Option<Exit>,
    /// Open while it lives.
    #[serde(skip)]
    pub(super) pidfd: Option<OwnedFd>,
    /// A child of an earlier root: its end shows only at its pidfd.
    #[serde(skip, default = "from_file")]
    pub(super) adopted: bool,
}

impl Entry {
    /// Sends its process a signal. That it has ended is no error.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        self.pidfd.as_ref().map_or(Ok(()), |pidfd| process::signal(pidfd.as_fd(), signal))
    }

    /// Kills it and all that belongs to it and runs as the same account. `all` is everything that runs.
    pub(super) fn kill_family(&self, all: &[(i32, Stat)]) -> io::Result<()> {
        self.signal(libc::SIGKILL)?;
        let owned = |pid| self.uid.is_some() && process::uid(pid) == self.uid;
        let others = family(all, self.pid, self.since).into_iter();
        others
            .filter(|(pid, _)| owned(*pid))
            .for_each(|(pid, since)| process::kill_same(pid, since));
        Ok(())
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Children {
    /// By order; ended ones stay until they are forgotten.
    pub(super) entries: BTreeMap<OrderId, Entry>,
    path: PathBuf,
}

impl Children {
    /// Reads the file of an earlier root and adopts what lives. A file that cannot be read is laid aside: a hub that
    /// serves without knowing some old servers is better than none.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("children");
        let mut entries = match fs::read(&path).and_then(|text| parse(&text, &boot_id())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                let aside = path.with_extension("bad");
                error!(%error, file = %aside.display(), "children file unreadable");
                fs::rename(&path, aside)?;
                BTreeMap::new()
            }
        };
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
        let children = Self { entries, path };
        children.write();
        Ok(children)
    }

    /// As an earlier root of this process left them: most are children of ours still, and what became of them meanwhile
    /// shows when they are collected. Writes nothing.
    pub(super) fn take_over(dir: &Path, left: BTreeMap<OrderId, (Entry, bool)>) -> Self {
        let take = |(order, (mut entry, adopted)): (OrderId, (Entry, bool))| {
            entry.adopted = adopted;
            if entry.exit.is_none() {
                // Nobody else can have the number of a child of ours.
                entry.pidfd = if adopted { adopt(&entry) } else { process::pidfd(entry.pid).ok() };
                entry.exit = entry.pidfd.is_none().then_some(Exit::Unknown);
            }
            (order, entry)
        };
        Self { entries: left.into_iter().map(take).collect(), path: dir.join("children") }
    }

    /// For the next root of this process: each, and whether it was adopted.
    pub(super) fn away(&self) -> io::Result<BTreeMap<OrderId, (Entry, bool)>> {
        let copy = |entry: &Entry| serde_json::from_value(serde_json::to_value(entry)?);
        let one =
            |(order, entry): (&OrderId, &Entry)| Ok((order.clone(), (copy(entry)?, entry.adopted)));
        self.entries.iter().map(one).collect()
    }

    /// The runtime directory.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().expect("it is a file in a folder")
    }

    /// A server was born.
    pub(super) fn born(&mut self, order: &OrderId, entry: Entry) {
        self.entries.insert(order.clone(), entry);
        self.write();
    }

    /// The server has become this account and the configured program.
    pub(super) fn became(&mut self, order: &OrderId) {
        if let Some(entry) = self.entries.get_mut(order) {
            entry.uid = process::uid(entry.pid);
            self.write();
        }
    }

    /// A server has ended.
    pub(super) fn ended(&mut self, order: &OrderId, exit: Exit) {
        if let Some(entry) = self.entries.get_mut(order) {
            entry.exit = Some(exit);
            entry.pidfd = None;
            self.write();
        }
    }

    /// Takes it out of the table.
    pub(super) fn forget(&mut self, order: &OrderId) {
        if self.entries.remove(order).is_some() {
            self.write();
        }
    }

    /// The addresses of the hub's API that living servers call.
    pub(super) fn called(&self) -> BTreeSet<SocketAddr> {
        let living = self.entries.values().filter(|entry| entry.exit.is_none());
        living.filter_map(|entry| entry.api).collect()
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

    /// Living servers of an earlier root: no signal tells of their end, only their pidfd.
    pub(super) fn adopted(&self) -> impl Iterator<Item = (&OrderId, BorrowedFd<'_>)> {
        let adopted = self.entries.iter().filter(|(_, entry)| entry.adopted);
        adopted.filter_map(|(order, entry)| Some((order, entry.pidfd.as_ref()?.as_fd())))
    }

    /// Those of them that have ended.
    pub(super) fn adopted_and_gone(&self) -> Vec<OrderId> {
        let gone = |pidfd| {
            let mut one = [PollFd::new(pidfd, PollFlags::POLLIN)];
            poll(&mut one, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        };
        self.adopted().filter(|(_, fd)| gone(*fd)).map(|(order, _)| order.clone()).collect()
    }

    /// For the hub.
    pub(super) fn list(&self) -> Vec<Child> {
        let one = |(order, entry): (&OrderId, &Entry)| Child {
            order: order.clone(),
            pid: entry.pid,
            since: entry.since,
            exit: entry.exit,
            service: entry.service.clone(),
        };
        self.entries.iter().map(one).collect()
    }

    /// Writes what is known into a new file that takes the old one's place.
    fn write(&self) {
        let next = self.path.with_extension("next");
        let written = serde_json::to_vec(&(boot_id(), &self.entries))
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&next, bytes))
            .and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = written {
            warn!(%error, "children file not written");
        }
    }
}

/// The processes that go with this one when it is killed, with their start times: its descendants and the rest of its
/// session. None if its number is another one's by now: as long as its session lives, nobody gets that.
pub(super) fn family(all: &[(i32, Stat)], head: i32, since: u64) -> Vec<(i32, u64)> {
    let mut found = vec![(head, since)];
    if all.iter().any(|(pid, stat)| *pid == head && stat.since != since) {
        return Vec::new();
    }
    let mut next = 0;
    while let Some(&(parent, _)) = found.get(next) {
        next += 1;
        for (pid, stat) in all {
            let ours = stat.parent == parent || stat.session == head;
            if ours && !found.iter().any(|(known, _)| known == pid) {
                found.push((*pid, stat.since));
            }
        }
    }
    found.split_off(1)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn from_file() -> bool {
    true
}

/// What an earlier root left; nothing if that was before a reboot.
fn parse(text: &[u8], boot: &str) -> io::Result<BTreeMap<OrderId, Entry>> {
    let (when, entries): (String, _) = serde_json::from_slice(text)?;
    Ok(if when == boot { entries } else { BTreeMap::new() })
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
