//! A name that survives restarts. After a panic an actor's address is closed for good; a name follows to the new one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, Handler, Message, dev::ToEnvelope};
use thiserror::Error;
use tokio::sync::watch;

/// Nobody answered. Only [`Unavailable::Restarting`] proves that the message was not handled; after the others repeat
/// it only if repeating does no harm, and at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// No actor of that name came up within the deadline, or none ever will: nothing was sent.
    #[error("{0} is restarting")]
    Restarting(&'static str),
    /// It died or stopped while the message was with it, before, while or after handling it.
    #[error("{0} failed while it was asked")]
    Died(&'static str),
    /// It did not answer within the deadline (or its mailbox stayed full so long).
    #[error("{0} did not answer in time")]
    Timeout(&'static str),
}

/// Says where an actor is now. Held by whoever starts it.
#[derive(Debug)]
pub struct Publisher<A: Actor>(pub(crate) watch::Sender<Option<Addr<A>>>);

impl<A: Actor> Publisher<A> {
    /// It is here now; or nowhere.
    pub fn publish(&self, addr: Option<Addr<A>>) {
        self.0.send_replace(addr);
    }
}

/// Reaches an actor by what it is, wherever it lives now.
#[derive(Debug)]
pub struct Name<A: Actor> {
    what: &'static str,
    addr: watch::Receiver<Option<Addr<A>>>,
    waiting: Arc<AtomicUsize>,
}

/// One ask in hand.
struct InHand(Arc<AtomicUsize>);

impl InHand {
    fn new(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting.clone())
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A: Actor> Clone for Name<A> {
    fn clone(&self) -> Self {
        Self { what: self.what, addr: self.addr.clone(), waiting: self.waiting.clone() }
    }
}

/// A fresh name and the right to publish under it.
pub fn named<A: Actor>(what: &'static str) -> (Publisher<A>, Name<A>) {
    let (sender, addr) = watch::channel(None);
    (Publisher(sender), Name { what, addr, waiting: Arc::default() })
}

impl<A: Actor> Name<A> {
    /// Asks and waits, at most `patience` in all (for the actor to come up and to answer).
    pub async fn ask<M>(&self, message: M, patience: Duration) -> Result<M::Result, Unavailable>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let _in_hand = InHand::new(&self.waiting);
        let mut sent = false;
        let asked = async {
            let mut here = self.addr.clone();
            let addr = {
                // A dead address may still be published for a moment: only a connected one counts.
                let found = here.wait_for(|addr| addr.as_ref().is_some_and(Addr::connected)).await;
                found
                    .ok()
                    .and_then(|addr| addr.clone())
                    .ok_or(Unavailable::Restarting(self.what))?
            };
            sent = true;
            addr.send(message).await.map_err(|_| Unavailable::Died(self.what))
        };
        let outcome = tokio::time::timeout(patience, asked).await;
        match outcome {
            Ok(answer) => answer,
            Err(_) if sent => Err(Unavailable::Timeout(self.what)),
            Err(_) => Err(Unavailable::Restarting(self.what)),
        }
    }

    /// How many asks under this name wait for their answer.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Is somebody there now? For status pages; an answer that was true a moment ago.
    pub fn is_up(&self) -> bool {
        self.addr.borrow().as_ref().is_some_and(Addr::connected)
    }

    /// Tells without waiting; says whether the mailbox took it. Full or nobody there: the sender keeps the truth
    /// elsewhere (an event is a bell, never the only copy).
    pub fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.addr.borrow().as_ref().is_some_and(|addr| addr.try_send(message).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use actix::{Arbiter, AtomicResponse, Context, System, fut::wrap_future};
    use tokio::sync::oneshot;

    use super::*;
    use crate::supervise::start;

    const PATIENCE: Duration = Duration::from_secs(60);

    struct Busy;

    impl Actor for Busy {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Hold(oneshot::Receiver<()>);

    impl Handler<Hold> for Busy {
        type Result = AtomicResponse<Self, ()>;
        fn handle(&mut self, hold: Hold, _: &mut Context<Self>) -> Self::Result {
            AtomicResponse::new(Box::pin(wrap_future(async { drop(hold.0.await) })))
        }
    }

    fn hold() -> (oneshot::Sender<()>, Hold) {
        let (release, held) = oneshot::channel();
        (release, Hold(held))
    }

    #[test]
    fn a_full_mailbox_takes_no_more() {
        System::new().block_on(async {
            let (publisher, name) = named("busy");
            let running = start(&Arbiter::current(), 1, |_| Busy).await.unwrap();
            publisher.publish(Some(running.addr));
            let (releases, taken): (Vec<_>, Vec<_>) = (0..10)
                .map(|_| {
                    let (release, message) = hold();
                    (release, name.tell(message))
                })
                .unzip();
            assert!(taken[0], "the first fits");
            assert!(!taken[9], "the mailbox has a bound");
            drop(releases);
            let (release, message) = hold();
            drop(release);
            assert_eq!(name.ask(message, PATIENCE).await, Ok(()), "asking waits for room");
        });
    }

    #[test]
    fn a_name_nobody_will_publish_is_answered_at_once() {
        System::new().block_on(async {
            let (publisher, name) = named::<Busy>("busy");
            drop(publisher);
            let (_release, message) = hold();
            assert_eq!(name.ask(message, PATIENCE).await, Err(Unavailable::Restarting("busy")));
        });
    }

    #[test]
    fn who_asks_early_is_served_when_it_comes_up() {
        System::new().block_on(async {
            let (publisher, name) = named("busy");
            let (release, message) = hold();
            drop(release);
            let asking = actix::spawn(async move { name.ask(message, PATIENCE).await });
            tokio::task::yield_now().await;
            let running = start(&Arbiter::current(), 1, |_| Busy).await.unwrap();
            publisher.publish(Some(running.addr));
            assert_eq!(asking.await.unwrap(), Ok(()));
        });
    }
}
