//! Somebody the authenticator vouches for: may they enter, and as whom? The same for every way to sign in.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use tracing::{error, info, warn};

use super::{
    actor::{Kit, Settings, address, shown},
    allow::Denied,
    messages::SignInRefused,
    ways::Way,
};
use crate::{
    accounts::{self, Arrived, MOST_GROUPS, Outside, arrivals},
    domain::{GroupName, User, Username},
    ports::{Flow, Identity},
    store::{ChangeError, Image},
};

/// The user, as recorded.
pub(super) async fn enter(
    kit: &Kit,
    identity: Identity,
    way: &Way,
    from: Option<IpAddr>,
) -> Result<Arc<User>, SignInRefused> {
    let from = address(from);
    let settings = kit.settings.load_full();
    let name = match name(&settings, &identity, way) {
        Ok(name) => name,
        Err(error) => {
            warn!(user = shown(&identity.name), %from, error, "name invalid");
            return Err(SignInRefused::Refused);
        }
    };
    // Whoever comes back from a provider has proved who they are: they may know that it is the rules.
    let refused = |name: &Username| match way.authenticator.flow() {
        Flow::Password(_) => SignInRefused::Refused,
        Flow::Redirect(_) => SignInRefused::NotAllowed { name: name.clone() },
    };
    let image = kit.store.image();
    let known = match arrivals::known(&image, &name, identity.subject.as_ref()) {
        Ok(known) => known.cloned(),
        Err(error) => {
            warn!(user = shown(name.as_str()), %from, %error, "name taken");
            return Err(refused(&name));
        }
    };
    let name = known.as_ref().map_or(name, |known| known.name.clone());
    let admin = match settings.rules.decide(&name, known.as_deref(), &identity) {
        Ok(admin) => admin,
        Err(Denied::Blocked) => {
            warn!(user = shown(name.as_str()), %from, "user blocked");
            return Err(refused(&name));
        }
        Err(Denied::NotAllowed) => {
            warn!(user = shown(name.as_str()), %from, "user not allowed");
            return Err(refused(&name));
        }
    };
    let arrived = match arrived(kit, &settings, identity, name.clone(), way) {
        Ok(arrived) => Arrived { admin, ..arrived },
        Err(error) => {
            error!(user = shown(name.as_str()), %from, error, "authenticator failed");
            return Err(SignInRefused::Refused);
        }
    };
    account(kit, &name, known.is_some(), &from).await?;
    let user = record(kit, &image, arrived, known, &from).await?;
    kit.standings.begin(user.id, kit.clock.moment());
    Ok(user)
}

/// Somebody who may enter has an account of the machine, where that is needed. Who is known enters without, too: an
/// administrator may have none, and for whom it has gone the hub's pages are there; their servers do not start.
async fn account(kit: &Kit, name: &Username, known: bool, from: &str) -> Result<(), SignInRefused> {
    if !kit.settings.load().accounts.asks(known) {
        return Ok(());
    }
    let Err(error) = kit.accounts.ensure(name).await else { return Ok(()) };
    let user = shown(name.as_str());
    if known {
        warn!(user, from, %error, "user enters without account");
        return Ok(());
    }
    warn!(user, from, %error, "user has no account");
    Err(SignInRefused::Account(error))
}

/// Under which name a new user would be known.
fn name(settings: &Settings, identity: &Identity, way: &Way) -> Result<Username, String> {
    // Nobody who is vouched for has an empty name; a prefix alone must not become one.
    let name = if identity.name.trim().is_empty() {
        identity.name.clone()
    } else {
        format!("{}{}", way.prefix, identity.name)
    };
    settings.rules.naming.typed(&name).map_err(|error| error.to_string())
}

/// What is to be recorded of somebody who may enter.
pub(super) fn arrived(
    kit: &Kit,
    settings: &Settings,
    identity: Identity,
    name: Username,
    way: &Way,
) -> Result<Arrived, String> {
    let groups = identity.groups.filter(|_| settings.rules.manage_groups);
    let groups = groups.map(|groups| group_names(&groups)).transpose()?;
    let kept = match (&settings.vault, &identity.auth_state) {
        (Some(vault), Some(state)) => Some(vault.seal(state).ok_or("it cannot be sealed")?),
        _ => None,
    };
    let outside = (identity.subject.is_some() || kept.is_some()).then(|| Outside {
        subject: identity.subject,
        way: way.name.clone(),
        kept,
    });
    Ok(Arrived {
        name,
        cookie_id: kit.entropy.hex(16),
        admin: None,
        info: identity.user_info,
        outside,
        groups,
    })
}

/// As names of groups; those that can be none are left out.
fn group_names(groups: &[String]) -> Result<BTreeSet<GroupName>, String> {
    if groups.len() > MOST_GROUPS {
        return Err(format!("{} groups, more than {MOST_GROUPS}", groups.len()));
    }
    Ok(groups.iter().filter_map(|group| GroupName::new(group).ok()).collect())
}

async fn record(
    kit: &Kit,
    image: &Image,
    arrived: Arrived,
    known: Option<Arc<User>>,
    from: &str,
) -> Result<Arc<User>, SignInRefused> {
    let now = kit.clock.moment();
    if let Ok((writes, user)) = accounts::sign_in(image, &arrived, now)
        && writes.is_empty()
    {
        // Nothing to record, so nothing to wait for: a full disk keeps nobody out whom the hub knows.
        info!(user = %user.name, %from, admin = user.admin, "user signed in");
        return Ok(user);
    }
    let bounden = known.filter(|user| !arrived.changes_rights(image, user));
    let name = arrived.name.clone();
    let write = kit.store.change(move |image| accounts::sign_in(image, &arrived, now));
    match (write.await, bounden) {
        (Ok(user), _) => {
            info!(user = %user.name, %from, admin = user.admin, "user signed in");
            Ok(user)
        }
        // What is told about a person can wait for the next time; who they are and what they may do cannot.
        (Err(ChangeError::Store(error)), Some(user)) => {
            warn!(user = %user.name, %from, %error, "user info not recorded");
            info!(user = %user.name, %from, admin = user.admin, "user signed in");
            Ok(user)
        }
        (Err(error), _) => {
            error!(user = shown(name.as_str()), %from, %error, "sign-in not recorded");
            Err(SignInRefused::NotRecorded(error.to_string()))
        }
    }
}
