//! A request was answered: it is counted, and some get a line in the log.

use std::{net::IpAddr, sync::atomic::Ordering::Relaxed, time::Instant};

use http::{HeaderValue, Method};
use tracing::{debug, info};

use super::{
    figures::Class,
    shared::Shared,
    table::{Entry, Kind},
};

/// What the access log tells of a request. Kept while it is answered.
pub(super) struct Line {
    from: IpAddr,
    method: Method,
    path: String,
}

impl Line {
    /// If it is this request's turn.
    pub(super) fn due(
        shared: &Shared,
        from: IpAddr,
        what: impl FnOnce() -> (Method, String),
    ) -> Option<Self> {
        let every = shared.settings.load().access_log_every;
        let due = every > 0 && shared.lines.fetch_add(1, Relaxed).is_multiple_of(every);
        due.then(|| {
            let (method, path) = what();
            Self { from, method, path }
        })
    }
}

/// Counts it, and writes its lines.
pub(super) fn tell(
    shared: &Shared,
    entry: &Entry,
    id: Option<&HeaderValue>,
    line: Option<Line>,
    status: u16,
    began: Instant,
) {
    let class = match entry.kind {
        Kind::Hub => Class::Hub,
        Kind::Server => Class::Server,
        Kind::Other => Class::Other,
    };
    let elapsed = began.elapsed();
    shared.figures.served(class, status, elapsed);
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if let Some(Line { from, method, path }) = line {
        let request = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        // A path may be long, a line must not be.
        let path: String = path.chars().take(512).collect();
        info!(%from, %method, path, status, elapsed_ms, request, "visitor answered");
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        let request = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        debug!(request, route = entry.spec(), status, elapsed_ms, "request served");
    }
}
