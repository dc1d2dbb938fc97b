//! What the hub does with an event: as the actors carry it out, but at once, and mortal between any two effects.

use super::{
    Due, Fate, HTTP_TIMEOUT, Hub, LATE, Ms, RECONCILE, START_TIMEOUT, Sim, Slot, World, broken,
    prefix, route,
};
use crate::accounts::{Beginning, Moved, begin_server, move_server};
use crate::domain::server::Handle;
use crate::domain::{Cause, Moment, OrderId, RouteSpec, Server, ServerKey, ServerState, TokenHash};
use crate::ports::{Exit, Recovered, Started};
use crate::routes::diff::{diff, wanted};
use crate::spawner::Restart;
use crate::spawner::machine::{Context, Effect, Event, State};
use crate::spawner::{machine, restart};
use crate::spawners::reconcile::compare;

impl Sim {
    /// The hub starts: everything from the records, as an actor's `started` does.
    pub(super) fn boot(&mut self) {
        self.hub = Some(Hub::default());
        let servers: Vec<_> = self.image.servers().cloned().collect();
        for server in servers {
            let (key, state) = (server.key.clone(), State::from(server.state.clone()));
            match (&state, state.order().cloned()) {
                (State::Waiting { until, .. }, _) => self.wake(&key, *until),
                (_, Some(order)) => self.after(1, Due::Find(key.clone(), order)),
                (_, None) => {}
            }
            let slot = Slot::of(&server, state);
            self.hub.as_mut().expect("just made").slots.insert(key, slot);
        }
        self.after(5, Due::Sync);
        self.after(1_000, Due::Reconcile);
    }

    pub(super) fn wake(&mut self, key: &ServerKey, until: Moment) {
        let longest = restart::delay(restart::TOO_MANY, 999);
        let pause = until.since(self.moment()).min(longest);
        let pause = Ms::try_from(pause.as_millis()).unwrap_or(Ms::MAX) + 1;
        self.after(pause, Due::Wake(key.clone(), until));
    }

    pub(super) fn crash(&mut self, away: Ms) {
        self.hub = None;
        self.crash_in = None;
        self.up_at = self.now + away;
    }

    /// Between any two effects the hub may end. False: it just did.
    pub(super) fn survives(&mut self) -> bool {
        match &mut self.crash_in {
            Some(0) => {
                self.crash(200);
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    pub(super) fn slot(&mut self, key: &ServerKey) -> Option<&mut Slot> {
        let recorded = self.image.server(key).cloned();
        let slots = &mut self.hub.as_mut()?.slots;
        Some(slots.entry(key.clone()).or_insert_with(|| match recorded {
            Some(server) => Slot::of(&server, server.state.clone().into()),
            None => Slot::of(&Server::new(key.clone()), State::Stopped(None)),
        }))
    }

    /// One event of one server: the step and its effects in order, as the actor does them.
    pub(super) fn feed(&mut self, key: &ServerKey, event: Event) {
        let now = self.moment();
        let jitter = self.world.chance(self.fresh, 1_000);
        let seconds = |ms: Ms| ms / 1_000;
        let Some(slot) = self.slot(key) else { return };
        let fresh = matches!(event, Event::Start(_));
        let with = Context {
            now,
            policy: Restart::OnFailure,
            deaths: if fresh { &[] } else { &slot.deaths },
            jitter,
            start_timeout: seconds(START_TIMEOUT),
            http_timeout: seconds(HTTP_TIMEOUT),
            other_ports: slot.other_ports,
        };
        let before = slot.state.clone();
        let told = event.clone();
        let Ok((next, effects)) = machine::step(&slot.state, event, &with) else { return };
        let died = matches!(before, State::Running { .. })
            && matches!(next, State::Waiting { .. } | State::Failed(_));
        if died {
            slot.deaths = restart::recent(&slot.deaths, now);
            slot.deaths.push(now);
        }
        slot.other_ports = machine::other_ports(slot.other_ports, &before, &next);
        if let (State::Running { order, .. }, true) =
            (&before, matches!(next, State::Stopped(_) | State::Waiting { .. } | State::Failed(_)))
            && self.world.lives(order)
        {
            broken(format!("{order} lives and was dropped after {told:?}"));
        }
        for effect in effects {
            if !self.survives() {
                return;
            }
            if let Effect::Record(state) = effect {
                if !self.record(key, &state, fresh) {
                    return self.feed(key, Event::NotRecorded);
                }
                if let Some(slot) = self.slot(key) {
                    slot.state = next.clone();
                    slot.note = None;
                    if let State::Starting { order } = &next {
                        slot.life = Some(order.clone());
                    }
                    if fresh {
                        slot.deaths.clear();
                    }
                }
            } else {
                self.carry(key, effect);
            }
            if !self.survives() {
                return;
            }
        }
        if let Some(slot) = self.slot(key) {
            slot.state = next;
        }
    }

    pub(super) fn carry(&mut self, key: &ServerKey, effect: Effect) {
        match effect {
            Effect::Record(_) => unreachable!("seen to by the caller"),
            Effect::Note(state) => {
                if let Some(slot) = self.slot(key) {
                    slot.note = Some(state);
                }
                self.note(key);
            }
            Effect::Spawn(order) => self.spawn(key, order),
            Effect::Watch { order, .. } => {
                if let Some(hub) = &mut self.hub {
                    hub.watching.insert(order.clone());
                }
                if let Some(exit) = self.world.ended(&order) {
                    self.exited(key, order, exit);
                }
            }
            Effect::Probe { order, .. } => {
                let (after, event) = match self.world.fate(&order).probe {
                    Some(true) => (HTTP_TIMEOUT, Event::Silent(order)),
                    Some(false) => (50, Event::PortTaken(order)),
                    None => (200, Event::Answered(order)),
                };
                self.after(after, Due::Event(key.clone(), event));
            }
            Effect::Route { order, url } => {
                if let Some(hub) = &mut self.hub {
                    let route = route(key, &url);
                    hub.asked.insert(route.spec.clone(), Some(route));
                }
                self.sync();
                self.after(10, Due::Event(key.clone(), Event::Routed(order)));
            }
            Effect::Unroute => {
                if let Some(hub) = &mut self.hub {
                    hub.asked.insert(RouteSpec::new(&prefix(key)), None);
                }
                self.sync();
            }
            Effect::Kill { order, handle } => {
                let since = self.now;
                self.after(20, Due::Kill { key: key.clone(), order, handle, since });
            }
            Effect::Wake(until) => self.wake(key, until),
            Effect::Forget(order) => {
                if let Some(hub) = &mut self.hub {
                    hub.watching.remove(&order);
                    // The tasks of that order end with it, but for a start that is still to be heard.
                    hub.due.retain(|_, due| !due.is_task_of(&order));
                }
                if self.slot(key).is_some_and(|slot| slot.note.is_none()) {
                    self.world.forget(&order);
                }
            }
        }
    }

    pub(super) fn spawn(&mut self, key: &ServerKey, order: OrderId) {
        if !self.given.insert(order.clone()) {
            broken(format!("{order} was given twice"));
        }
        let recorded = self.image.server(key).and_then(|it| it.state.order()) == Some(&order);
        if !recorded {
            broken(format!("{order} was given and is not recorded"));
        }
        if let Some(slot) = self.slot(key) {
            slot.landed = false;
        }
        let Fate { born, answer, .. } = self.world.fate(&order);
        self.world.order(key.clone(), order.clone(), born.map(|after| self.now + after));
        let late = Event::StartTimedOut(order.clone());
        self.after(START_TIMEOUT, Due::Event(key.clone(), late.clone()));
        match answer {
            Some((after, Ok(()))) => {
                let Started { handle, url } = World::started(&order);
                let spawned = Event::Spawned { order: order.clone(), handle, url };
                self.after(after, Due::Event(key.clone(), spawned));
                self.after(after, Due::Landed(key.clone(), order));
            }
            Some((after, Err(()))) => {
                let cause = Cause::SpawnFailed("no".to_owned());
                let failed = Event::SpawnFailed { order: order.clone(), cause };
                self.after(after, Due::Event(key.clone(), failed));
                self.after(after, Due::Landed(key.clone(), order));
            }
            None => {
                self.after(START_TIMEOUT + LATE, Due::Event(key.clone(), late));
                self.after(START_TIMEOUT + LATE, Due::Landed(key.clone(), order));
            }
        }
    }

    /// Writes an intention; false: the store does not take it.
    pub(super) fn record(&mut self, key: &ServerKey, state: &ServerState, fresh: bool) -> bool {
        if self.now < self.full_until {
            return false;
        }
        let (now, digest) = (self.moment(), self.fresh);
        let Some(slot) = self.slot(key) else { return false };
        let (over, deaths) = (slot.life.clone(), if fresh { vec![] } else { slot.deaths.clone() });
        let writes = match state {
            ServerState::Starting { order } => {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&digest.to_be_bytes());
                let begin = Beginning {
                    key: key.clone(),
                    order: order.clone(),
                    over,
                    options: None,
                    display_name: None,
                    prefix: prefix(key),
                    url: prefix(key),
                    hash: TokenHash(hash),
                    token_scopes: vec![],
                    client_scopes: vec![],
                    deaths,
                };
                begin_server(&self.image, begin, now).map(|(writes, _)| writes)
            }
            _ => {
                let (key, state) = (key.clone(), state.clone());
                let moved = Moved { key, order: over, state, version: None, deaths };
                move_server(&self.image, moved).map(|(writes, ())| writes)
            }
        };
        match writes {
            Ok(writes) => {
                writes.iter().for_each(|write| self.image.apply(write));
                self.whole();
                true
            }
            Err(_) => false,
        }
    }

    /// Writes what has happened, as soon as the store takes it.
    pub(super) fn note(&mut self, key: &ServerKey) {
        let Some(state) = self.slot(key).and_then(|slot| slot.note.clone()) else { return };
        if self.now < self.full_until {
            return self.after(500, Due::Note(key.clone()));
        }
        let stale = !self.record(key, &state, false);
        let ours = self.slot(key).and_then(|slot| slot.life.clone());
        let theirs = self.image.server(key).and_then(|it| it.state.order().cloned());
        if stale && theirs.is_some() && theirs == ours {
            broken(format!("{} cannot note {state:?}", prefix(key)));
        }
        if let Some(slot) = self.slot(key) {
            slot.note = None;
        }
        if let (false, Some(life)) =
            (self.image.server(key).is_some_and(|it| it.state.is_active()), ours)
        {
            self.world.forget(&life);
        }
        self.after(5, Due::Sync);
    }

    pub(super) fn exited(&mut self, key: &ServerKey, order: OrderId, exit: Exit) {
        let event = Event::Exited { order, exit, address_in_use: false };
        self.after(100, Due::Event(key.clone(), event));
    }

    /// The proxy is made to agree.
    pub(super) fn sync(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let recorded = self.image.servers().filter_map(|server| match &server.state {
            ServerState::Running { url, .. } => Some(route(&server.key, url)),
            _ => None,
        });
        let recorded = recorded.map(|route| (route.spec.clone(), route)).collect();
        let target = wanted(recorded, &mut hub.asked);
        let change = diff(&target, &self.proxy);
        change.remove.iter().for_each(|spec| drop(self.proxy.remove(spec)));
        self.proxy.extend(change.set.into_iter().map(|route| (route.spec.clone(), route)));
    }

    /// One thing that is due in the hub.
    pub(super) fn due(&mut self, due: Due) {
        match due {
            Due::Event(key, event) => self.feed(&key, event),
            Due::Landed(key, order) => {
                if let Some(slot) = self.slot(&key)
                    && slot.life.as_ref() == Some(&order)
                {
                    slot.landed = true;
                }
            }
            Due::Wake(key, until) => {
                let order = self.fresh_order();
                self.feed(&key, Event::Due { until, order });
            }
            Due::Note(key) => self.note(&key),
            Due::Sync => self.sync(),
            Due::Find(key, order) => match self.world.recover(&order, self.now) {
                None => self.after(1_000, Due::Find(key, order)),
                Some(found) => self.feed(&key, Event::Found { order, found }),
            },
            Due::Kill { key, order, handle, since } => self.kill(key, order, handle, since),
            Due::Reconcile => {
                if let Some(living) = self.world.inventory(self.now) {
                    let findings = compare(&self.image, &living, &self.image);
                    findings.orphans.iter().for_each(|order| self.world.kill(order));
                    for (key, order) in findings.ghosts {
                        let settled = self.slot(&key).is_some_and(|slot| {
                            matches!(slot.state, State::Running { .. } | State::Probing { .. })
                        });
                        match self.world.recover(&order, self.now) {
                            Some(found @ (Recovered::Ended(_) | Recovered::Unknown)) if settled => {
                                self.feed(&key, Event::Found { order, found });
                            }
                            _ => {}
                        }
                    }
                }
                self.after(RECONCILE, Due::Reconcile);
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        key: ServerKey,
        order: OrderId,
        handle: Option<Handle>,
        since: Ms,
    ) {
        let landed = self.slot(&key).is_some_and(|slot| slot.landed);
        let again = |handle| Due::Kill { key: key.clone(), order: order.clone(), handle, since };
        match (self.world.recover(&order, self.now), &handle) {
            (None, _) => self.after(1_000, again(handle)),
            (Some(Recovered::Alive(_)), None) => {
                self.after(20, again(Some(World::started(&order).handle)));
            }
            (Some(Recovered::Unknown), None) if !landed && self.now - since <= 10_000 => {
                self.after(500, again(None));
            }
            (Some(_), _) => {
                self.world.kill(&order);
                self.after(50, Due::Event(key, Event::Killed(order)));
            }
        }
    }
}
