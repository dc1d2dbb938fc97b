//! Role proxy: carries every byte between visitors, user servers and the hub; outlives the hub.
//!
//! ```text
//! listen ─ serve ─┬─ lane: inbox(scan) ─┬─ exchange ─ backend                     a plain request: no hyper
//!            tls  │                     └─ single ─┬─ hyper ─ front ─┬─ forward ─ pool ─ watched(replies) ─ backend
//!                 └─ counted(frames) ──────────────┘   http2, pages  └─ upgrade ─ relay ─ backend
//! run (root's link) ─ control (hub's link: routes in, activity and figures out) ─ drain
//! ```
//!
//! All ask `path` and `table` where a request goes and `headers` what its fields become; `guard` notes for the watchdog how a
//! connection does; `figures` counts, `served` writes the access log. `stopped` answers programs that ask for servers that do not run. `acme` gets and renews certificates. `peers` sees that no one address takes all connections, or all places at the hub.
//!
//! `rest` lets operators have routes of their own beside the hub's (`operators`).
//!
//! `alone` is the same without root and hub: `jovis proxy`, which takes the place of configurable-http-proxy.
//!
//! Read `run` for its life, `front` for a request's. Pure: `scan`, `lane::request`, `lane::answer`, `replies`, `chunks`, `fields`, `frames`, `proxied`, `http2`, `path`, `table`, `target`, `trailers`. A worker (`workers`) is a thread with
//! a runtime of its own; workers share `shared` and nothing else: connections never cross threads.

mod acme;
mod activity;
mod alone;
mod body;
mod chunks;
mod control;
mod counted;
mod dial;
mod drain;
mod fields;
mod figures;
mod forward;
mod frames;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod headers;
mod http2;
mod lane;
mod life;
mod listen;
mod operators;
mod pages;
mod path;
mod peers;
mod pool;
mod proxied;
mod redirect;
mod relay;
mod replies;
mod rest;
mod run;
mod scan;
mod serve;
mod served;
mod settings;
mod shared;
mod stopped;
mod stream;
mod table;
mod target;
mod tls;
mod trailers;
mod upgrade;
mod watched;
mod workers;

#[cfg(test)]
mod tests;

pub use alone::main as alone;
pub use run::main;
