//! Notes on a visitor's connection, for the watchdog that ends those who are too slow or have nothing to ask.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{activity::now_ms, drain::Present, settings::Settings};

/// What is known of a visitor's connection. Lives as long as the connection or its tunnel.
pub(super) struct Notes {
    /// Requests so far.
    requests: AtomicU32,
    /// Requests without a complete answer.
    busy: AtomicU32,
    /// When the head now coming in began; 0: none is coming.
    head_since: AtomicU64,
    /// Since when a visitor owes us the rest of a body; 0: he doesn't, or it is us who don't read.
    body_since: AtomicU64,
    /// When the last answer ended, or the connection began.
    idle_since: AtomicU64,
    /// Has hyper handed the message out that it was given?
    asked: AtomicBool,
    /// Has everything been written that hyper has to say?
    flushed: AtomicBool,
    permit: OwnedSemaphorePermit,
    share: Option<OwnedSemaphorePermit>,
    _present: Present,
}

/// What the watchdog finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Look again after this time.
    Fine(Duration),
    /// Nothing asked for too long: to be closed politely.
    Idle,
    /// A head or the next piece of a body takes too long: to be cut.
    Slow,
}

/// A request in hand; it ends with its answer. One of many on a connection has places of its own.
pub(super) struct InHand(Arc<Notes>, Option<Places>);

/// A place among all connections, and one among those of the peer.
type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Notes {
    /// For a new connection: its place among all, and among those of its peer.
    pub(super) fn new(
        permit: OwnedSemaphorePermit,
        share: Option<OwnedSemaphorePermit>,
        present: Present,
    ) -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            head_since: AtomicU64::new(0),
            body_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(now_ms()),
            asked: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            permit,
            share,
            _present: present,
        })
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> InHand {
        self.requests.fetch_add(1, Relaxed);
        self.busy.fetch_add(1, Relaxed);
        self.asked.store(true, Relaxed);
        InHand(self.clone(), None)
    }

    /// A head has begun to come in, or none is coming any more.
    pub(super) fn in_head(&self, begun: bool) {
        self.head_since.store(if begun { now_ms() } else { 0 }, Relaxed);
    }

    /// A request begins that is one of many on this connection. It counts as a connection of its own, since it may need
    /// one to a backend. `None`: there are too many.
    pub(super) fn begin_stream(self: &Arc<Self>) -> Option<InHand> {
        self.requests.fetch_add(1, Relaxed);
        let places = self.places();
        self.busy.fetch_add(1, Relaxed);
        let in_hand = InHand(self.clone(), places);
        in_hand.1.is_some().then_some(in_hand)
    }

    /// A tunnel inside of the connection, which was a request so far. That had places.
    pub(super) fn hold(self: &Arc<Self>) -> InHand {
        self.busy.fetch_add(1, Relaxed);
        InHand(self.clone(), self.places())
    }

    fn places(&self) -> Option<Places> {
        let one_more = |of: &OwnedSemaphorePermit| of.semaphore().clone().try_acquire_owned().ok();
        let share = match &self.share {
            Some(share) => Some(one_more(share)?),
            None => None,
        };
        Some((one_more(&self.permit)?, share))
    }

    /// hyper is given a message.
    pub(super) fn hand_out(&self) {
        self.asked.store(false, Relaxed);
        self.flushed.store(false, Relaxed);
    }

    /// Is everything that was said on its way?
    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Relaxed);
    }

    /// Has hyper answered its message, to the last byte?
    pub(super) fn is_answered(&self) -> bool {
        self.asked.load(Relaxed) && self.busy.load(Relaxed) == 0 && self.flushed.load(Relaxed)
    }

    /// Something of a head has come.
    pub(super) fn head_begins(&self) {
        if self.head_since.load(Relaxed) == 0 {
            self.head_since.store(now_ms(), Relaxed);
        }
    }

    /// The head is complete.
    pub(super) fn head_ends(&self) {
        self.head_since.store(0, Relaxed);
    }

    /// Does the visitor owe us the rest of a body?
    pub(super) fn owes_body(&self, owes: bool) {
        if !owes {
            self.body_since.store(0, Relaxed);
        } else if self.body_since.load(Relaxed) == 0 {
            // It is asked again at every wakeup: only the first time counts.
            self.body_since.store(now_ms(), Relaxed);
        }
    }

    /// Is nothing asked and nothing in hand?
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0
    }

    /// Is all well, by these limits?
    pub(super) fn health(&self, settings: &Settings) -> Health {
        let (header_timeout, keep_alive) = (settings.header_timeout, settings.keep_alive_timeout);
        let now = now_ms();
        let left = |since: u64, limit: Duration| {
            limit.checked_sub(Duration::from_millis(now.saturating_sub(since)))
        };
        let tick = Duration::from_millis(20);
        let head = self.head_since.load(Relaxed);
        let since = self.idle_since.load(Relaxed);
        // What is in hand comes first: nobody looks at a head behind it.
        if self.busy.load(Relaxed) > 0 {
            let again = Health::Fine(header_timeout.min(keep_alive) + tick);
            match self.body_since.load(Relaxed) {
                0 => again,
                since => left(since, settings.body_timeout).map_or(Health::Slow, |_| again),
            }
        } else if head != 0 {
            left(head, header_timeout).map_or(Health::Slow, |left| Health::Fine(left + tick))
        } else if self.requests.load(Relaxed) == 0 {
            left(since, header_timeout).map_or(Health::Slow, |left| Health::Fine(left + tick))
        } else {
            // A head that begins in the meantime has its own, mostly shorter, limit.
            let look = |left: Duration| Health::Fine(left.min(header_timeout) + tick);
            left(since, keep_alive).map_or(Health::Idle, look)
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let now = now_ms();
        self.0.idle_since.store(now, Relaxed);
        self.0.owes_body(false);
        if self.0.head_since.load(Relaxed) != 0 {
            // Half a head has come in the meantime (by HTTP/2): its time begins now.
            self.0.head_since.store(now, Relaxed);
        }
        self.0.busy.fetch_sub(1, Relaxed);
    }
}
