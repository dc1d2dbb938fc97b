//! What somebody holds, expanded: which names without a filter, and which under which filter.

use std::{fmt, sync::Arc};

use super::{Mask, Vocabulary};

/// What restricts a scope to some things. (`spec/rbac.md` 3.)
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// `group=NAME`: the group, its members, their servers.
    Group(Arc<str>),
    /// `server=USER/SERVER`; the default server's name is empty.
    Server(Arc<str>),
    /// `service=NAME`.
    Service(Arc<str>),
    /// `user=NAME`: the user, and the user's servers.
    User(Arc<str>),
}

impl Filter {
    /// As it is written behind the `!`, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('=').filter(|(_, name)| !name.is_empty())?;
        let server = || name.split_once('/').is_some_and(|(user, _)| !user.is_empty());
        match kind {
            "group" => Some(Self::Group(name.into())),
            "server" if server() => Some(Self::Server(name.into())),
            "service" => Some(Self::Service(name.into())),
            "user" => Some(Self::User(name.into())),
            _ => None,
        }
    }

    fn covers(&self, what: Resource<'_>, groups: &dyn Membership) -> bool {
        match (self, what) {
            (Self::User(name), Resource::User(user) | Resource::Server(user, _)) => **name == *user,
            (Self::Group(group), Resource::User(user) | Resource::Server(user, _)) => {
                groups.is_in(user, group)
            }
            (Self::Server(which), Resource::Server(user, server)) => {
                which.split_once('/') == Some((user, server))
            }
            (Self::Group(name), Resource::Group(group)) => **name == *group,
            (Self::Service(name), Resource::Service(service)) => **name == *service,
            (Self::User(_) | Self::Server(_), Resource::Group(_) | Resource::Service(_))
            | (Self::Server(_) | Self::Service(_), Resource::User(_))
            | (Self::Group(_), Resource::Service(_))
            | (Self::Service(_), Resource::Server(..) | Resource::Group(_))
            | (_, Resource::Hub) => false,
        }
    }

    /// The narrower of two, if one lies within the other. (`spec/rbac.md` 5.1.)
    fn within<'a>(&'a self, other: &'a Self, groups: &dyn Membership) -> Option<&'a Self> {
        let user = |server: &'a str| server.split_once('/').map_or(server, |(user, _)| user);
        match (self, other) {
            _ if self == other => Some(self),
            (Self::Server(server), Self::User(name)) => (*user(server) == **name).then_some(self),
            (Self::Server(server), Self::Group(group)) => {
                groups.is_in(user(server), group).then_some(self)
            }
            (Self::User(name), Self::Group(group)) => groups.is_in(name, group).then_some(self),
            (Self::User(_) | Self::Group(_), Self::Server(_)) | (Self::Group(_), Self::User(_)) => {
                other.within(self, groups)
            }
            (Self::User(_), Self::User(_))
            | (Self::Group(_), Self::Group(_))
            | (Self::Server(_), Self::Server(_))
            | (Self::Service(_), _)
            | (_, Self::Service(_)) => None,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group={name}"),
            Self::Server(name) => write!(f, "server={name}"),
            Self::Service(name) => write!(f, "service={name}"),
            Self::User(name) => write!(f, "user={name}"),
        }
    }
}

/// What a request is about, by names that need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Nothing in particular: only scopes without a filter open it.
    Hub,
    /// A user.
    User(&'a str),
    /// A user's server.
    Server(&'a str, &'a str),
    /// A group.
    Group(&'a str),
    /// A service.
    Service(&'a str),
}

/// Who is in which group, at this moment.
pub trait Membership {
    /// Is the user of this name in the group of this name?
    fn is_in(&self, user: &str, group: &str) -> bool;
}

/// Nobody is in any group.
impl Membership for () {
    fn is_in(&self, _user: &str, _group: &str) -> bool {
        false
    }
}

/// What somebody holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    whole: Mask,
    /// Sorted by filter, each once; nothing in it that is in `whole`, and no empty one.
    parts: Vec<(Filter, Mask)>,
}

impl Granted {
    /// Adds names without a filter. They swallow those with one.
    pub fn add_whole(&mut self, mask: Mask) {
        self.whole = self.whole.or(mask);
        self.parts.retain_mut(|(_, part)| {
            *part = part.without(mask);
            !part.is_empty()
        });
    }

    /// Adds names under a filter.
    pub fn add(&mut self, filter: Filter, mask: Mask) {
        let mask = mask.without(self.whole);
        if mask.is_empty() {
            return;
        }
        match self.parts.binary_search_by(|(known, _)| known.cmp(&filter)) {
            Ok(at) => self.parts[at].1 = self.parts[at].1.or(mask),
            Err(at) => self.parts.insert(at, (filter, mask)),
        }
    }

    /// Adds all of another's.
    pub fn add_all(&mut self, other: &Self) {
        self.add_whole(other.whole);
        for (filter, mask) in &other.parts {
            self.add(filter.clone(), *mask);
        }
    }

    /// Names held without a filter.
    pub fn whole(&self) -> Mask {
        self.whole
    }

    /// What is held under filters, with them.
    pub fn parts(&self) -> impl Iterator<Item = (&Filter, Mask)> {
        self.parts.iter().map(|(filter, mask)| (filter, *mask))
    }

    /// All names held in any form.
    pub fn any(&self) -> Mask {
        self.parts.iter().fold(self.whole, |all, (_, mask)| all.or(*mask))
    }

    /// The names that count for this resource.
    pub fn on(&self, what: Resource<'_>, groups: &dyn Membership) -> Mask {
        let fitting = self.parts.iter().filter(|(filter, _)| filter.covers(what, groups));
        fitting.fold(self.whole, |all, (_, mask)| all.or(*mask))
    }

    /// Does any of these names cover this resource?
    pub fn covers(&self, needed: Mask, what: Resource<'_>, groups: &dyn Membership) -> bool {
        self.whole.meets(needed) || self.on(what, groups).meets(needed)
    }

    /// What both hold. (`spec/rbac.md` 5.1.)
    #[must_use]
    pub fn meet(&self, other: &Self, groups: &dyn Membership) -> Self {
        let mut out = Self::default();
        out.add_whole(self.whole.and(other.whole));
        for (filter, mask) in &self.parts {
            out.add(filter.clone(), mask.and(other.whole));
            for (theirs, there) in &other.parts {
                if mask.meets(*there)
                    && let Some(common) = filter.within(theirs, groups)
                {
                    out.add(common.clone(), mask.and(*there));
                }
            }
        }
        for (filter, mask) in &other.parts {
            out.add(filter.clone(), mask.and(self.whole));
        }
        out
    }

    /// Does the other hold all of this?
    pub fn is_within(&self, other: &Self, groups: &dyn Membership) -> bool {
        self.beyond(other, groups) == Self::default()
    }

    /// What of this the other does not hold.
    #[must_use]
    pub fn beyond(&self, other: &Self, groups: &dyn Membership) -> Self {
        let mut out = Self::default();
        out.add_whole(self.whole.without(other.whole));
        for (filter, mask) in &self.parts {
            let wider = other.parts.iter().filter(|(theirs, _)| {
                filter.within(theirs, groups).is_some_and(|narrower| narrower == filter)
            });
            let held = wider.fold(other.whole, |all, (_, mask)| all.or(*mask));
            out.add(filter.clone(), mask.without(held));
        }
        out
    }

    /// As on the wire: expanded scopes, sorted.
    pub fn names(&self, vocabulary: &Vocabulary) -> Vec<String> {
        let mut out: Vec<String> = vocabulary.names(self.whole).map(ToOwned::to_owned).collect();
        for (filter, mask) in &self.parts {
            out.extend(vocabulary.names(*mask).map(|name| format!("{name}!{filter}")));
        }
        out.sort_unstable();
        out
    }
}
