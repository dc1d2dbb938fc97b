//! What the reference answers and jovis does not yet: patterns of exchanges, and the issue that will take them away.
//! A row all of whose exchanges agree fails the test.

/// Pattern, issue.
pub(crate) const NOT_BUILT: &[(&str, u32)] = &[
    ("login: *", 4),
    ("hub: *", 4),
    ("users: *", 4),
    ("pagination: *", 4),
    ("names: *", 4),
    ("activity: *", 4),
    ("tokens: *", 4),
    ("rbac: *", 4),
    ("servers: *", 4),
    ("progress: *", 4),
    ("groups: *", 4),
    ("services: *", 4),
    ("shares: *", 4),
    ("oauth: *", 4),
    ("pages: *", 4),
    ("bad input: *", 4),
    ("conventions: * /groups*", 4),
    ("conventions: * /services*", 4),
    ("conventions: * /shares*", 4),
    ("conventions: * /share-codes*", 4),
    ("conventions: * /proxy as *", 4),
    ("conventions: * /shutdown as *", 4),
    ("conventions: * /users as *", 4),
    ("conventions: * /users/ann/shared as *", 4),
    ("cookies: GET /users as *", 4),
    ("cookies: PATCH /users/cleo as page:cleo", 4),
];
