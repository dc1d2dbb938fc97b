//! Roles: named lists of scopes, given to users, groups and services by the configuration. (`spec/rbac.md` 6.)
//!
//! Roles are configuration and nothing else: they are not recorded, so the file is what counts, from the moment it is
//! read. Only the flag `admin` is a record, and the role of that name goes with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use thiserror::Error;

use super::{
    Scope, ServiceName, Username,
    scope::{Custom, CustomRefused, Grants, Vocabulary, vocabulary},
};

/// The role of every user.
pub const USER: &str = "user";
/// The role of administrators.
pub const ADMIN: &str = "admin";
/// What a server's own token may do.
pub const SERVER: &str = "server";
/// What a token may do for which nothing else is asked.
pub const TOKEN: &str = "token";

/// A role.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its name.
    pub name: Arc<str>,
    /// For people.
    pub description: String,
    /// Raw.
    pub scopes: Vec<Scope>,
    /// What they grant.
    pub grants: Grants,
}

/// A role as the configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleEntry {
    /// Its name.
    pub name: String,
    /// For people; none: the default role's own, or nothing.
    pub description: Option<String>,
    /// Raw; none: the default role's own, or nothing.
    pub scopes: Option<Vec<String>>,
    /// Who has it, as people write it.
    pub users: Vec<String>,
    /// Which groups' members have it.
    pub groups: Vec<String>,
    /// Which services have it.
    pub services: Vec<String>,
}

/// Why roles are not as they should be. Each says where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RolesRefused {
    /// A scope of an operator's own.
    #[error(transparent)]
    Custom(#[from] CustomRefused),
    /// Not a role's name.
    #[error(
        "{0:?} is no name for a role: 3 to 255 of a-z, 0-9 and - . _ ~, beginning with a letter and ending with a letter \
         or digit"
    )]
    Name(String),
    /// It stands there twice.
    #[error("role {0} stands there twice")]
    Twice(String),
    /// What administrators may do is fixed.
    #[error("role admin can be given to others, but not be changed")]
    Admin,
    /// One of its scopes is none.
    #[error("role {0}: no such scope: {1}")]
    Scope(String, String),
    /// One of its users, or a service, has a name that is none.
    #[error("role {0}: {1:?} is no name")]
    Member(String, String),
}

/// Who has which role, and what that means: compiled from the configuration, replaced whole when that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    vocabulary: Vocabulary,
    roles: BTreeMap<Arc<str>, Arc<Role>>,
    users: HashMap<Username, Vec<Arc<Role>>>,
    groups: HashMap<Arc<str>, Vec<Arc<Role>>>,
    services: HashMap<ServiceName, Vec<Arc<Role>>>,
    /// Of the configuration's role `admin`, where it names users.
    admins: BTreeSet<Username>,
    /// They hold nothing.
    blocked: BTreeSet<Username>,
}

impl Default for Policy {
    /// The default roles, and nobody has another.
    fn default() -> Self {
        Self::new(&[], &[], &BTreeMap::new()).expect("the default roles are right")
    }
}

fn defaults() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let own = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    vec![
        (USER, "What everybody may do with what is one's own", own(&["self"])),
        (ADMIN, "Everything", own(vocabulary::ADMIN)),
        (
            SERVER,
            "What a server does for its user",
            own(&["users:activity!user", "access:servers!server"]),
        ),
        (TOKEN, "Whatever the token's owner may", own(&["inherit"])),
    ]
}

impl Policy {
    /// From the configuration: roles, more scopes for the role `user`, scopes of the operator's own.
    pub fn new(
        entries: &[RoleEntry],
        extra_user_scopes: &[String],
        custom: &BTreeMap<String, Custom>,
    ) -> Result<Self, RolesRefused> {
        let vocabulary = Vocabulary::new(custom)?;
        let mut out = Self {
            vocabulary,
            roles: BTreeMap::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            services: HashMap::new(),
            admins: BTreeSet::new(),
            blocked: BTreeSet::new(),
        };
        let mut seen = BTreeSet::new();
        for entry in entries {
            if !is_name(&entry.name) {
                return Err(RolesRefused::Name(entry.name.clone()));
            }
            if !seen.insert(&entry.name) {
                return Err(RolesRefused::Twice(entry.name.clone()));
            }
            if entry.name == ADMIN && (entry.scopes.is_some() || entry.description.is_some()) {
                return Err(RolesRefused::Admin);
            }
        }
        for (name, description, mut scopes) in defaults() {
            let entry = entries.iter().find(|entry| entry.name == name);
            match entry.and_then(|entry| entry.scopes.as_ref()) {
                Some(own) => scopes.clone_from(own),
                None if name == USER => scopes.extend(extra_user_scopes.iter().cloned()),
                None => {}
            }
            let own = entry.and_then(|entry| entry.description.clone());
            out.define(name, own.unwrap_or_else(|| description.to_owned()), scopes)?;
        }
        for entry in entries {
            if !out.roles.contains_key(entry.name.as_str()) {
                let description = entry.description.clone().unwrap_or_default();
                out.define(&entry.name, description, entry.scopes.clone().unwrap_or_default())?;
            }
            out.give(entry)?;
        }
        Ok(out)
    }

    fn define(
        &mut self,
        name: &str,
        description: String,
        scopes: Vec<String>,
    ) -> Result<(), RolesRefused> {
        let scopes: Vec<Scope> = scopes.iter().map(|text| Scope::new(text)).collect();
        let unknown = scopes.iter().find(|scope| !scope.is_known(&self.vocabulary));
        if let Some(scope) = unknown {
            return Err(RolesRefused::Scope(name.to_owned(), scope.to_string()));
        }
        let grants = Grants::of(&self.vocabulary, &scopes);
        let name: Arc<str> = name.into();
        self.roles.insert(name.clone(), Arc::new(Role { name, description, scopes, grants }));
        Ok(())
    }

    fn give(&mut self, entry: &RoleEntry) -> Result<(), RolesRefused> {
        let role = self.roles[entry.name.as_str()].clone();
        let odd = |name: &str| RolesRefused::Member(entry.name.clone(), name.to_owned());
        for name in &entry.users {
            let user = Username::normalise(name).map_err(|_| odd(name))?;
            match entry.name.as_str() {
                // The flag says who has it.
                ADMIN => drop(self.admins.insert(user)),
                // Everybody has it.
                USER => {}
                _ => self.users.entry(user).or_default().push(role.clone()),
            }
        }
        for name in &entry.groups {
            self.groups.entry(name.as_str().into()).or_default().push(role.clone());
        }
        for name in &entry.services {
            let service = ServiceName::new(name).map_err(|_| odd(name))?;
            self.services.entry(service).or_default().push(role.clone());
        }
        Ok(())
    }

    /// The same, but these users hold nothing and are nobody.
    #[must_use]
    pub fn without(self, blocked: BTreeSet<Username>) -> Self {
        Self { blocked, ..self }
    }

    /// Is this user kept out?
    pub fn is_blocked(&self, name: &Username) -> bool {
        self.blocked.contains(name)
    }

    /// All scopes there are.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The roles given to this user, those of groups apart.
    pub fn of_user(&self, name: &Username, admin: bool) -> impl Iterator<Item = &Arc<Role>> {
        let role = |name: &str| self.roles.get(name);
        let always = role(USER).into_iter().chain(role(ADMIN).filter(|_| admin));
        let all = always.chain(self.users.get(name).into_iter().flatten());
        let blocked = self.is_blocked(name);
        all.filter(move |_| !blocked)
    }

    /// The roles given to this group.
    pub fn of_group(&self, name: &str) -> impl Iterator<Item = &Arc<Role>> {
        self.groups.get(name).into_iter().flatten()
    }

    /// The roles given to this service.
    pub fn of_service(&self, name: &ServiceName, admin: bool) -> impl Iterator<Item = &Arc<Role>> {
        let always = self.roles.get(ADMIN).filter(|_| admin);
        always.into_iter().chain(self.services.get(name).into_iter().flatten())
    }

    /// Users named in the configuration's roles: they are made where they are unknown.
    pub fn named_users(&self) -> impl Iterator<Item = &Username> {
        self.users.keys().chain(&self.admins)
    }

    /// Groups named in the configuration's roles: they are made where they are unknown.
    pub fn named_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|name| &**name)
    }

    /// Users whom the configuration's role `admin` names.
    pub fn admins(&self) -> &BTreeSet<Username> {
        &self.admins
    }
}

/// May a role be called so? (`spec/rbac.md` 6.)
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=255).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b"-._~".contains(&b))
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().next_back().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scope::{Holder, Resource};

    fn entry(name: &str, scopes: &[&str], users: &[&str]) -> RoleEntry {
        RoleEntry {
            name: name.into(),
            scopes: Some(scopes.iter().map(|it| (*it).to_owned()).collect()),
            users: users.iter().map(|it| (*it).to_owned()).collect(),
            ..RoleEntry::default()
        }
    }

    fn names<'a>(roles: impl Iterator<Item = &'a Arc<Role>>) -> Vec<&'a str> {
        roles.map(|role| &*role.name).collect()
    }

    #[test]
    fn everybody_has_the_default_role_and_administrators_theirs() {
        let bob = Username::new("bob").unwrap();
        let policy =
            Policy::new(&[entry("grader", &["list:users"], &["Bob"])], &[], &BTreeMap::new());
        let policy = policy.unwrap();
        assert_eq!(names(policy.of_user(&bob, false)), ["user", "grader"]);
        assert_eq!(names(policy.of_user(&bob, true)), ["user", "admin", "grader"]);
        let eve = Username::new("eve").unwrap();
        assert_eq!(names(policy.of_user(&eve, false)), ["user"]);
        assert_eq!(names(policy.roles()), ["admin", "grader", "server", "token", "user"]);
    }

    #[test]
    fn who_is_blocked_has_no_role() {
        let bob = Username::new("bob").unwrap();
        let policy =
            Policy::new(&[entry("grader", &["list:users"], &["Bob"])], &[], &BTreeMap::new());
        let policy = policy.unwrap().without([bob.clone()].into());
        assert!(policy.is_blocked(&bob) && policy.of_user(&bob, true).next().is_none());
        let eve = Username::new("eve").unwrap();
        assert_eq!(names(policy.of_user(&eve, false)), ["user"]);
    }

    #[test]
    fn default_roles_are_merged_over_and_admin_is_fixed() {
        let extra = ["read:hub".to_owned()];
        let policy = Policy::new(&[], &extra, &BTreeMap::new()).unwrap();
        let bob = Username::new("bob").unwrap();
        let held = policy.role(USER).unwrap().grants.to(&Holder::user(&bob));
        assert!(held.covers(crate::domain::scope::Mask::of(&["read:hub"]), Resource::Hub, &()));
        let policy =
            Policy::new(&[entry("user", &["self"], &[])], &extra, &BTreeMap::new()).unwrap();
        assert_eq!(policy.role(USER).unwrap().scopes, [Scope::new("self")], "its own scopes win");
        let refused = |entry| Policy::new(&[entry], &[], &BTreeMap::new()).unwrap_err();
        assert_eq!(refused(entry("admin", &["self"], &[])), RolesRefused::Admin);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused =
            |entries: &[RoleEntry]| Policy::new(entries, &[], &BTreeMap::new()).unwrap_err();
        for bad in ["ab", "1ab", "Abc", "abc-", "a b c", "a/bc"] {
            assert_eq!(refused(&[entry(bad, &[], &[])]), RolesRefused::Name(bad.into()));
        }
        let twice = [entry("lab", &[], &[]), entry("lab", &[], &[])];
        assert_eq!(refused(&twice), RolesRefused::Twice("lab".into()));
        for bad in ["no-such", "servers!color=red", "custom:own", "all"] {
            let wanted = RolesRefused::Scope("lab".into(), bad.into());
            assert_eq!(refused(&[entry("lab", &[bad], &[])]), wanted);
        }
        assert_eq!(
            refused(&[entry("lab", &[], &["a/b"])]),
            RolesRefused::Member("lab".into(), "a/b".into())
        );
    }

    #[test]
    fn scopes_of_ones_own_bring_theirs() {
        let custom = |subscopes: &[&str]| Custom {
            description: "d".into(),
            subscopes: subscopes.iter().map(|it| (*it).to_owned()).collect(),
        };
        let all: BTreeMap<_, _> = [
            ("custom:jobs:read".to_owned(), custom(&[])),
            ("custom:jobs:write".to_owned(), custom(&["custom:jobs:read"])),
        ]
        .into();
        let policy =
            Policy::new(&[entry("jobs", &["custom:jobs:write!user"], &["bob"])], &[], &all);
        let policy = policy.unwrap();
        let bob = Holder::user(&Username::new("bob").unwrap());
        let held = policy.role("jobs").unwrap().grants.to(&bob);
        assert_eq!(
            held.names(policy.vocabulary()),
            ["custom:jobs:read!user=bob", "custom:jobs:write!user=bob"]
        );
        for bad in ["custom:", "custom:ab", "custom:-ab", "custom:ab-", "custom:Abc", "jobs"] {
            let all = [(bad.to_owned(), custom(&[]))].into();
            let refused = Policy::new(&[], &[], &all).unwrap_err();
            assert_eq!(refused, CustomRefused::Name(bad.into()).into());
        }
        let all = [("custom:abc".to_owned(), custom(&["custom:xyz"]))].into();
        assert!(Policy::new(&[], &[], &all).is_err(), "an unknown subscope");
    }
}
