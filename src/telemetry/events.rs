//! The catalogue of events: every line that jovis logs, its level, who says it, its fields, what it means.
//!
//! Names, levels and fields are kept: alarms and dashboards are built on them. `docs/events.md` is made from these
//! tables, and a test finds every `error!`, `warn!`, `info!` and `debug!` in the sources and compares.
//!
//! To add an event: the macro in the code, a row here in the table of its area (the test prints one to begin with), a
//! line in [`FIELDS`] for a field that is new, then `UPDATE=1 cargo test --lib telemetry::events` writes the page.
//!
//! A name is two to five lower-case words that never change with what happened: that is in the fields. `error` wakes
//! somebody, `warn` can wait for the morning, `info` is the story, `debug` is for whoever looks closer.

use std::fmt::Write as _;

mod people;
mod processes;
mod proxy;
mod servers;
mod settings;
mod store;

/// What can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its name: what a JSON line has as `event`.
    pub name: &'static str,
    /// With what weight: more than one where it depends on what happened.
    pub levels: &'static [&'static str],
    /// Which processes say it: `root`, `hub`, `proxy`, `helper`.
    pub roles: &'static [&'static str],
    /// What comes with it; not every time all of it.
    pub fields: &'static [&'static str],
    /// What it means.
    pub meaning: &'static str,
    /// What an operator does. Empty: nothing.
    pub todo: &'static str,
}

/// Events that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// The headline.
    pub title: &'static str,
    /// The events.
    pub events: &'static [Event],
}

/// All of them.
pub const AREAS: &[Area] = &[
    Area { title: "Processes and actors", events: processes::EVENTS },
    Area { title: "Settings and logs", events: settings::EVENTS },
    Area { title: "User servers", events: servers::EVENTS },
    Area { title: "People, sign-in and pages", events: people::EVENTS },
    Area { title: "Proxy and routes", events: proxy::EVENTS },
    Area { title: "Store", events: store::EVENTS },
];

/// A table: `"name" [levels] [roles] (fields) "meaning" "what to do"`.
macro_rules! events {
    ($($name:literal [$($level:ident)+] [$($role:ident)+] ($($field:ident)*) $meaning:literal $todo:literal)*) => {
        /// The events of this area.
        pub(super) const EVENTS: &[super::Event] = &[$(super::Event {
            name: $name,
            levels: &[$(stringify!($level)),+],
            roles: &[$(stringify!($role)),+],
            fields: &[$(stringify!($field)),*],
            meaning: $meaning,
            todo: $todo,
        }),*];
    };
}
use events;

/// What the fields mean: a name means the same in every event.
pub const FIELDS: &[(&str, &str)] = &[
    ("actor", "which actor of the hub"),
    ("address", "an address of this machine and a port"),
    ("admin", "has this user the rights of an administrator?"),
    ("api", "where the REST API of a proxy that stands alone is"),
    ("applied", "the names of the settings that are in effect now"),
    ("before", "the process before"),
    ("behind", "how far a clock is behind"),
    ("build", "the version of jovis that the other process is"),
    ("cause", "why a server ended, in words: the same that its user reads"),
    ("child", "which of root's own processes: `hub` or `proxy`"),
    ("connections", "how many connections are open"),
    ("container", "the name of a container"),
    ("count", "how many"),
    ("days", "how many days"),
    ("delay_ms", "milliseconds until it is tried again"),
    ("elapsed_ms", "milliseconds it took"),
    ("entry", "the entry of a list in the configuration"),
    ("error", "what went wrong, with all its causes, in words"),
    ("exit", "how a process ended: `Code(1)`, `Signal(9)`, `Unknown`"),
    ("file", "where the old file was put"),
    ("finding", "what is wrong in the configuration, and where"),
    ("findings", "how many findings there are"),
    ("flag", "a flag of the command line"),
    ("flags", "how many administrators more or fewer"),
    ("frames", "how many groups of changes"),
    ("from", "the address of the visitor, as far as the proxies before us are believed"),
    ("generation", "how often this actor was started"),
    ("groups", "how many groups"),
    ("hard", "at once, nothing is waited for"),
    ("id", "the number of a question between two processes"),
    ("image", "the name of a container's image"),
    ("input", "what an actor failed on: never its content, only which"),
    ("kept", "how many settings stay as they were"),
    (
        "kind",
        "what kind of cause, always in the same words: `exit code`, `signal`, `out of memory`, `stopped` (by its owner), `stopped by another user`, `stopped by a service`, `culled`, `shutdown`, `start timeout`, …",
    ),
    ("lasts", "does somebody stay signed in although nobody can be asked?"),
    ("limit_ms", "milliseconds that were allowed"),
    ("limit_s", "seconds that were allowed"),
    ("listeners", "how many sockets are listened at"),
    ("living", "how many servers live"),
    ("method", "the method of a request"),
    ("name", "a name that a certificate bears"),
    ("names", "the names that a certificate is for"),
    ("next_s", "seconds until it is tried again"),
    ("next_start", "the names of the settings that take effect at a server's next start"),
    ("now", "the version of jovis that runs"),
    ("only", "the name of the only user that servers run as"),
    ("open", "how many connections are open"),
    (
        "order",
        "the id of one act of starting a server: the same in all processes and in its log file's name",
    ),
    ("panics", "how often it has panicked"),
    ("path", "the path of a request, without its query"),
    ("patience", "how long it may go on, before something is done"),
    ("peer", "the address at the other end of the connection"),
    ("pid", "the id of a process"),
    ("place", "where in the sources"),
    ("port", "a port of this machine"),
    ("processes", "how many processes were seen"),
    ("program", "the path of a program"),
    ("public", "where a proxy that stands alone takes visitors"),
    ("rebound", "the names of the settings for which new sockets were opened"),
    ("records", "how many records"),
    ("remaining", "how many connections were left when patience ended"),
    ("remove", "how many routes are to be removed"),
    ("repair", "what was repaired, in words"),
    ("report", "what the browser says, without queries"),
    ("request", "the id of a request: the `X-Request-ID` of its answer"),
    ("restarts", "how often another one was started in its place"),
    ("route", "a route: host and path"),
    ("routes", "how many routes"),
    ("said", "the message that was not expected"),
    ("sequence", "the number of the newest change in it"),
    ("server", "the server's name; empty for the default server"),
    ("servers", "user servers: how many, or whether they are ended too"),
    ("service", "the name of a service"),
    ("services", "how many services"),
    ("set", "how many routes are to be set"),
    ("setting", "the name of a setting: `section.name`"),
    ("silence", "since when there was no sign of life"),
    ("sink", "which proxy"),
    ("socket", "the path of a Unix socket"),
    ("state", "how it stands with a process: `ready`, `starting`, `silent` …"),
    ("status", "the HTTP status of the answer"),
    ("supervisor", "who restarts the actor"),
    ("template", "the name of a page's template"),
    ("thread", "the name of a thread"),
    ("took_ms", "milliseconds from the beginning to the end"),
    ("uid", "the number of a user of the operating system"),
    ("until", "when a certificate ends"),
    ("up_s", "seconds since it was started"),
    ("url", "where it is reached"),
    ("user", "the name of the user"),
    ("users", "how many users"),
    ("version", "the version of the messages between processes"),
    ("visitor", "the name of the user who comes to something of another's"),
    ("waiting", "how many wait"),
    ("was", "the version of jovis that ran before"),
    ("way", "by which of several ways to sign in; empty: the first"),
    ("what", "which thing"),
    ("why", "the reason of a refusal, in words"),
    ("workers", "how many threads serve"),
];

/// The page about them: `docs/events.md`.
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    for area in AREAS {
        put(&mut out, format_args!("\n## {}\n\n", area.title));
        out.push_str(
            "| event | level | from | fields | meaning | what to do |\n|---|---|---|---|---|---|\n",
        );
        for event in area.events {
            let Event { name, levels, roles, fields, meaning, todo } = event;
            let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            put(
                &mut out,
                format_args!(
                    "| `{name}` | {} | {} | {} | {meaning} | {todo} |\n",
                    levels.join(", "),
                    roles.join(", "),
                    fields.join(" "),
                ),
            );
        }
    }
    out.push_str("\n## Fields\n\n| field | meaning |\n|---|---|\n");
    for (field, meaning) in FIELDS {
        put(&mut out, format_args!("| `{field}` | {meaning} |\n"));
    }
    out
}

const HEAD: &str = "\
# Events

Every line that jovis logs is one of these. Names, levels and fields are stable: build alarms on them. This page is made \
from the sources (`src/telemetry/events/`), and a test fails where they differ.

Each line also has `time` (UTC), `level`, `role` (`root`, `hub`, `proxy`, `helper`), `target` (the module) and `event` (the \
name below). What is logged while the hub answers a request has `request`, `method`, `path` and `user` (who asked) as \
well, unless the event has a field of that name itself. How to use them: [Steer by the logs](how-to/logs.md).

`error` wakes somebody, `warn` can wait for the morning, `info` is the story, `debug` is for whoever looks closer.
";

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests;
