//! `GET {hub}api-docs`: the API's description for people. Nothing is fetched from elsewhere and no script runs.

use http::StatusCode;
use serde_json::{Value, json};

use crate::web::{answer::Answer, api::describe, call::Call};

/// For everybody, like the description itself.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let parts = describe::parts().into_iter().filter(|(_, methods)| !methods.is_empty());
    let parts = parts.map(|(name, methods)| json!({"name": name, "methods": methods}));
    let shapes = describe::shapes().into_iter().map(|(name, shape)| {
        let text = serde_json::to_string_pretty(&shape).unwrap_or_default();
        json!({"name": name, "text": text})
    });
    let values = json!({
        "parts": parts.collect::<Vec<Value>>(),
        "shapes": shapes.collect::<Vec<Value>>(),
    });
    super::page(call, "api_docs.html", StatusCode::OK, values)
}
