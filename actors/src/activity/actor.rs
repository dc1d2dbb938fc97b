//! Writes what was noted, in groups, every `activity_resolution`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Message, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::warn;

use super::{client::Notes, pending::Pending};
use crate::{
    store::{self, ChangeError, Image},
    supervise::{On, Quarantine, faults, handles},
};

/// So many parts may fail before the rest of a group is left for the next time.
const MOST_FAILED: usize = 20;

/// Records per change: far below what one frame of the journal holds.
const GROUP: usize = 500;

/// The actor.
pub struct Actor {
    notes: Notes,
    store: store::Client,
    resolution: Arc<ArcSwap<Duration>>,
    bad: Quarantine<String>,
}

impl Actor {
    /// Writes the notes to the store so often. `bad` outlives it: uses that cannot be written.
    pub fn new(
        notes: Notes,
        store: store::Client,
        resolution: Arc<ArcSwap<Duration>>,
        bad: Quarantine<String>,
    ) -> Self {
        Self { notes, store, resolution, bad }
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
pub(super) async fn flush(notes: Notes, store: store::Client, bad: Quarantine<String>) {
    faults::point("activity", "write");
    loop {
        let taken = Taken::from(&notes);
        if taken.group.is_empty() {
            return;
        }
        let wanted = taken.group.clone();
        match write(&store, wanted).await {
            Ok(()) => taken.written(),
            // Perhaps one use is such that the decision about it panics: then it must not hold up the others for ever.
            Err(ChangeError::Unavailable) => {
                warn!(error = %ChangeError::<Infallible>::Unavailable, "activity not written");
                let group = taken.group.clone();
                taken.written();
                return apart(&notes, &store, &bad, group).await;
            }
            Err(error) => {
                warn!(%error, "activity not written");
                return;
            }
        }
    }
}

async fn write(store: &store::Client, wanted: Pending) -> Result<(), ChangeError<Infallible>> {
    let decide = move |image: &Image| {
        #[cfg(feature = "faults")]
        wanted.each(|what| faults::point("activity:use", &what));
        Ok((wanted.writes(image), ()))
    };
    store.change(decide).await
}

/// Writes a group that failed in halves, down to the single use that cannot be written: that is noted again, but after
/// three times dropped for a while. The store that does not answer at all is asked no more than this.
async fn apart(notes: &Notes, store: &store::Client, bad: &Quarantine<String>, group: Pending) {
    let mut parts = vec![group];
    let mut failed = 0;
    while let Some(mut part) = parts.pop() {
        let left = Taken { notes: notes.clone(), group: part.clone() };
        // As many as halving down to one bad use takes; more is another trouble.
        if failed > MOST_FAILED {
            continue; // noted again as it is dropped
        }
        match write(store, part.clone()).await {
            Ok(()) => left.written(),
            Err(error) if part.len() == 1 => {
                failed += 1;
                let input = part.what();
                warn!(%error, "activity not written");
                bad.strike(input.clone());
                if bad.look(&input).is_err() {
                    left.written();
                }
            }
            Err(_) => {
                failed += 1;
                left.written();
                let half = part.take(part.len() / 2);
                parts.extend([part, half]);
            }
        }
    }
}

impl actix::Actor for Actor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("activity", "started");
        let (notes, store, resolution) =
            (self.notes.clone(), self.store.clone(), self.resolution.clone());
        let bad = self.bad.clone();
        let writing = async move {
            loop {
                // Zero would be a busy loop.
                sleep((**resolution.load()).max(Duration::from_millis(100))).await;
                flush(notes.clone(), store.clone(), bad.clone()).await;
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
        Box::pin(flush(self.notes.clone(), self.store.clone(), self.bad.clone()))
    }
}
