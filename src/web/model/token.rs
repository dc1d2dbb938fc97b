//! The token model (`spec/rest-api.md` 2.3).

use jovis_actors::{
    accounts::access,
    domain::{Owner, Token, TokenId},
    store::Image,
};
use serde_json::{Value, json};

use super::time::{wire, wire_or_null};
use crate::web::call::Call;

/// `a<number>`.
pub(crate) fn id(id: TokenId) -> String {
    format!("a{}", id.0)
}

/// The number in `a<number>`.
pub(crate) fn parse_id(text: &str) -> Option<TokenId> {
    let digits = text.strip_prefix('a')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok().map(TokenId))?
}

/// For whom it was given out, in words.
pub(crate) fn application(image: &Image, token: &Token) -> String {
    match &token.client {
        None => "JupyterHub".to_owned(),
        Some(id) => match image.client(id) {
            Some(client) => client.description.clone(),
            None => id.to_string(),
        },
    }
}

/// The model.
pub(crate) fn model(call: &Call, token: &Token) -> Value {
    let (image, policy) = (&call.image, &call.policy);
    let granted = access::of_token(image, policy, token).unwrap_or_default();
    let mut model = json!({
        "id": id(token.id),
        "kind": "api_token",
        "roles": [],
        "scopes": granted.names(policy.vocabulary()),
        "created": wire(token.created),
        "last_activity": wire_or_null(call.app.doors.notes().of_token(token)),
        "expires_at": wire_or_null(token.expires_at),
        "note": token.note,
        "session_id": token.session,
        "oauth_client": application(image, token),
    });
    match &token.owner {
        Owner::User(id) => model["user"] = json!(image.user(*id).map(|user| user.name.as_str())),
        Owner::Service(name) => model["service"] = json!(name.as_str()),
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_an_a_and_digits() {
        assert_eq!(parse_id("a17"), Some(TokenId(17)));
        for bad in ["", "a", "17", "b17", "a-1", "a+1", "a1x", "a99999999999999999999"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
