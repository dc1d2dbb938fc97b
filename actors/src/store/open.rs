//! Opens the store: the first load, the client, and the thread the writer lives on.
//!
//! The writer blocks on the disk, so it has a thread of its own with a small runtime for its waiting. Journal, queue
//! and publication outlive that thread: when it panics it is restarted by supervision and goes on with what waits. A
//! failed append is no panic: the writer reloads in place (`writer`), so that a full disk never counts as a storm.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
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
    supervise::{Alive, ChildSpec, Ended, QuitSignal, Restart, quit},
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
        let started = begin(estate.clone(), settings);
        Box::pin(std::future::ready(started))
    });
    // Normal ends: asked to, or no client is left. It may have a group and its housekeeping to finish.
    Ok((client, spec.restart(Restart::Transient).stop_limit(Duration::from_secs(30))))
}

fn begin(estate: Arc<Mutex<Estate>>, settings: Settings) -> Result<Alive, Ended> {
    let (quit, signal) = quit();
    let (tell, ended) = oneshot::channel();
    let body = move || {
        let _ = tell.send(live(&estate, settings, signal));
    };
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(body)
        .map_err(|error| Ended::Failed(format!("no thread for the store: {error}")))?;
    let ended = Box::pin(async move {
        // A thread that panics drops its sender.
        ended.await.unwrap_or_else(|_| Ended::Panicked("in the store's thread".to_owned()))
    });
    Ok(Alive { quit, abort: None, ended })
}

fn live(estate: &Mutex<Estate>, settings: Settings, signal: QuitSignal) -> Ended {
    let runtime = match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return Ended::Failed(format!("no runtime for the store: {error}")),
    };
    // After a panic the lock is poisoned; what is behind it is not believed but loaded again.
    let mut estate = estate.lock().unwrap_or_else(PoisonError::into_inner);
    if estate.lives > 0 {
        estate.writer.distrust();
    }
    estate.lives += 1;
    runtime.block_on(turns(&mut estate, settings, signal));
    Ended::Normal
}

/// Waits for work and does it, until asked to stop; what waits then is still done.
async fn turns(estate: &mut Estate, settings: Settings, mut signal: QuitSignal) {
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
            () = signal.asked(), if !stopping => {
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
    }
    writer.idle();
    debug!("store writer ended");
}
