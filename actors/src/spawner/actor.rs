//! One user's servers: carries out what [`super::machine`] says and feeds back what comes of it.
//!
//! Per server, one event at a time: `step`, then its effects in order. A `Record` is waited for and decides whether
//! the step happens at all; meanwhile further events wait. `Note`s are written beside that, again and again until they
//! succeed or a later write replaces them. Acts that take time run as tasks and end in an event.
//!
//! Starting is recovering: [`actix::Actor::started`] reads the user's servers from the store and asks the spawner what
//! became of them, at boot and after a panic alike.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, ResponseFuture, WrapFuture, fut};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{
    acts::{self, Backoff, Life},
    env::Settings,
    machine::{self, Effect, Event, State},
    messages::{Check, NotBegun, Rest, Start, Stop},
    progress::Board,
    restart,
    ward::Ward,
};
use crate::{
    domain::{Cause, Facts, OrderId, Server, ServerKey, ServerName, UserId, server::Handle},
    ports::{Clock, Entropy, Probe, Spawner},
    routes,
    spawners::{Ask, StopAsk, Trouble},
    store,
    supervise::{On, Quarantined, faults, handles},
};

mod launch;
mod slot;
mod writes;

use slot::{Queued, Slot, Step};

/// So long after its time is up what was put aside is tried again.
const MOMENT: Duration = Duration::from_secs(1);

/// So many events may wait for one server; more asks are refused.
const WAITING: usize = 64;

/// What every spawner actor needs.
#[derive(Clone)]
pub struct Kit {
    /// All records.
    pub store: store::Client,
    /// How servers are run.
    pub spawner: Arc<dyn Spawner>,
    /// Do they answer?
    pub probe: Arc<dyn Probe>,
    /// Where their routes are kept.
    pub routes: routes::Client,
    /// What time is it?
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// What is fixed.
    pub facts: Arc<Facts>,
    /// What can be reloaded.
    pub settings: Arc<ArcSwap<Settings>>,
    /// What people see.
    pub board: Board,
    /// How these actors are doing.
    pub ward: Ward,
}

type Reply = oneshot::Sender<Result<(), NotBegun>>;

/// The actor.
pub struct Actor {
    kit: Kit,
    user: UserId,
    servers: HashMap<ServerName, Slot>,
    /// Servers that are still being found again.
    missing: usize,
    /// Told when none is.
    recovered: Option<oneshot::Sender<()>>,
    /// Gone when the registry is: then this actor ends, so that no user ever has two.
    leash: Option<oneshot::Receiver<()>>,
}

impl Actor {
    /// The actor of this user. `recovered` is told when all servers have been found again; when the other end of
    /// `leash` is dropped, the actor ends.
    pub fn new(
        kit: Kit,
        user: UserId,
        recovered: oneshot::Sender<()>,
        leash: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            kit,
            user,
            servers: HashMap::new(),
            missing: 0,
            recovered: Some(recovered),
            leash: Some(leash),
        }
    }

    fn key(&self, name: &ServerName) -> ServerKey {
        ServerKey { user: self.user, name: name.clone() }
    }

    /// The user's name, for the log.
    fn who(&self) -> String {
        self.kit.store.image().called(self.user)
    }

    fn life(&self, name: &ServerName, order: &OrderId) -> Life {
        Life { user: self.who(), server: name.clone(), order: order.clone() }
    }

    /// What is done for this server, as it is known if this actor dies of it.
    fn input(&self, name: &ServerName, what: &str) -> String {
        format!("{}/{name}: {what}", self.who())
    }

    fn slow_backoff(&self) -> Backoff {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(30));
        Backoff::new(first, most, self.kit.entropy.clone())
    }

    fn slot(&mut self, name: &ServerName) -> &mut Slot {
        let key = self.key(name);
        self.servers
            .entry(name.clone())
            .or_insert_with(|| Slot::new(self.kit.store.image().server(&key).map(|it| &**it)))
    }

    fn fresh_order(&self) -> OrderId {
        let mut bytes = [0; 16];
        self.kit.entropy.fill(&mut bytes);
        OrderId::from_bytes(bytes)
    }

    /// Something happened: to be dealt with when its turn comes.
    fn feed(&mut self, name: &ServerName, event: Event, ctx: &mut Context<Self>) {
        self.slot(name).queue.push_back(Queued { event, ask: None, reply: None });
        self.proceed(name, ctx);
    }

    /// Somebody asks.
    fn ask(
        &mut self,
        name: &ServerName,
        event: Event,
        ask: Option<Ask>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<(), NotBegun>> {
        let (reply, answer) = oneshot::channel();
        let slot = self.slot(name);
        if slot.queue.len() >= WAITING {
            return Box::pin(std::future::ready(Err(NotBegun::Busy)));
        }
        slot.queue.push_back(Queued { event, ask, reply: Some(reply) });
        self.proceed(name, ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(NotBegun::Died)) })
    }

    /// Takes events one after the other, as far as possible without waiting.
    fn proceed(&mut self, name: &ServerName, ctx: &mut Context<Self>) {
        loop {
            let slot = self.slot(name);
            if slot.step.is_some() {
                return;
            }
            let Some(Queued { event, ask, reply }) = slot.queue.pop_front() else { return };
            let found = matches!(event, Event::Found { .. });
            let pass = match self.kit.ward.inputs.enter(self.input(name, event.name())) {
                Ok(pass) => pass,
                Err(aside) => {
                    let (user, input) = (self.who(), event.name());
                    warn!(user, server = %name, input, error = %aside, "input skipped");
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(NotBegun::Aside(aside)));
                    }
                    if found {
                        self.found_one();
                    }
                    continue;
                }
            };
            faults::point("spawner:event", event.name());
            let jitter = self.kit.entropy.below(1_000);
            let now = self.kit.clock.moment();
            let settings = self.kit.settings.load_full();
            let slot = self.slot(name);
            let fresh = matches!(event, Event::Start(_) | Event::Queue(_));
            let with = machine::Context {
                now,
                policy: settings.restart,
                deaths: if fresh { &[] } else { &slot.deaths },
                jitter,
                start_timeout: settings.start_timeout.as_secs(),
                http_timeout: settings.http_timeout.as_secs(),
                other_ports: slot.other_ports,
            };
            match machine::step(&slot.state, event, &with) {
                Ok((next, effects)) => {
                    let died = matches!(slot.state, State::Running { .. })
                        && matches!(next, State::Waiting { .. } | State::Failed(_));
                    if died {
                        slot.deaths = restart::recent(&slot.deaths, now);
                        slot.deaths.push(now);
                    }
                    slot.other_ports = machine::other_ports(slot.other_ports, &slot.state, &next);
                    let effects = effects.into();
                    slot.step = Some(Step { next, effects, ask, reply, fresh });
                    self.carry(name, ctx);
                }
                Err(refused) => {
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(refused.into()));
                    }
                }
            }
            pass.done();
            if found {
                self.found_one();
            }
        }
    }

    /// Carries out the step in hand up to the next effect that has to be waited for.
    fn carry(&mut self, name: &ServerName, ctx: &mut Context<Self>) {
        loop {
            let Some(step) = &mut self.slot(name).step else { return };
            match step.effects.pop_front() {
                Some(Effect::Record(state)) => {
                    let written = self.record(name, state);
                    let name = name.clone();
                    ctx.spawn(written.into_actor(self).map(move |outcome, act, ctx| {
                        act.recorded(&name, outcome, ctx);
                    }));
                    return;
                }
                Some(Effect::Unroute) => {
                    let name = name.clone();
                    ctx.spawn(self.unroute(&name).into_actor(self).map(move |(), act, ctx| {
                        act.carry(&name, ctx);
                        act.proceed(&name, ctx);
                    }));
                    return;
                }
                Some(effect) => self.launch(name, effect, ctx),
                None => {
                    let slot = self.slot(name);
                    let Some(step) = slot.step.take() else { return };
                    let moved = slot.state != step.next;
                    slot.state = step.next;
                    if let Some(reply) = step.reply {
                        let _ = reply.send(Ok(()));
                    }
                    if moved {
                        self.tell(name);
                    }
                    return;
                }
            }
        }
    }

    /// A `Record` came back.
    fn recorded(
        &mut self,
        name: &ServerName,
        outcome: Result<(), NotBegun>,
        ctx: &mut Context<Self>,
    ) {
        let key = self.key(name);
        let slot = self.slot(name);
        let Some(step) = &mut slot.step else { return };
        match outcome {
            Ok(()) => {
                // From here on the step happens, and its asker knows.
                if let Some(reply) = step.reply.take() {
                    let _ = reply.send(Ok(()));
                }
                let elsewhere =
                    matches!(slot.state, State::Waiting { cause: Cause::PortTaken(_), .. });
                let waited = matches!(slot.state, State::Queued { .. });
                slot.state = step.next.clone();
                let queued = matches!(slot.state, State::Queued { .. });
                let given_up = match &slot.state {
                    State::Stopped(Some(cause)) if waited => Some(cause.clone()),
                    _ => None,
                };
                let fresh = step.fresh;
                let note = slot.note.take();
                let starting = matches!(slot.state, State::Starting { .. });
                if starting {
                    slot.life = slot.state.order().cloned();
                    slot.version = None;
                }
                if fresh {
                    slot.deaths.clear();
                }
                if let Some(note) = note {
                    ctx.cancel_future(note);
                }
                self.forget(name, ctx);
                // To the person who waits a start on another port is the same one.
                let waited = waited && self.kit.board.report(&key).is_some();
                if queued || starting && (fresh || !elsewhere) && !waited {
                    self.kit.board.begin(&key);
                }
                if queued {
                    self.kit.board.say(&key, 0, "Waiting for a free place");
                }
                if let Some(cause) = given_up {
                    let at = self.kit.clock.moment();
                    self.kit.board.ended(&key, Trouble { cause, at, tail: "".into() }, true);
                }
                self.carry(name, ctx);
            }
            Err(why) => {
                warn!(user = self.who(), server = %name, error = %why, "step not recorded");
                let slot = self.slot(name);
                if let Some(Step { reply: Some(reply), .. }) = slot.step.take() {
                    let _ = reply.send(Err(why));
                }
                let event = Event::NotRecorded;
                self.slot(name).queue.push_front(Queued { event, ask: None, reply: None });
            }
        }
        self.proceed(name, ctx);
    }

    /// People hear of the state just reached.
    fn tell(&mut self, name: &ServerName) {
        let (key, who) = (self.key(name), self.who());
        if let State::Running { order, .. } = &self.slot(name).state {
            info!(user = who, server = %name, %order, "server in service");
            self.kit.board.ready(&key);
        }
    }

    fn found_one(&mut self) {
        self.missing = self.missing.saturating_sub(1);
        if self.missing == 0
            && let Some(recovered) = self.recovered.take()
        {
            let _ = recovered.send(());
        }
    }

    /// Takes up a server as it is recorded.
    fn resume(&mut self, server: &Server, ctx: &mut Context<Self>) {
        let name = server.key.name.clone();
        let state = State::from(server.state.clone());
        match &state {
            // (Who waits for room is started by the registry.)
            State::Stopped(_) | State::Queued { .. } | State::Failed(_) => {}
            State::Waiting { until, .. } => self.launch(&name, Effect::Wake(*until), ctx),
            State::Starting { order } => self.find(&name, order, None, ctx),
            State::Probing { order, handle, .. }
            | State::Routing { order, handle, .. }
            | State::Running { order, handle, .. } => {
                self.find(&name, order, Some(handle.clone()), ctx);
            }
            State::Stopping { order, handle, .. } => self.find(&name, order, handle.clone(), ctx),
        }
    }

    fn find(
        &mut self,
        name: &ServerName,
        order: &OrderId,
        handle: Option<Handle>,
        ctx: &mut Context<Self>,
    ) {
        self.missing += 1;
        if let Err(aside) = self.kit.ward.inputs.look(&self.input(name, "Recover")) {
            return self.not_found(name, order.clone(), handle, aside, ctx);
        }
        let spawner = self.kit.spawner.clone();
        let find = acts::find(spawner, self.life(name, order), handle, self.slow_backoff());
        self.task(name, order.clone(), "Recover", find, ctx);
    }

    /// Nobody can say what became of it while that is put aside: it stays as it is recorded, the others go on, and it is
    /// looked for again later.
    fn not_found(
        &mut self,
        name: &ServerName,
        order: OrderId,
        handle: Option<Handle>,
        aside: Quarantined,
        ctx: &mut Context<Self>,
    ) {
        error!(user = self.who(), server = %name, %order, error = %aside, "server put aside");
        self.found_one();
        let name = name.clone();
        ctx.run_later(aside.for_another + MOMENT, move |act, ctx| {
            if act.slot(&name).state.order() == Some(&order) {
                act.find(&name, &order, handle, ctx);
            }
        });
    }
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("spawner", "started");
        if let Some(leash) = self.leash.take() {
            let held = async move { drop(leash.await) };
            ctx.spawn(held.into_actor(self).then(|(), _, ctx: &mut Context<Self>| {
                ctx.stop();
                fut::ready(())
            }));
        }
        let image = self.kit.store.image();
        for server in image.servers_of(self.user) {
            self.slot(&server.key.name);
            self.resume(server, ctx);
        }
        // One more, so that "none is missing" is said also where there was none.
        self.missing += 1;
        self.found_one();
    }
}

handles!(Actor as "spawner": Start, Stop, Check, Rest);

impl On<Start> for Actor {
    type Result = ResponseFuture<Result<(), NotBegun>>;
    fn on(&mut self, Start { name, ask, queue }: Start, ctx: &mut Self::Context) -> Self::Result {
        let event = match queue {
            Some(since) => Event::Queue(since),
            None => Event::Start(self.fresh_order()),
        };
        self.ask(&name, event, Some(ask), ctx)
    }
}

impl On<Stop> for Actor {
    type Result = ResponseFuture<Result<(), NotBegun>>;
    fn on(&mut self, Stop { name, ask }: Stop, ctx: &mut Self::Context) -> Self::Result {
        let StopAsk { by, remove } = ask;
        self.ask(&name, Event::Stop { by, remove }, None, ctx)
    }
}

impl On<Check> for Actor {
    type Result = ();
    fn on(&mut self, Check { name, order }: Check, ctx: &mut Self::Context) {
        let slot = self.slot(&name);
        let settled = matches!(slot.state, State::Running { .. } | State::Probing { .. });
        if slot.step.is_some() || !settled || slot.state.order() != Some(&order) {
            return; // something goes on that will tell
        }
        if self.kit.ward.inputs.look(&self.input(&name, "Check")).is_err() {
            return;
        }
        let handle = match &self.slot(&name).state {
            State::Running { handle, .. } => Some(handle.clone()),
            _ => None,
        };
        let check = acts::check(self.kit.spawner.clone(), self.life(&name, &order), handle);
        let (check, named) = (self.heeded(&name, "Check", check), name.clone());
        let task = ctx.spawn(check.into_actor(self).map(move |event, act, ctx| {
            if let Some(event) = event.flatten() {
                act.feed(&named, event, ctx);
            }
        }));
        self.slot(&name).tasks.push((order, task));
    }
}

impl On<Rest> for Actor {
    type Result = bool;
    fn on(&mut self, _: Rest, ctx: &mut Self::Context) -> bool {
        let rest = self.servers.values().all(Slot::at_rest);
        if rest {
            ctx.stop();
        }
        rest
    }
}
