//! From a name in the configuration to what it stands for. One line each.

use std::sync::Arc;

use jovis_actors::{logins::Way, ports::Authenticator};

use crate::{
    auth::{dummy::Dummy, pam::Pam},
    config::sections::{Auth, AuthClass},
    link::root::Root,
};

fn authenticator(class: &AuthClass, root: &Arc<Root>) -> Arc<dyn Authenticator> {
    match class {
        AuthClass::Pam(settings) => Arc::new(Pam::new(root.clone(), settings.clone())),
        AuthClass::Dummy(settings) => Arc::new(Dummy::new(settings.clone())),
    }
}

/// The ways to sign in that the configuration names.
pub fn ways(auth: &Auth, root: &Arc<Root>) -> Vec<Way> {
    let others = auth.others.iter().map(|other| Way {
        name: other.name.clone(),
        prefix: other.prefix.clone(),
        authenticator: authenticator(&other.class, root),
    });
    std::iter::once(Way::first(authenticator(&auth.class, root))).chain(others).collect()
}
