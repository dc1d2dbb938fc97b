//! Panics on purpose, with the clock paused wherever only the supervisor waits.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use actix::{Actor, Arbiter, Context, Handler, Message, System};

use super::*;
use crate::{
    supervise::{Limits, Name, Restart, Unavailable, named},
    testing::SeededEntropy,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Counts what it was asked in this life, and dies when told to.
struct Frail {
    life: u32,
    log: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Actor for Frail {
    type Context = Context<Self>;
    fn stopping(&mut self, _: &mut Context<Self>) -> actix::Running {
        self.log.lock().unwrap().push("stopped".to_owned());
        actix::Running::Stop
    }
}

/// In which life are you?
#[derive(Message)]
#[rtype(result = "u32")]
struct Life;

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

#[derive(Message)]
#[rtype(result = "()")]
struct Hang(Duration);

impl Handler<Life> for Frail {
    type Result = u32;
    fn handle(&mut self, _: Life, _: &mut Context<Self>) -> u32 {
        self.life
    }
}

impl Handler<Die> for Frail {
    type Result = ();
    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("died on purpose");
    }
}

impl Handler<Hang> for Frail {
    type Result = actix::AtomicResponse<Self, ()>;
    fn handle(&mut self, hang: Hang, _: &mut Context<Self>) -> Self::Result {
        let wait = actix::fut::wrap_future(tokio::time::sleep(hang.0));
        actix::AtomicResponse::new(Box::pin(wait))
    }
}

fn frail(stormy: bool) -> (ChildSpec, Name<Frail>, Arc<AtomicU32>, Log) {
    let (publisher, name) = named("frail");
    let (lives, log) = (Arc::new(AtomicU32::new(0)), Log::default());
    let (count, to) = (lives.clone(), log.clone());
    let spec = ChildSpec::actor("frail", Arbiter::current(), 8, publisher, move |_| {
        let life = count.fetch_add(1, SeqCst);
        assert!(!stormy, "cannot be made");
        Frail { life, log: to.clone() }
    });
    (spec, name, lives, log)
}

fn supervisor() -> Supervisor {
    Supervisor::new("test", Arc::new(SeededEntropy::new(1)))
}

/// A child that notes its start and its stop.
fn noting(name: &'static str, log: &Log) -> ChildSpec {
    let log = log.clone();
    ChildSpec::task(name, move |mut signal| {
        let log = log.clone();
        log.lock().unwrap().push(format!("+{name}"));
        async move {
            signal.asked().await;
            log.lock().unwrap().push(format!("-{name}"));
            Ok(())
        }
    })
}

#[test]
fn a_panic_is_survived_and_the_name_follows() {
    System::new().block_on(async {
        let (spec, name, _, _) = frail(false);
        let running = supervisor().child(spec).start();
        for life in 0..4 {
            assert_eq!(name.ask(Life, PATIENCE).await, Ok(life));
            assert_eq!(name.ask(Die, PATIENCE).await, Err(Unavailable::Died("frail")));
        }
        assert_eq!(name.ask(Life, PATIENCE).await, Ok(4));
        running.stop().await.unwrap();
        assert!(!name.is_up());
    });
}

#[test]
fn who_waits_behind_a_panic_gets_an_answer() {
    System::new().block_on(async {
        let (spec, name, _, _) = frail(false);
        let running = supervisor().child(spec).start();
        name.ask(Life, PATIENCE).await.unwrap();
        let (died, behind) = tokio::join!(name.ask(Die, PATIENCE), name.ask(Life, PATIENCE));
        assert_eq!(died, Err(Unavailable::Died("frail")));
        assert_eq!(behind, Err(Unavailable::Died("frail")));
        running.stop().await.unwrap();
    });
}

#[test]
fn nobody_waits_longer_than_their_patience() {
    System::new().block_on(async {
        let (spec, name, _, _) = frail(false);
        let short = Duration::from_millis(20);
        assert_eq!(name.ask(Life, short).await, Err(Unavailable::Restarting("frail")));
        assert!(!name.tell(Die));
        let running = supervisor().child(spec.stop_limit(short)).start();
        name.ask(Life, PATIENCE).await.unwrap();
        let hung = name.ask(Hang(PATIENCE), short).await;
        assert_eq!(hung, Err(Unavailable::Timeout("frail")));
        // It hangs on: the supervisor cuts it off.
        running.stop().await.unwrap();
        assert_eq!(name.ask(Life, PATIENCE).await, Err(Unavailable::Restarting("frail")));
    });
}

#[test]
fn a_constructor_that_panics_escalates() {
    System::new().block_on(async {
        let (spec, name, lives, _) = frail(true);
        let limits = Limits { intensity: 2, ..Limits::default() };
        let mut running = supervisor().child(spec.limits(limits)).start();
        let escalated = running.ended().await.unwrap_err();
        assert_eq!(escalated.child, "frail");
        assert_eq!(escalated.how, Ended::Panicked("cannot be made".to_owned()));
        assert_eq!(lives.load(SeqCst), 3);
        assert!(!name.is_up());
    });
}

#[test]
fn an_actor_is_asked_to_stop_without_a_message_of_its_own() {
    System::new().block_on(async {
        let (spec, name, _, log) = frail(false);
        let running = supervisor().child(spec).start();
        name.ask(Life, PATIENCE).await.unwrap();
        running.stop().await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["stopped"]);
    });
}

#[tokio::test(start_paused = true)]
async fn children_stop_in_reverse_order() {
    let log = Log::default();
    let all =
        ["a", "b", "c"].into_iter().fold(supervisor(), |all, name| all.child(noting(name, &log)));
    let running = all.start();
    tokio::time::sleep(Duration::from_millis(1)).await;
    running.stop().await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["+a", "+b", "+c", "-c", "-b", "-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_storm_stops_the_others_and_escalates() {
    let log = Log::default();
    let starts = Arc::new(AtomicU32::new(0));
    let count = starts.clone();
    let stormy = ChildSpec::task("stormy", move |_| {
        count.fetch_add(1, SeqCst);
        async { Err("no luck".to_owned()) }
    });
    let mut running = supervisor().child(noting("calm", &log)).child(stormy).start();
    let escalated = running.ended().await.unwrap_err();
    assert_eq!(escalated.to_string(), "test: stormy failed: no luck too often");
    assert_eq!(starts.load(SeqCst), 6, "five restarts are tried");
    assert_eq!(*log.lock().unwrap(), ["+calm", "-calm"]);
}

#[tokio::test(start_paused = true)]
async fn one_childs_delay_holds_up_no_other() {
    let began = Instant::now();
    let (first, second) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let dying = |name, after: u64, starts: &Arc<Mutex<Vec<u64>>>| {
        let starts = starts.clone();
        let limits = Limits { first_delay: Duration::from_secs(1), ..Limits::default() };
        ChildSpec::task(name, move |_| {
            starts.lock().unwrap().push(began.elapsed().as_millis() as u64);
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                Err(String::new())
            }
        })
        .limits(Limits { longest_delay: Duration::from_secs(1), intensity: 9, ..limits })
    };
    let running =
        supervisor().child(dying("a", 100, &first)).child(dying("b", 150, &second)).start();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // Both have had their immediate restart and wait for the second one, side by side.
    assert_eq!(*first.lock().unwrap(), [0, 100]);
    assert_eq!(*second.lock().unwrap(), [0, 150]);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!((first.lock().unwrap().len(), second.lock().unwrap().len()), (3, 3));
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_may_not_be_restarted_stays_down() {
    let cases = [
        (Restart::Temporary, Err("x".to_owned()), 1),
        (Restart::Transient, Ok(()), 1),
        (Restart::Transient, Err("x".to_owned()), 6),
        (Restart::Permanent, Ok(()), 6),
    ];
    for (restart, outcome, expected) in cases {
        let starts = Arc::new(AtomicU32::new(0));
        let (count, ends) = (starts.clone(), outcome.clone());
        let spec = ChildSpec::task("child", move |_| {
            count.fetch_add(1, SeqCst);
            std::future::ready(ends.clone())
        });
        let ended = supervisor().child(spec.restart(restart)).start().ended().await;
        assert_eq!(starts.load(SeqCst), expected, "{restart:?} {outcome:?}");
        assert_eq!(ended.is_err(), expected == 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_counts_as_an_exit() {
    let spec = ChildSpec::custom("stuck", || Box::pin(std::future::pending()));
    let limits = Limits { intensity: 1, ..Limits::default() };
    let mut running = supervisor()
        .child(spec.limits(Limits { period: Duration::from_secs(60), ..limits }))
        .start();
    assert_eq!(
        running.ended().await.unwrap_err().how,
        Ended::Failed("did not start within 10 s".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_will_not_stop_is_cut_off() {
    let held = Arc::new(());
    let inside = held.clone();
    let deaf = ChildSpec::task("deaf", move |_| {
        let inside = inside.clone();
        async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        }
    });
    let running = supervisor().child(deaf).start();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&held), 3);
    let asked = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_secs(5));
    while Arc::strong_count(&held) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_escalation_is_an_exit_one_floor_up() {
    let log = Log::default();
    let to = log.clone();
    let inner = ChildSpec::supervisor("inner", move || {
        supervisor()
            .child(noting("leaf", &to))
            .child(ChildSpec::task("stormy", |_| std::future::ready(Err("no luck".to_owned()))))
    });
    let limits = Limits { intensity: 1, period: Duration::from_secs(60), ..Limits::default() };
    let mut running = supervisor().child(noting("root", &log)).child(inner.limits(limits)).start();
    let escalated = running.ended().await.unwrap_err();
    assert_eq!(escalated.child, "inner");
    assert_eq!(*log.lock().unwrap(), ["+root", "+leaf", "-leaf", "+leaf", "-leaf", "-root"]);
}
