//! How servers are run. *When* is the business of [`crate::spawner`].

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Boxed;
pub use crate::domain::server::Handle;
use crate::domain::{OrderId, Secret, ServerName, Username, options::Chosen, profile::Overrides};

/// One act of starting, with all that is needed for it.
#[derive(Debug, Clone)]
pub struct Order {
    /// The key to exactly-once.
    pub id: OrderId,
    /// Whose server.
    pub user: Username,
    /// Which one.
    pub server: ServerName,
    /// Path prefix with slashes at both ends, escaped: `/user/alice/`.
    pub prefix: String,
    /// `JUPYTERHUB_*` and what else the hub gives, without the address (`JUPYTERHUB_SERVICE_URL`), which the spawner
    /// adds. Holds the API token: not for logs.
    pub env: Secret<EnvVars>,
    /// What the user chose, as it came where nothing is offered to choose from.
    pub options: Option<serde_json::Value>,
    /// The same as a choice of what is offered.
    pub chosen: Option<Chosen>,
    /// What that sets, filled in. Environment and limits are in `env` already.
    pub overrides: Overrides,
}

/// Environment variables that are wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvVars(pub BTreeMap<String, String>);

impl zeroize::Zeroize for EnvVars {
    fn zeroize(&mut self) {
        self.0.values_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// A server the spawner has produced. It need not answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// How to find it again.
    pub handle: Handle,
    /// Where it listens: `http://127.0.0.1:20001` (no path).
    pub url: String,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed because memory ran out: the machine's, or what its group may have.
    OutOfMemory,
    /// Nobody saw how.
    Unknown,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// The spawner has never heard of it: the act did not happen (and will not).
    Unknown,
    /// It lives.
    Alive(Started),
    /// It lived and ended.
    Ended(Exit),
}

/// How urgently to end a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ask, wait, insist, wait, kill.
    Soft,
    /// At once.
    Hard,
}

/// Why a spawner could not.
#[derive(Debug, Clone, Error)]
pub enum SpawnError {
    /// The user or the operator can mend it; the text is for them.
    #[error("{0}")]
    Refused(String),
    /// Something failed; the text is for the log and, shortened, for the page.
    #[error("{0}")]
    Failed(String),
}

/// Where a spawner reports what it is doing, in a sentence for the person who waits. Never blocks.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(String) + Send + Sync>);

impl Progress {
    /// Sentences go to this function.
    pub fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Says one sentence.
    pub fn tell(&self, sentence: impl Into<String>) {
        (self.0)(sentence.into());
    }
}

/// A way to run servers. Every method may be called again after a crash with the same arguments.
pub trait Spawner: Send + Sync {
    /// Does the act once per order, however often it is asked.
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>>;
    /// What became of this order, after we lost sight of it.
    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        handle: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>>;
    /// Resolves when the server has ended. Polling, where there is any, hides in here.
    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>>;
    /// Ends it; returns when it has ended. Stopping what has ended is no error.
    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        handle: &'a Handle,
        how: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>>;
    /// The hub has recorded the end of this order: it may be forgotten.
    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()>;
    /// The last lines of the server's own output, at most `bytes` of them; empty where there is none.
    fn log_tail<'a>(&'a self, order: &'a OrderId, bytes: usize) -> Boxed<'a, String>;
    /// Every order the spawner knows that lives now, for finding orphans.
    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>>;
}

/// Why a server did not answer its probe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Not now: worth asking again.
    #[error("{0}")]
    NotYet(String),
    /// Somebody else's process listens where the server should: no answer from there may be believed.
    #[error("a process of uid {uid} listens there")]
    Stranger {
        /// Whose process it is.
        uid: u32,
    },
}

/// Is this server answering? Asked by the machine's driver before a route is set.
pub trait Probe: Send + Sync {
    /// `GET url + prefix + "api"`: the `X-JupyterHub-Version` it answered with (empty if none) once any status below
    /// 500 arrives, if the listener is the server's own as far as one can tell. One attempt, bounded in time.
    fn probe<'a>(&'a self, url: &'a str, prefix: &'a str) -> Boxed<'a, Result<String, ProbeError>>;
}
