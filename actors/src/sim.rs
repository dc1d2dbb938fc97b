//! The deciders in a simulated world (`RELIABILITY.md` 5.1): the server's machine, the decisions about its records,
//! admission, the comparison with the inventory and the route tables, driven by seeds in virtual time.
//!
//! The world is hostile: starts fail, hang, come late or lose their answer; servers die or are silent; the spawner
//! cannot be reached; the store takes nothing; the proxy forgets its table; root loses exit codes; the hub dies between
//! any two effects. After each event it is checked that
//!
//! - an order is given once and gives birth once;
//! - a server's record, its token and its OAuth client come and go together (I2);
//! - what cannot be reached is not believed dead: a server that lives and is in service stays so until it ends or
//!   somebody ends it;
//! - nothing is pending for longer than its limits allow, while store and spawner work;
//! - a life that no record knows does not last;
//! - a record that is to go with its server goes when that has ended;
//!
//! and, once the world has calmed down, that records, world and routes are the same (I3, I4).
//!
//! A plan is made from the seed before it runs, and chance in it depends on the order it is about, so that a failing
//! plan stays the same when parts are left out: what is left of it is printed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use crate::{
    domain::{
        Moment, OrderId, Route, RouteSpec, Server, ServerKey, ServerName, ServerState, UserId,
        server::Handle,
    },
    ports::Exit,
    routes::diff::{Asked, Table},
    spawner::machine::{Event, State},
    spawners::admit::{Limits, Load, admit},
    store::{Image, Write},
    testing,
};

mod hub;
mod tests;
mod world;

use world::{Fate, World};

/// Milliseconds of virtual time.
type Ms = u64;

const START_TIMEOUT: Ms = 60_000;
const HTTP_TIMEOUT: Ms = 30_000;
const STOP_TIMEOUT: Ms = 75_000;
const RECONCILE: Ms = 60_000;
/// What a start may take to answer after it was given up on.
const LATE: Ms = 120_000;
const USERS: u64 = 4;

/// What is done to the system from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start(u64),
    Stop(u64),
    /// Its record is to go with it.
    Remove(u64),
    /// This user's server ends, so.
    Die(u64, Exit),
    /// The hub ends, and comes back after so long.
    Crash(Ms),
    /// The hub ends when so many more effects were begun.
    CrashAt(u32),
    /// The spawner cannot be reached for so long.
    Unreachable(Ms),
    /// The store takes nothing for so long.
    Full(Ms),
    /// The proxy is there anew, with an empty table.
    Forget,
    /// Root is there anew: what ended meanwhile has no exit code.
    Root,
    /// The wall clock is set, by so many seconds.
    Clock(i64),
}

/// What happens in the hub at some time.
#[derive(Debug, Clone)]
enum Due {
    Event(ServerKey, Event),
    /// Its answer has come, or nobody waits for it any more.
    Landed(ServerKey, OrderId),
    Kill {
        key: ServerKey,
        order: OrderId,
        handle: Option<Handle>,
        since: Ms,
    },
    Find(ServerKey, OrderId),
    Note(ServerKey),
    Wake(ServerKey, Moment),
    Reconcile,
    Sync,
}

/// What the hub has in memory, and loses.
#[derive(Default)]
struct Hub {
    slots: BTreeMap<ServerKey, Slot>,
    due: BTreeMap<(Ms, u64), Due>,
    asked: Asked,
    watching: BTreeSet<OrderId>,
}

struct Slot {
    state: State,
    life: Option<OrderId>,
    deaths: Vec<Moment>,
    other_ports: u32,
    landed: bool,
    note: Option<ServerState>,
}

/// Everything.
struct Sim {
    now: Ms,
    wall: i64,
    turn: u64,
    image: Image,
    proxy: Table,
    world: World,
    hub: Option<Hub>,
    up_at: Ms,
    full_until: Ms,
    crash_in: Option<u32>,
    fresh: u64,
    given: BTreeSet<OrderId>,
    /// Since when (in time that counts) an order has been pending, or a life unknown.
    pending: BTreeMap<(ServerKey, OrderId), Ms>,
    strays: BTreeMap<OrderId, Ms>,
    /// Whose records are to go when they have ended.
    going: BTreeSet<ServerKey>,
    steps: u64,
    seed: u64,
}

/// What went wrong.
#[derive(Debug)]
struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

thread_local! {
    /// The first thing that went wrong.
    static BROKEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn broken(what: String) {
    BROKEN.with(|it| {
        it.borrow_mut().get_or_insert(what);
    });
}

fn key(user: u64) -> ServerKey {
    ServerKey { user: UserId(user), name: ServerName::default_server() }
}

fn prefix(key: &ServerKey) -> String {
    format!("/user/user{}/", key.user.0)
}

fn route(key: &ServerKey, url: &str) -> Route {
    let spec = RouteSpec::new(&prefix(key));
    Route { spec, target: url.to_owned(), server: Some(key.clone()) }
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut image = Image::default();
        for id in 1..=USERS {
            image.apply(&Write::User(Arc::new(testing::user(id, &format!("user{id}")))));
        }
        let mut sim = Self {
            now: 0,
            wall: 1_767_225_600_000,
            turn: 0,
            image,
            proxy: Table::new(),
            world: World::new(seed),
            hub: None,
            up_at: 0,
            full_until: 0,
            crash_in: None,
            fresh: 0,
            given: BTreeSet::new(),
            pending: BTreeMap::new(),
            strays: BTreeMap::new(),
            going: BTreeSet::new(),
            steps: 0,
            seed,
        };
        sim.boot();
        sim
    }

    fn moment(&self) -> Moment {
        Moment((self.wall + i64::try_from(self.now).unwrap_or(i64::MAX)) * 1_000)
    }

    fn fresh_order(&mut self) -> OrderId {
        self.fresh += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&self.fresh.to_be_bytes());
        OrderId::from_bytes(bytes)
    }

    fn after(&mut self, span: Ms, due: Due) {
        self.turn += 1;
        let at = (self.now + span, self.turn);
        if let Some(hub) = &mut self.hub {
            hub.due.insert(at, due);
        }
    }

    /// Records, tokens and clients come and go together.
    fn whole(&mut self) {
        for server in self.image.servers() {
            let lives =
                server.state.is_active() && !matches!(server.state, ServerState::Waiting { .. });
            let token = server.token.and_then(|id| self.image.token(id));
            if lives != token.is_some() {
                broken(format!("{}: {:?} with token {token:?}", prefix(&server.key), server.state));
            }
        }
        let tokens = self.image.servers().filter(|it| it.token.is_some()).count();
        if self.image.tokens().count() != tokens {
            broken("a token without its server".to_owned());
        }
        let with_client = |it: &&Arc<Server>| {
            it.state.is_active() || matches!(it.state, ServerState::Waiting { .. })
        };
        if self.image.clients().count() != self.image.servers().filter(with_client).count() {
            broken("a client without its server, or the reverse".to_owned());
        }
        let stayed = |key: &&ServerKey| {
            self.image.server(key).is_some_and(|server| server.state.order().is_none())
        };
        if let Some(key) = self.going.iter().find(stayed) {
            broken(format!("{} has ended and its record was to go", prefix(key)));
        }
        let going =
            |it: &&Arc<Server>| matches!(it.state, ServerState::Stopping { remove: true, .. });
        self.going = self.image.servers().filter(going).map(|it| it.key.clone()).collect();
    }

    /// Something is done from outside.
    fn act(&mut self, act: Act) {
        match act {
            Act::Start(user) => {
                let key = key(user);
                let load = Load::count(&self.image, std::iter::empty());
                let limits = Limits { starting: 3, active: 0, waiting: 0 };
                let active = self.image.server(&key).is_some_and(|it| it.state.is_active());
                if self.hub.is_some() && (active || admit(limits, load, 0).is_ok()) {
                    let order = self.fresh_order();
                    self.feed(&key, Event::Start(order));
                    if Load::count(&self.image, std::iter::empty()).starting > limits.starting + 1 {
                        broken("more starts than were admitted".to_owned());
                    }
                }
            }
            Act::Stop(user) => self.feed(&key(user), Event::Stop { by: None, remove: false }),
            Act::Remove(user) => self.feed(&key(user), Event::Stop { by: None, remove: true }),
            Act::Die(user, exit) => {
                let order = self.image.server(&key(user)).and_then(|it| it.state.order().cloned());
                if let Some(order) = order {
                    self.world.die(&order, exit);
                }
            }
            Act::Crash(away) => self.crash(away),
            Act::CrashAt(effects) => self.crash_in = Some(effects),
            Act::Unreachable(span) => self.world.away_until = self.now + span,
            Act::Full(span) => self.full_until = self.now + span,
            Act::Forget => {
                self.proxy.clear();
                self.after(5, Due::Sync);
            }
            Act::Root => self.world.new_root(),
            Act::Clock(seconds) => self.wall += seconds * 1_000,
        }
    }

    /// Time goes on to the next thing, at most until `end`. False: nothing more before that.
    fn turn(&mut self, end: Ms) -> bool {
        let hub = self
            .hub
            .as_ref()
            .map_or(Some(self.up_at), |hub| hub.due.first_key_value().map(|((at, _), _)| *at));
        let next = [hub, self.world.next()].into_iter().flatten().min().unwrap_or(end);
        let next = next.max(self.now);
        if next >= end {
            self.pass(end);
            return false;
        }
        self.pass(next);
        self.steps += 1;
        for order in self.world.births(self.now) {
            if self.world.births_of(&order) > 1 {
                broken(format!("{order} was born twice"));
            }
        }
        if self.hub.is_none() {
            if self.now >= self.up_at {
                self.boot();
            }
        } else {
            let ready = |hub: &mut Hub, now| {
                let due = hub.due.first_key_value().is_some_and(|((at, _), _)| *at <= now);
                due.then(|| hub.due.pop_first()).flatten()
            };
            let now = self.now;
            if let Some((_, due)) = self.hub.as_mut().and_then(|hub| ready(hub, now)) {
                self.due(due);
            }
            self.notice();
        }
        true
    }

    /// Who is watched and has ended is heard of.
    fn notice(&mut self) {
        if self.now < self.world.away_until {
            return;
        }
        let Some(hub) = &mut self.hub else { return };
        let ended: Vec<_> = hub
            .watching
            .iter()
            .filter_map(|order| Some((order.clone(), self.world.ended(order)?)))
            .collect();
        hub.watching.retain(|order| !ended.iter().any(|(gone, _)| gone == order));
        for (order, exit) in ended {
            if let Some(key) = self.world.owner(&order) {
                self.exited(&key, order, exit);
            }
        }
    }

    /// Time passes; what waits too long is wrong. Only time counts in which hub, store and spawner work.
    fn pass(&mut self, to: Ms) {
        let works =
            self.hub.is_some() && self.now >= self.full_until && self.now >= self.world.away_until;
        let span = if works { to - self.now } else { 0 };
        self.now = to;
        let mut pending = BTreeMap::new();
        for server in self.image.servers() {
            if let (Some(_), Some(order)) = (server.state.pending(), server.state.order()) {
                let id = (server.key.clone(), order.clone());
                let waited = self.pending.get(&id).copied().unwrap_or(0) + span;
                if waited > START_TIMEOUT + HTTP_TIMEOUT + STOP_TIMEOUT + 5_000 {
                    broken(format!("{order} is pending for {waited} ms: {:?}", server.state));
                }
                pending.insert(id, waited);
            }
        }
        self.pending = pending;
        let known: BTreeSet<_> =
            self.image.servers().filter_map(|it| it.state.order().cloned()).collect();
        let mut strays = BTreeMap::new();
        for order in self.world.alive().into_iter().filter(|order| !known.contains(order)) {
            let waited = self.strays.get(&order).copied().unwrap_or(0) + span;
            if waited > RECONCILE + STOP_TIMEOUT + 5_000 {
                broken(format!("{order} lives for {waited} ms and nobody knows it"));
            }
            strays.insert(order, waited);
        }
        self.strays = strays;
    }

    /// The world has calmed down: records, world and routes are the same.
    fn agrees(&self) {
        let running: BTreeSet<_> = self
            .image
            .servers()
            .filter(|it| it.state.is_ready())
            .filter_map(|it| it.state.order().cloned())
            .collect();
        let alive: BTreeSet<_> = self.world.alive().into_iter().collect();
        if alive != running {
            broken(format!("alive are {alive:?}, in the records {running:?}"));
        }
        let pending: Vec<_> =
            self.image.servers().filter(|it| it.state.pending().is_some()).collect();
        if !pending.is_empty() {
            broken(format!("still pending: {pending:?}"));
        }
        let table: Table = self
            .image
            .servers()
            .filter_map(|server| match &server.state {
                ServerState::Running { url, .. } => Some(route(&server.key, url)),
                _ => None,
            })
            .map(|route| (route.spec.clone(), route))
            .collect();
        if self.proxy != table {
            broken(format!("routes are {:?}, wanted {:?}", self.proxy, table));
        }
    }
}

impl Slot {
    fn of(server: &Server, state: State) -> Self {
        Self {
            life: server.state.order().cloned(),
            deaths: server.deaths.clone(),
            other_ports: 0,
            landed: true,
            note: None,
            state,
        }
    }
}

impl Due {
    fn is_task_of(&self, order: &OrderId) -> bool {
        match self {
            Self::Event(_, event) => match event {
                Event::StartTimedOut(id)
                | Event::Answered(id)
                | Event::Silent(id)
                | Event::PortTaken(id)
                | Event::Routed(id)
                | Event::Killed(id)
                | Event::Exited { order: id, .. } => id == order,
                _ => false,
            },
            Self::Kill { order: id, .. } | Self::Find(_, id) => id == order,
            Self::Landed(..) | Self::Note(_) | Self::Wake(..) | Self::Reconcile | Self::Sync => {
                false
            }
        }
    }
}

/// Runs a plan; what went wrong, and how many steps it took.
fn run(seed: u64, plan: &[(Ms, Act)]) -> (Result<(), Broken>, u64) {
    BROKEN.with(|it| it.borrow_mut().take());
    let ok = || BROKEN.with(|it| it.borrow().is_none());
    let mut sim = Sim::new(seed);
    for (at, act) in plan {
        while ok() && sim.turn(*at) {}
        sim.act(*act);
    }
    sim.crash_in = None;
    let calm = Duration::from_secs(900);
    let end = sim.now + Ms::try_from(calm.as_millis()).unwrap_or(Ms::MAX);
    while ok() && sim.turn(end) {}
    if ok() {
        sim.agrees();
    }
    let outcome = BROKEN.with(|it| it.borrow_mut().take());
    (outcome.map_or(Ok(()), |what| Err(Broken(what))), sim.steps)
}
