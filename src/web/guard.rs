//! Who is it, and may they? (`spec/rest-api.md` 1.2 to 1.4.) The hub never answers 401.

use std::sync::Arc;

use http::Method;
use jovis_actors::{
    domain::{Owner, Scope, ServerName, Token, User, UserId, scope},
    store::Image,
};

use super::{
    call::{Call, username},
    error::Error,
    model::token,
    session,
};

/// Longer tokens are refused unhashed.
const LONGEST_TOKEN: usize = 64;

/// Login cookies of one request whose signature is good and that are looked up; a browser sends one.
const LOGINS: usize = 4;

/// Who a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// The person.
    pub(crate) user: Arc<User>,
    /// With which token; none: signed in by cookie.
    pub(crate) token: Option<Arc<Token>>,
    /// What this request may do.
    pub(crate) scopes: Vec<Scope>,
}

/// What a request is about, as its path says: names that need not exist.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// Nothing in particular.
    Hub,
    /// A user.
    User(&'a str),
    /// A server.
    Server(&'a str, &'a str),
}

impl Who {
    /// Does one of these scopes cover it?
    pub(crate) fn covers(&self, bases: &[&str], about: About<'_>) -> bool {
        covers(&self.scopes, bases, about)
    }

    /// Passes, or 403 or 404 as `spec/rest-api.md` 1.4 has it.
    pub(crate) fn may(&self, bases: &[&str], about: About<'_>) -> Result<(), Error> {
        if self.covers(bases, about) {
            return Ok(());
        }
        let some = self.scopes.iter().any(|it| bases.contains(&it.base()));
        if some && !matches!(about, About::Hub) {
            return Err(Error::hidden());
        }
        let needed = bases.join(", ");
        Err(Error::forbidden(format!("this needs one of these scopes: [{needed}]")))
    }
}

fn covers(scopes: &[Scope], bases: &[&str], about: About<'_>) -> bool {
    let mut fitting = scopes.iter().filter(|it| bases.contains(&it.base()));
    fitting.any(|it| match about {
        _ if it.filter().is_none() => true,
        About::Hub => false,
        About::User(name) => username(name).is_some_and(|name| it.covers_user(it.base(), &name)),
        About::Server(user, server) => username(user)
            .zip(ServerName::new(server).ok())
            .is_some_and(|(user, server)| it.covers_server(it.base(), &user, &server)),
    })
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
        tracing::Span::current().record("user", who.user.name.as_str());
        if let Some(token) = &who.token {
            app.doors.token_used(token.id, now);
        }
        if counts && !who.token.as_ref().is_some_and(|token| token.is_servers_own()) {
            app.doors.user_used(who.user.id, now);
        }
        if who.token.is_none() {
            self.ensure_session();
        }
    }

    fn by_token(&self) -> Option<Who> {
        let secret = bearer(self.header("authorization")?)?;
        let hash = self.app.entropy.digest(secret);
        let token = self.image.token_hashed(&hash).filter(|token| token.is_valid(self.now))?;
        let Owner::User(id) = &token.owner else { return None };
        let user = self.image.user(*id)?.clone();
        let scopes = token::scopes(&self.image, token);
        Some(Who { user, token: Some(token.clone()), scopes })
    }

    fn by_cookie(&mut self) -> Option<Who> {
        if !self.cookies.has(session::LOGIN) {
            return None;
        }
        let max_age = (self.settings.hub.cookie_max_age_days * 86_400.0) as i64;
        let secret = self.settings.cookie_secret.reveal();
        let user = self
            .cookies
            .all(session::LOGIN)
            .filter_map(|text| session::read_login(secret, text, max_age, self.now))
            .take(LOGINS)
            .find_map(|(cookie_id, number)| by_cookie_id(&self.image, &cookie_id, number));
        let Some(user) = user.cloned() else {
            let gone = self.with_jar(|jar| jar.clear_login(self.now));
            self.set.push(gone);
            return None;
        };
        let scopes = scope::own_scopes(&user.name, user.admin);
        Some(Who { user, token: None, scopes })
    }

    /// Would a cookie count for this API request? A browser's form can post everything but JSON across sites.
    pub(crate) fn cookie_counts(&self) -> bool {
        self.method != Method::POST
            || self.media_type().is_none_or(|kind| kind == "application/json")
    }

    /// Who it is; else the anonymous 403.
    pub(crate) fn known(&self) -> Result<&Who, Error> {
        self.who.as_ref().ok_or_else(Error::anonymous)
    }
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

    #[test]
    fn hidden_where_one_holds_the_scope_for_another_and_forbidden_where_not_at_all() {
        let who = |scopes: &[&str]| Who {
            user: Arc::new(User {
                id: UserId(1),
                name: username("bob").unwrap(),
                admin: false,
                created: jovis_actors::domain::Moment(0),
                last_activity: None,
                cookie_id: String::new(),
                user_info: None,
            }),
            token: None,
            scopes: scopes.iter().map(|text| Scope::new(text)).collect(),
        };
        let status = |scopes: &[&str], bases: &[&str], about| {
            who(scopes).may(bases, about).map_err(|error| error.status.as_u16())
        };
        let own = &["servers!user=bob", "read:users!user=bob"];
        assert_eq!(status(own, &["servers"], About::Server("bob", "")), Ok(()));
        assert_eq!(status(own, &["servers"], About::Server("bob", "lab")), Ok(()));
        assert_eq!(status(own, &["servers"], About::Server("eve", "")), Err(404));
        assert_eq!(status(own, &["tokens"], About::User("bob")), Err(403));
        assert_eq!(status(own, &["servers"], About::Hub), Err(403));
        assert_eq!(status(own, &["servers"], About::User("a/b")), Err(404));
        assert_eq!(status(&["servers"], &["servers"], About::User("a/b")), Ok(()));
        assert_eq!(status(&["servers!server=bob/x"], &["servers"], About::User("bob")), Err(404));
        assert_eq!(status(&[], &["servers"], About::User("bob")), Err(403));
    }
}
