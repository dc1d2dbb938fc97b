//! The door for attempts to sign in.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    Actor, Settings,
    messages::{Attempt, SignInRefused},
};
use crate::{domain::User, ports::Credentials, supervise::Name};

/// On top of what an attempt may take.
const MARGIN: Duration = Duration::from_secs(5);

/// What the web holds.
#[derive(Clone)]
pub struct Client {
    pub(crate) name: Name<Actor>,
    settings: Arc<ArcSwap<Settings>>,
}

impl Client {
    /// The actor of this name and how it goes by: that tells how long to wait for it.
    pub fn new(name: Name<Actor>, settings: Arc<ArcSwap<Settings>>) -> Self {
        Self { name, settings }
    }

    /// Signs a person in by name and password: the user as recorded. Takes as long as the authenticator does, within
    /// its limit.
    pub async fn password(&self, credentials: Credentials) -> Result<Arc<User>, SignInRefused> {
        // A place, then the check itself.
        let patience = self.settings.load().limit * 2 + MARGIN;
        self.name.ask(Attempt(credentials), patience).await?
    }
}
