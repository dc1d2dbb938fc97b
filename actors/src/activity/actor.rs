//! Writes what was noted, in groups, every `activity_resolution`.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Message, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::warn;

use super::{client::Notes, pending::Pending};
use crate::{
    store::{self, ChangeError},
    supervise::{On, faults, handles},
};

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

/// Notes that were taken out to be written. Dropped before that is certain (the disk refused, the actor panicked) they
/// are noted again; written twice they do no harm.
struct Taken {
    notes: Notes,
    group: Pending,
}

impl Taken {
    fn from(notes: &Notes) -> Self {
        Self { notes: notes.clone(), group: notes.with(|pending| pending.take(GROUP)) }
    }

    fn written(mut self) {
        self.group = Pending::default();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let group = std::mem::take(&mut self.group);
        self.notes.with(|pending| pending.merge(group));
    }
}

/// Writes all of it; what could not be written is noted again.
pub(super) async fn flush(notes: Notes, store: store::Client) {
    loop {
        let taken = Taken::from(&notes);
        if taken.group.is_empty() {
            return;
        }
        let wanted = taken.group.clone();
        let written: Result<(), ChangeError<std::convert::Infallible>> =
            store.change(move |image| Ok((wanted.writes(image), ()))).await;
        match written {
            Ok(()) => taken.written(),
            Err(error) => {
                warn!(%error, "activity not written");
                return;
            }
        }
    }
}

#[cfg(test)]
crate::supervise::poison::takes_poison!(Actor);

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("activity", "started");
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

handles!(Actor as "activity": Flush);

impl On<Flush> for Actor {
    type Result = ResponseFuture<()>;
    fn on(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        Box::pin(flush(self.notes.clone(), self.store.clone()))
    }
}
