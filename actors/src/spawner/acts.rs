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
    domain::{Cause, OrderId, server::Handle},
    ports::{Entropy, Order, Probe, Progress, Recovered, SpawnError, Spawner, Stop},
};

/// Last lines of a server's output that are kept with its end, in bytes.
pub(super) const TAIL: usize = 4096;

/// One call to a spawner that is not an act in itself (recover, log) may take so long.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A start that was given up on may come up so much later and is still killed by its own answer; after that recovery
/// by order finds it.
const LATE: Duration = Duration::from_secs(120);

/// Waits between attempts: doubling from `next` to `most`, with up to half more.
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
        let jitter = self.next.mul_f64(self.entropy.below(1_000) as f64 / 2_000.0);
        sleep(self.next + jitter).await;
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
    match timeout(start_timeout + LATE, spawner.start(&order, tell)).await {
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
    order: OrderId,
    handle: Handle,
    mut backoff: Backoff,
) -> Event {
    loop {
        match spawner.wait(&order, &handle).await {
            Ok(exit) => return Event::Exited { order, exit },
            Err(error) => warn!(%order, %error, "server not watched"),
        }
        backoff.pause().await;
    }
}

/// Asks it until it answers: the version it answered with.
pub(super) async fn probe(
    probe: Arc<dyn Probe>,
    url: String,
    prefix: String,
    http_timeout: Duration,
    mut backoff: Backoff,
) -> Option<String> {
    let answer = async {
        loop {
            match probe.probe(&url, &prefix).await {
                Ok(version) => return version,
                Err(error) => debug!(%error, "no answer yet"),
            }
            backoff.pause().await;
        }
    };
    timeout(http_timeout, answer).await.ok()
}

/// What became of this order? Asked until there is an answer.
pub(super) async fn find(
    spawner: Arc<dyn Spawner>,
    order: OrderId,
    handle: Option<Handle>,
    mut backoff: Backoff,
) -> Event {
    loop {
        match timeout(CALL, spawner.recover(&order, handle.as_ref())).await {
            Ok(Ok(found)) => return Event::Found { order, found },
            Ok(Err(error)) => warn!(%order, %error, "server not found again"),
            Err(_) => warn!(%order, "spawner does not answer"),
        }
        backoff.pause().await;
    }
}

/// Ends whatever this order has produced, however long that takes. `landed` says whether the start's own answer has
/// come: until then an order that is unknown may still become known.
pub(super) async fn kill(
    spawner: Arc<dyn Spawner>,
    order: OrderId,
    handle: Option<Handle>,
    landed: Arc<AtomicBool>,
    soft_limit: Duration,
    mut backoff: Backoff,
) -> Event {
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
                Ok(Err(error)) => warn!(%order, %error, "order not found"),
                Err(_) => warn!(%order, "spawner does not answer"),
            }
            backoff.pause().await;
        },
    };
    let mut how = Stop::Soft;
    loop {
        match timeout(soft_limit, spawner.stop(&order, &handle, how)).await {
            Ok(Ok(())) => return Event::Killed(order),
            Ok(Err(error)) => error!(%order, %error, "server not stopped"),
            Err(_) => error!(%order, "server does not stop"),
        }
        how = Stop::Hard;
        backoff.pause().await;
    }
}
