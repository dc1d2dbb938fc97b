//! A spawner without processes: servers live, die and fail as told. And a probe.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    domain::{OrderId, Username},
    ports::{
        Boxed, Exit, Handle, Order, Probe, ProbeError, Progress, Recovered, SpawnError, Spawner,
        Started, Stop,
    },
};

/// What happened to one order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Alive(Started),
    Ended(Exit),
}

/// What the spawner does at its next start, once.
#[derive(Debug, Clone)]
pub enum NextStart {
    /// Takes so long, then succeeds.
    Slow(Duration),
    /// Does it, but the answer is an error all the same (it was lost on the way).
    DoneButFailed(String),
    /// Does not do it.
    Fails(SpawnError),
    /// Never answers, and has not done it.
    Hangs,
    /// Does it, but the server ends at once.
    Dies(Exit),
}

#[derive(Debug, Default)]
struct World {
    habits: BTreeMap<Username, NextStart>,
    hidden: BTreeSet<OrderId>,
    poison: BTreeSet<OrderId>,
    lives: BTreeMap<OrderId, Life>,
    orders: Vec<Order>,
    next: VecDeque<NextStart>,
    starts: u64,
    stops: Vec<(OrderId, Stop)>,
    forgotten: Vec<OrderId>,
    stop_error: Option<SpawnError>,
    unreachable: Option<SpawnError>,
    tail: String,
    port: u16,
}

/// A world of servers that outlives its users; clones share it.
#[derive(Debug, Clone)]
pub struct ScriptedSpawner {
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for ScriptedSpawner {
    fn default() -> Self {
        Self { world: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }
}

impl ScriptedSpawner {
    /// The next start goes so; several are taken in turn, then all succeed at once.
    pub fn next_start(&self, how: NextStart) {
        self.edit(|it| it.next.push_back(how));
    }

    /// Every start of this user goes so, unless a next one was said.
    pub fn habit(&self, user: &Username, how: NextStart) {
        self.edit(|it| it.habits.insert(user.clone(), how));
    }

    /// Inventories leave this order out from now on, or no longer.
    pub fn hide(&self, order: &OrderId, hidden: bool) {
        self.edit(|it| match hidden {
            true => it.hidden.insert(order.clone()),
            false => it.hidden.remove(order),
        });
    }

    /// Whoever asks what became of this order panics from now on, or no longer.
    pub fn poison(&self, order: &OrderId, poison: bool) {
        self.edit(|it| match poison {
            true => it.poison.insert(order.clone()),
            false => it.poison.remove(order),
        });
    }

    /// This server ends.
    pub fn end(&self, order: &OrderId, exit: Exit) {
        self.edit(|it| it.lives.insert(order.clone(), Life::Ended(exit)));
    }

    /// The engine cannot be reached from now on (start, recover and inventory fail so), or again.
    pub fn set_unreachable(&self, error: Option<SpawnError>) {
        self.edit(|it| it.unreachable = error);
    }

    /// Every stop fails so from now on, or no longer.
    pub fn set_stop_error(&self, error: Option<SpawnError>) {
        self.edit(|it| it.stop_error = error);
    }

    /// What every server's own output ends with.
    pub fn set_log_tail(&self, tail: &str) {
        self.edit(|it| tail.clone_into(&mut it.tail));
    }

    /// A server that is there without anybody here having ordered it: an orphan.
    pub fn plant(&self, order: &OrderId) -> Started {
        self.edit(|it| it.bear(order))
    }

    /// The orders given so far, each as often as it was asked.
    pub fn orders(&self) -> Vec<Order> {
        self.look(|it| it.orders.clone())
    }

    /// How many servers were really started.
    pub fn starts(&self) -> u64 {
        self.look(|it| it.starts)
    }

    /// The orders that live now.
    pub fn alive(&self) -> Vec<OrderId> {
        self.look(|it| it.alive())
    }

    /// Every stop asked for.
    pub fn stops(&self) -> Vec<(OrderId, Stop)> {
        self.look(|it| it.stops.clone())
    }

    /// The orders whose end was said to be recorded.
    pub fn forgotten(&self) -> Vec<OrderId> {
        self.look(|it| it.forgotten.clone())
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        let outcome = edit(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|turn| *turn += 1);
        outcome
    }

    fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl World {
    fn bear(&mut self, order: &OrderId) -> Started {
        if let Some(Life::Alive(started)) = self.lives.get(order) {
            return started.clone();
        }
        self.starts += 1;
        self.port += 1;
        let url = format!("http://127.0.0.1:{}", 20_000 + u32::from(self.port));
        let started = Started { handle: Handle(format!("scripted {order}")), url };
        self.lives.insert(order.clone(), Life::Alive(started.clone()));
        started
    }

    fn alive(&self) -> Vec<OrderId> {
        let alive = self.lives.iter().filter(|(_, life)| matches!(life, Life::Alive(_)));
        alive.map(|(order, _)| order.clone()).collect()
    }
}

impl Spawner for ScriptedSpawner {
    fn start<'a>(
        &'a self,
        order: &'a Order,
        tell: Progress,
    ) -> Boxed<'a, Result<Started, SpawnError>> {
        Box::pin(async move {
            let (next, unreachable) = self.edit(|it| {
                it.orders.push(order.clone());
                let habit = || it.habits.get(&order.user).cloned();
                (it.next.pop_front().or_else(habit), it.unreachable.clone())
            });
            if let Some(error) = unreachable {
                return Err(error);
            }
            tell.tell("scripted start");
            match next {
                None => Ok(self.edit(|it| it.bear(&order.id))),
                Some(NextStart::Slow(delay)) => {
                    tokio::time::sleep(delay).await;
                    Ok(self.edit(|it| it.bear(&order.id)))
                }
                Some(NextStart::DoneButFailed(why)) => {
                    self.edit(|it| it.bear(&order.id));
                    Err(SpawnError::Failed(why))
                }
                Some(NextStart::Fails(error)) => Err(error),
                Some(NextStart::Dies(exit)) => Ok(self.edit(|it| {
                    let started = it.bear(&order.id);
                    it.lives.insert(order.id.clone(), Life::Ended(exit));
                    started
                })),
                Some(NextStart::Hangs) => std::future::pending().await,
            }
        })
    }

    fn recover<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: Option<&'a Handle>,
    ) -> Boxed<'a, Result<Recovered, SpawnError>> {
        assert!(!self.look(|it| it.poison.contains(order)), "poison, as it was told to be");
        let found = self.look(|it| match (&it.unreachable, it.lives.get(order)) {
            (Some(error), _) => Err(error.clone()),
            (None, None) => Ok(Recovered::Unknown),
            (None, Some(Life::Alive(started))) => Ok(Recovered::Alive(started.clone())),
            (None, Some(Life::Ended(exit))) => Ok(Recovered::Ended(*exit)),
        });
        Box::pin(std::future::ready(found))
    }

    fn wait<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: &'a Handle,
    ) -> Boxed<'a, Result<Exit, SpawnError>> {
        Box::pin(async move {
            let mut changed = self.changed.subscribe();
            loop {
                match self.look(|it| it.lives.get(order).cloned()) {
                    Some(Life::Alive(_)) => {}
                    Some(Life::Ended(exit)) => return Ok(exit),
                    None => return Ok(Exit::Unknown),
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await; // the world is held by `self`
                }
            }
        })
    }

    fn stop<'a>(
        &'a self,
        order: &'a OrderId,
        _handle: &'a Handle,
        how: Stop,
    ) -> Boxed<'a, Result<(), SpawnError>> {
        let outcome = self.edit(|it| {
            it.stops.push((order.clone(), how));
            if let Some(error) = &it.stop_error {
                return Err(error.clone());
            }
            if let Some(life @ Life::Alive(_)) = it.lives.get_mut(order) {
                *life = Life::Ended(Exit::Signal(if how == Stop::Soft { 15 } else { 9 }));
            }
            Ok(())
        });
        Box::pin(std::future::ready(outcome))
    }

    fn forget<'a>(&'a self, order: &'a OrderId) -> Boxed<'a, ()> {
        self.edit(|it| {
            it.forgotten.push(order.clone());
            if let Some(Life::Ended(_)) = it.lives.get(order) {
                it.lives.remove(order);
            }
        });
        Box::pin(std::future::ready(()))
    }

    fn log_tail<'a>(&'a self, _order: &'a OrderId, bytes: usize) -> Boxed<'a, String> {
        let tail = self.look(|it| {
            let from = it.tail.len().saturating_sub(bytes);
            let from = (from..).find(|at| it.tail.is_char_boundary(*at)).unwrap_or_default();
            it.tail[from..].to_owned()
        });
        Box::pin(std::future::ready(tail))
    }

    fn inventory(&self) -> Boxed<'_, Result<Vec<OrderId>, SpawnError>> {
        let all = self.look(|it| match &it.unreachable {
            Some(error) => Err(error.clone()),
            None => Ok(it.alive().into_iter().filter(|order| !it.hidden.contains(order)).collect()),
        });
        Box::pin(std::future::ready(all))
    }
}

/// Answers for servers: yes by default, or as told.
#[derive(Debug, Clone, Default)]
pub struct ScriptedProbe(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    next: VecDeque<ProbeError>,
    silent: Option<String>,
    panics: u32,
    asked: u64,
}

impl ScriptedProbe {
    /// No server answers from now on, with this error text, or all do again.
    pub fn set_silent(&self, error: Option<&str>) {
        self.edit(|it| it.silent = error.map(str::to_owned));
    }

    /// The next attempt fails so; several are taken in turn.
    pub fn next_error(&self, error: ProbeError) {
        self.edit(|it| it.next.push_back(error));
    }

    /// The next so many attempts panic.
    pub fn panic_next(&self, attempts: u32) {
        self.edit(|it| it.panics = attempts);
    }

    /// How many panics are still to come.
    pub fn panics_left(&self) -> u32 {
        self.edit(|it| it.panics)
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.edit(|it| it.asked)
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Answers) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Probe for ScriptedProbe {
    fn probe<'a>(
        &'a self,
        _url: &'a str,
        _prefix: &'a str,
    ) -> Boxed<'a, Result<String, ProbeError>> {
        let (answer, panics) = self.edit(|it| {
            it.asked += 1;
            let panics = it.panics > 0;
            it.panics = it.panics.saturating_sub(1);
            let silent = it.silent.clone().map(ProbeError::NotYet);
            let error = it.next.pop_front().or(silent);
            (error.map_or_else(|| Ok("6.1.1".to_owned()), Err), panics)
        });
        assert!(!panics, "the probe panics as it was told to");
        Box::pin(std::future::ready(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Secret, ServerName, Username, profile::Overrides},
        ports::EnvVars,
    };

    fn order(n: u8) -> Order {
        Order {
            id: OrderId::from_bytes([n; 16]),
            user: Username::new("bob").unwrap(),
            server: ServerName::default_server(),
            prefix: "/user/bob/".to_owned(),
            env: Secret::new(EnvVars::default()),
            options: None,
            chosen: None,
            overrides: Overrides::default(),
        }
    }

    fn quiet() -> Progress {
        Progress::new(|_| {})
    }

    #[tokio::test]
    async fn an_order_is_carried_out_once() {
        let (spawner, order) = (ScriptedSpawner::default(), order(1));
        spawner.next_start(NextStart::DoneButFailed("answer lost".to_owned()));
        assert!(spawner.start(&order, quiet()).await.is_err());
        let started = spawner.start(&order, quiet()).await.unwrap();
        assert_eq!((spawner.starts(), spawner.orders().len()), (1, 2));
        let found = spawner.recover(&order.id, None).await.unwrap();
        assert_eq!(found, Recovered::Alive(started));
        assert_eq!(spawner.inventory().await.unwrap(), [order.id]);
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_end() {
        let (spawner, order) = (ScriptedSpawner::default(), order(1));
        let started = spawner.start(&order, quiet()).await.unwrap();
        let (world, id) = (spawner.clone(), order.id.clone());
        let waiting = tokio::spawn(async move { world.wait(&id, &started.handle).await });
        tokio::task::yield_now().await;
        spawner.end(&order.id, Exit::Code(7));
        assert_eq!(waiting.await.unwrap().unwrap(), Exit::Code(7));
        assert_eq!(
            spawner.recover(&order.id, None).await.unwrap(),
            Recovered::Ended(Exit::Code(7))
        );
        spawner.forget(&order.id).await;
        assert_eq!(spawner.recover(&order.id, None).await.unwrap(), Recovered::Unknown);
    }

    #[tokio::test]
    async fn stopping_is_repeatable_and_can_fail() {
        let (spawner, order) = (ScriptedSpawner::default(), order(1));
        let started = spawner.start(&order, quiet()).await.unwrap();
        spawner.set_stop_error(Some(SpawnError::Failed("away".to_owned())));
        assert!(spawner.stop(&order.id, &started.handle, Stop::Soft).await.is_err());
        assert_eq!(spawner.alive().len(), 1);
        spawner.set_stop_error(None);
        for _ in 0..2 {
            spawner.stop(&order.id, &started.handle, Stop::Hard).await.unwrap();
        }
        assert_eq!(spawner.wait(&order.id, &started.handle).await.unwrap(), Exit::Signal(9));
    }

    #[tokio::test]
    async fn a_tail_is_cut_between_characters() {
        let spawner = ScriptedSpawner::default();
        spawner.set_log_tail("aü");
        for (bytes, tail) in [(9, "aü"), (3, "aü"), (2, "ü"), (1, ""), (0, "")] {
            assert_eq!(spawner.log_tail(&order(1).id, bytes).await, tail);
        }
    }
}
