//! Where jovis does not answer as the reference does and nobody has said yet that this is wanted: patterns of exchanges,
//! and the issue that will take them away, by code or by a row in `wanted.rs`. A row all of whose exchanges agree fails the
//! test.

/// Pattern, issue.
pub(crate) const NOT_BUILT: &[(&str, u32)] = &[
    ("users: *", 4),
    ("pagination: *", 4),
    ("names: *", 4),
    ("activity: *", 4),
    ("rbac: *", 4),
    ("groups: *", 4),
    ("services: *", 4),
    ("shares: *", 4),
    ("oauth: *", 4),
    ("bad input: *", 4),
    ("servers: GET /users?state=inactive*", 4),
    ("pages: GET /hub/admin as *", 5),
];
