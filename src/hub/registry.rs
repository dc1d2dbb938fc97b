//! From a name in the configuration to what it stands for. One line each.

use std::{io, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use jovis_actors::{
    logins::Way,
    ports::{Authenticator, Entropy, Spawner},
};
use tracing::error;

#[cfg(feature = "oidc")]
use crate::auth::oauth;
#[cfg(feature = "docker")]
use crate::spawn::{docker, either::Either};
use crate::{
    auth::{absent::Absent, dummy::Dummy, pam::Pam},
    config::sections::{self, Auth, AuthClass},
    link::root::Root,
    spawn::{
        listeners::Expected,
        local::{Local, Maker},
        output::Outputs,
    },
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

/// What spawners are made of.
pub struct Kit {
    /// For processes.
    pub root: Arc<Root>,
    /// They may change.
    pub settings: Arc<ArcSwap<sections::Spawner>>,
    /// Everything's prefix.
    pub base_url: String,
    /// Where servers' output goes.
    pub outputs: Outputs,
    /// Whose each address must be.
    pub expected: Arc<Expected>,
    /// For ports and pauses.
    pub entropy: Arc<dyn Entropy>,
    /// Makes the accounts that local servers need.
    pub maker: Maker,
}

/// The spawner, whichever class the settings name now and later. `state`: the state directory.
///
/// # Errors
///
/// The hub's id for containers can be neither read nor written there.
pub fn spawner(kit: Kit, state: &Path) -> io::Result<Arc<dyn Spawner>> {
    let Kit { root, settings, base_url, outputs, expected, entropy, maker } = kit;
    let local = Local::new(
        root,
        settings.clone(),
        base_url,
        outputs.clone(),
        expected.clone(),
        entropy.clone(),
    )
    .with(maker);
    #[cfg(feature = "docker")]
    let spawner = {
        let hub = docker::hub_id(state, &*entropy)?;
        let docker = docker::Docker::begin(settings.clone(), hub, outputs, expected, entropy);
        Either::new(settings, Arc::new(local), docker)
    };
    #[cfg(not(feature = "docker"))]
    let spawner = {
        _ = state;
        local
    };
    Ok(Arc::new(spawner))
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
