//! `{hub}spawn`: starts a server and goes to its progress page (`spec/oauth-and-cookies.md` 8).

use std::time::Duration;

use http::Method;
use jovis_actors::{
    domain::scope::{Mask, Resource},
    spawners::{Ask, StartRefused},
};
use serde_json::{Map, Value, json};

use super::{given_next, pending};
use crate::web::{
    answer::{self, Answer},
    api::{
        self,
        named::{self, chosen, shown},
    },
    call::Call,
    error::Error,
    form::{self, Form},
    model,
};

/// What opens these pages.
pub(super) const SERVERS: Mask = Mask::of(&["servers"]);

/// How long a start may take to fail on this page already.
const PATIENCE: Duration = Duration::from_secs(1);

/// One's own default server.
pub(crate) async fn own(call: &mut Call) -> Answer {
    serve(call, None, "").await
}

/// A server by its name, of a user by name.
pub(crate) async fn of(call: &mut Call, user: &str, server: &str) -> Answer {
    serve(call, Some(user), server).await
}

/// Starts the server, unless it runs.
async fn serve(call: &mut Call, user: Option<&str>, server: &str) -> Answer {
    let own = call.person()?.name.as_str().to_owned();
    let name = user.unwrap_or(&own);
    call.may(SERVERS, Resource::Server(name, server))?;
    let user = api::user(call, name)?;
    let fields = if call.method == Method::POST {
        let fields = call.form(64 * 1024).await?;
        call.require_xsrf(Some(&fields))?;
        Some(fields)
    } else {
        None
    };
    let next = given_next(call);
    let home = model::server::url(call.base(), &user, server);
    let key = named::key(call, &user, server)?;
    let state = call.image.server(&key).map(|server| server.state.clone());
    let active = state.as_ref().is_some_and(|state| state.is_active());
    if active && fields.is_some() {
        return Err(Error::bad("this server is running or on its way already"));
    }
    if state.is_some_and(|state| state.is_ready()) {
        return Ok(answer::found(&next.unwrap_or(home)));
    }
    if !active {
        let options = options(fields.as_ref().unwrap_or(&call.query))?;
        let display_name = call.query.get("display_name").filter(|it| !it.is_empty());
        let display_name = display_name.map(|it| shown(it.to_owned())).transpose()?;
        let options = options.map(chosen).transpose()?;
        let mut ask = Ask { options, display_name, waits: true, ..Ask::default() };
        named::needed(call, &user, server, &mut ask).await?;
        match call.app.doors.start(key.clone(), ask).await {
            Ok(_) => {}
            Err(StartRefused::Running) => return Ok(answer::found(&next.unwrap_or(home))),
            Err(refused) => return Err(refused.into()),
        }
        if call.app.doors.settled(&key, PATIENCE).await {
            call.image = call.fresh();
            let record = api::server(call, &user, server)?;
            if record.state.is_ready() {
                return Ok(answer::found(&next.unwrap_or(home)));
            }
            if let Some(trouble) = api::failure(call, &record) {
                return pending::failed(call, &user, &record, &trouble);
            }
        }
    }
    let mut query = call.query.without(&["next", "display_name", "_xsrf"]);
    if let Some(next) = &next {
        let joint = if query.is_empty() { "" } else { "&" };
        query = format!("{query}{joint}{}", form::encode([("next", next.as_str())]));
    }
    let page = format!("{}spawn-pending/{}", call.hub(), model::server::page_path(&user, server));
    Ok(answer::found(&form::with_query(&page, &query)))
}

/// What the request chooses: lists of texts by name. Names with `opt-` leave all others out.
fn options(fields: &Form) -> Result<Option<Map<String, Value>>, Error> {
    let own = ["next", "display_name", "_xsrf"];
    let mut out = Map::new();
    let prefixed = fields.pairs().any(|(name, _)| name.starts_with("opt-"));
    for (name, value) in fields.pairs() {
        let key = match name.strip_prefix("opt-") {
            Some("") => return Err(Error::unprocessable("an option without a name")),
            Some(key) => key,
            None if prefixed || own.contains(&name) => continue,
            None => name,
        };
        let list = out.entry(key).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(json!(value));
        }
    }
    Ok(Some(out).filter(|out| !out.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_lists_and_a_prefix_leaves_the_others_out() {
        let read =
            |text: &str| options(&Form::parse(text).unwrap()).map(|it| it.map(Value::Object));
        assert_eq!(read("next=/&_xsrf=a&display_name=b"), Ok(None));
        assert_eq!(read("a=1&a=2&b=3"), Ok(Some(json!({"a": ["1", "2"], "b": ["3"]}))));
        assert_eq!(read("opt-a=1&b=3"), Ok(Some(json!({"a": ["1"]}))));
        assert_eq!(read("opt-=1").unwrap_err().status.as_u16(), 422);
    }
}
