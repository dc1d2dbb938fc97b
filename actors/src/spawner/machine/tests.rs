//! The machine by tables, and against a model of the world.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Stopper, Username},
    ports::Started,
    spawner::Restart,
};

fn order(n: u8) -> OrderId {
    OrderId::from_bytes([n; 16])
}

fn handle(n: u8) -> Handle {
    Handle(format!("h{n}"))
}

fn url(n: u8) -> String {
    format!("http://127.0.0.1:{n}")
}

fn with(deaths: &[Moment]) -> Context<'_> {
    Context {
        now: Moment(1_000_000),
        policy: Restart::OnFailure,
        deaths,
        jitter: 0,
        start_timeout: 60,
        http_timeout: 30,
        other_ports: 0,
    }
}

fn starting(n: u8) -> State {
    State::Starting { order: order(n) }
}
fn probing(n: u8) -> State {
    State::Probing { order: order(n), handle: handle(n), url: url(n) }
}
fn routing(n: u8) -> State {
    State::Routing { order: order(n), handle: handle(n), url: url(n) }
}
fn running(n: u8) -> State {
    State::Running { order: order(n), handle: handle(n), url: url(n) }
}
fn stopping(n: u8, known: bool, cause: Cause) -> State {
    State::Stopping { order: order(n), handle: known.then(|| handle(n)), cause, remove: false }
}
fn waiting() -> State {
    State::Waiting { until: Moment(5), cause: Cause::Exited(1) }
}

fn queued() -> State {
    State::Queued { since: Moment(5) }
}

fn every_state() -> Vec<State> {
    vec![
        State::Stopped(None),
        starting(1),
        probing(1),
        routing(1),
        running(1),
        stopping(1, false, Cause::Stopped),
        stopping(1, true, Cause::Stopped),
        waiting(),
        State::Failed(Cause::Exited(1)),
        queued(),
    ]
}

fn go(state: &State, event: Event) -> (State, Vec<Effect>) {
    step(state, event, &with(&[])).unwrap()
}

fn spawned(n: u8) -> Event {
    Event::Spawned { order: order(n), handle: handle(n), url: url(n) }
}

fn stop() -> Event {
    Event::Stop { by: None, remove: false }
}

fn exited(n: u8, exit: Exit) -> Event {
    Event::Exited { order: order(n), exit, address_in_use: false }
}

#[test]
fn the_whole_way_up_and_down() {
    let mut state = State::Stopped(None);
    let mut done = Vec::new();
    for event in [
        Event::Start(order(1)),
        spawned(1),
        Event::Answered(order(1)),
        Event::Routed(order(1)),
        stop(),
        Event::Killed(order(1)),
    ] {
        let (next, effects) = go(&state, event);
        state = next;
        done.extend(effects);
    }
    assert_eq!(state, State::Stopped(Some(Cause::Stopped)));
    assert_eq!(
        done,
        [
            Effect::Record(starting(1).recorded()),
            Effect::Spawn(order(1)),
            Effect::Note(probing(1).recorded()),
            Effect::Watch { order: order(1), handle: handle(1) },
            Effect::Probe { order: order(1), url: url(1) },
            Effect::Route { order: order(1), url: url(1) },
            Effect::Note(running(1).recorded()),
            Effect::Record(stopping(1, true, Cause::Stopped).recorded()),
            Effect::Unroute,
            Effect::Kill { order: order(1), handle: Some(handle(1)) },
            Effect::Unroute,
            Effect::Note(state.recorded()),
            Effect::Forget(order(1)),
        ]
    );
}

#[test]
fn people_are_refused_where_it_makes_no_sense() {
    use Refused::{NotRunning, Running, Starting, Stopping};
    let starts =
        [None, Some(Starting), Some(Starting), Some(Starting), Some(Running), Some(Stopping)];
    let starts = starts.into_iter().chain([Some(Stopping), None, None, None]);
    let stops =
        [Some(NotRunning), None, None, None, None, None, None, None, Some(NotRunning), None];
    for ((state, start), stop) in every_state().iter().zip(starts).zip(stops) {
        assert_eq!(step(state, Event::Start(order(9)), &with(&[])).err(), start, "{state:?}");
        let asked = Event::Stop { by: None, remove: false };
        assert_eq!(step(state, asked, &with(&[])).err(), stop, "{state:?}");
    }
}

#[test]
fn who_waits_for_room_is_started_or_leaves() {
    let queue = Event::Queue(Moment(5));
    for state in [State::Stopped(None), State::Failed(Cause::Exited(1))] {
        let (next, effects) = go(&state, queue.clone());
        assert_eq!((&next, effects), (&queued(), vec![Effect::Record(queued().recorded())]));
    }
    for state in every_state().iter().skip(1).filter(|it| !matches!(it, State::Failed(_))) {
        assert!(step(state, queue.clone(), &with(&[])).is_err(), "{state:?}");
    }
    assert_eq!(
        go(&queued(), Event::Start(order(1))),
        go(&State::Stopped(None), Event::Start(order(1)))
    );
    assert_eq!(go(&queued(), Event::NotRecorded), (queued(), vec![]));
    let (next, effects) = go(&queued(), stop());
    assert_eq!(effects, [Effect::Record(next.recorded())]);
    assert_eq!(next, State::Stopped(Some(Cause::Stopped)));
}

#[test]
fn a_late_spawn_is_killed() {
    for state in every_state() {
        let (next, effects) = go(&state, spawned(7));
        assert_eq!(next, state);
        assert_eq!(effects, [Effect::Kill { order: order(7), handle: Some(handle(7)) }]);
    }
    let (next, effects) = go(&stopping(1, false, Cause::Stopped), spawned(1));
    assert_eq!(next, stopping(1, true, Cause::Stopped));
    assert_eq!(effects, [Effect::Kill { order: order(1), handle: Some(handle(1)) }]);
}

#[test]
fn a_failing_start_ends_with_its_cause_and_without_a_restart() {
    let refused = Cause::Refused("no home".to_owned());
    for (state, event, cause, known) in [
        (
            starting(1),
            Event::SpawnFailed { order: order(1), cause: refused.clone() },
            refused,
            false,
        ),
        (starting(1), Event::StartTimedOut(order(1)), Cause::StartTimeout(60), false),
        (probing(1), Event::Silent(order(1)), Cause::HttpTimeout(30), true),
        (
            routing(1),
            Event::NotRouted { order: order(1), why: "no".to_owned() },
            Cause::SpawnFailed("no".to_owned()),
            true,
        ),
    ] {
        let (next, effects) = go(&state, event);
        assert_eq!(next, stopping(1, known, cause.clone()));
        assert!(matches!(effects.last(), Some(Effect::Kill { .. })), "{effects:?}");
        assert_eq!(go(&next, Event::Killed(order(1))).0, State::Stopped(Some(cause)));
    }
    for state in [starting(1), probing(1), routing(1)] {
        let (next, _) = go(&state, exited(1, Exit::Code(7)));
        assert_eq!(next, State::Stopped(Some(Cause::Exited(7))));
    }
}

#[test]
fn a_running_server_that_dies_is_started_again_by_the_policy() {
    let (next, effects) = go(&running(1), exited(1, Exit::Signal(9)));
    let State::Waiting { until, cause } = next.clone() else { panic!("{next:?}") };
    assert_eq!(cause, Cause::Signalled(9));
    assert_eq!(
        effects,
        [
            Effect::Unroute,
            Effect::Note(next.recorded()),
            Effect::Forget(order(1)),
            Effect::Wake(until)
        ]
    );
    assert_eq!(go(&next, Event::Due { until, order: order(2) }).0, starting(2));
    assert_eq!(go(&next, Event::Due { until: Moment(0), order: order(2) }).0, next);
    let (next, _) = go(&running(1), exited(1, Exit::Code(0)));
    assert_eq!(next, State::Stopped(Some(Cause::Exited(0))));
    let deaths = [Moment(1), Moment(2)];
    let (next, _) = step(&running(1), exited(1, Exit::Code(1)), &with(&deaths)).unwrap();
    assert_eq!(next, State::Failed(Cause::Exited(1)));
    assert_eq!(go(&next, Event::Start(order(3))).0, starting(3));
}

/// The way of a start whose port is taken, up to its next start or its end.
fn port_taken(from: State, event: Event, other_ports: u32) -> (State, Vec<Effect>) {
    let with = Context { other_ports, ..with(&[]) };
    let (mut state, mut done) = step(&from, event, &with).unwrap();
    if let State::Stopping { order, .. } = &state {
        assert_eq!(state, stopping(1, true, Cause::PortTaken(1)));
        assert_eq!(state.recorded().pending(), Some("spawn"), "the start goes on");
        assert!(matches!(done.last(), Some(Effect::Kill { .. })), "{done:?}");
        let (next, effects) = step(&state, Event::Killed(order.clone()), &with).unwrap();
        state = next;
        done.extend(effects);
    }
    (state, done)
}

#[test]
fn a_start_whose_port_is_taken_is_repeated_three_times() {
    let in_use = || Event::Exited { order: order(1), exit: Exit::Code(1), address_in_use: true };
    for (from, event) in [
        (probing(1), Event::PortTaken(order(1))),
        (probing(1), in_use()),
        (running(1), Event::PortTaken(order(1))),
    ] {
        let mut tries = 0;
        loop {
            let (state, done) = port_taken(from.clone(), event.clone(), tries);
            assert!(done.contains(&Effect::Forget(order(1))), "{done:?}");
            let State::Waiting { until, cause } = state.clone() else {
                assert_eq!(state, State::Stopped(Some(Cause::PortTaken(1))));
                assert_eq!(other_ports(tries, &from, &state), 0);
                break;
            };
            assert_eq!(cause, Cause::PortTaken(1));
            assert_eq!(done.last(), Some(&Effect::Wake(until)));
            assert!(until.since(with(&[]).now) <= ELSEWHERE * 2);
            assert_eq!(go(&state, Event::Due { until, order: order(2) }).0, starting(2));
            let stopped = State::Stopped(Some(Cause::Stopped));
            assert_eq!(go(&state, stop()).0, stopped, "it can be called off");
            tries = other_ports(tries, &stopping(1, true, cause), &state);
        }
        assert_eq!(tries, OTHER_PORTS);
    }
    for state in every_state() {
        if !matches!(state, State::Probing { .. } | State::Running { .. }) {
            assert_eq!(go(&state, Event::PortTaken(order(1))), (state, vec![]), "nobody asked it");
        }
    }
    let (next, _) = go(&running(1), in_use());
    let State::Waiting { cause, .. } = next else { panic!("{next:?}") };
    assert_eq!(cause, Cause::Exited(1), "it had its port");
}

#[test]
fn a_start_that_is_to_be_repeated_can_be_called_off_while_it_ends() {
    let (next, effects) = go(&stopping(1, true, Cause::PortTaken(1)), stop());
    assert_eq!(next, stopping(1, true, Cause::Stopped));
    assert_eq!(effects, [Effect::Record(next.recorded())], "its kill is under way");
    let (next, _) = go(&next, Event::Killed(order(1)));
    assert_eq!(next, State::Stopped(Some(Cause::Stopped)));
}

#[test]
fn who_asked_first_for_the_end_is_kept() {
    let eve = || Stopper::User(Username::new("eve").unwrap());
    let by_eve = || Cause::StoppedBy(eve());
    for state in [starting(1), probing(1), routing(1), running(1)] {
        let (next, _) = go(&state, Event::Stop { by: Some(eve()), remove: false });
        assert_eq!(next.recorded().cause(), Some(&by_eve()));
        assert_eq!(go(&next, stop()), (next.clone(), vec![]));
        assert_eq!(go(&next, Event::Killed(order(1))).0, State::Stopped(Some(by_eve())));
    }
    let (next, _) = go(&waiting(), Event::Stop { by: Some(eve()), remove: false });
    assert_eq!(next, State::Stopped(Some(by_eve())));
}

#[test]
fn that_the_record_is_to_go_is_recorded_before_the_end_and_not_forgotten() {
    let remove = || Event::Stop { by: None, remove: true };
    let goes = |state: &State| matches!(state, State::Stopping { remove: true, .. });
    for state in [
        starting(1),
        probing(1),
        routing(1),
        running(1),
        stopping(1, false, Cause::Stopped),
        stopping(1, true, Cause::HttpTimeout(1)),
        stopping(1, true, Cause::PortTaken(1)),
    ] {
        let (next, effects) = go(&state, remove());
        assert!(goes(&next), "{state:?}");
        assert_eq!(effects[0], Effect::Record(next.recorded()), "{state:?}");
        assert_eq!(go(&next, remove()), (next.clone(), vec![]), "once is enough");
        assert_eq!(go(&next, stop()), (next.clone(), vec![]), "nobody takes it back");
        assert_eq!(State::from(next.recorded()), next, "the next hub knows");
        let alive = Recovered::Alive(Started { handle: handle(1), url: url(1) });
        assert!(goes(&go(&next, Event::Found { order: order(1), found: alive }).0));
        assert!(goes(&go(&next, spawned(1)).0));
        assert!(matches!(go(&next, Event::Killed(order(1))).0, State::Stopped(_)));
    }
    let again = Event::Start(order(9));
    let removing = go(&running(1), remove()).0;
    assert_eq!(step(&removing, again, &with(&[])), Err(Refused::Stopping));
}

#[test]
fn what_a_spawner_says_after_a_crash_decides() {
    let alive = || Recovered::Alive(Started { handle: handle(1), url: url(1) });
    let stopped = |cause| State::Stopped(Some(cause));
    for (state, found, next) in [
        (starting(1), Recovered::Unknown, stopped(Cause::Interrupted)),
        (starting(1), alive(), probing(1)),
        (starting(1), Recovered::Ended(Exit::Code(3)), stopped(Cause::Exited(3))),
        (probing(1), Recovered::Unknown, stopped(Cause::Vanished)),
        (probing(1), alive(), probing(1)),
        (probing(1), Recovered::Ended(Exit::Signal(9)), stopped(Cause::Signalled(9))),
        (running(1), Recovered::Unknown, stopped(Cause::Vanished)),
        (running(1), alive(), running(1)),
        (running(1), Recovered::Ended(Exit::Code(0)), stopped(Cause::Exited(0))),
        (stopping(1, false, Cause::Stopped), alive(), stopping(1, true, Cause::Stopped)),
        (stopping(1, true, Cause::Stopped), Recovered::Unknown, stopped(Cause::Stopped)),
        (
            stopping(1, true, Cause::Stopped),
            Recovered::Ended(Exit::Unknown),
            stopped(Cause::Stopped),
        ),
    ] {
        let (got, effects) = go(&state, Event::Found { order: order(1), found: found.clone() });
        assert_eq!(got, next, "{state:?} {found:?}");
        let kills = effects.iter().any(|effect| matches!(effect, Effect::Kill { .. }));
        assert_eq!(kills, matches!(next, State::Stopping { .. }), "{state:?} {found:?}");
        assert!(!effects.contains(&Effect::Spawn(order(1))));
    }
    let (_, effects) = go(&running(1), Event::Found { order: order(1), found: alive() });
    assert!(effects.contains(&Effect::Route { order: order(1), url: url(1) }));
    assert_eq!(go(&running(1), Event::Silent(order(1))).0, running(1));
}

#[test]
fn a_start_that_cannot_be_recorded_waits_for_better_times() {
    let (next, effects) = go(&waiting(), Event::NotRecorded);
    let State::Waiting { until, .. } = next else { panic!("{next:?}") };
    assert_eq!(effects, [Effect::Wake(until)]);
    for state in every_state().into_iter().filter(|state| *state != waiting()) {
        assert_eq!(go(&state, Event::NotRecorded), (state, vec![]));
    }
}

/// The world as far as a machine sees it: which orders live, and what it will hear in the end.
#[derive(Debug, Default)]
struct World {
    fresh: u8,
    /// Orders given to the spawner that have not come up.
    asked: Vec<u8>,
    alive: Vec<u8>,
    dying: Vec<u8>,
    recorded: Option<ServerState>,
    wake: Option<Moment>,
    routed: bool,
}

fn number(order: &OrderId) -> u8 {
    (0..=u8::MAX).find(|n| super::tests::order(*n) == *order).unwrap()
}

impl World {
    /// Does what an actor does. `disk`: do records succeed?
    fn carry(&mut self, state: &mut State, event: Event, disk: bool) {
        let deaths = [];
        let Ok((next, effects)) = step(state, event, &with(&deaths)) else { return };
        for effect in effects {
            match effect {
                Effect::Record(_) if !disk => {
                    let (next, effects) = step(state, Event::NotRecorded, &with(&deaths)).unwrap();
                    for effect in effects {
                        let Effect::Wake(moment) = effect else { panic!("{effect:?}") };
                        self.wake = Some(moment);
                    }
                    *state = next;
                    return;
                }
                Effect::Record(state) | Effect::Note(state) => self.recorded = Some(state),
                Effect::Spawn(id) => {
                    assert_eq!(
                        self.recorded.as_ref().and_then(ServerState::order),
                        Some(&id),
                        "an act before its record"
                    );
                    self.asked.push(number(&id));
                }
                Effect::Kill { order, .. } => self.dying.push(number(&order)),
                Effect::Wake(moment) => self.wake = Some(moment),
                Effect::Route { .. } => self.routed = true,
                Effect::Unroute => self.routed = false,
                Effect::Watch { .. } | Effect::Probe { .. } | Effect::Forget(_) => {}
            }
        }
        *state = next;
    }

    fn event(&mut self, kind: u8, pick: u8, state: &State) -> Option<Event> {
        let one = |list: &[u8]| (!list.is_empty()).then(|| list[pick as usize % list.len()]);
        let ours = state.order().cloned();
        Some(match kind {
            0 => {
                self.fresh += 1;
                Event::Start(order(self.fresh))
            }
            1 => Event::Stop { by: None, remove: pick.is_multiple_of(3) },
            2 => {
                let n = one(&self.asked)?;
                self.asked.retain(|asked| *asked != n);
                self.alive.push(n);
                spawned(n)
            }
            3 => {
                let n = one(&self.asked)?;
                self.asked.retain(|asked| *asked != n);
                Event::SpawnFailed { order: order(n), cause: Cause::Refused("no".to_owned()) }
            }
            4 => Event::StartTimedOut(ours?),
            5 => Event::Answered(ours?),
            6 => Event::Silent(ours?),
            7 => Event::Routed(ours?),
            8 => Event::NotRouted { order: ours?, why: String::new() },
            9 => {
                let n = one(&self.alive)?;
                self.alive.retain(|alive| *alive != n);
                let exit = Exit::Code(i32::from(pick % 2));
                Event::Exited { order: order(n), exit, address_in_use: pick % 4 == 1 }
            }
            10 => {
                let n = one(&self.dying)?;
                self.dying.retain(|dying| *dying != n);
                // A kill by order ends it even if it has not come up.
                self.alive.retain(|alive| *alive != n);
                Event::Killed(order(n))
            }
            12 => Event::PortTaken(ours?),
            14 => Event::Queue(Moment(i64::from(pick))),
            11 => {
                self.fresh += 1;
                Event::Due { until: self.wake.take()?, order: order(self.fresh) }
            }
            _ => {
                let n = ours.as_ref().map(number)?;
                let found = if self.alive.contains(&n) {
                    Recovered::Alive(Started { handle: handle(n), url: url(n) })
                } else {
                    return None;
                };
                Event::Found { order: ours?, found }
            }
        })
    }
}

proptest! {
    /// Every live server is either the machine's own or about to be killed, and at most one is wanted.
    #[test]
    fn never_two_lives_at_once(events in prop::collection::vec((0u8..15, any::<u8>(), 0u8..8), 0..120)) {
        let (mut world, mut state) = (World::default(), State::Stopped(None));
        for (kind, pick, disk) in events {
            if world.fresh == 200 {
                break;
            }
            if let Some(event) = world.event(kind, pick, &state) {
                world.carry(&mut state, event, disk != 0);
            }
            let ours = state.order().map(number);
            for life in &world.alive {
                prop_assert!(
                    Some(*life) == ours || world.dying.contains(life),
                    "{life} lives and nobody kills it: {state:?}"
                );
            }
            if let State::Stopping { order, .. } = &state {
                prop_assert!(world.dying.contains(&number(order)), "stopping without a kill");
            }
            // A route may outlive a crash between setting it and noting that it runs: Found goes back to Probing.
            let may_be_routed = matches!(
                state,
                State::Probing { .. } | State::Routing { .. } | State::Running { .. }
            );
            prop_assert!(!world.routed || may_be_routed, "routed while it is {:?}", state);
        }
    }

    /// When whatever is under way comes to its end, by answer or by timeout, the machine rests soon.
    #[test]
    fn every_path_ends(events in prop::collection::vec((0u8..15, any::<u8>()), 0..60)) {
        let (mut world, mut state) = (World::default(), State::Stopped(None));
        for (kind, pick) in events {
            if let Some(event) = world.event(kind, pick, &state) {
                world.carry(&mut state, event, true);
            }
        }
        for _ in 0..6 {
            let kind = match &state {
                State::Stopped(_) | State::Failed(_) | State::Running { .. } => break,
                State::Starting { .. } => 4,
                State::Probing { .. } => 6,
                State::Routing { .. } => 8,
                State::Stopping { order, .. } => {
                    let event = Event::Killed(order.clone());
                    world.carry(&mut state, event, true);
                    continue;
                }
                State::Waiting { .. } => 11,
                // The registry starts it.
                State::Queued { .. } => 0,
            };
            let event = world.event(kind, 0, &state);
            prop_assert!(event.is_some(), "{state:?} waits for nothing");
            world.carry(&mut state, event.unwrap(), true);
        }
        prop_assert!(state.at_rest() || matches!(&state, State::Running { .. }), "{:?}", state);
    }
}
