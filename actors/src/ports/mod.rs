//! What the deciders need from the world. Each is implemented in `src/` for real and in `testing` from memory, and one
//! contract suite holds all implementations to what is written here.

use std::{future::Future, pin::Pin};

pub mod accounts;
pub mod authenticator;
pub mod clock;
pub mod entropy;
pub mod meter;
pub mod routes;
pub mod spawner;
pub mod store;
pub mod vault;

pub use accounts::{AccountError, Accounts, Need};
pub use authenticator::{
    Authenticator, Credentials, Departure, Flow, Identity, LoginError, Password, Redirect, Refresh,
    Return,
};
pub use clock::Clock;
pub use entropy::Entropy;
pub use meter::Meter;
pub use routes::{Activity, RouteSink, SinkError};
pub use spawner::{
    EnvVars, Exit, Handle, Order, Probe, ProbeError, Progress, Recovered, SpawnError, Spawner,
    Started, Stop,
};
pub use store::{Journal, Loaded, StoreError};
pub use vault::{Keys, Vault};

/// A future in a box: how traits that must be used as `dyn` are async.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
