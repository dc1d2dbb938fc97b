//! Events, told as they happen to whoever asked: each as a JSON line in one datagram, into a descriptor of theirs.
//!
//! A tap hears what the log hears (`log.level`), less what its filter leaves out. It is never waited for: what does not
//! fit is dropped, counted, and the count is the next datagram that fits. Who hangs up is forgotten at the next event.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, send},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tracing::Level;

use super::line::{self, Fields};
use crate::{config::sections::LogFormat, ipc::control::Filter};

/// How many may listen at once.
pub const TAPS: usize = 8;

/// Which events somebody wants to hear. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TapFilter {
    /// The least level that is wanted: `error`, `warn`, `info`, `debug` or `trace`. None: whatever is logged.
    pub level: Option<String>,
    /// Names of events, any of these. None: all.
    pub events: Vec<String>,
    /// Fields that an event must have with this value.
    pub fields: BTreeMap<String, String>,
}

impl From<Filter> for TapFilter {
    fn from(Filter { level, events, fields }: Filter) -> Self {
        Self { level, events, fields }
    }
}

/// Why nobody listens.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TapError {
    /// There are enough.
    #[error("{TAPS} listen already")]
    Full,
    /// The filter's level is none.
    #[error("{0:?} is no level (error, warn, info, debug, trace)")]
    Level(String),
}

/// All who listen to this process.
#[derive(Clone, Default)]
pub(super) struct Taps(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// How many there are: read before the lock is taken, since there is nearly always nobody.
    count: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
}

struct Tap {
    to: OwnedFd,
    level: Level,
    filter: TapFilter,
    dropped: u64,
}

impl Taps {
    /// One more listener.
    pub(super) fn add(&self, to: OwnedFd, filter: TapFilter) -> Result<(), TapError> {
        let level = filter.level.as_deref().unwrap_or("trace");
        let level = level.parse().map_err(|_| TapError::Level(level.to_owned()))?;
        let mut taps = self.lock();
        // Somebody may have hung up since the last event.
        taps.retain(|tap| !tap.is_left());
        let full = taps.len() >= TAPS;
        if !full {
            taps.push(Tap { to, level, filter, dropped: 0 });
        }
        self.0.count.store(taps.len(), Relaxed);
        if full { Err(TapError::Full) } else { Ok(()) }
    }

    /// Tells those who want to hear it.
    pub(super) fn tell(&self, role: &'static str, level: Level, target: &str, fields: &Fields) {
        if self.0.count.load(Relaxed) == 0 {
            return;
        }
        let mut taps = self.lock();
        let mut text = None;
        taps.retain_mut(|tap| {
            if !tap.wants(level, fields) {
                return true;
            }
            let text = text
                .get_or_insert_with(|| line::render(LogFormat::Json, role, level, target, fields));
            tap.send(role, text)
        });
        self.0.count.store(taps.len(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tap>> {
        self.0.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    fn wants(&self, level: Level, fields: &Fields) -> bool {
        let text = |name: &str| match fields.value(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        level <= self.level
            && (self.filter.events.is_empty()
                || text("message").is_some_and(|event| self.filter.events.contains(&event)))
            && self.filter.fields.iter().all(|(name, wanted)| text(name).as_ref() == Some(wanted))
    }

    /// False if nobody is there any more.
    fn send(&mut self, role: &'static str, text: &[u8]) -> bool {
        if self.dropped > 0 {
            match self.put(&line::dropped(role, LogFormat::Json, self.dropped).text) {
                Put::Done => self.dropped = 0,
                Put::Full => {}
                Put::Left => return false,
            }
        }
        match self.put(text) {
            Put::Done => {}
            Put::Full => self.dropped += 1,
            Put::Left => return false,
        }
        true
    }

    fn put(&self, text: &[u8]) -> Put {
        let how = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.to.as_raw_fd(), text, how) {
                Ok(_) => return Put::Done,
                Err(Errno::EINTR) => {}
                // The last: one datagram is longer than the socket's buffer.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EMSGSIZE) => return Put::Full,
                Err(_) => return Put::Left,
            }
        }
    }

    fn is_left(&self) -> bool {
        let mut one = [PollFd::new(self.to.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        poll(&mut one, PollTimeout::ZERO).is_err()
            || one[0].revents().is_some_and(|events| events.intersects(gone))
    }
}

enum Put {
    Done,
    Full,
    Left,
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} taps", self.0.count.load(Relaxed))
    }
}
