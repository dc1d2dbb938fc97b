//! The door for attempts to sign in.

use std::sync::Arc;

use super::messages::SignInRefused;
use crate::{domain::User, ports::Credentials};

/// What the web holds.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// Signs a person in by name and password: the user as recorded. Takes as long as the authenticator does, within
    /// its limit.
    pub async fn password(&self, _credentials: Credentials) -> Result<Arc<User>, SignInRefused> {
        unimplemented!()
    }
}
