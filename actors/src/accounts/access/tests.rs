//! Nothing is granted beyond one's own: properties over made-up users, groups, services, roles, filters and shares.
//!
//! Whether one holding lies within another is asked here thing by thing, over everything there is in the little world:
//! by what they cover, not by what they say.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    accounts::{NewToken, TokenRefused, issue_token},
    domain::{
        ClientId, Group, GroupId, GroupName, Moment, Server, ServerKey, ServerName, ServiceName,
        ShareKey, TokenHash, TokenId, UserId,
        role::RoleEntry,
        scope::{Resource, vocabulary::TABLE},
    },
    store::Write,
};

const USERS: [&str; 3] = ["u0", "u1", "u2"];
const GROUPS: [&str; 2] = ["g0", "g1"];
const SERVICES: [&str; 2] = ["s0", "s1"];
const SERVERS: [&str; 2] = ["", "lab"];

/// Everything somebody can hold a scope for.
fn things() -> Vec<Resource<'static>> {
    let users = USERS.map(Resource::User);
    let servers = USERS.iter().flat_map(|user| SERVERS.map(|name| Resource::Server(user, name)));
    let groups = GROUPS.map(Resource::Group);
    let services = SERVICES.map(Resource::Service);
    let all = users.into_iter().chain(servers).chain(groups).chain(services);
    all.chain([Resource::Hub]).collect()
}

/// Something that is held in `small` and not in `big`.
fn excess_of(small: &Granted, big: &Granted, image: &Image) -> Option<(Resource<'static>, Mask)> {
    let over = |what| (what, small.on(what, image).without(big.on(what, image)));
    things().into_iter().map(over).find(|(_, mask)| !mask.is_empty())
}

/// A world: who is in which group, who is an administrator, what is shared.
#[derive(Debug, Clone)]
struct World {
    members: [[bool; 3]; 2],
    admins: [bool; 3],
    shares: Vec<(usize, usize, usize, Vec<&'static str>)>,
    admin_service: bool,
}

impl World {
    fn image(&self) -> Image {
        let mut image = Image::default();
        let mut write = |write: Write| image.apply(&write);
        for (nth, name) in USERS.iter().enumerate() {
            let id = UserId(nth as u64 + 1);
            write(Write::User(Arc::new(User {
                id,
                name: Username::new(name).unwrap(),
                admin: self.admins[nth],
                created: Moment(0),
                last_activity: None,
                cookie_id: String::new(),
                user_info: None,
            })));
            for server in SERVERS {
                let key = ServerKey { user: id, name: ServerName::new(server).unwrap() };
                let client = OAuthClient {
                    id: ClientId::of_server(&Username::new(name).unwrap(), &key.name),
                    secret: TokenHash([0; 32]),
                    redirect_uri: String::new(),
                    description: String::new(),
                    allowed_scopes: Vec::new(),
                    of: ClientOf::Server(id, key.name.clone()),
                };
                write(Write::Client(Arc::new(client)));
                write(Write::Server(Arc::new(Server::new(key))));
            }
        }
        for (nth, name) in GROUPS.iter().enumerate() {
            let id = GroupId(nth as u64 + 11);
            let name = GroupName::new(name).unwrap();
            write(Write::Group(Arc::new(Group { id, name, properties: Arc::default() })));
            for (user, member) in self.members[nth].iter().enumerate() {
                if *member {
                    write(Write::Member(id, UserId(user as u64 + 1)));
                }
            }
        }
        for (nth, name) in SERVICES.iter().enumerate() {
            write(Write::Service(Arc::new(Service {
                name: ServiceName::new(name).unwrap(),
                admin: nth == 0 && self.admin_service,
                url: None,
                display: true,
                info: serde_json::Map::new(),
                oauth_no_confirm: false,
                oauth_client_allowed_scopes: Vec::new(),
                command: Vec::new(),
                configured: true,
            })));
        }
        for (owner, server, with, scopes) in &self.shares {
            let name = ServerName::new(SERVERS[*server]).unwrap();
            let server = ServerKey { user: UserId(*owner as u64 + 1), name };
            let with = match with {
                0..3 => SharedWith::User(UserId(*with as u64 + 1)),
                _ => SharedWith::Group(GroupId(*with as u64 - 3 + 11)),
            };
            let scopes = scopes.iter().map(|it| (*it).to_owned()).collect();
            let key = ShareKey { server, with };
            write(Write::Share(Arc::new(Share { key, scopes, created: Moment(0) })));
        }
        image
    }
}

fn names() -> impl Strategy<Value = &'static str> {
    (0..TABLE.len()).prop_map(|at| TABLE[at].0)
}

/// A scope as anybody could write it.
fn a_scope() -> impl Strategy<Value = String> {
    let filters = prop_oneof![
        3 => Just(String::new()),
        1 => Just("!user".to_owned()),
        1 => Just("!server".to_owned()),
        1 => Just("!service".to_owned()),
        2 => (0..3_usize).prop_map(|nth| format!("!user={}", USERS[nth])),
        2 => (0..2_usize).prop_map(|nth| format!("!group={}", GROUPS[nth])),
        2 => (0..3_usize, 0..2_usize)
            .prop_map(|(user, nth)| format!("!server={}/{}", USERS[user], SERVERS[nth])),
        1 => (0..2_usize).prop_map(|nth| format!("!service={}", SERVICES[nth])),
    ];
    prop_oneof![
        8 => (names(), filters).prop_map(|(name, filter)| format!("{name}{filter}")),
        1 => Just("self".to_owned()),
        1 => Just("inherit".to_owned()),
        1 => Just("(no_scope)".to_owned()),
    ]
}

fn some_scopes() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(a_scope(), 0..5)
}

fn a_world() -> impl Strategy<Value = World> {
    let shares = prop::collection::vec(
        (0..3_usize, 0..2_usize, 0..5_usize, prop::collection::vec(names(), 1..3)),
        0..4,
    );
    (any::<[[bool; 3]; 2]>(), any::<[bool; 3]>(), shares, any::<bool>()).prop_map(
        |(members, admins, shares, admin_service)| World { members, admins, shares, admin_service },
    )
}

/// Roles for one of everybody.
fn a_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(
        (some_scopes(), 0..3_usize, 0..2_usize, 0..2_usize, any::<[bool; 3]>()),
        0..4,
    )
    .prop_map(|entries| {
        let entry =
            |(nth, (scopes, user, group, service, on)): (usize, (_, _, _, _, [bool; 3]))| {
                let one = |on: bool, name: &str| on.then(|| name.to_owned()).into_iter().collect();
                RoleEntry {
                    name: format!("role{nth}"),
                    description: None,
                    scopes: Some(scopes),
                    users: one(on[0], USERS[user]),
                    groups: one(on[1], GROUPS[group]),
                    services: one(on[2], SERVICES[service]),
                }
            };
        let entries: Vec<_> = entries.into_iter().enumerate().map(entry).collect();
        Policy::new(&entries, &[], &BTreeMap::new()).unwrap()
    })
}

fn an_owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        3 => (1..4_u64).prop_map(|id| Owner::User(UserId(id))),
        1 => (0..2_usize).prop_map(|nth| Owner::Service(ServiceName::new(SERVICES[nth]).unwrap())),
    ]
}

fn a_client() -> impl Strategy<Value = Option<ClientId>> {
    let of = |(user, nth): (usize, usize)| {
        let server = ServerName::new(SERVERS[nth]).unwrap();
        ClientId::of_server(&Username::new(USERS[user]).unwrap(), &server)
    };
    prop::option::of((0..3_usize, 0..2_usize).prop_map(of))
}

fn a_token(owner: Owner, scopes: &[String], client: Option<ClientId>) -> Token {
    Token {
        id: TokenId(1_000),
        owner,
        hash: TokenHash([1; 32]),
        scopes: scopes.iter().map(|text| Scope::new(text)).collect(),
        created: Moment(0),
        expires_at: None,
        last_activity: None,
        note: "".into(),
        client,
        session: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Also when roles, groups, shares and flags have changed since: a token never outgrows its owner.
    #[test]
    fn a_token_holds_nothing_its_owner_does_not(
        owner in an_owner(), scopes in some_scopes(), client in a_client(),
        worlds in prop::collection::vec((a_world(), a_policy()), 1..3),
    ) {
        let token = a_token(owner.clone(), &scopes, client);
        for (world, policy) in worlds {
            let image = world.image();
            let (_, held) = of_owner(&image, &policy, &owner).unwrap();
            let does = of_token(&image, &policy, &token).unwrap();
            prop_assert_eq!(excess_of(&does, &held, &image), None);
            prop_assert!(does.is_within(&held, &image), "{:?} in {:?}", does, held);
        }
    }

    /// Whoever asks for too much is refused, by whatever filter, group or metascope it is written.
    #[test]
    fn a_token_that_is_issued_was_held_in_full(
        owner in an_owner(), scopes in some_scopes(), world in a_world(), policy in a_policy(),
    ) {
        let image = world.image();
        let asked: Vec<_> = scopes.iter().map(|text| Scope::new(text)).collect();
        let (holder, held) = of_owner(&image, &policy, &owner).unwrap();
        let full = Grants::of(policy.vocabulary(), &asked).to(&holder);
        let new = NewToken {
            owner: owner.clone(),
            hash: TokenHash([2; 32]),
            scopes: asked,
            note: String::new(),
            expires_in: None,
        };
        match issue_token(&image, &policy, new, Moment(1)) {
            Ok((_, token)) => {
                prop_assert_eq!(excess_of(&full, &held, &image), None);
                let does = of_token(&image, &policy, &token).unwrap();
                prop_assert_eq!(excess_of(&full, &does, &image), None, "it was given what it asked");
            }
            Err(refused) => prop_assert!(matches!(refused, TokenRefused::Excess(_)), "{}", refused),
        }
    }

    /// What two holdings have in common lies in both, and does not depend on their order.
    #[test]
    fn what_is_common_lies_in_both(
        mine in some_scopes(), yours in some_scopes(), world in a_world(),
    ) {
        let image = world.image();
        let policy = Policy::default();
        let holder = Holder::user(&Username::new("u0").unwrap());
        let of = |scopes: &[String]| {
            let scopes: Vec<_> = scopes.iter().map(|text| Scope::new(text)).collect();
            Grants::of(policy.vocabulary(), &scopes).to(&holder)
        };
        let (mine, yours) = (of(&mine), of(&yours));
        let common = mine.meet(&yours, &image);
        prop_assert_eq!(&common, &yours.meet(&mine, &image));
        prop_assert_eq!(excess_of(&common, &mine, &image), None);
        prop_assert_eq!(excess_of(&common, &yours, &image), None);
        // Groups may overlap where their filters have nothing in common; nothing else is lost.
        let plain = |held: &Granted| held.parts().all(|(filter, _)| !matches!(filter, Filter::Group(_)));
        if plain(&mine) || plain(&yours) {
            for what in things() {
                let both = mine.on(what, &image).and(yours.on(what, &image));
                prop_assert_eq!(common.on(what, &image), both, "{:?}", what);
            }
        }
    }

    /// A share opens one server to those it is with, and nothing else to anybody.
    #[test]
    fn a_share_opens_its_server_and_nothing_else(world in a_world()) {
        let policy = Policy::default();
        let image = world.image();
        let alone = World { shares: Vec::new(), ..world.clone() }.image();
        for user in image.users() {
            let (with, without) = (of_user(&image, &policy, user), of_user(&alone, &policy, user));
            for what in things() {
                let more = with.on(what, &image).without(without.on(what, &alone));
                let allowed = world.shares.iter().filter(|(owner, server, to, _)| {
                    let to_user = *to < 3 && user.id.0 == *to as u64 + 1;
                    let to_group = *to >= 3 && world.members[*to - 3][user.id.0 as usize - 1];
                    what == Resource::Server(USERS[*owner], SERVERS[*server]) && (to_user || to_group)
                });
                let allowed = allowed.flat_map(|share| &share.3).fold(Mask::NONE, |all, name| {
                    all.or(policy.vocabulary().closure(name).unwrap())
                });
                prop_assert!(more.without(allowed).is_empty(), "{:?} for {}", what, user.name);
            }
        }
    }
}
