//! Every search is held against the plain way: look at everybody, sort, cut.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{Cause, Moment, Server, ServerKey, ServerName, ServerState, Username},
    store::Write,
};

const NAMES: [&str; 7] = ["alice", "Bob", "carol", "dave", "eve", "ünal", "al"];

/// `activity[n]` is when the n-th did something last, `servers[n]` what its server does.
fn world(activity: &[Option<i64>], servers: &[u8]) -> Image {
    let mut image = Image::default();
    for ((n, name), at) in NAMES.iter().enumerate().zip(activity) {
        let id = UserId(n as u64 + 1);
        image.apply(&Write::User(Arc::new(User {
            id,
            name: Username::new(name).unwrap(),
            admin: false,
            created: Moment(0),
            last_activity: at.map(Moment),
            cookie_id: String::new(),
            user_info: None,
        })));
        let state = match servers[n] {
            1 => ServerState::Stopped(None),
            2 => running(),
            3 => ServerState::Waiting { until: Moment(0), cause: Cause::Stopped },
            _ => continue,
        };
        let key = ServerKey { user: id, name: ServerName::default_server() };
        image.apply(&Write::Server(Arc::new(Server { state, ..Server::new(key) })));
    }
    image
}

fn running() -> ServerState {
    ServerState::Running {
        order: crate::domain::OrderId::from_bytes([1; 16]),
        handle: crate::domain::server::Handle(String::new()),
        url: String::new(),
    }
}

/// The plain way.
fn plainly(image: &Image, what: &Search) -> (Vec<UserId>, usize) {
    let active = |user: &User| image.servers_of(user.id).any(|it| it.state.is_active());
    let mut all: Vec<_> = image
        .users()
        .filter(|user| match &what.among {
            Among::All => true,
            Among::Only(ids) => ids.contains(&user.id),
        })
        .filter(|user| match what.state {
            None => true,
            Some(State::Active | State::Ready) => active(user),
            Some(State::Inactive) => !active(user),
        })
        .filter(|user| what.pattern.as_ref().is_none_or(|it| it.matches(user.name.as_str())))
        .collect();
    match what.order {
        Order::Id => {}
        Order::Name => all.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Rank if what.backwards => {
            all.sort_by_key(|user| std::cmp::Reverse(user.last_activity));
        }
        Order::Rank => all.sort_by_key(|user| user.last_activity),
    }
    if what.backwards && what.order != Order::Rank {
        all.reverse();
    }
    let total = all.len();
    let page = all.into_iter().skip(what.offset).take(what.limit);
    let ready = |user: &&Arc<User>| image.servers_of(user.id).any(|it| it.state.is_ready());
    let page = page.filter(|user| what.state != Some(State::Ready) || ready(user));
    (page.map(|user| user.id).collect(), total)
}

fn any_search() -> impl Strategy<Value = Search> {
    let among = prop_oneof![
        2 => Just(Among::All),
        1 => proptest::collection::btree_set(1..=7_u64, 0..7)
            .prop_map(|ids| Among::Only(ids.into_iter().map(UserId).collect())),
    ];
    let state = proptest::option::of(prop_oneof![
        Just(State::Active),
        Just(State::Inactive),
        Just(State::Ready)
    ]);
    let pattern = proptest::option::of(prop_oneof![Just("a"), Just("L"), Just("o_"), Just("zz")]);
    let order = prop_oneof![Just(Order::Id), Just(Order::Name), Just(Order::Rank)];
    let place = (any::<bool>(), 0..9_usize, 1..9_usize);
    (among, state, pattern, order, place, any::<bool>()).prop_map(
        |(among, state, pattern, order, (backwards, offset, limit), counted)| {
            let pattern = pattern.map(Pattern::part);
            Search { among, state, pattern, order, backwards, offset, limit, counted }
        },
    )
}

proptest! {
    #[test]
    fn what_is_found_is_what_the_plain_way_finds(
        activity in proptest::collection::vec(proptest::option::of(0..3_i64), 7),
        servers in proptest::collection::vec(0..4_u8, 7),
        what in any_search(),
    ) {
        let image = world(&activity, &servers);
        let found = search(&image, &what, &|user| user.last_activity.map(|at| at.0));
        let ids: Vec<_> = found.users.iter().map(|user| user.id).collect();
        let (wanted, total) = plainly(&image, &what);
        prop_assert_eq!(ids, wanted);
        if what.counted {
            prop_assert_eq!(found.total, total);
        } else {
            prop_assert!(found.total <= total);
        }
    }
}

#[test]
fn a_choice_is_narrowed_by_what_servers_are_like() {
    let image = world(&[None; 7], &[2, 0, 1, 2, 3, 0, 2]);
    let ready = with_server(&image, |server| server.state.is_ready());
    assert_eq!(ready, [UserId(1), UserId(4), UserId(7)]);
    let ids = |among: Among| match among {
        Among::All => panic!("it was narrowed"),
        Among::Only(ids) => ids.into_iter().map(|id| id.0).collect::<Vec<_>>(),
    };
    assert_eq!(ids(Among::All.within(vec![UserId(4), UserId(1), UserId(4)])), [1, 4]);
    let some = Among::Only(vec![UserId(2), UserId(4), UserId(7)]);
    assert_eq!(ids(some.within(ready)), [4, 7]);
}

/// Times for 100,000 users; meaningful with optimisation only, so there is no limit without.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures, nothing waits for it")]
fn a_hundred_thousand_users_are_searched_in_milliseconds() {
    let mut image = Image::default();
    let count = if cfg!(debug_assertions) { 2_000 } else { 100_000_u64 };
    for id in 1..=count {
        let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        image.apply(&Write::User(Arc::new(User {
            id: UserId(id),
            name: Username::new(&format!("user-{:05}", mixed % count)).unwrap(),
            admin: false,
            created: Moment(0),
            last_activity: (mixed % 3 > 0).then_some(Moment((mixed >> 8) as i64)),
            cookie_id: format!("{mixed:032x}"),
            user_info: None,
        })));
        if mixed % 100 == 0 {
            let key = ServerKey { user: UserId(id), name: ServerName::default_server() };
            let server = Server { state: running(), ..Server::new(key) };
            image.apply(&Write::Server(Arc::new(server)));
        }
    }
    let what = Search {
        among: Among::All,
        state: None,
        pattern: None,
        order: Order::Id,
        backwards: false,
        offset: 0,
        limit: 200,
        counted: true,
    };
    let part = |text: &str| Some(Pattern::part(text));
    for (label, what) in [
        ("first page", what.clone()),
        ("late page", Search { offset: count as usize / 2, ..what.clone() }),
        (
            "late page by name",
            Search { offset: count as usize / 2, order: Order::Name, ..what.clone() },
        ),
        ("by activity", Search { order: Order::Rank, backwards: true, ..what.clone() }),
        ("few names", Search { pattern: part("r-012"), ..what.clone() }),
        ("all names", Search { pattern: part("USER"), ..what.clone() }),
        ("wildcards", Search { pattern: part("u%1_3"), order: Order::Name, ..what.clone() }),
        ("active", Search { state: Some(State::Active), ..what.clone() }),
        ("inactive", Search { state: Some(State::Inactive), ..what.clone() }),
        (
            "inactive by name",
            Search { state: Some(State::Inactive), order: Order::Name, ..what.clone() },
        ),
    ] {
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let begun = Instant::now();
                assert!(
                    !search(&image, &what, &|user| user.last_activity.map(|at| at.0))
                        .users
                        .is_empty(),
                    "{label}"
                );
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{label}: {:?} (median of {})", times[7], times.len());
        let within = cfg!(debug_assertions) || times[7].as_millis() < 5;
        assert!(within, "{label}: {:?}", times[7]);
    }
}
