//! Room for connections: a bounded number at once. Where it is full, those that only wait for a head make place: first
//! who has never sent one, the oldest first, then who has been idle longest. A request in hand is never broken off, so
//! silent connections of one client keep nobody out.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time,
};
use tracing::warn;

/// Where nobody could go, we look again so often.
const AGAIN: Duration = Duration::from_millis(200);
/// One line in the log in so long.
const QUIET: Duration = Duration::from_secs(60);

/// Whether it has sent a head before, and a number that grows: who stands first goes first.
type Rank = (bool, u64);

/// The room.
#[derive(Debug)]
pub(crate) struct Room {
    size: usize,
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// Connections that wait for a head.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    seats: BTreeMap<Rank, Arc<Notify>>,
    told: Option<Instant>,
}

impl Room {
    /// For so many.
    pub(crate) fn new(size: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(size));
        Arc::new(Self { size, places, waiting: Mutex::default() })
    }

    /// How many are in.
    pub(crate) fn open(&self) -> usize {
        self.size - self.places.available_permits()
    }

    /// Waits until nobody is in.
    pub(crate) async fn empty(&self) {
        // Never closed, so it can only succeed: once every connection has given its place back.
        let _ = self.places.acquire_many(u32::try_from(self.size).unwrap_or(u32::MAX)).await;
    }

    /// A place for a new connection, made free if need be.
    pub(crate) async fn enter(self: &Arc<Self>) -> Arc<Seat> {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return self.seat(place);
            }
            self.make_place();
            let place = self.places.clone().acquire_owned();
            if let Ok(Ok(place)) = time::timeout(AGAIN, place).await {
                return self.seat(place);
            }
        }
    }

    fn seat(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Arc<Seat> {
        let go = Arc::new(Notify::new());
        let state = State { begun: 0, rank: Some(self.wait(false, &go)) };
        Arc::new(Seat { room: self.clone(), go, state: Mutex::new(state), _place: place })
    }

    fn wait(&self, served: bool, go: &Arc<Notify>) -> Rank {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        let rank = (served, waiting.next);
        waiting.seats.insert(rank, go.clone());
        rank
    }

    fn make_place(&self) {
        let mut waiting = lock(&self.waiting);
        let gone = waiting.seats.pop_first();
        let now = Instant::now();
        if waiting.told.is_none_or(|told| now.duration_since(told) >= QUIET) {
            waiting.told = Some(now);
            warn!(open = self.size, waiting = waiting.seats.len(), "room for connections full");
        }
        if let Some((_, go)) = gone {
            go.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's place; given back with it.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Room>,
    go: Arc<Notify>,
    /// Locked before the room's list, never after.
    state: Mutex<State>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    /// Requests so far.
    begun: u64,
    /// Its place in the list; nothing while a request is in hand.
    rank: Option<Rank>,
}

impl Seat {
    /// Resolves when the connection has to make place.
    pub(crate) async fn told_to_go(&self) {
        self.go.notified().await;
    }

    /// A whole head has come. Nothing: too late, the connection has been told to go, and the request is not begun.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let mut state = lock(&self.state);
        if let Some(rank) = state.rank.take() {
            lock(&self.room.waiting).seats.remove(&rank)?;
        }
        state.begun += 1;
        Some(Busy { seat: self.clone(), turn: state.begun })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(rank) = lock(&self.state).rank.take() {
            lock(&self.room.waiting).seats.remove(&rank);
        }
    }
}

/// A request in hand, up to the end of its answer.
#[derive(Debug)]
pub(crate) struct Busy {
    seat: Arc<Seat>,
    turn: u64,
}

impl Busy {
    /// The body of the answer, with which the request ends.
    pub(crate) fn body(self, body: Body) -> Held {
        Held { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = lock(&self.seat.state);
        // Unless the next request has begun already.
        if state.begun == self.turn {
            state.rank = Some(self.seat.room.wait(true, &self.seat.go));
        }
    }
}

/// A body that keeps its connection's place.
#[derive(Debug)]
pub(crate) struct Held {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has it been told to go, by now?
    fn told(seat: &Seat) -> bool {
        let mut told = std::pin::pin!(seat.told_to_go());
        told.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn who_never_spoke_goes_first_and_who_works_stays() {
        let room = Room::new(4);
        let mut seats = Vec::new();
        for _ in 0..4 {
            seats.push(room.enter().await);
        }
        drop(seats[0].begin().unwrap());
        let busy = seats[1].begin().unwrap();
        assert_eq!(room.open(), 4);
        let told_now = || seats.iter().map(|seat| told(seat)).collect::<Vec<_>>();
        for wanted in [
            [false, false, true, false],
            [false, false, false, true],
            [true, false, false, false],
            [false; 4],
        ] {
            room.make_place();
            assert_eq!(told_now(), wanted);
        }
        // Told to go means: no request any more.
        assert!(seats[2].begin().is_none());
        drop(busy);
        room.make_place();
        assert!(told(&seats[1]));
        seats.clear();
        assert_eq!(room.open(), 0);
        assert!(lock(&room.waiting).seats.is_empty());
        room.empty().await;
    }

    #[tokio::test]
    async fn a_late_end_of_one_request_does_not_end_the_next() {
        let room = Room::new(1);
        let seat = room.enter().await;
        let first = seat.begin().unwrap();
        let second = seat.begin().unwrap();
        drop(first);
        room.make_place();
        assert!(!told(&seat), "the second is in hand");
        drop(second);
        room.make_place();
        assert!(told(&seat));
    }

    #[tokio::test]
    async fn a_full_room_of_workers_is_waited_for() {
        let room = Room::new(1);
        let seat = room.enter().await;
        let busy = seat.begin().unwrap();
        let next = tokio::spawn({
            let room = room.clone();
            async move { room.enter().await }
        });
        while lock(&room.waiting).told.is_none() {
            tokio::task::yield_now().await;
        }
        assert!(!told(&seat) && !next.is_finished());
        drop((busy, seat));
        let next = time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap();
        assert_eq!(room.open(), 1);
        drop(next);
    }
}
