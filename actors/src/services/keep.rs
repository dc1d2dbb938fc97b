//! What is to be done so that what runs becomes what is wanted: pure.
//!
//! ```text
//!   wanted (configuration) ─┐
//!   running (root's table) ─┼─▶ step ─▶ Start, Terminate, Kill, Forget; when to look again
//!   memory (deaths, stops) ─┘
//! ```
//!
//! Asked again whenever one of them changes. The memory is a cache: who begins without it starts what does not run, and
//! lets run what does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    domain::{OrderId, ServiceName},
    ports::Exit,
    spawner::restart,
};

/// How long a service may take to leave after it was asked to.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One that ran so long before it died has not failed to start: it comes back soon.
pub const STEADY: Duration = Duration::from_secs(300);

/// A process of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The act that made it.
    pub order: OrderId,
    /// By which entry of the configuration, as a digest; none: nobody knows any more.
    pub spec: Option<String>,
    /// How it ended; none: it lives.
    pub exit: Option<Exit>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Start it.
    Start(ServiceName),
    /// Ask this one to leave.
    Terminate(OrderId),
    /// It did not.
    Kill(OrderId),
    /// It has ended, and that was taken note of.
    Forget {
        /// Whose.
        service: ServiceName,
        /// Which act.
        order: OrderId,
        /// How.
        exit: Exit,
        /// Was it told to?
        asked: bool,
    },
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub struct Memory {
    services: BTreeMap<ServiceName, Past>,
    stopping: BTreeMap<OrderId, Instant>,
}

#[derive(Debug, Default)]
struct Past {
    /// Deaths in a row.
    deaths: usize,
    /// Not started before.
    rests_until: Option<Instant>,
    /// Since when this one is known to run.
    seen: Option<(OrderId, Instant)>,
}

impl Memory {
    /// A start came to nothing, or a service died: when is it tried again?
    pub fn failed(&mut self, service: &ServiceName, now: Instant, jitter: u64) {
        let past = self.services.entry(service.clone()).or_default();
        past.deaths += 1;
        past.rests_until = Some(now + restart::delay(past.deaths, jitter));
    }
}

/// What is to be done now, and when to look again if nothing happens before.
pub fn step(
    wanted: &BTreeMap<ServiceName, String>,
    running: &BTreeMap<ServiceName, Vec<Child>>,
    memory: &mut Memory,
    now: Instant,
    mut jitter: impl FnMut() -> u64,
) -> (Vec<Act>, Option<Instant>) {
    let mut acts = Vec::new();
    let mut again: Option<Instant> = None;
    let mut wake = |at: Instant| again = Some(again.map_or(at, |other| other.min(at)));
    memory.services.retain(|name, _| wanted.contains_key(name));
    let known: BTreeSet<&OrderId> = running.values().flatten().map(|child| &child.order).collect();
    memory.stopping.retain(|order, _| known.contains(order));
    let names: BTreeSet<&ServiceName> = wanted.keys().chain(running.keys()).collect();
    for name in names {
        let children = running.get(name).map(Vec::as_slice).unwrap_or_default();
        for child in children {
            let Some(exit) = child.exit else { continue };
            let asked = memory.stopping.remove(&child.order).is_some();
            if let Some(past) = memory.services.get_mut(name)
                && let Some((_, since)) = past.seen.take_if(|(order, _)| *order == child.order)
                && now.duration_since(since) >= STEADY
            {
                past.deaths = 0;
            }
            if !asked && wanted.contains_key(name) {
                memory.failed(name, now, jitter());
            }
            let (service, order) = (name.clone(), child.order.clone());
            acts.push(Act::Forget { service, order, exit, asked });
        }
        let spec = wanted.get(name);
        let fits = |child: &&Child| {
            spec.is_some_and(|spec| child.spec.as_ref().is_none_or(|its| its == spec))
        };
        let living = || children.iter().filter(|child| child.exit.is_none());
        let keeper =
            living().find(|child| fits(child) && !memory.stopping.contains_key(&child.order));
        for child in living().filter(|child| Some(*child) != keeper) {
            match memory.stopping.get(&child.order) {
                Some(until) if now < *until => wake(*until),
                asked => {
                    let order = child.order.clone();
                    let act = if asked.is_some() { Act::Kill } else { Act::Terminate };
                    acts.push(act(order.clone()));
                    memory.stopping.insert(order, now + PATIENCE);
                    wake(now + PATIENCE);
                }
            }
        }
        let Some(_) = spec else { continue };
        let past = memory.services.entry(name.clone()).or_default();
        match keeper {
            Some(child) => {
                if past.seen.as_ref().is_none_or(|(order, _)| *order != child.order) {
                    past.seen = Some((child.order.clone(), now));
                }
            }
            // One at a time: the one before must have left.
            None if living().next().is_some() => {}
            None => match past.rests_until {
                Some(until) if now < until => wake(until),
                _ => acts.push(Act::Start(name.clone())),
            },
        }
    }
    (acts, again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    fn order(n: u8) -> OrderId {
        OrderId::from_bytes([n; 16])
    }

    fn wanted(specs: &[(&str, &str)]) -> BTreeMap<ServiceName, String> {
        specs.iter().map(|(service, spec)| (name(service), (*spec).to_owned())).collect()
    }

    fn runs(children: &[(u8, Option<&str>, Option<Exit>)]) -> BTreeMap<ServiceName, Vec<Child>> {
        let child = |(n, spec, exit): &(u8, Option<&str>, Option<Exit>)| Child {
            order: order(*n),
            spec: spec.map(str::to_owned),
            exit: *exit,
        };
        BTreeMap::from([(name("a"), children.iter().map(child).collect())])
    }

    /// Looks at it so many seconds after the beginning.
    struct Scene(Memory, Instant);

    impl Scene {
        fn new() -> Self {
            Self(Memory::default(), tokio::time::Instant::now().into_std())
        }
        fn at(
            &mut self,
            seconds: u64,
            wanted: &BTreeMap<ServiceName, String>,
            running: &BTreeMap<ServiceName, Vec<Child>>,
        ) -> (Vec<Act>, Option<u64>) {
            let now = self.1 + Duration::from_secs(seconds);
            let (acts, again) = step(wanted, running, &mut self.0, now, || 0);
            (acts, again.map(|at| at.duration_since(self.1).as_secs()))
        }
    }

    #[test]
    fn what_is_wanted_is_started_and_what_runs_is_left_alone() {
        let mut scene = Scene::new();
        let want = wanted(&[("a", "1")]);
        assert_eq!(scene.at(0, &want, &BTreeMap::new()), (vec![Act::Start(name("a"))], None));
        assert_eq!(scene.at(1, &want, &runs(&[(1, Some("1"), None)])), (vec![], None));
        // A new hub remembers nothing: it adopts what runs, also where nobody knows from which entry.
        assert_eq!(Scene::new().at(0, &want, &runs(&[(1, Some("1"), None)])), (vec![], None));
        assert_eq!(Scene::new().at(0, &want, &runs(&[(1, None, None)])), (vec![], None));
    }

    #[test]
    fn a_death_is_answered_by_a_start_after_a_growing_rest() {
        let mut scene = Scene::new();
        let want = wanted(&[("a", "1")]);
        let exit = Exit::Signal(9);
        let forget = |n| Act::Forget { service: name("a"), order: order(n), exit, asked: false };
        let dead = |n| runs(&[(n, Some("1"), Some(exit))]);
        scene.at(0, &want, &runs(&[(1, Some("1"), None)]));
        assert_eq!(scene.at(10, &want, &dead(1)), (vec![forget(1)], Some(11)));
        assert_eq!(scene.at(10, &want, &BTreeMap::new()), (vec![], Some(11)));
        assert_eq!(scene.at(11, &want, &BTreeMap::new()).0, [Act::Start(name("a"))]);
        scene.at(11, &want, &runs(&[(2, Some("1"), None)]));
        assert_eq!(scene.at(12, &want, &dead(2)).1, Some(14), "twice as long");
        scene.at(14, &want, &runs(&[(3, Some("1"), None)]));
        assert_eq!(scene.at(400, &want, &dead(3)).1, Some(401), "it ran well for long");
    }

    #[test]
    fn a_start_that_comes_to_nothing_is_tried_again_later() {
        let mut scene = Scene::new();
        let want = wanted(&[("a", "1")]);
        scene.at(0, &want, &BTreeMap::new());
        let now = scene.1;
        scene.0.failed(&name("a"), now, 0);
        assert_eq!(scene.at(0, &want, &BTreeMap::new()), (vec![], Some(1)));
        assert_eq!(scene.at(1, &want, &BTreeMap::new()).0, [Act::Start(name("a"))]);
    }

    #[test]
    fn what_is_not_wanted_is_asked_to_leave_and_then_killed() {
        let mut scene = Scene::new();
        let alive = runs(&[(1, Some("1"), None)]);
        let nothing = BTreeMap::new();
        assert_eq!(scene.at(0, &nothing, &alive), (vec![Act::Terminate(order(1))], Some(10)));
        assert_eq!(scene.at(5, &nothing, &alive), (vec![], Some(10)));
        assert_eq!(scene.at(10, &nothing, &alive).0, [Act::Kill(order(1))]);
        let dead = runs(&[(1, Some("1"), Some(Exit::Signal(9)))]);
        let (service, order, exit) = (name("a"), order(1), Exit::Signal(9));
        let forget = Act::Forget { service, order, exit, asked: true };
        assert_eq!(scene.at(11, &nothing, &dead), (vec![forget], None));
    }

    #[test]
    fn another_entry_takes_the_place_of_the_one_before_without_a_rest() {
        let mut scene = Scene::new();
        let (old, new) = (runs(&[(1, Some("1"), None)]), wanted(&[("a", "2")]));
        assert_eq!(scene.at(0, &new, &old).0, [Act::Terminate(order(1))]);
        let dead = runs(&[(1, Some("1"), Some(Exit::Code(0)))]);
        let acts = scene.at(1, &new, &dead).0;
        assert_eq!(acts.last(), Some(&Act::Start(name("a"))), "{acts:?}");
    }

    #[test]
    fn of_two_that_run_one_goes() {
        let twice = runs(&[(1, Some("1"), None), (2, Some("1"), None)]);
        let acts = Scene::new().at(0, &wanted(&[("a", "1")]), &twice).0;
        assert_eq!(acts, [Act::Terminate(order(2))]);
    }
}
