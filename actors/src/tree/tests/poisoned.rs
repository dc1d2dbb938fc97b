//! Inputs that an actor dies of every time (`RELIABILITY.md`, row 9): after three times they are put aside, the actor
//! lives, and nobody else is kept out.

use super::*;
use crate::{
    domain::{Moment, ServerState, UserId},
    store::Write,
    supervise::{
        faults::{self, Act, Faults},
        health::Condition,
    },
};

impl Busy {
    /// What is put aside, as `actor input`.
    fn aside(&self) -> Vec<String> {
        self.tree.aside().iter().map(|it| format!("{} {}", it.actor, it.input)).collect()
    }

    fn restarts_of(&self, actor: &str) -> u64 {
        self.tree.health().iter().find(|it| it.actor == actor).unwrap().restarts
    }

    async fn start(&self, key: &ServerKey) -> Result<Begun, StartRefused> {
        answered(self.tree.spawners.start(key.clone(), Ask::default())).await
    }
}

#[test]
fn row_09_a_record_that_kills_whoever_reads_it_keeps_nobody_out() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let (journal, world) = (MemoryJournal::default(), ScriptedSpawner::default());
        let first = hub(&journal, &world).await;
        let bob = sign_in(&first, "Bob").await.unwrap();
        let bad = ServerKey { user: bob.id, name: ServerName::default_server() };
        let good = ServerKey { user: bob.id, name: ServerName::new("good").unwrap() };
        for key in [&bad, &good] {
            first.spawners.start(key.clone(), Ask::default()).await.unwrap();
            assert!(first.spawners.settled(key, LONG).await);
        }
        let order = first.store.image().server(&bad).unwrap().state.order().unwrap().clone();
        let others = first.store.image().server(&good).unwrap().state.order().unwrap().clone();
        first.shutdown().await.unwrap();

        world.poison(&order, true);
        let (probe, proxy) = (ScriptedProbe::default(), MemoryRoutes::default());
        let tree = hub_with(&journal, &world, &probe).await;
        tree.routes.add_sink(Arc::new(proxy.clone())).await.unwrap();
        let hub = Busy { tree, journal, world, probe, proxy, key: good.clone(), order: others };
        assert!(hub.tree.spawners.recovered(LONG).await, "recovery ends without it");
        assert_eq!(hub.aside(), ["spawner bob/: Recover"]);
        assert_eq!(hub.restarts_of("spawner"), 3);
        // everybody else, and the same user's other server
        let eves = hub.eves().await;
        hub.start(&eves).await.unwrap();
        assert!(hub.tree.spawners.settled(&eves, LONG).await);
        assert!(hub.tree.store.image().server(&eves).unwrap().state.is_ready());
        answered(hub.tree.spawners.stop(good.clone(), StopAsk::default())).await.unwrap();
        assert!(hub.tree.spawners.settled(&good, LONG).await);
        // what is not known changes nothing
        assert!(hub.tree.store.image().server(&bad).unwrap().state.is_ready());
        assert!(hub.world.alive().contains(&order));
        let others = |it: &Health| it.actor != "spawner" && it.restarts > 0;
        assert!(!hub.tree.health().iter().any(others));
        println!("row 9: put aside after {} deaths", hub.restarts_of("spawner"));
        hub.tree.shutdown().await.unwrap();
    });
}

#[test]
fn row_09_an_ask_the_registry_dies_of_is_put_aside_and_it_lives() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let eves = hub.eves().await;
        faults::arm("spawners:ask:eve", Act::Panic, 0);
        for _ in 0..3 {
            let died = hub.start(&eves).await;
            assert!(matches!(died, Err(StartRefused::Unavailable(_))), "{died:?}");
        }
        for _ in 0..20 {
            let aside = hub.start(&eves).await;
            assert!(matches!(aside, Err(StartRefused::Aside(_))), "{aside:?}");
        }
        assert_eq!(hub.restarts_of("spawners"), 3, "it lives");
        assert_eq!(hub.aside(), ["spawners start eve/"]);
        hub.ends_well().await;
    });
}

#[test]
fn row_09_an_event_a_users_actor_dies_of_ends_that_start_and_no_other() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let eves = hub.eves().await;
        // her server cannot be asked whether it answers
        hub.probe.panic_next(1_000);
        hub.start(&eves).await.unwrap();
        assert!(hub.tree.spawners.settled(&eves, LONG).await, "not pending for ever");
        let state = hub.tree.store.image().server(&eves).unwrap().state.clone();
        assert!(matches!(state, ServerState::Stopped(Some(_))), "{state:?}");
        assert_eq!(hub.aside(), ["spawner eve/: Probe"]);
        assert_eq!(hub.restarts_of("spawner"), 3);
        hub.probe.panic_next(0);
        hub.ends_well().await;
    });
}

#[test]
fn row_09_an_attempt_that_panics_costs_only_itself() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        faults::arm("logins:attempt:Bob", Act::Panic, 0);
        use logins::SignInRefused::{Aside, Unavailable as Gone};
        for _ in 0..3 {
            let (bobs, eves) = tokio::join!(sign_in(&hub.tree, "Bob"), sign_in(&hub.tree, "Eve"));
            assert!(matches!(bobs, Err(Gone(_))), "{bobs:?}");
            eves.unwrap();
        }
        let bobs = sign_in(&hub.tree, "Bob").await;
        assert!(matches!(bobs, Err(Aside(_))), "{bobs:?}");
        assert_eq!(hub.aside(), ["logins bob"]);
        assert_eq!(hub.restarts_of("logins"), 0);
        hub.ends_well().await;
    });
}

#[test]
fn row_09_a_use_that_cannot_be_written_does_not_keep_the_others() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let journal = MemoryJournal::holding(
            (1..=100)
                .map(|id| Write::User(Arc::new(crate::testing::user(id, &format!("user{id}")))))
                .collect(),
        );
        let hub = hub(&journal, &ScriptedSpawner::default()).await;
        faults::arm("activity:use:user 50", Act::Panic, 0);
        for round in 1..=4 {
            (1..=100).for_each(|id| hub.activity.user(UserId(id), Moment(round)));
            answered(hub.activity.flush(LONG)).await.unwrap();
            let image = journal.image();
            let late: Vec<_> = image
                .users()
                .filter(|user| user.last_activity != Some(Moment(round)))
                .map(|user| user.id)
                .collect();
            assert_eq!(late, [UserId(50)], "round {round}");
        }
        let aside: Vec<_> = hub.aside().iter().map(|it| it.input.clone()).collect();
        assert_eq!(aside, ["user 50"]);
        assert!(
            hub.health().iter().all(|it| it.restarts == 0 && it.state != Condition::Restarting)
        );
        hub.shutdown().await.unwrap();
    });
}
