//! Makes an actor in an arbiter and observes its task, so that a panic is seen.
//!
//! How an actor is asked to stop: by its [`Quit`], which acts like `ctx.stop()` from within; no message to implement.
//! The actor does its last, short work in `Actor::stopping`. What waits in its mailbox is lost, and those who asked
//! hear so at once. While the actor waits for an `AtomicResponse` or `ctx.wait` it hears nothing, a quit neither.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context};
use tokio::{sync::oneshot, task::AbortHandle};

/// How an actor, task or supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It stopped by itself or was asked to.
    Normal,
    /// It gave up, for this reason.
    Failed(String),
    /// It panicked, with this text.
    Panicked(String),
    /// Its arbiter went away, or its task was cut off.
    Cancelled,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal => f.write_str("ended"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Cancelled => f.write_str("was cut off"),
        }
    }
}

/// Asks one actor, task or supervisor to stop. Dropping it asks nothing.
#[derive(Debug)]
pub struct Quit(oneshot::Sender<()>);

/// Hears a [`Quit`].
#[derive(Debug)]
pub struct QuitSignal(oneshot::Receiver<()>);

/// Someone who may ask, and someone who hears it.
pub fn quit() -> (Quit, QuitSignal) {
    let (ask, hear) = oneshot::channel();
    (Quit(ask), QuitSignal(hear))
}

impl Quit {
    /// Asks. Asking who has ended is no error.
    pub fn ask(self) {
        let _ = self.0.send(());
    }
}

impl QuitSignal {
    /// Resolves when asked. If the asker is dropped instead, never. May be polled anew after it was given up.
    pub async fn asked(&mut self) {
        if (&mut self.0).await.is_err() {
            std::future::pending().await
        }
    }

    /// Resolves when asked (true) or when nobody can ask any more (false).
    pub async fn asked_or_dropped(self) -> bool {
        self.0.await.is_ok()
    }
}

/// An actor that was started.
#[derive(Debug)]
pub struct Running<A: Actor> {
    /// Where it is.
    pub addr: Addr<A>,
    /// Resolves when it has ended.
    pub ended: oneshot::Receiver<Ended>,
    /// Asks it to stop.
    pub quit: Quit,
    /// Cuts it off at its next await, if it does not stop when asked.
    pub abort: AbortHandle,
}

/// Starts an actor. `capacity` bounds its mailbox. A panicking constructor is reported like a panic later on.
pub async fn start<A>(
    arbiter: &ArbiterHandle,
    capacity: usize,
    make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
) -> Result<Running<A>, Ended>
where
    A: Actor<Context = Context<A>>,
{
    let (tell, told) = oneshot::channel();
    let spawned = arbiter.spawn_fn(move || {
        if tell.is_closed() {
            return; // who asked has given up waiting: an actor nobody observes must not live
        }
        let _ = tell.send(launch(capacity, make));
    });
    if !spawned {
        return Err(Ended::Cancelled);
    }
    told.await.unwrap_or(Err(Ended::Cancelled))
}

/// Within the arbiter's thread: makes the actor, sets its task and its observer going.
fn launch<A>(capacity: usize, make: impl FnOnce(&mut Context<A>) -> A) -> Result<Running<A>, Ended>
where
    A: Actor<Context = Context<A>>,
{
    let mut ctx = Context::<A>::new();
    ctx.set_mailbox_capacity(capacity);
    let addr = ctx.address();
    let actor = catch_unwind(AssertUnwindSafe(|| make(&mut ctx)))
        .map_err(|panic| Ended::Panicked(panic_text(&*panic)))?;
    let (quit, signal) = quit();
    ctx.spawn(actix::fut::wrap_future::<_, A>(signal.asked_or_dropped()).map(
        |asked, _, ctx: &mut Context<A>| {
            if asked {
                ctx.stop();
            }
        },
    ));
    let task = actix::spawn(ctx.into_future(actor));
    let abort = task.abort_handle();
    let (tell_ended, ended) = oneshot::channel();
    actix::spawn(async move {
        let _ = tell_ended.send(how_it_ended(task.await.map(|()| Ok(()))));
    });
    Ok(Running { addr, ended, quit, abort })
}

/// What a joined task tells.
pub(crate) fn how_it_ended(joined: Result<Result<(), String>, tokio::task::JoinError>) -> Ended {
    match joined {
        Ok(Ok(())) => Ended::Normal,
        Ok(Err(why)) => Ended::Failed(why),
        Err(error) if error.is_panic() => Ended::Panicked(panic_text(&*error.into_panic())),
        Err(_) => Ended::Cancelled,
    }
}

/// Does work that waits; a panic of it becomes its text. Only for work that leaves nothing half done behind.
pub(crate) async fn caught<T>(
    work: impl Future<Output = T> + std::panic::UnwindSafe,
) -> Result<T, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |context| {
        let turn = AssertUnwindSafe(|| work.as_mut().poll(context));
        match catch_unwind(turn) {
            Ok(std::task::Poll::Ready(done)) => std::task::Poll::Ready(Ok(done)),
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Err(panic) => std::task::Poll::Ready(Err(panic_text(&*panic))),
        }
    })
    .await
}

/// The text of a panic, as far as it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };

    use actix::{Arbiter, System};

    use super::*;

    #[derive(Debug)]
    struct Idle;

    impl Actor for Idle {
        type Context = Context<Self>;
    }

    #[test]
    fn a_start_nobody_waits_for_makes_no_actor() {
        System::new().block_on(async {
            let arbiter = Arbiter::new();
            let handle = arbiter.handle();
            let (release, held) = mpsc::channel::<()>();
            arbiter.spawn_fn(move || {
                let _ = held.recv();
            });
            let made = Arc::new(Mutex::new(false));
            let mark = made.clone();
            let starting = start(&handle, 1, move |_| {
                *mark.lock().unwrap() = true;
                Idle
            });
            assert!(tokio::time::timeout(Duration::from_millis(5), starting).await.is_err());
            let (passed, by) = oneshot::channel();
            drop(release);
            arbiter.spawn_fn(move || {
                let _ = passed.send(());
            });
            by.await.unwrap();
            assert!(!*made.lock().unwrap());
            arbiter.stop();
        });
    }

    #[test]
    fn an_arbiter_that_has_gone_is_an_answer() {
        System::new().block_on(async {
            let arbiter = Arbiter::new();
            let handle = arbiter.handle();
            arbiter.stop();
            arbiter.join().unwrap();
            assert_eq!(start(&handle, 1, |_| Idle).await.unwrap_err(), Ended::Cancelled);
        });
    }

    #[test]
    fn a_dropped_quit_asks_nothing_and_a_lonely_actor_ends() {
        System::new().block_on(async {
            let Running { addr, ended, quit, .. } =
                start(&Arbiter::current(), 1, |_| Idle).await.unwrap();
            drop(quit);
            tokio::task::yield_now().await;
            assert!(addr.connected());
            drop(addr);
            assert_eq!(ended.await.unwrap(), Ended::Normal);
        });
    }
}
