//! The supervision tree: who is started after whom, and what everybody is given.
//!
//! ```text
//!   tree (gives up → the hub process ends → root starts a new one)
//!    ├─ store        a thread: the one writer
//!    ├─ activity     writes last uses, seldom
//!    ├─ routes       keeps every proxy's table
//!    ├─ spawners     the registry
//!    │   └─ one spawner per user with something going on   (restarted by the registry, each by itself)
//!    ├─ recovery     a task: once all is found again, tables may be called complete
//!    ├─ logins       attempts to sign in
//!    ├─ janitor      removes what has expired
//!    └─ drain        stops servers of the blocked, and for maintenance
//! ```
//!
//! Started from top to bottom, each once the one before is up; stopped from bottom to top. Requests go upwards here
//! only (spawners ask routes and the store; activity, logins and the janitor the store; recovery asks spawners and
//! routes; drain asks spawners), so two actors never wait for each other. Within `spawners` the registry asks a user's spawner, never the
//! reverse.
//!
//! What a panic costs, and from where the next life has its state:
//!
//! | who | is lost | comes back from |
//! |---|---|---|
//! | store | changes in hand: refused or "not known" to their askers | the journal; its queue outlives it |
//! | activity | nothing | the notes, which its clients keep |
//! | routes | nothing that is recorded | the records and the list of proxies; every table is compared anew |
//! | spawners | starts that were admitted and not yet recorded | the records; every user's spawner ends and is made anew |
//! | a user's spawner | nothing that is recorded; the others do not notice | the records, and the spawner by order |
//! | logins | attempts in hand, and what it remembered of failed ones | nowhere: the throttle begins anew |
//! | janitor | its round | nothing: it looks again |
//! | drain | its round | the records: it looks again |
//!
//! The first restart is immediate, the next ones wait up to a second; the sixth exit within ten seconds is given up on
//! ([`Limits`](crate::supervise::Limits)), which ends the tree with its name. Only a user's spawner is never given up
//! on, so that no single user can end the hub: it waits ever longer instead ([`spawners::actor::LONGEST`]).
//!
//! To add an actor: its module with `actor.rs` and `client.rs`, lines in the drawing and the table, a child in
//! [`grow`], a client in [`Tree`], and a test of its panic (`tree/tests.rs`).

use std::{sync::Arc, time::Duration};

use actix::ArbiterHandle;
use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::{
    activity, drain, janitor, logins,
    ports::{Accounts, Clock, Entropy, Journal, Probe, Spawner, StoreError},
    routes, spawner, spawners, store,
    supervise::{
        Chart, ChildSpec, Escalated, Health, Quarantine, Restart, Supervision, Supervisor,
        health::Aside, named,
    },
};

/// How many messages may wait for one actor.
const MAILBOX: usize = 1_000;

/// What an ask may take beyond the limits of what it asks for.
const MARGIN: Duration = Duration::from_secs(5);

/// An ask an actor of the tree died of three times is put aside so long.
const ASIDE: Duration = Duration::from_secs(300);

/// What a shutdown waits for activity to be written.
const FLUSH: Duration = Duration::from_secs(10);

/// What the deciders need from the world.
pub struct Ports {
    /// Where writes become durable.
    pub journal: Box<dyn Journal>,
    /// How people sign in.
    pub ways: logins::Ways,
    /// Accounts of the machine.
    pub accounts: Arc<dyn Accounts>,
    /// How servers are run.
    pub spawner: Arc<dyn Spawner>,
    /// Do they answer?
    pub probe: Arc<dyn Probe>,
    /// What time is it?
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// How the deciders are to behave. What stands in an `ArcSwap` can be replaced while they run, by whoever keeps a
/// clone.
#[derive(Clone)]
pub struct Settings {
    /// The store's queue and patience.
    pub store: store::Settings,
    /// Addresses, fixed while the hub runs.
    pub facts: Arc<spawner::Facts>,
    /// How servers are started.
    pub spawner: Arc<ArcSwap<spawner::Settings>>,
    /// How many there may be.
    pub limits: Arc<ArcSwap<spawners::Limits>>,
    /// Who may enter.
    pub logins: Arc<ArcSwap<logins::Settings>>,
    /// How often last uses are written.
    pub activity_resolution: Arc<ArcSwap<Duration>>,
    /// How routes are kept.
    pub routes: routes::Settings,
    /// How often what has expired is removed.
    pub janitor_period: Duration,
    /// How long tables are not called complete while servers are still being found again.
    pub recovery_patience: Duration,
}

/// The tree does not grow.
#[derive(Debug, Error)]
pub enum GrowError {
    /// The store cannot be opened; the operator must look.
    #[error("the store was not opened")]
    Store(#[source] StoreError),
    /// Opening it panicked.
    #[error("opening the store failed: {0}")]
    Panicked(String),
}

/// All deciders at work: their doors, and the supervision behind them.
pub struct Tree {
    /// All records.
    pub store: store::Client,
    /// Everybody's servers.
    pub spawners: spawners::Client,
    /// Signing in.
    pub logins: logins::Client,
    /// "This was used."
    pub activity: activity::Client,
    /// Route tables; where proxies are added.
    pub routes: routes::Client,
    /// How the users' spawners are doing.
    ward: Chart,
    /// What is put aside.
    aside: Vec<Quarantine<String>>,
    supervision: Supervision,
}

/// Opens the store and starts everybody. Actors live in this arbiter; supervision in the current runtime.
pub async fn grow(
    ports: Ports,
    settings: Settings,
    arbiter: &ArbiterHandle,
) -> Result<Tree, GrowError> {
    let Ports { journal, ways, accounts, spawner, probe, clock, entropy } = ports;
    let of_store = settings.store;
    let opened = tokio::task::spawn_blocking(move || store::open(journal, of_store)).await;
    let (store, writer) = opened
        .map_err(|error| GrowError::Panicked(error.to_string()))?
        .map_err(GrowError::Store)?;

    let notes = activity::client::Notes::default();
    let uses_of_servers = notes.clone();
    let uses = Quarantine::new("activity", ASIDE);
    let (publish, name) = named("activity");
    let activity = activity::Client::new(notes.clone(), name);
    let of_activity = {
        let (store, every) = (store.clone(), settings.activity_resolution);
        let uses = uses.clone();
        ChildSpec::actor("activity", arbiter.clone(), MAILBOX, publish, move |_| {
            activity::Actor::new(notes.clone(), store.clone(), every.clone(), uses.clone())
        })
    };

    let (publish, name) = named("routes");
    let routes = routes::Client::new(name, settings.routes.limit + MARGIN);
    let of_routes = {
        let (store, facts, entropy) = (store.clone(), settings.facts.clone(), entropy.clone());
        let (how, sinks) = (settings.routes, routes::actor::Sinks::default());
        ChildSpec::actor("routes", arbiter.clone(), MAILBOX, publish, move |_| {
            let (store, facts, entropy) = (store.clone(), facts.clone(), entropy.clone());
            routes::Actor::new(store, facts, entropy, how.clone(), sinks.clone())
        })
    };

    let board = spawner::Board::default();
    let ward = spawner::Ward::default();
    let asks = Quarantine::new("spawners", ASIDE);
    let (tell, recovered) = watch::channel(false);
    let (publish, name) = named("spawners");
    let patience = spawners::actor::PATIENCE + MARGIN;
    let (board_too, spawner_too) = (board.clone(), spawner.clone());
    let spawners =
        spawners::Client::new(name, store.clone(), board_too, recovered, spawner_too, patience);
    let of_spawners = {
        let kit = spawner::Kit {
            store: store.clone(),
            spawner,
            probe,
            routes: routes.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            facts: settings.facts,
            settings: settings.spawner,
            board,
            ward: ward.clone(),
        };
        let (limits, asks) = (settings.limits, asks.clone());
        ChildSpec::actor("spawners", arbiter.clone(), MAILBOX, publish, move |_| {
            spawners::Actor::new(kit.clone(), limits.clone(), asks.clone(), tell.clone())
        })
    };
    let of_recovery = recovery(spawners.clone(), routes.clone(), settings.recovery_patience);

    let names = Quarantine::new("logins", ASIDE);
    let (publish, name) = named("logins");
    let standings = logins::Standings::default();
    let logins =
        logins::Client::new(name, settings.logins.clone(), ways.clone(), standings.clone());
    let of_logins = {
        let kit = logins::actor::Kit {
            store: store.clone(),
            ways,
            accounts,
            clock: clock.clone(),
            entropy: entropy.clone(),
            settings: settings.logins.clone(),
            standings,
        };
        let bad = names.clone();
        ChildSpec::actor("logins", arbiter.clone(), MAILBOX, publish, move |_| {
            logins::Actor::new(kit.clone(), bad.clone())
        })
    };

    let period = settings.janitor_period;
    let tools = janitor::Tools {
        store: store.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        period,
    };
    let of_janitor = janitor::child(arbiter.clone(), tools);

    let tools = drain::Tools {
        store: store.clone(),
        spawners: spawners.clone(),
        notes: uses_of_servers,
        clock,
        logins: settings.logins.clone(),
    };
    let of_drain = drain::child(arbiter.clone(), tools);

    let supervision = Supervisor::new("tree", entropy)
        .child(writer)
        .child(of_activity)
        .child(of_routes)
        .child(of_spawners)
        .child(of_recovery)
        .child(of_logins)
        .child(of_janitor)
        .child(of_drain)
        .start();
    let aside = vec![asks, ward.inputs.clone(), names, uses];
    Ok(Tree { store, spawners, logins, activity, routes, ward: ward.chart, aside, supervision })
}

/// Says when the servers that ran before have their routes again; after a while also when some are still looked for:
/// the others must not wait for ever.
fn recovery(spawners: spawners::Client, routes: routes::Client, patience: Duration) -> ChildSpec {
    let task = ChildSpec::task("recovery", move |mut signal| {
        let (spawners, routes) = (spawners.clone(), routes.clone());
        async move {
            let work = async {
                if !spawners.recovered(patience).await {
                    warn!(limit_s = patience.as_secs(), "servers still being found");
                }
                routes.recovered().await.map_err(|error| error.to_string())
            };
            tokio::select! {
                () = signal.asked() => Ok(()),
                done = work => done,
            }
        }
    });
    task.restart(Restart::Transient)
}

impl Tree {
    /// Resolves when somebody was given up on: then the hub's process is to end, for root to start a new one.
    pub async fn ended(&mut self) -> Result<(), Escalated> {
        self.supervision.ended().await
    }

    /// How everybody is doing, in the order of the drawing above; the users' spawners together, after the registry.
    pub fn health(&self) -> Vec<Health> {
        let waiting = |actor| match actor {
            "store" => self.store.waiting(),
            "activity" => self.activity.name.waiting(),
            "routes" => self.routes.name.waiting(),
            "spawners" => self.spawners.name.waiting(),
            "logins" => self.logins.name.waiting(),
            _ => 0,
        };
        let mut all = Vec::new();
        for chart in self.supervision.charts() {
            let health = chart.health(waiting(chart.actor()));
            let registry = health.actor == "spawners";
            all.push(health);
            if registry {
                all.push(self.ward.health(0));
            }
        }
        all
    }

    /// Inputs that actors died of too often: they are skipped for a while, and somebody should look at them.
    pub fn aside(&self) -> Vec<Aside> {
        self.aside.iter().flat_map(Quarantine::aside).collect()
    }

    /// Writes what is only noted, and stops everybody in reverse. User servers live on; who wants them stopped asks
    /// [`spawners::Client::stop_all`] before.
    pub async fn shutdown(self) -> Result<(), Escalated> {
        if let Err(error) = self.activity.flush(FLUSH).await {
            error!(%error, "last activity not written");
        }
        self.supervision.stop().await
    }
}

/// Every message of every actor, as the points they pass ([`crate::supervise::faults`]).
pub fn messages() -> Vec<&'static str> {
    let all = [
        activity::actor::MESSAGES,
        routes::actor::MESSAGES,
        spawners::actor::MESSAGES,
        spawner::actor::MESSAGES,
        logins::actor::MESSAGES,
        janitor::MESSAGES,
        drain::MESSAGES,
    ];
    all.concat()
}

#[cfg(test)]
mod tests;
