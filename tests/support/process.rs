//! The process table, read from /proc: who is whose child, as whom, with what.

use std::{collections::BTreeMap, fs};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// One process, told from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its start, in clock ticks since boot.
    pub since: u64,
}

struct Stat {
    state: char,
    parent: i32,
    session: i32,
    since: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name, in parentheses, may itself hold blanks and parentheses
    let fields: Vec<&str> = text[text.rfind(')')? + 2..].split(' ').collect();
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: fields[1].parse().ok()?,
        session: fields[3].parse().ok()?,
        since: fields[19].parse().ok()?,
    })
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

impl Process {
    /// The one that has this number now, if any (one that has ended but was not waited for counts as none).
    pub fn of(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (stat.state != 'Z').then_some(Self { pid, since: stat.since })
    }

    /// Does it still run?
    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Its living children.
    pub fn children(self) -> Vec<Self> {
        let mut found: Vec<Self> = pids()
            .filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == self.pid))
            .filter_map(Self::of)
            .collect();
        found.sort_by_key(|child| child.since);
        found
    }

    /// Children that have ended and were not waited for.
    pub fn zombies(self) -> usize {
        let ours = |stat: Stat| stat.state == 'Z' && stat.parent == self.pid;
        pids().filter(|&pid| stat(pid).is_some_and(ours)).count()
    }

    /// Children, their children and so on.
    pub fn descendants(self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut next = vec![self];
        while let Some(process) = next.pop() {
            let children = process.children();
            all.extend(&children);
            next.extend(children);
        }
        all
    }

    /// Every process of this machine.
    pub fn all() -> Vec<Self> {
        pids().filter_map(Self::of).collect()
    }

    /// Every process of this account.
    pub fn owned_by(uid: u32) -> Vec<Self> {
        pids().filter_map(Self::of).filter(|process| process.ids("Uid").contains(&uid)).collect()
    }

    /// Its command line; empty if it is gone.
    pub fn arguments(self) -> Vec<String> {
        let raw = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words = raw.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into());
        words.filter(|word: &String| !word.is_empty()).collect()
    }

    /// Its session's number.
    pub fn session(self) -> Option<i32> {
        Some(stat(self.pid)?.session)
    }

    /// Its parent's number.
    pub fn parent(self) -> Option<i32> {
        Some(stat(self.pid)?.parent)
    }

    /// A line of its `status`, e.g. `Threads`, `CapEff`; empty if it is gone.
    pub fn status(self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let lines: BTreeMap<_, _> =
            text.lines().filter_map(|line| line.split_once(":\t")).collect();
        lines.get(name).copied().unwrap_or_default().trim().to_owned()
    }

    /// Numbers of its `status`: `Uid`, `Gid` (real, effective, saved, filesystem) or `Groups`.
    pub fn ids(self, name: &str) -> Vec<u32> {
        self.status(name).split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    /// Its environment as it was at exec, `NAME=value`.
    pub fn environment(self) -> Vec<String> {
        let raw = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let pairs = raw.split(|&byte| byte == 0).map(|pair| String::from_utf8_lossy(pair).into());
        pairs.filter(|pair: &String| !pair.is_empty()).collect()
    }

    /// The files it has mapped: its program and libraries.
    pub fn maps(self) -> String {
        fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default()
    }

    /// How many descriptors it has open.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// Sends a signal, if it is still the same process.
    pub fn signal(self, signal: Signal) {
        if self.lives() {
            // it may end in between
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
    }
}
