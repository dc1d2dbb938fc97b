//! In the place of an authenticator that this build does not have, or whose settings cannot be used: nobody comes in by it.

use jovis_actors::ports::{
    Authenticator, Boxed, Departure, Flow, Identity, LoginError, Redirect, Refresh, Return,
};

/// Says why, to the log.
pub struct Absent {
    service: String,
    why: String,
}

impl Absent {
    /// A provider of this name cannot be asked, for this reason.
    pub fn new(service: &str, why: String) -> Self {
        Self { service: service.to_owned(), why }
    }

    fn failed<T>(&self) -> Result<T, LoginError> {
        Err(LoginError::Failed(self.why.clone()))
    }
}

impl Redirect for Absent {
    fn issuer(&self) -> &str {
        ""
    }

    fn service(&self) -> &str {
        &self.service
    }

    fn depart<'a>(&'a self, _: &'a Departure) -> Boxed<'a, Result<String, LoginError>> {
        Box::pin(std::future::ready(self.failed()))
    }

    fn arrive<'a>(&'a self, _: &'a Return) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(std::future::ready(self.failed()))
    }
}

impl Authenticator for Absent {
    fn flow(&self) -> Flow<'_> {
        Flow::Redirect(self)
    }

    fn refresh<'a>(&'a self, _: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(std::future::ready(self.failed()))
    }
}
