//! The registry: makes a spawner actor for a user when there is something to do, ends it when there is not, starts it
//! again after a panic, and at boot finds again what ran.
//!
//! Starts that people wait for and that find no room stand in a [`queue`], whose truth are the records; as places become
//! free they are started from here, in its order.
//!
//! A user's actor that panics again and again is given ever more time between its starts (at most [`LONGEST`]); the
//! others do not notice. What a spawner runs and no record knows (a store that was lost, a record that was not) is
//! stopped.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    ActorFutureExt, Addr, Arbiter, AsyncContext, Context, ResponseActFuture, WrapFuture, fut,
};
use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use super::{
    admit::{Admitted, Limits, Load, admit, admit_in, admit_or_queue},
    messages::{Ask, Begun, Start, StartRefused, Stop, StopAsk, StopRefused},
    queue::{self, Pace, Place, Waits},
    reconcile,
};
use crate::{
    domain::{Moment, ServerKey, ServerState, UserId},
    spawner::{
        self, Kit, machine,
        messages::{Check, NotBegun, Rest},
    },
    store::Image,
    supervise::{
        Ended, Name, On, Pass, Publisher, Quarantine, Quarantined, Unavailable, faults, handles,
        named, start,
    },
};

/// Mailbox of one user's actor.
const MAILBOX: usize = 64;

/// How long one user's actor may take to record an intention.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// First wait for a spawner that gave no inventory.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Records and world are not compared more often, whatever the setting says.
const SHORTEST: Duration = Duration::from_millis(100);

/// First wait before an actor that panicked is started again; doubled each time.
const FIRST: Duration = Duration::from_millis(10);

/// Longest wait before an actor that panicked is started again.
pub const LONGEST: Duration = Duration::from_secs(300);

/// After a change of the records it takes so long until it is looked whether there is room: much may change at once.
const GATHER: Duration = Duration::from_millis(50);

/// So often it is looked without any change: limits may have been raised, and the time to wait is told anew.
const LOOK: Duration = Duration::from_secs(1);

/// A start from the queue that failed to begin is left alone for so long: others go on.
const ASIDE: Duration = Duration::from_secs(30);

/// An actor that lived so long is forgiven its panics.
const FORGIVEN: Duration = Duration::from_secs(60);

/// The actor.
pub struct Actor {
    kit: Kit,
    limits: Arc<ArcSwap<Limits>>,
    users: HashMap<UserId, Entry>,
    /// Starts that have been admitted and aren't recorded yet.
    admitted: HashSet<ServerKey>,
    /// Starts that wait for room, also those whose wait is being recorded.
    queue: Vec<Waits>,
    /// Those whose wait is being recorded.
    entering: HashSet<ServerKey>,
    /// Starts from the queue that could not begin, until when they are left alone.
    aside: HashMap<ServerKey, Instant>,
    /// How fast the queue moves.
    pace: Pace,
    /// Somebody looks after the queue.
    tending: bool,
    /// Users whose servers are being found again.
    missing: HashSet<UserId>,
    /// Records and world are being compared, again and again.
    reconciling: bool,
    /// The spawner did not answer when last asked, and the log knows.
    unreachable: bool,
    /// Asks this actor died of.
    asks: Quarantine<String>,
    recovered: watch::Sender<bool>,
}

struct Entry {
    name: Name<spawner::Actor>,
    publisher: Publisher<spawner::Actor>,
    addr: Option<Addr<spawner::Actor>>,
    /// Dropped with the entry: the actor ends.
    leash: Option<oneshot::Sender<()>>,
    since: Instant,
    panics: u32,
}

impl Actor {
    /// The registry. `asks` outlives it; `recovered` is set once everything that ran has been found again.
    pub fn new(
        kit: Kit,
        limits: Arc<ArcSwap<Limits>>,
        asks: Quarantine<String>,
        recovered: watch::Sender<bool>,
    ) -> Self {
        Self {
            kit,
            limits,
            users: HashMap::new(),
            admitted: HashSet::new(),
            queue: Vec::new(),
            entering: HashSet::new(),
            aside: HashMap::new(),
            pace: Pace::default(),
            tending: false,
            missing: HashSet::new(),
            reconciling: false,
            unreachable: false,
            asks,
            recovered,
        }
    }

    /// The name of this user's actor, which is made if there is none.
    fn of(&mut self, user: UserId, ctx: &mut Context<Self>) -> Name<spawner::Actor> {
        if let Some(entry) = self.users.get(&user) {
            return entry.name.clone();
        }
        let (publisher, name) = named("the user's spawner");
        let since = self.kit.clock.instant();
        let (addr, leash) = (None, None);
        let entry = Entry { name: name.clone(), publisher, addr, leash, since, panics: 0 };
        self.users.insert(user, entry);
        self.launch(user, ctx);
        name
    }

    fn launch(&mut self, user: UserId, ctx: &mut Context<Self>) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        let (tell, found) = oneshot::channel();
        let (leash, held) = oneshot::channel();
        entry.leash = Some(leash);
        entry.since = self.kit.clock.instant();
        let (kit, arbiter) = (self.kit.clone(), Arbiter::current());
        let started = async move {
            start(&arbiter, MAILBOX, move |_| spawner::Actor::new(kit, user, tell, held)).await
        };
        ctx.spawn(started.into_actor(self).map(move |started, act, ctx| match started {
            Ok(running) => {
                if let Some(entry) = act.users.get_mut(&user) {
                    entry.publisher.publish(Some(running.addr.clone()));
                    entry.addr = Some(running.addr);
                }
                act.count();
                let ended = async move { running.ended.await.unwrap_or(Ended::Cancelled) };
                ctx.spawn(
                    ended.into_actor(act).map(move |how, act, ctx| act.ended(user, &how, ctx)),
                );
            }
            Err(how) => act.ended(user, &how, ctx),
        }));
        ctx.spawn(found.into_actor(self).map(move |found, act, ctx| {
            // An error: it ended before that; if it panicked, its next start will tell.
            if found.is_ok() {
                act.found(user, ctx);
            }
        }));
    }

    fn ended(&mut self, user: UserId, how: &Ended, ctx: &mut Context<Self>) {
        let now = self.kit.clock.instant();
        let Some(entry) = self.users.get_mut(&user) else { return };
        entry.publisher.publish(None);
        entry.addr = None;
        if let Ended::Panicked(text) = how {
            if now.saturating_duration_since(entry.since) > FORGIVEN {
                entry.panics = 0;
            }
            entry.panics += 1;
            let plain = FIRST.saturating_mul(1 << entry.panics.min(20)).min(LONGEST);
            let pause = plain + plain.mul_f64(self.kit.entropy.below(1_000) as f64 / 4_000.0);
            let (who, panics) = (self.kit.store.image().called(user), entry.panics);
            error!(user = who, panics, error = %text, "spawner actor panicked");
            self.kit.ward.chart.failed(format_args!("{who}: {how}"));
            ctx.run_later(pause, move |act, ctx| act.launch(user, ctx));
            return;
        }
        self.users.remove(&user);
        self.count();
        // Whatever came between its last word and now.
        if self.is_needed(user) {
            self.of(user, ctx);
        }
    }

    fn count(&self) {
        self.kit.ward.chart.count(self.users.len());
    }

    /// Is there something to do for this user without being asked?
    fn is_needed(&self, user: UserId) -> bool {
        self.kit.store.image().servers_of(user).any(|server| server.state.is_active())
    }

    fn found(&mut self, user: UserId, ctx: &mut Context<Self>) {
        self.missing.remove(&user);
        self.all_found(ctx);
    }

    fn all_found(&mut self, ctx: &mut Context<Self>) {
        if !self.missing.is_empty() || std::mem::replace(&mut self.reconciling, true) {
            return;
        }
        info!(users = self.users.len(), "servers found again");
        self.recovered.send_replace(true);
        self.reconcile(FIRST_PAUSE, ctx);
    }

    /// Compares records and world, now and on a period; sooner, and ever later, while the spawner does not answer.
    fn reconcile(&mut self, retry: Duration, ctx: &mut Context<Self>) {
        let kit = self.kit.clone();
        let round = async move { reconcile::round(&kit).await };
        ctx.spawn(round.into_actor(self).map(move |outcome, act, ctx| {
            let most = act.period();
            let jitter = 1.0 + act.kit.entropy.below(1_000) as f64 / 4_000.0;
            let (pause, retry) = match outcome {
                Ok(ghosts) => {
                    act.unreachable = false;
                    for (key, order) in ghosts {
                        let name = act.of(key.user, ctx);
                        // If it is not heard, the next round asks again.
                        name.tell(Check { name: key.name, order });
                    }
                    (most, FIRST_PAUSE)
                }
                Err(error) => {
                    if !std::mem::replace(&mut act.unreachable, true) {
                        warn!(%error, "no inventory of servers");
                    }
                    (retry.min(most), retry * 2)
                }
            };
            ctx.run_later(pause.mul_f64(jitter), move |act, ctx| act.reconcile(retry, ctx));
        }));
    }

    /// Ends the actors of users at rest.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        faults::point("spawners", "sweep");
        let image = self.kit.store.image();
        for (user, entry) in &self.users {
            let busy = image.servers_of(*user).any(|server| server.state.is_active());
            let asked = self.admitted.iter().any(|key| key.user == *user);
            if let (false, false, Some(addr)) = (busy, asked, &entry.addr) {
                // If it is not heard, the next sweep will be.
                let _ = addr.try_send(Rest);
            }
        }
        ctx.run_later(self.period(), Self::sweep);
    }

    fn period(&self) -> Duration {
        self.kit.settings.load().reconcile_interval.max(SHORTEST)
    }
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("spawners", "started");
        let image = self.kit.store.image();
        let active = image.servers().filter(|server| server.state.is_active());
        self.missing = active.map(|server| server.key.user).collect();
        for user in self.missing.clone() {
            self.of(user, ctx);
        }
        self.all_found(ctx);
        self.queue =
            image.servers().filter_map(|server| waits(&server.key, &server.state)).collect();
        self.tend(ctx);
        ctx.run_later(self.period(), Self::sweep);
    }
}

handles!(Actor as "spawners": Start, Stop);

impl On<Start> for Actor {
    type Result = ResponseActFuture<Self, Result<Begun, StartRefused>>;

    fn on(&mut self, Start { key, ask }: Start, ctx: &mut Self::Context) -> Self::Result {
        match self.heed("start", &key) {
            Ok(pass) => {
                let answer = self.begin(key, ask, ctx);
                pass.done();
                answer
            }
            Err(aside) => Box::pin(fut::ready(Err(aside.into()))),
        }
    }
}

impl Actor {
    /// An ask this actor died of three times is not looked at for a while.
    fn heed(&self, what: &str, key: &ServerKey) -> Result<Pass<String>, Quarantined> {
        let user = self.kit.store.image().called(key.user);
        let pass = self.asks.enter(format!("{what} {user}/{}", key.name))?;
        faults::point("spawners:ask", &user);
        Ok(pass)
    }

    fn begin(
        &mut self,
        key: ServerKey,
        ask: Ask,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Begun, StartRefused>> {
        let image = self.kit.store.image();
        if image.user(key.user).is_none() {
            return Box::pin(fut::ready(Err(StartRefused::NoUser)));
        }
        self.let_go(&image);
        if self.queue.iter().any(|one| one.key == key) {
            return Box::pin(fut::ready(Ok(Begun::Already)));
        }
        let active = image.server(&key).is_some_and(|server| server.state.is_active());
        if !active && !self.admitted.contains(&key) {
            if let Err(refused) = admit_in(&image, &ask, self.kit.clock.moment()) {
                return Box::pin(fut::ready(Err(refused)));
            }
            let limits = **self.limits.load();
            let load = Load::count(&image, self.admitted.iter());
            let draw = self.kit.entropy.below(31);
            let room = ask.waits.then(|| queue::room(&self.queue, key.user, limits.waiting));
            // While there is maintenance nobody's turn comes, and whoever starts all the same overtakes nobody.
            let waiting = !self.queue.is_empty() && image.maintenance().is_none();
            match admit_or_queue(limits, load, waiting, room, draw) {
                Ok(Admitted::Now) => {}
                Ok(Admitted::Waits) => return self.enter(key, ask, ctx),
                Err(refused) => return Box::pin(fut::ready(Err(refused))),
            }
        }
        let first = self.admitted.insert(key.clone());
        let asked = self.ask_user(&key, ask, None, ctx);
        Box::pin(asked.into_actor(self).map(move |answer, act, _| {
            if first {
                act.admitted.remove(&key);
            }
            begun(answer)
        }))
    }

    /// Asks the user's actor to start it, or to have it wait from this moment on.
    fn ask_user(
        &mut self,
        key: &ServerKey,
        ask: Ask,
        queue: Option<Moment>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Result<(), NotBegun>, Unavailable>> + use<> {
        let spawner = self.of(key.user, ctx);
        let message = spawner::messages::Start { name: key.name.clone(), ask, queue };
        async move { spawner.ask(message, PATIENCE).await }
    }

    /// One more waits for room.
    fn enter(
        &mut self,
        key: ServerKey,
        ask: Ask,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Begun, StartRefused>> {
        let since = self.kit.clock.moment();
        self.queue.push(Waits { key: key.clone(), since });
        self.entering.insert(key.clone());
        let asked = self.ask_user(&key, ask, Some(since), ctx);
        Box::pin(asked.into_actor(self).map(move |answer, act, ctx| {
            act.entering.remove(&key);
            let answer = begun(answer);
            if let Ok(Begun::Started) = answer {
                let user = act.kit.store.image().called(key.user);
                info!(user, server = %key.name, waiting = act.queue.len(), "start waits");
            }
            // Where it was not recorded it leaves again with this.
            act.attend(ctx);
            act.tend(ctx);
            answer.map(|begun| if begun == Begun::Started { Begun::Queued } else { begun })
        }))
    }

    /// Looks after the queue, as long as anybody stands there.
    fn tend(&mut self, ctx: &mut Context<Self>) {
        if self.queue.is_empty() || std::mem::replace(&mut self.tending, true) {
            return;
        }
        let mut published = self.kit.store.published();
        published.mark_unchanged();
        let news = async move {
            // An error: there is no store any more, nor anything to do.
            let _ = tokio::time::timeout(LOOK, published.changed()).await;
            tokio::time::sleep(GATHER).await;
        };
        ctx.spawn(news.into_actor(self).map(|(), act, ctx| {
            act.tending = false;
            act.attend(ctx);
            act.tend(ctx);
        }));
    }

    /// Who does not wait by the records stands in the queue no more: it was started, or somebody broke it off.
    fn let_go(&mut self, image: &Image) {
        self.queue.retain(|one| {
            let state = image.server(&one.key).map(|server| &server.state);
            self.entering.contains(&one.key) || state.is_some_and(ServerState::is_queued)
        });
    }

    /// Starts as many from the queue as there is room for, and tells the others where they stand.
    fn attend(&mut self, ctx: &mut Context<Self>) {
        let (image, now) = (self.kit.store.image(), self.kit.clock.instant());
        self.let_go(&image);
        self.aside.retain(|_, until| *until > now);
        let takes = |state: &ServerState| state.is_active() && !state.is_queued();
        let has = |user| {
            let own = image.servers_of(user).filter(|server| takes(&server.state)).count();
            let soon = |key: &&ServerKey| {
                key.user == user && !image.server(key).is_some_and(|it| takes(&it.state))
            };
            own + self.admitted.iter().filter(soon).count()
        };
        let mut stands = queue::order(&self.queue, has);
        stands.retain(|key| !self.admitted.contains(key));
        let (limits, mut load) = (**self.limits.load(), Load::count(&image, self.admitted.iter()));
        let mut free = Vec::new();
        // During maintenance nobody's turn comes.
        let turns = if image.maintenance().is_some() { &[][..] } else { &stands[..] };
        for key in turns {
            if self.entering.contains(key) || self.aside.contains_key(key) {
                continue;
            }
            if admit(limits, load, 0).is_err() {
                break;
            }
            load.starting += 1;
            load.active += 1;
            free.push(key.clone());
        }
        stands.retain(|key| !free.contains(key));
        let of = stands.len();
        let place = |(nth, key): (usize, &ServerKey)| {
            let estimate = self.pace.estimate(nth + 1, now);
            (key.clone(), Place { position: nth + 1, of, estimate })
        };
        self.kit.board.line_up(stands.iter().enumerate().map(place).collect());
        for key in free {
            self.leave(key, ctx);
        }
    }

    /// Its turn has come.
    fn leave(&mut self, key: ServerKey, ctx: &mut Context<Self>) {
        self.admitted.insert(key.clone());
        let asked = self.ask_user(&key, Ask::default(), None, ctx);
        ctx.spawn(asked.into_actor(self).map(move |answer, act, ctx| {
            act.admitted.remove(&key);
            let now = act.kit.clock.instant();
            match begun(answer) {
                Ok(_) => act.pace.left(now),
                Err(error) => {
                    let user = act.kit.store.image().called(key.user);
                    warn!(user, server = %key.name, %error, "waiting start not begun");
                    act.aside.insert(key, now + ASIDE);
                }
            }
            act.attend(ctx);
        }));
    }
}

/// The wait of this server, if it waits.
fn waits(key: &ServerKey, state: &ServerState) -> Option<Waits> {
    match state {
        ServerState::Queued { since } => Some(Waits { key: key.clone(), since: *since }),
        ServerState::Stopped(_)
        | ServerState::Starting { .. }
        | ServerState::Probing { .. }
        | ServerState::Running { .. }
        | ServerState::Stopping { .. }
        | ServerState::Waiting { .. }
        | ServerState::Failed(_) => None,
    }
}

/// What a user's actor said to a start.
fn begun(answer: Result<Result<(), NotBegun>, Unavailable>) -> Result<Begun, StartRefused> {
    match answer? {
        Ok(()) => Ok(Begun::Started),
        Err(NotBegun::Refused(machine::Refused::Starting)) => Ok(Begun::Already),
        Err(NotBegun::Refused(machine::Refused::Stopping)) => Err(StartRefused::Stopping),
        // "Not running" is no answer to a start.
        Err(NotBegun::Refused(machine::Refused::Running | machine::Refused::NotRunning)) => {
            Err(StartRefused::Running)
        }
        Err(NotBegun::NotRecorded(why)) => Err(StartRefused::NotRecorded(why)),
        Err(NotBegun::NoUser) => Err(StartRefused::NoUser),
        Err(NotBegun::Busy) => Err(StartRefused::NotRecorded("busy".to_owned())),
        Err(NotBegun::Died) => Err(Unavailable::Died("the user's spawner").into()),
        Err(NotBegun::Aside(aside)) => Err(StartRefused::Aside(aside)),
    }
}

impl On<Stop> for Actor {
    type Result = ResponseActFuture<Self, Result<(), StopRefused>>;

    fn on(&mut self, Stop { key, ask }: Stop, ctx: &mut Self::Context) -> Self::Result {
        match self.heed("stop", &key) {
            Ok(pass) => {
                let answer = self.end(key, ask, ctx);
                pass.done();
                answer
            }
            Err(aside) => Box::pin(fut::ready(Err(aside.into()))),
        }
    }
}

impl Actor {
    fn end(
        &mut self,
        key: ServerKey,
        ask: StopAsk,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<(), StopRefused>> {
        let image = self.kit.store.image();
        let active = image.server(&key).is_some_and(|server| server.state.is_active());
        if !active && !self.admitted.contains(&key) {
            return Box::pin(fut::ready(Err(StopRefused::NotRunning)));
        }
        let spawner = self.of(key.user, ctx);
        let message = spawner::messages::Stop { name: key.name, ask };
        let asked = async move { spawner.ask(message, PATIENCE).await };
        Box::pin(asked.into_actor(self).map(|answer, _, _| match answer? {
            Ok(()) => Ok(()),
            Err(NotBegun::Refused(_) | NotBegun::NoUser) => Err(StopRefused::NotRunning),
            Err(NotBegun::NotRecorded(why)) => Err(StopRefused::NotRecorded(why)),
            Err(NotBegun::Busy) => Err(StopRefused::NotRecorded("busy".to_owned())),
            Err(NotBegun::Died) => Err(Unavailable::Died("the user's spawner").into()),
            Err(NotBegun::Aside(aside)) => Err(StopRefused::Aside(aside)),
        }))
    }
}
