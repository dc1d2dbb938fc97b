//! One server's life: pure. The [`super::actor`] carries the effects out and feeds what comes of them back as events.
//!
//! ```text
//!             Start                Spawned                 Answered             Routed
//!   Stopped ─────────▶ Starting ───────────▶ Probing ───────────────▶ Routing ─────────▶ Running
//!     ▲  ▲  Record+Spawn  │ │  Note+Watch+Probe │ │        Route         │ │                │ │
//!     │  │                │ └──────────────────┐│ └───────────────────┐  │ └──┐             │ │
//!     │  │ Killed, Exited ▼ Stop, failed, late ▼▼ Stop, silent        ▼  ▼    ▼ Stop        │ │
//!     │  └───────────── Stopping ◀────────────────────────────────────┴──┴────┴──────────────┘ │
//!     │    Note+Forget        Record+Unroute+Kill                                              │
//!     │                                                                              Exited    │
//!     ├── Exited in Starting, Probing, Routing: the start ends at once                        ▼
//!     └────────────────────────────────────────────────── by `restart` ── Stopped, Waiting, Failed
//!
//!   Waiting ── Due, Start ──▶ Starting          Failed ── Start ──▶ Starting
//!   Stopped, Failed ── Queue ──▶ Queued ── Start (there is room) ──▶ Starting          Queued ── Stop ──▶ Stopped
//!   A Spawned that comes when nobody waits for it is killed, whatever the state.
//!
//!            PortTaken          Killed, Exited             Due
//!   Probing ───────────▶ Stopping ───────────────▶ Waiting ─────▶ Starting, at most [`OTHER_PORTS`] times,
//!      └── Exited: address in use ────────────────────┘           then Stopped (port taken)
//! ```
//!
//! A port that is taken is no death: the spawner draws another one for a new order, and to the person who waits it is
//! one start. An adopted server that runs is treated so too: its route must not lead to somebody else.
//!
//! Effects are done in order. [`Effect::Record`] stands before an act: if it fails, neither the act nor the step
//! happens (the state stays, [`Event::NotRecorded`] follows). [`Effect::Note`] tells what has happened already: it
//! holds nothing up and is repeated until it succeeds or a later one replaces it.

use std::time::Duration;

use super::restart::{self, After};
use crate::{
    domain::{Cause, Moment, OrderId, ServerState, server::Handle},
    ports::{Exit, Recovered},
};

#[cfg(test)]
mod tests;
mod words;

pub use words::{Context, Effect, Event, Refused, State};

/// So often a start is repeated because somebody else has its port.
pub const OTHER_PORTS: u32 = 3;

/// Such a start begins so long after the last one has ended, before jitter.
const ELSEWHERE: Duration = Duration::from_millis(100);

/// Moves a server by one event.
pub fn step(
    state: &State,
    event: Event,
    with: &Context<'_>,
) -> Result<(State, Vec<Effect>), Refused> {
    use {Effect as Do, Event as On, State as In};
    let stay = |effects: Vec<Effect>| Ok((state.clone(), effects));
    Ok(match event {
        On::Start(order) => match state {
            In::Stopped(_) | In::Queued { .. } | In::Failed(_) | In::Waiting { .. } => begin(order),
            In::Starting { .. } | In::Probing { .. } | In::Routing { .. } => {
                return Err(Refused::Starting);
            }
            In::Running { .. } => return Err(Refused::Running),
            In::Stopping { .. } => return Err(Refused::Stopping),
        },
        On::Queue(since) => match state {
            In::Stopped(_) | In::Failed(_) => {
                let next = In::Queued { since };
                let record = Do::Record(next.recorded());
                (next, vec![record])
            }
            In::Queued { .. }
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. } => return Err(Refused::Starting),
            In::Running { .. } => return Err(Refused::Running),
            In::Stopping { .. } => return Err(Refused::Stopping),
        },
        On::Due { until: moment, order } => match state {
            In::Waiting { until, .. } if *until == moment => begin(order),
            In::Waiting { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Stop { by, remove } => match state {
            In::Stopped(_) | In::Failed(_) => return Err(Refused::NotRunning),
            In::Queued { .. } | In::Waiting { .. } => {
                let next = In::Stopped(Some(Cause::asked(by)));
                let record = Do::Record(next.recorded());
                (next, vec![record])
            }
            In::Starting { order } => halt(order, None, Cause::asked(by), remove, Do::Record),
            In::Probing { order, handle, .. }
            | In::Routing { order, handle, .. }
            | In::Running { order, handle, .. } => {
                halt(order, Some(handle), Cause::asked(by), remove, Do::Record)
            }
            // It would be started again: now it will not.
            In::Stopping { order, handle, cause: Cause::PortTaken(_), remove: _ } => {
                let (order, handle) = (order.clone(), handle.clone());
                let next = In::Stopping { order, handle, cause: Cause::asked(by), remove };
                let record = Do::Record(next.recorded());
                (next, vec![record])
            }
            // Its end is under way; that its record goes with it is new.
            In::Stopping { order, handle, cause, remove: false } if remove => {
                let (order, handle, cause) = (order.clone(), handle.clone(), cause.clone());
                let next = In::Stopping { order, handle, cause, remove };
                let record = Do::Record(next.recorded());
                (next, vec![record])
            }
            In::Stopping { .. } => return stay(vec![]),
        },
        On::Spawned { order, handle, url } => match state {
            In::Starting { order: ours } if *ours == order => probe(order, handle, url),
            In::Stopping { order: ours, handle: None, cause, remove } if *ours == order => {
                let (order, handle) = (order, Some(handle));
                let kill = Do::Kill { order: order.clone(), handle: handle.clone() };
                let (cause, remove) = (cause.clone(), *remove);
                (In::Stopping { order, handle, cause, remove }, vec![kill])
            }
            In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { handle: Some(_), .. }
                if state.is_on(&order) =>
            {
                return stay(vec![]); // said twice
            }
            In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![Do::Kill { order, handle: Some(handle) }]),
        },
        On::SpawnFailed { order, cause } => match state {
            // Perhaps it did produce something: make sure by order.
            In::Starting { order: ours } if *ours == order => {
                halt(&order, None, cause, false, Do::Note)
            }
            // It cannot be asked whether it answers.
            In::Probing { order: ours, handle, .. } if *ours == order => {
                halt(&order, Some(handle), cause, false, Do::Note)
            }
            In::Starting { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::StartTimedOut(order) => match state {
            In::Starting { order: ours } if *ours == order => {
                halt(&order, None, Cause::StartTimeout(with.start_timeout), false, Do::Note)
            }
            In::Starting { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Answered(order) => match state {
            In::Probing { order: ours, handle, url } if *ours == order => {
                let (handle, url) = (handle.clone(), url.clone());
                let route = Do::Route { order: order.clone(), url: url.clone() };
                (In::Routing { order, handle, url }, vec![route])
            }
            In::Probing { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Silent(order) => match state {
            In::Probing { order: ours, handle, .. } if *ours == order => {
                halt(&order, Some(handle), Cause::HttpTimeout(with.http_timeout), false, Do::Note)
            }
            // An adopted server that runs may be silent: it is busy, and it has its route.
            In::Running { .. }
            | In::Probing { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Routing { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::PortTaken(order) => match state {
            In::Probing { order: ours, handle, url } | In::Running { order: ours, handle, url }
                if *ours == order =>
            {
                halt(&order, Some(handle), Cause::PortTaken(port(url)), false, Do::Note)
            }
            In::Probing { .. }
            | In::Running { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Routing { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Routed(order) => match state {
            In::Routing { order: ours, handle, url } if *ours == order => {
                let next = In::Running { order, handle: handle.clone(), url: url.clone() };
                let note = Do::Note(next.recorded());
                (next, vec![note])
            }
            In::Routing { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::NotRouted { order, why } => match state {
            In::Routing { order: ours, handle, .. } if *ours == order => {
                halt(&order, Some(handle), Cause::SpawnFailed(why), false, Do::Note)
            }
            // An adopted one's route stays wanted; the routes actor tries on.
            In::Running { .. }
            | In::Routing { .. }
            | In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Exited { order, exit, address_in_use } => match state {
            In::Probing { order: ours, url, .. } if *ours == order && address_in_use => {
                halted(&order, Cause::PortTaken(port(url)), with)
            }
            In::Starting { .. } | In::Probing { .. } | In::Routing { .. }
                if state.is_on(&order) =>
            {
                end(&order, In::Stopped(Some(restart::cause(exit))))
            }
            In::Running { .. } if state.is_on(&order) => died(&order, exit, with),
            In::Stopping { order: ours, cause, .. } if *ours == order => {
                halted(&order, cause.clone(), with)
            }
            In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
        },
        On::Killed(order) => match state {
            In::Stopping { order: ours, cause, .. } if *ours == order => {
                halted(&order, cause.clone(), with)
            }
            // Ours, but nobody asked for its death here: the watch will say how it ended.
            In::Starting { .. } | In::Probing { .. } | In::Routing { .. } | In::Running { .. }
                if state.is_on(&order) =>
            {
                return stay(vec![]);
            }
            // One that came late.
            In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Waiting { .. }
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![Do::Forget(order)]),
        },
        On::NotRecorded => match state {
            // The asker was told; nothing has changed.
            In::Stopped(_)
            | In::Queued { .. }
            | In::Failed(_)
            | In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. } => return stay(vec![]),
            In::Waiting { cause, .. } => {
                let until = with.now.plus(restart::delay(restart::TOO_MANY, with.jitter));
                (In::Waiting { until, cause: cause.clone() }, vec![Do::Wake(until)])
            }
        },
        On::Found { order, found } => match state {
            In::Stopped(_) | In::Queued { .. } | In::Failed(_) | In::Waiting { .. } => {
                return stay(vec![]);
            }
            In::Starting { .. }
            | In::Probing { .. }
            | In::Routing { .. }
            | In::Running { .. }
            | In::Stopping { .. }
                if !state.is_on(&order) =>
            {
                return stay(vec![]);
            }
            In::Starting { .. } => match found {
                Recovered::Unknown => end(&order, In::Stopped(Some(Cause::Interrupted))),
                Recovered::Alive(it) => probe(order, it.handle, it.url),
                Recovered::Ended(exit) => end(&order, In::Stopped(Some(restart::cause(exit)))),
            },
            In::Probing { .. } | In::Routing { .. } => match found {
                Recovered::Unknown => end(&order, In::Stopped(Some(Cause::Vanished))),
                Recovered::Alive(it) => probe(order, it.handle, it.url),
                Recovered::Ended(exit) => end(&order, In::Stopped(Some(restart::cause(exit)))),
            },
            In::Running { .. } => match found {
                Recovered::Unknown => died(&order, Exit::Unknown, with),
                Recovered::Alive(it) => {
                    let effects = vec![
                        Do::Watch { order: order.clone(), handle: it.handle.clone() },
                        Do::Route { order: order.clone(), url: it.url.clone() },
                        Do::Probe { order: order.clone(), url: it.url.clone() },
                    ];
                    let next = In::Running { order, handle: it.handle, url: it.url };
                    let moved = (next != *state).then(|| Do::Note(next.recorded()));
                    (next, moved.into_iter().chain(effects).collect())
                }
                Recovered::Ended(exit) => died(&order, exit, with),
            },
            In::Stopping { cause, remove, .. } => match found {
                Recovered::Unknown | Recovered::Ended(_) => halted(&order, cause.clone(), with),
                Recovered::Alive(it) => {
                    let handle = Some(it.handle);
                    let kill = Do::Kill { order: order.clone(), handle: handle.clone() };
                    let (cause, remove) = (cause.clone(), *remove);
                    (In::Stopping { order, handle, cause, remove }, vec![kill])
                }
            },
        },
    })
}

/// A start under this order.
fn begin(order: OrderId) -> (State, Vec<Effect>) {
    let next = State::Starting { order: order.clone() };
    let record = Effect::Record(next.recorded());
    (next, vec![record, Effect::Spawn(order)])
}

/// It is there: wait for its answer, and for its end.
fn probe(order: OrderId, handle: Handle, url: String) -> (State, Vec<Effect>) {
    let watch = Effect::Watch { order: order.clone(), handle: handle.clone() };
    let probe = Effect::Probe { order: order.clone(), url: url.clone() };
    let next = State::Probing { order, handle, url };
    let note = Effect::Note(next.recorded());
    (next, vec![note, watch, probe])
}

/// To be ended. On request that is recorded first; after a failure it is noted.
fn halt(
    order: &OrderId,
    handle: Option<&Handle>,
    cause: Cause,
    remove: bool,
    write: impl FnOnce(ServerState) -> Effect,
) -> (State, Vec<Effect>) {
    let handle = handle.cloned();
    let kill = Effect::Kill { order: order.clone(), handle: handle.clone() };
    let next = State::Stopping { order: order.clone(), handle, cause, remove };
    let write = write(next.recorded());
    // Unrouting what has no route does no harm.
    (next, vec![write, Effect::Unroute, kill])
}

/// It has ended.
fn end(order: &OrderId, next: State) -> (State, Vec<Effect>) {
    let note = Effect::Note(next.recorded());
    (next, vec![Effect::Unroute, note, Effect::Forget(order.clone())])
}

/// How often the start in hand was repeated because somebody else had its port, after a step from `from` to `next`.
pub fn other_ports(so_far: u32, from: &State, next: &State) -> u32 {
    match next {
        State::Waiting { cause: Cause::PortTaken(_), .. } => {
            so_far.saturating_add(u32::from(!matches!(from, State::Waiting { .. })))
        }
        State::Starting { .. }
        | State::Probing { .. }
        | State::Routing { .. }
        | State::Stopping { .. } => so_far,
        State::Stopped(_)
        | State::Queued { .. }
        | State::Waiting { .. }
        | State::Failed(_)
        | State::Running { .. } => 0,
    }
}

/// It has ended for this cause: for good, or, if it only was in the wrong place, to be started elsewhere.
fn halted(order: &OrderId, cause: Cause, with: &Context<'_>) -> (State, Vec<Effect>) {
    match cause {
        Cause::PortTaken(_) if with.other_ports < OTHER_PORTS => {
            let until = with.now.plus(ELSEWHERE + ELSEWHERE.mul_f64(with.jitter as f64 / 2_000.0));
            again(order, until, cause)
        }
        cause => end(order, State::Stopped(Some(cause))),
    }
}

/// It has ended and is to be started again at this moment.
fn again(order: &OrderId, until: Moment, cause: Cause) -> (State, Vec<Effect>) {
    let (next, mut effects) = end(order, State::Waiting { until, cause });
    effects.push(Effect::Wake(until));
    (next, effects)
}

/// The port in this URL; 0 where there is none.
fn port(url: &str) -> u16 {
    let (_, port) = url.rsplit_once(':').unwrap_or_default();
    port.trim_end_matches('/').parse().unwrap_or_default()
}

/// A running server ended by itself.
fn died(order: &OrderId, exit: Exit, with: &Context<'_>) -> (State, Vec<Effect>) {
    let cause = restart::cause(exit);
    match restart::after(with.policy, exit, with.deaths, with.now, with.jitter) {
        After::Stop => end(order, State::Stopped(Some(cause))),
        After::GiveUp => end(order, State::Failed(cause)),
        After::Wait(until) => again(order, until, cause),
    }
}
