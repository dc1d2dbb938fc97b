//! The acts of a spawner actor that take time, as plain futures: each ends with what is fed back to the machine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, warn};

use super::machine::Event;
use crate::{
    domain::{Cause, OrderId, ServerName, server::Handle},
    ports::{
        Entropy, Exit, Order, Probe, ProbeError, Progress, Recovered, SpawnError, Spawner, Stop,
    },
    supervise::{faults::around, window::jittered},
};

#[cfg(test)]
mod tests;

/// Last lines of a server's output that are kept with its end, in bytes.
pub(super) const TAIL: usize = 4096;

/// One call to a spawner that is not an act in itself (recover, log) may take so long.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A start that was given up on may come up so much later and is still killed by its own answer; after that recovery
/// by order finds it.
const LATE: Duration = Duration::from_secs(120);

/// How soon a new server is asked for the first time again, and how seldom at most.
const PROBE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// While a server is this young its next probe waits for at most [`SHORT`]: people wait for it, and a refused
/// connection on this machine costs nothing.
const YOUNG: Duration = Duration::from_secs(15);

/// See [`YOUNG`].
const SHORT: Duration = Duration::from_millis(200);

/// Among so many last lines it is looked for why a server could not begin.
const LAST_LINES: usize = 20;

/// How long an ended server's last words are waited for before its end is told without them.
const WORDS: Duration = Duration::from_secs(1);

/// One life of one server, for acts on it and for the log.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// The user's name.
    pub(super) user: String,
    /// Which server.
    pub(super) server: ServerName,
    /// The act's id.
    pub(super) order: OrderId,
}

/// Waits between attempts: doubling from `next` to `most`, each drawn from its upper half.
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
    entropy: Arc<dyn Entropy>,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration, entropy: Arc<dyn Entropy>) -> Self {
        Self { next: first, most, entropy }
    }

    pub(super) async fn pause(&mut self) {
        self.pause_within(self.most).await;
    }

    /// As [`Backoff::pause`], but this time no longer than this.
    async fn pause_within(&mut self, limit: Duration) {
        sleep(jittered(self.next.min(limit), self.entropy.below(u64::MAX))).await;
        self.next = (self.next * 2).min(self.most);
    }
}

/// Says when a start's answer has come, or nobody waits for it any more.
pub(super) struct Landed(pub(super) Arc<AtomicBool>);

impl Drop for Landed {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Has the spawner start this order.
pub(super) async fn spawn(
    spawner: Arc<dyn Spawner>,
    order: Order,
    tell: Progress,
    start_timeout: Duration,
    _landed: Landed,
) -> Event {
    let id = order.id.clone();
    match around("Spawn", timeout(start_timeout + LATE, spawner.start(&order, tell))).await {
        Ok(Ok(started)) => Event::Spawned { order: id, handle: started.handle, url: started.url },
        Ok(Err(SpawnError::Refused(why))) => {
            Event::SpawnFailed { order: id, cause: Cause::Refused(why) }
        }
        Ok(Err(SpawnError::Failed(why))) => {
            Event::SpawnFailed { order: id, cause: Cause::SpawnFailed(why) }
        }
        Err(_) => Event::StartTimedOut(id),
    }
}

/// Waits for its end, however long that takes.
pub(super) async fn watch(
    spawner: Arc<dyn Spawner>,
    life: Life,
    handle: Handle,
    mut backoff: Backoff,
) -> Event {
    let Life { user, server, order } = life;
    let exit = loop {
        match around("Watch", spawner.wait(&order, &handle)).await {
            Ok(exit) => break exit,
            Err(error) => warn!(user, %server, %order, %error, "server not watched"),
        }
        backoff.pause().await;
    };
    let failed = matches!(exit, Exit::Code(code) if code != 0);
    let words = async {
        match failed {
            true => timeout(WORDS, spawner.log_tail(&order, TAIL)).await.unwrap_or_default(),
            false => String::new(),
        }
    };
    let address_in_use = says_address_in_use(&words.await);
    Event::Exited { order, exit, address_in_use }
}

/// Do a server's last words say that somebody else has its port? What the C library, Python and Node.js say of
/// `EADDRINUSE`, and what a single-user server says when it may not look for another port.
fn says_address_in_use(tail: &str) -> bool {
    const SAYINGS: [&str; 3] = ["address already in use", "eaddrinuse", "is already in use"];
    let lines: Vec<_> = tail.lines().rev().take(LAST_LINES).collect();
    let last = lines.join("\n").to_lowercase();
    SAYINGS.iter().any(|saying| last.contains(saying))
}

/// How a probing ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// It answered, with this version.
    Answered(String),
    /// It did not, in all that time.
    Silent,
    /// Somebody of this uid listens in its place.
    Stranger(u32),
}

/// Asks it until it answers.
pub(super) async fn probe(
    probe: Arc<dyn Probe>,
    url: String,
    prefix: String,
    http_timeout: Duration,
    entropy: Arc<dyn Entropy>,
) -> Probed {
    let begun = Instant::now();
    let mut backoff = Backoff::new(PROBE.0, PROBE.1, entropy);
    let answer = async {
        loop {
            match probe.probe(&url, &prefix).await {
                Ok(version) => return Probed::Answered(version),
                Err(ProbeError::Stranger { uid }) => return Probed::Stranger(uid),
                Err(error @ ProbeError::NotYet(_)) => debug!(%error, "no answer yet"),
            }
            let limit = if begun.elapsed() < YOUNG { SHORT } else { PROBE.1 };
            backoff.pause_within(limit).await;
        }
    };
    around("Probe", timeout(http_timeout, answer)).await.unwrap_or(Probed::Silent)
}

/// What became of this order? Asked until there is an answer.
pub(super) async fn find(
    spawner: Arc<dyn Spawner>,
    life: Life,
    handle: Option<Handle>,
    mut backoff: Backoff,
) -> Event {
    let Life { user, server, order } = life;
    loop {
        match around("Recover", timeout(CALL, spawner.recover(&order, handle.as_ref()))).await {
            Ok(Ok(found)) => return Event::Found { order, found },
            Ok(Err(error)) => warn!(user, %server, %order, %error, "server not found again"),
            Err(_) => warn!(user, %server, %order, error = "not in time", "spawner not answering"),
        }
        backoff.pause().await;
    }
}

/// Is it still there? Nothing if it is, or if nobody can say: what is not known changes nothing.
pub(super) async fn check(
    spawner: Arc<dyn Spawner>,
    life: Life,
    handle: Option<Handle>,
) -> Option<Event> {
    let Life { user, server, order } = life;
    match timeout(CALL, spawner.recover(&order, handle.as_ref())).await {
        Ok(Ok(Recovered::Alive(_))) => None,
        Ok(Ok(found @ (Recovered::Ended(_) | Recovered::Unknown))) => {
            warn!(user, %server, %order, "server ended unnoticed");
            Some(Event::Found { order, found })
        }
        Ok(Err(error)) => {
            warn!(user, %server, %order, %error, "server not found again");
            None
        }
        Err(_) => {
            warn!(user, %server, %order, error = "not in time", "spawner not answering");
            None
        }
    }
}

/// Ends whatever this order has produced, however long that takes. `landed` says whether the start's own answer has
/// come: until then an order that is unknown may still become known.
pub(super) async fn kill(
    spawner: Arc<dyn Spawner>,
    life: Life,
    handle: Option<Handle>,
    landed: Arc<AtomicBool>,
    soft_limit: Duration,
    mut backoff: Backoff,
) -> Event {
    let Life { user, server, order } = life;
    let asked = Instant::now();
    let handle = match handle {
        Some(handle) => handle,
        None => loop {
            match timeout(CALL, spawner.recover(&order, None)).await {
                Ok(Ok(Recovered::Alive(started))) => break started.handle,
                Ok(Ok(Recovered::Ended(_))) => return Event::Killed(order),
                Ok(Ok(Recovered::Unknown)) => {
                    if landed.load(Ordering::Acquire) || asked.elapsed() > CALL {
                        return Event::Killed(order);
                    }
                }
                Ok(Err(error)) => warn!(user, %server, %order, %error, "order not found"),
                Err(_) => {
                    warn!(user, %server, %order, error = "not in time", "spawner not answering")
                }
            }
            backoff.pause().await;
        },
    };
    let mut how = Stop::Soft;
    loop {
        match around("Kill", timeout(soft_limit, spawner.stop(&order, &handle, how))).await {
            Ok(Ok(())) => return Event::Killed(order),
            Ok(Err(error)) => error!(user, %server, %order, %error, "server not stopped"),
            Err(_) => error!(user, %server, %order, error = "not in time", "server not stopped"),
        }
        how = Stop::Hard;
        backoff.pause().await;
    }
}
