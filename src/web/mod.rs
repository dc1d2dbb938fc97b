//! HTTP as JupyterHub speaks it: pages for browsers, the REST API, and the hub as OAuth provider for user servers.
//!
//! It speaks; others decide and do: everything goes through [`doors`], and nothing here knows how users, servers or
//! tokens are kept. Statuses occur here and nowhere else, and errors become statuses in [`error`] alone.
//!
//! A request's way: [`serve`] (listeners) → [`router`] (axum's, built from the rows in [`table`]) → [`call`] (what came,
//! as values) → [`guard`] and [`csrf`] (who is it, may they, is it ours) → a handler in `api/`, `oauth/` or `pages/` →
//! [`answer`] (headers on everything).
//!
//! To add an endpoint: a row in [`table`], the handler, its model; a row in the tests.

mod answer;
mod api;
mod app;
mod call;
mod choice;
mod csrf;
mod doors;
mod error;
mod form;
mod guard;
mod look;
mod model;
mod multipart;
mod next;
mod oauth;
mod pages;
mod room;
mod router;
mod serve;
mod session;
mod signed;
mod spent;
mod statics;
mod table;
mod templates;
mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod words;

pub use app::{App, PagesError, Parts, Pids};
pub use doors::Halt;
pub use serve::{Apis, Listeners, serve};
