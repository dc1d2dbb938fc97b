//! Why a server ended or did not start, in the reader's words (in English those of the API), and what can be done about
//! it.

use jovis_actors::domain::{Cause, Stopper};

use crate::web::words::{Words, mark};

/// What happened, as half a sentence.
pub(crate) fn cause(words: &Words, cause: &Cause) -> String {
    let with = |text: &'static str, name: &str, value: &str| words.fill(text, &[(name, value)]);
    match cause {
        Cause::Stopped => words.say("stopped on request").to_owned(),
        Cause::StoppedBy(Stopper::User(name)) => {
            with(mark("stopped by {name}"), "name", name.as_str())
        }
        Cause::StoppedBy(Stopper::Service(name)) => {
            with(mark("stopped by the service {name}"), "name", name.as_str())
        }
        Cause::StoppedBy(Stopper::Culler(name)) => with(mark("culled by {name}"), "name", name),
        Cause::StoppedBy(Stopper::Idle { by, minutes }) => words.fill(
            "culled by {name} after {minutes} minutes idle",
            &[("name", by), ("minutes", &minutes.to_string())],
        ),
        Cause::StoppedBy(Stopper::Shutdown) => {
            words.say("stopped together with the hub").to_owned()
        }
        Cause::StoppedBy(Stopper::Maintenance(name)) => {
            with(mark("stopped for maintenance by {name}"), "name", name)
        }
        Cause::StoppedBy(Stopper::Blocked) => words.say("stopped: its user is blocked").to_owned(),
        Cause::Exited(code) => {
            with(mark("the server process exited with status {code}"), "code", &code.to_string())
        }
        Cause::Signalled(9) => words.say("the server process was killed (signal 9)").to_owned(),
        Cause::Signalled(signal) => with(
            mark("the server process was ended by signal {signal}"),
            "signal",
            &signal.to_string(),
        ),
        Cause::OutOfMemory => words.say("the server process was killed: out of memory").to_owned(),
        Cause::Vanished => words.say("the server ended while the hub was not watching").to_owned(),
        // The spawner's own words.
        Cause::Refused(why) | Cause::SpawnFailed(why) => why.clone(),
        Cause::StartTimeout(seconds) => with(
            mark("the server process did not come to life within {seconds} seconds"),
            "seconds",
            &seconds.to_string(),
        ),
        Cause::HttpTimeout(seconds) => with(
            mark("the server started but did not answer within {seconds} seconds"),
            "seconds",
            &seconds.to_string(),
        ),
        Cause::PortTaken(port) => {
            with(mark("somebody else listens on port {port}"), "port", &port.to_string())
        }
        Cause::Interrupted => {
            words.say("the hub restarted before the server was started").to_owned()
        }
        Cause::NotRecorded(why) => with(mark("the start could not be recorded: {why}"), "why", why),
    }
}

/// What whoever reads it can do. `chooses`: there is something to choose from when a server starts.
pub(crate) fn advice(cause: &Cause, tail: &str, chooses: bool) -> &'static str {
    let tail = tail.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| tail.contains(text));
    if says(&["no space left on device", "disk quota exceeded", "errno 28", "errno 122"]) {
        return mark(
            "Its disk is full. Make room in your home folder, or ask an administrator to.",
        );
    }
    match cause {
        Cause::OutOfMemory if chooses => mark(
            "It needed more memory than it may have. Start it again with more memory or a larger profile, or load less data at once.",
        ),
        Cause::OutOfMemory => mark(
            "It needed more memory than it may have. Start it again and load less data at once, or ask an administrator for more.",
        ),
        Cause::Exited(126 | 127) => mark(
            "A program it needs was not found or may not be run. That is for an administrator to mend: show this page.",
        ),
        Cause::Refused(why) if why.contains("not found") || why.contains("may not be executed") => {
            mark(
                "The program that should run is missing on this machine. That is for an administrator to mend: show this page.",
            )
        }
        Cause::Refused(_) if chooses => {
            mark("Choose something else and start again, or show this page to an administrator.")
        }
        Cause::Refused(_) => {
            mark("Starting again will not help. Show this page to an administrator.")
        }
        Cause::Exited(_) if says(&["modulenotfounderror", "importerror", "no module named"]) => {
            mark(
                "A Python package is missing or broken. If you have installed or removed packages in your home folder, undo that; else show this page to an administrator.",
            )
        }
        Cause::Exited(_)
            if says(&["permission denied", "permissionerror", "read-only file system"]) =>
        {
            mark(
                "It may not read or write a file it needs. See the last lines below: is it one of yours?",
            )
        }
        Cause::Exited(_) => mark(
            "The last lines below usually say why. Often it is something in your home folder: a setting or a package of your own.",
        ),
        Cause::StartTimeout(_) | Cause::HttpTimeout(_) => mark(
            "Perhaps the machine is busy: start it again. If it stays so, show this page to an administrator.",
        ),
        Cause::Signalled(_) => mark(
            "Somebody or something on the machine ended it. Start it again; if it stays so, tell an administrator.",
        ),
        Cause::PortTaken(_) | Cause::Interrupted | Cause::Vanished => {
            mark("That was bad luck, and none of it is your fault: start it again.")
        }
        Cause::NotRecorded(_) => mark(
            "The hub cannot save anything just now. Try again in a minute, and tell an administrator.",
        ),
        Cause::SpawnFailed(_) => {
            mark("Start it again. If it stays so, show this page to an administrator.")
        }
        Cause::Stopped | Cause::StoppedBy(_) => mark("It can be started again."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::words;

    #[test]
    fn each_cause_has_words_and_advice() {
        for (it, tail, chooses, part) in [
            (Cause::OutOfMemory, "", true, "larger profile"),
            (Cause::OutOfMemory, "", false, "less data"),
            (Cause::Exited(127), "sh: jupyter: command not found", false, "administrator"),
            (Cause::Exited(1), "ModuleNotFoundError: No module named 'x'", false, "package"),
            (Cause::Exited(1), "OSError: [Errno 28] No space left on device", true, "disk is full"),
            (Cause::Exited(1), "", false, "last lines"),
            (Cause::HttpTimeout(3), "", false, "busy"),
            (
                Cause::Refused("the server's program x was not found in PATH".into()),
                "",
                true,
                "missing",
            ),
            (Cause::Refused("no".into()), "", true, "something else"),
            (Cause::Signalled(9), "", false, "ended it"),
        ] {
            let words = words::of("en");
            assert!(advice(&it, tail, chooses).contains(part), "{it}");
            assert!(cause(words, &it).len() > 1, "{it}");
        }
        for it in [
            Cause::Stopped,
            Cause::StoppedBy(Stopper::Culler("idle".into())),
            Cause::StoppedBy(Stopper::Idle { by: "idle".into(), minutes: 60 }),
            Cause::StoppedBy(Stopper::Maintenance("root".into())),
            Cause::StoppedBy(Stopper::Blocked),
            Cause::Exited(3),
            Cause::Signalled(9),
            Cause::Signalled(15),
            Cause::OutOfMemory,
            Cause::Vanished,
            Cause::StartTimeout(1),
            Cause::HttpTimeout(1),
            Cause::PortTaken(1),
            Cause::Interrupted,
            Cause::NotRecorded("x".into()),
        ] {
            assert_eq!(cause(words::of("en"), &it), it.to_string());
        }
        let german = cause(words::of("de"), &Cause::HttpTimeout(30));
        assert!(german.contains("30 Sekunden"), "{german}");
    }
}
