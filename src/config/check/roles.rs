//! Roles, scopes of one's own and groups: every name and every scope that is none, each at its place.
//!
//! What the hub compiles stops at the first fault ([`Policy`]). Here each part is tried by itself, and what was found is
//! taken out and tried again, so that all faults are told at once.

use std::collections::{BTreeMap, BTreeSet};

use jovis_actors::domain::{
    GroupName, Policy, Scope, Username,
    role::{self, RoleEntry, RolesRefused},
    scope::{Custom, CustomRefused, Vocabulary},
};

use super::Say;
use crate::config::Config;

pub(super) fn roles(say: &mut Say<'_>, config: &Config) {
    let custom = custom(say, config);
    let mut seen = BTreeSet::new();
    let services: BTreeSet<_> = config.services.iter().map(|one| one.name.as_str()).collect();
    for (nth, role) in config.roles.iter().enumerate() {
        let nth = nth.to_string();
        if !seen.insert(role.name.as_str()) {
            say.error_in("roles.name", &nth, format!("role {} stands there twice", role.name));
        }
        one(say, &nth, role.into(), &custom);
        for name in role.services.iter().filter(|name| !services.contains(name.as_str())) {
            say.error_in("roles.services", &nth, format!("`{name}` is none of `services`"));
        }
        for name in &role.groups {
            group_name(say, "roles.groups", &nth, name);
        }
    }
    let mut extra: Vec<_> = config.hub.extra_user_scopes.iter().cloned().collect();
    while let Err(RolesRefused::Scope(_, scope)) = Policy::new(&[], &extra, &custom) {
        say.error("hub.extra_user_scopes", format!("no such scope: {scope}"));
        extra.retain(|one| *one != scope);
    }
    let of_user = config.roles.iter().any(|it| it.name == role::USER && it.scopes.is_some());
    if of_user && !config.hub.extra_user_scopes.is_empty() {
        say.warn(
            "hub.extra_user_scopes",
            "without effect: `roles` sets the scopes of the role `user`",
        );
    }
    let vocabulary = Vocabulary::new(&custom).unwrap_or_default();
    for (setting, scopes) in [
        ("spawner.server_token_scopes", &config.spawner.server_token_scopes),
        ("spawner.oauth_client_allowed_scopes", &config.spawner.oauth_client_allowed_scopes),
    ] {
        for text in scopes.iter().filter(|text| !Scope::new(text).is_known(&vocabulary)) {
            say.error(setting, format!("no such scope: {text}"));
        }
    }
    groups(say, config);
}

/// One role: what is found wrong is taken out, so each turn of the loop has less to do.
fn one(say: &mut Say<'_>, nth: &str, mut entry: RoleEntry, custom: &BTreeMap<String, Custom>) {
    while let Err(fault) = Policy::new(std::slice::from_ref(&entry), &[], custom) {
        let words = fault.to_string();
        match fault {
            RolesRefused::Scope(_, scope) => {
                say.error_in("roles.scopes", nth, words);
                if let Some(scopes) = &mut entry.scopes {
                    scopes.retain(|one| *one != scope);
                }
            }
            RolesRefused::Member(_, name) => {
                let users = entry.users.contains(&name);
                say.error_in(if users { "roles.users" } else { "roles.services" }, nth, words);
                entry.users.retain(|one| *one != name);
                entry.services.retain(|one| *one != name);
            }
            RolesRefused::Admin => {
                say.error_in("roles.scopes", nth, words);
                (entry.scopes, entry.description) = (None, None);
            }
            RolesRefused::Name(_) => {
                say.error_in("roles.name", nth, words);
                // Any good name, to hear of the rest.
                entry.name = "another-role".to_owned();
            }
            // Of several roles, or of the scopes of one's own, which are right by now.
            RolesRefused::Twice(_) | RolesRefused::Custom(_) => break,
        }
    }
}

/// The scopes of one's own, without what is wrong with them.
fn custom(say: &mut Say<'_>, config: &Config) -> BTreeMap<String, Custom> {
    let scopes = &config.hub.custom_scopes;
    let mut all: BTreeMap<String, Custom> =
        scopes.iter().map(|(name, scope)| (name.clone(), scope.into())).collect();
    while let Err(fault) = Vocabulary::new(&all) {
        let words = fault.to_string();
        match fault {
            CustomRefused::Name(name) => {
                say.error_in("hub.custom_scopes.description", &name, words);
                all.remove(&name);
                let others = all.values_mut();
                others.for_each(|one| one.subscopes.retain(|subscope| *subscope != name));
            }
            CustomRefused::Description(name) => {
                say.error_in("hub.custom_scopes.description", &name, words);
                all.entry(name).and_modify(|one| one.description = "some".to_owned());
            }
            CustomRefused::Subscope(name, missing) => {
                say.error_in("hub.custom_scopes.subscopes", &name, words);
                all.entry(name).and_modify(|one| one.subscopes.retain(|it| *it != missing));
            }
            CustomRefused::Many(_) => {
                say.error("hub.custom_scopes", words);
                all.clear();
            }
        }
    }
    all
}

fn groups(say: &mut Say<'_>, config: &Config) {
    for (name, group) in &config.load_groups {
        group_name(say, "load_groups.users", name, name);
        for user in &group.users {
            if let Err(error) = Username::normalise(user) {
                let words = format!("`{user}` is no name of a user: {error}");
                say.error_in("load_groups.users", name, words);
            }
        }
    }
}

fn group_name(say: &mut Say<'_>, path: &str, entry: &str, name: &str) {
    if let Err(error) = GroupName::new(name) {
        say.error_in(path, entry, format!("{name:?} is no name of a group: {error}"));
    }
}
