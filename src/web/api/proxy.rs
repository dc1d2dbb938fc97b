//! The proxy's routes (`spec/rest-api.md` 4.10). The proxy is one of jovis's own processes and is kept in step with the
//! records; here one can look at it, and have it looked at again.

use http::StatusCode;
use jovis_actors::domain::{Route, quote};
use serde_json::{Map, Value, json};

use super::page::Page;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    model::time,
};

/// What the proxy has, by where each route begins.
pub(crate) async fn show(call: &mut Call) -> Answer {
    let page = Page::of(call)?;
    let routes = call.app.doors.routes().await?;
    call.image = call.fresh();
    let mut all: Vec<_> = routes.iter().map(|route| model_of(call, route)).collect();
    all.push(hub(call));
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (items, total) = page.cut(all.into_iter());
    let items: Map<_, _> = items.into_iter().collect();
    page.answer(call, Value::Object(items), total)
}

/// Has the proxy's table read and made the wanted one.
pub(crate) async fn check(call: &mut Call) -> Answer {
    call.app.doors.check_routes().await?;
    Ok(answer::bare(StatusCode::OK, "application/json"))
}

/// For hubs with a proxy that may move. Ours cannot: whoever says where it is now must not believe that we went along.
pub(crate) async fn update(call: &mut Call) -> Answer {
    let Some(Value::Object(fields)) = call.json().await? else {
        return Err(Error::bad("expected an object"));
    };
    if let Some(key) = ["api_url", "auth_token"].into_iter().find(|key| fields.contains_key(*key)) {
        return Err(Error::bad(format!(
            "{key} cannot be changed: the proxy is part of jovis, which finds it without an address and a token"
        )));
    }
    check(call).await
}

/// Everything that no route leads elsewhere is the hub's.
fn hub(call: &Call) -> (String, Value) {
    let target = call.settings.api_url.strip_suffix("hub/api").unwrap_or(&call.settings.api_url);
    let target = target.strip_suffix(call.base()).unwrap_or(target);
    entry(
        call.base().to_owned(),
        target,
        json!({"hub": true, "last_activity": time::wire(call.now)}),
    )
}

fn model_of(call: &Call, route: &Route) -> (String, Value) {
    let spec = escaped(route.spec.as_str());
    let server = route.server.as_ref();
    let user = server.and_then(|server| call.image.user(server.user));
    let data = match (server, user) {
        (Some(key), Some(user)) => {
            let server = call.image.server(key);
            json!({
                "user": user.name.as_str(),
                "server_name": key.name.as_str(),
                "last_activity": time::wire_or_null(server.and_then(|it| call.app.doors.notes().of_server(it))),
            })
        }
        // Its user is being taken out: so is the route.
        (Some(_), None) => json!({"extra": true, "last_activity": null}),
        (None, _) => match service(call, &spec) {
            Some(name) => json!({"service": name, "last_activity": null}),
            None => json!({"extra": true, "last_activity": null}),
        },
    };
    entry(spec, &route.target, data)
}

fn entry(spec: String, target: &str, data: Value) -> (String, Value) {
    let value = json!({"routespec": spec, "target": target, "data": data});
    (spec, value)
}

/// The name of the service whose address this is.
fn service<'a>(call: &'a Call, spec: &str) -> Option<&'a str> {
    let of = |name: &str| format!("{}services/{}/", call.base(), quote::segment(name));
    let mut services = call.image.services().map(|service| service.name.as_str());
    services.find(|name| of(name) == spec)
}

/// Routes are compared decoded, and written escaped.
fn escaped(spec: &str) -> String {
    spec.split('/').map(quote::segment).collect::<Vec<_>>().join("/")
}
