//! What a supervisor knows about a child: its name, how to start it, when to restart it, how long it may take to stop.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, ArbiterHandle, Context};
use tokio::task::AbortHandle;

use super::{
    Ended, Publisher, Quit, QuitSignal, Supervisor,
    start::{how_it_ended, quit, start},
    window::Limits,
};
use crate::ports::Boxed;

/// When a child that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// Unless it ended normally.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Is one that ended so started again?
    pub fn applies(self, ended: &Ended) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => *ended != Ended::Normal,
            Self::Temporary => false,
        }
    }
}

/// A child that was started.
pub struct Alive {
    /// Asks it to stop.
    pub quit: Quit,
    /// Cuts it off, if it can be: a thread cannot.
    pub abort: Option<AbortHandle>,
    /// Resolves when it has ended.
    pub ended: Boxed<'static, Ended>,
}

type Start = Box<dyn FnMut() -> Boxed<'static, Result<Alive, Ended>> + Send>;

/// How one child lives. Built by [`ChildSpec::actor`], [`ChildSpec::task`], [`ChildSpec::supervisor`] or, for anything
/// else, [`ChildSpec::custom`]; changed by the functions named after the fields.
pub struct ChildSpec {
    pub(crate) name: &'static str,
    pub(crate) restart: Restart,
    pub(crate) limits: Limits,
    pub(crate) start_limit: Duration,
    pub(crate) stop_limit: Duration,
    pub(crate) start: Start,
}

impl ChildSpec {
    /// A child that is started by this function. Permanent, with the default [`Limits`]; 10 s to start, 5 s to stop.
    pub fn custom(
        name: &'static str,
        start: impl FnMut() -> Boxed<'static, Result<Alive, Ended>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            restart: Restart::Permanent,
            limits: Limits::default(),
            start_limit: Duration::from_secs(10),
            stop_limit: Duration::from_secs(5),
            start: Box::new(start),
        }
    }

    /// An actor in an arbiter. `make` is called there at each start; `capacity` bounds the mailbox. The name the
    /// publisher belongs to leads to the actor while it lives and nowhere in between.
    pub fn actor<A>(
        name: &'static str,
        arbiter: ArbiterHandle,
        capacity: usize,
        publisher: Publisher<A>,
        make: impl Fn(&mut Context<A>) -> A + Send + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>>,
    {
        let (make, publisher) = (Arc::new(Mutex::new(make)), Arc::new(publisher));
        Self::custom(name, move || {
            let (arbiter, make, publisher) = (arbiter.clone(), make.clone(), publisher.clone());
            Box::pin(async move {
                let make = move |ctx: &mut Context<A>| {
                    // A constructor that panicked before poisons the lock, but not what is in it: it is only called.
                    make.lock().unwrap_or_else(PoisonError::into_inner)(ctx)
                };
                let running = start(&arbiter, capacity, make).await?;
                publisher.publish(Some(running.addr));
                let down = Down(publisher);
                let ended = async move {
                    let how = running.ended.await.unwrap_or(Ended::Cancelled);
                    drop(down);
                    how
                };
                Ok(Alive { quit: running.quit, abort: Some(running.abort), ended: Box::pin(ended) })
            })
        })
    }

    /// A plain task on the current runtime. It should end soon after its signal.
    pub fn task<F>(
        name: &'static str,
        mut make: impl FnMut(QuitSignal) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self::custom(name, move || {
            let (quit, signal) = quit();
            let task = tokio::spawn(make(signal));
            let abort = Some(task.abort_handle());
            let ended = Box::pin(async move { how_it_ended(task.await) });
            Box::pin(async move { Ok(Alive { quit, abort, ended }) })
        })
    }

    /// A supervisor below this one. `make` builds it anew at each start. When it escalates, that is an exit here.
    /// It may take as long to stop as its children in sum: say how long by [`ChildSpec::stop_limit`].
    pub fn supervisor(
        name: &'static str,
        mut make: impl FnMut() -> Supervisor + Send + 'static,
    ) -> Self {
        Self::task(name, move |signal| {
            let supervisor = make();
            async move { supervisor.run(signal).await.map_err(|error| error.to_string()) }
        })
        .stop_limit(Duration::from_secs(30))
    }

    /// When to start it again.
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// How often and how fast.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// How long it may take to come up; later counts as an exit.
    #[must_use]
    pub fn start_limit(self, start_limit: Duration) -> Self {
        Self { start_limit, ..self }
    }

    /// How long it may take to stop before it is cut off.
    #[must_use]
    pub fn stop_limit(self, stop_limit: Duration) -> Self {
        Self { stop_limit, ..self }
    }
}

/// Takes a name back when its actor has ended, or when nobody waits for that any more.
struct Down<A: Actor>(Arc<Publisher<A>>);

impl<A: Actor> Drop for Down<A> {
    fn drop(&mut self) {
        self.0.publish(None);
    }
}
