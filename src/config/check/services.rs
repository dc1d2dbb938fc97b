//! Services: names, addresses, programs, tokens, and what they are as OAuth clients.

use std::collections::{BTreeMap, BTreeSet};

use jovis_actors::domain::{Scope, ServiceName, scope::Vocabulary};

use super::Say;
use crate::config::{Config, sections::Service, world::World};

/// Fewest and most characters of a token for the API. (`spec/rest-api.md` 1.2.)
const TOKEN: std::ops::RangeInclusive<usize> = 8..=64;

pub(super) fn services(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let (mut names, mut tokens, mut clients) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let custom = config.hub.custom_scopes.iter().map(|(name, scope)| (name.clone(), scope.into()));
    let vocabulary = Vocabulary::new(&custom.collect::<BTreeMap<_, _>>()).unwrap_or_default();
    for (nth, one) in config.services.iter().enumerate() {
        let nth = nth.to_string();
        match ServiceName::new(&one.name) {
            Err(error) => say.error_in(
                "services.name",
                &nth,
                format!("{:?} is no name of a service: {error}", one.name),
            ),
            Ok(_) if !names.insert(&one.name) => {
                say.error_in(
                    "services.name",
                    &nth,
                    format!("service {} stands there twice", one.name),
                );
            }
            Ok(_) => {}
        }
        if !one.url.is_empty() && !is_address(&one.url) {
            let words =
                format!("`{}` is no address; write it like http://127.0.0.1:10101", one.url);
            say.error_in("services.url", &nth, words);
        }
        if !one.api_token.is_empty() {
            if !TOKEN.contains(&one.api_token.len())
                || !one.api_token.bytes().all(|b| b.is_ascii_graphic())
            {
                say.error_in(
                    "services.api_token",
                    &nth,
                    "a token has 8 to 64 letters, digits or signs; make one with `openssl rand -hex 16`",
                );
            } else if !tokens.insert(&one.api_token) {
                say.error_in("services.api_token", &nth, "another service has the same token");
            }
        }
        oauth(say, &nth, one, &vocabulary);
        if !one.oauth_client_id.is_empty() && !clients.insert(&one.oauth_client_id) {
            say.error_in(
                "services.oauth_client_id",
                &nth,
                "another service has the same client id",
            );
        }
        program(say, &nth, config, one, world);
    }
}

fn oauth(say: &mut Say<'_>, nth: &str, one: &Service, vocabulary: &Vocabulary) {
    let id = &one.oauth_client_id;
    let named = id.starts_with("service-") && id.bytes().all(|b| b.is_ascii_graphic());
    if !(id.is_empty() || named) {
        say.error_in(
            "services.oauth_client_id",
            nth,
            "it begins with `service-` and holds no blanks",
        );
    }
    let back = &one.oauth_redirect_uri;
    let begins = ["http://", "https://", "/"].iter().any(|begin| back.starts_with(begin));
    if !(back.is_empty() || begins) || back.contains(['#', '\\', ' ']) {
        say.error_in(
            "services.oauth_redirect_uri",
            nth,
            "it is an address (https://..) or a path of this hub",
        );
    }
    if back.is_empty() && one.url.is_empty() && !id.is_empty() {
        say.error_in(
            "services.oauth_redirect_uri",
            nth,
            "an OAuth client without `url` needs an address to come back to",
        );
    }
    for text in &one.oauth_client_allowed_scopes {
        if !Scope::new(text).is_known(vocabulary) {
            say.error_in(
                "services.oauth_client_allowed_scopes",
                nth,
                format!("no such scope: {text}"),
            );
        }
    }
}

fn program(say: &mut Say<'_>, nth: &str, config: &Config, one: &Service, world: &dyn World) {
    if !one.is_managed() {
        for (path, set) in [
            ("services.cwd", !one.cwd.is_empty()),
            ("services.user", !one.user.is_empty()),
            ("services.environment", !one.environment.is_empty()),
        ] {
            if set {
                say.warn_in(
                    path,
                    nth,
                    "without effect: there is no `command`, so the hub does not run it",
                );
            }
        }
        return;
    }
    if one.command.first().is_some_and(String::is_empty) {
        say.error_in("services.command", nth, "the first is a program, such as \"python3\"");
    }
    if one.command.iter().any(|arg| arg.contains('\0')) || one.cwd.contains('\0') {
        say.error_in("services.command", nth, "there is a NUL byte in it");
    }
    if !one.cwd.is_empty() && !one.cwd.starts_with('/') {
        say.error_in("services.cwd", nth, "a path from / is needed");
    }
    for (name, value) in &one.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            say.error_in(
                "services.environment",
                nth,
                format!("{name:?} is no name of a variable, or its value no text"),
            );
        }
    }
    if !world.is_root() {
        return;
    }
    let (path, account) = match one.user.as_str() {
        "" => ("services.command", &config.root.service_user),
        _ => ("services.user", &one.user),
    };
    let ours = [&config.root.hub_user, &config.root.proxy_user];
    if account == "root" || ours.contains(&account) {
        say.error_in(
            path,
            nth,
            format!("a service never runs as `{account}`; name another account"),
        );
    } else if !world.account_exists(account) {
        say.error_in(
            path,
            nth,
            format!("there is no account `{account}`; make it: useradd --system --no-create-home --shell /usr/sbin/nologin {account}"),
        );
    }
}

/// `http://host:port`, without a path of its own.
fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    rest.is_some_and(|host| {
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
        !host.is_empty()
            && !host.starts_with(':')
            && host.bytes().all(plain)
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    })
}
