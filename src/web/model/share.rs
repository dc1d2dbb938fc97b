//! The models of shares and of their codes (`spec/rest-api.md` 2.6).

use jovis_actors::{
    domain::{Facts, ServerKey, Share, ShareCode, ShareCodeId, SharedWith},
    store::Image,
};
use serde_json::{Value, json};

use super::{
    server,
    time::{wire, wire_or_null},
};

/// A share. Nothing: its owner, or whom it is with, has gone.
pub(crate) fn model(facts: &Facts, image: &Image, share: &Share) -> Option<Value> {
    let (user, group) = match share.key.with {
        SharedWith::User(id) => (Some(image.user(id)?.name.as_str()), None),
        SharedWith::Group(id) => (None, Some(image.group(id)?.name.as_str())),
    };
    let named = |name: Option<&str>| name.map(|name| json!({ "name": name }));
    Some(json!({
        "server": shared(facts, image, &share.key.server)?,
        "scopes": scopes(image, &share.key.server, &share.scopes)?,
        "user": named(user),
        "group": named(group),
        "kind": if user.is_some() { "user" } else { "group" },
        "created_at": wire(share.created),
    }))
}

/// A code, without the code itself. Nothing: the owner of its server has gone.
pub(crate) fn code(facts: &Facts, image: &Image, code: &ShareCode) -> Option<Value> {
    Some(json!({
        "server": shared(facts, image, &code.server)?,
        "scopes": scopes(image, &code.server, &code.scopes)?,
        "id": format!("sc_{}", code.id.0),
        "created_at": wire(code.created),
        "expires_at": wire(code.expires_at),
        "exchange_count": code.exchange_count,
        "last_exchanged_at": wire_or_null(code.last_exchanged),
    }))
}

/// The number in the id of a code.
pub(crate) fn parse_code_id(text: &str) -> Option<ShareCodeId> {
    let digits = text.strip_prefix("sc_")?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().map(ShareCodeId)
}

/// A server, as those see it with whom it is shared.
fn shared(facts: &Facts, image: &Image, key: &ServerKey) -> Option<Value> {
    let (owner, name) = (image.user(key.user)?, key.name.as_str());
    let ready = image.server(key).is_some_and(|server| server.state.is_ready());
    Some(json!({
        "user": { "name": owner.name.as_str() },
        "name": name,
        "url": server::url(facts, owner, name),
        "full_url": server::full_url(facts, owner, name),
        "ready": ready,
    }))
}

/// Scopes as on the wire, each with the filter of its server.
pub(crate) fn scopes(image: &Image, key: &ServerKey, names: &[String]) -> Option<Vec<String>> {
    let owner = &image.user(key.user)?.name;
    let whole = |name: &String| format!("{name}!server={owner}/{}", key.name);
    Some(names.iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_codes_are_numbers_behind_their_mark() {
        assert_eq!(parse_code_id("sc_12"), Some(ShareCodeId(12)));
        for bad in ["", "12", "sc_", "sc_-1", "sc_+1", "sc_1x", "SC_1", "sc_99999999999999999999"] {
            assert_eq!(parse_code_id(bad), None, "{bad}");
        }
    }
}
