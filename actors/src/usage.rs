//! What each server takes of the machine it runs on: memory now, and its share of a processor over the last while.
//!
//! Pure: whoever can look at processes hands all of them over from time to time ([`Ledger::step`]), and this sorts them
//! to the servers and takes differences. A process is a server's
//!
//! 1. if it was before (a process is its number and its start: numbers are given out again),
//! 2. if it is in the session that the server's first process leads, or in one made below it,
//! 3. if its parent, or a parent's parent, is (it made a session of its own).
//!
//! So one that leaves session and parent is still found, unless it did both between two looks.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use crate::domain::OrderId;

/// What one server takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Bytes of memory its processes have in use. What several of them share is counted for each.
    pub memory: u64,
    /// Bytes it may have; none where nothing limits it.
    pub memory_limit: Option<u64>,
    /// Processors it kept busy over the last period: 1.0 is one of them, all the time. None: it was seen only once.
    pub cpu: Option<f64>,
    /// How many processes it has.
    pub processes: u32,
}

/// One process, as the system tells it. Times are in the system's ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its session's.
    pub session: i32,
    /// When it began, since the machine did.
    pub since: u64,
    /// What it has computed itself.
    pub own: u64,
    /// What its children had, of those it has seen ending.
    pub reaped: u64,
    /// Bytes of memory in use.
    pub memory: u64,
    /// It is over, and waits for its parent to notice.
    pub ended: bool,
}

impl Process {
    fn id(&self) -> (i32, u64) {
        (self.pid, self.since)
    }

    fn total(&self) -> u64 {
        self.own.saturating_add(self.reaped)
    }
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Processes of servers: whose, and what they had computed.
    known: HashMap<(i32, u64), (OrderId, u64)>,
    /// Servers: when the first process began, and what all of them had computed, with ended children.
    servers: HashMap<OrderId, (Option<u64>, u64)>,
    /// The youngest process of all: whatever is younger was born since.
    youngest: u64,
}

/// Sorting in progress: places in the list of processes, and to which place in the list of servers each belongs.
struct Sorting<'a> {
    processes: &'a [Process],
    at: HashMap<i32, usize>,
    sessions: HashMap<i32, usize>,
    /// `Some(None)`: looked at, and nobody's.
    owner: Vec<Option<Option<usize>>>,
}

impl Ledger {
    /// Looks at everything that runs, with the first process of each server that lives. `ticks`: how many of them passed
    /// since the last look, and `processors` how many processors there are, so that no server is said to have had more.
    pub fn step(
        &mut self,
        servers: &[(OrderId, i32)],
        processes: &[Process],
        ticks: f64,
        processors: u32,
    ) -> BTreeMap<OrderId, Usage> {
        let owners = self.sort(servers, processes);
        let mut out: BTreeMap<OrderId, Usage> = BTreeMap::new();
        let mut next = Ledger::default();
        // Per server: computed since by processes that are still there; all that was ever computed, now and (as far as
        // this look can tell) at the last one.
        let mut sums = vec![(0_u64, 0_u64, 0_u64); servers.len()];
        for (process, owner) in processes.iter().zip(owners) {
            next.youngest = next.youngest.max(process.since);
            let Some(which) = owner else { continue };
            let order = &servers[which].0;
            let (fresh, now, before) = &mut sums[which];
            *now += process.total();
            match self.known.get(&process.id()) {
                Some((_, own)) => *fresh += process.own.saturating_sub(*own),
                None if process.since >= self.youngest => *fresh += process.own,
                // It was there before and is only now known to be this server's.
                None => *before += process.total(),
            }
            next.known.insert(process.id(), (order.clone(), process.own));
            let usage = out.entry(order.clone()).or_default();
            if !process.ended {
                usage.memory = usage.memory.saturating_add(process.memory);
                usage.processes += 1;
            }
        }
        for ((order, pid), (fresh, now, before)) in servers.iter().zip(sums) {
            let last = self.servers.get(order);
            let first = processes.iter().find(|process| process.pid == *pid);
            let began = last.and_then(|(began, _)| *began).or(first.map(|process| process.since));
            next.servers.insert(order.clone(), (began, now));
            if let (Some((_, total)), Some(usage)) = (last, out.get_mut(order))
                && ticks > 0.0
            {
                // What ended in between is in its parent's account, if there was a parent that cared.
                let used = fresh.max(now.saturating_sub(total.saturating_add(before)));
                usage.cpu = Some((used as f64 / ticks).min(f64::from(processors.max(1))));
            }
        }
        *self = next;
        out
    }

    /// Whose each process is.
    fn sort(&self, servers: &[(OrderId, i32)], processes: &[Process]) -> Vec<Option<usize>> {
        let at = processes.iter().enumerate().map(|(place, it)| (it.pid, place)).collect();
        let mut sorting =
            Sorting { processes, at, sessions: HashMap::new(), owner: vec![None; processes.len()] };
        let places: HashMap<&OrderId, usize> =
            servers.iter().enumerate().map(|(place, (order, _))| (order, place)).collect();
        let mut shared = HashSet::new();
        for (which, (order, pid)) in servers.iter().enumerate() {
            match sorting.at.get(pid).map(|place| (*place, processes[*place])) {
                Some((place, first)) => {
                    let began = self.servers.get(order).and_then(|(began, _)| *began);
                    if began.is_some_and(|began| began != first.since) {
                        continue; // another process that was given its number
                    }
                    sorting.owner[place] = Some(Some(which));
                    if first.session == *pid {
                        sorting.sessions.insert(first.session, which);
                    } else {
                        shared.insert(first.session);
                    }
                }
                // The first one is over and others of its session may go on; their number is not given out meanwhile.
                None => drop(sorting.sessions.insert(*pid, which)),
            }
        }
        for (place, process) in processes.iter().enumerate() {
            let Some((order, _)) = self.known.get(&process.id()) else { continue };
            let Some(which) = places.get(order) else { continue };
            sorting.owner[place].get_or_insert(Some(*which));
            if process.session > 0 && !shared.contains(&process.session) {
                sorting.sessions.entry(process.session).or_insert(*which);
            }
        }
        (0..processes.len()).map(|place| sorting.owner_of(place)).collect()
    }
}

impl Sorting<'_> {
    /// Walks up until somebody's owner is known, and notes it for all on the way.
    fn owner_of(&mut self, place: usize) -> Option<usize> {
        let (mut here, mut way) = (place, Vec::new());
        let found = loop {
            if let Some(known) = self.owner[here] {
                break known;
            }
            // (The list is not of one moment: it may even go round.)
            self.owner[here] = Some(None);
            way.push(here);
            let process = &self.processes[here];
            if let Some(which) = self.sessions.get(&process.session) {
                break Some(*which);
            }
            match self.at.get(&process.parent) {
                Some(parent) if process.parent > 1 => here = *parent,
                _ => break None,
            }
        };
        way.into_iter().for_each(|place| self.owner[place] = Some(found));
        found
    }
}

/// How long is that in ticks of this many a second?
pub fn ticks(passed: Duration, a_second: u64) -> f64 {
    passed.as_secs_f64() * a_second as f64
}

#[cfg(test)]
mod tests;
