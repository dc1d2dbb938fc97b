//! The store over the journal from memory, on its real thread.

use std::{
    convert::Infallible,
    sync::{Arc, mpsc},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    domain::UserId,
    ports::StoreError,
    supervise::{Supervision, Supervisor},
    testing::{self, MemoryJournal, SeededEntropy},
};

fn user(id: u64, name: &str) -> Write {
    Write::User(Arc::new(testing::user(id, name)))
}

struct Fixture {
    journal: MemoryJournal,
    client: Client,
    supervision: Supervision,
}

fn open_with(journal: MemoryJournal, settings: Settings) -> Fixture {
    let (client, spec) = open(Box::new(journal.clone()), settings).unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    Fixture { journal, client, supervision: Supervisor::new("test", entropy).child(spec).start() }
}

fn open_default() -> Fixture {
    open_with(MemoryJournal::default(), Settings::default())
}

/// One more user, named after its id.
async fn add(client: &Client) -> Result<u64, ChangeError<Infallible>> {
    client
        .change(|image| {
            let id = image.next_id();
            Ok((vec![user(id, &format!("u{id}"))], id))
        })
        .await
}

/// Holds the writer inside a decision until the returned sender is dropped.
async fn hold(client: &Client) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let client = client.clone();
    tokio::spawn(async move {
        let decide = move |_: &Image| {
            let _ = inside.send(());
            let _ = held.recv();
            Ok::<_, Infallible>((Vec::new(), ()))
        };
        client.change(decide).await
    });
    entered.await.unwrap();
    release
}

#[tokio::test]
async fn who_was_answered_reads_their_own_write() {
    let it = open_default();
    for n in 1..20 {
        let id = add(&it.client).await.unwrap();
        assert_eq!(id, n);
        assert!(it.client.image().user(UserId(id)).is_some());
        assert_eq!(*it.client.published().borrow(), n);
    }
    it.supervision.stop().await.unwrap();
    assert_eq!(*it.client.image(), it.journal.image());
}

#[tokio::test]
async fn a_damaged_store_is_not_opened() {
    let journal = MemoryJournal::default();
    journal.set_load_error(Some(StoreError::Damaged("on purpose".to_owned())));
    let opened = open(Box::new(journal), Settings::default());
    assert!(matches!(opened, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn a_refusal_writes_nothing() {
    let it = open_default();
    let refused = it.client.change(|_| Err::<(Vec<Write>, ()), _>("no")).await;
    assert!(matches!(refused, Err(ChangeError::Refused("no"))));
    assert_eq!(it.journal.counts().0, 0);
}

#[tokio::test]
async fn what_waits_is_appended_together() {
    let it = open_default();
    let release = hold(&it.client).await;
    let adding: Vec<_> = (0..300)
        .map(|_| {
            let client = it.client.clone();
            tokio::spawn(async move { add(&client).await })
        })
        .collect();
    while it.client.queue.max_capacity() - it.client.queue.capacity() < 300 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for adding in adding {
        adding.await.unwrap().unwrap();
    }
    // The one that held the writer is in the first group and writes nothing; its group was closed around the others.
    let sizes: Vec<_> = it.journal.groups().iter().map(Vec::len).collect();
    assert_eq!(sizes, [127, 128, 45]);
    assert_eq!(it.client.image().users().count(), 300);
}

#[tokio::test]
async fn nobody_reads_what_is_not_durable() {
    let it = open_default();
    it.journal.fail_append(1, StoreError::Full);
    let refused = add(&it.client).await;
    assert!(matches!(refused, Err(ChangeError::Store(StoreError::Full))));
    assert!(it.client.image().is_empty());
    assert_eq!(*it.client.published().borrow(), 0);
}

#[tokio::test]
async fn a_full_queue_says_busy() {
    let it = open_with(MemoryJournal::default(), Settings { queue: 4, ..Settings::default() });
    let release = hold(&it.client).await;
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let client = it.client.clone();
            tokio::spawn(async move { add(&client).await })
        })
        .collect();
    while it.client.queue.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(add(&it.client).await, Err(ChangeError::Busy)));
    drop(release);
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_decision_that_panics_is_alone() {
    let it = open_default();
    let release = hold(&it.client).await;
    let client = it.client.clone();
    let good = tokio::spawn(async move { add(&client).await });
    let client = it.client.clone();
    let bad = tokio::spawn(async move {
        client.change(|_| -> Result<(Vec<Write>, ()), Infallible> { panic!("on purpose") }).await
    });
    while it.client.queue.max_capacity() - it.client.queue.capacity() < 2 {
        tokio::task::yield_now().await;
    }
    drop(release);
    assert!(matches!(bad.await.unwrap(), Err(ChangeError::Unavailable)));
    assert_eq!(good.await.unwrap().unwrap(), 1);
    assert_eq!(add(&it.client).await.unwrap(), 2);
    assert_eq!(it.journal.counts().1, 1, "the writer was not restarted");
}

#[tokio::test]
async fn a_change_that_is_too_large_is_alone() {
    let it = open_default();
    let huge = it
        .client
        .change(|image| {
            let writes: Vec<_> =
                (0..40_000).map(|n| user(image.next_id() + n, &format!("u{n}"))).collect();
            Ok::<_, Infallible>((writes, ()))
        })
        .await;
    assert!(matches!(huge, Err(ChangeError::Store(StoreError::Unfit(_)))));
    assert_eq!(add(&it.client).await.unwrap(), 1);
}

#[tokio::test]
async fn what_the_journal_cannot_keep_takes_no_other_change_with_it() {
    let it = open_default();
    it.journal.set_longest(1_000);
    let release = hold(&it.client).await;
    let long = it.client.change(|_| Ok::<_, Infallible>((vec![user(9, &"x".repeat(250))], ())));
    it.journal.set_longest(200);
    let (long, other) = tokio::join!(long, async {
        let asked = add(&it.client);
        drop(release);
        asked.await
    });
    assert!(matches!(long, Err(ChangeError::Store(StoreError::Unfit(_)))), "{long:?}");
    assert!(other.is_ok(), "{other:?}");
    assert_eq!(it.journal.counts().1, 1, "nothing was loaded again");
}

#[tokio::test]
async fn a_panicking_journal_is_survived() {
    let it = open_default();
    add(&it.client).await.unwrap();
    it.journal.panic_at_next_append();
    assert!(matches!(add(&it.client).await, Err(ChangeError::Unavailable)));
    let id = eventually(&it.client).await;
    assert_eq!(id, 2);
    assert_eq!(it.journal.counts().1, 2);
    it.supervision.stop().await.unwrap();
    assert_eq!(*it.client.image(), it.journal.image());
}

/// Adds a user as soon as the store takes one; every refusal must be an honest one.
async fn eventually(client: &Client) -> u64 {
    loop {
        match add(client).await {
            Ok(id) => return id,
            Err(ChangeError::Store(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_refused_and_left_behind() {
    let it = open_default();
    add(&it.client).await.unwrap();
    it.journal.set_full(true);
    for _ in 0..50 {
        let refused = add(&it.client).await;
        assert!(matches!(refused, Err(ChangeError::Store(StoreError::Full))));
        assert_eq!(it.client.image().users().count(), 1);
    }
    it.journal.set_full(false);
    assert_eq!(eventually(&it.client).await, 2);
}

#[tokio::test]
async fn while_it_cannot_be_loaded_reads_go_on() {
    let it = open_default();
    add(&it.client).await.unwrap();
    it.journal.set_load_error(Some(StoreError::Damaged("on purpose".to_owned())));
    let error = StoreError::Disk { doing: "sync", error: "EIO".to_owned() };
    it.journal.fail_append(1, error);
    assert!(matches!(add(&it.client).await, Err(ChangeError::Store(StoreError::Disk { .. }))));
    loop {
        match add(&it.client).await {
            Err(ChangeError::Store(StoreError::Damaged(_))) => break,
            Err(ChangeError::Store(StoreError::Disk { .. })) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(it.client.image().users().count(), 1);
    it.journal.set_load_error(None);
    assert_eq!(eventually(&it.client).await, 2);
}

#[tokio::test]
async fn nobody_is_told_that_a_change_was_not_made_which_may_be_made() {
    let it = open_default();
    add(&it.client).await.unwrap();
    it.journal.set_load_error(Some(StoreError::Damaged("on purpose".to_owned())));
    it.journal.fail_append(1, StoreError::Uncertain { doing: "sync", error: "EIO".to_owned() });
    assert!(matches!(add(&it.client).await, Err(ChangeError::Unavailable)));
    // Who comes later was not tried, and hears so.
    assert!(matches!(
        add(&it.client).await,
        Err(ChangeError::Store(StoreError::Disk { .. } | StoreError::Damaged(_)))
    ));
    it.journal.set_load_error(None);
    assert_eq!(eventually(&it.client).await, 2);
}

#[tokio::test]
async fn the_kth_append_fails_for_all_k() {
    const CHANGES: u64 = 12;
    for k in 1..=CHANGES {
        let it = open_default();
        let error = StoreError::Disk { doing: "sync", error: "EIO".to_owned() };
        it.journal.fail_append(k, error);
        let mut acknowledged = Vec::new();
        for n in 1..=CHANGES {
            match add(&it.client).await {
                Ok(id) => acknowledged.push(id),
                Err(ChangeError::Store(StoreError::Disk { .. })) => assert_eq!(n, k),
                Err(other) => panic!("k = {k}, change {n}: {other}"),
            }
        }
        assert_eq!(acknowledged.len() as u64, CHANGES - 1, "k = {k}");
        it.supervision.stop().await.unwrap();
        let (stored, shown) = (it.journal.image(), it.client.image());
        assert_eq!(stored, *shown);
        let ids: Vec<_> = stored.users().map(|user| user.id.0).collect();
        assert_eq!(ids, acknowledged, "k = {k}");
    }
}

#[tokio::test]
async fn whatever_fails_among_many_the_answers_are_true() {
    for k in 1..=6 {
        for panics in [false, true] {
            let it = open_default();
            let release = hold(&it.client).await;
            let adding: Vec<_> = (0..500)
                .map(|_| {
                    let client = it.client.clone();
                    tokio::spawn(async move { add(&client).await })
                })
                .collect();
            while it.client.queue.max_capacity() - it.client.queue.capacity() < 500 {
                tokio::task::yield_now().await;
            }
            match panics {
                true => it.journal.panic_at_next_append(),
                false => it.journal.fail_append(k, StoreError::Full),
            }
            drop(release);
            let mut acknowledged = Vec::new();
            for adding in adding {
                match adding.await.unwrap() {
                    Ok(id) => acknowledged.push(id),
                    Err(ChangeError::Store(StoreError::Full)) => assert!(!panics),
                    Err(ChangeError::Unavailable) => assert!(panics),
                    Err(other) => panic!("{other}"),
                }
            }
            it.supervision.stop().await.unwrap();
            acknowledged.sort_unstable();
            let stored = it.journal.image();
            let ids: Vec<_> = stored.users().map(|user| user.id.0).collect();
            assert_eq!(ids, acknowledged, "k = {k}, panics = {panics}");
            assert_eq!(stored, *it.client.image());
            assert!(ids.len() >= 500 - 128, "one group at most was lost: {}", ids.len());
        }
    }
}

#[tokio::test]
async fn a_group_has_a_size() {
    let it = open_default();
    let release = hold(&it.client).await;
    let adding: Vec<_> = (0..10)
        .map(|_| {
            let client = it.client.clone();
            tokio::spawn(async move {
                client
                    .change(|image| {
                        let id = image.next_id();
                        let mut large = testing::user(id, &format!("u{id}"));
                        large.cookie_id = "x".repeat(300 << 10);
                        Ok::<_, Infallible>((vec![Write::User(Arc::new(large))], ()))
                    })
                    .await
            })
        })
        .collect();
    while it.client.queue.max_capacity() - it.client.queue.capacity() < 10 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for adding in adding {
        adding.await.unwrap().unwrap();
    }
    let sizes: Vec<_> = it.journal.groups().iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2]);
}

#[tokio::test]
async fn stopping_finishes_what_waits_and_idles() {
    let it = open_default();
    let release = hold(&it.client).await;
    let client = it.client.clone();
    let waiting = tokio::spawn(async move { add(&client).await });
    while it.client.queue.max_capacity() - it.client.queue.capacity() < 1 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(it.supervision.stop());
    drop(release);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    stopping.await.unwrap().unwrap();
    assert_eq!(it.journal.counts().2, 1);
    assert!(matches!(add(&it.client).await, Err(ChangeError::Unavailable)));
}

#[test]
fn a_runtime_that_ends_takes_the_writer_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let it = runtime.block_on(async {
        let it = open_default();
        add(&it.client).await.unwrap();
        it
    });
    drop(runtime); // would wait for ever for a writer that lives on
    assert_eq!(*it.client.image(), it.journal.image());
    assert_eq!(it.journal.counts().2, 1, "it ended in good order");
}

#[tokio::test]
async fn the_journal_may_idle_between_writes() {
    let settings = Settings { idle_every: Duration::from_millis(1), ..Settings::default() };
    let it = open_with(MemoryJournal::default(), settings);
    while it.journal.counts().2 < 3 {
        add(&it.client).await.unwrap();
    }
    let quiet = it.journal.counts().2;
    while it.journal.counts().2 <= quiet {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_store_that_lost_what_was_acknowledged_takes_no_changes() {
    let it = open_default();
    add(&it.client).await.unwrap();
    add(&it.client).await.unwrap();
    it.journal.lose_last_group();
    // The gap is found where it is: the memory journal refuses to go on over it by a panic.
    assert!(matches!(add(&it.client).await, Err(ChangeError::Unavailable)));
    for _ in 0..10 {
        let refused = add(&it.client).await;
        assert!(matches!(refused, Err(ChangeError::Store(StoreError::Damaged(_)))), "{refused:?}");
    }
    assert_eq!(it.client.image().users().count(), 2, "reads go on");
}

#[tokio::test]
async fn housekeeping_that_fails_is_not_believed() {
    let eio = StoreError::Disk { doing: "sync", error: "EIO".to_owned() };
    for (error, loads) in [(StoreError::Full, 1), (eio, 2)] {
        let settings = Settings { idle_every: Duration::from_millis(1), ..Settings::default() };
        let it = open_with(MemoryJournal::default(), settings);
        it.journal.fail_next_idle(error);
        while it.journal.counts().2 < 3 {
            eventually(&it.client).await;
        }
        assert_eq!(it.journal.counts().1, loads);
    }
}

#[test]
fn a_name_that_was_handed_over_is_found() {
    let mut image = Image::default();
    for write in [user(1, "a"), user(2, "a"), user(1, "b")] {
        image.apply(&write);
    }
    assert_eq!(image.user_named("a").unwrap().id, UserId(2));
    image.apply(&Write::UserGone(UserId(1)));
    assert_eq!(image.user_named("a").unwrap().id, UserId(2));
    assert!(image.user_named("b").is_none());
}

proptest! {
    #[test]
    fn an_image_is_the_sum_of_its_own_writes(names in proptest::collection::vec("[a-d]{1,2}", 0..20)) {
        let mut image = Image::default();
        for (id, name) in (1..).zip(&names) {
            if image.user_named(name).is_some() {
                image.apply(&Write::UserGone(UserId(id - 1)));
            } else {
                image.apply(&user(id, name));
            }
        }
        let mut again = Image::default();
        image.writes().for_each(|write| again.apply(&write));
        prop_assert_eq!(&again, &image);
        image.writes().for_each(|write| again.apply(&write));
        prop_assert_eq!(again, image);
    }
}
