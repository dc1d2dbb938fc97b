//! Removes what has expired: tokens, codes, codes for shares, an announcement. Nothing depends on it in time, since what has expired does
//! not count from that moment on; it only keeps the store small.
//!
//! Every few minutes, with jitter, the actor looks for expired records in the published image, on its own thread, and
//! asks the store to delete them, a part at a time. If the wall clock was moved in between it looks on for one round:
//! a clock that is set right again must not have cost anybody a token.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ArbiterHandle, AsyncContext, Context, Message, fut::wrap_future};
use tracing::{debug, info, warn};

use crate::{
    accounts,
    domain::Moment,
    ports::{Clock, Entropy},
    store::{self, ChangeError, Image, Write},
    supervise::{ChildSpec, On, faults, handles, named},
};

/// At most so many records are deleted in one change, so that the store's group stays short.
const PART: usize = 500;

/// The two clocks may drift apart so much within a round before the wall clock counts as moved.
const DRIFT: Duration = Duration::from_secs(60);

/// A few messages to itself are all it gets.
const MAILBOX: usize = 4;

/// What the janitor needs.
#[derive(Clone)]
pub struct Tools {
    /// Where the records are.
    pub store: store::Client,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub entropy: Arc<dyn Entropy>,
    /// The middle span between two rounds; each is drawn from 75 to 125 % of it.
    pub period: Duration,
}

/// The span between two rounds unless told otherwise.
pub const PERIOD: Duration = Duration::from_secs(300);

/// The janitor under supervision, in this arbiter. Nobody asks it anything.
pub fn child(arbiter: ArbiterHandle, tools: Tools) -> ChildSpec {
    let (publisher, _) = named("janitor");
    ChildSpec::actor("janitor", arbiter, MAILBOX, publisher, move |_| Janitor::new(tools.clone()))
}

/// Deletes what has expired at `now`; says how many records. Done in parts: an error leaves the rest for next time.
pub async fn sweep(
    store: &store::Client,
    now: Moment,
) -> Result<usize, ChangeError<std::convert::Infallible>> {
    let found = accounts::delete_expired(&store.image(), now);
    let mut outcome = Ok(found.len());
    for part in found.chunks(PART) {
        let part = part.to_vec();
        // One part that fails does not keep the others.
        let done = store.change(move |image| Ok((still_expired(image, part, now), ()))).await;
        outcome = outcome.and_then(|all| done.map(|()| all));
    }
    outcome
}

/// Of these deletions, those that are still due: the image may have moved on since they were found.
fn still_expired(image: &Image, mut found: Vec<Write>, now: Moment) -> Vec<Write> {
    found.retain(|write| match write {
        Write::TokenGone(id) => image.token(*id).is_some_and(|token| !token.is_valid(now)),
        Write::CodeGone(hash) => image.code(hash).is_some_and(|code| now >= code.expires_at),
        Write::ShareCodeGone(id) => {
            image.share_code(*id).is_some_and(|code| now >= code.expires_at)
        }
        Write::AnnouncementGone => image.announcement().is_some_and(|it| !it.is_shown(now)),
        _ => false,
    });
    found
}

/// Was the wall clock moved between these readings, while the monotonic one `ran` so far?
fn was_moved(before: Moment, now: Moment, ran: Duration) -> bool {
    let expected = before.plus(ran);
    expected.since(now).max(now.since(expected)) > DRIFT
}

struct Janitor {
    tools: Tools,
    /// Both clocks at the last round.
    last: (Moment, std::time::Instant),
}

impl Janitor {
    fn new(tools: Tools) -> Self {
        let last = (tools.clock.moment(), tools.clock.instant());
        Self { tools, last }
    }

    /// As of when to delete in this round; nothing if the wall clock was moved since the last one.
    fn as_of(&mut self) -> Option<Moment> {
        let (now, instant) = (self.tools.clock.moment(), self.tools.clock.instant());
        let (before, then) = std::mem::replace(&mut self.last, (now, instant));
        (!was_moved(before, now, instant.duration_since(then))).then_some(now)
    }

    fn rest(&self, ctx: &mut Context<Self>) {
        let percent = 75 + self.tools.entropy.below(51);
        let span = self.tools.period.mul_f64(percent as f64 / 100.0);
        ctx.notify_later(Round, span);
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        faults::point("janitor", "started");
        self.rest(ctx);
    }
}

/// It is time to look.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Round;

handles!(Janitor as "janitor": Round);

impl On<Round> for Janitor {
    type Result = ();

    fn on(&mut self, _: Round, ctx: &mut Self::Context) {
        self.rest(ctx);
        let Some(now) = self.as_of() else {
            warn!("wall clock moved");
            return;
        };
        let store = self.tools.store.clone();
        ctx.spawn(wrap_future(async move {
            match sweep(&store, now).await {
                Ok(0) => debug!("nothing has expired"),
                Ok(records) => info!(records, "expired records deleted"),
                Err(error) => warn!(error = %error, "expired records kept"),
            }
        }));
    }
}

#[cfg(test)]
mod tests;
