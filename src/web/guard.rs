//! Who is it, and may they? (`spec/rest-api.md` 1.2 to 1.4.) The hub never answers 401.

use std::sync::Arc;

use http::Method;
use jovis_actors::{
    accounts::access,
    domain::{
        Owner, Policy, Service, Token, User, UserId,
        scope::{Granted, Mask, Resource},
    },
    store::Image,
};

use super::{call::Call, error::Error, session};

/// Longer tokens are refused unhashed.
pub(crate) const LONGEST_TOKEN: usize = 64;

/// Login cookies of one request whose signature is good and that are looked up; a browser sends one.
const LOGINS: usize = 4;

/// Who a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// The one who asks.
    pub(crate) by: By,
    /// With which token; none: signed in by cookie.
    pub(crate) token: Option<Arc<Token>>,
    /// What this request may do.
    pub(crate) granted: Granted,
}

/// A person or a program.
#[derive(Debug, Clone)]
pub(crate) enum By {
    /// A user.
    User(Arc<User>),
    /// A service, always by a token.
    Service(Arc<Service>),
}

impl Who {
    /// Somebody who is signed in.
    pub(crate) fn signed_in(image: &Image, policy: &Policy, user: Arc<User>) -> Self {
        let granted = access::of_user(image, policy, &user);
        Self { by: By::User(user), token: None, granted }
    }

    /// The person, if it is one.
    pub(crate) fn user(&self) -> Option<&Arc<User>> {
        match &self.by {
            By::User(user) => Some(user),
            By::Service(_) => None,
        }
    }

    /// By what name it is known.
    pub(crate) fn name(&self) -> &str {
        match &self.by {
            By::User(user) => user.name.as_str(),
            By::Service(service) => service.name.as_str(),
        }
    }

    /// Has it the flag that lets it make administrators? (`spec/rbac.md` 11: a flag, no scope.)
    pub(crate) fn is_admin(&self) -> bool {
        match &self.by {
            By::User(user) => user.admin,
            By::Service(service) => service.admin,
        }
    }
}

/// The token in an `Authorization` header: `token` or `bearer`, blanks, one word.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let header = header.trim();
    let (scheme, rest) = header.split_once([' ', '\t'])?;
    let known = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    let token = rest.trim_matches([' ', '\t']);
    let one = !token.is_empty() && !token.contains(char::is_whitespace);
    (known && one && token.len() <= LONGEST_TOKEN).then_some(token)
}

/// Which proofs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Token, else cookie.
    Any,
    /// Cookie only: pages.
    Cookie,
}

impl Call {
    /// Finds out who it is, and notes the use. `counts`: is it the user's activity?
    pub(crate) fn identify(&mut self, proof: Proof, counts: bool) {
        let by_token = (proof == Proof::Any).then(|| self.by_token()).flatten();
        self.who = by_token.or_else(|| self.by_cookie());
        let (app, now) = (self.app.clone(), self.now);
        let Some(who) = &self.who else { return };
        tracing::Span::current().record("user", who.name());
        if let Some(token) = &who.token {
            app.doors.token_used(token.id, now);
        }
        if let Some(user) = who.user().filter(|_| counts)
            && !who.token.as_ref().is_some_and(|token| token.is_servers_own())
        {
            app.doors.user_used(user.id, now);
        }
        if who.token.is_none() {
            self.ensure_session();
        }
    }

    /// Asks after whoever it is, if it is time: who has to sign in again is nobody, and what anybody may do is as it is now.
    pub(crate) async fn renew(&mut self, proof: Proof) {
        let Some(who) = &self.who else { return };
        let Some(user) = who.user().cloned() else { return };
        // A server's own word about itself is not its user's.
        let own = who.token.as_ref().is_some_and(|token| token.is_servers_own());
        if own || !self.app.doors.is_due(&self.image, user.id, self.now) {
            return;
        }
        let goes_on = self.app.doors.renew(user).await;
        self.image = self.fresh();
        self.who = None;
        if goes_on {
            let by_token = (proof == Proof::Any).then(|| self.by_token()).flatten();
            self.who = by_token.or_else(|| self.by_cookie());
        }
    }

    /// Asks after the user whose server is to start, where that is wanted; else whoever has to sign in again would have a
    /// server with what their provider gave for another day.
    pub(crate) async fn vouched(&mut self, user: UserId) -> Result<(), Error> {
        let Some(user) = self.image.user(user).cloned() else { return Ok(()) };
        if !self.app.doors.is_due_before_start(&self.image, user.id, self.now) {
            return Ok(());
        }
        let name = user.name.clone();
        let goes_on = self.app.doors.renew(user).await;
        self.image = self.fresh();
        if goes_on {
            return Ok(());
        }
        Err(Error::forbidden(format!(
            "the sign-in of {name} is over: no server starts before they have signed in again"
        )))
    }

    fn by_token(&self) -> Option<Who> {
        let secret = bearer(self.header("authorization")?)?;
        let hash = self.app.entropy.digest(secret);
        let token = self.image.token_hashed(&hash).filter(|token| token.is_valid(self.now))?;
        let by = match &token.owner {
            Owner::User(id) => By::User(self.image.user(*id)?.clone()),
            Owner::Service(name) => By::Service(self.image.service(name.as_str())?.clone()),
        };
        let granted = access::of_token(&self.image, &self.policy, token)?;
        Some(Who { by, token: Some(token.clone()), granted })
    }

    fn by_cookie(&mut self) -> Option<Who> {
        let cookie = session::login_name(self.settings.cookies());
        if !self.cookies.has(cookie) {
            return None;
        }
        let max_age = self.login_age();
        let secret = self.settings.cookie_secret.reveal();
        let user = self
            .cookies
            .all(cookie)
            .filter_map(|text| session::read_login(secret, text, max_age, self.now))
            .take(LOGINS)
            .find_map(|(cookie_id, number)| by_cookie_id(&self.image, &cookie_id, number))
            .filter(|user| !self.policy.is_blocked(&user.name));
        let Some(user) = user.cloned() else {
            let gone = self.with_jar(|jar| jar.clear_login(self.now));
            self.set.push(gone);
            return None;
        };
        Some(Who::signed_in(&self.image, &self.policy, user))
    }

    /// Whose login cookie has this value, if it is ours and young enough?
    pub(crate) fn user_of_login(&self, text: &str) -> Option<Arc<User>> {
        let secret = self.settings.cookie_secret.reveal();
        let (cookie_id, number) = session::read_login(secret, text, self.login_age(), self.now)?;
        let user = by_cookie_id(&self.image, &cookie_id, number);
        user.filter(|user| !self.policy.is_blocked(&user.name)).cloned()
    }

    /// Seconds a sign-in lasts.
    fn login_age(&self) -> i64 {
        (self.settings.hub.cookie_max_age_days * 86_400.0) as i64
    }

    /// Would a cookie count for this API request? A browser's form can post everything but JSON across sites.
    pub(crate) fn cookie_counts(&self) -> bool {
        self.method != Method::POST
            || self.media_type().is_none_or(|kind| matches!(&*kind, "" | "application/json"))
    }

    /// Who it is; else the anonymous 403.
    pub(crate) fn known(&self) -> Result<&Who, Error> {
        self.who.as_ref().ok_or_else(Error::anonymous)
    }

    /// The person it is; else the anonymous 403.
    pub(crate) fn person(&self) -> Result<&Arc<User>, Error> {
        self.who.as_ref().and_then(Who::user).ok_or_else(Error::anonymous)
    }

    /// Does one of these scopes of the caller cover it?
    pub(crate) fn covers(&self, needed: Mask, what: Resource<'_>) -> bool {
        self.who.as_ref().is_some_and(|who| who.granted.covers(needed, what, &*self.image))
    }

    /// Passes who holds one of these scopes in any form, else 403.
    pub(crate) fn may_list(&self, needed: Mask) -> Result<(), Error> {
        if self.known()?.granted.any().meets(needed) {
            return Ok(());
        }
        Err(lacking(needed))
    }

    /// Passes, or 403 or 404 as `spec/rest-api.md` 1.4 has it.
    pub(crate) fn may(&self, needed: Mask, what: Resource<'_>) -> Result<(), Error> {
        let who = self.known()?;
        if self.covers(needed, what) {
            return Ok(());
        }
        if who.granted.any().meets(needed) && what != Resource::Hub {
            return Err(Error::hidden());
        }
        Err(lacking(needed))
    }
}

fn lacking(needed: Mask) -> Error {
    let needed = needed.builtin_names().collect::<Vec<_>>().join(", ");
    Error::forbidden(format!("this needs one of these scopes: [{needed}]"))
}

/// The user with this cookie id. Cookies of the reference carry no number: then all users are looked through. That is
/// linear in the users, but only for a cookie whose signature is good (nobody else can make us search), only for
/// [`LOGINS`] of them per request, and only until the reference's cookies have run out, after `cookie_max_age_days`.
fn by_cookie_id<'a>(
    image: &'a Image,
    cookie_id: &str,
    number: Option<u64>,
) -> Option<&'a Arc<User>> {
    match number {
        Some(number) => image.user(UserId(number)).filter(|user| user.cookie_id == cookie_id),
        None => image.users().find(|user| user.cookie_id == cookie_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_token_and_bearer_are_understood() {
        let long = format!("token {}", "a".repeat(64));
        for (header, wanted) in [
            ("token abc", Some("abc")),
            ("Bearer  abc ", Some("abc")),
            ("TOKEN\tabc", Some("abc")),
            (long.as_str(), Some(&long[6..])),
            (&format!("{long}a"), None),
            ("Basic abc", None),
            ("token", None),
            ("token a b", None),
            ("tokenabc", None),
            ("", None),
        ] {
            assert_eq!(bearer(header), wanted, "{header:?}");
        }
    }
}
