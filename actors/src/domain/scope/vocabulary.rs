//! Which scopes there are, and what each brings with it. (`spec/rbac.md` 2 and 10.)
//!
//! A set of scope names is a [`Mask`], a bit for each: the table's names first, in its order, then the operator's own.
//! So what a scope brings with it is one number, worked out once.

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;

/// Every scope that grants something, with its direct subscopes and what it is for; sorted. The metascopes `self` and
/// `inherit` stand for others, and `(no_scope)` for none: they are not here.
#[rustfmt::skip]
pub const TABLE: &[(&str, &[&str], &str)] = &[
    ("access:servers", &[], "Use user servers: open them in a browser and call their API."),
    ("access:services", &[], "Use services."),
    ("admin-ui", &[], "Open the administration page. What can be done there needs scopes of its own."),
    ("admin:auth_state", &[], "Read what the authenticator keeps about users."),
    ("admin:groups", &["groups", "read:roles:groups", "delete:groups"], "Create groups, change their members, delete them."),
    ("admin:server_state", &[], "Read what the spawner keeps about servers."),
    ("admin:servers", &["admin:server_state", "servers"], "Start, stop and see servers, with what the spawner keeps about them."),
    ("admin:services", &["list:services", "read:services", "read:roles:services"], "Create, see and delete services."),
    ("admin:users", &["admin:auth_state", "users", "read:roles:users", "delete:users"], "Create, rename, change and delete users."),
    ("delete:groups", &[], "Delete groups."),
    ("delete:servers", &[], "Stop and remove servers."),
    ("delete:users", &[], "Delete users."),
    ("groups", &["read:groups", "list:groups"], "Change members and properties of groups."),
    ("groups:shares", &["read:groups:shares"], "See and leave what is shared with groups."),
    ("list:groups", &["read:groups:name"], "List groups by name."),
    ("list:services", &["read:services:name"], "List services by name."),
    ("list:users", &["read:users:name"], "List users by name."),
    ("proxy", &[], "Read the proxy's routes, have them checked, point the hub to another proxy."),
    ("read:groups", &["read:groups:name"], "Read members and properties of groups."),
    ("read:groups:name", &[], "Read names of groups."),
    ("read:groups:shares", &[], "See what is shared with groups."),
    ("read:hub", &[], "Read versions and parts of the hub."),
    ("read:metrics", &[], "Read the hub's metrics."),
    ("read:roles", &["read:roles:users", "read:roles:services", "read:roles:groups"], "Read who and what has which role."),
    ("read:roles:groups", &[], "Read the roles of groups."),
    ("read:roles:services", &[], "Read the roles of services."),
    ("read:roles:users", &[], "Read the roles of users."),
    ("read:servers", &["read:users:name"], "See servers and the progress of their start."),
    ("read:services", &["read:services:name"], "Read all there is to see about services."),
    ("read:services:name", &[], "Read names of services."),
    ("read:shares", &[], "See with whom servers are shared."),
    ("read:tokens", &[], "List tokens, without their secrets."),
    ("read:users", &["read:users:name", "read:users:groups", "read:users:activity"], "Read users, without servers and what the authenticator keeps."),
    ("read:users:activity", &[], "Read when users were last active."),
    ("read:users:groups", &[], "Read in which groups users are."),
    ("read:users:name", &[], "Read names of users."),
    ("read:users:shares", &[], "See what is shared with users."),
    ("servers", &["read:servers", "start:servers", "delete:servers"], "Start, stop and see servers."),
    ("shares", &["access:servers", "read:shares", "users:shares", "groups:shares"], "Share servers, see and end that."),
    ("shutdown", &[], "End the hub."),
    ("start:servers", &[], "Create, start and change servers."),
    ("tokens", &["read:tokens"], "Make, list and revoke tokens."),
    ("users", &["read:users", "list:users", "users:activity"], "Read and list users, and note their activity."),
    ("users:activity", &["read:users:activity"], "Note when users were active."),
    ("users:shares", &["read:users:shares"], "See and leave what is shared with users."),
];

/// What `self` stands for, each with the filter of the user. (`spec/rbac.md` 4.1.)
const SELF: &[&str] = &[
    "read:users",
    "users:shares",
    "read:shares",
    "users:activity",
    "servers",
    "tokens",
    "access:servers",
];

/// The role `admin`. (`spec/rbac.md` 6.1.)
pub const ADMIN: &[&str] = &[
    "admin-ui",
    "admin:users",
    "admin:servers",
    "admin:services",
    "tokens",
    "admin:groups",
    "list:services",
    "read:services",
    "read:hub",
    "proxy",
    "shutdown",
    "access:services",
    "access:servers",
    "read:roles",
    "read:metrics",
    "shares",
];

/// Most scopes of an operator's own.
pub const MOST_CUSTOM: usize = 128 - TABLE.len();

/// A set of scope names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mask(u128);

impl Mask {
    /// No name.
    pub const NONE: Self = Self(0);

    /// These scopes of the table. Meant for constants: a name that is not there stops the compiler.
    ///
    /// # Panics
    ///
    /// A name is not in the table.
    pub const fn of(names: &[&str]) -> Self {
        let (mut all, mut nth) = (0, 0);
        while nth < names.len() {
            let Some(index) = index(names[nth]) else { panic!("no such scope") };
            all |= 1 << index;
            nth += 1;
        }
        Self(all)
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is here and not there.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Nothing?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Is anything in both?
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The places of its names in the vocabulary.
    fn places(self) -> impl Iterator<Item = usize> {
        (0..128).filter(move |at| self.0 & (1 << at) != 0)
    }

    /// Its names that are in the table, sorted.
    pub fn builtin_names(self) -> impl Iterator<Item = &'static str> {
        self.places().filter_map(|at| TABLE.get(at)).map(|row| row.0)
    }
}

/// Where this name stands in the table.
const fn index(name: &str) -> Option<usize> {
    let mut at = 0;
    while at < TABLE.len() {
        if same(TABLE[at].0.as_bytes(), name.as_bytes()) {
            return Some(at);
        }
        at += 1;
    }
    None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// What a scope of the table brings with it, itself included.
const fn closure(at: usize) -> u128 {
    let (mut all, mut nth) = (1 << at, 0);
    let direct = TABLE[at].1;
    while nth < direct.len() {
        let Some(index) = index(direct[nth]) else { panic!("a subscope that is no scope") };
        all |= closure(index);
        nth += 1;
    }
    all
}

const fn closures() -> [u128; TABLE.len()] {
    let (mut all, mut at) = ([0; TABLE.len()], 0);
    while at < TABLE.len() {
        all[at] = closure(at);
        at += 1;
    }
    all
}

const CLOSURES: [u128; TABLE.len()] = closures();

const fn closed(names: &[&str]) -> Mask {
    let (mut all, mut nth) = (0, 0);
    while nth < names.len() {
        let Some(index) = index(names[nth]) else { panic!("no such scope") };
        all |= CLOSURES[index];
        nth += 1;
    }
    Mask(all)
}

/// What `self` stands for, whole.
pub(super) const OWN: Mask = closed(SELF);

/// Names that a server is not asked about: it is not its user. (`spec/rbac.md` 3.)
pub(super) const OF_USERS: Mask = Mask::of(&[
    "read:users",
    "read:users:activity",
    "read:users:groups",
    "read:users:name",
    "read:users:shares",
]);

/// A scope of an operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// For people, on the page that asks for consent.
    pub description: String,
    /// What it brings with it: others of the operator's own.
    pub subscopes: Vec<String>,
}

/// Why the scopes of an operator's own are none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CustomRefused {
    /// Its name does not begin with `custom:` or has a character that cannot stand there.
    #[error(
        "{0}: a scope of one's own is named `custom:` and at least three of a-z, 0-9, - _ * and :, beginning with a letter \
         or digit and not ending with - or :"
    )]
    Name(String),
    /// It says nothing to people.
    #[error("{0}: a scope of one's own needs a description")]
    Description(String),
    /// It brings along what is none.
    #[error("{0}: its subscope {1} is not among the scopes of one's own")]
    Subscope(String, String),
    /// More than [`MOST_CUSTOM`].
    #[error("there can be {MOST_CUSTOM} scopes of one's own, not {0}")]
    Many(usize),
}

/// All scopes: the table's and the operator's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    custom: BTreeMap<Arc<str>, usize>,
    /// In the order of their places.
    own: Vec<(Arc<str>, String, Mask)>,
}

impl Vocabulary {
    /// With these scopes of the operator's own.
    pub fn new(custom: &BTreeMap<String, Custom>) -> Result<Self, CustomRefused> {
        if custom.len() > MOST_CUSTOM {
            return Err(CustomRefused::Many(custom.len()));
        }
        let places: BTreeMap<Arc<str>, usize> = custom
            .keys()
            .enumerate()
            .map(|(nth, name)| (name.as_str().into(), TABLE.len() + nth))
            .collect();
        let mut own = Vec::with_capacity(custom.len());
        for (name, what) in custom {
            if !is_custom(name) {
                return Err(CustomRefused::Name(name.clone()));
            }
            if what.description.trim().is_empty() {
                return Err(CustomRefused::Description(name.clone()));
            }
            let mut reached = Mask::NONE;
            let mut open = vec![name.as_str()];
            while let Some(next) = open.pop() {
                let place = places[next];
                if reached.meets(Mask(1 << place)) {
                    continue;
                }
                reached = reached.or(Mask(1 << place));
                for subscope in &custom[next].subscopes {
                    if !custom.contains_key(subscope) {
                        return Err(CustomRefused::Subscope(next.to_owned(), subscope.clone()));
                    }
                    open.push(subscope);
                }
            }
            own.push((name.as_str().into(), what.description.clone(), reached));
        }
        Ok(Self { custom: places, own })
    }

    /// What this name brings with it, itself included. Nothing: it is no scope.
    pub fn closure(&self, name: &str) -> Option<Mask> {
        match index(name) {
            Some(at) => Some(Mask(CLOSURES[at])),
            None => self.custom.get(name).map(|at| self.own[at - TABLE.len()].2),
        }
    }

    /// This name alone. Nothing: it is no scope.
    pub fn only(&self, name: &str) -> Option<Mask> {
        index(name).or_else(|| self.custom.get(name).copied()).map(|at| Mask(1 << at))
    }

    /// The names in this set, sorted.
    pub fn names(&self, mask: Mask) -> impl Iterator<Item = &str> {
        let own = move |at: usize| self.own.get(at - TABLE.len()).map(|it| &*it.0);
        let mut names: Vec<&str> = mask
            .places()
            .filter_map(|at| TABLE.get(at).map(|row| row.0).or_else(|| own(at)))
            .collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// What a scope is for, in words. Nothing: it is no scope.
    pub fn description(&self, name: &str) -> Option<&str> {
        match index(name) {
            Some(at) => Some(TABLE[at].2),
            None => self.custom.get(name).map(|at| self.own[at - TABLE.len()].1.as_str()),
        }
    }

    /// All names: the table's, then the operator's own.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        TABLE.iter().map(|row| row.0).chain(self.own.iter().map(|it| &*it.0))
    }
}

/// Is this the name of a scope of somebody's own? (`spec/rbac.md` 10.)
fn is_custom(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("custom:") else { return false };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| plain(b) || b"_-*:".contains(&b);
    rest.len() >= 3
        && rest.len() <= 200
        && rest.bytes().all(inner)
        && rest.bytes().next().is_some_and(plain)
        && rest.bytes().next_back().is_some_and(|b| plain(b) || b"_*".contains(&b))
}
