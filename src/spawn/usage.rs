//! What local servers take, measured from time to time over everything that runs on this machine.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jovis_actors::{
    domain::OrderId,
    ports::Meter,
    usage::{Ledger, Usage, ticks},
};
use tracing::debug;

use super::processes;
use crate::{config::sections, link::root::Root};

/// How soon a new period takes effect.
const TURN: Duration = Duration::from_secs(1);

/// The last measurement.
#[derive(Debug, Default)]
pub struct LocalMeter(ArcSwap<BTreeMap<OrderId, Usage>>);

impl Meter for LocalMeter {
    fn usage(&self, order: &OrderId) -> Option<Usage> {
        self.0.load().get(order).copied()
    }
}

impl LocalMeter {
    /// Measures for ever, every `usage_interval`.
    pub async fn keep(self: Arc<Self>, root: Arc<Root>, settings: Arc<ArcSwap<sections::Spawner>>) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut ledger, mut last) = (Ledger::default(), None::<Instant>);
        loop {
            turns.tick().await;
            let period = settings.load().usage_interval.duration();
            if period.is_zero() {
                if last.take().is_some() {
                    ledger = Ledger::default();
                    self.0.store(Arc::default());
                }
                continue;
            }
            // A turn may come a little early or late.
            if last.is_some_and(|last| last.elapsed() + TURN / 2 < period) {
                continue;
            }
            let servers: Vec<(OrderId, i32)> = {
                let table = root.children();
                let table = table.borrow();
                let lives =
                    table.iter().filter(|(_, it)| it.exit.is_none() && it.service.is_none());
                lives.map(|(order, it)| (order.clone(), it.pid)).collect()
            };
            let now = Instant::now();
            let passed = last.map_or(Duration::ZERO, |last| now - last);
            last = Some(now);
            if servers.is_empty() {
                ledger = Ledger::default();
                self.0.store(Arc::default());
                continue;
            }
            let work = move || {
                let measured = measure(&mut ledger, &servers, passed);
                (ledger, measured)
            };
            // Should it ever fail, the next measurement begins anew.
            (ledger, _) = match tokio::task::spawn_blocking(work).await {
                Ok((ledger, measured)) => (ledger, self.0.store(Arc::new(measured))),
                Err(_) => (Ledger::default(), self.0.store(Arc::default())),
            };
        }
    }
}

fn measure(
    ledger: &mut Ledger,
    servers: &[(OrderId, i32)],
    passed: Duration,
) -> BTreeMap<OrderId, Usage> {
    let look = processes::look();
    let ticks = ticks(passed, processes::ticks_a_second());
    let processors = thread::available_parallelism().map_or(1, |it| it.get() as u32);
    let measured = ledger.step(servers, &look.processes, ticks, processors);
    debug!(
        servers = servers.len(),
        processes = look.processes.len(),
        elapsed_ms = look.took.as_millis() as u64,
        "usage measured"
    );
    measured
}
