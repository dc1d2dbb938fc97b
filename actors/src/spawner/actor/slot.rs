//! What an actor keeps of one server.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix::SpawnHandle;

use super::Reply;
use crate::{
    domain::{Moment, OrderId, Secret, Server},
    spawner::machine::{Effect, Event, State},
    spawners::Ask,
};

/// One server.
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) queue: VecDeque<Queued>,
    pub(super) step: Option<Step>,
    /// The note that isn't written yet.
    pub(super) note: Option<SpawnHandle>,
    /// Orders to be forgotten once it is.
    pub(super) forget: Vec<OrderId>,
    /// Tasks of orders in hand.
    pub(super) tasks: Vec<(OrderId, SpawnHandle)>,
    /// Has the start's own answer come?
    pub(super) landed: Arc<AtomicBool>,
    /// The API token of the order that was recorded last, until it is handed on.
    pub(super) token: Option<Secret>,
    pub(super) version: Option<String>,
    pub(super) deaths: Vec<Moment>,
    /// How often the start in hand was repeated because somebody else had its port. Not recorded: a new life of this
    /// actor may try a little more often.
    pub(super) other_ports: u32,
    /// The order of the current or last life.
    pub(super) life: Option<OrderId>,
}

/// An event that waits its turn.
pub(super) struct Queued {
    pub(super) event: Event,
    pub(super) ask: Option<Ask>,
    pub(super) reply: Option<Reply>,
}

/// A step that is being carried out.
pub(super) struct Step {
    pub(super) next: State,
    pub(super) effects: VecDeque<Effect>,
    pub(super) ask: Option<Ask>,
    pub(super) reply: Option<Reply>,
    /// A person's start, which wipes the slate.
    pub(super) fresh: bool,
}

impl Slot {
    pub(super) fn new(server: Option<&Server>) -> Self {
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
            other_ports: 0,
            life: server.and_then(|server| server.state.order().cloned()),
        }
    }

    pub(super) fn at_rest(&self) -> bool {
        self.state.at_rest()
            && self.step.is_none()
            && self.queue.is_empty()
            && self.note.is_none()
            && self.tasks.is_empty()
            // What comes up late must be killed by this actor.
            && self.landed.load(Ordering::Acquire)
    }
}
