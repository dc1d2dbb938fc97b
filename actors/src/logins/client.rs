//! The door for attempts to sign in.

use std::{sync::Arc, time::Duration};

use super::{
    Actor,
    messages::{Attempt, SignInRefused},
};
use crate::{domain::User, ports::Credentials, supervise::Name};

/// What the web holds.
#[derive(Clone)]
pub struct Client {
    pub(crate) name: Name<Actor>,
    patience: Duration,
}

impl Client {
    /// The actor of this name, which is given `patience` to answer (longer than the authenticator's limit).
    pub fn new(name: Name<Actor>, patience: Duration) -> Self {
        Self { name, patience }
    }

    /// Signs a person in by name and password: the user as recorded. Takes as long as the authenticator does, within
    /// its limit.
    pub async fn password(&self, credentials: Credentials) -> Result<Arc<User>, SignInRefused> {
        self.name.ask(Attempt(credentials), self.patience).await?
    }
}
