//! Why a server ended, in the words of the page's language: for its owner, who need not know what a signal is.

use jovis_actors::domain::{Cause, Stopper};

use crate::web::words::{Words, mark};

/// One sentence.
pub(crate) fn told(words: &Words, cause: &Cause) -> String {
    match cause {
        Cause::Stopped => words.say("Stopped on request.").to_owned(),
        Cause::StoppedBy(who) => by(words, who),
        Cause::Exited(code) => {
            words.fill("It ended by itself: exited with {code}.", &[("code", &code.to_string())])
        }
        Cause::Signalled(9) => words.say("Killed (signal 9).").to_owned(),
        Cause::Signalled(signal) => {
            words.fill("Ended by signal {signal}.", &[("signal", &signal.to_string())])
        }
        Cause::OutOfMemory => words.say("Killed: out of memory.").to_owned(),
        Cause::Vanished => words.say("It ended while the hub was not watching.").to_owned(),
        Cause::Refused(why) | Cause::SpawnFailed(why) => {
            words.fill("It could not be started: {why}.", &[("why", why)])
        }
        Cause::StartTimeout(seconds) => words.fill(
            "It did not come to life within {seconds} seconds.",
            &[("seconds", &seconds.to_string())],
        ),
        Cause::HttpTimeout(seconds) => words.fill(
            "It started but did not answer within {seconds} seconds.",
            &[("seconds", &seconds.to_string())],
        ),
        Cause::PortTaken(port) => {
            words.fill("Somebody else listens on its port {port}.", &[("port", &port.to_string())])
        }
        Cause::Interrupted => words.say("The hub restarted before it was started.").to_owned(),
        Cause::NotRecorded(why) => {
            words.fill("Its start could not be recorded: {why}.", &[("why", why)])
        }
    }
}

fn by(words: &Words, who: &Stopper) -> String {
    match who {
        Stopper::User(name) => words.fill("Stopped by {name}.", &[("name", name.as_str())]),
        Stopper::Service(name) => {
            words.fill("Stopped by the service {name}.", &[("name", name.as_str())])
        }
        Stopper::Culler(name) => words.fill(
            "Stopped by {name}, which ends servers that are not used or too old.",
            &[("name", name)],
        ),
        Stopper::Idle { by, minutes } => words.fill(
            "Stopped after {minutes} minutes idle, by {name}.",
            &[("minutes", &minutes.to_string()), ("name", by)],
        ),
        Stopper::Shutdown => words.say("Stopped together with the hub.").to_owned(),
    }
}

/// What its owner can do about it, where there is something.
pub(crate) fn advice<'a>(words: &'a Words, cause: &Cause) -> Option<&'a str> {
    let text = match cause {
        Cause::OutOfMemory => mark(
            "It needed more memory than there was. Load less data at once, or choose a larger server.",
        ),
        Cause::StoppedBy(Stopper::Idle { .. } | Stopper::Culler(_)) => {
            mark("Your files are safe. Start it again when you need it.")
        }
        _ => return None,
    };
    Some(words.say(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::words;

    #[test]
    fn a_cause_is_told_in_plain_words() {
        let idle = Cause::StoppedBy(Stopper::Idle { by: "culler".into(), minutes: 60 });
        for (cause, english, german) in [
            (idle, "Stopped after 60 minutes idle, by culler.", "60 Minuten"),
            (Cause::OutOfMemory, "Killed: out of memory.", "Speicher"),
            (Cause::Exited(1), "It ended by itself: exited with 1.", "Status 1"),
        ] {
            assert_eq!(told(words::of("en"), &cause), english);
            assert!(told(words::of("de"), &cause).contains(german), "{english}");
        }
        assert!(advice(words::of("en"), &Cause::OutOfMemory).is_some());
        assert_eq!(advice(words::of("en"), &Cause::Stopped), None);
    }
}
