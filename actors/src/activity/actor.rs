//! Writes what was noted, in groups, every `activity_resolution`.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::warn;

use super::client::Notes;
use crate::store::{self, ChangeError};

/// Records per change: far below what one frame of the journal holds.
const GROUP: usize = 500;

/// The actor.
pub struct Actor {
    notes: Notes,
    store: store::Client,
    resolution: Arc<ArcSwap<Duration>>,
}

impl Actor {
    /// Writes the notes to the store so often.
    pub fn new(notes: Notes, store: store::Client, resolution: Arc<ArcSwap<Duration>>) -> Self {
        Self { notes, store, resolution }
    }
}

/// Writes all of it; what could not be written is noted again.
async fn flush(notes: Notes, store: store::Client) {
    loop {
        let group = notes.with(|pending| pending.take(GROUP));
        if group.is_empty() {
            return;
        }
        let wanted = group.clone();
        let written: Result<(), ChangeError<std::convert::Infallible>> =
            store.change(move |image| Ok((wanted.writes(image), ()))).await;
        if let Err(error) = written {
            warn!(%error, "activity not written");
            notes.with(|pending| pending.merge(group));
            return;
        }
    }
}

#[cfg(test)]
crate::supervise::poison::takes_poison!(Actor);

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (notes, store, resolution) =
            (self.notes.clone(), self.store.clone(), self.resolution.clone());
        let writing = async move {
            loop {
                // Zero would be a busy loop.
                sleep((**resolution.load()).max(Duration::from_millis(100))).await;
                flush(notes.clone(), store.clone()).await;
            }
        };
        ctx.spawn(writing.into_actor(self));
    }
}

/// Write now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Flush;

impl Handler<Flush> for Actor {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        Box::pin(flush(self.notes.clone(), self.store.clone()))
    }
}
