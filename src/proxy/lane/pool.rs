//! Connections to backends that wait for their next plain request. As [`crate::proxy::pool`]: one pool per worker, one
//! row per route generation.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use crate::proxy::{
    pool::{LONGEST_REST, MOST},
    stream::Backend,
    table::Entry,
};

struct Resting {
    backend: Backend,
    since: Instant,
    entry: Arc<Entry>,
}

thread_local! {
    static RESTING: RefCell<HashMap<u64, Vec<Resting>>> = RefCell::default();
}

/// Takes a waiting connection that is still good.
pub(super) fn take(entry: &Entry) -> Option<Backend> {
    RESTING.with_borrow_mut(|resting| {
        let row = resting.get_mut(&entry.generation)?;
        // The one that rested least is the least likely to be closed just now.
        while let Some(one) = row.pop() {
            if is_quiet(&one.backend) {
                return Some(one.backend);
            }
        }
        None
    })
}

/// Puts a connection back after its answer has come to its end.
pub(super) fn put(entry: &Arc<Entry>, backend: Backend) {
    // When the thread ends its pool may be gone already; then so is the connection.
    let _ = RESTING.try_with(|resting| {
        let mut resting = resting.borrow_mut();
        let row = resting.entry(entry.generation).or_default();
        if row.len() < MOST {
            row.push(Resting { backend, since: Instant::now(), entry: entry.clone() });
        }
    });
}

/// Drops what has waited too long, what has ended, and what belongs to routes that are gone.
pub(in crate::proxy) fn sweep() {
    RESTING.with_borrow_mut(|resting| {
        resting.retain(|_, row| {
            row.retain(|one| {
                one.since.elapsed() < LONGEST_REST
                    && !one.entry.life.is_over()
                    && is_quiet(&one.backend)
            });
            !row.is_empty()
        });
    });
}

/// Is it open, and has nothing come that nobody asked for? Those by TLS may always have something to say.
fn is_quiet(backend: &Backend) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let nothing = |read: io::Result<usize>| {
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    // What tokio remembers may be old: the kernel knows.
    match backend {
        Backend::Tcp(tcp) => {
            tcp.poll_read_ready(&mut cx).is_pending() || nothing(tcp.try_read(&mut [0]))
        }
        Backend::Unix(unix) => {
            unix.poll_read_ready(&mut cx).is_pending() || nothing(unix.try_read(&mut [0]))
        }
        _ => false,
    }
}
