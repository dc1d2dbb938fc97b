//! What operators ask and only the hub knows. Root hands over their sockets; each question is answered by a task of its
//! own within a deadline, and there are only so many at once.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use jovis_actors::{domain::ServerState, store, tree::Tree};
use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, warn};

use crate::{
    channel::Channel,
    ipc::{
        control::{Answer, HubStatus, Request, StoreStatus},
        frame::FrameError,
    },
    os::fd,
};

/// Most questions at once.
const MOST: usize = 16;
/// How long an answer may take to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where answers come from.
#[derive(Clone)]
pub(super) struct Panel {
    store: store::Client,
    places: Arc<Semaphore>,
}

impl Panel {
    pub(super) fn new(tree: &Tree) -> Self {
        Self { store: tree.store.clone(), places: Arc::new(Semaphore::new(MOST)) }
    }

    /// Answers by and by. What came along with the question is closed with the answer.
    pub(super) fn ask(&self, request: Request, asker: OwnedFd, fds: Vec<OwnedFd>) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let busy = Answer::Refused { why: "the hub answers others".to_owned() };
            let bytes = serde_json::to_vec(&busy).expect("an answer is plain data");
            return drop(fd::send(asker.as_fd(), &bytes, &[]));
        };
        let panel = self.clone();
        tokio::spawn(async move {
            let answer = panel.answer(request).await;
            if let Err(error) = tell(asker, &answer).await {
                debug!(%error, "operator not answered");
            }
            drop((place, fds));
        });
    }

    async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Hub(self.status()),
            Request::Reload | Request::Restart { .. } | Request::Stop { .. } => {
                warn!(said = ?request, "root spoke out of turn");
                Answer::Refused { why: "that is root's affair".to_owned() }
            }
        }
    }

    fn status(&self) -> HubStatus {
        let image = self.store.image();
        let mut status = HubStatus {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            users: image.users().count(),
            store: StoreStatus { sequence: *self.store.published().borrow(), records: image.len() },
            ..HubStatus::default()
        };
        for server in image.servers() {
            *status.servers.entry(state(&server.state).to_owned()).or_default() += 1;
        }
        status
    }
}

fn state(state: &ServerState) -> &'static str {
    match state {
        ServerState::Stopped(_) => "stopped",
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
