//! Backups: one file that holds the whole store at one moment, written while everything goes on, and read back before
//! anybody is told that it is there.
//!
//! ```text
//! "JOVISBAK" | version u32 | head length u32 | head (JSON: when, by what, how much) | sum 16 | a snapshot
//! ```
//!
//! It holds records and nothing else: no key that signs cookies, no password, tokens as hashes only. Whoever has it knows
//! who there is, and can sign in as nobody.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jovis_actors::{
    ports::StoreError,
    store::{Client, Image},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};
use tracing::{info, warn};

use super::{
    guard,
    open::Paths,
    peek,
    records::sum,
    segment::Point,
    snapshot::{self, SnapshotError},
};
use crate::telemetry::chain;

pub(super) const MAGIC: &[u8; 8] = b"JOVISBAK";
const VERSION: u32 = 1;
/// Longest head that is believed, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// A backup that takes longer than this has a disk under it that does not answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// One at a time.
    #[error("another backup is being written")]
    Busy,
    /// The store's last change is not settled, or the store is not open.
    #[error("the store is not at rest, try again")]
    Unsettled,
    /// It did not answer within ten minutes.
    #[error("the backup was not finished in time")]
    Late,
    /// The operating system's word.
    #[error("the backup could not be written")]
    Disk(#[source] io::Error),
    /// It was written, but what was read back is something else.
    #[error("the backup is not what was to be written: {0}")]
    Wrong(String),
    /// The store itself, read by us because no hub has it open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of the last change in it.
    pub sequence: u64,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// The release that made it.
    pub release: String,
    /// How many users.
    pub users: usize,
    /// How many servers' records, running or not.
    pub servers: usize,
    /// How many tokens.
    pub tokens: usize,
    /// How many OAuth clients.
    pub clients: usize,
    /// How many authorization codes.
    pub codes: usize,
}

impl Summary {
    pub(super) fn of(image: &Image, at: Point, made: u64) -> Self {
        Self {
            sequence: at.sequence,
            made,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            users: image.users().count(),
            servers: image.servers().count(),
            tokens: image.tokens().count(),
            clients: image.clients().count(),
            codes: image.codes().count(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made =
            i64::try_from(self.made).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
        let made = made.map_or_else(|| "an unknown time".to_owned(), |it| it.to_string());
        write!(
            f,
            "made {made} by jovis {}, after change {}: {} users, {} servers, {} tokens, {} OAuth clients, {} codes",
            self.release,
            self.sequence,
            self.users,
            self.servers,
            self.tokens,
            self.clients,
            self.codes
        )
    }
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes the image to an empty file, waits until it is on the medium, reads it back.
pub(super) fn write(file: &mut File, image: &Image, at: Point) -> Result<Summary, BackupError> {
    let summary = Summary::of(image, at, now());
    let head =
        serde_json::to_vec(&summary).map_err(|error| BackupError::Wrong(error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(&head);
    bytes.extend(sum(&[&bytes]));
    file.write_all(&bytes).map_err(BackupError::Disk)?;
    snapshot::pour(image, at, &mut |bytes| file.write_all(bytes)).map_err(unwritten)?;
    file.sync_all().map_err(BackupError::Disk)?;
    let length = file.metadata().map_err(BackupError::Disk)?.len();
    file.seek(SeekFrom::Start(0)).map_err(BackupError::Disk)?;
    let (found, begins) = head_of(&mut *file)?.map_err(|why| BackupError::Wrong(why.to_owned()))?;
    if found != summary {
        return Err(BackupError::Wrong("its head differs".to_owned()));
    }
    snapshot::compare(file, length.saturating_sub(begins), image, at).map_err(unwritten)?;
    Ok(summary)
}

fn unwritten(error: SnapshotError) -> BackupError {
    match error {
        SnapshotError::Disk(error) => BackupError::Disk(error),
        other => BackupError::Wrong(chain(&other).to_string()),
    }
}

/// Reads a backup's head, or says what is wrong with it; the snapshot begins behind so many bytes.
pub(super) fn head_of(
    mut from: impl Read,
) -> Result<Result<(Summary, u64), &'static str>, BackupError> {
    let mut bytes = vec![0; 16];
    let mut read = |bytes: &mut [u8]| match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(BackupError::Disk(error)),
    };
    if !read(&mut bytes)? {
        return Ok(Err("it is cut short"));
    }
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (version, length) = (number(8), number(12) as usize);
    if &bytes[..8] != MAGIC || length > LONGEST_HEAD {
        return Ok(Err("it does not begin as one"));
    }
    bytes.resize(16 + length + 16, 0);
    if !read(&mut bytes[16..])? {
        return Ok(Err("it is cut short"));
    }
    let (head, end) = bytes.split_at(16 + length);
    if sum(&[head]) != end {
        return Ok(Err("its head is damaged"));
    }
    if version != VERSION {
        return Ok(Err("it was made by a newer release; restore it with that one"));
    }
    let begins = bytes.len() as u64;
    let summary = serde_json::from_slice(&bytes[16..16 + length]);
    Ok(summary.map(|it| (it, begins)).map_err(|_| "its head cannot be read"))
}

/// Where backups of an open store are asked for. A clone is the same door.
#[derive(Debug, Clone, Default)]
pub struct Backups(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    /// Asked for and not begun.
    asked: Mutex<Option<Request>>,
    busy: AtomicBool,
}

#[derive(Debug)]
struct Request {
    to: File,
    tell: oneshot::Sender<Result<Summary, BackupError>>,
}

impl Backups {
    /// Writes what is recorded at this moment to this file, which is empty, open for reading and writing, and the
    /// caller's to name and to remove. Nobody waits for it but the caller.
    ///
    /// # Errors
    ///
    /// There is no backup in the file, whatever else may be.
    pub async fn make(&self, store: &Client, to: OwnedFd) -> Result<Summary, BackupError> {
        let (tell, told) = oneshot::channel();
        if self.0.busy.swap(true, Ordering::AcqRel) {
            return Err(BackupError::Busy);
        }
        *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Request { to: to.into(), tell });
        // The writer looks for requests after each turn: a change of nothing is one. Whether that is answered does not
        // matter: a store that refuses changes can be backed up all the same.
        let nothing = |_: &Image| Ok::<_, std::convert::Infallible>((Vec::new(), ()));
        drop(store.change(nothing).await);
        match timeout(PATIENCE, told).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(BackupError::Unsettled),
            Err(_) => Err(BackupError::Late),
        }
    }

    /// Begins what was asked for, on a thread of its own. `at`: where the image stands, if that is known.
    pub(super) fn begin(&self, image: &Arc<Image>, at: Option<Point>) {
        if !self.0.busy.load(Ordering::Acquire) {
            return;
        }
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Request { mut to, tell }) = asked else { return };
        let over = Over(self.clone());
        let Some(at) = at else {
            _ = tell.send(Err(BackupError::Unsettled));
            return;
        };
        let image = image.clone();
        let begun = thread::Builder::new().name("backup".to_owned()).spawn(move || {
            let outcome = write(&mut to, &image, at);
            match &outcome {
                Ok(summary) => info!(sequence = summary.sequence, "backup written"),
                Err(error) => warn!(error = %chain(error), "backup failed"),
            }
            drop(over);
            _ = tell.send(outcome);
        });
        if let Err(error) = begun {
            // The closure is gone, and with it the asker's end: he hears that it was not done.
            warn!(%error, "backup not begun");
        }
    }
}

/// The next one may be asked for when this goes.
struct Over(Backups);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.0.busy.store(false, Ordering::Release);
    }
}

/// Backs up a store that no hub has open. Nothing in it is changed.
///
/// # Errors
///
/// A hub has it open; snapshots and journal do not make it whole; the file is there already or cannot be written.
pub fn offline(state: &Path, to: &mut File) -> Result<Summary, BackupError> {
    let _lock = guard::lock_found(state)?;
    let (image, at) = peek::peek(&Paths::new(state))?;
    write(to, &image, at)
}

/// Makes a file for a backup, for its owner alone; it must not be there.
///
/// # Errors
///
/// The operating system's word.
pub fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}
