//! How a spawner actor begins the acts of [`crate::spawner::machine`]; what takes time ends in an event.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use tracing::{error, info, warn};

use super::{Actor, MOMENT};
use crate::{
    domain::{Cause, OrderId, Route, ServerName, options, profile::Overrides, wire},
    ports::{Order, Progress},
    spawner::{
        acts::{self, Landed, Probed},
        env,
        machine::{Effect, Event},
        restart,
    },
    supervise::{
        Quarantined,
        faults::{self, around},
    },
};

/// Taking a route out may hold up a stop so long; it stays unwanted.
const UNROUTE: Duration = Duration::from_secs(5);

impl Actor {
    pub(super) fn unroute(&self, name: &ServerName) -> impl Future<Output = ()> + use<> {
        let user = self.kit.store.image().user(self.user).cloned();
        let (kit, name) = (self.kit.clone(), name.clone());
        async move {
            let Some(user) = user else { return };
            let remove = kit.routes.remove(kit.facts.route(&user.name, &name));
            match around("Unroute", tokio::time::timeout(UNROUTE, remove)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(user = %user.name, server = %name, %error, "route not removed yet");
                }
                Err(_) => {
                    warn!(user = %user.name, server = %name, error = "not in time", "route not removed yet");
                }
            }
        }
    }

    /// Begins an act that ends in an event, or does what needs no waiting.
    pub(super) fn launch(&mut self, name: &ServerName, effect: Effect, ctx: &mut Context<Self>) {
        let inputs = self.kit.ward.inputs.clone();
        let begin = self.input(name, &format!("begin {}", effect.name()));
        let pass = inputs.look(&self.input(name, effect.name())).and_then(|()| inputs.enter(begin));
        match pass {
            Ok(pass) => {
                self.begin(name, effect, ctx);
                pass.done();
            }
            Err(aside) => self.put_aside(name, effect, aside, ctx),
        }
    }

    /// This actor died of such an act of this server too often. A start ends with that; what has to be done in the end
    /// is tried again later.
    fn put_aside(
        &mut self,
        name: &ServerName,
        effect: Effect,
        aside: Quarantined,
        ctx: &mut Context<Self>,
    ) {
        let (who, kind) = (self.who(), effect.name());
        error!(user = who, server = %name, input = kind, error = %aside, "input skipped");
        let why = format!("{kind}: {aside}");
        let event = match effect {
            Effect::Spawn(order) | Effect::Probe { order, .. } => {
                Event::SpawnFailed { order, cause: Cause::SpawnFailed(why) }
            }
            Effect::Route { order, .. } => Event::NotRouted { order, why },
            Effect::Record(_)
            | Effect::Note(_)
            | Effect::Watch { .. }
            | Effect::Unroute
            | Effect::Kill { .. }
            | Effect::Wake(_)
            | Effect::Forget(_) => {
                let (name, life) = (name.clone(), self.slot(name).life.clone());
                ctx.run_later(aside.for_another + MOMENT, move |act, ctx| {
                    if act.slot(&name).life == life {
                        act.launch(&name, effect, ctx);
                    }
                });
                return;
            }
        };
        // In its turn: the step whose act this is is still in hand.
        let name = name.clone();
        ctx.run_later(Duration::ZERO, move |act, ctx| act.feed(&name, event, ctx));
    }

    fn begin(&mut self, name: &ServerName, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Record(state) | Effect::Note(state) => self.note(name, state, ctx),
            Effect::Unroute => drop(ctx.spawn(self.unroute(name).into_actor(self))),
            Effect::Spawn(order) => self.spawn(name, order, ctx),
            Effect::Watch { order, handle } => {
                let spawner = self.kit.spawner.clone();
                let watch =
                    acts::watch(spawner, self.life(name, &order), handle, self.slow_backoff());
                self.task(name, order, "Watch", watch, ctx);
            }
            Effect::Probe { order, url } => self.probe(name, order, url, ctx),
            Effect::Route { order, url } => self.route(name, order, url, ctx),
            Effect::Kill { order, handle } => {
                let landed = self.slot(name).landed.clone();
                let kill = acts::kill(
                    self.kit.spawner.clone(),
                    self.life(name, &order),
                    handle,
                    landed,
                    self.kit.settings.load().stop_timeout,
                    self.slow_backoff(),
                );
                self.task(name, order, "Kill", kill, ctx);
            }
            Effect::Wake(until) => {
                // No longer than a delay can be, also where the wall clock was set back.
                let longest = restart::delay(restart::TOO_MANY, 999);
                let pause = until.since(self.kit.clock.moment()).min(longest);
                let name = name.clone();
                faults::point("effect:before", "Wake");
                ctx.run_later(pause, move |act, ctx| {
                    faults::point("effect:after", "Wake");
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
    pub(super) fn task(
        &mut self,
        name: &ServerName,
        order: OrderId,
        what: &str,
        act: impl Future<Output = Event> + 'static,
        ctx: &mut Context<Self>,
    ) {
        let named = name.clone();
        let done = self.heeded(name, what, act).into_actor(self).map(move |event, act, ctx| {
            // If it is put aside `launch` has seen to it.
            if let Some(event) = event {
                act.feed(&named, event, ctx);
            }
        });
        let handle = ctx.spawn(done);
        self.slot(name).tasks.push((order, handle));
    }

    /// An act that is put aside once this actor has died of it too often.
    pub(super) fn heeded<T>(
        &self,
        name: &ServerName,
        what: &str,
        act: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let (inputs, input) = (self.kit.ward.inputs.clone(), self.input(name, what));
        async move { inputs.work(input, act).await.ok() }
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
                "Refuse",
                std::future::ready(Event::SpawnFailed { order: id, cause }),
                ctx,
            );
        };
        let (mut chosen, mut overrides) = (None, Overrides::default());
        if !settings.profiles.is_empty() {
            // What may be chosen may have changed since it was: who is in which group, what there is.
            let is_in =
                |group: &str| image.groups_of(self.user).any(|it| it.name.as_str() == group);
            let holes = env::holes(&kit.facts, &user.name);
            let set = options::settle(&settings.profiles, &is_in, server.user_options.as_ref())
                .and_then(|it| Ok((options::apply(&settings.profiles, &it, &holes)?, it)));
            match set {
                Ok((set, it)) => (overrides, chosen) = (set, Some(it)),
                Err(fault) => {
                    let cause = Cause::Refused(format!("what was chosen cannot be had: {fault}"));
                    let event = Event::SpawnFailed { order: id.clone(), cause };
                    return self.task(name, id, "Refuse", std::future::ready(event), ctx);
                }
            }
        }
        let order = Order {
            id: id.clone(),
            user: user.name.clone(),
            server: name.clone(),
            prefix: kit.facts.prefix(&user.name, name),
            env: env::variables(
                &kit.facts,
                &settings,
                &user.name,
                name,
                &token,
                &overrides,
                image.external(self.user).and_then(|it| it.kept.as_deref()),
            ),
            options: server.user_options.clone(),
            chosen,
            overrides,
        };
        info!(user = %user.name, server = %name, order = %id, "server starting");
        kit.board.say(&key, 10, "The server is being started");
        let board = kit.board.clone();
        let tell = Progress::new(move |sentence| board.say(&key, 20, sentence));
        let landed = Arc::new(AtomicBool::new(false));
        self.slot(name).landed = landed.clone();
        let limit = settings.start_timeout;
        // Not among the order's tasks: it is heard to the end, so that what comes late is killed.
        let start = acts::spawn(kit.spawner.clone(), order, tell, limit, Landed(landed));
        let named = name.clone();
        let start = self.heeded(name, "Spawn", start);
        ctx.spawn(start.into_actor(self).map(move |event, act: &mut Self, ctx| {
            if let Some(event) = event {
                act.feed(&named, event, ctx);
            }
        }));
        let order = id.clone();
        let late = async move {
            tokio::time::sleep(limit).await;
            Event::StartTimedOut(id)
        };
        self.task(name, order, "Limit", late, ctx);
    }

    fn probe(&mut self, name: &ServerName, order: OrderId, url: String, ctx: &mut Context<Self>) {
        let Some(user) = self.kit.store.image().user(self.user).cloned() else { return };
        let prefix = self.kit.facts.prefix(&user.name, name);
        self.kit.board.say(&self.key(name), 50, "The server has started; waiting for its answer");
        let limit = self.kit.settings.load().http_timeout;
        let (probe, entropy) = (self.kit.probe.clone(), self.kit.entropy.clone());
        let asked = acts::probe(probe, url, prefix, limit, entropy);
        let asked = self.heeded(name, "Probe", asked);
        let (named, id) = (name.clone(), order.clone());
        let task = ctx.spawn(asked.into_actor(self).map(move |answer, act: &mut Self, ctx| {
            let Some(answer) = answer else { return };
            let event = match answer {
                Probed::Answered(version) => {
                    if wire::is_another(&version) {
                        info!(user = %user.name, server = %named, order = %id, version, "server of another version");
                    }
                    let slot = act.slot(&named);
                    if slot.life.as_ref() == Some(&id) {
                        slot.version = Some(version);
                    }
                    Event::Answered(id)
                }
                Probed::Silent => {
                    warn!(user = %user.name, server = %named, order = %id, "server not answering");
                    Event::Silent(id)
                }
                Probed::Stranger(uid) => {
                    warn!(user = %user.name, server = %named, order = %id, uid, "stranger on its port");
                    Event::PortTaken(id)
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
            match around("Route", routes.set(route)).await {
                Ok(()) => Event::Routed(id),
                Err(error) => Event::NotRouted { order: id, why: error.to_string() },
            }
        };
        self.task(name, order, "Route", act, ctx);
    }
}
