//! From a name in the configuration to what it stands for. One line each.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jovis_actors::ports::{
    Authenticator, Boxed, Credentials, Flow, Identity, LoginError, Password, Refresh,
};

use crate::{
    auth::{dummy::Dummy, pam::Pam},
    config::sections::{Auth, AuthClass},
    link::root::Root,
};

/// The authenticator the configuration names.
fn authenticator(auth: &Auth, root: &Arc<Root>) -> Arc<dyn Authenticator> {
    match &auth.class {
        AuthClass::Pam(settings) => Arc::new(Pam::new(root.clone(), settings.clone())),
        AuthClass::Dummy(settings) => Arc::new(Dummy::new(settings.clone())),
    }
}

/// The authenticator the configuration names now. Another one may take its place: checks under way end with the one
/// they began with.
pub struct Current {
    root: Arc<Root>,
    now: ArcSwap<Arc<dyn Authenticator>>,
}

impl Current {
    /// The first.
    pub fn new(auth: &Auth, root: &Arc<Root>) -> Self {
        Self { root: root.clone(), now: ArcSwap::from_pointee(authenticator(auth, root)) }
    }

    /// Another, or the same with other settings.
    pub fn replace(&self, auth: &Auth) {
        self.now.store(Arc::new(authenticator(auth, &self.root)));
    }
}

impl Authenticator for Current {
    fn flow(&self) -> Flow<'_> {
        Flow::Password(self)
    }

    fn refresh<'a>(&'a self, who: &'a Identity) -> Boxed<'a, Result<Refresh, LoginError>> {
        let now = self.now.load_full();
        Box::pin(async move { now.refresh(who).await })
    }
}

impl Password for Current {
    fn check<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> Boxed<'a, Result<Identity, LoginError>> {
        let now = self.now.load_full();
        Box::pin(async move {
            match now.flow() {
                Flow::Password(password) => password.check(credentials).await,
                _ => Err(LoginError::Failed("it asks for no password".to_owned())),
            }
        })
    }
}
