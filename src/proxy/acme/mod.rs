//! Certificates that jovis gets and renews by itself (ACME, RFC 8555).
//!
//! ```text
//! run ─ keeper ─┬─ store      what lasts: the account, the certificate, when the next try may be
//!               └─ renewal ─┬─ rules      when, and what is taken            (pure)
//!                           ├─ suggested  when the authority would
//!                           └─ order ─┬─ client ─ the authority
//!                                     ├─ issue        keys, requests, certificates of our own
//!                                     └─ challenges ◀─ redirect (HTTP-01), tls (TLS-ALPN-01)
//! ```
//!
//! One task of the proxy that serves (never of one that retires) gets what there is to get; all workers answer its
//! challenges and show its certificate. Whatever the authority does or does not: traffic goes on, with the certificate
//! there is, or with one of our own making that nobody vouches for.

mod challenges;
#[cfg(feature = "acme")]
mod client;
#[cfg(feature = "acme")]
mod issue;
#[cfg_attr(not(feature = "acme"), path = "absent.rs")]
mod keeper;
#[cfg(feature = "acme")]
mod order;
#[cfg(feature = "acme")]
mod renewal;
#[cfg(feature = "acme")]
mod rules;
#[cfg(feature = "acme")]
mod store;
#[cfg(feature = "acme")]
mod suggested;

pub(super) use challenges::{Challenges, PROTOCOL};
pub(super) use keeper::Keeper;
