//! A panic in each actor at each kind of message it takes (`RELIABILITY.md`, row 8). Which there are is asked of the
//! tree, so that none is forgotten.

use tokio::time::Instant;

use super::*;
use crate::domain::{Cause, ServerState};
use crate::ports::Return;
use crate::supervise::{
    Escalated, Limits, Name,
    faults::{self, Act, Faults},
    health::Condition,
};

/// An actor is back within this.
const BACK: Duration = Duration::from_millis(50);

/// Promised times are asserted with room for a busy machine; `make chaos` asserts them as they are.
fn promise(limit: Duration) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a test may look at how it is run")]
    let strict = std::env::var("JOVIS_STRICT").is_ok_and(|value| value == "1");
    if strict { limit } else { limit * 5 }
}

/// Every answer is one; those that say "not now" are counted, and asked again.
async fn insist<T, E: std::fmt::Debug, F>(refusals: &mut usize, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    for _ in 0..3 {
        match answered(ask()).await {
            Ok(answer) => return answer,
            Err(error) => {
                *refusals += 1;
                let text = format!("{error:?}");
                assert!(text.contains("Died") || text.contains("Restarting"), "{text}");
            }
        }
    }
    panic!("refused again and again");
}

impl Busy {
    pub(super) async fn eves(&self) -> ServerKey {
        let eve = sign_in(&self.tree, "Eve").await.unwrap();
        ServerKey { user: eve.id, ..self.key.clone() }
    }

    /// Has an actor take this message; says how many askers heard "not now".
    async fn provoke(&self, point: &str) -> usize {
        let (tree, mut refusals) = (&self.tree, 0);
        let count = &mut refusals;
        match point {
            "activity:Flush" => insist(count, || tree.activity.flush(LONG)).await,
            "routes:AddSink" => {
                let proxy: Arc<MemoryRoutes> = Arc::new(MemoryRoutes::default());
                insist(count, || tree.routes.add_sink(proxy.clone())).await;
            }
            "routes:RemoveSink" => {
                let other = Arc::new(MemoryRoutes::default());
                let sink = insist(count, || tree.routes.add_sink(other.clone())).await;
                insist(count, || tree.routes.remove_sink(sink)).await;
                let again = Arc::new(self.proxy.clone());
                insist(count, || tree.routes.add_sink(again.clone())).await;
            }
            "routes:Check" => insist(count, || tree.routes.check()).await,
            "routes:List" => drop(insist(count, || tree.routes.list()).await),
            "routes:Recovered" => insist(count, || tree.routes.recovered()).await,
            "routes:Published" | "logins:Attempt" => {
                insist(count, || sign_in(tree, "Eve")).await;
            }
            "logins:Arrival" => {
                // Nobody is vouched for here: to be refused is an answer.
                insist(count, || async {
                    let verifier = Secret::new("verifier".to_owned());
                    let (callback, query) = (String::new(), Vec::new());
                    let back = Return { callback, verifier, query, from: None };
                    match tree.logins.arrive("elsewhere".to_owned(), back).await {
                        Err(logins::SignInRefused::Refused) => Ok(()),
                        other => other.map(drop),
                    }
                })
                .await;
            }
            "logins:Renew" => {
                let eve = insist(count, || sign_in(tree, "Eve")).await;
                // Who cannot be asked after goes on; so it is always an answer.
                insist(count, || async {
                    assert!(tree.logins.renew(eve.clone()).await);
                    Ok::<_, logins::SignInRefused>(())
                })
                .await;
            }
            "routes:Set" | "routes:Remove" | "spawners:Start" | "spawners:Stop"
            | "spawner:Start" | "spawner:Stop" => {
                let eves = self.eves().await;
                insist(count, || async {
                    let begun = tree.spawners.start(eves.clone(), Ask::default()).await;
                    // the first ask was heard although it was not answered
                    if matches!(begun, Err(StartRefused::Running)) {
                        Ok(Begun::Already)
                    } else {
                        begun
                    }
                })
                .await;
                assert!(tree.spawners.settled(&eves, LONG).await);
                let state = || tree.store.image().server(&eves).unwrap().state.clone();
                if state() == ServerState::Stopped(Some(Cause::Interrupted)) {
                    // Recorded, and not done: that is an answer too.
                    *count += 1;
                    tree.spawners.start(eves.clone(), Ask::default()).await.unwrap();
                    assert!(tree.spawners.settled(&eves, LONG).await);
                }
                assert!(state().is_ready(), "{point}: {:?}", state());
                insist(count, || async {
                    let ended = tree.spawners.stop(eves.clone(), StopAsk::default()).await;
                    if matches!(ended, Err(spawners::StopRefused::NotRunning)) {
                        Ok(())
                    } else {
                        ended
                    }
                })
                .await;
                assert!(tree.spawners.settled(&eves, LONG).await);
            }
            "spawner:Check" => {
                self.world.hide(&self.order, true);
                until("checked", || !faults::is_armed()).await;
                self.world.hide(&self.order, false);
            }
            "spawner:Rest" => {
                let eves = self.eves().await;
                tree.spawners.start(eves.clone(), Ask::default()).await.unwrap();
                assert!(tree.spawners.settled(&eves, LONG).await);
                tree.spawners.stop(eves.clone(), StopAsk::default()).await.unwrap();
                until("swept", || !faults::is_armed()).await;
            }
            "janitor:Round" | "drain:Round" => until("looked", || !faults::is_armed()).await,
            other => panic!("say here how {other} comes about"),
        }
        refusals
    }

    /// The actor of this name dies of what is asked of it: who asked hears that, and it is back within its backoff.
    async fn fell<A: actix::Actor, T: std::fmt::Debug, E: std::fmt::Debug>(
        &self,
        (name, point): (&Name<A>, &str),
        ask: impl Future<Output = Result<T, E>>,
    ) {
        faults::arm(point, Act::Panic, 1);
        let died = format!("{:?}", answered(ask).await.unwrap_err());
        assert!(died.contains("Died"), "{point}: {died}");
        let begun = Instant::now();
        until("back", || name.is_up()).await;
        let limit = Limits::default().longest_delay;
        assert!(begun.elapsed() <= limit, "{point}: back after {:?}", begun.elapsed());
    }

    fn restarts(&self, actor: &str) -> u64 {
        let health = self.tree.health();
        health.iter().find(|it| it.actor == actor).expect("the tree knows it").restarts
    }

    fn all_up(&self) -> bool {
        let down = |it: &Health| it.state != Condition::Up && it.state != Condition::Ended;
        !self.tree.health().iter().any(down)
    }
}

#[test]
fn row_08_a_panic_at_any_message_is_answered_and_made_good() {
    let points = messages();
    let mut slowest = (Duration::ZERO, "");
    for point in &points {
        System::new().block_on(async {
            let _own = Faults::isolated();
            let hub = Busy::new().await;
            until("recovered", || hub.all_up()).await;
            let (actor, _) = point.split_once(':').unwrap();
            faults::arm(point, Act::Panic, 1);
            let (mut fired, mut back) = (None, None);
            let watch = async {
                until("the panic", || !faults::is_armed()).await;
                fired = Some(Instant::now());
                while !(hub.restarts(actor) == 1 && hub.all_up()) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                back = Some(Instant::now());
            };
            let (refusals, ()) = answered(async { tokio::join!(hub.provoke(point), watch) }).await;
            assert!(!faults::is_armed(), "{point} was never passed");
            assert!(refusals <= 1, "{point}: {refusals} askers were refused for one panic");
            let health = hub.tree.health();
            let sick: Vec<_> =
                health.iter().filter(|it| it.restarts > 0).map(|it| it.actor).collect();
            assert_eq!(sick, [actor], "{point}: the others did not notice");
            let failure = health.iter().find(|it| it.actor == actor).unwrap();
            let failure = failure.last_failure.as_ref().unwrap();
            assert!(failure.how.contains(&format!("fault at {point}")), "{}", failure.how);
            slowest = slowest.max((back.unwrap() - fired.unwrap(), *point));
            hub.ends_well().await;
        });
    }
    println!("row 8: {} messages, slowest restart {slowest:?}", points.len());
    assert!(slowest.0 <= promise(BACK), "{slowest:?}");
}

#[test]
fn row_08_a_panic_of_any_effect_is_made_good_and_nothing_is_done_twice() {
    let points = System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        hub.provoke("spawner:Start").await;
        hub.ends_well().await;
        let passed = faults::passed().into_iter().map(|(point, _)| point);
        let act =
            |point: &String| point.starts_with("effect:") || point.starts_with("spawner:event");
        passed.filter(act).collect::<Vec<_>>()
    });
    for point in &points {
        System::new().block_on(async {
            let _own = Faults::isolated();
            let hub = Busy::new().await;
            faults::arm(point, Act::Panic, 1);
            hub.provoke("spawner:Start").await;
            until(&format!("{point} is passed"), || !faults::is_armed()).await;
            let orders = hub.world.orders();
            let twice = orders.iter().any(|it| orders.iter().filter(|o| o.id == it.id).count() > 1);
            assert!(!twice, "{point}: an order was given twice");
            hub.ends_well().await;
        });
    }
    println!("row 8: {} points of the server's machine", points.len());
    assert!(points.len() > 20, "{points:?}");
}

#[test]
fn row_08_a_storm_of_panics_in_any_actor_ends_the_tree_by_name_and_hangs_nobody() {
    for actor in ["activity", "routes", "spawners", "logins", "janitor", "drain"] {
        System::new().block_on(async {
            let _own = Faults::isolated();
            let mut hub = Busy::new().await;
            faults::arm(&format!("{actor}:started"), Act::Panic, 0);
            let first = messages().into_iter().find(|point| point.starts_with(actor)).unwrap();
            // the blow that brings it down; from then on it does not come up
            let first = if actor == "spawners" { "spawners:Start" } else { first };
            faults::arm(first, Act::Panic, 1);
            let begun = Instant::now();
            let (tree, key) = (&mut hub.tree, hub.key.clone());
            let (routes, spawners, activity) =
                (tree.routes.clone(), tree.spawners.clone(), tree.activity.clone());
            let logins = tree.logins.clone();
            let asking = async {
                loop {
                    let password = Secret::new("secret".to_owned());
                    let credentials = Credentials {
                        way: String::new(),
                        username: "Bob".to_owned(),
                        password,
                        otp: None,
                        from: None,
                    };
                    let _ = answered(logins.password(credentials)).await;
                    let _ = answered(spawners.start(key.clone(), Ask::default())).await;
                    let _ = answered(activity.flush(LONG)).await;
                    let _ = answered(routes.recovered()).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let ended = tokio::select! {
                ended = answered(tree.ended()) => ended,
                () = asking => unreachable!("it goes on for ever"),
            };
            let Escalated { supervisor, child, how } = ended.unwrap_err();
            assert_eq!((supervisor, child), ("tree", actor));
            println!("row 8: {actor} given up on after {:?}: {how}", begun.elapsed());
            assert_eq!(
                hub.world.alive(),
                std::slice::from_ref(&hub.order),
                "servers outlive the hub"
            );
        });
    }
}

#[test]
fn a_panic_of_activity_loses_no_note() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let activity = &hub.tree.activity;
        let at = hub.tree.store.image().server(&hub.key).unwrap().last_activity.unwrap();
        activity.server(&hub.key, at.plus(LONG));
        hub.fell((&activity.name, "activity:Flush"), activity.flush(LONG)).await;
        answered(activity.flush(LONG)).await.unwrap();
        let noted = hub.journal.image().server(&hub.key).unwrap().last_activity;
        assert_eq!(noted, Some(at.plus(LONG)));
        hub.ends_well().await;
    });
}

#[test]
fn a_panic_of_routes_leaves_every_proxy_known_and_filled() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let routes = &hub.tree.routes;
        hub.proxy.forget_all();
        hub.fell((&routes.name, "routes:Recovered"), routes.recovered()).await;
        until("filled again", || hub.proxy.routes().len() == 1).await;
        hub.ends_well().await;
    });
}

#[test]
fn a_panic_of_logins_is_answered_and_the_next_attempt_works() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let attempt = (&hub.tree.logins.name, "logins:Attempt");
        let fell = hub.fell(attempt, sign_in(&hub.tree, "Eve"));
        let ((), beside) = tokio::join!(fell, sign_in(&hub.tree, "Bob"));
        use logins::SignInRefused::Unavailable as Gone;
        assert!(matches!(beside, Ok(_) | Err(Gone(_))), "{beside:?}");
        hub.ends_well().await;
    });
}

#[test]
fn a_panic_of_the_registry_costs_nobody_a_server() {
    System::new().block_on(async {
        let _own = Faults::isolated();
        let hub = Busy::new().await;
        let (eves, spawners) = (hub.eves().await, &hub.tree.spawners);
        let stop = || spawners.stop(eves.clone(), StopAsk::default());
        let fell = hub.fell((&spawners.name, "spawners:Stop"), stop());
        let ((), beside) = tokio::join!(fell, answered(stop()));
        assert!(beside.is_err(), "it does not run");
        hub.ends_well().await;
    });
}
