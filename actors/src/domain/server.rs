//! A user's server as it is recorded. How it lives is `spawner::machine`.

use serde::{Deserialize, Serialize};

use super::{Moment, OrderId, ServerName, ServiceName, TokenId, UserId, Username};

/// Which server: whose, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerKey {
    /// Whose.
    pub user: UserId,
    /// Its name; empty for the default server.
    pub name: ServerName,
}

/// What a spawner needs to find its server again: bytes only that spawner reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle(pub String);

/// Who else than its owner has a server stopped. By name, as it was then: a record of it outlives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopper {
    /// Another user, who may: an administrator.
    User(Username),
    /// A service.
    Service(ServiceName),
    /// Whoever ends servers that idle or are too old; a user's or a service's name.
    Culler(String),
    /// The same, of one that had not been used for long.
    Idle {
        /// A user's or a service's name.
        by: String,
        /// So long.
        minutes: u64,
    },
    /// The hub, which shuts down and takes its servers along.
    Shutdown,
    /// Whoever has begun maintenance that stops servers; a user's or a service's name.
    Maintenance(String),
    /// The configuration, which blocks its owner.
    Blocked,
}

impl std::fmt::Display for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "stopped by {name}"),
            Self::Service(name) => write!(f, "stopped by the service {name}"),
            Self::Culler(name) => write!(f, "culled by {name}"),
            Self::Idle { by, minutes } => write!(f, "culled by {by} after {minutes} minutes idle"),
            Self::Shutdown => write!(f, "stopped together with the hub"),
            Self::Maintenance(name) => write!(f, "stopped for maintenance by {name}"),
            Self::Blocked => write!(f, "stopped: its user is blocked"),
        }
    }
}

/// Why a server ended or did not start. Shown to its user, in the API, in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its owner asked for it. In records of before [`Stopper`] was: anybody.
    Stopped,
    /// Somebody else did.
    StoppedBy(Stopper),
    /// The process ended by itself with this status.
    Exited(i32),
    /// The process was ended by this signal.
    Signalled(i32),
    /// The system killed the process because memory ran out.
    OutOfMemory,
    /// It ended while nobody watched; how is unknown.
    Vanished,
    /// The spawner refused: the user or the operator can mend it.
    Refused(String),
    /// The spawner failed.
    SpawnFailed(String),
    /// The spawner did not produce a server in time (seconds).
    StartTimeout(u64),
    /// The server did not answer over HTTP in time (seconds).
    HttpTimeout(u64),
    /// Somebody else listens on its port.
    PortTaken(u16),
    /// The hub ended between the intention and the act.
    Interrupted,
    /// Nothing could be recorded, so nothing was done.
    NotRecorded(String),
}

impl Cause {
    /// It was asked for by its owner, or by somebody else.
    pub fn asked(by: Option<Stopper>) -> Self {
        by.map_or(Self::Stopped, Self::StoppedBy)
    }

    /// Was it asked for, by whomever? Then nothing went wrong.
    pub fn is_asked_for(&self) -> bool {
        matches!(self, Self::Stopped | Self::StoppedBy(_))
    }

    /// In a word or two, always the same for the same kind of end: for logs, metrics and the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::StoppedBy(Stopper::User(_)) => "stopped by another user",
            Self::StoppedBy(Stopper::Service(_)) => "stopped by a service",
            Self::StoppedBy(Stopper::Culler(_) | Stopper::Idle { .. }) => "culled",
            Self::StoppedBy(Stopper::Shutdown) => "shutdown",
            Self::StoppedBy(Stopper::Maintenance(_)) => "maintenance",
            Self::StoppedBy(Stopper::Blocked) => "user blocked",
            Self::Exited(_) => "exit code",
            Self::Signalled(_) => "signal",
            Self::OutOfMemory => "out of memory",
            Self::Vanished => "unknown",
            Self::Refused(_) => "refused",
            Self::SpawnFailed(_) => "spawner failed",
            Self::StartTimeout(_) => "start timeout",
            Self::HttpTimeout(_) => "http timeout",
            Self::PortTaken(_) => "port taken",
            Self::Interrupted => "interrupted",
            Self::NotRecorded(_) => "not recorded",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => write!(f, "stopped on request"),
            Self::StoppedBy(who) => write!(f, "{who}"),
            Self::Exited(code) => write!(f, "the server process exited with status {code}"),
            Self::Signalled(9) => write!(f, "the server process was killed (signal 9)"),
            Self::Signalled(signal) => write!(f, "the server process was ended by signal {signal}"),
            Self::OutOfMemory => write!(f, "the server process was killed: out of memory"),
            Self::Vanished => write!(f, "the server ended while the hub was not watching"),
            Self::Refused(why) | Self::SpawnFailed(why) => write!(f, "{why}"),
            Self::StartTimeout(s) => {
                write!(f, "the server process did not come to life within {s} seconds")
            }
            Self::HttpTimeout(s) => {
                write!(f, "the server started but did not answer within {s} seconds")
            }
            Self::PortTaken(port) => write!(f, "somebody else listens on port {port}"),
            Self::Interrupted => write!(f, "the hub restarted before the server was started"),
            Self::NotRecorded(why) => write!(f, "the start could not be recorded: {why}"),
        }
    }
}

/// How far a server is, as recorded. The machine's transient states are recorded before the act they announce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerState {
    /// Not running. With the reason of the last end, if there was a life before.
    Stopped(Option<Cause>),
    /// To be started as soon as there is room; no order yet.
    Queued {
        /// Since when it waits: that is its place in the queue.
        since: Moment,
    },
    /// An order was given; whether the act happened only the spawner knows.
    Starting {
        /// The act's id.
        order: OrderId,
    },
    /// The spawner has produced it; we wait for its first answer, then route it.
    Probing {
        /// The act's id.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens: `http://127.0.0.1:20001`.
        url: String,
    },
    /// In service.
    Running {
        /// The act's id.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens.
        url: String,
    },
    /// To be ended; nothing routes to it any more.
    Stopping {
        /// The act's id.
        order: OrderId,
        /// How to find it; none if it was being started.
        handle: Option<Handle>,
        /// Why.
        cause: Cause,
        /// Once it has ended its record is to go, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        remove: bool,
    },
    /// Died, and will be started again at this moment.
    Waiting {
        /// When.
        until: Moment,
        /// What happened.
        cause: Cause,
    },
    /// Died too often; only a person's start leaves this.
    Failed(Cause),
}

impl ServerState {
    /// The order in hand, if any.
    pub fn order(&self) -> Option<&OrderId> {
        match self {
            Self::Starting { order }
            | Self::Probing { order, .. }
            | Self::Running { order, .. }
            | Self::Stopping { order, .. } => Some(order),
            Self::Stopped(_) | Self::Queued { .. } | Self::Waiting { .. } | Self::Failed(_) => None,
        }
    }

    /// Is it in service?
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// `pending` on the wire: `spawn`, `stop` or nothing.
    pub fn pending(&self) -> Option<&'static str> {
        match self {
            Self::Queued { .. }
            | Self::Starting { .. }
            | Self::Probing { .. }
            | Self::Waiting { .. } => Some("spawn"),
            // Ended only to be started on another port: the start is still under way.
            Self::Stopping { cause: Cause::PortTaken(_), .. } => Some("spawn"),
            Self::Stopping { .. } => Some("stop"),
            Self::Stopped(_) | Self::Running { .. } | Self::Failed(_) => None,
        }
    }

    /// Ready or pending.
    pub fn is_active(&self) -> bool {
        self.is_ready() || self.pending().is_some()
    }

    /// Why it is not running, where there is something to say.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Stopped(cause) => cause.as_ref(),
            Self::Stopping { cause, .. } | Self::Waiting { cause, .. } | Self::Failed(cause) => {
                Some(cause)
            }
            Self::Queued { .. }
            | Self::Starting { .. }
            | Self::Probing { .. }
            | Self::Running { .. } => None,
        }
    }

    /// Does it wait for room? Then it counts as pending on the wire, and takes no place yet.
    pub fn is_queued(&self) -> bool {
        matches!(self, Self::Queued { .. })
    }
}

/// A server's record. The default server of a user need not have one before its first start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Which.
    pub key: ServerKey,
    /// For people; empty for the default server.
    pub display_name: String,
    /// How far it is.
    pub state: ServerState,
    /// When the current or last life began.
    pub started: Option<Moment>,
    /// Last use.
    pub last_activity: Option<Moment>,
    /// What the user chose at the last start.
    pub user_options: Option<serde_json::Value>,
    /// Its own API token, while it lives.
    pub token: Option<TokenId>,
    /// `X-JupyterHub-Version` it answered its probe with.
    pub version: Option<String>,
    /// Deaths within the last five minutes, newest last: the restart policy's memory.
    pub deaths: Vec<Moment>,
}

impl Server {
    /// A server that has never been started.
    pub fn new(key: ServerKey) -> Self {
        Self {
            key,
            display_name: String::new(),
            state: ServerState::Stopped(None),
            started: None,
            last_activity: None,
            user_options: None,
            token: None,
            version: None,
            deaths: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_told_apart_by_who_asked_and_is_never_trouble() {
        let eve = Username::new("eve").unwrap();
        let grader = ServiceName::new("grader").unwrap();
        for (by, kind, words) in [
            (None, "stopped", "stopped on request"),
            (Some(Stopper::User(eve)), "stopped by another user", "stopped by eve"),
            (
                Some(Stopper::Service(grader)),
                "stopped by a service",
                "stopped by the service grader",
            ),
            (Some(Stopper::Culler("idle".to_owned())), "culled", "culled by idle"),
            (
                Some(Stopper::Idle { by: "idle".to_owned(), minutes: 60 }),
                "culled",
                "culled by idle after 60 minutes idle",
            ),
            (Some(Stopper::Shutdown), "shutdown", "stopped together with the hub"),
            (
                Some(Stopper::Maintenance("root".to_owned())),
                "maintenance",
                "stopped for maintenance by root",
            ),
            (Some(Stopper::Blocked), "user blocked", "stopped: its user is blocked"),
        ] {
            let cause = Cause::asked(by);
            assert!(cause.is_asked_for());
            assert_eq!((cause.kind(), &*cause.to_string()), (kind, words));
            let text = serde_json::to_string(&cause).unwrap();
            assert_eq!(serde_json::from_str::<Cause>(&text).unwrap(), cause);
        }
        assert!(!Cause::Signalled(9).is_asked_for(), "whoever killed it did not ask");
    }

    #[test]
    fn records_of_before_the_asker_was_kept_load() {
        let state: ServerState = serde_json::from_str(r#"{"Stopped":"Stopped"}"#).unwrap();
        assert_eq!(state, ServerState::Stopped(Some(Cause::Stopped)));
    }
}
