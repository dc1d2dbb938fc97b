//! Asking after people whom a provider vouched for: are they still who they were, and what may they do now?
//!
//! Asked when they come, once a while, by one for all who wait. Whom the provider does not know any more has to sign in
//! again. Where it cannot be asked, who is signed in stays for a while ([`Settings::refresh_grace`]); nobody new comes in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    actor::{Kit, Settings},
    enter::arrived,
    ways,
};
use crate::{
    accounts::{self, Arrived},
    domain::{External, Moment, User, UserId},
    ports::{Flow, Identity, Refresh},
    store::Image,
};

/// How it stands with people who were vouched for.
#[derive(Debug, Clone, Default)]
pub struct Standings(Arc<Mutex<HashMap<UserId, Standing>>>);

#[derive(Debug, Clone, Copy)]
enum Standing {
    /// Asked after then, and well, or not to be had.
    Asked(Moment),
    /// Must sign in again.
    Over,
}

impl Standings {
    fn set(&self, user: UserId, standing: Standing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(user, standing);
    }

    fn get(&self, user: UserId) -> Option<Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied()
    }

    /// Has just signed in.
    pub(super) fn begin(&self, user: UserId, now: Moment) {
        self.set(user, Standing::Asked(now));
    }

    /// Has this user to be asked after now?
    pub(super) fn is_due(&self, external: &External, age: Duration, now: Moment) -> bool {
        // Without what the provider gave us nobody can be asked.
        if age.is_zero() || external.kept.is_none() {
            return false;
        }
        match self.get(external.user) {
            Some(Standing::Asked(then)) => now.since(then) >= age,
            Some(Standing::Over) | None => true,
        }
    }

    /// Can this user be asked after, and has not been since this moment?
    pub(super) fn is_open(&self, external: &External, since: Moment) -> bool {
        let asked = |then: Moment| then >= since;
        external.kept.is_some()
            && !matches!(self.get(external.user), Some(Standing::Asked(then)) if asked(then))
    }

    /// Has this user to sign in again?
    pub(super) fn is_over(&self, user: UserId) -> bool {
        matches!(self.get(user), Some(Standing::Over))
    }
}

/// Asks. True: they may go on.
pub(super) async fn renew(kit: Kit, user: Arc<User>) -> bool {
    let now = kit.clock.moment();
    let image = kit.store.image();
    let Some(external) = image.external(user.id).cloned() else { return true };
    let settings = kit.settings.load_full();
    let asked = match ask(&kit, &settings, &user, &external).await {
        Ok(asked) => asked,
        Err(why) => {
            let lasts = now.since(external.checked) < settings.refresh_grace;
            warn!(user = %user.name, way = external.way, error = why, lasts, "provider not asked");
            if lasts {
                kit.standings.begin(user.id, now);
            } else {
                kit.standings.set(user.id, Standing::Over);
            }
            return lasts;
        }
    };
    let Some(arrived) = asked else {
        info!(user = %user.name, way = external.way, "sign-in is over");
        kit.standings.set(user.id, Standing::Over);
        return false;
    };
    let write = kit.store.change(move |image| {
        let arrived = unless_replaced(image, &external, arrived);
        accounts::sign_in(image, &arrived, now)
    });
    if let Err(error) = write.await {
        warn!(user = %user.name, from = "", %error, "user info not recorded");
    }
    kit.standings.begin(user.id, now);
    true
}

/// What somebody has put there meanwhile, by signing in anew or by request, is newer than what came of asking with the old.
fn unless_replaced(image: &Image, before: &External, mut arrived: Arrived) -> Arrived {
    let newest = image.external(before.user).map(|it| &it.kept).filter(|it| **it != before.kept);
    if let (Some(outside), Some(newest)) = (&mut arrived.outside, newest) {
        outside.kept.clone_from(newest);
    }
    arrived
}

/// What is known now; none: they have to sign in again. The text: why nobody could be asked.
async fn ask(
    kit: &Kit,
    settings: &Settings,
    user: &User,
    external: &External,
) -> Result<Option<Arrived>, String> {
    // A way that is gone, or what no key opens, is no trouble of the provider's: sign in again.
    let Some(way) = ways::find(&kit.ways.load(), &external.way) else { return Ok(None) };
    let kept = external.kept.as_deref().zip(settings.vault.as_ref());
    let Some(state) = kept.and_then(|(kept, vault)| vault.open(kept)) else { return Ok(None) };
    let subject = match way.authenticator.flow() {
        Flow::Redirect(redirect) => external.of(redirect.issuer()).cloned(),
        Flow::Password(_) => None,
    };
    let before = Identity {
        subject,
        auth_state: Some(state),
        // What is not told anew stays as it was: who was let in by a rule of the provider's still is.
        allowed: true,
        ..Identity::named(user.name.to_string())
    };
    let before_state = before.auth_state.clone();
    let word = timeout(settings.limit, way.authenticator.refresh(&before)).await;
    let now = match word {
        Ok(Ok(Refresh::Same)) => before,
        Ok(Ok(Refresh::Changed(now))) => now,
        Ok(Ok(Refresh::Expired)) => return Ok(None),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in time".to_owned()),
    };
    // The name stays, whatever it is there now.
    let admin = match settings.rules.decide(&user.name, Some(user), &now) {
        Ok(admin) => admin,
        Err(denied) => {
            warn!(user = %user.name, from = "", error = %denied, "user not allowed any more");
            return Ok(None);
        }
    };
    let same = now.auth_state == before_state;
    let mut arrived = arrived(kit, settings, now, user.name.clone(), &way)?;
    if let Some(outside) = arrived.outside.as_mut().filter(|_| same) {
        // Sealed anew it would be other bytes, and a change to be written.
        outside.kept.clone_from(&external.kept);
    }
    Ok(Some(Arrived { admin, ..arrived }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accounts::Outside, domain::Username, store::Write};

    #[test]
    fn who_is_asked_after_and_when() {
        let standings = Standings::default();
        let mut external = External {
            user: UserId(1),
            subjects: Vec::new(),
            way: String::new(),
            kept: Some("sealed".to_owned()),
            checked: Moment(0),
        };
        let age = Duration::from_secs(300);
        let at = |seconds: i64| Moment(seconds * 1_000_000);
        assert!(standings.is_due(&external, age, at(0)), "not since this hub began");
        standings.begin(UserId(1), at(0));
        assert!(!standings.is_due(&external, age, at(299)));
        assert!(standings.is_due(&external, age, at(300)));
        assert!(!standings.is_due(&external, Duration::ZERO, at(300)), "never");
        assert!(standings.is_open(&external, at(1)), "whatever the age");
        assert!(!standings.is_open(&external, at(0)), "once for one request");
        standings.set(UserId(1), Standing::Over);
        assert!(standings.is_due(&external, age, at(0)) && standings.is_over(UserId(1)));
        standings.begin(UserId(1), at(9));
        assert!(!standings.is_over(UserId(1)));
        external.kept = None;
        assert!(!standings.is_due(&external, age, at(1000)), "there is nothing to ask with");
        assert!(!standings.is_open(&external, at(1000)));
    }

    #[test]
    fn what_was_put_there_while_somebody_was_asked_after_stays() {
        let before = External {
            user: UserId(1),
            subjects: Vec::new(),
            way: String::new(),
            kept: Some("old".to_owned()),
            checked: Moment(0),
        };
        let fresh = || Arrived {
            outside: Some(Outside {
                subject: None,
                way: String::new(),
                kept: Some("fresh".to_owned()),
            }),
            ..Arrived::named(Username::new("bob").unwrap(), String::new())
        };
        for (now, wanted) in [(Some("old"), "fresh"), (Some("put"), "put"), (None, "fresh")] {
            let mut image = Image::default();
            let kept = now.map(ToOwned::to_owned);
            if now.is_some() {
                image.apply(&Write::External(Arc::new(External { kept, ..before.clone() })));
            }
            let arrived = unless_replaced(&image, &before, fresh());
            assert_eq!(arrived.outside.unwrap().kept.as_deref(), Some(wanted), "{now:?}");
        }
    }
}
