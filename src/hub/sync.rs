//! From the hub's slice to roles and to the records it names: at each start before the hub serves, and at each reload.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use jovis_actors::{
    accounts::{
        WantedClient,
        sync::{Synced, Wanted, WantedGroup, WantedService, sync},
    },
    domain::{
        ClientId, GroupName, Policy, Scope, Service, ServiceName, TokenHash, Username,
        role::{ADMIN, RoleEntry, RolesRefused},
    },
    ports::{Clock, Entropy},
    store,
};
use tracing::{error, info, warn};

use super::settings::blocked;
use crate::{
    config::{sections, slice::HubSlice},
    telemetry::logs::chain,
};

/// What it takes to bring records in step.
pub(super) struct Keeper {
    pub(super) store: store::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// What the web asks.
    pub(super) policy: Arc<ArcSwap<Policy>>,
}

impl Keeper {
    /// Puts roles into effect, and makes the records what the configuration wants. What could not be, in words.
    pub(super) async fn apply(&self, slice: &HubSlice) -> Result<(), String> {
        // Root has checked them; a fault here is one of ours.
        let policy = policy(slice).map(Arc::new).map_err(|error| {
            error!(%error, "roles not taken on");
            format!("roles: {error}")
        })?;
        // Who may do what does not wait for a disk.
        self.policy.store(policy.clone());
        let (wanted, entropy) = (wanted(slice, &*self.entropy), self.entropy.clone());
        let now = self.clock.moment();
        let decide =
            move |image: &store::Image| sync(image, &policy, &wanted, || entropy.hex(16), now);
        // Mostly there is nothing to do: then a store that takes no changes holds nobody up.
        let Ok((writes, done)) = decide(&self.store.image());
        if writes.is_empty() {
            tell(&done);
            return Ok(());
        }
        match self.store.change(decide).await {
            Ok(done) => {
                tell(&done);
                Ok(())
            }
            Err(error) => {
                let error = chain(&error).to_string();
                error!(error, "configured records not kept");
                Err(format!("services: {error}"))
            }
        }
    }
}

fn tell(done: &Synced) {
    for service in &done.taken {
        warn!(%service, "service taken by the configuration");
    }
    for service in &done.refused {
        error!(%service, "service token in use");
    }
    for service in &done.dropped {
        info!(%service, "service dropped");
    }
    if *done != Synced::default() {
        let (users, groups, services) = (done.users, done.groups, done.services);
        info!(users, groups, services, flags = done.flags, "configured records made");
    }
}

/// Roles and scopes as the slice has them.
fn policy(slice: &HubSlice) -> Result<Policy, RolesRefused> {
    let blocked = blocked(&slice.auth);
    let is_blocked =
        |name: &String| Username::normalise(name).is_ok_and(|it| blocked.contains(&it));
    let mut entries: Vec<RoleEntry> = slice.roles.iter().map(RoleEntry::from).collect();
    for entry in &mut entries {
        entry.users.retain(|name| !is_blocked(name));
    }
    let extra: Vec<_> = slice.hub.extra_user_scopes.iter().cloned().collect();
    let custom = slice.hub.custom_scopes.iter().map(|(name, scope)| (name.clone(), scope.into()));
    let policy = Policy::new(&entries, &extra, &custom.collect::<BTreeMap<_, _>>())?;
    Ok(policy.without(blocked))
}

fn names<'a>(texts: impl Iterator<Item = &'a String>) -> BTreeSet<Username> {
    texts.filter_map(|name| Username::normalise(name).ok()).collect()
}

fn wanted(slice: &HubSlice, entropy: &dyn Entropy) -> Wanted {
    let group = |(name, group): (&String, &sections::LoadGroup)| {
        let users = group.users.iter().filter_map(|name| Username::normalise(name).ok());
        let name = GroupName::new(name).ok()?;
        Some(WantedGroup { name, users: users.collect(), properties: group.properties.clone() })
    };
    Wanted {
        services: slice.services.iter().filter_map(|one| service(slice, one, entropy)).collect(),
        groups: slice.load_groups.iter().filter_map(group).collect(),
        admins: names(slice.auth.admin_users.iter()),
        only_admins: slice.roles.iter().any(|role| role.name == ADMIN && role.users.is_some()),
        blocked: blocked(&slice.auth),
    }
}

fn service(
    slice: &HubSlice,
    one: &sections::Service,
    entropy: &dyn Entropy,
) -> Option<WantedService> {
    let name = ServiceName::new(&one.name).ok()?;
    let token = (!one.api_token.is_empty()).then(|| entropy.digest(&one.api_token));
    let scopes: Vec<_> = one.oauth_client_allowed_scopes.iter().map(|it| Scope::new(it)).collect();
    let is_client = !one.url.is_empty() || !one.oauth_redirect_uri.is_empty();
    let client = is_client.then(|| {
        let mut fresh = [0; 32];
        entropy.fill(&mut fresh);
        WantedClient {
            id: match one.oauth_client_id.as_str() {
                "" => ClientId::of_service(&name),
                id => ClientId::claimed(id),
            },
            redirect_uri: match one.oauth_redirect_uri.as_str() {
                "" => format!("{}oauth_callback", slice.facts().service_url(&name)),
                uri => uri.to_owned(),
            },
            allowed_scopes: scopes.clone(),
            fresh: TokenHash(fresh),
        }
    });
    let service = Service {
        name,
        admin: one.admin,
        url: (!one.url.is_empty()).then(|| one.url.clone()),
        display: one.display,
        info: one.info.clone(),
        oauth_no_confirm: one.oauth_no_confirm,
        oauth_client_allowed_scopes: scopes,
        command: one.command.clone(),
        configured: true,
    };
    Some(WantedService { service, token, client })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, load};
    use crate::hub::world::SystemEntropy;
    use jovis_actors::domain::Secret;

    fn slice(text: &str) -> HubSlice {
        let (config, _): (Config, _) = load::parse(text).unwrap();
        HubSlice::new(&config, Secret::new(vec![1]), String::new(), false)
    }

    #[test]
    fn the_slice_says_what_is_wanted() {
        let slice = slice(
            r#"(
                hub: (base_url: "/x/", extra_user_scopes: ["list:groups"], custom_scopes: {"custom:abc": (description: "d")}),
                auth: (admin_users: ["Root2"], blocked_users: ["Bad"]),
                roles: [(name: "tool", scopes: ["custom:abc"], users: ["bad", "Ann"]), (name: "admin", users: ["a"])],
                services: [
                    (name: "a b", url: "http://127.0.0.1:1", api_token: "0123456789"),
                    (name: "plain"),
                    (name: "other", oauth_client_id: "service-o", oauth_redirect_uri: "https://o.example/back"),
                ],
                load_groups: {"g": (users: ["Bob"], properties: {"a": 1})},
            )"#,
        );
        let policy = policy(&slice).unwrap();
        let everybody = policy.role("user").unwrap();
        assert_eq!(everybody.scopes, [Scope::new("self"), Scope::new("list:groups")]);
        let named: Vec<_> = policy.named_users().map(ToString::to_string).collect();
        assert_eq!(named, ["ann", "a"], "the blocked have no role");
        for name in ["bad", "Bad"] {
            let name = Username::new(name).unwrap();
            assert!(
                policy.is_blocked(&name),
                "{name}, as people sign in and as a request makes one"
            );
        }
        let entropy = SystemEntropy::default();
        let wanted = wanted(&slice, &entropy);
        assert!(wanted.only_admins && wanted.admins.iter().any(|it| it.as_str() == "root2"));
        assert_eq!(wanted.groups[0].users[0].as_str(), "bob");
        assert_eq!(wanted.groups[0].properties.as_ref().unwrap()["a"], 1);
        let [first, plain, other] = &wanted.services[..] else { panic!() };
        let client = first.client.as_ref().unwrap();
        assert_eq!(client.redirect_uri, "/x/services/a%20b/oauth_callback");
        assert_eq!(first.token, Some(entropy.digest("0123456789")));
        assert!(plain.client.is_none() && plain.token.is_none());
        let client = other.client.as_ref().unwrap();
        assert_eq!(
            (client.id.as_str(), &*client.redirect_uri),
            ("service-o", "https://o.example/back")
        );
    }
}
