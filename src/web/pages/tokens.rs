//! The token page: one's API tokens and the applications that hold some.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::page;
use crate::web::{answer::Answer, api, call::Call, model};

/// The page.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let user = call.person()?.clone();
    let mut tokens: Vec<Value> = Vec::new();
    let mut applications: BTreeMap<String, Value> = BTreeMap::new();
    for token in api::tokens::valid(call, user.id).iter().rev() {
        let about = model::token::model(call, token);
        match &token.client {
            None => tokens.push(about),
            // One line per application: ending one of its tokens ends them all. The newest use comes first.
            Some(client) => drop(applications.entry(client.to_string()).or_insert(about)),
        }
    }
    let values = json!({
        "api": format!("/users/{}/tokens", user.name.escaped()),
        "api_tokens": tokens,
        "oauth_clients": applications.into_values().collect::<Vec<_>>(),
    });
    page(call, "token.html", StatusCode::OK, values)
}
