//! The table, and what must hold for what is granted.

use proptest::prelude::*;

use super::*;
use crate::domain::{Policy, UserId, role, scope::vocabulary::TABLE};

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn grants(scopes: &[&str]) -> Grants {
    let scopes: Vec<_> = scopes.iter().map(|text| Scope::new(text)).collect();
    Grants::of(&Vocabulary::default(), &scopes)
}

fn for_bob(scope: &str) -> Vec<String> {
    grants(&[scope]).to(&Holder::user(&name("bob"))).names(&Vocabulary::default())
}

/// Bob is in the group `lab`.
struct Lab;

impl Membership for Lab {
    fn is_in(&self, user: &str, group: &str) -> bool {
        (user, group) == ("bob", "lab")
    }
}

#[test]
fn the_table_is_sorted_and_says_what_each_is_for() {
    assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    assert!(TABLE.iter().all(|row| row.2.ends_with('.')));
    assert_eq!(TABLE.len(), 45);
}

#[test]
fn the_roles_expand_to_what_the_wire_showed() {
    let policy = Policy::default();
    let bob = Holder::user(&name("bob"));
    let of = |role: &str| policy.role(role).unwrap().grants.to(&bob).names(policy.vocabulary());
    let bases = [
        "access:servers",
        "delete:servers",
        "read:servers",
        "read:shares",
        "read:tokens",
        "read:users",
        "read:users:activity",
        "read:users:groups",
        "read:users:name",
        "read:users:shares",
        "servers",
        "start:servers",
        "tokens",
        "users:activity",
        "users:shares",
    ];
    assert_eq!(of(role::USER), bases.map(|base| format!("{base}!user=bob")));
    let all: Vec<_> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(of(role::ADMIN), all, "every scope, each once, without a filter");
    let service = Holder::service(&ServiceName::new("culler").unwrap());
    let own = policy.role(role::USER).unwrap().grants.to(&service);
    assert_eq!(own, Granted::default(), "a service has nothing of its own");
}

#[test]
fn scopes_bring_their_subscopes_with_the_same_filter() {
    assert_eq!(
        for_bob("servers!user"),
        [
            "delete:servers!user=bob",
            "read:servers!user=bob",
            "read:users:name!user=bob",
            "servers!user=bob",
            "start:servers!user=bob",
        ]
    );
    assert_eq!(
        for_bob("admin:users!group=lab"),
        [
            "admin:auth_state!group=lab",
            "admin:users!group=lab",
            "delete:users!group=lab",
            "list:users!group=lab",
            "read:roles:users!group=lab",
            "read:users!group=lab",
            "read:users:activity!group=lab",
            "read:users:groups!group=lab",
            "read:users:name!group=lab",
            "users!group=lab",
            "users:activity!group=lab",
        ]
    );
    for (scope, expanded) in [
        ("admin:servers", 7),
        ("tokens!user=eve", 2),
        ("shares", 7),
        ("admin:groups", 7),
        ("admin:services", 5),
        ("read:roles", 4),
        ("self", 15),
        ("read:hub", 1),
    ] {
        assert_eq!(for_bob(scope).len(), expanded, "{scope}");
    }
    assert!(for_bob("shares").contains(&"access:servers".to_owned()));
    assert!(!for_bob("admin:servers").contains(&"access:servers".to_owned()));
}

#[test]
fn a_server_says_nothing_of_its_user() {
    let wanted = ["delete:servers", "read:servers", "servers", "start:servers"];
    assert_eq!(for_bob("servers!server=bob/"), wanted.map(|base| format!("{base}!server=bob/")));
    assert_eq!(for_bob("read:users!server=bob/"), [""; 0]);
}

#[test]
fn what_is_no_scope_grants_nothing() {
    for (scope, known) in [
        ("(no_scope)", true),
        ("inherit", true),
        ("access:servers!server", true),
        ("access:services!service", true),
        ("(no_scope)!user=bob", false),
        ("inherit!user=bob", false),
        ("self!user=bob", false),
        ("no-such-scope", false),
        ("custom:own", false),
        ("Servers", false),
        ("servers!", false),
        ("servers!user=", false),
        ("servers!group", false),
        ("servers!group=", false),
        ("servers!server=bob", false),
        ("servers!server=/lab", false),
        ("servers!color=red", false),
        ("", false),
    ] {
        assert_eq!(for_bob(scope), [""; 0], "{scope}");
        assert_eq!(Scope::new(scope).is_known(&Vocabulary::default()), known, "{scope}");
    }
}

#[test]
fn what_names_no_one_is_filled_in_by_whose_it_is() {
    let raw = grants(&["access:servers!server", "access:services!service", "tokens!user"]);
    let client = |of| OAuthClient {
        id: crate::domain::ClientId::claimed("c"),
        secret: crate::domain::TokenHash([0; 32]),
        redirect_uri: String::new(),
        description: String::new(),
        allowed_scopes: Vec::new(),
        of,
    };
    let names = |holder: &Holder| raw.to(holder).names(&Vocabulary::default());
    let bob = Holder::user(&name("bob"));
    assert_eq!(names(&bob), ["read:tokens!user=bob", "tokens!user=bob"]);
    let lab = ServerName::new("lab").unwrap();
    let server = client(ClientOf::Server(UserId(2), lab));
    assert_eq!(
        names(&bob.clone().by_client(&server, Some(&name("eve")))),
        ["access:servers!server=eve/lab", "read:tokens!user=bob", "tokens!user=bob"]
    );
    let culler = ServiceName::new("culler").unwrap();
    let service = client(ClientOf::Service(culler.clone()));
    assert_eq!(
        names(&bob.by_client(&service, None)),
        ["access:services!service=culler", "read:tokens!user=bob", "tokens!user=bob"]
    );
    assert_eq!(names(&Holder::service(&culler)), ["access:services!service=culler"]);
}

#[test]
fn filters_select_by_user_group_server_and_service() {
    const ACCESS: Mask = Mask::of(&["access:servers"]);
    let covers =
        |text: &str, what| grants(&[text]).to(&Holder::default()).covers(ACCESS, what, &Lab);
    let lab = Resource::Server("bob", "lab");
    for yes in [
        "access:servers",
        "access:servers!user=bob",
        "access:servers!server=bob/lab",
        "access:servers!group=lab",
    ] {
        assert!(covers(yes, lab), "{yes}");
    }
    for no in [
        "access:servers!server=bob/",
        "access:servers!user=bo",
        "access:servers!group=other",
        "access:servers!service=bob",
        "access:services",
    ] {
        assert!(!covers(no, lab), "{no}");
    }
    assert!(covers("access:servers!group=lab", Resource::User("bob")));
    assert!(!covers("access:servers!group=lab", Resource::User("eve")));
    assert!(!covers("access:servers!user=bob", Resource::Hub));
}

#[test]
fn what_two_holdings_have_in_common_is_the_narrower_of_each() {
    let bob = Holder::user(&name("bob"));
    for (a, b, common) in [
        ("servers", "servers!user=bob", "servers!user=bob"),
        ("servers!user=bob", "servers!server=bob/lab", "servers!server=bob/lab"),
        ("servers!group=lab", "servers!server=bob/lab", "servers!server=bob/lab"),
        ("servers!group=lab", "servers!user=bob", "servers!user=bob"),
        ("servers!group=lab", "servers!user=eve", ""),
        ("servers!group=lab", "servers!group=other", ""),
        ("servers!server=bob/a", "servers!server=bob/b", ""),
        ("servers!user=bob", "tokens!user=bob", ""),
        ("access:services!service=x", "access:services!service=x", "access:services!service=x"),
    ] {
        let (a, b) = (grants(&[a]).to(&bob), grants(&[b]).to(&bob));
        let wanted = if common.is_empty() {
            Granted::default()
        } else {
            let mut wanted = grants(&[common]).to(&bob);
            // A server's filter leaves the names about its user to the wider one.
            wanted = wanted.meet(&a, &Lab).meet(&b, &Lab);
            assert_ne!(wanted, Granted::default());
            wanted
        };
        assert_eq!(a.meet(&b, &Lab), wanted);
        assert_eq!(b.meet(&a, &Lab), wanted, "either way round");
    }
}

#[test]
fn what_stands_there_whole_is_not_repeated_in_part() {
    let held = grants(&["list:users", "users!user"]).to(&Holder::user(&name("bob")));
    assert_eq!(
        held.names(&Vocabulary::default()),
        [
            "list:users",
            "read:users!user=bob",
            "read:users:activity!user=bob",
            "read:users:groups!user=bob",
            "read:users:name",
            "users!user=bob",
            "users:activity!user=bob",
        ]
    );
}

fn raw_scopes() -> impl Strategy<Value = Vec<Scope>> {
    let filters = [
        "",
        "!user",
        "!user=bob",
        "!user=eve",
        "!server",
        "!server=bob/",
        "!server=bob/lab",
        "!server=eve/",
        "!group=lab",
        "!group=other",
        "!service=x",
        "!user=",
        "!odd",
    ];
    let written = (0..TABLE.len(), 0..filters.len()).prop_map(move |(base, filter)| {
        Scope::new(&format!("{}{}", TABLE[base].0, filters[filter]))
    });
    let named = proptest::sample::select(vec!["self", "(no_scope)", "no-such-scope"]);
    let any = prop_oneof![9 => written, 1 => named.prop_map(Scope::new)];
    proptest::collection::vec(any, 0..8)
}

fn held(raw: &[Scope]) -> Granted {
    Grants::of(&Vocabulary::default(), raw).to(&Holder::user(&name("bob")))
}

fn resources() -> Vec<Resource<'static>> {
    let mut all = vec![Resource::Hub];
    for who in ["bob", "eve"] {
        all.push(Resource::User(who));
        all.extend(["", "lab"].map(|server| Resource::Server(who, server)));
    }
    all.extend(["lab", "other"].map(Resource::Group));
    all.push(Resource::Service("x"));
    all
}

proptest! {
    /// Whatever was asked, of whatever is held: it opens nothing that either does not open.
    #[test]
    fn what_is_common_opens_no_more_than_either(a in raw_scopes(), b in raw_scopes()) {
        let (a, b) = (held(&a), held(&b));
        let common = a.meet(&b, &Lab);
        for what in resources() {
            let mask = common.on(what, &Lab);
            prop_assert!(mask.without(a.on(what, &Lab)).is_empty(), "{what:?}");
            prop_assert!(mask.without(b.on(what, &Lab)).is_empty(), "{what:?}");
        }
    }

    /// Twice is as good as once, the order does not matter, and each name stands there once.
    #[test]
    fn meeting_is_a_fixed_point_and_symmetric(a in raw_scopes(), b in raw_scopes()) {
        let (a, b) = (held(&a), held(&b));
        let common = a.meet(&b, &Lab);
        prop_assert_eq!(&common.meet(&b, &Lab), &common);
        prop_assert_eq!(&b.meet(&a, &Lab), &common);
        let names = common.names(&Vocabulary::default());
        prop_assert!(names.is_sorted_by(|a, b| a < b));
    }

    /// What lies within what is held is held whole; what does not has something beyond.
    #[test]
    fn excess_is_what_is_not_common(a in raw_scopes(), b in raw_scopes()) {
        let (a, b) = (held(&a), held(&b));
        let (common, beyond) = (a.meet(&b, &Lab), a.beyond(&b, &Lab));
        for what in resources() {
            let all = common.on(what, &Lab).or(beyond.on(what, &Lab));
            prop_assert_eq!(all, a.on(what, &Lab), "{:?}", what);
        }
        prop_assert_eq!(beyond == Granted::default(), a.is_within(&b, &Lab));
    }
}
