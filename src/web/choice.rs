//! With what a server is started: what its owner may choose from, and what somebody chose, checked. The rules are
//! [`options`]'; form, API and query come through here.

use jovis_actors::domain::{
    ServerKey, ServerName, User,
    options::{self, Chosen, Fault},
    profile::Profile,
};
use serde_json::{Map, Value};

use super::{call::Call, error::Error};

impl From<Vec<Fault>> for Error {
    fn from(faults: Vec<Fault>) -> Self {
        Self::bad(options::in_one(&faults))
    }
}

/// All profiles there are.
fn profiles(call: &Call) -> &[Profile] {
    &call.settings.spawner.profiles
}

/// Is there anything to choose from, for whomever? Otherwise what clients choose is kept as it is.
pub(crate) fn is_asked(call: &Call) -> bool {
    !profiles(call).is_empty()
}

/// Does this name something that can be chosen with any profile?
pub(crate) fn names(call: &Call, name: &str) -> bool {
    let name = name.strip_suffix(options::UNLISTED).unwrap_or(name);
    let mut all = profiles(call).iter().flat_map(|profile| &profile.profile_options);
    name == options::PROFILE || all.any(|option| option.name == name)
}

/// Is this user in that group?
pub(crate) fn is_in<'a>(call: &'a Call, user: &User) -> impl Fn(&str) -> bool + use<'a> {
    let user = user.id;
    move |group| call.image.groups_of(user).any(|it| it.name.as_str() == group)
}

/// What this user may choose from.
pub(crate) fn offered<'a>(call: &'a Call, user: &User) -> Vec<&'a Profile> {
    options::offered(profiles(call), &is_in(call, user))
}

/// What was chosen for this server last time, as far as it still may be.
pub(crate) fn remembered(call: &Call, user: &User, server: &str) -> Result<Chosen, Fault> {
    let key = ServerName::new(server).ok().map(|name| ServerKey { user: user.id, name });
    let record = key.and_then(|key| call.image.server(&key).cloned());
    let last = record.as_ref().and_then(|record| record.user_options.as_ref());
    options::remembered(profiles(call), &is_in(call, user), last)
}

/// What is to be kept with a server that is changed or made: what was given, checked.
pub(crate) fn kept(
    call: &Call,
    user: &User,
    given: Option<Value>,
) -> Result<Option<Value>, Vec<Fault>> {
    match given {
        Some(Value::Object(given)) if is_asked(call) && !given.is_empty() => {
            let chosen = options::check(profiles(call), &is_in(call, user), &given)?;
            Ok(Some(Value::Object(chosen.options())))
        }
        other => Ok(other),
    }
}

/// With what this server is started: what was given, checked; where nothing was, as last time.
pub(crate) fn for_start(
    call: &Call,
    user: &User,
    server: &str,
    given: Option<Value>,
) -> Result<Option<Value>, Vec<Fault>> {
    let nothing = given.as_ref().is_none_or(|given| *given == Value::Object(Map::new()));
    if is_asked(call) && nothing {
        let chosen = remembered(call, user, server).map_err(|fault| vec![fault])?;
        return Ok(Some(Value::Object(chosen.options())));
    }
    kept(call, user, given)
}
