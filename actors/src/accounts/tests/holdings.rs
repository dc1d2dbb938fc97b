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
