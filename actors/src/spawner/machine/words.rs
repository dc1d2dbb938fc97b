//! The machine's words: what a server can be, what happens to it, what is to be done, and what a step depends on.

use thiserror::Error;

use crate::{
    domain::{Cause, Moment, OrderId, ServerState, Stopper, server::Handle},
    ports::{Exit, Recovered},
    spawner::restart::Restart,
};

/// How far a server is. As recorded, and `Routing`, which is recorded as `Probing`.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not running, with the reason of the last end.
    Stopped(Option<Cause>),
    /// Waiting for room.
    Queued {
        /// Since when.
        since: Moment,
    },
    /// An order was given to the spawner.
    Starting {
        /// The act's id.
        order: OrderId,
    },
    /// Produced; not answering yet.
    Probing {
        /// The act's id.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens.
        url: String,
    },
    /// Answering; its route is being set.
    Routing {
        /// The act's id.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens.
        url: String,
    },
    /// In service.
    Running {
        /// The act's id.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens.
        url: String,
    },
    /// Being ended.
    Stopping {
        /// The act's id.
        order: OrderId,
        /// How to find it; none if it was being started.
        handle: Option<Handle>,
        /// Why.
        cause: Cause,
        /// Is its record to go with it?
        remove: bool,
    },
    /// Died; to be started again.
    Waiting {
        /// When.
        until: Moment,
        /// What happened.
        cause: Cause,
    },
    /// Died too often.
    Failed(Cause),
}

impl State {
    /// The order in hand.
    pub fn order(&self) -> Option<&OrderId> {
        match self {
            Self::Starting { order }
            | Self::Probing { order, .. }
            | Self::Routing { order, .. }
            | Self::Running { order, .. }
            | Self::Stopping { order, .. } => Some(order),
            Self::Stopped(_) | Self::Queued { .. } | Self::Waiting { .. } | Self::Failed(_) => None,
        }
    }

    /// Nothing goes on and nothing is to come but by an ask: such a server needs no actor.
    pub fn at_rest(&self) -> bool {
        match self {
            Self::Stopped(_) | Self::Queued { .. } | Self::Failed(_) => true,
            Self::Starting { .. }
            | Self::Probing { .. }
            | Self::Routing { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Waiting { .. } => false,
        }
    }

    /// As it is recorded.
    pub fn recorded(&self) -> ServerState {
        match self.clone() {
            Self::Stopped(cause) => ServerState::Stopped(cause),
            Self::Queued { since } => ServerState::Queued { since },
            Self::Starting { order } => ServerState::Starting { order },
            Self::Probing { order, handle, url } | Self::Routing { order, handle, url } => {
                ServerState::Probing { order, handle, url }
            }
            Self::Running { order, handle, url } => ServerState::Running { order, handle, url },
            Self::Stopping { order, handle, cause, remove } => {
                ServerState::Stopping { order, handle, cause, remove }
            }
            Self::Waiting { until, cause } => ServerState::Waiting { until, cause },
            Self::Failed(cause) => ServerState::Failed(cause),
        }
    }

    pub(super) fn is_on(&self, which: &OrderId) -> bool {
        self.order() == Some(which)
    }
}

impl From<ServerState> for State {
    fn from(recorded: ServerState) -> Self {
        match recorded {
            ServerState::Stopped(cause) => Self::Stopped(cause),
            ServerState::Queued { since } => Self::Queued { since },
            ServerState::Starting { order } => Self::Starting { order },
            ServerState::Probing { order, handle, url } => Self::Probing { order, handle, url },
            ServerState::Running { order, handle, url } => Self::Running { order, handle, url },
            ServerState::Stopping { order, handle, cause, remove } => {
                Self::Stopping { order, handle, cause, remove }
            }
            ServerState::Waiting { until, cause } => Self::Waiting { until, cause },
            ServerState::Failed(cause) => Self::Failed(cause),
        }
    }
}

/// What happens to a server. All but what people ask name the order they are about: news of another order changes
/// nothing here (but see [`Event::Spawned`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A person or client wants it, under this fresh order.
    Start(OrderId),
    /// A person wants it, and there is no room: it waits from this moment on.
    Queue(Moment),
    /// It is to be ended.
    Stop {
        /// Who wants that; none: its owner.
        by: Option<Stopper>,
        /// Is its record to go with it?
        remove: bool,
    },
    /// The spawner has produced it. Killed if nobody waits for it any more.
    Spawned {
        /// Which act.
        order: OrderId,
        /// How to find it.
        handle: Handle,
        /// Where it listens.
        url: String,
    },
    /// The spawner could not, or the start cannot go on.
    SpawnFailed {
        /// Which act.
        order: OrderId,
        /// Why.
        cause: Cause,
    },
    /// The spawner has not answered within `start_timeout`.
    StartTimedOut(OrderId),
    /// It answered over HTTP.
    Answered(OrderId),
    /// It has not answered over HTTP within `http_timeout`.
    Silent(OrderId),
    /// Somebody else listens where it should.
    PortTaken(OrderId),
    /// All proxies have its route.
    Routed(OrderId),
    /// A proxy did not take its route.
    NotRouted {
        /// Which act.
        order: OrderId,
        /// What was said.
        why: String,
    },
    /// It has ended.
    Exited {
        /// Which act.
        order: OrderId,
        /// How.
        exit: Exit,
        /// Did its last words say that its address is in use?
        address_in_use: bool,
    },
    /// [`Effect::Kill`] is done: nothing of this order lives.
    Killed(OrderId),
    /// The moment of [`Effect::Wake`] has come; here is a fresh order.
    Due {
        /// Which moment that was.
        until: Moment,
        /// For the new start.
        order: OrderId,
    },
    /// The last step's [`Effect::Record`] failed: the step did not happen.
    NotRecorded,
    /// After a restart of hub or actor: this is what became of the recorded order.
    Found {
        /// Which act.
        order: OrderId,
        /// What the spawner says.
        found: Recovered,
    },
}

impl Event {
    /// What kind it is, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "Start",
            Self::Queue(_) => "Queue",
            Self::Stop { .. } => "Stop",
            Self::Spawned { .. } => "Spawned",
            Self::SpawnFailed { .. } => "SpawnFailed",
            Self::StartTimedOut(_) => "StartTimedOut",
            Self::Answered(_) => "Answered",
            Self::Silent(_) => "Silent",
            Self::PortTaken(_) => "PortTaken",
            Self::Routed(_) => "Routed",
            Self::NotRouted { .. } => "NotRouted",
            Self::Exited { .. } => "Exited",
            Self::Killed(_) => "Killed",
            Self::Due { .. } => "Due",
            Self::NotRecorded => "NotRecorded",
            Self::Found { .. } => "Found",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Record this before going on.
    Record(ServerState),
    /// Record this; it has happened already.
    Note(ServerState),
    /// Have the spawner start this order; [`Event::Spawned`], [`Event::SpawnFailed`] or [`Event::StartTimedOut`] follow.
    Spawn(OrderId),
    /// Wait for its end; [`Event::Exited`] follows.
    Watch {
        /// Which act.
        order: OrderId,
        /// How to find it.
        handle: Handle,
    },
    /// Ask it until it answers; [`Event::Answered`], [`Event::Silent`] or [`Event::PortTaken`] follow.
    Probe {
        /// Which act.
        order: OrderId,
        /// Where it listens.
        url: String,
    },
    /// Have the proxies lead to it; [`Event::Routed`] or [`Event::NotRouted`] follow.
    Route {
        /// Which act.
        order: OrderId,
        /// Where it listens.
        url: String,
    },
    /// Have no proxy lead to it any more.
    Unroute,
    /// End it, however long that takes; [`Event::Killed`] follows.
    Kill {
        /// Which act.
        order: OrderId,
        /// How to find it; without one the spawner is asked by order.
        handle: Option<Handle>,
    },
    /// Say [`Event::Due`] at this moment.
    Wake(Moment),
    /// The spawner may forget this order, once its end is recorded.
    Forget(OrderId),
}

impl Effect {
    /// What kind it is, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "Record",
            Self::Note(_) => "Note",
            Self::Spawn(_) => "Spawn",
            Self::Watch { .. } => "Watch",
            Self::Probe { .. } => "Probe",
            Self::Route { .. } => "Route",
            Self::Unroute => "Unroute",
            Self::Kill { .. } => "Kill",
            Self::Wake(_) => "Wake",
            Self::Forget(_) => "Forget",
        }
    }
}

/// Why nothing is done for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is being started.
    #[error("the server is being started already")]
    Starting,
    /// It runs.
    #[error("the server is already running")]
    Running,
    /// It is being stopped.
    #[error("the server is being stopped")]
    Stopping,
    /// It does not run.
    #[error("the server is not running")]
    NotRunning,
}

/// What a step may depend on besides state and event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context<'a> {
    /// The wall clock.
    pub now: Moment,
    /// Is a server that ended by itself started again?
    pub policy: Restart,
    /// Its earlier deaths.
    pub deaths: &'a [Moment],
    /// Random, 0 to 999.
    pub jitter: u64,
    /// Seconds the spawner has.
    pub start_timeout: u64,
    /// Seconds the server has to answer.
    pub http_timeout: u64,
    /// How often this start was repeated because somebody else had its port.
    pub other_ports: u32,
}
