//! Makes one sink agree with the wanted table, again and again, until it is taken away.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};

use super::diff::{Table, diff};
use crate::ports::{Entropy, RouteSink, SinkError};

/// What is wanted, numbered.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Grows with every change.
    pub(super) version: u64,
    /// The table.
    pub(super) table: Arc<Table>,
    /// Is it known to be complete?
    pub(super) complete: bool,
    /// How often it was asked that every table be read anew.
    pub(super) checks: u64,
}

/// How far a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// It agrees with this version.
    pub(super) version: u64,
    /// The last attempt worked, or none was made yet: it is worth waiting for.
    pub(super) live: bool,
}

/// How a sink is treated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Its whole table is read again so often.
    pub(super) check: Duration,
    /// One call may take so long.
    pub(super) limit: Duration,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Runs until the sender of `wanted` is gone.
pub(super) async fn follow(
    sink: Arc<dyn RouteSink>,
    mut wanted: watch::Receiver<Wanted>,
    reached: watch::Sender<Reached>,
    entropy: Arc<dyn Entropy>,
    pace: Pace,
) {
    let mut actual: Option<Table> = None;
    let mut synced = false;
    let mut checks = 0;
    let mut retry = FIRST_RETRY;
    loop {
        let target = wanted.borrow_and_update().clone();
        if std::mem::replace(&mut checks, target.checks) != target.checks {
            actual = None;
        }
        let agree = agree(&*sink, &target, &mut actual, &mut synced, pace.limit).await;
        let pause = match agree {
            Ok(()) => {
                retry = FIRST_RETRY;
                reached.send_replace(Reached { version: target.version, live: true });
                pace.check
            }
            Err(error) => {
                warn!(sink = sink.name(), %error, "proxy not reconciled");
                actual = None;
                reached.send_modify(|reached| reached.live = false);
                let pause = retry + retry.mul_f64(entropy.below(1_000) as f64 / 2_000.0);
                retry = (retry * 2).min(LAST_RETRY);
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        match timeout(pause, wanted.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => actual = None, // time to look at its table again
        }
    }
}

/// One round: read its table if it isn't known, change what differs, say it is complete if it is.
async fn agree(
    sink: &dyn RouteSink,
    target: &Wanted,
    actual: &mut Option<Table>,
    synced: &mut bool,
    limit: Duration,
) -> Result<(), SinkError> {
    let table = match actual {
        Some(table) => table,
        None => {
            let list = within(limit, "list its routes", sink.list()).await?;
            actual.insert(list.into_iter().map(|route| (route.spec.clone(), route)).collect())
        }
    };
    let change = diff(&target.table, table);
    if !change.is_empty() {
        debug!(
            sink = sink.name(),
            set = change.set.len(),
            remove = change.remove.len(),
            "routes differ"
        );
    }
    if !change.set.is_empty() {
        within(limit, "set routes", sink.set(change.set)).await?;
    }
    if !change.remove.is_empty() {
        within(limit, "remove routes", sink.remove(change.remove)).await?;
    }
    table.clone_from(&target.table);
    if target.complete && !*synced {
        within(limit, "begin to accept", sink.synced()).await?;
        *synced = true;
        info!(sink = sink.name(), routes = target.table.len(), "proxy in step");
    }
    Ok(())
}

async fn within<T>(
    limit: Duration,
    doing: &'static str,
    call: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    let late = || SinkError { doing, error: format!("no answer within {} s", limit.as_secs()) };
    timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}
