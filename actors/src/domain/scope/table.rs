//! Which scopes there are, and what each brings with it. (`spec/rbac.md` 2.)

/// Every scope that grants something, with its direct subscopes; sorted. The metascopes `self` and `inherit` stand for
/// others, and `(no_scope)` for none: they are not here.
pub(super) const TABLE: &[(&str, &[&str])] = &[
    ("access:servers", &[]),
    ("access:services", &[]),
    ("admin-ui", &[]),
    ("admin:auth_state", &[]),
    ("admin:groups", &["groups", "read:roles:groups", "delete:groups"]),
    ("admin:server_state", &[]),
    ("admin:servers", &["admin:server_state", "servers"]),
    ("admin:services", &["list:services", "read:services", "read:roles:services"]),
    ("admin:users", &["admin:auth_state", "users", "read:roles:users", "delete:users"]),
    ("delete:groups", &[]),
    ("delete:servers", &[]),
    ("delete:users", &[]),
    ("groups", &["read:groups", "list:groups"]),
    ("groups:shares", &["read:groups:shares"]),
    ("list:groups", &["read:groups:name"]),
    ("list:services", &["read:services:name"]),
    ("list:users", &["read:users:name"]),
    ("proxy", &[]),
    ("read:groups", &["read:groups:name"]),
    ("read:groups:name", &[]),
    ("read:groups:shares", &[]),
    ("read:hub", &[]),
    ("read:metrics", &[]),
    ("read:roles", &["read:roles:users", "read:roles:services", "read:roles:groups"]),
    ("read:roles:groups", &[]),
    ("read:roles:services", &[]),
    ("read:roles:users", &[]),
    ("read:servers", &["read:users:name"]),
    ("read:services", &["read:services:name"]),
    ("read:services:name", &[]),
    ("read:shares", &[]),
    ("read:tokens", &[]),
    ("read:users", &["read:users:name", "read:users:groups", "read:users:activity"]),
    ("read:users:activity", &[]),
    ("read:users:groups", &[]),
    ("read:users:name", &[]),
    ("read:users:shares", &[]),
    ("servers", &["read:servers", "start:servers", "delete:servers"]),
    ("shares", &["access:servers", "read:shares", "users:shares", "groups:shares"]),
    ("shutdown", &[]),
    ("start:servers", &[]),
    ("tokens", &["read:tokens"]),
    ("users", &["read:users", "list:users", "users:activity"]),
    ("users:activity", &["read:users:activity"]),
    ("users:shares", &["read:users:shares"]),
];

/// What `self` stands for, each with the filter of the user. (`spec/rbac.md` 4.1.)
pub(super) const SELF: &[&str] = &[
    "read:users",
    "users:shares",
    "read:shares",
    "users:activity",
    "servers",
    "tokens",
    "access:servers",
];

/// The role `admin`. (`spec/rbac.md` 6.1.)
pub(super) const ADMIN: &[&str] = &[
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

/// This scope as the table has it, with its direct subscopes.
pub(super) fn find(base: &str) -> Option<(&'static str, &'static [&'static str])> {
    TABLE.binary_search_by(|(name, _)| (*name).cmp(base)).ok().map(|at| TABLE[at])
}

/// These scopes and all they bring with them, sorted. What is no scope is left out.
pub(super) fn closure(bases: &[&str]) -> Vec<&'static str> {
    let mut out: Vec<&'static str> = Vec::new();
    let mut open: Vec<&str> = bases.to_vec();
    while let Some(base) = open.pop() {
        if let Some((name, subscopes)) = find(base)
            && !out.contains(&name)
        {
            out.push(name);
            open.extend(subscopes);
        }
    }
    out.sort_unstable();
    out
}
