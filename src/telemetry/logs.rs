//! Logs: lines with fields, each with the role that wrote it, to the stderr root was started with or to a file.
//!
//! No reader can harm the writer. Hub and proxy write through a thread with a bounded queue ([`init`]); root, which has
//! one thread and no other, writes only when that cannot block ([`init_root`]). Both count what they drop and say so
//! as soon as they can; both survive a reader that is gone. Level and form of the lines change while the process runs.
//!
//! How a line looks is in `line` and `journal`, where it goes in `sink`; `tap` is for who listens while it happens,
//! `counts` for the metrics. A panic is an event like any other, not some lines of text between them.

mod counts;
mod journal;
mod line;
mod sink;
mod tap;

use std::{
    error::Error, fmt, fs::File, io, os::fd::OwnedFd, panic, path::Path, sync::Arc, thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use thiserror::Error;
use tracing::{Dispatch, level_filters::LevelFilter, warn};
use tracing_subscriber::{EnvFilter, Layer as _, Registry, layer::SubscriberExt, reload};

pub use self::tap::{TAPS, TapError, TapFilter};
use self::{
    counts::Counts,
    journal::Journal,
    line::{Line, Lines},
    sink::{Direct, Out, Queue, Sink},
    tap::Taps,
};
use crate::config::sections::{Log, LogFormat};

/// Where lines go.
pub enum Output {
    /// The process's standard error, by a descriptor of its own: no lock is shared with anybody.
    Stderr,
    /// A file that somebody opened for us, in append mode.
    File(File),
}

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum LogsError {
    /// `log.level` is wrong.
    #[error("the log level is wrong")]
    Level(#[from] BadLevel),
    /// No descriptor, or no thread.
    #[error("the log could not be opened")]
    Output(#[from] io::Error),
    /// Logs were set up before in this process.
    #[error("logs are set up already")]
    Twice,
}

/// A level or filter that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is neither a level (error, warn, info, debug, trace, off) nor a filter like info,jovis::proxy=debug"
)]
pub struct BadLevel(String);

/// The form of the lines from now on.
type Form = Arc<ArcSwap<LogFormat>>;

/// Changes a running process's logs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    form: Form,
    sink: Sink,
    taps: Taps,
}

impl LogHandle {
    /// Level and form, from the next line on. A wrong level changes nothing. (`log.file` is opened by somebody else: see
    /// [`LogHandle::set_output`].)
    pub fn follow(&self, log: &Log) -> Result<(), BadLevel> {
        self.set_level(&log.level)?;
        self.form.store(Arc::new(log.format));
        Ok(())
    }

    /// Takes effect for the next line. A wrong level changes nothing.
    pub fn set_level(&self, level: &str) -> Result<(), BadLevel> {
        let filter = parse_level(level)?;
        self.filter.reload(filter).map_err(|_| BadLevel(level.to_owned()))
    }

    /// From now on lines go to this file (`log.file`, opened anew after it was moved away).
    pub fn set_output(&self, file: File) {
        self.sink.replace(file);
    }

    /// From now on each event that the filter lets through goes into this descriptor too, as a JSON line in a datagram
    /// (the other end of a `SOCK_SEQPACKET` pair), until that end is closed. It is never waited for: what does not fit
    /// is dropped, and a `log lines dropped` says how many. At most [`TAPS`] at a time.
    pub fn tap(&self, to: OwnedFd, filter: TapFilter) -> Result<(), TapError> {
        self.taps.add(to, filter)
    }

    /// Waits until what was logged so far is written, at most so long. False if it is not. For the end of a process.
    pub fn flush(&self, patience: Duration) -> bool {
        self.sink.flush(patience)
    }
}

/// Sets up the logs of the hub and the proxy; makes a thread.
pub fn init(role: &'static str, log: &Log, output: Output) -> Result<LogHandle, LogsError> {
    let form = form(log);
    let sink = Sink::Queue(Queue::begin(open(output)?, notice(role, &form))?);
    install(role, log, form, sink)
}

/// Sets up the logs of root: no thread, and a line that would block is dropped.
pub fn init_root(log: &Log, output: Output) -> Result<LogHandle, LogsError> {
    let form = form(log);
    let sink = Sink::Direct(Direct::new(open(output)?, notice("root", &form)));
    install("root", log, form, sink)
}

/// Is this a level, or a filter? For the check of the configuration.
pub fn check_level(level: &str) -> Result<(), BadLevel> {
    parse_level(level).map(|_| ())
}

/// An error with all its causes, for `error = %chain(&error)`.
pub fn chain(error: &dyn Error) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut source = error.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    })
}

fn form(log: &Log) -> Form {
    Arc::new(ArcSwap::from_pointee(log.format))
}

fn install(role: &'static str, log: &Log, form: Form, sink: Sink) -> Result<LogHandle, LogsError> {
    let (dispatch, handle) = build(role, log, form, sink)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogsError::Twice)?;
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string);
        let error = panicked.payload_as_str().unwrap_or("no text");
        let thread = thread::current();
        warn!(place, thread = thread.name(), error, "code panicked");
    }));
    Ok(handle)
}

fn build(
    role: &'static str,
    log: &Log,
    form: Form,
    sink: Sink,
) -> Result<(Dispatch, LogHandle), BadLevel> {
    let (filter, changer) = reload::Layer::new(parse_level(&log.level)?);
    let taps = Taps::default();
    let lines = Lines { role, form: form.clone(), sink: sink.clone(), taps: taps.clone() };
    // Each with a filter of its own: what the log hides is counted all the same.
    let counts = Counts::default().with_filter(LevelFilter::INFO);
    let dispatch = Dispatch::new(Registry::default().with(lines.with_filter(filter)).with(counts));
    Ok((dispatch, LogHandle { filter: changer, form, sink, taps }))
}

/// Libraries that are not heard, unless a level is set for them by name.
const FOREIGN: &str = "h2=off";

/// The library takes a word that is no level for a module's name, and would log nothing else.
fn parse_level(level: &str) -> Result<EnvFilter, BadLevel> {
    let bad = || BadLevel(level.to_owned());
    let words_are_levels = level
        .split(',')
        .filter(|part| !part.contains(['=', '[']))
        .all(|part| part.trim().parse::<LevelFilter>().is_ok());
    if level.trim().is_empty() || !words_are_levels {
        return Err(bad());
    }
    // It tells of every frame, and of paths with their queries, which may hold tokens.
    EnvFilter::builder().parse(format!("{FOREIGN},{level}")).map_err(|_| bad())
}

fn notice(role: &'static str, form: &Form) -> impl Fn(u64) -> Line + Send + 'static {
    let form = form.clone();
    move |dropped| line::dropped(role, **form.load(), dropped)
}

fn open(output: Output) -> io::Result<Out> {
    use std::os::fd::AsFd as _;
    let file = match output {
        Output::Stderr => io::stderr().as_fd().try_clone_to_owned()?.into(),
        Output::File(file) => file,
    };
    // Also where lines go to the file so far: the next reload may send them there, and must not fail.
    Ok(Out { file, journal: Journal::at(Path::new(journal::SOCKET))? })
}

#[cfg(test)]
mod tests;
