//! Any name, and one password for all or none. For trying things out.

use jovis_actors::ports::{
    Authenticator, Boxed, Credentials, Flow, Identity, LoginError, Password, Refresh,
};
use subtle::ConstantTimeEq;

use crate::config::sections;

/// Accepts every name.
#[derive(Debug)]
pub struct Dummy(sections::Dummy);

impl Dummy {
    /// With these settings. That it listens on loopback only is `config::check`'s business.
    pub fn new(settings: sections::Dummy) -> Self {
        Self(settings)
    }
}

impl Authenticator for Dummy {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }

    fn refresh<'a>(&'a self, _who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        Box::pin(async { Ok(Refresh::Same) })
    }
}

impl Password for Dummy {
    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Boxed<'a, Result<Identity, LoginError>> {
        Box::pin(async {
            let wanted = self.0.password.as_bytes();
            let given = credentials.password.reveal().as_bytes();
            if !wanted.is_empty() && !bool::from(wanted.ct_eq(given)) {
                return Err(LoginError::Refused("wrong password".to_owned()));
            }
            Ok(Identity::named(credentials.username.clone()))
        })
    }
}
