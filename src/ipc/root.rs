//! Hub ↔ root and proxy ↔ root.

use std::collections::BTreeMap;

use jovis_actors::{
    domain::{OrderId, ServerName, Username, options::Chosen},
    ports::Exit,
};
use serde::{Deserialize, Serialize};

use super::reload::ReloadOutcome;
use crate::os::process::StepFailed;

/// Hub to root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HubSays {
    /// First of all.
    Hello(super::Hello),
    /// I serve.
    Ready,
    /// I live (answer to [`RootSays::Ping`]).
    Pong,
    /// Who lives, and who ended without being forgotten? Answer: [`RootSays::Children`].
    Children,
    /// Start a user server. With it comes the descriptor of its log file. Answers: [`RootSays::Spawned`],
    /// [`RootSays::Denied`], [`RootSays::Failed`]. An order that root knows already is answered, not started again.
    Spawn {
        /// The act's id.
        order: OrderId,
        /// Account to run as.
        user: Username,
        /// For the log.
        server: ServerName,
        /// Values for names on root's list; nothing else is accepted.
        env: BTreeMap<String, String>,
        /// Values for the holes of root's templates: `username`, `base_url`, `port`.
        holes: BTreeMap<String, String>,
        /// What was chosen of what root's configuration offers; root works out by itself what that sets.
        #[serde(default)]
        chosen: Option<Chosen>,
    },
    /// Start a service of the configuration, whose program root knows. With it comes the descriptor of its log file.
    /// Answers as to [`HubSays::Spawn`]; denied, while another process of that service lives.
    Serve {
        /// The act's id.
        order: OrderId,
        /// Its name.
        service: String,
        /// Values for names on root's list; nothing else is accepted.
        env: BTreeMap<String, String>,
    },
    /// Send a signal to a server's process. Answers: [`RootSays::Done`], [`RootSays::Denied`].
    Signal {
        /// Which.
        order: OrderId,
        /// How hard.
        how: SignalKind,
    },
    /// Its end is recorded: drop it from the table. Answer: [`RootSays::Done`].
    Forget {
        /// Which.
        order: OrderId,
    },
    /// Check a password by PAM in a fresh helper. With it comes the reading end of a pipe that holds the password;
    /// and, where the configuration asks for one, a NUL byte and a one-time code.
    /// Answers: [`RootSays::PamVerdict`], [`RootSays::Denied`].
    Pam {
        /// As typed.
        user: String,
        /// Where from.
        rhost: Option<String>,
    },
    /// Is there an account of this name on the machine? Where root's configuration says so, it is made. Answers:
    /// [`RootSays::Account`], [`RootSays::Denied`].
    Account {
        /// Somebody the hub lets in.
        user: Username,
    },
    /// A reload was applied (or not).
    Reloaded(ReloadOutcome),
    /// Whoever may has asked the hub to have all of jovis ended. Answers: [`RootSays::Done`] (it has begun),
    /// [`RootSays::Denied`].
    Stop {
        /// Do user servers go too? None: as `shutdown.servers` says.
        servers: Option<bool>,
    },
}

/// How to end a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalKind {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL, to the whole session where possible.
    Kill,
}

/// One child in root's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The act that made it.
    pub order: OrderId,
    /// Its process.
    pub pid: i32,
    /// Start time of that process in clock ticks since boot (field 22 of /proc/PID/stat).
    pub since: u64,
    /// How it ended; none: it lives.
    pub exit: Option<Exit>,
    /// The service it is; none: a user's server.
    #[serde(default)]
    pub service: Option<String>,
}

/// Root to hub. (Root to proxy: [`RootToProxy`].)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RootSays {
    /// First of all. With it come: the hub's slice of the configuration (memfd), the state directory, the hub's
    /// listening sockets, and the proxy's end of the hub link, in the order [`Given`] tells.
    Hello {
        /// Version and so on.
        hello: super::Hello,
        /// What the descriptors are, in their order.
        given: Vec<Given>,
    },
    /// A fresh link to a (new) proxy; the descriptor comes with it.
    Proxy,
    /// Answer with [`HubSays::Pong`].
    Ping,
    /// Answer to [`HubSays::Children`]: a memfd with a JSON list of [`Child`] comes with it.
    Children,
    /// Answer: the server's process is there.
    Spawned {
        /// The act.
        order: OrderId,
        /// Its process.
        pid: i32,
    },
    /// Answer: root will not. The text is for the log and the page.
    Denied {
        /// Why.
        why: String,
    },
    /// Answer: a step on the way to exec failed.
    Failed {
        /// Which step (`look up user`, `setgroups`, `exec jupyterhub-singleuser`, …).
        step: String,
        /// The operating system's number.
        errno: i32,
    },
    /// Answer: done.
    Done,
    /// Event: this child has ended. A bell; the table is the truth.
    Exited {
        /// Which.
        order: OrderId,
        /// How.
        exit: Exit,
    },
    /// Answer: what PAM said.
    PamVerdict(super::helper::Verdict),
    /// Answer: what became of the account.
    Account(super::account::Finding),
    /// Event: from now on these are the listeners of the hub's API; their descriptors come with it. One that is not
    /// among them is closed.
    Listen,
    /// Event: a new configuration slice (memfd comes with it), then, with `log.file`, that file opened anew. Its number
    /// comes back with the outcome.
    Reload {
        /// Which reload.
        serial: u64,
    },
    /// Event: an operator asks this; the operator's socket comes with it, then what came along with the request.
    Control(super::control::Request),
    /// Event: somebody wants to hear what happens; the descriptor to tell it into comes with it.
    Tap(super::control::Filter),
    /// Event: go soon. The next hub waits for the store, and people for that.
    Retire,
    /// Event: go.
    Stop {
        /// Soft first, then hard.
        hard: bool,
        /// Do user servers go too?
        servers: bool,
    },
}

impl From<StepFailed> for RootSays {
    fn from(StepFailed { step, errno }: StepFailed) -> Self {
        Self::Failed { step, errno }
    }
}

/// What a descriptor that comes with a `Hello` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// Sealed memfd with the role's slice of the configuration as JSON.
    Config,
    /// The state directory (hub).
    State,
    /// TCP listener of the hub's API (hub); several, where servers call older addresses.
    HubApi,
    /// Unix listener that only the proxy can connect to (hub).
    HubInner,
    /// A public TCP listener (proxy); several.
    Public,
    /// The folder for certificates that it gets by itself (proxy).
    Acme,
}

/// Root to proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RootToProxy {
    /// First of all, with descriptors.
    Hello {
        /// Version and so on.
        hello: super::Hello,
        /// What the descriptors are, in their order.
        given: Vec<Given>,
    },
    /// A fresh link to a (new) hub; the descriptor comes with it.
    Peer,
    /// Answer with [`ProxyToRoot::Pong`].
    Ping,
    /// Event: from now on these are the public listeners; their descriptors come with it. One that is not among them
    /// takes in who waits there and is closed; connections stay.
    Listen,
    /// Event: a new configuration slice (memfd comes with it), then, with `log.file`, that file opened anew. Its number
    /// comes back with the outcome.
    Reload {
        /// Which reload.
        serial: u64,
        /// Is the last descriptor the folder for certificates that it gets by itself?
        #[serde(default)]
        acme: bool,
    },
    /// Event: somebody wants to hear what happens; the descriptor to tell it into comes with it.
    Tap(super::control::Filter),
    /// Event: another proxy has taken over. Let nobody in, keep who is there until they leave (`proxy.upgrade_drain`),
    /// then go.
    Retire,
    /// Event: go.
    Stop {
        /// Soft (drain) first, then hard.
        hard: bool,
    },
}

/// Proxy to root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProxyToRoot {
    /// First of all.
    Hello(super::Hello),
    /// I accept.
    Ready,
    /// I live.
    Pong,
    /// A reload was applied (or not).
    Reloaded(ReloadOutcome),
}
