//! Providers that people sign in at: who we are to them, whether they can be asked safely, and who may enter then.

use http::Uri;

use super::Say;
use crate::config::{
    Config,
    address::may_be_asked,
    secret,
    sections::{Auth, AuthClass, GitHub, Oidc, claims_in},
    world::World,
};

/// Ways of signing that are safe: with a key that only the provider has.
const ALGORITHMS: [&str; 8] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

pub(super) fn providers(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let auth = &config.auth;
    let mut lets_in = auth.has_allow_rule() || auth.is_open();
    for (number, class) in auth.classes().enumerate() {
        // Of a further way it is told where that stands, not which of its fields it is.
        let place = number.checked_sub(1).map(|entry| entry.to_string());
        let mut one = One { say: &mut *say, entry: place, config, world };
        match class {
            AuthClass::GitHub(github) => {
                one.github(github);
                lets_in |= !github.allowed_organizations.is_empty();
            }
            AuthClass::Oidc(oidc) => {
                one.oidc(oidc);
            }
            AuthClass::Pam(_) | AuthClass::Dummy(_) => {}
        }
    }
    if !lets_in && auth.admin_users.is_empty() {
        say.warn(
            "auth.allowed_users",
            "nobody may sign in: set allowed_users, allowed_groups, or allow_all",
        );
    }
    groups(say, auth, world);
    kept(say, auth, world);
}

/// Longest list of groups of this machine that root asks about at a sign-in, in bytes: it travels in one message.
const LONGEST_GROUPS: usize = 16_000;

fn groups(say: &mut Say<'_>, auth: &Auth, world: &dyn World) {
    let pam = auth.pam().is_some();
    let alone = pam && auth.is_open();
    for (path, groups) in
        [("auth.allowed_groups", &auth.allowed_groups), ("auth.admin_groups", &auth.admin_groups)]
    {
        if !groups.is_empty() && !auth.manage_groups && !pam {
            say.error(path, "it needs auth.manage_groups: true, or PAM and groups of this machine");
        }
        // With a provider beside it they may well be that one's.
        for name in groups.iter().filter(|name| alone && !world.group_exists(name)) {
            say.warn(path, format!("there is no group `{name}` on this machine"));
        }
    }
    let length: usize = auth.groups().into_iter().map(|name| name.len() + 3).sum();
    if pam && length > LONGEST_GROUPS {
        let words = format!("all of them are longer than {LONGEST_GROUPS} bytes together");
        say.error("auth.allowed_groups", words);
    }
}

/// What is kept about people is sealed, or is not kept.
fn kept(say: &mut Say<'_>, auth: &Auth, world: &dyn World) {
    let variable = world.variable(secret::CRYPT_VARIABLE);
    let keys = variable.as_deref().map(secret::crypt_keys).transpose();
    match keys {
        Err(error) => {
            say.error("auth.enable_auth_state", format!("{}: {error}", secret::CRYPT_VARIABLE));
        }
        Ok(None) if auth.enable_auth_state => say.error(
            "auth.enable_auth_state",
            format!(
                "it needs a key in the variable {}; make one with `openssl rand -hex 32`",
                secret::CRYPT_VARIABLE
            ),
        ),
        Ok(_) => {}
    }
}

/// One of the ways.
struct One<'a, 'b> {
    say: &'a mut Say<'b>,
    entry: Option<String>,
    config: &'a Config,
    world: &'a dyn World,
}

impl One<'_, '_> {
    fn error(&mut self, path: &'static str, words: impl Into<String>) {
        let words = words.into();
        match &self.entry {
            None => self.say.error(path, words),
            Some(entry) => {
                let field = path.rsplit('.').next().unwrap_or(path);
                self.say.error_in("auth.others.class", entry, format!("{field}: {words}"));
            }
        }
    }

    fn warn(&mut self, path: &'static str, words: impl Into<String>) {
        match &self.entry {
            None => self.say.warn(path, words.into()),
            Some(entry) => self.say.warn_in("auth.others.class", entry, words.into()),
        }
    }

    fn github(&mut self, it: &GitHub) {
        self.built("auth.class.GitHub.client_id");
        if it.client_id.is_empty() {
            let words = "who are we? Set it, or the variable GITHUB_CLIENT_ID";
            self.error("auth.class.GitHub.client_id", words);
        }
        if it.client_secret.is_empty() {
            let words = "set it, or better the variable GITHUB_CLIENT_SECRET";
            self.error("auth.class.GitHub.client_secret", words);
        }
        self.address("auth.class.GitHub.github_url", &it.github_url);
        if !it.github_api_url.is_empty() {
            self.address("auth.class.GitHub.github_api_url", &it.github_api_url);
        }
        self.callback("auth.class.GitHub.oauth_callback_url", &it.oauth_callback_url);
        for place in &it.allowed_organizations {
            let unfit = |part: &str| part.is_empty() || part.contains(['/', ' ', ':']);
            if place.split_once(':').map_or(unfit(place), |(a, b)| unfit(a) || unfit(b)) {
                let words = format!("`{place}` is neither `organisation` nor `organisation:team`");
                self.error("auth.class.GitHub.allowed_organizations", words);
            }
        }
        self.authorities("auth.class.GitHub.ca_file", &it.ca_file);
    }

    fn oidc(&mut self, it: &Oidc) {
        self.built("auth.class.Oidc.client_id");
        if it.client_id.is_empty() {
            let words = "who are we? Set it, or the variable OAUTH_CLIENT_ID";
            self.error("auth.class.Oidc.client_id", words);
        }
        self.address("auth.class.Oidc.issuer", &it.issuer);
        self.callback("auth.class.Oidc.oauth_callback_url", &it.oauth_callback_url);
        if let Err(error) = claims_in(&it.username_template) {
            self.error("auth.class.Oidc.username_template", error);
        }
        let unfit = it.algorithms.iter().find(|name| !ALGORITHMS.contains(&name.as_str()));
        if let Some(name) = unfit {
            let words = format!("`{name}` is none of {}", ALGORITHMS.join(", "));
            self.error("auth.class.Oidc.algorithms", words);
        }
        if it.algorithms.is_empty() {
            self.error("auth.class.Oidc.algorithms", "without any nobody can sign in");
        }
        if self.config.auth.manage_groups && it.groups_claim.is_empty() {
            let words = "auth.manage_groups is set, and no claim lists the groups";
            self.error("auth.class.Oidc.groups_claim", words);
        }
        self.authorities("auth.class.Oidc.ca_file", &it.ca_file);
    }

    fn built(&mut self, path: &'static str) {
        if !cfg!(feature = "oidc") {
            self.error(path, "this build has no providers: build it with --features oidc");
        }
    }

    /// Only by TLS, but for a provider on this machine itself.
    fn address(&mut self, path: &'static str, address: &str) {
        let safe = address.parse().is_ok_and(|uri: Uri| may_be_asked(&uri, true));
        if !safe {
            self.error(path, "an address that begins with https:// is needed");
        }
    }

    fn callback(&mut self, path: &'static str, address: &str) {
        if address.is_empty() {
            return;
        }
        let end = format!("{}hub/oauth_callback", self.config.hub.base_url);
        match address.parse::<Uri>() {
            Ok(uri) if uri.host().is_some() && uri.scheme().is_some() => {
                if uri.path() != end {
                    self.warn(path, format!("people come back to {end}, which is not its path"));
                }
            }
            _ => self.error(path, "it is no whole address: https://hub.example.org/…"),
        }
    }

    fn authorities(&mut self, path: &'static str, file: &std::path::Path) {
        if !file.as_os_str().is_empty()
            && let Err(error) = self.world.read(file)
        {
            self.error(path, format!("{}: {error}", file.display()));
        }
    }
}
