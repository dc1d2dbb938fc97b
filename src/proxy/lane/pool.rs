//! Connections to backends that wait for their next plain request. As [`crate::proxy::pool`]: one pool per worker, one
//! row per route generation.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::ErrorKind,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::net::TcpStream;

use crate::proxy::{
    pool::{LONGEST_REST, MOST},
    table::Entry,
};

struct Resting {
    backend: TcpStream,
    since: Instant,
    entry: Arc<Entry>,
}

thread_local! {
    static RESTING: RefCell<HashMap<u64, Vec<Resting>>> = RefCell::default();
}

/// Takes a waiting connection that is still good.
pub(super) fn take(entry: &Entry) -> Option<TcpStream> {
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
pub(super) fn put(entry: &Arc<Entry>, backend: TcpStream) {
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
                    && one.entry.live.load(Relaxed)
                    && is_quiet(&one.backend)
            });
            !row.is_empty()
        });
    });
}

/// Is it open, and has nothing come that nobody asked for?
fn is_quiet(tcp: &TcpStream) -> bool {
    match tcp.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        // What tokio remembers may be old: the kernel knows.
        Poll::Ready(_) => {
            let read = tcp.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        }
    }
}
