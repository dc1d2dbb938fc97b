//! Rounds against a store from memory.

use actix::{Arbiter, System};

use super::*;
use crate::{
    domain::{Owner, ServiceName, Token, TokenHash, TokenId},
    ports::StoreError,
    store::{Settings, open},
    supervise::{Supervision, Supervisor},
    testing::{ManualClock, MemoryJournal, SeededEntropy},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn token(id: u64, expires_at: Option<Moment>) -> Write {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&id.to_le_bytes());
    Write::Token(Arc::new(Token {
        id: TokenId(id),
        owner: Owner::Service(ServiceName::new("x").unwrap()),
        hash: TokenHash(hash),
        scopes: [].into(),
        created: Moment(0),
        expires_at,
        last_activity: None,
        note: "".into(),
        client: None,
        session: None,
    }))
}

fn store_with(writes: Vec<Write>) -> (MemoryJournal, store::Client, ChildSpec) {
    let journal = MemoryJournal::holding(writes);
    let (client, spec) = open(Box::new(journal.clone()), Settings::default()).unwrap();
    (journal, client, spec)
}

fn supervised(spec: ChildSpec) -> Supervision {
    Supervisor::new("test", Arc::new(SeededEntropy::new(1))).child(spec).start()
}

#[tokio::test]
async fn many_records_go_in_parts() {
    let writes = (1..=1_201).map(|id| token(id, (id > 1).then_some(Moment(10)))).collect();
    let (journal, client, spec) = store_with(writes);
    let _supervision = supervised(spec);
    assert_eq!(sweep(&client, Moment(9)).await.unwrap(), 0);
    assert_eq!(sweep(&client, Moment(10)).await.unwrap(), 1_200);
    assert_eq!(client.image().tokens().count(), 1);
    let sizes: Vec<_> = journal.groups().iter().skip(1).map(Vec::len).collect();
    assert_eq!(sizes, [500, 500, 200]);
}

#[tokio::test]
async fn a_full_disk_is_reported_and_tried_again() {
    let (journal, client, spec) = store_with(vec![token(1, Some(Moment(10)))]);
    let _supervision = supervised(spec);
    journal.fail_append(1, StoreError::Full);
    let outcome = sweep(&client, Moment(10)).await;
    assert!(matches!(outcome, Err(ChangeError::Store(StoreError::Full))));
    assert_eq!(sweep(&client, Moment(10)).await.unwrap(), 1);
    assert_eq!(journal.image().tokens().count(), 0);
}

#[test]
fn what_was_renewed_meanwhile_stays() {
    let mut image = Image::default();
    for write in [token(1, Some(Moment(10))), token(2, Some(Moment(99)))] {
        image.apply(&write);
    }
    let gone = |id| Write::TokenGone(TokenId(id));
    let found = vec![gone(1), gone(2), gone(3)];
    assert_eq!(still_expired(&image, found, Moment(50)), [gone(1)]);
}

#[test]
fn a_moved_clock_is_noticed() {
    let start = Moment(0).plus(YEAR);
    let hour = Duration::from_secs(3600);
    let cases = [
        (start.plus(hour), hour, false),
        (start.plus(hour + DRIFT), hour, false),
        (start.plus(hour + DRIFT * 2), hour, true),
        (start, hour, true),
        (Moment(0), hour, true),
        (start.plus(YEAR * 10), hour, true),
    ];
    for (now, ran, moved) in cases {
        assert_eq!(was_moved(start, now, ran), moved, "{now:?}");
    }
}

fn tools(store: store::Client, clock: &ManualClock) -> Tools {
    Tools {
        store,
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(2)),
        period: Duration::from_millis(2),
    }
}

#[test]
fn a_round_after_a_moved_clock_looks_on() {
    let (_, client, _) = store_with(Vec::new());
    let clock = ManualClock::default();
    let mut janitor = Janitor::new(tools(client, &clock));
    clock.advance(PERIOD);
    assert_eq!(janitor.as_of(), Some(clock.moment()));
    for moved in [clock.moment().plus(YEAR * 10), Moment(0)] {
        clock.set_wall(moved);
        clock.advance(PERIOD);
        assert_eq!(janitor.as_of(), None);
        clock.advance(PERIOD);
        assert_eq!(janitor.as_of(), Some(clock.moment()));
    }
}

/// A clock that panics once when told.
struct Cracked {
    clock: ManualClock,
    panic: std::sync::atomic::AtomicBool,
}

impl Clock for Cracked {
    fn moment(&self) -> Moment {
        self.clock.moment()
    }
    fn instant(&self) -> std::time::Instant {
        let panics = self.panic.swap(false, std::sync::atomic::Ordering::SeqCst);
        assert!(!panics, "the clock panics as it was told to");
        self.clock.instant()
    }
}

#[test]
fn a_janitor_that_panics_is_back_for_the_next_round() {
    System::new().block_on(async {
        let clock = ManualClock::default();
        let soon = clock.moment().plus(Duration::from_secs(1));
        let (journal, client, spec) = store_with(vec![token(1, Some(soon))]);
        let cracked = Arc::new(Cracked { clock: clock.clone(), panic: false.into() });
        let tools = Tools { clock: cracked.clone(), ..tools(client, &clock) };
        let supervision = Supervisor::new("test", Arc::new(SeededEntropy::new(1)))
            .child(spec)
            .child(child(Arbiter::current(), tools))
            .start();
        cracked.panic.store(true, std::sync::atomic::Ordering::SeqCst);
        let cleaned = async {
            while cracked.panic.load(std::sync::atomic::Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            clock.advance(Duration::from_secs(30));
            while journal.image().tokens().count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), cleaned).await.expect("it is back");
        supervision.stop().await.unwrap();
    });
}

#[test]
fn rounds_delete_what_has_expired() {
    System::new().block_on(async {
        let clock = ManualClock::default();
        let soon = clock.moment().plus(Duration::from_secs(1));
        let (journal, client, spec) =
            store_with(vec![token(1, Some(soon)), token(2, Some(soon.plus(YEAR)))]);
        let entropy = Arc::new(SeededEntropy::new(1));
        let supervision = Supervisor::new("test", entropy)
            .child(spec)
            .child(child(Arbiter::current(), tools(client.clone(), &clock)))
            .start();
        clock.advance(Duration::from_secs(30));
        while journal.image().tokens().count() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(client.image().token(TokenId(2)).is_some());
        supervision.stop().await.unwrap();
    });
}
