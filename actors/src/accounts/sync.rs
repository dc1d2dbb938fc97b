//! What the configuration wants to be there, held against the records: users and groups that it names, who is an
//! administrator, services with their tokens and clients. (`spec/rbac.md` 6.2, `spec/config.md` 1.6.)
//!
//! At each start and each reload, in one change; where all is as it should be nothing is written. Roles are no records
//! and so not here: see [`Policy`].

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Decided,
    services::{self, CONFIGURED, WantedClient},
};
use crate::{
    domain::{
        Group, GroupId, GroupName, Moment, Owner, Policy, Service, ServiceName, TokenHash, TokenId,
        User, UserId, Username,
    },
    store::{Image, Write},
};

/// A service of the configuration.
#[derive(Debug, Clone)]
pub struct WantedService {
    /// Its record.
    pub service: Service,
    /// Of its `api_token`.
    pub token: Option<TokenHash>,
    /// Its OAuth client, if it is one.
    pub client: Option<WantedClient>,
}

/// A group of the configuration.
#[derive(Debug, Clone)]
pub struct WantedGroup {
    /// Its name.
    pub name: GroupName,
    /// Who is to be in it, besides those who are.
    pub users: Vec<Username>,
    /// What takes the place of its properties; none: they stay.
    pub properties: Option<Map<String, Value>>,
}

/// What the configuration wants. Users and groups of roles are the [`Policy`]'s.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// All services.
    pub services: Vec<WantedService>,
    /// All groups.
    pub groups: Vec<WantedGroup>,
    /// Administrators by name, besides those of the role `admin`.
    pub admins: BTreeSet<Username>,
    /// Are these all administrators there are?
    pub only_admins: bool,
    /// Who is kept out: no flag, no groups.
    pub blocked: BTreeSet<Username>,
}

/// What was done, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Users that were made.
    pub users: usize,
    /// Groups that were made.
    pub groups: usize,
    /// Users whose flag changed.
    pub flags: usize,
    /// Services that were made or changed.
    pub services: usize,
    /// Services that have left the configuration.
    pub dropped: Vec<ServiceName>,
    /// Services made by request whose name the configuration takes.
    pub taken: Vec<ServiceName>,
    /// Services whose token is somebody else's, and so not theirs.
    pub refused: Vec<ServiceName>,
}

/// Makes the records what the configuration wants. `draw` gives a text nobody can guess, for each new user.
pub fn sync(
    image: &Image,
    policy: &Policy,
    wanted: &Wanted,
    mut draw: impl FnMut() -> String,
    now: Moment,
) -> Decided<Synced, Infallible> {
    let mut work =
        Work { image, writes: Vec::new(), next: image.next_id(), done: Synced::default(), now };
    let admins: BTreeSet<&Username> = wanted.admins.iter().chain(policy.admins()).collect();
    let of_groups = wanted.groups.iter().flat_map(|group| &group.users);
    let named: BTreeSet<&Username> =
        policy.named_users().chain(of_groups).chain(&wanted.admins).collect();
    let is_admin = |name: &Username, now: bool| {
        !wanted.blocked.contains(name) && (admins.contains(name) || now && !wanted.only_admins)
    };
    let mut ids = BTreeMap::new();
    for name in named {
        let id = match image.user_named(name.as_str()) {
            Some(user) => user.id,
            None => work.user(name, is_admin(name, false), draw()),
        };
        ids.insert(name, id);
    }
    for user in image.users() {
        let admin = is_admin(&user.name, user.admin);
        if admin != user.admin {
            work.done.flags += 1;
            work.writes.push(Write::User(Arc::new(User { admin, ..User::clone(user) })));
        }
    }
    work.groups(policy, wanted, &ids);
    work.services(&wanted.services);
    if work.next > image.next_id() {
        work.writes.push(Write::IdsUsed(work.next - 1));
    }
    Ok((work.writes, work.done))
}

/// A change in the making.
struct Work<'a> {
    image: &'a Image,
    writes: Vec<Write>,
    next: u64,
    done: Synced,
    now: Moment,
}

impl Work<'_> {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn user(&mut self, name: &Username, admin: bool, cookie_id: String) -> UserId {
        let id = UserId(self.id());
        self.done.users += 1;
        self.writes.push(Write::User(Arc::new(User {
            id,
            name: name.clone(),
            admin,
            created: self.now,
            last_activity: None,
            cookie_id,
            user_info: None,
        })));
        id
    }

    fn groups(&mut self, policy: &Policy, wanted: &Wanted, ids: &BTreeMap<&Username, UserId>) {
        let by_name: BTreeMap<&str, &WantedGroup> =
            wanted.groups.iter().map(|group| (group.name.as_str(), group)).collect();
        let mut names: BTreeSet<&str> = policy.named_groups().collect();
        names.extend(by_name.keys());
        for name in names {
            let Some(id) = self.group(name, by_name.get(name).copied()) else { continue };
            let Some(group) = by_name.get(name) else { continue };
            let users: BTreeSet<_> = group.users.iter().collect();
            for user in users.into_iter().filter(|user| !wanted.blocked.contains(*user)) {
                if !self.image.is_member(id, ids[user]) {
                    self.writes.push(Write::Member(id, ids[user]));
                }
            }
        }
        let blocked = wanted.blocked.iter().filter_map(|it| self.image.user_named(it.as_str()));
        for user in blocked {
            let out = self.image.groups_of(user.id);
            self.writes.extend(out.map(|group| Write::MemberGone(group.id, user.id)));
        }
    }

    /// The group of this name, made where it is missing. Nothing: that is no name.
    fn group(&mut self, name: &str, wanted: Option<&WantedGroup>) -> Option<GroupId> {
        let properties = wanted.and_then(|group| group.properties.clone()).map(Arc::new);
        if let Some(group) = self.image.group_named(name) {
            if let Some(properties) = properties.filter(|new| **new != *group.properties) {
                let group = Group { properties, ..Group::clone(group) };
                self.writes.push(Write::Group(Arc::new(group)));
            }
            return Some(group.id);
        }
        let name = GroupName::new(name).ok()?;
        let id = GroupId(self.id());
        self.done.groups += 1;
        let properties = properties.unwrap_or_default();
        self.writes.push(Write::Group(Arc::new(Group { id, name, properties })));
        Some(id)
    }

    fn services(&mut self, wanted: &[WantedService]) {
        let names: BTreeSet<_> = wanted.iter().map(|it| &it.service.name).collect();
        let gone = |it: &&Arc<Service>| it.configured && !names.contains(&it.name);
        let gone: Vec<_> = self.image.services().filter(gone).map(|it| it.name.clone()).collect();
        for name in gone {
            self.writes.extend(services::without_service(self.image, &name));
            self.done.dropped.push(name);
        }
        wanted.iter().for_each(|service| self.service(service));
    }

    fn service(&mut self, wanted: &WantedService) {
        let name = &wanted.service.name;
        let before = self.writes.len();
        let old = self.image.service(name.as_str());
        let foreign = old.is_some_and(|it| !it.configured);
        if foreign {
            // Its tokens are in the hands of whoever made it, not of who wrote the configuration.
            self.writes.extend(services::without_service(self.image, name));
            self.done.taken.push(name.clone());
        }
        if foreign || old.is_none_or(|it| **it != wanted.service) {
            self.writes.push(Write::Service(Arc::new(wanted.service.clone())));
        }
        let token = self.token(wanted, foreign);
        self.client(wanted, token, foreign);
        self.done.services += usize::from(self.writes.len() > before);
    }

    /// Sees to its token; says which hash is its secret, if any is known.
    fn token(&mut self, wanted: &WantedService, foreign: bool) -> Option<TokenHash> {
        let owner = Owner::Service(wanted.service.name.clone());
        let own = || self.image.tokens_of(&owner).filter(|_| !foreign);
        let stale =
            own().filter(|token| *token.note == *CONFIGURED && Some(token.hash) != wanted.token);
        let stale: Vec<_> = stale.map(|token| Write::TokenGone(token.id)).collect();
        self.writes.extend(stale);
        let hash = wanted.token?;
        match self.image.token_hashed(&hash) {
            Some(token) if token.owner != owner => {
                self.done.refused.push(wanted.service.name.clone());
                return None;
            }
            Some(_) if !foreign => {}
            _ => {
                let id = TokenId(self.id());
                let name = &wanted.service.name;
                self.writes.extend(services::token(id, name, hash, CONFIGURED, self.now));
            }
        }
        Some(hash)
    }

    fn client(&mut self, wanted: &WantedService, token: Option<TokenHash>, foreign: bool) {
        let name = &wanted.service.name;
        let id = wanted.client.as_ref().map(|client| &client.id);
        let others =
            services::clients_of(self.image, name).filter(|it| Some(&it.id) != id && !foreign);
        let others: Vec<_> =
            others.flat_map(|it| services::without_client(self.image, &it.id)).collect();
        self.writes.extend(others);
        let Some(client) = wanted.client.clone() else { return };
        let old = self.image.client(&client.id);
        // Of a managed service without a token of its own it is the token of its present life.
        let kept = old.filter(|_| !foreign).map(|old| old.secret);
        let secret = token.or(kept).unwrap_or(client.fresh);
        let client = services::oauth_client(name, client, secret);
        if foreign || old.is_none_or(|old| **old != client) {
            self.writes.push(Write::Client(Arc::new(client)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ClientId, Scope, role::RoleEntry};

    const NOW: Moment = Moment(1_000);

    fn user(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    fn policy(entries: &[(&str, &[&str], &[&str])]) -> Policy {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let entry = |(name, users, groups): &(&str, &[&str], &[&str])| RoleEntry {
            name: (*name).to_owned(),
            users: texts(users),
            groups: texts(groups),
            ..RoleEntry::default()
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        Policy::new(&entries, &[], &BTreeMap::new()).unwrap()
    }

    fn service(name: &str, token: Option<u8>) -> WantedService {
        let name = ServiceName::new(name).unwrap();
        let client = WantedClient {
            id: ClientId::of_service(&name),
            redirect_uri: format!("/services/{name}/oauth_callback"),
            allowed_scopes: vec![Scope::new("read:users")],
            fresh: TokenHash([99; 32]),
        };
        WantedService {
            service: Service {
                name,
                admin: false,
                url: Some("http://127.0.0.1:9".into()),
                display: true,
                info: Map::new(),
                oauth_no_confirm: false,
                oauth_client_allowed_scopes: Vec::new(),
                command: Vec::new(),
                configured: true,
            },
            token: token.map(|n| TokenHash([n; 32])),
            client: Some(client),
        }
    }

    /// Carries it out; the second time nothing is left to do.
    fn run(image: &mut Image, policy: &Policy, wanted: &Wanted) -> Synced {
        let mut drawn = 0;
        let mut draw = || {
            drawn += 1;
            format!("cookie {drawn}")
        };
        let Ok((writes, done)) = sync(image, policy, wanted, &mut draw, NOW);
        writes.iter().for_each(|write| image.apply(write));
        let Ok((again, nothing)) = sync(image, policy, wanted, &mut draw, NOW);
        assert_eq!(again, [], "it is idempotent");
        assert_eq!(nothing, Synced { refused: done.refused.clone(), ..Synced::default() });
        done
    }

    fn names<'a>(users: impl Iterator<Item = &'a Arc<User>>) -> Vec<String> {
        users.map(|user| user.name.to_string()).collect()
    }

    #[test]
    fn who_and_what_the_configuration_names_is_made() {
        let mut image = Image::default();
        let policy = policy(&[("class-ta", &["ann"], &["staff"]), ("admin", &["boss"], &[])]);
        let group = |name: &str, users: &[&str], properties: Option<Value>| WantedGroup {
            name: GroupName::new(name).unwrap(),
            users: users.iter().map(|it| user(it)).collect(),
            properties: properties.and_then(|it| it.as_object().cloned()),
        };
        let mut wanted = Wanted {
            groups: vec![group("class", &["bob", "ann"], Some(json!({"a": 1})))],
            admins: [user("root2")].into(),
            ..Wanted::default()
        };
        let done = run(&mut image, &policy, &wanted);
        assert_eq!((done.users, done.groups), (4, 2));
        let admins = names(image.users().filter(|user| user.admin));
        assert_eq!(admins, ["boss", "root2"]);
        let class = image.group_named("class").unwrap().clone();
        assert_eq!(class.properties["a"], 1);
        assert_eq!(names(image.members_of(class.id)).len(), 2);
        let ids: BTreeSet<_> = image.users().map(|user| user.cookie_id.clone()).collect();
        assert_eq!(ids.len(), 4, "each has a secret of its own");
        // Members are added, never taken; properties stay where none are given.
        wanted.groups = vec![group("class", &["new"], None)];
        run(&mut image, &policy, &wanted);
        assert_eq!(names(image.members_of(class.id)).len(), 3);
        assert_eq!(image.group_named("class").unwrap().properties["a"], 1);
    }

    #[test]
    fn flags_follow_the_role_and_the_blocked_lose_theirs_with_their_groups() {
        let mut image = Image::default();
        let old = Wanted {
            admins: [user("was"), user("bad")].into(),
            groups: vec![WantedGroup {
                name: GroupName::new("g").unwrap(),
                users: vec![user("bad")],
                properties: None,
            }],
            ..Wanted::default()
        };
        run(&mut image, &Policy::default(), &old);
        let entry = policy(&[("admin", &["now"], &[])]);
        let mut wanted = Wanted { blocked: [user("bad")].into(), ..Wanted::default() };
        run(&mut image, &entry, &wanted);
        let admins = |image: &Image| names(image.users().filter(|user| user.admin));
        assert_eq!(admins(&image), ["was", "now"], "an entry that is not exact takes nobody's");
        assert_eq!(image.members_of(image.group_named("g").unwrap().id).count(), 0);
        wanted.only_admins = true;
        assert_eq!(run(&mut image, &entry, &wanted).flags, 1);
        assert_eq!(admins(&image), ["now"]);
    }

    #[test]
    fn services_come_change_and_go_with_all_that_is_theirs() {
        let mut image = Image::default();
        let policy = Policy::default();
        let wanted = |services| Wanted { services, ..Wanted::default() };
        let one = ServiceName::new("one").unwrap();
        let owner = Owner::Service(one.clone());
        run(&mut image, &policy, &wanted(vec![service("one", Some(1)), service("two", None)]));
        assert_eq!(image.services().count(), 2);
        let of_one = || ClientId::of_service(&one);
        assert_eq!(image.client(&of_one()).unwrap().secret, TokenHash([1; 32]));
        let two = ClientId::of_service(&ServiceName::new("two").unwrap());
        assert_eq!(image.client(&two).unwrap().secret, TokenHash([99; 32]), "nobody knows it");
        // Another token takes the place of the one before, for the client too.
        run(&mut image, &policy, &wanted(vec![service("one", Some(2))]));
        assert!(image.token_hashed(&TokenHash([1; 32])).is_none());
        assert_eq!(image.tokens_of(&owner).count(), 1);
        assert_eq!(image.client(&of_one()).unwrap().secret, TokenHash([2; 32]));
        assert!(image.client(&two).is_none() && image.service("two").is_none());
        // Another name as client takes that of before with it.
        let mut renamed = service("one", Some(2));
        renamed.client.as_mut().unwrap().id = ClientId::claimed("service-x");
        run(&mut image, &policy, &wanted(vec![renamed]));
        assert!(image.client(&of_one()).is_none());
        let done = run(&mut image, &policy, &wanted(Vec::new()));
        assert_eq!(done.dropped, [one]);
        assert_eq!((image.services().count(), image.clients().count()), (0, 0));
        assert_eq!(image.tokens().count(), 0);
    }

    #[test]
    fn the_configuration_takes_a_name_that_was_made_by_request() {
        let mut image = Image::default();
        let name = ServiceName::new("one").unwrap();
        let mut record = service("one", None).service;
        record.configured = false;
        image.apply(&Write::Service(Arc::new(record)));
        for write in services::token(TokenId(5), &name, TokenHash([7; 32]), CONFIGURED, NOW) {
            image.apply(&write);
        }
        let wanted = Wanted { services: vec![service("one", Some(1))], ..Wanted::default() };
        let done = run(&mut image, &Policy::default(), &wanted);
        assert_eq!(done.taken, [name]);
        assert!(image.service("one").unwrap().configured);
        assert!(image.token_hashed(&TokenHash([7; 32])).is_none(), "who made it is out");
        assert!(image.token_hashed(&TokenHash([1; 32])).is_some());
    }

    #[test]
    fn a_managed_service_gets_a_token_for_each_life() {
        let mut image = Image::default();
        let mut managed = service("one", None);
        managed.service.command = vec!["run".into()];
        let wanted = Wanted { services: vec![managed], ..Wanted::default() };
        run(&mut image, &Policy::default(), &wanted);
        let name = ServiceName::new("one").unwrap();
        for life in [1, 2] {
            let hash = TokenHash([life; 32]);
            let (writes, ()) = services::begin_service(&image, &name, hash, NOW).unwrap();
            writes.iter().for_each(|write| image.apply(write));
            assert_eq!(image.client(&ClientId::of_service(&name)).unwrap().secret, hash);
            let own: Vec<_> = image.tokens_of(&Owner::Service(name.clone())).collect();
            assert_eq!((own.len(), own[0].hash), (1, hash), "the one before is void");
            assert_eq!(services::begin_service(&image, &name, hash, NOW).unwrap().0, []);
            // A reload leaves it alone.
            run(&mut image, &Policy::default(), &wanted);
            assert!(image.token_hashed(&hash).is_some());
        }
        let none = ServiceName::new("none").unwrap();
        assert!(services::begin_service(&image, &none, TokenHash([3; 32]), NOW).is_err());
    }

    #[test]
    fn somebody_elses_token_is_not_given_to_a_service() {
        let mut image = Image::default();
        let other = ServiceName::new("other").unwrap();
        for write in services::token(TokenId(5), &other, TokenHash([1; 32]), "mine", NOW) {
            image.apply(&write);
        }
        let wanted = Wanted { services: vec![service("one", Some(1))], ..Wanted::default() };
        let done = run(&mut image, &Policy::default(), &wanted);
        assert_eq!(done.refused.len(), 1);
        assert_eq!(image.token_hashed(&TokenHash([1; 32])).unwrap().owner, Owner::Service(other));
    }
}
