//! From a name in the configuration to what it stands for. One line each.

use std::sync::Arc;

use jovis_actors::{logins::Way, ports::Authenticator};
use tracing::error;

#[cfg(feature = "oidc")]
use crate::auth::oauth;
use crate::{
    auth::{absent::Absent, dummy::Dummy, pam::Pam},
    config::sections::{Auth, AuthClass},
    link::root::Root,
};

fn authenticator(class: &AuthClass, auth: &Auth, root: &Arc<Root>) -> Arc<dyn Authenticator> {
    match class {
        #[cfg(feature = "oidc")]
        AuthClass::GitHub(settings) => provider(&settings.login_service, || {
            oauth::github::GitHub::new(settings.clone(), auth.manage_groups)
        }),
        #[cfg(feature = "oidc")]
        AuthClass::Oidc(settings) => {
            provider(&settings.login_service, || oauth::oidc::Oidc::new(settings.clone()))
        }
        #[cfg(not(feature = "oidc"))]
        AuthClass::GitHub(_) | AuthClass::Oidc(_) => {
            provider("", || Err::<Absent, _>("this build has no providers".to_owned()))
        }
        AuthClass::Pam(settings) => Arc::new(Pam::new(root.clone(), settings.clone())),
        AuthClass::Dummy(settings) => Arc::new(Dummy::new(settings.clone())),
    }
}

/// A provider; where it cannot be used the page and the log say so, and the other ways stay open.
fn provider<T: Authenticator + 'static>(
    service: &str,
    make: impl FnOnce() -> Result<T, String>,
) -> Arc<dyn Authenticator> {
    match make() {
        Ok(made) => Arc::new(made),
        Err(why) => {
            error!(way = service, error = why, "authenticator unusable");
            Arc::new(Absent::new(service, why))
        }
    }
}

/// The ways to sign in that the configuration names.
pub fn ways(auth: &Auth, root: &Arc<Root>) -> Vec<Way> {
    let others = auth.others.iter().map(|other| Way {
        name: other.name.clone(),
        prefix: other.prefix.clone(),
        authenticator: authenticator(&other.class, auth, root),
    });
    std::iter::once(Way::first(authenticator(&auth.class, auth, root))).chain(others).collect()
}
