//! Lets tests of whole processes arm faults in a hub (feature `faults`, never in a release).
//!
//! A test puts a file `faults` into the state directory, a line for each: `POINT panic|kill|stall:MILLISECONDS NTH`
//! (`disarm` alone takes all back, `clock SECONDS` makes the wall clock wrong by so much). The hub looks for it when it boots, before anything lives, and every few
//! milliseconds from then on, takes it away and arms what it says. In `faults.passed` it writes which points were
//! passed how often.

use std::{fs, path::PathBuf, thread, time::Duration};

use jovis_actors::supervise::faults::{self, Act};
use nix::sys::signal::{Signal, raise};
use tracing::error;

use super::world;

/// How often it looks.
const TURN: Duration = Duration::from_millis(5);

/// Arms what waits already, and goes on looking beside everything else.
pub(super) fn listen(state: PathBuf) {
    faults::set_kill(|| {
        _ = raise(Signal::SIGKILL);
    });
    take(&state);
    let look = move || {
        let mut told = Vec::new();
        loop {
            take(&state);
            let passed = faults::passed();
            if passed != told {
                let lines = passed.iter().map(|(point, times)| format!("{point} {times}\n"));
                let new = state.join("faults.passed.new");
                let written = fs::write(&new, lines.collect::<String>());
                if written.and_then(|()| fs::rename(new, state.join("faults.passed"))).is_ok() {
                    told = passed;
                }
            }
            thread::sleep(TURN);
        }
    };
    // Ends with the process.
    if let Err(error) = thread::Builder::new().name("faults".to_owned()).spawn(look) {
        error!(%error, "faults cannot be armed");
    }
}

fn take(state: &std::path::Path) {
    let file = state.join("faults");
    let Ok(text) = fs::read_to_string(&file) else { return };
    // Before the file goes: who sees it gone may count on it.
    for line in text.lines() {
        match parse(line) {
            Some(Wish::Disarm) => faults::disarm_all(),
            Some(Wish::Clock(seconds)) => world::shift(seconds),
            Some(Wish::Arm(point, act, nth)) => faults::arm(point, act, nth),
            None => error!(line, "no such fault"),
        }
    }
    _ = fs::remove_file(&file);
}

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Wish<'a> {
    Disarm,
    Clock(i64),
    Arm(&'a str, Act, u32),
}

/// What a line says.
fn parse(line: &str) -> Option<Wish<'_>> {
    let words: Vec<_> = line.split_whitespace().collect();
    Some(match words[..] {
        ["disarm"] => Wish::Disarm,
        ["clock", seconds] => Wish::Clock(seconds.parse().ok()?),
        [point, act, nth] => {
            let act = match act.split_once(':') {
                None if act == "panic" => Act::Panic,
                None if act == "kill" => Act::Kill,
                Some(("stall", ms)) => Act::Stall(Duration::from_millis(ms.parse().ok()?)),
                _ => return None,
            };
            Wish::Arm(point, act, nth.parse().ok()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_refused() {
        assert_eq!(parse("disarm"), Some(Wish::Disarm));
        assert_eq!(parse("clock -86400"), Some(Wish::Clock(-86_400)));
        assert_eq!(parse("routes:Set panic 1"), Some(Wish::Arm("routes:Set", Act::Panic, 1)));
        let stall = Act::Stall(Duration::from_millis(20));
        assert_eq!(parse("a:B stall:20 0"), Some(Wish::Arm("a:B", stall, 0)));
        for bad in ["", "a:B", "a:B explode 1", "a:B panic x", "a:B stall:x 1", "clock noon"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
