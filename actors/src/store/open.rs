//! Opens the store: the first load, the client, and the thread the writer lives on.
//!
//! The writer blocks on the disk, so it has a thread of its own (one of the runtime's blocking threads, for as long as
//! it lives) with a small runtime for its waiting. Journal, queue and publication outlive that thread: when it panics
//! it is restarted by supervision and goes on with what waits. A failed append is no panic: the writer reloads in place
//! (`writer`), so that a full disk never counts as a storm.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    Client,
    client::{Pending, QUEUE},
    writer::Writer,
};
use crate::{
    ports::{Journal, StoreError},
    supervise::{Alive, ChildSpec, QuitSignal, Restart, faults::Faults, how_it_ended, quit},
};

/// How the store is to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many changes may wait.
    pub queue: usize,
    /// How long a caller waits for an answer.
    pub patience: Duration,
    /// How often the journal may do its lazy work while there are writes; ten times less often when there are none.
    pub idle_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue: QUEUE, patience: Duration::from_secs(10), idle_every: Duration::from_secs(1) }
    }
}

/// What a life of the writer hands on to the next one.
struct Estate {
    writer: Writer,
    queue: mpsc::Receiver<Pending>,
    lives: u64,
}

/// Loads the journal and yields the client, which reads from then on, and the child that writes once it is supervised.
/// Blocks as long as loading takes. An error means: do not go on without the operator.
pub fn open(
    journal: Box<dyn Journal>,
    settings: Settings,
) -> Result<(Client, ChildSpec), StoreError> {
    let writer = Writer::open(journal)?;
    let publication = writer.publication();
    let (sender, queue) = mpsc::channel(settings.queue);
    let client = Client {
        image: publication.image,
        published: publication.sequence.subscribe(),
        queue: sender,
        patience: settings.patience,
    };
    let estate = Arc::new(Mutex::new(Estate { writer, queue, lives: 0 }));
    let spec = ChildSpec::custom("store", move || {
        let alive = begin(estate.clone(), settings);
        Box::pin(std::future::ready(Ok(alive)))
    });
    // Normal ends: asked to, or no client is left. It may have a group and its housekeeping to finish.
    Ok((client, spec.restart(Restart::Transient).stop_limit(Duration::from_secs(30))))
}

fn begin(estate: Arc<Mutex<Estate>>, settings: Settings) -> Alive {
    let (quit, signal) = quit();
    let faults = Faults::here();
    let thread = spawn_blocking(move || {
        faults.enter();
        live(&estate, settings, signal)
    });
    Alive { quit, abort: None, ended: Box::pin(async { how_it_ended(thread.await) }) }
}

fn live(estate: &Mutex<Estate>, settings: Settings, signal: QuitSignal) -> Result<(), String> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| format!("no runtime for the store: {error}"))?;
    // After a panic the lock is poisoned; what is behind it is not believed but loaded again.
    let mut estate = estate.lock().unwrap_or_else(PoisonError::into_inner);
    if estate.lives > 0 {
        estate.writer.distrust();
    }
    estate.lives += 1;
    runtime.block_on(turns(&mut estate, settings, signal));
    Ok(())
}

/// Waits for work and does it, until asked to stop; what waits then is still done. A supervisor that has gone without
/// a word counts as asking: nobody would notice this thread any more, and its runtime waits for it.
async fn turns(estate: &mut Estate, settings: Settings, signal: QuitSignal) {
    let mut leave = pin!(signal.asked_or_dropped());
    let Estate { writer, queue, .. } = estate;
    let quiet = settings.idle_every.saturating_mul(10);
    let mut idle_at = Instant::now() + quiet;
    let mut stopping = false;
    loop {
        // Before the next change is looked at: one failed group is all that callers need to notice.
        if writer.reload_due().is_some_and(|at| at <= Instant::now()) {
            writer.reload();
        }
        let reload_at = writer.reload_due();
        tokio::select! {
            biased;
            _ = &mut leave, if !stopping => {
                stopping = true;
                queue.close();
            }
            () = sleep_until(reload_at.unwrap_or(idle_at)), if reload_at.is_some() => {}
            first = queue.recv() => {
                let Some(first) = first else { break };
                let mut first = Some(first);
                if writer.group(|| first.take().or_else(|| queue.try_recv().ok())) {
                    idle_at = idle_at.min(Instant::now() + settings.idle_every);
                }
            }
            () = sleep_until(idle_at) => {}
        }
        // Looked at after each turn, not only when nothing waits: the housekeeping of a busy store must not starve.
        if Instant::now() >= idle_at {
            writer.idle();
            idle_at = Instant::now() + quiet;
        }
        writer.present();
    }
    writer.idle();
    debug!("store writer ended");
}
