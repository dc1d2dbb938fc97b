//! Everything that runs, with what it takes: one small read per process, and what anybody may read.

use std::{
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

use jovis_actors::usage::Process;
use nix::unistd::{SysconfVar, sysconf};

/// One look.
#[derive(Debug, Default)]
pub struct Look {
    /// All processes that could be read. Where `/proc` hides those of others, that is our own.
    pub processes: Vec<Process>,
    /// How long it took.
    pub took: Duration,
}

/// Looks at all processes.
pub fn look() -> Look {
    let began = Instant::now();
    let page = of_system(SysconfVar::PAGE_SIZE, 4096);
    // A line is a few hundred bytes long and is given out whole by one read.
    let (mut path, mut text) = (String::new(), [0; 2048]);
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        path.clear();
        path.push_str("/proc/");
        path.push_str(name.to_str().unwrap_or_default());
        path.push_str("/stat");
        // One that has ended in between is no more.
        let Ok(mut file) = File::open(&path) else { continue };
        if let Ok(length) = file.read(&mut text) {
            processes.extend(parse(pid, &text[..length], page));
        }
    }
    Look { processes, took: began.elapsed() }
}

/// Ticks a second in which the system counts what processes compute.
pub fn ticks_a_second() -> u64 {
    of_system(SysconfVar::CLK_TCK, 100)
}

fn of_system(what: SysconfVar, usual: u64) -> u64 {
    let said = sysconf(what).ok().flatten();
    said.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(usual)
}

fn parse(pid: i32, text: &[u8], page: u64) -> Option<Process> {
    // The second field is the program's name in parentheses and may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = |skip: usize| fields.nth(skip).and_then(|field| field.parse::<i64>().ok());
    let (parent, session) = (number(0)?, number(1)?);
    let (user, system) = (number(7)?, number(0)?);
    let (users, systems) = (number(0)?, number(0)?);
    let (since, memory) = (number(4)?, number(1)?);
    let positive = |value: i64| u64::try_from(value).unwrap_or(0);
    Some(Process {
        pid,
        parent: i32::try_from(parent).ok()?,
        session: i32::try_from(session).ok()?,
        since: positive(since),
        own: positive(user).saturating_add(positive(system)),
        reaped: positive(users).saturating_add(positive(systems)),
        memory: positive(memory).saturating_mul(page),
        ended: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_whatever_the_program_is_called() {
        let line = b"4711 (a) R (1 2) S 10 4711 4700 0 -1 4194560 1 2 3 4 50 6 70 8 20 0 3 0 12345 999 25 1844\n";
        let wanted = Process {
            pid: 4711,
            parent: 10,
            session: 4700,
            since: 12345,
            own: 56,
            reaped: 78,
            memory: 25 * 4096,
            ended: false,
        };
        assert_eq!(parse(4711, line, 4096), Some(wanted));
        assert_eq!(parse(1, b"1 (x) S 1", 4096), None);
        assert_eq!(parse(1, b"", 4096), None);
        assert_eq!(parse(1, &[0xff; 80], 4096), None);
    }

    #[test]
    fn a_look_sees_us_and_our_child() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let look = look();
        let us = i32::try_from(std::process::id()).unwrap();
        let it = |pid: i32| look.processes.iter().find(|it| it.pid == pid).copied();
        let found = it(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(it(us).unwrap().memory > 1 << 20);
        assert_eq!(found.unwrap().parent, us);
        assert!(ticks_a_second() >= 1);
    }

    /// How long a look takes with 2,000 processes more. For people: `--ignored --nocapture`.
    #[test]
    #[ignore = "a measurement: needs 2,000 processes"]
    fn a_look_at_two_thousand_processes_is_quick() {
        let begin = || Command::new("sleep").arg("120").spawn().unwrap();
        let mut crowd: Vec<_> = (0..2000).map(|_| begin()).collect();
        let mut took: Vec<_> =
            (0..20).map(|_| look()).map(|it| (it.took, it.processes.len())).collect();
        for child in &mut crowd {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        took.sort();
        println!("{took:?}");
        assert!(took[10].0 < Duration::from_millis(50), "{took:?}");
    }
}
