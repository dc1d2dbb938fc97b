//! Want of memory: who goes first, and was it that? The kernel does not tell a parent why its child got SIGKILL; it only counts how often it
//! killed for that reason (`oom_kill` in /proc/vmstat, the machine's and its groups' together, since Linux 4.13).

use std::{
    fs,
    time::{Duration, Instant},
};

use jovis_actors::ports::Exit;

/// The count rises at the kill; the process may take so long to be gone, tearing down what it had.
const TEARDOWN: Duration = Duration::from_secs(10);

/// The kernel's count, and when it last rose.
#[derive(Debug)]
pub(super) struct Memory {
    count: u64,
    risen: Option<Instant>,
}

impl Memory {
    /// From now on.
    pub(super) fn new() -> Self {
        Self { count: count(&vmstat()).unwrap_or(0), risen: None }
    }

    /// Looks whether the count has risen. To be called more often than every [`TEARDOWN`].
    pub(super) fn look(&mut self, now: Instant) {
        self.see(&vmstat(), now);
    }

    /// What this end was, as far as one can tell. A process that somebody kills within seconds of another's death for want
    /// of memory is taken for a second one.
    pub(super) fn explain(&mut self, exit: Exit, now: Instant) -> Exit {
        if exit != Exit::Signal(libc::SIGKILL) {
            return exit;
        }
        self.look(now);
        let lately = self.risen.is_some_and(|risen| now.duration_since(risen) < TEARDOWN);
        if lately { Exit::OutOfMemory } else { exit }
    }

    fn see(&mut self, vmstat: &str, now: Instant) {
        let Some(count) = count(vmstat) else { return };
        if count > self.count {
            self.risen = Some(now);
        }
        self.count = count;
    }
}

/// When memory runs out the kernel shall take a user's server before a role. Makes ourselves, and so the roles, hard to kill;
/// where we may not (that takes a capability), servers become easy. What to give servers.
pub(super) fn prefer_servers() -> i32 {
    const OURS: &str = "/proc/self/oom_score_adj";
    let begun = fs::read_to_string(OURS).ok().and_then(|text| text.trim().parse().ok());
    let begun: i32 = begun.unwrap_or(0);
    match fs::write(OURS, "-900") {
        Ok(()) => begun,
        Err(_) => (begun + 500).min(1000),
    }
}

fn vmstat() -> String {
    fs::read_to_string("/proc/vmstat").unwrap_or_default()
}

fn count(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_soon_after_the_count_rose_is_explained_by_it() {
        let start = Instant::now();
        let mut memory = Memory { count: 3, risen: None };
        memory.see("nr_free_pages 17\noom_kill 3\n", start);
        assert_eq!(memory.risen, None);
        memory.see("nr_free_pages 17\noom_kill 4\n", start);
        memory.see("", start + TEARDOWN);
        assert_eq!((memory.count, memory.risen), (4, Some(start)));
        // What the machine really counts meanwhile is not ours to say: the count here is far above it.
        memory.count = u64::MAX;
        let soon = start + TEARDOWN / 2;
        assert_eq!(memory.explain(Exit::Code(9), soon), Exit::Code(9));
        assert_eq!(memory.explain(Exit::Signal(15), soon), Exit::Signal(15));
        assert_eq!(memory.explain(Exit::Signal(9), soon), Exit::OutOfMemory);
        memory.count = u64::MAX;
        assert_eq!(memory.explain(Exit::Signal(9), start + TEARDOWN), Exit::Signal(9));
    }
}
