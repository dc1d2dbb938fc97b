//! The door to everybody's servers.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    Actor,
    messages::{Ask, Begun, Report, Start, StartRefused, Stop, StopAsk, StopRefused, Trouble},
    queue::Place,
};
use crate::{
    domain::{OrderId, ServerKey, Stopper},
    ports::Spawner,
    spawner::Board,
    store,
    supervise::{Name, Unavailable},
};

/// What the web holds.
#[derive(Clone)]
pub struct Client {
    pub(crate) name: Name<Actor>,
    store: store::Client,
    board: Board,
    recovered: watch::Receiver<bool>,
    spawner: Arc<dyn Spawner>,
    patience: Duration,
}

/// How long a look into a server's output may take.
const LOOK: Duration = Duration::from_secs(5);

impl Client {
    /// The registry of this name, which is given `patience` to answer.
    pub fn new(
        name: Name<Actor>,
        store: store::Client,
        board: Board,
        recovered: watch::Receiver<bool>,
        spawner: Arc<dyn Spawner>,
        patience: Duration,
    ) -> Self {
        Self { name, store, board, recovered, spawner, patience }
    }

    /// Starts this server, or says why not. Answered as soon as the intention is recorded; follow [`Client::report`]
    /// or wait with [`Client::settled`].
    pub async fn start(&self, key: ServerKey, ask: Ask) -> Result<Begun, StartRefused> {
        let message = || Start { key: key.clone(), ask: ask.clone() };
        let answer = self.name.ask(message(), self.patience).await?;
        match answer {
            // The user's actor came to rest or died with the ask in hand. Asking again does no harm: a start that was
            // taken on is "already".
            Err(StartRefused::Unavailable(Unavailable::Died(_) | Unavailable::Restarting(_))) => {
                sleep(Duration::from_millis(100)).await;
                self.name.ask(message(), self.patience).await?
            }
            other => other,
        }
    }

    /// Stops this server (also one that is being started). Answered as soon as the intention is recorded: with its
    /// record, where that is to go, it then goes whatever happens to the hub.
    pub async fn stop(&self, key: ServerKey, ask: StopAsk) -> Result<(), StopRefused> {
        self.name.ask(Stop { key, ask }, self.patience).await?
    }

    /// Waits until the server is neither starting nor stopping, at most so long. True if it is settled.
    pub async fn settled(&self, key: &ServerKey, patience: Duration) -> bool {
        let mut published = self.store.published();
        let settled = || {
            let image = self.store.image();
            image.server(key).is_none_or(|server| server.state.pending().is_none())
        };
        let wait = async {
            loop {
                published.mark_unchanged();
                if settled() {
                    return true;
                }
                if published.changed().await.is_err() {
                    return settled();
                }
            }
        };
        timeout(patience, wait).await.unwrap_or_else(|_| settled())
    }

    /// The steps of the start in hand, or of the last one since the hub is up.
    pub fn report(&self, key: &ServerKey) -> Option<watch::Receiver<Arc<Report>>> {
        self.board.report(key)
    }

    /// Where this server stands among those that wait for room.
    pub fn place(&self, key: &ServerKey) -> Option<Place> {
        self.board.place(key)
    }

    /// The last lines a server that lives has written; empty where there are none. Bounded in time.
    pub async fn log_tail(&self, order: &OrderId, bytes: usize) -> String {
        timeout(LOOK, self.spawner.log_tail(order, bytes)).await.unwrap_or_default()
    }

    /// Why the last start failed or the last life ended, if not on request.
    pub fn trouble(&self, key: &ServerKey) -> Option<Trouble> {
        self.board.trouble(key)
    }

    /// Waits until all servers have been found again after a start of the hub, at most so long. True if they have.
    pub async fn recovered(&self, patience: Duration) -> bool {
        let mut recovered = self.recovered.clone();
        let wait = recovered.wait_for(|all| *all);
        let all = timeout(patience, wait).await.is_ok_and(|seen| seen.is_ok());
        all || *self.recovered.borrow()
    }

    /// Asks every server to stop and waits, at most so long, until none is active. The number of those that still are.
    /// For a shutdown that takes the servers along.
    pub async fn stop_all(&self, patience: Duration) -> usize {
        let active = || {
            let image = self.store.image();
            let active = image.servers().filter(|server| server.state.is_active());
            active.map(|server| server.key.clone()).collect::<Vec<_>>()
        };
        let all = async {
            for key in active() {
                if let Err(error) = self.stop(key.clone(), StopAsk::by(Stopper::Shutdown)).await {
                    let who = self.store.image().called(key.user);
                    warn!(user = who, server = %key.name, %error, "server not stopped");
                }
            }
            let mut published = self.store.published();
            while !active().is_empty() && published.changed().await.is_ok() {}
        };
        let _ = timeout(patience, all).await;
        active().len()
    }
}
