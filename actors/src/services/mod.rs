//! Managed services: programs the hub starts and keeps running, known by name instead of by user.
//!
//! Nothing is here yet. A managed service lives by the machine of user servers ([`crate::spawner::machine`]) with
//! another spec: no person's start, `Always` as its restart policy, `/services/NAME/` as its prefix, the table of
//! `spec/singleuser.md` 2 with empty user and server names. What stands in its way is the record: a
//! [`crate::domain::ServerKey`] names a user, and the store has no record of services.
