//! The API's description: nothing is missing in it, nothing in it is not there, and the page of the reference is made
//! from it. What the matrix sees answered is held against it there.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::Value;

use super::reference::made;
use crate::web::{
    api::describe::{self, OPERATIONS},
    table,
    testing::Hub,
};

#[test]
fn each_method_of_the_api_is_described_and_no_other() {
    let rows = table::rows().into_iter().filter(|row| row.door.is_api());
    let there: BTreeSet<_> = rows
        .flat_map(|row| {
            row.deeds.into_iter().map(move |deed| (deed.method.to_string(), row.paths[0]))
        })
        .collect();
    let told: BTreeSet<_> = OPERATIONS.iter().map(|it| (it.method.to_owned(), it.path)).collect();
    assert_eq!(told.len(), OPERATIONS.len(), "a method is described twice");
    let missing: Vec<_> = there.difference(&told).collect();
    assert!(missing.is_empty(), "to be described in web/api/describe/operations.rs: {missing:?}");
    let extra: Vec<_> = told.difference(&there).collect();
    assert!(extra.is_empty(), "described, and not in the table: {extra:?}");
    assert!(OPERATIONS.iter().all(|it| it.does.ends_with(['.', '?'])));
}

fn references(value: &Value, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "$ref" => drop(to.insert(text.to_owned())),
                    _ => references(value, to),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, to)),
        _ => {}
    }
}

#[tokio::test]
async fn everybody_is_told_what_the_api_is() {
    let hub = Hub::with(|hub| hub.base_url = "/pre/".to_owned());
    let reply = hub.plain("GET", "/pre/hub/api/openapi.json", &[], "").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/pre/hub/api");
    let mut names = BTreeSet::new();
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (_, method) in item.as_object().unwrap() {
            count += 1;
            let name = method["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            let declared = method["parameters"].as_array().unwrap().iter();
            let declared = declared.filter(|it| it["in"] == "path").count();
            assert_eq!(declared, path.matches('{').count(), "{path}");
            let answers = method["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status == "400"), "{path}");
        }
    }
    assert!(count > 20, "{count}");
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in used {
        let found = document.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some_and(Value::is_object), "{reference}");
    }
    let used: BTreeSet<_> = OPERATIONS.iter().filter_map(|it| it.takes).collect();
    for name in used {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn the_page_of_the_api_shows_all_of_it() {
    let hub = Hub::new();
    let page = hub.plain("GET", "/hub/api-docs", &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for (_, _, it) in describe::described() {
        let line = format!("{} {}", it.method, it.path.replace("?}", "}"));
        assert!(page.text.contains(&line), "{line}");
    }
    assert!(!page.text.contains("https://"), "nothing comes from elsewhere");
}

const HEAD: &str = "# REST API

<!-- Made from the tables in the code: UPDATE=1 cargo test --lib web::tests::openapi -->

It is JupyterHub's, below `/hub/api` (with `base_url` before it); programs ask with a token, as `Authorization: token TOKEN`
or `Authorization: Bearer TOKEN`. The hub serves the same as OpenAPI at `/hub/api/openapi.json` and as a page at
`/hub/api-docs`. What differs from JupyterHub stands in [differences](../differences.md), what scopes are in
[scopes](scopes.md).

Errors are `{\"status\": NUMBER, \"message\": TEXT}`: 400 what cannot be understood, 403 who is not known or lacks the scope,
404 what is not there or hidden from the caller, 409 what is there already, 413 a body over the limit, 429 (with
`Retry-After`) too much at once, 503 and 507 what the hub cannot do now. A list that says \"in part\" shows what the
caller's scopes cover.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let texts = |value: &Value| {
        let all = value.as_array().cloned().unwrap_or_default();
        let all =
            all.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), ToOwned::to_owned));
        all.map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
    };
    for (name, methods) in describe::parts() {
        if methods.is_empty() {
            continue;
        }
        write!(page, "\n## {name}\n\n| | does | needs | takes | gives | refuses with |\n|---|---|---|---|---|---|\n")
            .unwrap();
        for it in methods {
            let path = it["paths"][0].as_str().unwrap().trim_start_matches("/api");
            let path = if path.is_empty() { "/" } else { path };
            let part = if it["lists"] == true { " (in part)" } else { "" };
            let takes = match (it["takes"].as_str(), texts(&it["query"])) {
                (Some(body), _) => format!("`{body}`"),
                (None, query) if query.is_empty() => String::new(),
                (None, query) => format!("in the query: {query}"),
            };
            let gives = it["gives"].as_array().unwrap().iter().map(|one| {
                match one["is"].as_str().unwrap() {
                    "" => one["status"].to_string(),
                    is => format!("{} `{is}`", one["status"]),
                }
            });
            let refuses = texts(&it["refuses"]).replace('`', "");
            writeln!(
                page,
                "| `{} {path}` | {} | {}{part} | {takes} | {} | {refuses} |",
                it["method"].as_str().unwrap(),
                it["does"].as_str().unwrap(),
                texts(&it["scopes"]),
                gives.collect::<Vec<_>>().join(", "),
            )
            .unwrap();
        }
    }
    page.push_str("\n## Shapes\n\n| shape | fields |\n|---|---|\n");
    for (name, shape) in describe::shapes() {
        let fields = match shape["properties"].as_object() {
            Some(fields) => fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            None if shape["type"] == "array" => "a list".to_owned(),
            None if shape.get("anyOf").is_some() => {
                "a list; a page of it for clients whose `Accept` says `application/jupyterhub-pagination+json`".to_owned()
            }
            None => "an object".to_owned(),
        };
        writeln!(page, "| `{name}` | {fields} |").unwrap();
    }
    page
}

#[test]
fn the_page_of_the_rest_api_is_made_from_its_description() {
    made("docs/reference/rest-api.md", &page());
}
