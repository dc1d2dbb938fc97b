//! What the hub decides.
//!
//! This package has no socket, file, process, wall clock or random number of its own: it asks a port
//! (a trait) or is told. Cargo keeps it so: nothing that does I/O is among its dependencies.
//!
//! Reading order: [`tree`] (who supervises whom, one page), [`spawner::machine`] (one server's life, drawn),
//! [`domain`] (the values), [`ports`] (what the deciders need from the world), [`supervise`] (how an actor is
//! kept alive), then whichever actor you came for.
//!
//! What happens when somebody presses "start": the web asks [`spawners::Client`]; the registry looks at its limits
//! ([`spawners::admit`]) and asks the user's own actor; that steps its machine, has the intention recorded
//! ([`accounts::servers`], decided on the [`store`]'s thread), and only then has the spawner act. What comes of it
//! (born, answering, routed, ended) returns as an event, and [`spawner::progress`] tells the person who waits.
//!
//! Four habits hold everywhere:
//!
//! - A rule is a pure function in a file of its own (`machine`, `restart`, `admit`, `allow`, `throttle`, `diff`,
//!   `pending`, `window`, all of `accounts`); the actor beside it only carries out.
//! - Who asks an actor holds a `Client` of async functions with a deadline and hears
//!   [`Unavailable`](supervise::Unavailable) when it died; who only reads takes the store's image and waits for nobody.
//! - An actor's state is a cache: its first start and the one after a panic are the same code.
//! - The log names people: `user` is the user's name, `server` the server's (empty for the default one), `order` the
//!   act's id.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | values and pure rules: names, users, servers, tokens, scopes |
//! | [`ports`] | traits the outside implements: journal, authenticator, spawner, route sink, clock, entropy |
//! | [`supervise`] | child specs, restarts with backoff, names that survive restarts |
//! | [`store`] | the one writer: decides on an image, journals, publishes |
//! | [`accounts`] | rules for changing users, tokens, OAuth clients and servers' records, as decisions for the store |
//! | [`logins`] | attempts to sign in: throttle, authenticate, allow, make the user |
//! | [`spawner`] | one actor per user: a state machine per server of that user |
//! | [`spawners`] | all of them: limits, registry, recovery |
//! | [`routes`] | wanted routes, reconciled with every proxy |
//! | [`activity`] | last activity in, grouped, written seldom |
//! | [`services`] | managed services: what is to be done so that they run, and what they are told |
//! | [`janitor`] | removes what has expired |
//! | [`drain`] | stops servers for maintenance |
//! | [`usage`] | what each server takes of the machine |
//! | [`tree`] | the supervision tree |
//! | `testing` | memory ports for tests (feature `testing`) |

pub mod accounts;
pub mod activity;
pub mod domain;
pub mod drain;
pub mod janitor;
pub mod logins;
pub mod ports;
pub mod routes;
pub mod services;
#[cfg(test)]
mod sim;
pub mod spawner;
pub mod spawners;
pub mod store;
pub mod supervise;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;
pub mod usage;
