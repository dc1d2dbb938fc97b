//! The actor with an authenticator that is told what to say.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor as _, System};
use arc_swap::ArcSwap;

use super::{Actor, Client, OfferKind, Rules, Settings, SignInRefused, Standings, Way, actor::Kit};
use crate::{
    domain::{External, Moment, Secret, UserId, Username},
    ports::{
        AccountError, Authenticator, Boxed, Credentials, Departure, Flow, Identity, LoginError,
        Need, Password, Refresh, Return,
    },
    spawners::doubles::{Fixed, people, store},
    store::{Image, Write},
    supervise::{Quarantine, named},
    testing::{ScriptedAccounts, ScriptedRedirect},
};

/// Vouches for everybody, or fails, or hangs for one.
#[derive(Default)]
struct Gate {
    fails: Mutex<Option<LoginError>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Password for Gate {
    fn check<'a>(&'a self, who: &'a Credentials) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            match who.username.as_str() {
                "slow" => tokio::time::sleep(Duration::from_secs(10)).await,
                "never" => std::future::pending().await,
                _ => tokio::task::yield_now().await,
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            match self.fails.lock().unwrap().clone() {
                Some(error) => Err(error),
                None => Ok(Identity::named(who.username.clone())),
            }
        })
    }
}

impl Authenticator for Gate {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }
    fn refresh<'a>(&'a self, _: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(std::future::ready(Ok(Refresh::Same)))
    }
}

fn hub(rules: Rules) -> (Client, Arc<Gate>) {
    let accounts = Arc::new(ScriptedAccounts::default());
    hub_with(rules, Need::Nobody, accounts)
}

fn hub_with(rules: Rules, need: Need, accounts: Arc<ScriptedAccounts>) -> (Client, Arc<Gate>) {
    let (gate, fixed) = (Arc::<Gate>::default(), Arc::new(Fixed(AtomicU64::new(0))));
    let limit = Duration::from_secs(30);
    let settings = Settings { rules, limit, concurrency: 2, accounts: need, ..Settings::default() };
    let kit = Kit {
        store: store(people(), Arc::default()),
        ways: crate::testing::the_way(gate.clone()),
        accounts,
        clock: fixed.clone(),
        entropy: fixed,
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        standings: Standings::default(),
    };
    let (settings, ways) = (kit.settings.clone(), kit.ways.clone());
    let standings = kit.standings.clone();
    let (publisher, name) = named("logins");
    let bad = Quarantine::new("logins", Duration::from_secs(60));
    publisher.publish(Some(Actor::new(kit, bad).start()));
    (Client::new(name, settings, ways, standings), gate)
}

#[test]
fn each_way_has_its_own_names_and_its_own_kind_of_proof() {
    System::new().block_on(async {
        let (client, gate) = hub(Rules { allow_all: true, ..Rules::default() });
        let provider = ScriptedRedirect::new("Elsewhere").with("c0de", "Bob").with("n0ne", " ");
        let way = |name: &str, prefix: &str, authenticator: Arc<dyn Authenticator>| Way {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            authenticator,
        };
        let guests = way("guests", "guest-", gate.clone());
        let elsewhere = way("elsewhere", "else-", Arc::new(provider.clone()));
        client.ways.store(Arc::new(vec![Way::first(gate.clone()), guests, elsewhere]));
        let kinds: Vec<_> = client.offers().into_iter().map(|it| (it.name, it.kind)).collect();
        assert_eq!(kinds[1], ("guests".to_owned(), OfferKind::Form { otp: None }));
        assert_eq!(kinds[2].1, OfferKind::Service("Elsewhere".to_owned()));
        let by = |way: &str, name: &str| Credentials { way: way.to_owned(), ..typed(name) };
        let name =
            async |way: &str| client.password(by(way, "Bob")).await.unwrap().name.to_string();
        assert_eq!((&*name("").await, &*name("guests").await), ("bob", "guest-bob"));
        for wrong in [by("elsewhere", "bob"), by("nowhere", "bob")] {
            let refused = client.password(wrong).await;
            assert!(matches!(refused, Err(SignInRefused::Refused)), "{refused:?}");
        }
        let leave = Departure {
            callback: "http://hub/hub/oauth_callback".to_owned(),
            state: "5tate".to_owned(),
            challenge: "ch".to_owned(),
        };
        let target = client.depart("elsewhere", leave.clone()).await.unwrap();
        assert!(target.contains("state=5tate"), "{target}");
        assert!(client.depart("", leave.clone()).await.is_err(), "a form sends nobody away");
        let back = |code: &str| Return {
            callback: leave.callback.clone(),
            verifier: Secret::new("v".to_owned()),
            query: vec![("code".to_owned(), code.to_owned())],
            from: None,
        };
        let user = client.arrive("elsewhere".to_owned(), back("c0de")).await.unwrap();
        assert_eq!(user.name.as_str(), "else-bob");
        for (way, code) in
            [("elsewhere", "other"), ("elsewhere", "n0ne"), ("", "c0de"), ("x", "c0de")]
        {
            let refused = client.arrive(way.to_owned(), back(code)).await;
            assert!(matches!(refused, Err(SignInRefused::Refused)), "{way} {code}: {refused:?}");
        }
        provider.set_failing(Some(LoginError::Failed("down".to_owned())));
        let unable = client.arrive("elsewhere".to_owned(), back("c0de")).await;
        assert!(matches!(unable, Err(SignInRefused::Unable(_))), "{unable:?}");
    });
}

fn typed(name: &str) -> Credentials {
    let password = Secret::new("secret".to_owned());
    Credentials { way: String::new(), username: name.to_owned(), password, otp: None, from: None }
}

#[test]
fn every_refusal_sounds_the_same() {
    System::new().block_on(async {
        let blocked_users = [Username::new("eve").unwrap()].into();
        let allowed_users = [Username::new("bob").unwrap()].into();
        let (client, gate) = hub(Rules { blocked_users, allowed_users, ..Rules::default() });
        for name in ["Eve", "mallory", "a/b", "", "nul\0"] {
            let refused = client.password(typed(name)).await;
            assert!(matches!(refused, Err(SignInRefused::Refused)), "{name:?}: {refused:?}");
        }
        assert_eq!(gate.asked.load(Ordering::SeqCst), 3, "what is no name asks nobody");
        *gate.fails.lock().unwrap() = Some(LoginError::Refused("wrong password".to_owned()));
        let refused = client.password(typed("bob")).await;
        assert!(matches!(refused, Err(SignInRefused::Refused)), "{refused:?}");
    });
}

#[test]
fn a_broken_authenticator_is_not_a_wrong_password() {
    System::new().block_on(async {
        tokio::time::pause();
        let (client, gate) = hub(Rules { allow_all: true, ..Rules::default() });
        for error in
            [LoginError::Failed("down".to_owned()), LoginError::Timeout(30), LoginError::Busy]
        {
            *gate.fails.lock().unwrap() = Some(error);
            for _ in 0..10 {
                let unable = client.password(typed("bob")).await;
                assert!(matches!(unable, Err(SignInRefused::Unable(_))), "{unable:?}");
            }
        }
        let unable = client.password(typed("never")).await;
        assert!(matches!(unable, Err(SignInRefused::Unable(_))), "{unable:?}");
    });
}

#[test]
fn a_slow_check_holds_up_nobody_and_checks_are_bounded() {
    System::new().block_on(async {
        tokio::time::pause();
        let (client, gate) = hub(Rules::default());
        let slow = actix::spawn({
            let client = client.clone();
            async move { client.password(typed("slow")).await }
        });
        until(|| gate.asked.load(Ordering::SeqCst) == 1).await;
        let begun = tokio::time::Instant::now();
        let others: Vec<_> = (0..8)
            .map(|n| {
                let client = client.clone();
                actix::spawn(async move { client.password(typed(&format!("u{n}"))).await })
            })
            .collect();
        for other in others {
            let refused = other.await.unwrap();
            assert!(matches!(refused, Err(SignInRefused::Refused)), "{refused:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10) && !slow.is_finished());
        assert_eq!(gate.most_at_once.load(Ordering::SeqCst), 2);
        assert!(slow.await.unwrap().is_err());
    });
}

#[test]
fn before_a_start_people_are_asked_after_whatever_the_age_where_that_is_wanted() {
    System::new().block_on(async {
        let (client, _) = hub(Rules::default());
        let mut image = Image::default();
        let (kept, none) = (UserId(1), UserId(2));
        for (user, state) in [(kept, Some("sealed".to_owned())), (none, None)] {
            let (subjects, way, checked) = (Vec::new(), String::new(), Moment(0));
            let external = External { user, subjects, way, kept: state, checked };
            image.apply(&Write::External(Arc::new(external)));
        }
        let set = |age: u64, forced: bool| {
            let refresh_age = Duration::from_secs(age);
            let old = Settings::clone(&client.settings.load());
            let new = Settings { refresh_age, refresh_pre_spawn: forced, ..old };
            client.settings.store(Arc::new(new));
        };
        for (age, forced, due, before_start) in
            [(0, false, false, false), (0, true, false, true), (300, false, true, true)]
        {
            set(age, forced);
            let now = Moment(1);
            assert_eq!(client.is_due(&image, kept, now), due, "{age} {forced}");
            let asked = client.is_due_before_start(&image, kept, now);
            assert_eq!(asked, before_start, "{age} {forced}");
            assert!(!client.is_due_before_start(&image, none, now), "there is nothing to ask with");
            assert!(!client.is_due_before_start(&image, UserId(3), now));
        }
    });
}

#[test]
fn guessing_is_throttled() {
    System::new().block_on(async {
        let (client, gate) = hub(Rules { allow_all: true, ..Rules::default() });
        *gate.fails.lock().unwrap() = Some(LoginError::Refused("wrong password".to_owned()));
        let mut throttled = false;
        for _ in 0..20 {
            let refused = client.password(typed("Bob")).await;
            throttled |= matches!(refused, Err(SignInRefused::Throttled { .. }));
        }
        assert!(throttled);
        assert!(gate.asked.load(Ordering::SeqCst) < 20, "who is throttled asks nobody");
    });
}

#[test]
fn strangers_do_not_lock_a_user_out() {
    System::new().block_on(async {
        let (client, gate) = hub(Rules { allow_all: true, ..Rules::default() });
        let from = |n: u8| Credentials { from: Some([192, 0, 2, n].into()), ..typed("Bob") };
        client.password(from(1)).await.unwrap();
        *gate.fails.lock().unwrap() = Some(LoginError::Refused("wrong password".to_owned()));
        let mut throttled = 0;
        for n in 2..100 {
            let refused = client.password(from(n)).await;
            throttled += usize::from(matches!(refused, Err(SignInRefused::Throttled { .. })));
        }
        assert!(throttled > 70, "{throttled}");
        *gate.fails.lock().unwrap() = None;
        client.password(from(1)).await.unwrap();
        let elsewhere = client.password(from(200)).await;
        assert!(matches!(elsewhere, Err(SignInRefused::Throttled { .. })), "{elsewhere:?}");
    });
}

async fn until(holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never");
        tokio::task::yield_now().await;
    }
}

#[test]
fn who_is_new_needs_an_account_where_servers_run_as_their_users() {
    System::new().block_on(async {
        let name = |text: &str| Username::new(text).unwrap();
        let rules =
            || Rules { allow_all: true, blocked_users: [name("eve")].into(), ..Rules::default() };
        for (need, asked) in [
            (Need::Nobody, &[][..]),
            (Need::New, &["ann", "new", "new"]),
            (Need::Made, &["ann", "ann", "new", "new", "bob"]),
        ] {
            let accounts = Arc::new(ScriptedAccounts::default());
            let (client, _) = hub_with(rules(), need, accounts.clone());
            for _ in 0..2 {
                // Known at the second time.
                client.password(typed("ann")).await.unwrap();
            }
            accounts.set("new", Some(AccountError::Missing(name("new"))));
            let refused = client.password(typed("new")).await;
            if need == Need::Nobody {
                refused.unwrap();
            } else {
                let Err(SignInRefused::Account(AccountError::Missing(who))) = &refused else {
                    panic!("{refused:?}")
                };
                assert_eq!(who.as_str(), "new");
                accounts.set("new", None);
                client.password(typed("new")).await.unwrap();
            }
            // Whom the hub knows comes in without.
            accounts.set("bob", Some(AccountError::Failed("no directory".to_owned())));
            client.password(typed("bob")).await.unwrap();
            assert!(client.password(typed("eve")).await.is_err());
            assert_eq!(
                accounts.asked(),
                asked,
                "{need:?}: nobody is asked about who may not enter"
            );
        }
    });
}
