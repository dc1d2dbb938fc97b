//! Stops servers that are not to run: those of users who are blocked; and for maintenance, where whoever began it wants that,
//! when it is time, and until none is left.
//!
//! Which servers these are is looked up every second in what is recorded ([`accounts::to_drain`], [`accounts::of_blocked`]),
//! so nothing is forgotten by a restart, and maintenance that is over stops nothing any more.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Message, WrapFuture};
use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::{
    accounts, activity,
    domain::{ServerKey, Stopper},
    logins,
    ports::Clock,
    spawners::{self, StopAsk, StopRefused},
    store,
    supervise::{ChildSpec, On, faults, handles, named},
};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// So many are stopped each time: those who stop want the disk and the processor.
const PART: usize = 50;

/// A few messages to itself are all it gets.
const MAILBOX: usize = 4;

/// What it needs.
#[derive(Clone)]
pub struct Tools {
    /// Where the records are.
    pub store: store::Client,
    /// Who stops servers.
    pub spawners: spawners::Client,
    /// When servers were last used.
    pub notes: activity::Notes,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is blocked.
    pub logins: Arc<ArcSwap<logins::Settings>>,
}

/// The actor under supervision, in this arbiter. Nobody asks it anything.
pub fn child(arbiter: ArbiterHandle, tools: Tools) -> ChildSpec {
    let (publisher, _) = named("drain");
    ChildSpec::actor("drain", arbiter, MAILBOX, publisher, move |_| Drain(tools.clone()))
}

/// Has what is due now stopped, and says how many there are.
async fn round(tools: &Tools) -> usize {
    let image = tools.store.image();
    let blocked = accounts::of_blocked(&image, &tools.logins.load().rules.blocked_users);
    for key in blocked.iter().take(PART) {
        if stop(tools, key, Stopper::Blocked).await {
            warn!(user = image.called(key.user), server = %key.name, "server of blocked user");
        }
    }
    let due =
        accounts::to_drain(&image, tools.clock.moment(), &|server| tools.notes.of_server(server));
    let Some(maintenance) = image.maintenance().filter(|_| !due.is_empty()) else { return 0 };
    let by = Stopper::Maintenance(maintenance.by.clone());
    for key in due.iter().take(PART) {
        stop(tools, key, by.clone()).await;
    }
    due.len()
}

/// Was it told to stop?
async fn stop(tools: &Tools, key: &ServerKey, by: Stopper) -> bool {
    match tools.spawners.stop(key.clone(), StopAsk::by(by)).await {
        Ok(()) => true,
        Err(StopRefused::NotRunning) => false,
        // The next round tries again.
        Err(error) => {
            let user = tools.store.image().called(key.user);
            warn!(user, server = %key.name, %error, "server not drained");
            false
        }
    }
}

struct Drain(Tools);

impl Actor for Drain {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("drain", "started");
        ctx.notify_later(Round, PERIOD);
    }
}

/// It is time to look.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Round;

handles!(Drain as "drain": Round);

impl On<Round> for Drain {
    type Result = ();

    fn on(&mut self, _: Round, ctx: &mut Self::Context) {
        let tools = self.0.clone();
        let work = async move { round(&tools).await };
        ctx.spawn(work.into_actor(self).map(|servers, _, ctx| {
            if servers > 0 {
                info!(servers, "servers drained");
            }
            // Only now: the next round finds what this one has done.
            ctx.notify_later(Round, PERIOD);
        }));
    }
}
