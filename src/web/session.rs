//! Cookies: reading those of a request, writing ours with their flags (`spec/oauth-and-cookies.md` 5).

use jovis_actors::domain::{Moment, User};

use super::{model::time, signed};
use crate::config::{sections::SameSite, site::Cookies as Rules};

/// Signed; says who is signed in.
pub(crate) const LOGIN: &str = "jupyterhub-hub-login";
/// The same where no other host may set it: browsers take it only with `Secure`, for all paths, of this host alone.
pub(crate) const HOST_LOGIN: &str = "__Host-jupyterhub-hub-login";
/// Unsigned; one browser session. Readable by all servers.
pub(crate) const SESSION: &str = "jupyterhub-session-id";
/// The form token, readable by our scripts.
pub(crate) const XSRF: &str = "_xsrf";
/// Cleared at sign-out; nobody sets it any more.
pub(crate) const SERVICES: &str = "jupyterhub-services";

const DAY: i64 = 86_400;
/// Days a browser keeps the login cookie. The hub believes it for `cookie_max_age_days` only.
const BROWSER_DAYS: f64 = 30.0;

/// The cookies of one request, in order; names may repeat.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// From the values of all `Cookie` headers. Linear in their length.
    pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            Some((name.trim().to_owned(), bare.unwrap_or(value).to_owned()))
        });
        Self(pairs.collect())
    }

    /// All values under this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(which, _)| which == name).map(|(_, value)| value.as_str())
    }

    /// The names that begin so.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|(name, _)| name.as_str()).filter(move |name| name.starts_with(prefix))
    }

    /// Is there one?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The browser session, if what came can be one.
    pub(crate) fn session(&self) -> Option<&str> {
        self.all(SESSION).find(|id| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    }
}

/// Where cookies go, and whether only over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jar<'a> {
    /// Everything's prefix.
    pub(crate) base: &'a str,
    /// The hub's prefix.
    pub(crate) hub: &'a str,
    /// Do browsers use https?
    pub(crate) secure: bool,
    /// What is configured for them.
    pub(crate) rules: &'a Rules,
}

/// What the login cookie is called. Its signature always has [`LOGIN`] in it.
pub(crate) fn login_name(rules: &Rules) -> &'static str {
    if rules.host_prefix { HOST_LOGIN } else { LOGIN }
}

impl Jar<'_> {
    /// The `Set-Cookie` of a sign-in. The content names the user by number too, so that no search is needed.
    pub(crate) fn login(&self, secret: &[u8], user: &User, now: Moment) -> String {
        let seconds = now.unix_seconds();
        let value = format!("{}.{}", user.cookie_id, user.id.0);
        let value = signed::sign(secret, LOGIN, &value, seconds);
        let kept = self.rules.expires_days.unwrap_or(BROWSER_DAYS) * DAY as f64;
        let expires = time::http_date(seconds + kept as i64);
        let rest = format!("; expires={expires}; HttpOnly{}", self.same_site());
        self.line(login_name(self.rules), &value, self.login_path(), &rest)
    }

    /// The `Set-Cookie` of a browser session.
    pub(crate) fn session(&self, id: &str) -> String {
        let rest = format!("{}; HttpOnly{}", self.domain(), self.same_site());
        self.line(SESSION, id, self.base, &rest)
    }

    /// The `Set-Cookie` of a form token; of somebody anonymous it lives an hour.
    pub(crate) fn xsrf(&self, token: &str, anonymous: bool) -> String {
        let age = if anonymous { "; Max-Age=3600" } else { "" };
        self.line(XSRF, token, self.hub, &format!("{age}{}", self.same_site()))
    }

    /// The `Set-Cookie` of something that is needed for so many seconds; 0 takes it away.
    pub(crate) fn short(&self, name: &str, value: &str, seconds: i64) -> String {
        let rest = format!("; Max-Age={seconds}; HttpOnly; SameSite=Lax");
        self.line(name, value, self.hub, &rest)
    }

    /// The `Set-Cookie`s of a sign-out, for those cookies the browser may have.
    pub(crate) fn clear(&self, session_too: bool, now: Moment) -> Vec<String> {
        let past = time::http_date(now.unix_seconds() - 365 * DAY);
        let gone = |name: &str, path: &str| self.line(name, "", path, &format!("; expires={past}"));
        let services = format!("{}services", self.base);
        let login = gone(login_name(self.rules), self.login_path());
        let mut out = vec![login, gone(XSRF, self.hub), gone(SERVICES, &services)];
        if session_too {
            let rest = format!("; expires={past}{}", self.domain());
            out.push(self.line(SESSION, "", self.base, &rest));
        }
        out
    }

    /// The `Set-Cookie` that takes an invalid login cookie away.
    pub(crate) fn clear_login(&self, now: Moment) -> String {
        let past = time::http_date(now.unix_seconds() - 365 * DAY);
        self.line(login_name(self.rules), "", self.login_path(), &format!("; expires={past}"))
    }

    fn login_path(&self) -> &str {
        if self.rules.host_prefix { "/" } else { self.hub }
    }

    fn same_site(&self) -> String {
        format!("; SameSite={}", self.rules.same_site.unwrap_or(SameSite::Lax).as_str())
    }

    /// Sessions are seen by the servers, each on the host of its user.
    fn domain(&self) -> String {
        self.rules.domain.as_ref().map(|host| format!("; Domain={host}")).unwrap_or_default()
    }

    fn line(&self, name: &str, value: &str, path: &str, rest: &str) -> String {
        let always = self.rules.secure || name == HOST_LOGIN;
        let secure = if self.secure || always { "; Secure" } else { "" };
        // Quoted where the reference's library quotes: scripts read `_xsrf` and compare it as it stands.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&b);
        let quote = if !value.is_empty() && value.bytes().all(plain) { "" } else { "\"" };
        format!("{name}={quote}{value}{quote}{rest}; Path={path}{secure}")
    }
}

/// What a login cookie says, if it is ours and young enough: the `cookie_id`, and the user's number unless the cookie was
/// made by the reference.
pub(crate) fn read_login(
    secret: &[u8],
    text: &str,
    max_age: i64,
    now: Moment,
) -> Option<(String, Option<u64>)> {
    let value = signed::verify(secret, LOGIN, text, max_age, now.unix_seconds())?;
    match value.split_once('.') {
        Some((id, number)) => Some((id.to_owned(), Some(number.parse().ok()?))),
        None => Some((value, None)),
    }
}

#[cfg(test)]
mod tests {
    use jovis_actors::domain::{UserId, Username};

    use super::*;

    fn bob() -> User {
        User {
            id: UserId(7),
            name: Username::new("bob").unwrap(),
            admin: false,
            created: Moment(0),
            last_activity: None,
            cookie_id: "c0ffee".into(),
            user_info: None,
        }
    }

    #[test]
    fn cookies_are_read_in_order_and_unquoted() {
        let cookies = Cookies::parse(["a=1; b=\"2|3\"; junk; a=4", "c=\"5"].into_iter());
        assert_eq!(cookies.all("a").collect::<Vec<_>>(), ["1", "4"]);
        assert_eq!(cookies.all("b").next(), Some("2|3"));
        assert_eq!(cookies.all("c").next(), Some("\"5"));
        assert!(!cookies.has("junk"));
    }

    #[test]
    fn a_session_id_is_plain_letters() {
        let session = |text: &str| {
            Cookies::parse([format!("{SESSION}={text}").as_str()].into_iter())
                .session()
                .map(ToOwned::to_owned)
        };
        assert_eq!(session("0123abcd").as_deref(), Some("0123abcd"));
        assert_eq!(session(""), None);
        assert_eq!(session("a:b"), None);
        assert_eq!(session(&"a".repeat(65)), None);
    }

    #[test]
    fn flags_and_paths_are_the_tables() {
        let jar = Jar { base: "/b/", hub: "/b/hub/", secure: true, rules: &Rules::default() };
        let login = jar.login(b"k", &bob(), Moment(0));
        for part in [
            "; HttpOnly",
            "; Path=/b/hub/;",
            "; Secure",
            "expires=Sat, 31 Jan 1970 00:00:00 GMT",
            "jupyterhub-hub-login=\"2|1:0|",
        ] {
            assert!(login.contains(part), "{part} in {login}");
        }
        let session = jar.session("ab");
        assert!(session.starts_with("jupyterhub-session-id=ab;"));
        assert!(session.contains("; HttpOnly") && session.contains("; Path=/b/;"));
        assert!(!session.contains("expires") && !session.contains("Max-Age"));
        let xsrf = jar.xsrf("t", true);
        assert!(xsrf.contains("; Max-Age=3600") && !xsrf.contains("HttpOnly"));
        assert!(!jar.xsrf("t", false).contains("Max-Age"));
        assert!(!Jar { secure: false, ..jar }.session("ab").contains("Secure"));
        assert_eq!(jar.clear(false, Moment(0)).len(), 3);
        let cleared = jar.clear(true, Moment(0));
        assert!(cleared[3].starts_with("jupyterhub-session-id=\"\"; expires=Wed, 01 Jan 1969"));
        assert!(cleared[2].contains("Path=/b/services"));
    }

    #[test]
    fn a_login_cookie_says_who() {
        let jar = Jar { base: "/", hub: "/hub/", secure: false, rules: &Rules::default() };
        let cookies = Cookies::parse([jar.login(b"k", &bob(), Moment(0)).as_str()].into_iter());
        let text = cookies.all(LOGIN).next().unwrap();
        assert_eq!(read_login(b"k", text, 10, Moment(0)), Some(("c0ffee".into(), Some(7))));
        assert_eq!(read_login(b"k", text, 10, Moment(11_000_000)), None);
        let old = signed::sign(b"k", LOGIN, "c0ffee", 0);
        assert_eq!(read_login(b"k", &old, 10, Moment(0)), Some(("c0ffee".into(), None)));
    }
}
