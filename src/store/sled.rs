//! The records in sled, by key: kept up to date lazily, verified beside the work, and the base at opening where snapshots
//! and journal are not enough. Never the truth.
//!
//! ```text
//! begin ── thread: opens, tells its place ──▶ open.rs ── fits? ──▶ verify, then the groups since, in order
//!                                                    └─ needed as a base ──▶ read: all records, verified
//! ```
//!
//! By itself sled 0.34.7 is not enough: a file cut short may open as an empty database, a flipped bit panics or loses
//! records, `flush` does not sync. So every batch carries the place in the history, the number of records and their
//! digest under a reserved key; all is read and compared before anything is built on it. All of it happens on a thread of
//! its own ([`thread`](mod@self::thread)), which may panic, or hang: after an error of the disk a `flush` of sled's may
//! wait for ever. Never `flush_async`: many at once dead-lock.

mod thread;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use jovis_actors::store::{Image, Write};
use tracing::warn;

use super::{records, segment::Point};

/// After a crash all that was written since sled's last rest is read; after a call that failed sled may wait for ever.
/// Without it the store goes on, and makes it anew.
const OPENING: Duration = Duration::from_secs(30);
/// How long somebody waits who closes it. It may be writing, or hang.
const CLOSING: Duration = Duration::from_secs(2);
/// Bytes of groups that may wait for it.
pub(super) const BACKLOG: u64 = 16 * 1024 * 1024;
/// How long a group waits for room among them.
const HANDING_OVER: Duration = Duration::from_secs(2);
/// Without an end to what it does for so long, it hangs.
const STANDSTILL: Duration = Duration::from_secs(20);

/// Threads that sled has not let go.
static HANGING: AtomicIsize = AtomicIsize::new(0);

/// Does sled hang in this process? Then no database of it can be used until there is another process: a write that failed
/// may leave a flush waiting for ever, and that flush holds a lock which all databases of a process share (0.34.7, its
/// `concurrency_control`). Opening would wait for it in vain.
pub fn hangs() -> bool {
    HANGING.load(Ordering::Relaxed) > 0
}

/// Of a thread: has it ended, has its owner given it up?
#[derive(Debug, Default)]
struct Life(AtomicU8);

impl Life {
    const GIVEN_UP: u8 = 1;
    const ENDED: u8 = 2;

    /// Nobody waits for it any more.
    fn give_up(&self) {
        let lives = |it| (it == 0).then_some(Self::GIVEN_UP);
        if self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, lives).is_ok() {
            HANGING.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Dropped at the end of the thread.
struct Ends(Arc<Life>);

impl Drop for Ends {
    fn drop(&mut self) {
        if self.0.0.swap(Life::ENDED, Ordering::AcqRel) == Life::GIVEN_UP {
            HANGING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// sled, open: its thread does what it is handed, in order, and nobody waits for it. What it is handed is durable already.
#[derive(Debug)]
pub(super) struct Base {
    /// There until it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    ended: mpsc::Receiver<()>,
    at: Point,
    /// Handed over so far.
    sent: u64,
    /// Its steps when last looked at, and since when they are so many.
    seen: (u64, Instant),
    dirty: bool,
}

/// What the thread tells, and is told beside its jobs.
#[derive(Debug, Default)]
struct Shared {
    life: Arc<Life>,
    done: AtomicU64,
    /// Grows while it works.
    steps: AtomicU64,
    /// Bytes of what was handed over and is not done.
    waiting: AtomicU64,
    /// It looks through all its records before it does anything else.
    verifying: AtomicBool,
    /// Nobody needs to know any more whether its records are right.
    closing: AtomicBool,
    error: Mutex<Option<String>>,
}

/// What the thread is handed.
#[derive(Debug)]
enum Job {
    /// Are its records those it should have?
    Verify,
    /// The same, and all of them.
    Read(mpsc::SyncSender<Result<Box<Image>, Bad>>),
    /// One group.
    Write(Group),
    /// All records of an image, into an empty database.
    Fill(Box<Image>, Point),
    /// Put on the medium what is not there yet.
    Flush,
}

/// One group.
#[derive(Debug, Default)]
struct Group {
    /// The last of each key.
    last: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: u64,
    /// The highest id in it.
    ids: u64,
    /// Where it ends.
    to: Point,
}

impl Group {
    fn add(&mut self, write: &Write, record: Vec<u8>) {
        self.ids = self.ids.max(records::id_used(write));
        let place = records::place(write);
        self.bytes += (place.key.len() + record.len()) as u64;
        self.last.insert(place.key, (!place.gone).then_some(record));
    }
}

/// What is wrong with its content.
#[derive(Debug)]
pub(super) enum Bad {
    /// It can be set aside.
    Damaged(String),
    /// Made by a newer release: must be left alone.
    Newer(u8),
}

/// What opening found.
#[derive(Debug)]
pub(super) enum Opened {
    /// It says where it stands. Its records were not looked at.
    Found(Box<Base>),
    /// It opens and holds nothing at all, not even a place in the history.
    Empty(Box<Base>),
    /// Not now: the disk is full or does not answer. Says nothing about the content.
    Unavailable(String),
    /// It is of no use.
    Bad(Bad),
}

/// Is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    told: Result<mpsc::Receiver<Opened>, String>,
    life: Arc<Life>,
}

/// Begins to open (or make) the database in this folder, which must be absolute.
pub(super) fn begin(path: &Path) -> Opening {
    let life = Arc::<Life>::default();
    if hangs() {
        let told = Err("it hangs in this process since a call failed".to_owned());
        return Opening { told, life };
    }
    let (tell, told) = mpsc::sync_channel(1);
    let (path, ends) = (path.to_owned(), Ends(life.clone()));
    let thread = std::thread::Builder::new().name("sled".to_owned());
    let begun = thread.spawn(move || thread::live(&path, &tell, &ends.0));
    Opening { told: begun.map(|_| told).map_err(|error| error.to_string()), life }
}

impl Opening {
    /// Waits for the outcome.
    pub(super) fn wait(self) -> Opened {
        match self.told {
            Ok(told) => told.recv_timeout(OPENING).unwrap_or_else(|_| {
                self.life.give_up();
                Opened::Bad(Bad::Damaged("sled did not open in time".to_owned()))
            }),
            Err(error) => Opened::Unavailable(error),
        }
    }
}

/// Both at once.
pub(super) fn open(path: &Path) -> Opened {
    begin(path).wait()
}

impl Base {
    fn new(
        at: Point,
        jobs: mpsc::Sender<Job>,
        shared: Arc<Shared>,
        ended: mpsc::Receiver<()>,
    ) -> Box<Self> {
        let seen = (0, Instant::now());
        Box::new(Self { jobs: Some(jobs), shared, ended, at, sent: 0, seen, dirty: false })
    }

    /// Where it stands, once it has done what it was handed.
    pub(super) fn at(&self) -> Point {
        self.at
    }

    /// All its records, which are those it should have. Waits for as long as it gets on.
    pub(super) fn read(&mut self) -> Result<Image, Bad> {
        let (tell, told) = mpsc::sync_channel(1);
        self.hand_over(Job::Read(tell), 0).map_err(Bad::Damaged)?;
        loop {
            match told.recv_timeout(Duration::from_secs(1)) {
                Ok(outcome) => return outcome.map(|image| *image),
                Err(mpsc::RecvTimeoutError::Timeout) => self.progress().map_err(Bad::Damaged)?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.progress().map_err(Bad::Damaged)?;
                    return Err(Bad::Damaged("sled's thread ended".to_owned()));
                }
            }
        }
    }

    /// Lets it look through its records before it does what comes next. If they are wrong, later calls say so.
    pub(super) fn verify(&mut self) -> Result<(), String> {
        self.shared.verifying.store(true, Ordering::Relaxed);
        self.hand_over(Job::Verify, 0)
    }

    /// Brings it to `to`. After an error, which may be of an earlier call, it must not be used any more.
    pub(super) fn apply<'a>(
        &mut self,
        group: impl IntoIterator<Item = (&'a Write, Vec<u8>)>,
        to: Point,
    ) -> Result<(), String> {
        let mut whole = Group { to, ..Group::default() };
        for (write, record) in group {
            whole.add(write, record);
        }
        self.at = to;
        self.dirty = true;
        let bytes = whole.bytes;
        self.hand_over(Job::Write(whole), bytes)
    }

    /// Fills it, which must be [empty](Opened::Empty), with an image. Until the end it counts as unfinished.
    pub(super) fn fill(&mut self, image: &Image, at: Point) -> Result<(), String> {
        self.at = at;
        self.dirty = true;
        self.hand_over(Job::Fill(Box::new(image.clone()), at), 0)?;
        self.flush()
    }

    /// Has what is not there yet put on the medium. Errors are as those of [`apply`](Self::apply).
    pub(super) fn flush(&mut self) -> Result<(), String> {
        if !self.dirty || self.shared.verifying.load(Ordering::Relaxed) {
            return self.progress();
        }
        self.hand_over(Job::Flush, 0)?;
        self.dirty = false;
        Ok(())
    }

    /// Is it doing what it was handed? sled may wait for ever for a write that failed.
    fn progress(&mut self) -> Result<(), String> {
        if let Some(error) = &*self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        let done = self.shared.done.load(Ordering::Relaxed);
        let steps = self.shared.steps.load(Ordering::Relaxed);
        if steps != self.seen.0 || done == self.sent {
            self.seen = (steps, Instant::now());
        }
        match self.seen.1.elapsed() {
            long if long > STANDSTILL => Err(format!("sled stands still for {} s", long.as_secs())),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self, job: Job, bytes: u64) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            self.progress()?;
            let waiting = self.shared.waiting.load(Ordering::Relaxed);
            if waiting == 0 || waiting + bytes <= BACKLOG {
                break;
            }
            // It will not get to them soon.
            let verifying = self.shared.verifying.load(Ordering::Relaxed);
            if verifying || begun.elapsed() > HANDING_OVER {
                return Err(format!("sled has {waiting} bytes to do"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        let jobs = self.jobs.as_ref().expect("it is not dropped yet");
        if jobs.send(job).is_err() {
            self.progress()?;
            return Err("sled's thread ended".to_owned());
        }
        self.sent += 1;
        Ok(())
    }
}

impl Drop for Base {
    /// Lets it finish and close, which takes a moment: the next one to open it wants its lock.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.jobs = None;
        if self.ended.recv_timeout(CLOSING) == Err(mpsc::RecvTimeoutError::Timeout) {
            warn!(limit_s = CLOSING.as_secs(), "sled does not close");
            self.shared.life.give_up();
        }
    }
}
