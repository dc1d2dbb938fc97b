//! From the hub's slice of the configuration to what the actors need.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jovis_actors::{
    accounts,
    domain::{Naming, Scope, Username, role::SERVER},
    janitor,
    logins::{self, Rules},
    ports::{Keys, Vault},
    routes, spawner, spawners, store,
    tree::Settings,
};
use tracing::{error, info, warn};

use super::vault::Sealed;
use crate::config::{
    sections::{self, AuthClass},
    site,
    slice::HubSlice,
};

/// On top of the authenticator's own limit, which should speak first.
const GRACE: Duration = Duration::from_secs(5);

/// How long the proxies' tables wait for servers that are still being found again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Checks at once where the authenticator sets no limit of its own.
const CHECKS: usize = 16;

/// Answers of a provider that one sign-in may need, each within its own limit.
const ANSWERS: u32 = 4;

/// Sign-ins at providers at once: they wait, and cost little.
const PROVIDERS: usize = 128;

/// How the actors are to behave, from the first slice. Keep a clone: [`apply`] changes its live part later.
pub fn first(slice: &HubSlice) -> Settings {
    let settings = Settings {
        store: store::Settings::default(),
        facts: slice.facts().into(),
        spawner: Arc::default(),
        limits: Arc::default(),
        logins: Arc::default(),
        activity_resolution: Arc::default(),
        routes: routes::Settings::default(),
        janitor_period: janitor::PERIOD,
        recovery_patience: RECOVERY,
    };
    apply(slice, &settings);
    settings
}

/// Puts the live part into the actors' settings; each reads its own when it needs it.
pub fn apply(slice: &HubSlice, settings: &Settings) {
    settings.spawner.store(spawner(slice).into());
    let limits = spawners::Limits {
        starting: slice.hub.concurrent_spawn_limit,
        active: slice.hub.active_server_limit,
        waiting: slice.hub.spawn_queue_limit,
    };
    settings.limits.store(limits.into());
    let (limit, concurrency) = checks(&slice.auth);
    let logins = logins::Settings {
        rules: rules(&slice.auth),
        limit,
        concurrency,
        vault: vault(slice),
        accounts: slice.accounts(),
        refresh_age: slice.auth.auth_refresh_age.duration(),
        refresh_pre_spawn: slice.auth.refresh_pre_spawn.unwrap_or(slice.auth.enable_auth_state),
        refresh_grace: slice.auth.auth_refresh_grace.duration(),
    };
    settings.logins.store(logins.into());
    settings.routes.fixed.store(site::extra_routes(&slice.extra_routes).into());
    settings.activity_resolution.store(slice.hub.activity_resolution.duration().into());
}

/// What seals what is kept about people, if anything is.
fn vault(slice: &HubSlice) -> Option<Arc<dyn Vault>> {
    let vault = Sealed::new(&slice.crypt_keys).filter(|_| slice.auth.enable_auth_state);
    vault.map(|vault| Arc::new(vault) as Arc<dyn Vault>)
}

/// How long a check may take, and how many there are at once: as much as the most patient way needs.
fn checks(auth: &sections::Auth) -> (Duration, usize) {
    let each = auth.classes().map(|class| match class {
        AuthClass::Pam(pam) => (pam.timeout.duration(), pam.concurrency.into()),
        AuthClass::GitHub(github) => (github.timeout.duration() * ANSWERS, PROVIDERS),
        AuthClass::Oidc(oidc) => (oidc.timeout.duration() * ANSWERS, PROVIDERS),
        AuthClass::Dummy(_) => (Duration::ZERO, CHECKS),
    });
    let most =
        each.fold((Duration::ZERO, 1), |one, other| (one.0.max(other.0), one.1.max(other.1)));
    (most.0 + GRACE, most.1)
}

fn spawner(slice: &HubSlice) -> spawner::Settings {
    let from = &slice.spawner;
    let stages = [from.interrupt_timeout, from.term_timeout, from.kill_timeout];
    spawner::Settings {
        api_url: slice.api_url.clone(),
        start_timeout: from.start_timeout.duration(),
        http_timeout: from.http_timeout.duration(),
        stop_timeout: stages.iter().map(|stage| stage.duration()).sum::<Duration>() + GRACE,
        reconcile_interval: from.reconcile_interval.duration(),
        restart: match from.restart {
            sections::Restart::Never => spawner::Restart::Never,
            sections::Restart::OnFailure => spawner::Restart::OnFailure,
            sections::Restart::Always => spawner::Restart::Always,
        },
        notebook_dir: from.notebook_dir.clone(),
        default_url: from.default_url.clone(),
        debug: from.debug,
        disable_user_config: from.disable_user_config,
        environment: from.environment.clone(),
        from_auth_state: from.auth_state_environment.clone(),
        keys: Keys(vault(slice)),
        profiles: from.profiles.clone(),
        admin_access: slice.hub.admin_access,
        server_token_scopes: server_token_scopes(slice),
        oauth_client_allowed_scopes: scopes(&from.oauth_client_allowed_scopes),
        cookie_host_prefix: slice.cookies().host_prefix,
        cookie_options: slice.cookie_options(),
        ..spawner::Settings::default()
    }
}

fn scopes(texts: &[String]) -> Vec<Scope> {
    texts.iter().map(|text| Scope::new(text)).collect()
}

/// Those of the setting, else of the role `server`, else the default ones.
fn server_token_scopes(slice: &HubSlice) -> Vec<Scope> {
    let role = slice.roles.iter().find(|role| role.name == SERVER);
    let role = role.and_then(|role| role.scopes.as_deref());
    match (slice.spawner.server_token_scopes.as_slice(), role) {
        ([], None) => accounts::SERVER_SCOPES.map(Scope::new).into(),
        ([], Some(role)) => scopes(role),
        (own, _) => scopes(own),
    }
}

/// Root has checked the pattern. One of ours that it let pass lets nobody in under a new name.
fn naming(auth: &sections::Auth) -> Naming {
    auth.naming().unwrap_or_else(|error| {
        error!(setting = "auth.username_pattern", error, "names not checked");
        Naming::nobody()
    })
}

/// Whom the configuration keeps out: in small letters, as people sign in, and as it stands there, as a request can have made
/// them.
pub(super) fn blocked(auth: &sections::Auth) -> BTreeSet<Username> {
    let both = |name: &String| [Username::normalise(name), Username::new(name)];
    auth.blocked_users.iter().flat_map(both).flatten().collect()
}

fn rules(auth: &sections::Auth) -> Rules {
    let names = |list: &BTreeSet<String>, setting: &str| {
        let valid = |name: &String| match Username::normalise(name) {
            Ok(name) => Some(name),
            Err(error) => {
                warn!(setting, %error, "name ignored");
                None
            }
        };
        list.iter().filter_map(valid).collect()
    };
    let rules = Rules {
        open: auth.is_open(),
        allow_all: auth.allow_all,
        allowed_users: names(&auth.allowed_users, "auth.allowed_users"),
        allow_existing_users: auth.allow_existing_users,
        blocked_users: blocked(auth),
        admin_users: names(&auth.admin_users, "auth.admin_users"),
        manage_groups: auth.manage_groups,
        allowed_groups: auth.allowed_groups.clone(),
        admin_groups: auth.admin_groups.clone(),
        naming: naming(auth),
    };
    if rules.open && !rules.any() {
        info!("everybody may sign in");
    }
    rules
}
