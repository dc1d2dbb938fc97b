//! The API tells of itself: its OpenAPI description, made from the [table](crate::web::table) of rows and from what is
//! said of each method in [`operations`]. Paths, methods, scopes and refusals are the table's; summaries, bodies and
//! answers stand in the operations, shapes in [`schemas`].
//!
//! To add an endpoint: its row, then its lines in `operations.rs`. `web::tests::openapi` says what is missing, and
//! `web::tests::matrix` whether an answer comes that is not described.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::web::{
    answer::{self, Answer, VERSION},
    call::Call,
    table::{self, Deed, Door, Needs, Of, Row},
};

mod operations;
mod schemas;

pub(crate) use operations::OPERATIONS;

/// What is said of one method of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// As in the row.
    pub(crate) method: &'static str,
    /// The row's first path.
    pub(crate) path: &'static str,
    /// What it does, in one line.
    pub(crate) does: &'static str,
    /// Parameters in the query; see [`schemas::parameter`].
    pub(crate) query: &'static [&'static str],
    /// The schema of its body, if it takes one.
    pub(crate) takes: Option<&'static str>,
    /// What comes if all is well.
    pub(crate) gives: &'static [(u16, Gives)],
    /// Refusals beyond those that the row says.
    pub(crate) refuses: &'static [u16],
}

/// What an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Nothing.
    Nothing,
    /// JSON of this schema.
    Json(&'static str),
    /// A stream of events, each with JSON of this schema.
    Events(&'static str),
}

/// What is said of this method.
pub(crate) fn operation(row: &Row, deed: &Deed) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|it| it.method == deed.method.as_str() && it.path == row.paths[0])
}

/// Every status this method answers with.
pub(crate) fn statuses(row: &Row, deed: &Deed, operation: &Operation) -> Vec<u16> {
    let mut all: Vec<u16> = operation.gives.iter().map(|(status, _)| *status).collect();
    all.extend(operation.refuses);
    // What cannot be read, and what cannot be done now.
    all.extend([400, 503]);
    if row.door != Door::ApiRoot {
        all.push(403);
    }
    if row.paths.iter().any(|path| path.contains('{')) {
        all.push(404);
    }
    if operation.takes.is_some() {
        all.push(413);
    }
    if deed.method != http::Method::GET {
        all.push(507);
    } else {
        all.push(304);
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The scopes of which one is needed.
pub(crate) fn scopes(deed: &Deed) -> Vec<&'static str> {
    match deed.needs {
        Needs::Nothing => Vec::new(),
        Needs::Covering(mask) | Needs::Listing(mask) | Needs::Asking(mask) => {
            mask.builtin_names().collect()
        }
    }
}

/// All methods of the API that are described, in the table's order.
pub(crate) fn described() -> Vec<(Row, Deed, &'static Operation)> {
    let rows = table::rows().into_iter().filter(|row| row.door.is_api());
    let each = rows.flat_map(|row| {
        let deeds = row.deeds.clone();
        deeds.into_iter().map(move |deed| (row.clone(), deed))
    });
    each.filter_map(|(row, deed)| operation(&row, &deed).map(|it| (row, deed, it))).collect()
}

/// In which part of the API a path lies.
pub(crate) fn part(path: &str) -> &'static str {
    let named = |name: &str| path.contains(name);
    match () {
        () if named("/share-codes") || named("/share") => "Shares",
        () if named("/servers") || named("/server") || named("/admin-access") => "Servers",
        () if named("/tokens") || named("/authorizations") => "Tokens",
        () if named("/users") || path == "/api/user" => "Users",
        () if named("/groups") => "Groups",
        () if named("/services") => "Services",
        () if named("/oauth2") => "OAuth",
        () => "Hub",
    }
}

/// The names in a path.
fn places(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.trim_end_matches('?')))
}

/// The whole description. `base`: everything's prefix.
pub(crate) fn document(base: &str) -> Value {
    let mut paths = Map::new();
    for (row, deed, it) in described() {
        for (nth, path) in row.paths.iter().enumerate() {
            // `{hub}api/` is `{hub}api`.
            if *path == "/api/" {
                continue;
            }
            let shown = path.trim_start_matches("/api").replace("?}", "}");
            let shown = if shown.is_empty() { "/".to_owned() } else { shown };
            let item = paths.entry(shown).or_insert_with(|| json!({}));
            item[it.method.to_ascii_lowercase()] = method(&row, &deed, it, path, nth);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "jovis",
            "version": VERSION,
            "description": "The REST API of the hub. It is JupyterHub's, of the version above.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": format!("{base}hub/api")}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token, as `Authorization: token TOKEN` or `Authorization: Bearer TOKEN`.",
                },
            },
        },
    })
}

fn method(row: &Row, deed: &Deed, it: &Operation, path: &str, nth: usize) -> Value {
    let in_path = places(path).map(|place| {
        json!({
            "name": place, "in": "path", "required": true,
            "description": schemas::place(place),
            "schema": {"type": "string", "minLength": 1},
        })
    });
    let in_query = it.query.iter().map(|name| schemas::parameter(name));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut answers = Map::new();
    for status in statuses(row, deed, it) {
        let gives = it.gives.iter().find(|(given, _)| *given == status).map(|(_, gives)| *gives);
        answers.insert(status.to_string(), answer(status, gives));
    }
    let name: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
    let name = name.trim_start_matches("/api").replace('/', "_");
    let scopes = scopes(deed);
    let mut out = json!({
        "operationId": format!("{}{name}", it.method.to_ascii_lowercase()),
        "summary": it.does,
        "tags": [part(row.paths[0])],
        "parameters": parameters,
        "responses": answers,
    });
    if nth > 0 {
        out["description"] = json!(format!("As {}.", row.paths[0].trim_start_matches("/api")));
    }
    out["security"] = match row.door {
        Door::ApiRoot | Door::ApiClient => json!([]),
        _ => json!([{"token": scopes}]),
    };
    if let Some(schema) = it.takes {
        let kind = match row.door {
            Door::ApiClient => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        let content = json!({kind: {"schema": schemas::named(schema)}});
        out["requestBody"] = json!({"required": false, "content": content});
    }
    out
}

fn answer(status: u16, gives: Option<Gives>) -> Value {
    let known = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
    let mut out = json!({"description": known.unwrap_or("Answer")});
    match gives {
        Some(Gives::Nothing) => {}
        Some(Gives::Json(schema)) => {
            out["content"] = json!({"application/json": {"schema": schemas::named(schema)}});
        }
        Some(Gives::Events(schema)) => {
            let about = format!("lines `data: …`, each with a JSON object: {schema}");
            out["content"] =
                json!({"text/event-stream": {"schema": {"type": "string", "description": about}}});
        }
        None if status == 304 => {}
        None => out["content"] = json!({"application/json": {"schema": schemas::named("error")}}),
    }
    out
}

/// `GET {hub}api/openapi.json`: for everybody, like what it tells of.
pub(crate) async fn serve(call: &Call) -> Answer {
    Ok(answer::json(StatusCode::OK, &document(call.base())))
}

/// The same for the page that people read, and for the reference: part by part.
pub(crate) fn parts() -> Vec<(&'static str, Vec<Value>)> {
    let order = ["Hub", "Users", "Servers", "Tokens", "Groups", "Services", "Shares", "OAuth"];
    let mut parts: Vec<_> = order.map(|name| (name, Vec::new())).into();
    for (row, deed, it) in described() {
        let name = part(row.paths[0]);
        let (_, lines) =
            parts.iter_mut().find(|(at, _)| *at == name).expect("all parts are listed");
        let paths = row.paths.iter().filter(|path| **path != "/api/");
        let paths = paths.map(|path| path.replace("?}", "}")).collect::<Vec<_>>();
        let gives = it.gives.iter().map(|(status, gives)| match gives {
            Gives::Nothing => json!({"status": status, "is": ""}),
            Gives::Json(schema) => json!({"status": status, "is": schema}),
            Gives::Events(schema) => json!({"status": status, "is": format!("events: {schema}")}),
        });
        let given = |status: &u16| it.gives.iter().any(|(known, _)| known == status);
        let refuses =
            statuses(&row, &deed, it).into_iter().filter(|status| !given(status) && *status != 304);
        lines.push(json!({
            "method": it.method,
            "paths": paths,
            "does": it.does,
            "scopes": scopes(&deed),
            "lists": matches!(deed.needs, Needs::Listing(_)),
            "about": match row.of {
                Of::Hub => "",
                Of::User => "user",
                Of::Server => "server",
                Of::Group => "group",
                Of::Service => "service",
            },
            "query": it.query,
            "takes": it.takes,
            "gives": gives.collect::<Vec<_>>(),
            "refuses": refuses.collect::<Vec<_>>(),
        }));
    }
    parts
}

/// The shapes that are named, with their fields in words.
pub(crate) fn shapes() -> Vec<(String, Value)> {
    let Value::Object(all) = schemas::all() else { return Vec::new() };
    all.into_iter().collect()
}
