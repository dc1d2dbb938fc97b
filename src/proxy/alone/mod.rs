//! `jovis proxy`: a proxy without a hub of ours, whose routes somebody manages over REST, as configurable-http-proxy's
//! (`spec/proxy.md`). One process, started by anybody.
//!
//! ```text
//! flags ─ run ─┬─ workers (as in the built-in proxy) ─ front ─ rules ─ forward, upgrade
//!              │                                         └─ errors (who has pages)
//!              └─ doors: api (routes), metrics, redirect
//! ```
//!
//! Pure: `rules`, `stamps`, `spec`. Parsing, framing, limits and pools are the built-in proxy's: what is refused there is
//! refused here.

mod api;
mod counts;
mod doors;
mod errors;
mod files;
mod flags;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod public;
mod redirect;
mod rules;
mod run;
mod short;
mod spec;
mod stamps;
mod tls;

use self::{counts::Counts, errors::Errors, rules::Rules};

pub(super) use api::Api;
pub(super) use doors::serve_rest;
pub(super) use front::serve;
pub use run::main;

/// What makes a proxy stand alone.
#[derive(Debug)]
pub(super) struct Alone {
    rules: Rules,
    errors: Errors,
    counts: Counts,
}
