//! The table, the fixed roles, and what must hold for every token.

use proptest::prelude::*;

use super::*;

fn texts(scopes: &[Scope]) -> Vec<&str> {
    scopes.iter().map(Scope::as_str).collect()
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn for_bob(scope: &str) -> Vec<String> {
    let mut out: Vec<_> =
        expand(&Scope::new(scope), &name("bob")).iter().map(ToString::to_string).collect();
    out.sort();
    out
}

#[test]
fn the_table_is_sorted_and_closed() {
    assert!(table::TABLE.is_sorted_by(|a, b| a.0 < b.0));
    let known = |base: &str| assert!(table::find(base).is_some(), "{base}");
    table::TABLE.iter().flat_map(|(_, subscopes)| *subscopes).for_each(|base| known(base));
    table::SELF.iter().chain(table::ADMIN).for_each(|base| known(base));
}

#[test]
fn the_roles_expand_to_what_the_wire_showed() {
    let bob = name("bob");
    let own = own_scopes(&bob, false);
    let bases: Vec<_> = own.iter().map(Scope::base).collect();
    assert_eq!(
        bases,
        [
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
        ]
    );
    assert!(own.iter().all(|it| it.filter() == Some(("user", "bob"))));
    let all = own_scopes(&bob, true);
    assert_eq!(all.len(), 45, "every scope, each once");
    assert!(all.iter().all(|it| it.filter().is_none()) && all.is_sorted());
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
fn what_is_no_scope_is_dropped() {
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
        assert_eq!(Scope::new(scope).is_known(), known, "{scope}");
        let identity = ["read:users:groups!user=bob", "read:users:name!user=bob"];
        if scope != "inherit" {
            let left = effective(&[Scope::new(scope)], &name("bob"), false);
            assert_eq!(texts(&left), identity, "{scope}");
        }
    }
}

#[test]
fn tokens_are_cut_to_what_their_owner_holds() {
    let bob = name("bob");
    let cut = |raw: &[&str], admin| -> Vec<String> {
        let raw: Vec<_> = raw.iter().map(|text| Scope::new(text)).collect();
        effective(&raw, &bob, admin).iter().map(ToString::to_string).collect()
    };
    let identity = ["read:users:groups!user=bob", "read:users:name!user=bob"];
    let raw = ["admin:groups", "access:servers!server=bob/", "access:servers!user=eve"];
    assert_eq!(cut(&raw, false), ["access:servers!server=bob/", identity[0], identity[1]]);
    assert_eq!(
        cut(&["users:activity!user", "access:servers!server=bob/"], false),
        [
            "access:servers!server=bob/",
            "read:users:activity!user=bob",
            identity[0],
            identity[1],
            "users:activity!user=bob",
        ],
        "a server's own token"
    );
    assert_eq!(
        cut(&["read:users"], false),
        [
            "read:users!user=bob",
            "read:users:activity!user=bob",
            "read:users:groups!user=bob",
            "read:users:name!user=bob",
        ],
        "asked for all, held for oneself"
    );
    assert_eq!(
        cut(&["list:users"], true),
        ["list:users", "read:users:groups!user=bob", "read:users:name"],
        "what stands there whole is not repeated in part"
    );
    assert_eq!(cut(&["inherit"], true).len(), 45);
    assert_eq!(cut(&["self"], true).len(), 15);
}

#[test]
fn filters_select_servers() {
    let (bob, lab) = (name("bob"), ServerName::new("lab").unwrap());
    let covers = |text: &str| Scope::new(text).covers_server("access:servers", &bob, &lab);
    assert!(
        covers("access:servers")
            && covers("access:servers!user=bob")
            && covers("access:servers!server=bob/lab")
    );
    assert!(
        !covers("access:servers!server=bob/")
            && !covers("access:servers!user=bo")
            && !covers("access:services")
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
        "!service=x",
        "!user=",
        "!odd",
    ];
    let written = (0..table::TABLE.len(), 0..filters.len()).prop_map(move |(base, filter)| {
        Scope::new(&format!("{}{}", table::TABLE[base].0, filters[filter]))
    });
    let named = proptest::sample::select(vec!["self", "(no_scope)", "inherit", "no-such-scope"]);
    let any = prop_oneof![9 => written, 1 => named.prop_map(Scope::new)];
    proptest::collection::vec(any, 0..8)
}

proptest! {
    /// Whatever a token was given: it opens nothing that its owner may not open.
    #[test]
    fn a_token_never_outgrows_its_owner(raw in raw_scopes(), admin in any::<bool>()) {
        let bob = name("bob");
        let (held, token) = (own_scopes(&bob, admin), effective(&raw, &bob, admin));
        for (base, _) in table::TABLE {
            let whole = |scopes: &[Scope]| scopes.contains(&Scope::new(base));
            prop_assert!(whole(&held) || !whole(&token), "{base}");
            for who in ["bob", "eve"].map(name) {
                let opens = |scopes: &[Scope]| scopes.iter().any(|it| it.covers_user(base, &who));
                prop_assert!(opens(&held) || !opens(&token), "{base} of {who}");
                for server in ["", "lab"] {
                    let server = ServerName::new(server).unwrap();
                    let opens = |scopes: &[Scope]| scopes.iter().any(|it| it.covers_server(base, &who, &server));
                    prop_assert!(opens(&held) || !opens(&token), "{base} of {who}/{server}");
                }
            }
        }
        let strange = |it: &&Scope| !admin && it.filter().is_none_or(|(kind, _)| !matches!(kind, "user" | "server"));
        prop_assert_eq!(token.iter().find(strange), None);
    }

    /// Doing it twice changes nothing, and the order of what was asked does not matter.
    #[test]
    fn effective_scopes_are_a_fixed_point(raw in raw_scopes(), admin in any::<bool>()) {
        let bob = name("bob");
        let once = effective(&raw, &bob, admin);
        prop_assert_eq!(&effective(&once, &bob, admin), &once);
        let reversed: Vec<_> = raw.iter().rev().cloned().collect();
        prop_assert_eq!(&effective(&reversed, &bob, admin), &once);
        prop_assert!(once.is_sorted_by(|a, b| a < b));
    }

    /// What a user holds in full is in the token unabridged.
    #[test]
    fn what_is_held_is_granted(raw in raw_scopes(), admin in any::<bool>()) {
        let bob = name("bob");
        let token = effective(&raw, &bob, admin);
        for scope in raw.iter().filter(|it| holds(it, &bob, admin)) {
            for part in expand(scope, &bob) {
                prop_assert!(token.iter().any(|it| both(it, &part) == Some(part.clone())), "{part}");
            }
        }
    }
}
