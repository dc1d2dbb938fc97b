//! Operators ↔ jovis, over the socket `control` in the runtime directory.
//!
//! Who connects says one [`Request`] in a datagram of at most [`LIMIT`] bytes and then hears [`Answer`]s, one a
//! datagram, until the end of the link: the end says that nothing more comes. It is `SOCK_SEQPACKET` and not a stream
//! because root, hub and proxy answer into the same socket: a datagram is whole, whoever else speaks, and none of them
//! keeps an unfinished line of another. Nor does root have to gather a request piece by piece.
//!
//! What root cannot do itself it hands to the hub with the socket ([`super::root::RootSays::Control`]).

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::reload::ReloadReport;

/// Longest request, in bytes.
pub const LIMIT: usize = 4 * 1024;

/// Longest answer, in bytes.
pub const LONGEST_ANSWER: usize = 64 * 1024;

/// What operators ask for: `{"command": "restart", "role": "hub"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Read the configuration again. Answer: [`Answer::Reloaded`].
    Reload,
    /// A fresh process for this role. Answer: [`Answer::Done`] when it serves.
    Restart {
        /// Which.
        role: Part,
    },
    /// Go. Answer: [`Answer::Done`], and the end of the link when jovis is gone.
    Stop {
        /// What becomes of user servers.
        #[serde(default)]
        servers: Servers,
        /// The hard way, as a second signal does.
        #[serde(default)]
        now: bool,
    },
    /// Go over to another program, in place. Answer: [`Answer::Done`] when its trial has begun; what came of it is in
    /// [`RootStatus::upgrade`] (the link does not outlive root's going over).
    Upgrade {
        /// Its path; none: the one jovis was started from.
        #[serde(default)]
        program: Option<PathBuf>,
    },
    /// How is everything? Answers: [`Answer::Root`], then [`Answer::Hub`] if the hub can.
    Status,
    /// Tell what happens from now on, until I hang up. Answers: events as they are logged in JSON, one a datagram.
    Events {
        /// Of these roles only; none: of all.
        #[serde(default)]
        roles: Vec<Part>,
        /// Of these events only.
        #[serde(default)]
        filter: Filter,
    },
    /// Write all records into the file whose descriptor comes along. Answer: [`Answer::BackedUp`].
    Backup,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The one parent of all.
    Root,
    /// Who decides.
    Hub,
    /// Who carries the bytes.
    Proxy,
}

impl Part {
    /// As it stands in messages and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Hub => "hub",
            Self::Proxy => "proxy",
        }
    }
}

/// What becomes of user servers when jovis goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Servers {
    /// As `shutdown.servers` says, and otherwise as after SIGTERM.
    #[default]
    Default,
    /// They stay.
    Keep,
    /// They go too.
    Stop,
}

/// Which events somebody wants to hear. The default is all that are logged (`log.level`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Least level: `error`, `warn`, `info`, `debug`, `trace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Names of events, any of these; none: all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Fields an event must have with this value.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// What operators hear: `{"answer": "refused", "why": "…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is not done.
    Refused {
        /// Why.
        why: String,
    },
    /// It is done, or (for `stop`) begun.
    Done,
    /// What came of a reload.
    Reloaded(ReloadReport),
    /// Root's half of the status.
    Root(RootStatus),
    /// The hub's half.
    Hub(HubStatus),
    /// The backup is whole and was checked.
    BackedUp {
        /// The number of the newest change in it.
        sequence: u64,
        /// What it holds, in words.
        summary: String,
    },
}

/// Root's half of the status: what it knows without asking anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootStatus {
    /// `hub.name`.
    pub name: String,
    /// Where people reach it.
    pub url: String,
    /// The configuration's file; none: there is none.
    pub file: Option<PathBuf>,
    /// `serving`, or how far a shutdown is.
    pub stage: String,
    /// Root, hub and proxy.
    pub processes: Vec<ProcessStatus>,
    /// User servers in root's table that live.
    pub children: usize,
    /// What came of the newest reload; none: there was none.
    pub reload: Option<ReloadReport>,
    /// The newest upgrade.
    #[serde(default)]
    pub upgrade: UpgradeStatus,
}

/// How far an upgrade is, or what came of the newest one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStatus {
    /// One is under way.
    pub under_way: bool,
    /// Version of the program that was gone over to.
    pub done: Option<String>,
    /// Why the program of before runs on.
    pub refused: Option<String>,
}

/// One role's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Which.
    pub role: Part,
    /// `ready`, `starting`, `silent` (no sign of life), `leaving`, or `waiting` (for its next start).
    pub state: String,
    /// None: there is none.
    pub pid: Option<i32>,
    /// Version of the program, as it said itself.
    pub build: String,
    /// Seconds since it was started.
    pub up_s: Option<u64>,
    /// How often another one was started in its place.
    pub restarts: u32,
    /// How the last one ended; none: none has.
    pub last_exit: Option<String>,
    /// Seconds since then.
    pub last_exit_s: Option<u64>,
}

/// The hub's half of the status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HubStatus {
    /// Version of the program.
    pub build: String,
    /// How many users there are.
    pub users: usize,
    /// How many servers are in each state.
    pub servers: BTreeMap<String, usize>,
    /// How many servers are to be reached by a route of their own, and how many such routes the proxy has; none: it
    /// does not say.
    pub routes_wanted: usize,
    /// See there.
    pub routes: Option<usize>,
    /// The store.
    pub store: StoreStatus,
    /// The actors, in the order of their start.
    #[serde(default)]
    pub actors: Vec<ActorStatus>,
    /// Inputs that were put aside because actors died over them: whose and what.
    #[serde(default)]
    pub aside: Vec<String>,
}

/// One actor of the hub (of the users' spawners: all of them).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ActorStatus {
    /// Its name.
    pub actor: String,
    /// `starting`, `up`, `restarting` or `ended`.
    pub state: String,
    /// How many there are now.
    pub count: usize,
    /// How often it was started again.
    pub restarts: u64,
    /// Asks that were sent and are not answered.
    pub waiting: usize,
    /// How it failed last; none: it has not.
    pub failure: Option<String>,
    /// Seconds since then.
    pub failure_s: Option<u64>,
}

/// The hub's store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Number of the last change that is durable.
    pub sequence: u64,
    /// How many records it holds.
    pub records: usize,
    /// Bytes of its journal.
    pub journal_bytes: u64,
    /// How many snapshots there are.
    pub snapshots: usize,
    /// Seconds since the newest was written.
    pub snapshot_age_s: Option<u64>,
    /// Bytes that are free where it lies.
    pub free_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn requests_are_read_as_people_write_them() {
        let wanted = [
            (r#"{"command":"reload"}"#, Request::Reload),
            (r#"{"command":"restart","role":"hub"}"#, Request::Restart { role: Part::Hub }),
            (r#"{"command":"stop"}"#, Request::Stop { servers: Servers::Default, now: false }),
            (
                r#"{"command":"stop","servers":"keep","now":true}"#,
                Request::Stop { servers: Servers::Keep, now: true },
            ),
            (
                r#"{"command":"events","roles":["proxy"],"filter":{"level":"warn"}}"#,
                Request::Events {
                    roles: vec![Part::Proxy],
                    filter: Filter { level: Some("warn".to_owned()), ..Filter::default() },
                },
            ),
        ];
        for (text, request) in wanted {
            assert_eq!(read(text).unwrap(), request);
            assert_eq!(read(&serde_json::to_string(&request).unwrap()).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_none() {
        for text in [
            "",
            "reload",
            "{}",
            r#"{"command":"reboot"}"#,
            r#"{"command":"restart"}"#,
            r#"{"command":"restart","role":"moon"}"#,
            r#"{"command":"stop","server":"keep"}"#,
            r#"{"command":"stop","servers":"perhaps"}"#,
            r#"{"command":"events","filter":{"lever":"warn"}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
