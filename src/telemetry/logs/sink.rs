//! Where lines go: through a thread, or directly when that cannot block. No line is waited for.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::fd::AsFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    journal::{Journal, Sent},
    line::Line,
};
use crate::telemetry::metrics::{self, LOST};

/// How many lines may wait for the thread.
const QUEUE: usize = 2_048;
/// Lines are written together up to so many bytes.
const BATCH: usize = 64 * 1024;
/// Lines that come sooner after the last ones gather for so long. (What a process that is killed has not written yet is
/// lost.)
const GATHERING: Duration = Duration::from_millis(1);
/// A pipe that is ready takes so many bytes without blocking.
const CHUNK: usize = 4_096;
/// How soon a count of dropped lines is said when nothing else is.
const PERIOD: Duration = Duration::from_secs(5);

/// Says how many lines are missing.
type Notice = Box<dyn Fn(u64) -> Line + Send>;

/// Where lines end up.
pub(super) struct Out {
    pub(super) file: File,
    /// Asked first, for lines that have a form for it.
    pub(super) journal: Journal,
}

impl Out {
    /// The line is where it belongs, or lost (false); waits as long as that takes. `torn`: the last one has no end.
    fn patient(&mut self, line: &Line, torn: &mut bool) -> bool {
        if let Some(datagram) = &line.datagram
            && self.journal.patient(datagram) == Sent::Done
        {
            return true;
        }
        patient(&mut self.file, &line.text, torn) == 0
    }
}

/// One of the two ways.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    Queue(Queue),
    Direct(Direct),
}

impl Sink {
    /// Takes a line with its end, or drops and counts it.
    pub(super) fn write(&self, line: Line) {
        match self {
            Self::Queue(queue) => queue.write(line),
            Self::Direct(direct) => direct.write(&line),
        }
    }

    /// From now on to this file; lines that wait go there too.
    pub(super) fn replace(&self, file: File) {
        match self {
            Self::Queue(queue) => {
                *queue.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
                // Full: then the thread is awake.
                let _ = queue.orders.try_send(Order::Look);
            }
            Self::Direct(direct) => direct.lock().out.file = file,
        }
    }

    /// See `LogHandle::flush`.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        match self {
            Self::Queue(queue) => {
                let (done, seen) = mpsc::sync_channel(1);
                let end = Instant::now() + patience;
                while queue.orders.try_send(Order::Flush(done.clone())).is_err() {
                    if Instant::now() > end {
                        return false;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                seen.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok()
            }
            Self::Direct(_) => true,
        }
    }
}

enum Order {
    Line(Line),
    /// There may be a new file.
    Look,
    Flush(SyncSender<()>),
}

/// The way through a thread.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
    next: Arc<Mutex<Option<File>>>,
}

impl Queue {
    /// Makes the thread. It ends when nobody holds the queue any more.
    pub(super) fn begin(
        out: Out,
        notice: impl Fn(u64) -> Line + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, waiting) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let next = Arc::new(Mutex::new(None));
        let queue = Self { orders, dropped: dropped.clone(), next: next.clone() };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || drain(out, &waiting, &dropped, &next, &notice))?;
        Ok(queue)
    }

    fn write(&self, line: Line) {
        if self.orders.try_send(Order::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn drain(
    mut out: Out,
    waiting: &Receiver<Order>,
    dropped: &AtomicU64,
    next: &Mutex<Option<File>>,
    notice: &dyn Fn(u64) -> Line,
) {
    let (mut torn, mut next_order) = (false, None);
    let mut written = Instant::now();
    loop {
        let order = match next_order.take() {
            Some(order) => Ok(order),
            None => waiting.recv_timeout(PERIOD),
        };
        if let Some(new) = next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            out.file = new;
        }
        match order {
            Ok(Order::Line(line)) => {
                let lost = if line.datagram.is_some() {
                    u64::from(!out.patient(&line, &mut torn))
                } else {
                    if written.elapsed() < GATHERING {
                        // More are on their way: waking up for each costs more than a line.
                        thread::sleep(GATHERING);
                    }
                    let text = gather(line.text, waiting, &mut next_order);
                    let lost = patient(&mut out.file, &text, &mut torn);
                    written = Instant::now();
                    lost
                };
                if lost > 0 {
                    dropped.fetch_add(lost, Relaxed);
                    // Where there is no room for a line there is none for the notice.
                    continue;
                }
            }
            Ok(Order::Flush(done)) => {
                let _ = done.try_send(());
            }
            Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let missing = dropped.swap(0, Relaxed);
        if missing > 0 {
            if out.patient(&notice(missing), &mut torn) {
                metrics::count(&LOST, &[], missing);
            } else {
                dropped.fetch_add(missing, Relaxed);
            }
        }
    }
}

/// This line and those that wait behind it, up to a bound. What is no line is kept for later.
fn gather(mut text: Vec<u8>, waiting: &Receiver<Order>, next_order: &mut Option<Order>) -> Vec<u8> {
    while text.len() < BATCH {
        match waiting.try_recv() {
            Ok(Order::Line(line)) if line.datagram.is_none() => {
                text.extend_from_slice(&line.text);
            }
            Ok(other) => {
                *next_order = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    text
}

/// Writes all lines, however long that takes: only this thread waits. How many are lost: to a reader that is gone, a full
/// disk.
fn patient(file: &mut File, lines: &[u8], torn: &mut bool) -> u64 {
    let healed = [&b"\n"[..usize::from(*torn)], lines].concat();
    let mut bytes = &healed[..];
    let ends = |bytes: &[u8]| {
        // The end of a torn line before them is none of theirs.
        let left = &bytes[bytes.len().saturating_sub(lines.len())..];
        left.iter().filter(|byte| **byte == b'\n').count() as u64
    };
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return ends(bytes),
            Ok(written) => {
                *torn = bytes[written - 1] != b'\n';
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody made the descriptor, which others share, non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready(file, PollTimeout::from(1_000_u16));
            }
            Err(_) => return ends(bytes),
        }
    }
    0
}

fn ready(file: &File, patience: PollTimeout) -> bool {
    let mut one = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    poll(&mut one, patience).is_ok_and(|ready| ready > 0)
}

/// The way without a thread.
#[derive(Clone)]
pub(super) struct Direct(Arc<Mutex<Inner>>);

struct Inner {
    out: Out,
    notice: Notice,
    dropped: u64,
    /// The last line has no end.
    torn: bool,
}

impl Direct {
    /// Nothing is written yet.
    pub(super) fn new(out: Out, notice: impl Fn(u64) -> Line + Send + 'static) -> Self {
        let notice = Box::new(notice);
        Self(Arc::new(Mutex::new(Inner { out, notice, dropped: 0, torn: false })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &Line) {
        let mut inner = self.lock();
        if inner.dropped > 0 {
            let notice = (inner.notice)(inner.dropped);
            if inner.take(&notice) {
                inner.dropped = 0;
            }
        }
        if !inner.take(line) {
            inner.dropped += 1;
        }
    }
}

impl Inner {
    /// False if it could not be written now.
    fn take(&mut self, line: &Line) -> bool {
        if let Some(datagram) = &line.datagram {
            match self.out.journal.at_once(datagram) {
                Sent::Done => return true,
                Sent::Busy => return false,
                Sent::Refused => {}
            }
        }
        self.put(&line.text)
    }

    /// Writes as long as that cannot block. False if not all of it was written.
    fn put(&mut self, line: &[u8]) -> bool {
        let healed = [&b"\n"[..usize::from(self.torn)], line].concat();
        let mut begun = false;
        let mut bytes = &healed[..];
        while !bytes.is_empty() {
            let chunk = &bytes[..bytes.len().min(CHUNK)];
            let written = if ready(&self.out.file, PollTimeout::ZERO) {
                self.out.file.write(chunk)
            } else {
                Err(ErrorKind::WouldBlock.into())
            };
            match written {
                Ok(written) if written > 0 => (bytes, begun) = (&bytes[written..], true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.torn |= begun;
                    return false;
                }
            }
        }
        self.torn = false;
        true
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}
