//! What root takes along when it becomes another program: its whole table as JSON in a sealed memory file, and every
//! descriptor under the number it has. The next program copies what it needs and closes the first ones only when it has
//! understood everything, so that until then the old program could take all of it back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use jovis_actors::domain::OrderId;
use serde::{Deserialize, Serialize};

use super::{
    children::Entry,
    sockets::{Api, Sockets},
};
use crate::{
    config::Config,
    ipc::{account::AccountQuestion, helper::Question},
    os::{fd, reexec},
};

/// Of this form. Another program's is refused: then jovis must be restarted.
pub(super) const FORM: u32 = 1;

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Baggage {
    /// [`FORM`].
    pub(super) form: u32,
    /// Version of the program that wrote it.
    pub(super) build: String,
    /// Where the new program lies, and the one before.
    pub(super) program: PathBuf,
    pub(super) before: PathBuf,
    /// The configuration it ran by.
    pub(super) config: Config,
    /// Its environment, for the way back.
    pub(super) env: Vec<(String, String)>,
    pub(super) umask: u32,
    pub(super) open_files: (u64, u64),
    pub(super) servers_oom: i32,
    /// The runtime directory, and its lock.
    pub(super) run: PathBuf,
    pub(super) lock: RawFd,
    /// The control socket.
    pub(super) control: RawFd,
    pub(super) state: RawFd,
    pub(super) sockets: SocketsAway,
    /// Servers; and was their parent an earlier root?
    pub(super) children: BTreeMap<OrderId, (Entry, bool)>,
    pub(super) births: Vec<BirthAway>,
    pub(super) checks: Vec<CheckAway>,
    pub(super) questions: Vec<QuestionAway>,
    /// Accounts that are asked for.
    #[serde(default)]
    pub(super) newcomers: Vec<(AccountQuestion, Vec<Option<u64>>)>,
    pub(super) hub: Option<RoleAway>,
    pub(super) proxy: Option<RoleAway>,
    pub(super) leaving: Vec<RoleAway>,
    /// jovis has been called ready.
    pub(super) announced: bool,
    /// All the numbers above, and the new program's own.
    pub(super) all: Vec<RawFd>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SocketsAway {
    public: Vec<RawFd>,
    apis: Vec<ApiAway>,
    hub_inner: RawFd,
    inner_path: PathBuf,
    url: String,
    api_url: String,
}

/// A listener of the hub's API.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ApiAway {
    pub(super) fd: RawFd,
    pub(super) address: SocketAddr,
    pub(super) told: BTreeSet<String>,
    /// For how long it has been an old one.
    pub(super) old_ms: Option<u64>,
}

/// A server between fork and exec.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BirthAway {
    pub(super) order: OrderId,
    pub(super) report: RawFd,
    pub(super) left_ms: u64,
    pub(super) asked: Vec<Option<u64>>,
}

/// A password check under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckAway {
    pub(super) id: Option<u64>,
    pub(super) link: RawFd,
    pub(super) pid: i32,
    pub(super) since: u64,
    pub(super) pidfd: RawFd,
    pub(super) left_ms: u64,
    pub(super) limit_ms: u64,
}

/// One that waits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct QuestionAway {
    pub(super) id: Option<u64>,
    pub(super) question: Question,
    pub(super) pipe: RawFd,
    pub(super) left_ms: u64,
}

/// A hub or proxy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RoleAway {
    pub(super) pid: i32,
    pub(super) link: RawFd,
    /// What it has not read yet.
    pub(super) waiting: VecDeque<(Vec<u8>, Vec<RawFd>)>,
    pub(super) greeted: bool,
    /// For how long it has served.
    pub(super) ready_ms: Option<u64>,
}

/// Notes which descriptors go along.
#[derive(Debug, Default)]
pub(super) struct Packer(pub(super) Vec<RawFd>);

impl Packer {
    /// It goes along, under this number.
    pub(super) fn pack(&mut self, fd: &impl AsFd) -> RawFd {
        let number = fd.as_fd().as_raw_fd();
        self.0.push(number);
        number
    }

    /// All sockets do.
    pub(super) fn sockets(&mut self, sockets: &Sockets) -> SocketsAway {
        let Sockets { public, apis, hub_inner, inner_path, url, api_url } = sockets;
        SocketsAway {
            public: public.iter().map(|fd| self.pack(fd)).collect(),
            apis: apis.iter().map(|api| api.away(self)).collect(),
            hub_inner: self.pack(hub_inner),
            inner_path: inner_path.clone(),
            url: url.clone(),
            api_url: api_url.clone(),
        }
    }
}

impl SocketsAway {
    /// The sockets again. They must be what they are said to be.
    pub(super) fn unpack(self) -> io::Result<Sockets> {
        let public: io::Result<Vec<OwnedFd>> = self.public.into_iter().map(listener).collect();
        let apis: io::Result<_> = self.apis.into_iter().map(Api::bring_back).collect();
        Ok(Sockets {
            public: public?,
            apis: apis?,
            hub_inner: listener(self.hub_inner)?,
            inner_path: self.inner_path,
            url: self.url,
            api_url: self.api_url,
        })
    }
}

/// A listening socket, and nothing else.
pub(super) fn listener(number: RawFd) -> io::Result<OwnedFd> {
    let fd = reexec::copy(number)?;
    let what = io::Error::other("a descriptor is no listening socket");
    if reexec::listens(&fd) { Ok(fd) } else { Err(what) }
}

/// A moment as time from now.
pub(super) fn left(until: Instant, now: Instant) -> u64 {
    millis(until.saturating_duration_since(now))
}

/// In milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Reads it; the memory file stays as it is, for another reader.
pub(super) fn read(number: RawFd) -> Result<Baggage, String> {
    let wrong = |error: String| format!("the table of the running jovis cannot be read: {error}");
    let file = reexec::copy(number).map_err(|error| wrong(error.to_string()))?;
    let bytes = fd::read_sealed(file, crate::ipc::frame::SEALED_LIMIT);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    #[derive(Deserialize)]
    struct Form {
        form: u32,
    }
    let Form { form } = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if form != FORM {
        return Err(format!(
            "the table of the running jovis has form {form}, this program reads {FORM}: stop the one and start the other"
        ));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}
