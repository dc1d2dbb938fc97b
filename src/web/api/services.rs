//! Services (`spec/rest-api.md` 4.9): those of the configuration, and those made and removed by request.

use std::sync::Arc;

use http::StatusCode;
use jovis_actors::{
    accounts::{self, NewService, WantedClient},
    domain::{
        ClientId, Scope, Service, ServiceName, TokenHash,
        scope::{Holder, Mask, Resource},
    },
};
use serde_json::{Map, Value};

use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    guard::By,
    model::service::model,
};

const LIST: Mask = Mask::of(&["list:services"]);

/// Longest address, in bytes.
const LONGEST_URL: usize = 2_048;

/// Those that may be listed, by name. Never in pages.
pub(crate) async fn list(call: &Call) -> Answer {
    let who = call.known()?;
    let mut all = Map::new();
    for service in call.image.services() {
        let held = who.granted.on(Resource::Service(service.name.as_str()), &*call.image);
        if held.meets(LIST)
            && let Some(model) = model(call, service, held)
        {
            all.insert(service.name.to_string(), model);
        }
    }
    Ok(answer::json(StatusCode::OK, &Value::Object(all)))
}

/// One of them.
pub(crate) async fn show(call: &Call, name: &str) -> Answer {
    let service = call.image.service(name).cloned().ok_or_else(Error::hidden)?;
    Ok(answer::json(StatusCode::OK, &as_seen(call, &service)?))
}

fn as_seen(call: &Call, service: &Service) -> Result<Value, Error> {
    let name = service.name.as_str();
    let held = call.known()?.granted.on(Resource::Service(name), &*call.image);
    model(call, service, held).ok_or_else(Error::hidden)
}

/// Makes one that somebody else runs.
pub(crate) async fn make(call: &mut Call, name: &str) -> Answer {
    let body = call.json().await?;
    let mut new = read(call, name, body)?;
    if let Some(client) = &mut new.client {
        let mut fresh = [0; 32];
        call.app.entropy.fill(&mut fresh);
        client.fresh = TokenHash(fresh);
    }
    let service: Arc<Service> = call
        .change(move |image, policy, now| accounts::create_service(image, policy, new, now))
        .await?;
    Ok(answer::json(StatusCode::CREATED, &as_seen(call, &service)?))
}

/// Removes one that was made by request.
pub(crate) async fn remove(call: &mut Call, name: &str) -> Answer {
    let name = name.to_owned();
    call.change(move |image, _, _| accounts::delete_service(image, &name)).await?;
    Ok(answer::bare(StatusCode::OK, "application/json"))
}

/// A service as it was asked for.
fn read(call: &Call, name: &str, body: Option<Value>) -> Result<NewService, Error> {
    let Some(Value::Object(body)) = body else {
        return Err(Error::bad("the body must be a JSON object that describes the service"));
    };
    if body.is_empty() {
        return Err(Error::bad("the body says nothing about the service"));
    }
    let name = ServiceName::new(name).map_err(Error::bad)?;
    for (key, value) in &body {
        let fits = match key.as_str() {
            "name" | "url" | "api_token" | "cwd" | "user" | "oauth_client_id"
            | "oauth_redirect_uri" => value.is_string(),
            "admin" | "display" | "oauth_no_confirm" => value.is_boolean(),
            "oauth_client_allowed_scopes" | "command" => {
                value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
            }
            "info" | "environment" => value.is_object(),
            _ => return Err(Error::bad(format!("a service has no {key}"))),
        };
        if !fits {
            return Err(Error::bad(format!("{key} has the wrong type")));
        }
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let yes = |key: &str, unset: bool| body.get(key).and_then(Value::as_bool).unwrap_or(unset);
    let texts = |key: &str| body.get(key).and_then(Value::as_array).into_iter().flatten();
    if texts("command").next().is_some() {
        return Err(Error::bad("only services of the configuration are run by the hub"));
    }
    let url = address(text("url"))?;
    let scopes = texts("oauth_client_allowed_scopes").filter_map(Value::as_str);
    let scopes: Vec<_> = scopes.map(Scope::new).collect();
    let client = client(
        call,
        &name,
        url.is_some(),
        (text("oauth_client_id"), text("oauth_redirect_uri")),
        &scopes,
    )?;
    let token = match text("api_token") {
        "" => None,
        token if (8..=64).contains(&token.len()) => Some(call.app.entropy.digest(token)),
        _ => return Err(Error::bad("api_token has 8 to 64 characters")),
    };
    let who = call.known()?;
    let holder = match &who.by {
        By::User(user) => Holder::user(&user.name),
        By::Service(service) => Holder::service(&service.name),
    };
    let service = Service {
        name,
        admin: yes("admin", false),
        url,
        display: yes("display", true),
        info: body.get("info").and_then(Value::as_object).cloned().unwrap_or_default(),
        oauth_no_confirm: yes("oauth_no_confirm", false),
        oauth_client_allowed_scopes: scopes,
        command: Vec::new(),
        configured: false,
    };
    Ok(NewService { service, token, client, asker: (holder, who.granted.clone()) })
}

/// Where it listens: `http://host:port`.
fn address(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let uri = text.parse::<http::Uri>().ok().filter(|_| text.len() <= LONGEST_URL);
    let known = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|it| !it.is_empty())
    });
    if known {
        Ok(Some(text.to_owned()))
    } else {
        Err(Error::bad("url must begin with http:// or https://"))
    }
}

/// Its OAuth client: there is one if it has an address or says anything of OAuth.
fn client(
    call: &Call,
    name: &ServiceName,
    has_url: bool,
    (id, back): (&str, &str),
    scopes: &[Scope],
) -> Result<Option<WantedClient>, Error> {
    let plain =
        |text: &str| text.len() <= LONGEST_URL && text.bytes().all(|b| b.is_ascii_graphic());
    if !(id.is_empty() || id.starts_with("service-") && plain(id)) {
        return Err(Error::bad("oauth_client_id must begin with service-"));
    }
    let begins = ["http://", "https://", "/"].iter().any(|begin| back.starts_with(begin));
    if !(back.is_empty() || begins && plain(back) && !back.contains(['#', '\\'])) {
        return Err(Error::bad("oauth_redirect_uri is no address"));
    }
    if !has_url && back.is_empty() {
        let asked = !id.is_empty() || !scopes.is_empty();
        return if asked {
            Err(Error::bad("without url, oauth_redirect_uri is needed"))
        } else {
            Ok(None)
        };
    }
    Ok(Some(WantedClient {
        id: if id.is_empty() { ClientId::of_service(name) } else { ClientId::claimed(id) },
        redirect_uri: if back.is_empty() {
            format!("{}oauth_callback", call.facts().service_url(name))
        } else {
            back.to_owned()
        },
        allowed_scopes: scopes.to_vec(),
        fresh: TokenHash([0; 32]),
    }))
}
