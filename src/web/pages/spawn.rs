//! `{hub}spawn`: what a server is started with is chosen here; then it is started, and its progress page shows the rest
//! (`spec/oauth-and-cookies.md` 8). What the form looks like is [`options`]' business.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use jovis_actors::{
    domain::{
        ServerName, User,
        options::Fault,
        scope::{Mask, Resource},
    },
    spawners::{Ask, StartRefused},
};
use serde_json::{Map, Value, json};

use super::{
    given_next,
    options::{self, Tried},
    pending,
};
use crate::web::{
    answer::{self, Answer},
    api::{
        self,
        named::{self, chosen, shown},
    },
    call::{Call, Upload},
    choice,
    error::Error,
    form::{self, Form},
    model,
};

/// What opens these pages.
pub(super) const SERVERS: Mask = Mask::of(&["servers"]);

/// How long a start may take to fail on this page already.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most bytes of a form.
const FORM: usize = 64 * 1024;
/// And of one that may hold uploads, which are kept with the other options.
const UPLOADS: usize = 256 * 1024;

/// Names that are no options.
const OWN: [&str; 3] = ["next", "display_name", "_xsrf"];

/// One's own default server.
pub(crate) async fn own(call: &mut Call) -> Answer {
    serve(call, None, "").await
}

/// A server by its name, of a user by name.
pub(crate) async fn of(call: &mut Call, user: &str, server: &str) -> Answer {
    serve(call, Some(user), server).await
}

/// Starts the server, unless it runs or there is something to choose first.
async fn serve(call: &mut Call, user: Option<&str>, server: &str) -> Answer {
    let own = call.person()?.name.as_str().to_owned();
    let name = user.unwrap_or(&own);
    call.may(SERVERS, Resource::Server(name, server))?;
    let user = api::user(call, name)?;
    let sent = if call.method == Method::POST {
        let sent = call.upload(FORM, UPLOADS).await?;
        call.require_xsrf(Some(&sent.0))?;
        Some(sent)
    } else {
        None
    };
    let next = given_next(call);
    let home = model::server::url(call.facts(), &user, server);
    let key = named::key(call, &user, server)?;
    let state = call.image.server(&key).map(|server| server.state.clone());
    let active = state.as_ref().is_some_and(|state| state.is_active());
    if active && sent.is_some() {
        return Err(Error::bad("this server is running or on its way already"));
    }
    if state.is_some_and(|state| state.is_ready()) {
        return Ok(answer::found(&next.unwrap_or(home)));
    }
    if active {
        return Ok(to_pending(call, &user, server, next.as_deref()));
    }
    let given = match &sent {
        Some((fields, uploads)) => options(&options::plain(call, fields), uploads)?,
        None => options(&call.query, &[])?.map(|asked| meant(call, asked)),
    };
    let given = given.filter(|given| !given.is_empty());
    let asks = options::asks(call, &user);
    if asks && given.is_none() && sent.is_none() {
        return options::form(call, &user, &key.name, Tried::default());
    }
    let tried =
        Tried { fields: sent.map(|(fields, _)| fields), given: given.clone(), ..Tried::default() };
    let outcome = start(call, &user, &key.name, given).await;
    match outcome {
        Ok(Outcome::Ready) => Ok(answer::found(&next.unwrap_or(home))),
        Ok(Outcome::Pending) => Ok(to_pending(call, &user, server, next.as_deref())),
        Err(Failed::Options(faults)) if asks => {
            options::form(call, &user, &key.name, Tried { faults, ..tried })
        }
        Err(Failed::Options(faults)) => Err(faults.into()),
        Err(Failed::Refused(error)) if asks => {
            options::form(call, &user, &key.name, Tried { error: Some(error), ..tried })
        }
        Err(Failed::Refused(error)) => Err(error),
        Err(Failed::Ended) => {
            let record = api::server(call, &user, server)?;
            match api::failure(call, &record) {
                Some(trouble) if asks => {
                    let tried = Tried { trouble: Some(trouble), ..tried };
                    options::form(call, &user, &key.name, tried)
                }
                Some(trouble) => pending::failed(call, &user, &record, &trouble),
                None => Ok(to_pending(call, &user, server, next.as_deref())),
            }
        }
    }
}

/// What became of a start within a moment.
enum Outcome {
    Ready,
    Pending,
}

/// Why there is none.
enum Failed {
    Options(Vec<Fault>),
    Refused(Error),
    /// It began, and has ended already.
    Ended,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

async fn start(
    call: &mut Call,
    user: &User,
    name: &ServerName,
    given: Option<Map<String, Value>>,
) -> Result<Outcome, Failed> {
    call.vouched(user.id).await?;
    let given = given.map(chosen).transpose()?;
    let options = choice::for_start(call, user, name.as_str(), given).map_err(Failed::Options)?;
    let display_name = call.query.get("display_name").filter(|it| !it.is_empty());
    let display_name = display_name.map(|it| shown(it.to_owned())).transpose()?;
    let mut ask = Ask { options, display_name, waits: true, ..Ask::default() };
    let key = named::needed(call, user, name.as_str(), &mut ask).await?;
    match call.app.doors.start(key.clone(), ask).await {
        Ok(_) => {}
        Err(StartRefused::Running) => return Ok(Outcome::Ready),
        Err(refused) => return Err(Failed::Refused(refused.into())),
    }
    let settled = call.app.doors.settled(&key, PATIENCE).await;
    call.image = call.fresh();
    let state = call.image.server(&key).map(|server| &server.state);
    match state {
        _ if !settled => Ok(Outcome::Pending),
        Some(state) if state.is_ready() => Ok(Outcome::Ready),
        Some(state) if !state.is_active() => Err(Failed::Ended),
        _ => Ok(Outcome::Pending),
    }
}

/// To the page that shows the rest. Whatever else the address held goes along, but never the form token.
fn to_pending(
    call: &Call,
    user: &User,
    server: &str,
    next: Option<&str>,
) -> http::Response<axum::body::Body> {
    let mut query = call.query.without(&OWN);
    if let Some(next) = next {
        let joint = if query.is_empty() { "" } else { "&" };
        query = format!("{query}{joint}{}", form::encode([("next", next)]));
    }
    let page = format!("{}spawn-pending/{}", call.hub(), model::server::page_path(user, server));
    answer::found(&form::with_query(&page, &query))
}

/// What the request chooses: lists of texts by name, uploads as `NAME_file`. Names with `opt-` leave all others out.
fn options(fields: &Form, uploads: &[Upload]) -> Result<Option<Map<String, Value>>, Error> {
    let mut out = Map::new();
    let mut add = |key: &str, value: Value| {
        if let Value::Array(list) = out.entry(key).or_insert_with(|| json!([])) {
            list.push(value);
        }
    };
    let prefixed = fields.pairs().any(|(name, _)| name.starts_with("opt-"));
    for (name, value) in fields.pairs() {
        let key = match name.strip_prefix("opt-") {
            Some("") => return Err(Error::unprocessable("an option without a name")),
            Some(key) => key,
            None if prefixed || OWN.contains(&name) => continue,
            None => name,
        };
        add(key, json!(value));
    }
    for file in uploads {
        // What is no text can be kept all the same.
        let (body, encoding) = match std::str::from_utf8(&file.body) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (BASE64_STANDARD.encode(&file.body), Some("base64")),
        };
        let mut value = json!({
            "filename": file.name, "content_type": file.kind, "body": body,
        });
        if let Some(encoding) = encoding {
            value["encoding"] = json!(encoding);
        }
        add(&format!("{}_file", file.field), value);
    }
    Ok(Some(out).filter(|out| !out.is_empty()))
}

/// Of the names without `opt-` in a link those that name something to choose: others are there for other reasons. Where
/// nothing is offered all of them are kept, as JupyterHub does.
fn meant(call: &Call, mut asked: Map<String, Value>) -> Map<String, Value> {
    let prefixed = call.query.pairs().any(|(name, _)| name.starts_with("opt-"));
    if choice::is_asked(call) && !prefixed {
        asked.retain(|name, _| choice::names(call, name));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_lists_and_a_prefix_leaves_the_others_out() {
        let read =
            |text: &str| options(&Form::parse(text).unwrap(), &[]).map(|it| it.map(Value::Object));
        assert_eq!(read("next=/&_xsrf=a&display_name=b"), Ok(None));
        assert_eq!(read("a=1&a=2&b=3"), Ok(Some(json!({"a": ["1", "2"], "b": ["3"]}))));
        assert_eq!(read("opt-a=1&b=3"), Ok(Some(json!({"a": ["1"]}))));
        assert_eq!(read("opt-=1").unwrap_err().status.as_u16(), 422);
    }

    #[test]
    fn uploads_are_kept_beside_the_fields() {
        let file = |body: &[u8]| Upload {
            field: "code".into(),
            name: "a.txt".into(),
            kind: "text/plain".into(),
            body: body.to_vec(),
        };
        let read = |body: &[u8]| options(&Form::default(), &[file(body)]).unwrap().unwrap();
        let kept = &read(b"hello")["code_file"][0];
        assert_eq!(
            kept,
            &json!({"filename": "a.txt", "content_type": "text/plain", "body": "hello"})
        );
        let kept = &read(&[0xff, 0])["code_file"][0];
        assert_eq!((&kept["body"], &kept["encoding"]), (&json!("/wA="), &json!("base64")));
    }
}
