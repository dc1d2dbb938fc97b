//! Who supervises whom: the whole tree on one page.
//!
//! ```text
//! hub (one for one, in this order; stopped in reverse)
//! ├─ store        a thread of its own: the one writer
//! ├─ activity     last-use times, written together
//! ├─ routes       wanted routes; a reconciling loop per proxy
//! ├─ logins       attempts to sign in
//! ├─ spawners     the registry: limits, and below it, made when needed,
//! │    └─ spawner of alice, of bob, …   a state machine per server
//! ├─ recovery     says once that everything that ran has been found again
//! └─ janitor      deletes what has expired
//! ```
//!
//! A child that dies is started again with backoff; too often within its period, and the tree ends with an error: then
//! the hub process ends, and root starts it anew. Everybody holds clients (doors), never actors.

use std::{sync::Arc, time::Duration};

use actix::ArbiterHandle;
use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    activity, janitor, logins,
    ports::{Authenticator, Clock, Entropy, Probe, Spawner},
    routes, spawner, spawners, store,
    supervise::{ChildSpec, Escalated, Restart, Supervision, Supervisor, named},
};

/// Mailbox of an actor that many ask at once.
const MAILBOX: usize = 1_024;

/// How long an actor is given to answer (its own deadlines are shorter).
const PATIENCE: Duration = Duration::from_secs(20);

/// How long recovery may take before the tree goes on without waiting for the rest.
const RECOVERY: Duration = Duration::from_secs(60);

/// The world, as the tree needs it.
#[derive(Clone)]
pub struct Ports {
    /// Who is it?
    pub authenticator: Arc<dyn Authenticator>,
    /// How servers are run.
    pub spawner: Arc<dyn Spawner>,
    /// Do they answer?
    pub probe: Arc<dyn Probe>,
    /// What time is it?
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// What can change while the tree lives: each actor reads its own anew when it needs it.
#[derive(Clone, Default)]
pub struct Settings {
    /// How user servers are started.
    pub spawner: Arc<ArcSwap<spawner::Settings>>,
    /// How many may be.
    pub limits: Arc<ArcSwap<spawners::Limits>>,
    /// Who may sign in.
    pub logins: Arc<ArcSwap<logins::Settings>>,
    /// How often last-use times are written.
    pub activity_resolution: Arc<ArcSwap<Duration>>,
}

/// What is fixed for the life of the process.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// Where everything is.
    pub facts: spawner::Facts,
    /// Passwords that may be checked at once.
    pub checks: usize,
}

/// The living tree, and the doors into it.
pub struct Tree {
    /// The records.
    pub store: store::Client,
    /// Attempts to sign in.
    pub logins: logins::Client,
    /// Everybody's servers.
    pub spawners: spawners::Client,
    /// The route tables.
    pub routes: routes::Client,
    /// Last-use times.
    pub activity: activity::Client,
    supervision: Supervision,
}

/// Starts everything, on these arbiters (at least one). `store` and its child come from [`store::open`].
pub fn grow(
    (store, writer): (store::Client, ChildSpec),
    ports: Ports,
    settings: Settings,
    fixed: Fixed,
    arbiters: &[ArbiterHandle],
) -> Tree {
    let arbiter = |turn: usize| arbiters[turn % arbiters.len()].clone();
    let facts = Arc::new(fixed.facts);
    let Ports { clock, entropy, .. } = ports.clone();

    let (published, name) = named("activity");
    let notes = activity::Notes::default();
    let activity = activity::Client::new(notes.clone(), name);
    let activity_child = {
        let (store, resolution) = (store.clone(), settings.activity_resolution.clone());
        ChildSpec::actor("activity", arbiter(0), MAILBOX, published, move |_| {
            activity::Actor::new(notes.clone(), store.clone(), resolution.clone())
        })
    };

    let (published, name) = named("routes");
    let routes = routes::Client::new(name, PATIENCE);
    let routes_child = {
        let (store, facts, entropy) = (store.clone(), facts.clone(), entropy.clone());
        let sinks = routes::Sinks::default();
        ChildSpec::actor("routes", arbiter(1), MAILBOX, published, move |_| {
            let settings = routes::Settings::default();
            routes::Actor::new(
                store.clone(),
                facts.clone(),
                entropy.clone(),
                settings,
                sinks.clone(),
            )
        })
    };

    let (published, name) = named("logins");
    let logins = logins::Client::new(name, Duration::from_secs(120));
    let logins_child = {
        let kit = logins::Kit {
            store: store.clone(),
            authenticator: ports.authenticator,
            clock: clock.clone(),
            entropy: entropy.clone(),
            settings: settings.logins,
        };
        let checks = fixed.checks;
        ChildSpec::actor("logins", arbiter(0), MAILBOX, published, move |_| {
            logins::Actor::new(kit.clone(), checks)
        })
    };

    let (published, name) = named("spawners");
    let (tell, recovered) = watch::channel(false);
    let board = spawner::Board::default();
    let spawners = spawners::Client::new(name, store.clone(), board.clone(), recovered, PATIENCE);
    let spawners_child = {
        let kit = spawner::Kit {
            store: store.clone(),
            spawner: ports.spawner,
            probe: ports.probe,
            routes: routes.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            facts,
            settings: settings.spawner,
            board,
        };
        let limits = settings.limits;
        ChildSpec::actor("spawners", arbiter(1), MAILBOX, published, move |_| {
            spawners::Actor::new(kit.clone(), limits.clone(), tell.clone())
        })
    };

    let recovery_child = {
        let (spawners, routes) = (spawners.clone(), routes.clone());
        ChildSpec::task("recovery", move |_| {
            let (spawners, routes) = (spawners.clone(), routes.clone());
            async move {
                if !spawners.recovered(RECOVERY).await {
                    tracing::warn!("recovery is slow");
                }
                routes.recovered().await.map_err(|error| error.to_string())
            }
        })
        .restart(Restart::Transient)
    };

    let tools = janitor::Tools {
        store: store.clone(),
        clock,
        entropy: entropy.clone(),
        period: janitor::PERIOD,
    };
    let supervision = Supervisor::new("hub", entropy)
        .child(writer)
        .child(activity_child)
        .child(routes_child)
        .child(logins_child)
        .child(spawners_child)
        .child(recovery_child)
        .child(janitor::child(arbiter(0), tools))
        .start();
    Tree { store, logins, spawners, routes, activity, supervision }
}

impl Tree {
    /// Resolves when the tree has given up on a child.
    pub async fn ended(&mut self) -> Result<(), Escalated> {
        self.supervision.ended().await
    }

    /// Ends everything, in reverse order; last-use times are written first.
    pub async fn shutdown(self) -> Result<(), Escalated> {
        if let Err(error) = self.activity.flush(Duration::from_secs(2)).await {
            tracing::warn!(%error, "activity not written");
        }
        self.supervision.stop().await
    }
}
