//! One user's servers: carries out what [`super::machine`] says and feeds back what comes of it.
//!
//! Per server, one event at a time: `step`, then its effects in order. A `Record` is waited for and decides whether
//! the step happens at all; meanwhile further events wait. `Note`s are written beside that, again and again until they
//! succeed or a later write replaces them. Acts that take time run as tasks and end in an event.
//!
//! Starting is recovering: [`actix::Actor::started`] reads the user's servers from the store and asks the spawner what
//! became of them, at boot and after a panic alike.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{
    ActorContext, ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, SpawnHandle,
    WrapFuture, fut,
};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{
    acts::{self, Backoff, CALL, Landed, TAIL},
    env::{self, Facts, Settings},
    machine::{self, Effect, Event, State},
    messages::{NotBegun, Rest, Start, Stop},
    progress::Board,
    record::{self, Begin, Moved},
    restart,
};
use crate::{
    domain::{
        Cause, Moment, OrderId, Route, Secret, Server, ServerKey, ServerName, ServerState, UserId,
    },
    ports::{Clock, Entropy, Order, Probe, Progress, Spawner},
    routes,
    spawners::{Ask, Trouble},
    store::{self, ChangeError},
};

/// So many events may wait for one server; more asks are refused.
const WAITING: usize = 64;

/// Taking a route out may hold up a stop so long; it stays unwanted.
const UNROUTE: Duration = Duration::from_secs(5);

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

/// One server.
struct Slot {
    state: State,
    queue: VecDeque<Queued>,
    step: Option<Step>,
    /// The note that isn't written yet.
    note: Option<SpawnHandle>,
    /// Orders to be forgotten once it is.
    forget: Vec<OrderId>,
    /// Tasks of orders in hand.
    tasks: Vec<(OrderId, SpawnHandle)>,
    /// Has the start's own answer come?
    landed: Arc<AtomicBool>,
    /// The API token of the order that was recorded last, until it is handed on.
    token: Option<Secret>,
    version: Option<String>,
    deaths: Vec<Moment>,
    /// The order of the current or last life.
    life: Option<OrderId>,
}

/// An event that waits its turn.
struct Queued {
    event: Event,
    ask: Option<Ask>,
    reply: Option<Reply>,
}

/// A step that is being carried out.
struct Step {
    next: State,
    effects: VecDeque<Effect>,
    ask: Option<Ask>,
    reply: Option<Reply>,
    /// A person's start, which wipes the slate.
    fresh: bool,
}

impl Slot {
    fn new(server: Option<&Server>) -> Self {
        Self {
            state: server.map_or(State::Stopped(None), |server| server.state.clone().into()),
            queue: VecDeque::new(),
            step: None,
            note: None,
            forget: Vec::new(),
            tasks: Vec::new(),
            landed: Arc::new(AtomicBool::new(true)),
            token: None,
            version: server.and_then(|server| server.version.clone()),
            deaths: server.map(|server| server.deaths.clone()).unwrap_or_default(),
            life: server.and_then(|server| server.state.order().cloned()),
        }
    }

    fn at_rest(&self) -> bool {
        self.state.at_rest()
            && self.step.is_none()
            && self.queue.is_empty()
            && self.note.is_none()
            && self.tasks.is_empty()
            // What comes up late must be killed by this actor.
            && self.landed.load(Ordering::Acquire)
    }
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
        let image = self.kit.store.image();
        image.user(self.user).map_or_else(|| self.user.0.to_string(), |user| user.name.to_string())
    }

    fn backoff(&self, first: Duration, most: Duration) -> Backoff {
        Backoff::new(first, most, self.kit.entropy.clone())
    }

    fn slow_backoff(&self) -> Backoff {
        self.backoff(Duration::from_millis(100), Duration::from_secs(30))
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
        if slot.queue.len() < WAITING {
            slot.queue.push_back(Queued { event, ask, reply: Some(reply) });
            self.proceed(name, ctx);
        }
        Box::pin(async move { answer.await.unwrap_or(Err(NotBegun::Busy)) })
    }

    /// Takes events one after the other, as far as possible without waiting.
    fn proceed(&mut self, name: &ServerName, ctx: &mut Context<Self>) {
        loop {
            let jitter = self.kit.entropy.below(1_000);
            let now = self.kit.clock.moment();
            let settings = self.kit.settings.load_full();
            let slot = self.slot(name);
            if slot.step.is_some() {
                return;
            }
            let Some(Queued { event, ask, reply }) = slot.queue.pop_front() else { return };
            let fresh = matches!(event, Event::Start(_));
            let with = machine::Context {
                now,
                policy: settings.restart,
                deaths: if fresh { &[] } else { &slot.deaths },
                jitter,
                start_timeout: settings.start_timeout.as_secs(),
                http_timeout: settings.http_timeout.as_secs(),
            };
            let found = matches!(event, Event::Found { .. });
            match machine::step(&slot.state, event, &with) {
                Ok((next, effects)) => {
                    let died = matches!(slot.state, State::Running { .. })
                        && matches!(next, State::Waiting { .. } | State::Failed(_));
                    if died {
                        slot.deaths = restart::recent(&slot.deaths, now);
                        slot.deaths.push(now);
                    }
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
                slot.state = step.next.clone();
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
                if starting {
                    self.kit.board.begin(&key);
                    self.kit.board.say(&key, 0, "The server was asked for");
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

    /// Writes an intention.
    fn record(
        &mut self,
        name: &ServerName,
        state: ServerState,
    ) -> impl Future<Output = Result<(), NotBegun>> + use<> {
        let (key, kit) = (self.key(name), self.kit.clone());
        let secret = kit.entropy.hex(16);
        let hash = kit.entropy.digest(&secret);
        let slot = self.slot(name);
        let fresh = slot.step.as_ref().is_some_and(|step| step.fresh);
        let deaths = if fresh { Vec::new() } else { slot.deaths.clone() };
        let order = slot.life.clone();
        let ask = slot.step.as_mut().and_then(|step| step.ask.take()).unwrap_or_default();
        let starting = match &state {
            ServerState::Starting { order } => Some(order.clone()),
            ServerState::Stopped(_)
            | ServerState::Probing { .. }
            | ServerState::Running { .. }
            | ServerState::Stopping { .. }
            | ServerState::Waiting { .. }
            | ServerState::Failed(_) => None,
        };
        if starting.is_some() {
            slot.token = Some(Secret::new(secret));
        }
        let version = slot.version.clone();
        async move {
            let outcome = match starting {
                Some(new) => {
                    let allowed_scopes = kit.settings.load().oauth_client_allowed_scopes.clone();
                    let Ask { options, display_name } = ask;
                    let over = order;
                    let begin = Begin {
                        key,
                        order: new,
                        over,
                        options,
                        display_name,
                        hash,
                        allowed_scopes,
                        deaths,
                    };
                    let now = kit.clock.moment();
                    let facts = kit.facts.clone();
                    let change =
                        kit.store.change(move |image| record::begin(image, &facts, begin, now));
                    change.await.map(drop)
                }
                None => {
                    let what = Moved { key, order, state, version, deaths };
                    kit.store.change(move |image| record::moved(image, what)).await
                }
            };
            outcome.map_err(|error| match error {
                ChangeError::Refused(record::RecordRefused::NoUser) => NotBegun::NoUser,
                other => NotBegun::NotRecorded(other.to_string()),
            })
        }
    }

    /// Writes what has happened, until that succeeds.
    fn note(&mut self, name: &ServerName, state: ServerState, ctx: &mut Context<Self>) {
        let (key, kit, name) = (self.key(name), self.kit.clone(), name.clone());
        let (who, mut backoff) = (self.who(), self.slow_backoff());
        let slot = self.slot(&name);
        let (order, version, deaths) =
            (slot.life.clone(), slot.version.clone(), slot.deaths.clone());
        if let Some(replaced) = slot.note.take() {
            ctx.cancel_future(replaced);
        }
        let write = async move {
            if let (Some(order), Some(cause)) = (&order, ended(&state)) {
                let tail = kit.spawner.log_tail(order, TAIL);
                let tail = tokio::time::timeout(CALL, tail).await.unwrap_or_default();
                let on_request = *cause == Cause::Stopped;
                info!(user = who, server = %key.name, %order, %cause, "server ended");
                let trouble =
                    Trouble { cause: cause.clone(), at: kit.clock.moment(), tail: tail.into() };
                kit.board.ended(&key, trouble, on_request);
            }
            loop {
                let (key, order) = (key.clone(), order.clone());
                let what = Moved {
                    key: key.clone(),
                    order,
                    state: state.clone(),
                    version: version.clone(),
                    deaths: deaths.clone(),
                };
                match kit.store.change(move |image| record::moved(image, what)).await {
                    Ok(()) => return,
                    Err(ChangeError::Refused(why)) => {
                        debug!(user = who, server = %key.name, error = %why, "note is stale");
                        return;
                    }
                    Err(error) => {
                        warn!(user = who, server = %key.name, %error, "note not written");
                    }
                }
                backoff.pause().await;
            }
        };
        let task = ctx.spawn(write.into_actor(self).map({
            let name = name.clone();
            move |(), act: &mut Self, ctx| {
                act.slot(&name).note = None;
                act.forget(&name, ctx);
            }
        }));
        self.slot(&name).note = Some(task);
    }

    /// The spawner may forget what is recorded as ended.
    fn forget(&mut self, name: &ServerName, ctx: &mut Context<Self>) {
        let slot = self.slot(name);
        if slot.note.is_some() {
            return;
        }
        for order in std::mem::take(&mut slot.forget) {
            let spawner = self.kit.spawner.clone();
            let forget = async move {
                let _ = tokio::time::timeout(CALL, spawner.forget(&order)).await;
            };
            ctx.spawn(forget.into_actor(self));
        }
    }

    fn unroute(&self, name: &ServerName) -> impl Future<Output = ()> + use<> {
        let user = self.kit.store.image().user(self.user).cloned();
        let (kit, name) = (self.kit.clone(), name.clone());
        async move {
            let Some(user) = user else { return };
            let remove = kit.routes.remove(kit.facts.route(&user.name, &name));
            match tokio::time::timeout(UNROUTE, remove).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(user = %user.name, server = %name, %error, "route not removed yet");
                }
                Err(_) => warn!(user = %user.name, server = %name, "route not removed yet"),
            }
        }
    }

    /// Begins an act that ends in an event, or does what needs no waiting.
    fn launch(&mut self, name: &ServerName, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Record(state) | Effect::Note(state) => self.note(name, state, ctx),
            Effect::Unroute => drop(ctx.spawn(self.unroute(name).into_actor(self))),
            Effect::Spawn(order) => self.spawn(name, order, ctx),
            Effect::Watch { order, handle } => {
                let spawner = self.kit.spawner.clone();
                let watch = acts::watch(spawner, order.clone(), handle, self.slow_backoff());
                self.task(name, order, watch, ctx);
            }
            Effect::Probe { order, url } => self.probe(name, order, url, ctx),
            Effect::Route { order, url } => self.route(name, order, url, ctx),
            Effect::Kill { order, handle } => {
                let landed = self.slot(name).landed.clone();
                let kill = acts::kill(
                    self.kit.spawner.clone(),
                    order.clone(),
                    handle,
                    landed,
                    self.kit.settings.load().stop_timeout,
                    self.slow_backoff(),
                );
                self.task(name, order, kill, ctx);
            }
            Effect::Wake(until) => {
                // No longer than a delay can be, also where the wall clock was set back.
                let longest = restart::delay(restart::TOO_MANY, 999);
                let pause = until.since(self.kit.clock.moment()).min(longest);
                let name = name.clone();
                ctx.run_later(pause, move |act, ctx| {
                    let order = act.fresh_order();
                    act.feed(&name, Event::Due { until, order }, ctx);
                });
            }
            Effect::Forget(order) => {
                let slot = self.slot(name);
                let (over, rest) = std::mem::take(&mut slot.tasks)
                    .into_iter()
                    .partition(|(whose, _)| *whose == order);
                slot.tasks = rest;
                slot.forget.push(order);
                let over: Vec<(OrderId, SpawnHandle)> = over;
                for (_, task) in over {
                    ctx.cancel_future(task);
                }
                self.forget(name, ctx);
            }
        }
    }

    /// A task whose outcome is an event.
    fn task(
        &mut self,
        name: &ServerName,
        order: OrderId,
        act: impl Future<Output = Event> + 'static,
        ctx: &mut Context<Self>,
    ) {
        let named = name.clone();
        let done = act.into_actor(self).map(move |event, act, ctx| act.feed(&named, event, ctx));
        let handle = ctx.spawn(done);
        self.slot(name).tasks.push((order, handle));
    }

    fn spawn(&mut self, name: &ServerName, id: OrderId, ctx: &mut Context<Self>) {
        let (key, kit) = (self.key(name), self.kit.clone());
        let image = kit.store.image();
        let settings = kit.settings.load_full();
        let token = self.slot(name).token.take();
        let (Some(user), Some(server), Some(token)) =
            (image.user(self.user), image.server(&key), token)
        else {
            let cause = Cause::Refused("the user or the server was deleted".to_owned());
            return self.task(
                name,
                id.clone(),
                fut_event(Event::SpawnFailed { order: id, cause }),
                ctx,
            );
        };
        let order = Order {
            id: id.clone(),
            user: user.name.clone(),
            server: name.clone(),
            prefix: kit.facts.prefix(&user.name, name),
            env: env::variables(&kit.facts, &settings, &user.name, name, &token),
            options: server.user_options.clone(),
        };
        info!(user = %user.name, server = %name, order = %id, "server is started");
        kit.board.say(&key, 10, "The server is being started");
        let board = kit.board.clone();
        let tell = Progress::new(move |sentence| board.say(&key, 20, sentence));
        let landed = Arc::new(AtomicBool::new(false));
        self.slot(name).landed = landed.clone();
        let limit = settings.start_timeout;
        // Not among the order's tasks: it is heard to the end, so that what comes late is killed.
        let start = acts::spawn(kit.spawner.clone(), order, tell, limit, Landed(landed));
        let named = name.clone();
        ctx.spawn(
            start
                .into_actor(self)
                .map(move |event, act: &mut Self, ctx| act.feed(&named, event, ctx)),
        );
        let order = id.clone();
        let late = async move {
            tokio::time::sleep(limit).await;
            Event::StartTimedOut(id)
        };
        self.task(name, order, late, ctx);
    }

    fn probe(&mut self, name: &ServerName, order: OrderId, url: String, ctx: &mut Context<Self>) {
        let Some(user) = self.kit.store.image().user(self.user).cloned() else { return };
        let prefix = self.kit.facts.prefix(&user.name, name);
        self.kit.board.say(&self.key(name), 50, "The server has started; waiting for its answer");
        let limit = self.kit.settings.load().http_timeout;
        let backoff = self.backoff(Duration::from_millis(50), Duration::from_secs(1));
        let asked = acts::probe(self.kit.probe.clone(), url, prefix, limit, backoff);
        let (named, id) = (name.clone(), order.clone());
        let task = ctx.spawn(asked.into_actor(self).map(move |answer, act: &mut Self, ctx| {
            let event = match answer {
                Some(version) => {
                    let slot = act.slot(&named);
                    if slot.life.as_ref() == Some(&id) {
                        slot.version = Some(version);
                    }
                    Event::Answered(id)
                }
                None => {
                    warn!(user = %user.name, server = %named, order = %id, "server does not answer");
                    Event::Silent(id)
                }
            };
            act.feed(&named, event, ctx);
        }));
        self.slot(name).tasks.push((order, task));
    }

    fn route(&mut self, name: &ServerName, order: OrderId, url: String, ctx: &mut Context<Self>) {
        let Some(user) = self.kit.store.image().user(self.user).cloned() else { return };
        let key = self.key(name);
        self.kit.board.say(&key, 90, "The server answers; making the way to it");
        let spec = self.kit.facts.route(&user.name, name);
        let route = Route { spec, target: url, server: Some(key) };
        let (routes, id) = (self.kit.routes.clone(), order.clone());
        let act = async move {
            match routes.set(route).await {
                Ok(()) => Event::Routed(id),
                Err(error) => Event::NotRouted { order: id, why: error.to_string() },
            }
        };
        self.task(name, order, act, ctx);
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
            State::Stopped(_) | State::Failed(_) => {}
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
        handle: Option<crate::domain::server::Handle>,
        ctx: &mut Context<Self>,
    ) {
        self.missing += 1;
        let spawner = self.kit.spawner.clone();
        let find = acts::find(spawner, order.clone(), handle, self.slow_backoff());
        self.task(name, order.clone(), find, ctx);
    }
}

/// Does this state end a life with something to say?
fn ended(state: &ServerState) -> Option<&Cause> {
    match state {
        ServerState::Stopped(cause) => cause.as_ref(),
        ServerState::Waiting { cause, .. } | ServerState::Failed(cause) => Some(cause),
        ServerState::Starting { .. }
        | ServerState::Probing { .. }
        | ServerState::Running { .. }
        | ServerState::Stopping { .. } => None,
    }
}

async fn fut_event(event: Event) -> Event {
    event
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
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

impl Handler<Start> for Actor {
    type Result = ResponseFuture<Result<(), NotBegun>>;
    fn handle(&mut self, Start { name, ask }: Start, ctx: &mut Self::Context) -> Self::Result {
        let order = self.fresh_order();
        self.ask(&name, Event::Start(order), Some(ask), ctx)
    }
}

impl Handler<Stop> for Actor {
    type Result = ResponseFuture<Result<(), NotBegun>>;
    fn handle(&mut self, Stop { name }: Stop, ctx: &mut Self::Context) -> Self::Result {
        self.ask(&name, Event::Stop, None, ctx)
    }
}

impl Handler<Rest> for Actor {
    type Result = bool;
    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) -> bool {
        let rest = self.servers.values().all(Slot::at_rest);
        if rest {
            ctx.stop();
        }
        rest
    }
}
