//! Makes an actor in an arbiter and observes its task, so that a panic is seen.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context};
use tokio::sync::oneshot;

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It stopped by itself or was asked to.
    Normal,
    /// It panicked, with this text.
    Panicked(String),
    /// Its arbiter went away.
    Cancelled,
}

/// An actor that was started.
#[derive(Debug)]
pub struct Running<A: Actor> {
    /// Where it is.
    pub addr: Addr<A>,
    /// Resolves when it has ended.
    pub ended: oneshot::Receiver<Ended>,
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
    let (tell_ended, ended) = oneshot::channel();
    let (tell_addr, addr) = oneshot::channel();
    let spawned = arbiter.spawn_fn(move || {
        let mut ctx = Context::<A>::new();
        ctx.set_mailbox_capacity(capacity);
        let addr = ctx.address();
        let actor = match catch_unwind(AssertUnwindSafe(|| make(&mut ctx))) {
            Ok(actor) => actor,
            Err(panic) => {
                let _ = tell_addr.send(Err(Ended::Panicked(panic_text(&*panic))));
                return;
            }
        };
        let task = actix::spawn(ctx.into_future(actor));
        let _ = tell_addr.send(Ok(addr));
        actix::spawn(async move {
            let how = match task.await {
                Ok(()) => Ended::Normal,
                Err(error) if error.is_panic() => Ended::Panicked(panic_text(&*error.into_panic())),
                Err(_) => Ended::Cancelled,
            };
            let _ = tell_ended.send(how);
        });
    });
    if !spawned {
        return Err(Ended::Cancelled);
    }
    let addr = addr.await.unwrap_or(Err(Ended::Cancelled))?;
    Ok(Running { addr, ended })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}
