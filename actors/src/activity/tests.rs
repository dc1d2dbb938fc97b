//! Notes, actor and store together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use actix::{Actor as _, System};
use arc_swap::ArcSwap;

use super::{Actor, Client, actor::flush, client::Notes};
use crate::{
    domain::{Moment, UserId},
    spawners::doubles::{LONG, people, store},
    supervise::{Quarantine, named},
};

fn bad() -> Quarantine<String> {
    Quarantine::new("activity", LONG)
}

#[test]
fn notes_in_hand_are_not_lost_with_the_actor() {
    System::new().block_on(async {
        let (store, notes) = (store(people(), Arc::default()), Notes::default());
        notes.with(|pending| pending.user(UserId(1), Moment(7)));
        let noted = || !notes.with(|pending| pending.is_empty());
        let mut writing = Box::pin(flush(notes.clone(), store.clone(), bad()));
        let begun = std::future::poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
        assert!(begun.is_pending() && !noted(), "taken out, and not written yet");
        drop(writing);
        assert!(noted());
        flush(notes.clone(), store.clone(), bad()).await;
        assert!(!noted());
        assert_eq!(store.image().user(UserId(1)).unwrap().last_activity, Some(Moment(7)));
    });
}

#[test]
fn what_is_noted_is_written_in_time_and_survives_a_full_disk() {
    System::new().block_on(async {
        tokio::time::pause();
        let full = Arc::new(AtomicBool::new(true));
        let (store, notes) = (store(people(), full.clone()), Notes::default());
        let every = Arc::new(ArcSwap::from_pointee(Duration::from_secs(30)));
        let (publisher, name) = named("activity");
        publisher.publish(Some(Actor::new(notes.clone(), store.clone(), every, bad()).start()));
        let client = Client::new(notes, name);
        let seen = || store.image().user(UserId(1)).unwrap().last_activity;
        client.user(UserId(1), Moment(7));
        client.flush(LONG).await.unwrap();
        assert_eq!(seen(), None, "the disk is full");
        full.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(seen(), Some(Moment(7)));
        client.user(UserId(1), Moment(6));
        client.user(UserId(1), Moment(8));
        assert_eq!(seen(), Some(Moment(7)), "not at once");
        client.flush(LONG).await.unwrap();
        assert_eq!(seen(), Some(Moment(8)));
    });
}
