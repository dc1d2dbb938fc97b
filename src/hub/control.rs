//! What operators ask and only the hub knows. Root hands over their sockets; each question is answered by a task of its
//! own within a deadline, and there are only so many at once.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use jovis_actors::{
    domain::ServerState, ports::RouteSink as _, store, supervise::Health, tree::Tree,
};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::{debug, warn};

use crate::{
    channel::Channel,
    ipc::{
        control::{ActorStatus, Answer, HubStatus, Request, StoreStatus},
        frame::FrameError,
    },
    link::proxy::ProxyLink,
    os::fd,
    store::Backups,
    telemetry::chain,
};

/// Most questions at once.
const MOST: usize = 16;
/// How long an answer may take to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the proxy, and the disk, may take to say how they are.
const LOOK: Duration = Duration::from_secs(1);

/// Where answers come from.
#[derive(Clone)]
pub(super) struct Panel {
    store: store::Client,
    backups: Backups,
    proxy: Arc<ArcSwapOption<ProxyLink>>,
    state: PathBuf,
    places: Arc<Semaphore>,
}

impl Panel {
    pub(super) fn new(tree: &Tree, state: PathBuf, backups: Backups) -> Self {
        let (store, places) = (tree.store.clone(), Arc::new(Semaphore::new(MOST)));
        Self { store, backups, proxy: Arc::default(), state, places }
    }

    /// This is the proxy from now on.
    pub(super) fn proxy(&self, link: &Arc<ProxyLink>) {
        self.proxy.store(Some(link.clone()));
    }

    /// Answers by and by. What came along with the question is closed with the answer.
    /// `actors`: how they are at this moment, and what they have put aside.
    pub(super) fn ask(
        &self,
        request: Request,
        asker: OwnedFd,
        fds: Vec<OwnedFd>,
        actors: (Vec<ActorStatus>, Vec<String>),
    ) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let busy = Answer::Refused { why: "the hub answers others".to_owned() };
            let bytes = serde_json::to_vec(&busy).expect("an answer is plain data");
            return drop(fd::send(asker.as_fd(), &bytes, &[]));
        };
        let panel = self.clone();
        tokio::spawn(async move {
            let answer = panel.answer(request, fds, actors).await;
            if let Err(error) = tell(asker, &answer).await {
                debug!(%error, "operator not answered");
            }
            drop(place);
        });
    }

    async fn answer(
        &self,
        request: Request,
        fds: Vec<OwnedFd>,
        (actors, aside): (Vec<ActorStatus>, Vec<String>),
    ) -> Answer {
        match request {
            Request::Status => Answer::Hub(HubStatus { actors, aside, ..self.status().await }),
            Request::Backup => match fds.into_iter().next() {
                Some(to) => self.back_up(to).await,
                None => Answer::Refused { why: "no file came along".to_owned() },
            },
            Request::Reload
            | Request::Restart { .. }
            | Request::Upgrade { .. }
            | Request::Stop { .. }
            | Request::Events { .. } => {
                warn!(said = ?request, "root spoke out of turn");
                Answer::Refused { why: "that is root's affair".to_owned() }
            }
        }
    }

    async fn back_up(&self, to: OwnedFd) -> Answer {
        match self.backups.make(&self.store, to).await {
            Ok(summary) => {
                Answer::BackedUp { sequence: summary.sequence, summary: summary.to_string() }
            }
            Err(error) => Answer::Refused { why: chain(&error).to_string() },
        }
    }

    async fn status(&self) -> HubStatus {
        let image = self.store.image();
        let state = self.state.clone();
        let look = spawn_blocking(move || store_on_disk(&state));
        let mut store = timeout(LOOK, look).await.ok().and_then(Result::ok).unwrap_or_default();
        (store.sequence, store.records) = (*self.store.published().borrow(), image.len());
        let mut status = HubStatus {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            users: image.users().count(),
            store,
            ..HubStatus::default()
        };
        for server in image.servers() {
            status.routes_wanted += usize::from(server.state.is_ready());
            *status.servers.entry(state_name(&server.state).to_owned()).or_default() += 1;
        }
        let proxy = self.proxy.load_full();
        if let Some(proxy) = proxy {
            let routes = timeout(LOOK, proxy.list()).await;
            status.routes = routes.ok().and_then(Result::ok).map(|routes| routes.len());
        }
        status
    }
}

/// How the actors are, and what they have put aside.
pub(super) fn actors(tree: &Tree) -> (Vec<ActorStatus>, Vec<String>) {
    let status = |health: Health| ActorStatus {
        actor: health.actor.to_owned(),
        state: health.state.word().to_owned(),
        count: health.count,
        restarts: health.restarts,
        waiting: health.waiting,
        failure_s: health.last_failure.as_ref().map(|failure| failure.seconds_ago),
        failure: health.last_failure.map(|failure| failure.how),
    };
    let aside = tree.aside().into_iter().map(|aside| format!("{}: {}", aside.actor, aside.input));
    (tree.health().into_iter().map(status).collect(), aside.collect())
}

/// What a look at the files tells.
fn store_on_disk(state: &Path) -> StoreStatus {
    let (journal_bytes, _, _) = files(&state.join("journal"), "").unwrap_or_default();
    let (_, snapshots, newest) = files(&state.join("snapshots"), ".snap").unwrap_or_default();
    let free = statvfs(state).ok();
    StoreStatus {
        journal_bytes,
        snapshots,
        snapshot_age_s: newest.and_then(|when| Some(when.elapsed().ok()?.as_secs())),
        free_bytes: free.map(|it| it.blocks_available() * it.fragment_size()),
        ..StoreStatus::default()
    }
}

/// Bytes, number, and newest time of the files in a folder whose names end so.
fn files(folder: &Path, end: &str) -> io::Result<(u64, usize, Option<SystemTime>)> {
    let mut found = (0, 0, None);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        if kind.is_file() && entry.file_name().to_string_lossy().ends_with(end) {
            found = (found.0 + kind.len(), found.1 + 1, found.2.max(kind.modified().ok()));
        }
    }
    Ok(found)
}

fn state_name(state: &ServerState) -> &'static str {
    match state {
        ServerState::Stopped(_) => "stopped",
        ServerState::Queued { .. } => "queued",
        ServerState::Starting { .. } => "starting",
        ServerState::Probing { .. } => "probing",
        ServerState::Running { .. } => "running",
        ServerState::Stopping { .. } => "stopping",
        ServerState::Waiting { .. } => "waiting",
        ServerState::Failed(_) => "failed",
    }
}

async fn tell(asker: OwnedFd, answer: &impl Serialize) -> Result<(), FrameError> {
    let channel = Channel::new(asker)?;
    timeout(PATIENCE, channel.send(answer, &[])).await.unwrap_or(Err(FrameError::WouldBlock))
}
