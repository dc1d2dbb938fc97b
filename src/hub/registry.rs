//! From a name in the configuration to what it stands for. One line each.

use std::sync::Arc;

use jovis_actors::ports::Authenticator;

use crate::{
    auth::{dummy::Dummy, pam::Pam},
    config::sections::{Auth, AuthClass},
    link::root::Root,
};

/// The authenticator the configuration names.
pub fn authenticator(auth: &Auth, root: &Arc<Root>) -> Arc<dyn Authenticator> {
    match &auth.class {
        AuthClass::Pam(settings) => Arc::new(Pam::new(root.clone(), settings.clone())),
        AuthClass::Dummy(settings) => Arc::new(Dummy::new(settings.clone())),
    }
}
