//! The writer's turn of work, without threads or waiting: decide a group, append it once, publish, answer.
//!
//! ```text
//!            append or load failed                   due, and load succeeds
//!   Ready ───────────────────────────▶ Broken(until) ───────────────────────▶ Ready
//! ```
//!
//! While it is broken every change is refused with the error that broke it and reads go on from the last image. The
//! first reload is due at once, the next ones later and later while no append succeeds. A full disk is no more than
//! that: it recovers by itself.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tracing::{debug, error, info, warn};

use super::{Image, Write, client::Pending};
use crate::{
    ports::{Journal, Loaded, StoreError},
    supervise::faults,
};

/// At most so many changes are decided and appended together.
const GROUP: usize = 128;

/// A group that holds so many bytes takes no further change.
const GROUP_BYTES: usize = 1 << 20;

/// A change that alone holds more is refused: with what was before it in the group, a frame stays below 4 MiB.
const CHANGE_BYTES: usize = 2 << 20;

/// The longest wait between two attempts to reload. There is one writer per disk, so nobody to keep out of step with:
/// no jitter. A disk that has room again is noticed within this time (`RELIABILITY.md`, row 12: 5 s).
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Where readers find what is durable.
#[derive(Clone)]
pub(super) struct Publication {
    pub(super) image: Arc<ArcSwap<Image>>,
    pub(super) sequence: Arc<watch::Sender<u64>>,
}

impl Publication {
    fn publish(&self, image: Arc<Image>, sequence: u64) {
        self.image.store(image);
        self.sequence.send_replace(sequence);
    }

    fn sequence(&self) -> u64 {
        *self.sequence.borrow()
    }
}

/// The journal and how it is doing.
pub(super) struct Writer {
    journal: Box<dyn Journal>,
    publication: Publication,
    state: State,
    /// Appends and loads that failed since an append last succeeded.
    failures: u32,
    /// The trouble the log knows of already: a fault that lasts is told once, not at every attempt.
    told: Option<String>,
    /// The repairs of the last load: while a disk stays full each load finds the same.
    repairs: Vec<String>,
    /// Housekeeping waits for room.
    put_off: bool,
}

enum State {
    /// What was last published is all there is.
    Ready,
    /// Nothing may be appended before a load.
    Broken { error: StoreError, until: Instant },
}

/// A change that was decided and waits to be durable.
type Decided = oneshot::Sender<Result<(), StoreError>>;

impl Writer {
    /// Loads the journal and publishes what it holds: the first time, before anybody can read.
    pub(super) fn open(mut journal: Box<dyn Journal>) -> Result<Self, StoreError> {
        let loaded = journal.load()?;
        tell_repairs(&loaded, &[]);
        let publication = Publication {
            image: Arc::new(ArcSwap::from_pointee(loaded.image)),
            sequence: Arc::new(watch::Sender::new(loaded.sequence)),
        };
        let (state, failures, told, put_off) = (State::Ready, 0, None, false);
        Ok(Self { journal, publication, state, failures, told, repairs: loaded.repairs, put_off })
    }

    pub(super) fn publication(&self) -> Publication {
        self.publication.clone()
    }

    /// Before the first turn of a new life: whatever an earlier one left behind, only the journal is believed.
    pub(super) fn distrust(&mut self) {
        self.break_off(StoreError::Disk {
            doing: "go on",
            error: "its writer failed and is being restarted".to_owned(),
        });
    }

    /// When [`Writer::reload`] is due, if it is.
    pub(super) fn reload_due(&self) -> Option<Instant> {
        match &self.state {
            State::Ready => None,
            State::Broken { until, .. } => Some(*until),
        }
    }

    /// Loads the journal again after something failed.
    pub(super) fn reload(&mut self) {
        match self.journal.load().and_then(|loaded| self.check(loaded)) {
            Ok(loaded) => {
                tell_repairs(&loaded, &self.repairs);
                self.repairs = loaded.repairs;
                debug!(sequence = loaded.sequence, "store reloaded");
                self.publication.publish(Arc::new(loaded.image), loaded.sequence);
                self.state = State::Ready;
            }
            Err(error) => self.break_off(error),
        }
    }

    /// What was acknowledged must be there.
    fn check(&self, loaded: Loaded) -> Result<Loaded, StoreError> {
        let acknowledged = self.publication.sequence();
        if loaded.sequence < acknowledged {
            let found = loaded.sequence;
            return Err(StoreError::Damaged(format!(
                "writes up to {acknowledged} were acknowledged, but only {found} are there"
            )));
        }
        Ok(loaded)
    }

    fn break_off(&mut self, error: StoreError) {
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => FIRST_PAUSE.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.tell(&error);
        // Whoever comes while it is broken was not tried at all: that much is certain.
        let error = match error {
            StoreError::Uncertain { doing, error } => StoreError::Disk { doing, error },
            other => other,
        };
        self.state = State::Broken { error, until: Instant::now() + pause };
    }

    fn tell(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.told.as_ref() == Some(&text) {
            debug!(error = %error, "store still refuses changes");
            return;
        }
        match error {
            StoreError::Full => warn!(error = %error, "store refuses changes"),
            StoreError::Disk { .. }
            | StoreError::Uncertain { .. }
            | StoreError::Damaged(_)
            | StoreError::Unfit(_) => {
                error!(error = %error, "store refuses changes");
            }
        }
        self.told = Some(text);
    }

    /// Takes changes from `next` until there are none, or the group is large enough, and does them. True if anything
    /// was written.
    pub(super) fn group(&mut self, mut next: impl FnMut() -> Option<Pending>) -> bool {
        if let State::Broken { error, .. } = &self.state {
            for pending in std::iter::from_fn(next).take(GROUP) {
                let _ = pending.done.send(Err(error.clone()));
            }
            return false;
        }
        let mut working = Image::clone(&self.publication.image.load());
        let (mut writes, mut waiting) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while waiting.len() < GROUP && bytes < GROUP_BYTES {
            let Some(pending) = next() else { break };
            bytes += self.decide(pending, &mut working, &mut writes, &mut waiting);
        }
        self.commit(working, &writes, waiting)
    }

    /// Decides one change on the working copy; returns how many bytes it adds. A panic ends only that change: its
    /// caller finds the channel closed. So does what the journal could not keep, with an answer.
    fn decide(
        &self,
        pending: Pending,
        working: &mut Image,
        writes: &mut Vec<Write>,
        waiting: &mut Vec<Decided>,
    ) -> usize {
        let Pending { decide, done } = pending;
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let own = decide(working);
            let mut next = working.clone();
            own.iter().for_each(|write| next.apply(write));
            let bytes = size(&own);
            let fits = match bytes {
                ..=CHANGE_BYTES => own.iter().try_for_each(|write| self.journal.fits(write)),
                _ => Err(format!("{bytes} bytes in one change are too many")),
            };
            (bytes, own, next, fits)
        }));
        match decided {
            Ok((bytes, own, next, Ok(()))) => {
                *working = next;
                writes.extend(own);
                waiting.push(done);
                bytes
            }
            Ok((_, _, _, Err(why))) => {
                warn!(why, "change not stored");
                let _ = done.send(Err(StoreError::Unfit(why)));
                0
            }
            Err(_) => {
                error!("store decision panicked");
                0
            }
        }
    }

    /// Makes a group durable, shows it, answers: in this order.
    fn commit(&mut self, image: Image, writes: &[Write], waiting: Vec<Decided>) -> bool {
        let before = self.publication.sequence();
        let outcome = match writes {
            [] => Ok(()),
            _ => {
                faults::point("store:before", "append");
                let outcome = self.journal.append(before + 1, writes);
                faults::point("store:after", "append");
                outcome
            }
        };
        match &outcome {
            Ok(()) if writes.is_empty() => {}
            Ok(()) => {
                self.failures = 0;
                if self.told.take().is_some() {
                    info!("store takes changes again");
                }
                self.publication.publish(Arc::new(image), before + writes.len() as u64);
            }
            Err(error) => self.break_off(error.clone()),
        }
        // Nobody is told that it was not made, which may turn out to be wrong: their channels close.
        if matches!(outcome, Err(StoreError::Uncertain { .. })) {
            return false;
        }
        // Also who wrote nothing is refused with the others: what they were told may rest on what did not come to be.
        for done in waiting {
            let _ = done.send(outcome.clone());
        }
        outcome.is_ok() && !writes.is_empty()
    }

    /// Shows the journal what is published.
    pub(super) fn present(&mut self) {
        let image = self.publication.image.load_full();
        self.journal.present(&image, self.publication.sequence());
    }

    /// Lets the journal do its lazy work.
    pub(super) fn idle(&mut self) {
        if let State::Broken { .. } = self.state {
            return;
        }
        let image = self.publication.image.load_full();
        match self.journal.idle(&image, self.publication.sequence()) {
            Ok(()) => self.put_off = false,
            // Nothing that was acknowledged depends on it; it is tried again at the next idle.
            Err(StoreError::Full) if self.put_off => {}
            Err(StoreError::Full) => {
                self.put_off = true;
                warn!(error = %StoreError::Full, "store housekeeping put off");
            }
            Err(error) => self.break_off(error),
        }
    }
}

/// How many bytes these take as JSON: near enough to what a journal makes of them.
fn size(writes: &[Write]) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, writes) {
        Ok(()) => count.0,
        Err(_) => usize::MAX, // cannot be written down at all
    }
}

fn tell_repairs(loaded: &Loaded, before: &[String]) {
    for repair in &loaded.repairs {
        if before.contains(repair) {
            debug!(repair, "store repaired again");
        } else {
            warn!(repair, "store repaired");
        }
    }
}
