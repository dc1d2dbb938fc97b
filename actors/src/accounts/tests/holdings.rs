//! What somebody holds: by roles of their own, of groups, of services, and by nothing else.

use std::collections::BTreeMap;

use super::*;
use crate::{
    accounts::access,
    domain::{
        Group, GroupId, GroupName, Service, ServiceName,
        role::RoleEntry,
        scope::{Granted, Mask, Resource},
    },
    store::Write,
};

const LIST: Mask = Mask::of(&["list:users"]);

/// `list:users` for the group `staff` and the service `culler`.
fn policy() -> Policy {
    let entry = RoleEntry {
        name: "lister".into(),
        scopes: Some(vec!["list:users".into()]),
        groups: vec!["staff".into()],
        services: vec!["culler".into()],
        ..RoleEntry::default()
    };
    Policy::new(&[entry], &[], &BTreeMap::new()).unwrap()
}

fn lists(granted: &Granted, image: &Image) -> bool {
    granted.covers(LIST, Resource::Hub, image)
}

#[test]
fn members_of_a_group_have_its_roles_as_long_as_they_are_in_it() {
    let mut image = Image::default();
    let bob = join(&mut image, "bob", false);
    let id = GroupId(image.next_id());
    let staff = Group { id, name: GroupName::new("staff").unwrap(), properties: Arc::default() };
    image.apply(&Write::Group(Arc::new(staff)));
    let held = |image: &Image| lists(&access::of_user(image, &policy(), &bob), image);
    assert!(!held(&image));
    image.apply(&Write::Member(id, bob.id));
    assert!(held(&image));
    image.apply(&Write::MemberGone(id, bob.id));
    assert!(!held(&image));
}

/// What the reference calls managed roles: here an authenticator tells of groups, and the configuration gives those roles.
#[test]
fn roles_come_and_go_with_the_groups_an_authenticator_tells_of() {
    let mut image = Image::default();
    let mut told = |groups: &[&str]| {
        let groups = groups.iter().map(|it| GroupName::new(it).unwrap()).collect();
        let bob = Arrived::named(name("bob"), "c".to_owned());
        let decided = sign_in(&image, &Arrived { groups: Some(groups), ..bob }, NOW);
        let bob = apply(&mut image, decided);
        lists(&access::of_user(&image, &policy(), &bob), &image)
    };
    assert!(!told(&["others"]));
    assert!(told(&["staff"]));
    assert!(!told(&["others"]), "exactly what they are now");
    assert!(told(&["staff", "others"]) && !told(&[]));
}

#[test]
fn who_is_blocked_holds_nothing_whatever_gives_it() {
    let mut image = Image::default();
    let (bob, eve) = (join(&mut image, "bob", true), join(&mut image, "eve", false));
    let id = GroupId(image.next_id());
    let staff = Group { id, name: GroupName::new("staff").unwrap(), properties: Arc::default() };
    image.apply(&Write::Group(Arc::new(staff)));
    image.apply(&Write::Member(id, bob.id));
    let server = crate::domain::ServerKey { user: eve.id, name: ServerName::default_server() };
    let key = crate::domain::ShareKey { server, with: crate::domain::SharedWith::User(bob.id) };
    let scopes = vec!["access:servers".to_owned()];
    image.apply(&Write::Share(Arc::new(crate::domain::Share { key, scopes, created: NOW })));
    assert_ne!(access::of_user(&image, &policy(), &bob), Granted::default());
    let blocked = policy().without([bob.name.clone()].into());
    assert_eq!(access::of_user(&image, &blocked, &bob), Granted::default());
    let inherit = [crate::domain::Scope::new("inherit")];
    let by_token = access::of_scopes(&image, &blocked, &Owner::User(bob.id), &inherit, None);
    assert_eq!(by_token, Some(Granted::default()));
}

#[test]
fn a_service_has_its_roles_and_nothing_without_any() {
    let image = Image::default();
    let service = |name: &str, admin| Service {
        name: ServiceName::new(name).unwrap(),
        admin,
        url: None,
        display: true,
        info: serde_json::Map::new(),
        oauth_no_confirm: false,
        oauth_client_allowed_scopes: Vec::new(),
        command: Vec::new(),
        configured: true,
    };
    let held = |name, admin| access::of_service(&policy(), &service(name, admin));
    assert!(lists(&held("culler", false), &image));
    assert_eq!(held("other", false), Granted::default());
    assert!(held("other", true).covers(Mask::of(&["admin:users"]), Resource::Hub, &image));
}
