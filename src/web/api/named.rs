//! Servers at rest: made, renamed, given other options; and what may be asked of a server at all
//! (`spec/rest-api.md` 4.6).

use http::{HeaderValue, StatusCode, header};
use jovis_actors::{
    accounts::{self, Change, NewServer},
    domain::{ServerKey, ServerName, User, scope::Resource},
    spawners::Ask,
};
use serde_json::{Map, Value};

use super::{notices, said, servers, user};
use crate::web::{
    answer::{self, Answer},
    call::Call,
    choice,
    error::Error,
};

/// Most bytes of options, as JSON: they are kept with the server's record.
const OPTIONS: usize = 64 * 1024;

/// Makes a server that is not started.
pub(crate) async fn create(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    if server_name.is_empty() || known(call, &user, server_name) {
        return Err(Error::conflict("there is a server of that name already"));
    }
    let Ask { options, display_name, .. } = read(call.json().await?)?;
    let key = key(call, &user, server_name)?;
    let options = options.filter(|options| *options != Value::Object(Map::new()));
    let options = choice::kept(call, &user, options)?;
    let new = NewServer { key, display_name, options, limit: limit(call) };
    let server = call.change(move |image, _, _| accounts::create_server(image, new)).await?;
    Ok(answer::json(StatusCode::CREATED, &servers::model(call, &user, &server)))
}

/// Renames a server, or changes what it is called and what it is started with. It must be at rest.
pub(crate) async fn change(call: &mut Call, name: &str, server_name: &str) -> Answer {
    let user = user(call, name)?;
    let asked = edit(call.json().await?)?;
    let names = asked.name.is_some() || asked.display_name.is_some();
    if names && !call.settings.hub.allow_named_servers {
        return Err(not_enabled());
    }
    let new = asked.name.as_deref().map(|new| {
        // Only the default one leaves another behind.
        if server_name.is_empty() { key(call, &user, new) } else { slug(&user, new) }
    });
    let name = new.transpose()?.map(|key| key.name);
    let key = ServerKey {
        user: user.id,
        name: ServerName::new(server_name).map_err(|_| Error::hidden())?,
    };
    let Edit { display_name, options, .. } = asked;
    let options = choice::kept(call, &user, options)?;
    let what = Change { key, name, display_name, options, limit: limit(call) };
    let server = call.change(move |image, _, _| accounts::change_server(image, what)).await?;
    let mut out = answer::json(StatusCode::OK, &servers::model(call, &user, &server));
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    out.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(out)
}

/// The key of a server that is to be started or made: named servers must be allowed, there must be room for one more,
/// and it must be well named.
pub(crate) fn key(call: &Call, user: &User, name: &str) -> Result<ServerKey, Error> {
    if name.is_empty() {
        return Ok(ServerKey { user: user.id, name: ServerName::default_server() });
    }
    if !call.settings.hub.allow_named_servers {
        return Err(not_enabled());
    }
    let (limit, named) = (limit(call), call.image.servers_of(user.id));
    let count = named.filter(|server| !server.key.name.is_default()).count();
    if limit != 0 && count >= limit as usize && !known(call, user, name) {
        return Err(accounts::ServerRefused::Limit { limit }.into());
    }
    slug(user, name)
}

/// The key of a server that is to be started. A named one is made if it is new, with the display name that was asked
/// for.
pub(crate) async fn needed(
    call: &mut Call,
    user: &User,
    name: &str,
    ask: &mut Ask,
) -> Result<ServerKey, Error> {
    let key = key(call, user, name)?;
    ask.in_maintenance = call.covers(notices::MAINTAIN, Resource::Hub);
    if key.name.is_default() {
        ask.display_name = None;
    } else if call.image.server(&key).is_none() {
        let display_name = ask.display_name.take();
        let new = NewServer { key: key.clone(), display_name, options: None, limit: limit(call) };
        call.change(move |image, _, _| accounts::need_server(image, new)).await?;
    }
    Ok(key)
}

/// Most named servers of one user; 0: any number.
fn limit(call: &Call) -> u32 {
    call.settings.hub.named_server_limit_per_user
}

fn not_enabled() -> Error {
    Error::bad("named servers are not enabled on this hub")
}

fn known(call: &Call, user: &User, name: &str) -> bool {
    let name = ServerName::new(name);
    name.is_ok_and(|name| call.image.server(&ServerKey { user: user.id, name }).is_some())
}

fn slug(user: &User, name: &str) -> Result<ServerKey, Error> {
    let name = ServerName::new(name).map_err(|_| {
        Error::bad(
            "a server's name has 1 to 30 lower-case letters, digits and single hyphens, and begins with a letter",
        )
    })?;
    Ok(ServerKey { user: user.id, name })
}

/// With what to start. An object with neither known key is a client's of before 6.0: all of it is options.
pub(super) fn read(body: Option<Value>) -> Result<Ask, Error> {
    let mut fields = match said(body) {
        None => return Ok(Ask::default()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    let (name, options) = (fields.remove("display_name"), fields.remove("user_options"));
    if name.is_none() && options.is_none() {
        return Ok(Ask { options: Some(chosen(fields)?), ..Ask::default() });
    }
    let display_name = name.map(display_name).transpose()?.flatten();
    let options = match options {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(chosen(options)?),
        Some(_) => return Err(Error::bad("user_options must be an object")),
    };
    Ok(Ask { options, display_name, ..Ask::default() })
}

/// A change as it was asked for.
#[derive(Debug, PartialEq)]
struct Edit {
    name: Option<String>,
    display_name: Option<String>,
    options: Option<Value>,
}

/// What is to change. What cannot is refused, lest somebody believes that it has.
fn edit(body: Option<Value>) -> Result<Edit, Error> {
    let mut fields = match said(body) {
        None => return Err(Error::bad("name at least one of name, display_name, user_options")),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad("expected an object")),
    };
    let mut take = |key: &str| fields.remove(key);
    let (name, shown, options) = (take("name"), take("display_name"), take("user_options"));
    if let Some(key) = fields.keys().next() {
        return Err(Error::bad(format!("a server has no {key:?} that could be changed")));
    }
    let name = match name {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(Error::bad("name must be a string")),
    };
    let shown = shown.filter(|shown| !shown.is_null());
    let display_name = shown.map(display_name).transpose()?.flatten();
    let options = match options {
        None => None,
        Some(Value::Object(options)) => Some(chosen(options)?),
        Some(_) => return Err(Error::bad("user_options must be an object")),
    };
    Ok(Edit { name, display_name, options })
}

/// What `display_name` says; nothing if it is empty.
fn display_name(value: Value) -> Result<Option<String>, Error> {
    match value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => shown(text).map(Some),
        _ => Err(Error::bad("display_name must be a string")),
    }
}

/// A display name, if it can be one.
pub(crate) fn shown(name: String) -> Result<String, Error> {
    let bad = || Error::bad("display_name must have 1 to 255 visible characters");
    if shows(&name) { Ok(name) } else { Err(bad()) }
}

/// Options for a server, if they are not too many.
pub(crate) fn chosen(options: Map<String, Value>) -> Result<Value, Error> {
    let options = Value::Object(options);
    if options.to_string().len() > OPTIONS {
        return Err(Error::bad("the options for the server have more than 64 KiB"));
    }
    Ok(options)
}

/// Can this be shown as a name: nothing invisible, no blanks at the ends or in pairs?
fn shows(name: &str) -> bool {
    (1..=255).contains(&name.chars().count())
        && !name.chars().any(|c| (c.is_whitespace() && c != ' ') || is_invisible(c))
        && !name.contains("  ")
        && name.trim() == name
}

/// Controls, what turns the direction of a text or shows nothing, and what has no meaning of its own.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_the_body_are_read() {
        assert_eq!(read(None).unwrap(), Ask::default());
        assert_eq!(read(Some(json!({}))).unwrap(), Ask::default());
        assert_eq!(read(Some(json!({"image": "a"}))).unwrap().options, Some(json!({"image": "a"})));
        let new = read(Some(json!({"display_name": "Lab 1", "user_options": {"a": 1}, "b": 2})));
        let wanted = Ask {
            options: Some(json!({"a": 1})),
            display_name: Some("Lab 1".to_owned()),
            ..Ask::default()
        };
        assert_eq!(new.unwrap(), wanted);
        assert_eq!(read(Some(json!({"user_options": null}))).unwrap(), Ask::default());
    }

    #[test]
    fn wrong_types_are_bad_requests() {
        for bad in [
            json!([1]),
            json!("a"),
            json!({"display_name": 1}),
            json!({"user_options": []}),
            json!({"display_name": " a"}),
            json!({"display_name": "a  b"}),
            json!({"display_name": "a\u{7}"}),
            json!({"display_name": "a\u{202e}b"}),
            json!({"display_name": "a\u{a0}b"}),
            json!({"display_name": "a".repeat(256)}),
        ] {
            assert_eq!(read(Some(bad.clone())).unwrap_err().status.as_u16(), 400, "{bad}");
        }
    }

    #[test]
    fn a_change_names_what_it_changes() {
        let wanted = Edit {
            name: Some("lab".into()),
            display_name: Some("Über 1".into()),
            options: Some(json!({})),
        };
        let body = json!({"name": "lab", "display_name": "Über 1", "user_options": {}});
        assert_eq!(edit(Some(body)).unwrap(), wanted);
        let nothing = Edit { name: None, display_name: None, options: None };
        assert_eq!(edit(Some(json!({"display_name": "", "name": null}))).unwrap(), nothing);
        for bad in [
            json!(null),
            json!({}),
            json!([]),
            json!("a"),
            json!([1]),
            json!({"name": 1}),
            json!({"display_name": []}),
            json!({"user_options": null}),
            json!({"user_options": []}),
            json!({"name": "a", "color": "red"}),
            json!({"display_name": " "}),
        ] {
            let refused = edit(Some(bad.clone()).filter(|body| !body.is_null())).unwrap_err();
            assert_eq!(refused.status.as_u16(), 400, "{bad}");
        }
    }
}
