//! Inputs that kill: after a few deaths over the same input it is refused, so that one bad record cannot keep an actor
//! down for everybody (`RELIABILITY.md`, row 9).
//!
//! ```text
//!   enter(key) ──▶ Pass ──▶ done()     the strikes of this key are forgotten
//!                   └─────▶ dropped    the actor died over it: one more strike; at the third, quarantine
//! ```
//!
//! A [`Pass`] is for work that does not wait. Work that does is [`Quarantine::work`]: only a panic of its own, while it is
//! polled, is a strike; that the actor died of something else meanwhile is none.
//!
//! The list lives outside the actor (its constructor clones it in) and so outlives it. A restart costs an actor's
//! supervisor one exit, three of which are within every sensible [`super::Limits`].

use std::{
    collections::HashMap,
    fmt::Display,
    future::poll_fn,
    hash::Hash,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;
use tracing::error;

use super::health::{Aside, seconds};

/// So many deaths over one input are enough.
const STRIKES: u32 = 3;

/// At most so many inputs are remembered; beyond that the oldest makes room.
const REMEMBERED: usize = 1_000;

/// This input has killed its actor too often and is not looked at for a while. Somebody should: the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this has failed too often and is put aside for {} s", for_another.as_secs())]
pub struct Quarantined {
    /// How long still.
    pub for_another: Duration,
}

/// What an actor died of lately. Clones share the list.
#[derive(Debug)]
pub struct Quarantine<K> {
    what: &'static str,
    period: Duration,
    strikes: Arc<Mutex<HashMap<K, Strikes>>>,
}

#[derive(Debug, Clone, Copy)]
struct Strikes {
    count: u32,
    last: Instant,
}

impl<K> Clone for Quarantine<K> {
    fn clone(&self) -> Self {
        Self { what: self.what, period: self.period, strikes: self.strikes.clone() }
    }
}

impl<K: Display + Hash + Eq + Clone> Quarantine<K> {
    /// An empty list. `what` names the actor in the log; `period` is how long a strike counts, and so how long an
    /// input is put aside.
    pub fn new(what: &'static str, period: Duration) -> Self {
        Self { what, period, strikes: Arc::default() }
    }

    /// May this be worked on? Keep the pass while it is, and say [`Pass::done`] when it went well or was refused in
    /// good order.
    pub fn enter(&self, key: K) -> Result<Pass<K>, Quarantined> {
        let now = Instant::now();
        let mut strikes = self.strikes();
        if let Some(known) = strikes.get(&key) {
            let age = now.duration_since(known.last);
            if age >= self.period {
                strikes.remove(&key);
            } else if known.count >= STRIKES {
                return Err(Quarantined { for_another: self.period - age });
            }
        }
        drop(strikes);
        Ok(Pass { list: self.clone(), key: Some(key) })
    }

    /// Is it put aside?
    pub fn look(&self, key: &K) -> Result<(), Quarantined> {
        let strikes = self.strikes();
        let known = strikes.get(key).filter(|known| known.count >= STRIKES);
        let left = known.and_then(|known| self.period.checked_sub(known.last.elapsed()));
        match left.filter(|left| !left.is_zero()) {
            Some(for_another) => Err(Quarantined { for_another }),
            None => Ok(()),
        }
    }

    /// Does work that waits, unless it is put aside. When it panics that is a strike; when it is done, or given up
    /// because its actor ended for another reason, that is none.
    pub async fn work<T>(&self, key: K, work: impl Future<Output = T>) -> Result<T, Quarantined> {
        self.look(&key)?;
        let mut work = pin!(work);
        let done = poll_fn(|context| {
            let turn = Pass { list: self.clone(), key: Some(key.clone()) };
            let polled = work.as_mut().poll(context);
            turn.keep();
            polled
        })
        .await;
        self.strikes().remove(&key);
        Ok(done)
    }

    /// One strike: the input failed in a way that was survived.
    pub fn strike(&self, key: K) {
        let now = Instant::now();
        let mut strikes = self.strikes();
        strikes.retain(|_, known| now.duration_since(known.last) < self.period);
        if strikes.len() >= REMEMBERED && !strikes.contains_key(&key) {
            let oldest = strikes.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                strikes.remove(&oldest);
            }
        }
        let known = strikes.entry(key.clone()).or_insert(Strikes { count: 0, last: now });
        known.count += 1;
        known.last = now;
        if known.count == STRIKES {
            error!(actor = self.what, input = %key, "input quarantined");
        }
    }

    /// What is put aside now.
    pub fn aside(&self) -> Vec<Aside> {
        let strikes = self.strikes();
        let all = strikes.iter().filter(|(_, known)| known.count >= STRIKES);
        let left = all.filter_map(|(key, known)| {
            let left = self.period.checked_sub(known.last.elapsed())?;
            if left.is_zero() {
                return None;
            }
            let (actor, input) = (self.what, key.to_string());
            Some(Aside { actor, input, for_another: seconds(left) })
        });
        left.collect()
    }

    fn strikes(&self) -> MutexGuard<'_, HashMap<K, Strikes>> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to work on one input.
#[derive(Debug)]
#[must_use = "dropping a pass that is not done is a strike"]
pub struct Pass<K: Display + Hash + Eq + Clone> {
    list: Quarantine<K>,
    key: Option<K>,
}

impl<K: Display + Hash + Eq + Clone> Pass<K> {
    /// It did no harm: its strikes are forgotten.
    pub fn done(mut self) {
        if let Some(key) = self.key.take() {
            self.list.strikes().remove(&key);
        }
    }

    /// It went on without harm, and is not done: nothing changes.
    fn keep(mut self) {
        self.key = None;
    }
}

impl<K: Display + Hash + Eq + Clone> Drop for Pass<K> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.list.strike(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix::{Actor, Arbiter, Context, Handler, Message, System};

    use super::*;
    use crate::{
        supervise::{ChildSpec, Supervisor, Unavailable, named},
        testing::SeededEntropy,
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn die(list: &Quarantine<&'static str>, key: &'static str) -> bool {
        list.enter(key).map(drop).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn three_deaths_put_an_input_aside_for_a_while() {
        let list = Quarantine::new("test", HOUR);
        assert!(die(&list, "bad") && die(&list, "bad") && die(&list, "bad"));
        tokio::time::advance(HOUR / 4).await;
        assert_eq!(list.enter("bad").unwrap_err(), Quarantined { for_another: HOUR * 3 / 4 });
        assert!(list.enter("good").is_ok());
        tokio::time::advance(HOUR).await;
        assert!(die(&list, "bad"), "it gets another chance");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_well_in_between_is_forgiven() {
        let list = Quarantine::new("test", HOUR);
        for _ in 0..10 {
            assert!(die(&list, "flaky") && die(&list, "flaky"));
            list.enter("flaky").unwrap().done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_has_a_bound() {
        let list = Quarantine::new("test", HOUR);
        for n in 0..5_000 {
            drop(list.enter(n));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(list.strikes().len(), REMEMBERED);
        assert!(list.strikes().contains_key(&4_999));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_work_that_panics_gets_a_strike() {
        let list = Quarantine::new("test", HOUR);
        for n in 1..=3 {
            let (bad, good) = (list.clone(), list.clone());
            let beside =
                tokio::spawn(async move { good.work("good", std::future::pending::<()>()).await });
            let died = tokio::spawn(async move {
                let work = async {
                    tokio::task::yield_now().await;
                    panic!("on purpose");
                };
                bad.work("bad", work).await.map(|(): ()| ())
            });
            assert!(died.await.unwrap_err().is_panic());
            beside.abort();
            assert_eq!(list.look(&"bad").is_err(), n == 3);
            assert_eq!(list.look(&"good"), Ok(()));
        }
        let refused = list.work("bad", async { unreachable!("it is put aside") }).await;
        assert!(refused.is_err());
        let aside = list.aside();
        assert_eq!((aside.len(), aside[0].actor, aside[0].input.as_str()), (1, "test", "bad"));
        tokio::time::advance(HOUR).await;
        assert_eq!(list.aside(), []);
        assert_eq!(list.work("bad", async { 7 }).await, Ok(7));
        assert!(list.strikes().is_empty(), "forgiven");
    }

    struct Fragile(Quarantine<&'static str>);

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "Result<(), Quarantined>")]
    struct Work(&'static str);

    impl Handler<Work> for Fragile {
        type Result = Result<(), Quarantined>;
        fn handle(&mut self, work: Work, _: &mut Context<Self>) -> Self::Result {
            let pass = self.0.enter(work.0)?;
            assert_ne!(work.0, "bad", "died over it");
            pass.done();
            Ok(())
        }
    }

    #[test]
    fn one_bad_input_does_not_keep_an_actor_down() {
        System::new().block_on(async {
            let (publisher, name) = named("fragile");
            let list = Quarantine::new("fragile", HOUR);
            let spec = ChildSpec::actor("fragile", Arbiter::current(), 8, publisher, move |_| {
                Fragile(list.clone())
            });
            let entropy = Arc::new(SeededEntropy::new(1));
            let supervision = Supervisor::new("test", entropy).child(spec).start();
            let patience = Duration::from_secs(5);
            let mut deaths = 0;
            for _ in 0..50 {
                match name.ask(Work("bad"), patience).await {
                    Err(Unavailable::Died(_)) => deaths += 1,
                    Ok(Err(Quarantined { .. })) => {}
                    other => panic!("{other:?}"),
                }
                assert_eq!(name.ask(Work("good"), patience).await, Ok(Ok(())));
            }
            assert_eq!(deaths, 3);
            supervision.stop().await.unwrap();
        });
    }
}
