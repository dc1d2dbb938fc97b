//! Users and groups: made, changed, deleted.

use serde_json::{Map, json};

use super::*;
use crate::domain::{
    External, Group, GroupName, Share, ShareCode, ShareCodeId, ShareKey, SharedWith, Subject,
    scope::Membership,
};

fn new(text: &str) -> NewUser {
    NewUser { name: name(text), cookie_id: format!("{text}'s") }
}

fn named(texts: &[&str]) -> Vec<Username> {
    texts.iter().map(|text| name(text)).collect()
}

fn group_names(texts: &[&str]) -> Vec<GroupName> {
    texts.iter().map(|text| GroupName::new(text).unwrap()).collect()
}

fn group(image: &mut Image, text: &str, members: &[&str]) -> Arc<Group> {
    let decided = create_groups(image, group_names(&[text]), &named(members));
    apply(image, decided).remove(0)
}

fn members(image: &Image, group: &Group) -> Vec<String> {
    image.members_of(group.id).map(|user| user.name.to_string()).collect()
}

fn refused<T, E: PartialEq>(decided: Decided<T, E>) -> Option<E> {
    decided.err()
}

#[test]
fn those_who_are_new_are_made_and_the_others_left_alone() {
    let mut image = Image::default();
    join(&mut image, "bob", false);
    let asked = || vec![new("alice"), new("bob"), new("alice"), new("carol")];
    let before = image.next_id();
    let decided = create_users(&image, asked(), true, NOW);
    let users = apply(&mut image, decided);
    let seen: Vec<_> = users.iter().map(|it| (it.name.as_str(), it.id.0 - before)).collect();
    assert_eq!(seen, [("alice", 0), ("carol", 1)]);
    assert!(users.iter().all(|it| it.admin && it.created == NOW && it.last_activity.is_none()));
    assert!(!image.user_named("bob").unwrap().admin, "who is there is not changed");
    assert_eq!(image.next_id(), before + 2);
    let again = create_users(&image, asked(), true, NOW);
    assert_eq!(refused(again), Some(UserRefused::AllExist(4)));
    let none = create_users(&image, Vec::new(), false, NOW);
    assert_eq!(refused(none), Some(UserRefused::AllExist(0)));
    let many = (0..=MOST_USERS).map(|n| new(&format!("u{n}"))).collect();
    assert_eq!(refused(create_users(&image, many, false, NOW)), Some(UserRefused::Many));
    let one = create_user(&image, new("alice"), false, NOW);
    assert_eq!(refused(one), Some(UserRefused::Exists(name("alice"))));
}

#[test]
fn an_id_is_never_given_again() {
    let mut image = Image::default();
    let decided = create_user(&image, new("bob"), false, NOW);
    let bob = apply(&mut image, decided);
    let decided = delete_user(&image, bob.id);
    apply(&mut image, decided);
    let decided = create_user(&image, new("bob"), false, NOW);
    assert_ne!(apply(&mut image, decided).id, bob.id);
}

#[test]
fn only_administrators_make_or_change_administrators() {
    let mut image = Image::default();
    let (bob, root) = (join(&mut image, "bob", false), join(&mut image, "root", true));
    let admin = |admin| UserChange { admin: Some(admin), ..UserChange::default() };
    for (target, change, by_admin, wanted) in [
        (&bob, admin(true), false, Some(UserRefused::NotAdmin)),
        (&bob, admin(false), false, None),
        (&bob, admin(true), true, None),
        (&root, admin(false), false, Some(UserRefused::NotAdmin)),
        (&root, UserChange::default(), false, Some(UserRefused::NotAdmin)),
        (&root, admin(false), true, None),
    ] {
        let decided = change_user(&image, target.id, change.clone(), by_admin, NOW);
        assert_eq!(refused(decided), wanted, "{} {change:?} {by_admin}", target.name);
    }
    let decided = change_user(&image, bob.id, admin(true), true, NOW);
    assert!(apply(&mut image, decided).admin);
    let same = change_user(&image, bob.id, admin(true), true, NOW).unwrap();
    assert_eq!(same.0, [], "nothing to write");
    let nobody = change_user(&image, UserId(99), admin(true), true, NOW);
    assert_eq!(refused(nobody), Some(UserRefused::NoUser));
}

#[test]
fn what_is_kept_about_a_user_is_replaced_and_nothing_else() {
    let mut image = Image::default();
    let bob = join(&mut image, "bob", false);
    let keep = |kept: &str| UserChange { kept: Some(kept.to_owned()), ..UserChange::default() };
    let decided = change_user(&image, bob.id, keep("one"), true, NOW);
    assert_eq!(apply(&mut image, decided), bob);
    let first = External::clone(image.external(bob.id).unwrap());
    assert_eq!((first.kept.as_deref(), &*first.way, first.checked), (Some("one"), "", NOW));
    let subjects = vec![Subject { issuer: "https://idp".to_owned(), id: "7".to_owned() }];
    let known = External { subjects, way: "school".to_owned(), checked: Moment(5), ..first };
    image.apply(&Write::External(Arc::new(known.clone())));
    let both = UserChange { admin: Some(true), ..keep("two") };
    let decided = change_user(&image, bob.id, both.clone(), true, NOW);
    assert!(apply(&mut image, decided).admin);
    let kept = Some("two".to_owned());
    assert_eq!(**image.external(bob.id).unwrap(), External { kept, ..known });
    let decided = change_user(&image, bob.id, both, false, NOW);
    assert_eq!(refused(decided), Some(UserRefused::NotAdmin), "an administrator's is theirs");
}

#[test]
fn another_name_takes_everything_along_and_leaves_nothing_behind() {
    let mut image = Image::default();
    let (bob, eve) = (join(&mut image, "bob", false), join(&mut image, "eve", false));
    let staff = group(&mut image, "staff", &["bob"]);
    let key = ShareKey { server: key(&bob, ""), with: SharedWith::User(eve.id) };
    let scopes = vec!["access:servers".to_owned()];
    image.apply(&Write::Share(Arc::new(Share { key, scopes, created: NOW })));
    let to = |text: &str| UserChange { name: Some(name(text)), ..UserChange::default() };
    assert_eq!(change_user(&image, bob.id, to("bob"), true, NOW).unwrap().0, [], "its own name");
    let taken = change_user(&image, bob.id, to("eve"), true, NOW);
    assert_eq!(refused(taken), Some(UserRefused::Taken(name("eve"))));
    begin(&mut image, beginning(&bob, "", 1));
    let active = change_user(&image, bob.id, to("rob"), true, NOW);
    assert_eq!(refused(active), Some(UserRefused::Active));
    let admin = UserChange { admin: Some(true), ..UserChange::default() };
    let admin = change_user(&image, bob.id, admin, true, NOW);
    assert!(admin.is_ok(), "anything else may be changed");
    let decided = move_server(&image, moved(&bob, "", 1, stopped()));
    apply(&mut image, decided);
    let decided = change_user(&image, bob.id, to("rob"), true, NOW);
    let rob = apply(&mut image, decided);
    assert_eq!((rob.id, image.user_named("bob")), (bob.id, None));
    assert!(image.is_in("rob", "staff") && !image.is_in("bob", "staff"));
    // Somebody else by the old name.
    let other = join(&mut image, "bob", false);
    assert_eq!(image.groups_of(other.id).count() + image.servers_of(other.id).count(), 0);
    let policy = Policy::default();
    let held = access::of_user(&image, &policy, &eve).names(policy.vocabulary());
    assert!(held.contains(&"access:servers!server=rob/".to_owned()), "{held:?}");
    assert!(!held.contains(&"access:servers!server=bob/".to_owned()), "{held:?}");
    assert_eq!(members(&image, &staff), ["rob"]);
}

/// Everything a user can have, and everything others can have of the user.
fn full_world() -> (Image, Arc<User>) {
    let (mut image, bob) = bob_with_code();
    let eve = join(&mut image, "eve", false);
    let staff = group(&mut image, "staff", &["bob", "eve"]);
    begin(&mut image, beginning(&bob, "lab", 2));
    let decided = issue_token(
        &image,
        &Policy::default(),
        NewToken {
            owner: Owner::User(bob.id),
            hash: hash(9),
            scopes: Vec::new(),
            note: String::new(),
            expires_in: None,
        },
        NOW,
    );
    apply(&mut image, decided);
    let share = |server: ServerKey, with| {
        let key = ShareKey { server, with };
        Write::Share(Arc::new(Share { key, scopes: Vec::new(), created: NOW }))
    };
    image.apply(&share(key(&bob, ""), SharedWith::User(eve.id)));
    image.apply(&share(key(&bob, "lab"), SharedWith::Group(staff.id)));
    image.apply(&share(key(&eve, ""), SharedWith::User(bob.id)));
    image.apply(&share(key(&eve, ""), SharedWith::Group(staff.id)));
    for (id, owner) in [(901, &bob), (902, &eve)] {
        image.apply(&Write::ShareCode(Arc::new(ShareCode {
            id: ShareCodeId(id),
            hash: hash(u8::try_from(id - 900).unwrap()),
            server: key(owner, ""),
            scopes: Vec::new(),
            created: NOW,
            expires_at: NOW.plus(HOUR),
            exchange_count: 0,
            last_exchanged: None,
        })));
    }
    (image, bob)
}

#[test]
fn a_deleted_user_leaves_nothing() {
    let (mut image, bob) = full_world();
    assert_eq!(refused(delete_user(&image, bob.id)), Some(UserRefused::Stopping));
    for (server, n) in [("", 1), ("lab", 2)] {
        let decided = move_server(&image, moved(&bob, server, n, stopped()));
        apply(&mut image, decided);
    }
    let decided = delete_user(&image, bob.id);
    let (writes, ()) = decided.as_ref().unwrap();
    let once: std::collections::BTreeSet<_> = writes.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(once.len(), writes.len(), "each goes once");
    apply(&mut image, decided);
    assert_eq!(image.user_named("bob"), None);
    let left: Vec<_> = image.writes().collect();
    for write in &left {
        let owner = match write {
            Write::Server(server) => server.key.user,
            Write::Token(token) if token.owner == Owner::User(bob.id) => bob.id,
            Write::Client(client) => match client.of {
                ClientOf::Server(user, _) => user,
                ClientOf::Service(_) => continue,
            },
            Write::Code(code) => code.user,
            Write::Member(_, user) => *user,
            Write::Share(share) => {
                assert_ne!(share.key.with, SharedWith::User(bob.id), "{write:?}");
                share.key.server.user
            }
            Write::ShareCode(code) => code.server.user,
            _ => continue,
        };
        assert_ne!(owner, bob.id, "{write:?}");
    }
    // Eve's share with the group, her code, her membership, the group, herself, and what ids are used up.
    assert_eq!(left.len(), 6, "{left:?}");
    assert_eq!(refused(delete_user(&image, bob.id)), Some(UserRefused::NoUser));
}

#[test]
fn groups_are_made_all_or_none() {
    let mut image = Image::default();
    let (bob, _) = (join(&mut image, "bob", false), join(&mut image, "eve", false));
    let decided =
        create_groups(&image, group_names(&["a", "b/c "]), &named(&["bob", "eve", "bob"]));
    let made = apply(&mut image, decided);
    assert_eq!(made.len(), 2);
    assert!(made.iter().all(|it| members(&image, it) == ["bob", "eve"]));
    assert!(image.is_in("bob", "b/c ") && image.next_id() > made[1].id.0);
    for (names, users, wanted) in [
        (&["new", "a"][..], &[][..], GroupRefused::Exists(group_names(&["a"]).remove(0))),
        (&["new", "new"], &[], GroupRefused::Exists(group_names(&["new"]).remove(0))),
        (&["new"], &["bob", "nobody"], GroupRefused::NoUser(name("nobody"))),
    ] {
        let decided = create_groups(&image, group_names(names), &named(users));
        assert_eq!(refused(decided), Some(wanted));
    }
    let many: Vec<_> = (0..groups::MOST_AT_ONCE).map(|n| format!("g{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let decided = create_groups(&image, group_names(&many), std::slice::from_ref(&bob.name));
    assert_eq!(refused(decided), Some(GroupRefused::Many));
}

#[test]
fn members_come_and_go_once() {
    let mut image = Image::default();
    let (_, _) = (join(&mut image, "bob", false), join(&mut image, "eve", false));
    let staff = group(&mut image, "staff", &["bob"]);
    let decided = add_members(&image, staff.id, &named(&["eve", "bob", "eve"]));
    assert_eq!(decided.as_ref().unwrap().0.len(), 1);
    apply(&mut image, decided);
    assert_eq!(members(&image, &staff), ["bob", "eve"]);
    for decide in [add_members, remove_members] {
        let decided = decide(&image, staff.id, &named(&["bob", "nobody"]));
        assert_eq!(refused(decided), Some(GroupRefused::NoUser(name("nobody"))));
        let decided = decide(&image, crate::domain::GroupId(99), &[]);
        assert_eq!(refused(decided), Some(GroupRefused::NoGroup));
    }
    let decided = remove_members(&image, staff.id, &named(&["bob", "bob"]));
    apply(&mut image, decided);
    assert_eq!(members(&image, &staff), ["eve"]);
    assert_eq!(remove_members(&image, staff.id, &named(&["bob"])).unwrap().0, []);
}

#[test]
fn properties_are_replaced_whole_and_bounded() {
    let mut image = Image::default();
    let staff = group(&mut image, "staff", &[]);
    let map = |value: serde_json::Value| value.as_object().cloned().unwrap();
    let decided = set_properties(&image, staff.id, map(json!({"a": {"b": [1]}})));
    apply(&mut image, decided);
    let decided = set_properties(&image, staff.id, map(json!({"c": 2})));
    assert_eq!(*apply(&mut image, decided).properties, map(json!({"c": 2})));
    let same = set_properties(&image, staff.id, map(json!({"c": 2})));
    assert_eq!(same.unwrap().0, []);
    let large = map(json!({"a": "\"".repeat(groups::MOST_PROPERTIES / 2)}));
    let decided = set_properties(&image, staff.id, large);
    assert_eq!(refused(decided), Some(GroupRefused::LargeProperties));
    let decided = set_properties(&image, crate::domain::GroupId(99), Map::new());
    assert_eq!(refused(decided), Some(GroupRefused::NoGroup));
}

#[test]
fn a_deleted_group_leaves_nothing() {
    let (mut image, _) = full_world();
    let staff = image.group_named("staff").unwrap().clone();
    let decided = delete_group(&image, staff.id);
    apply(&mut image, decided);
    assert_eq!(image.group_named("staff"), None);
    assert_eq!(image.shared_with(SharedWith::Group(staff.id)).count(), 0);
    let of_group = |write: &Write| matches!(write, Write::Member(..) | Write::Group(_));
    assert!(!image.writes().any(|write| of_group(&write)));
    assert_eq!(image.shared_with(SharedWith::User(image.user_named("eve").unwrap().id)).count(), 1);
    assert_eq!(refused(delete_group(&image, staff.id)), Some(GroupRefused::NoGroup));
}
