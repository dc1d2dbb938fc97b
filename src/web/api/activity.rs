//! Servers tell when they were last used (`spec/rest-api.md` 4.4).

use std::time::Duration;

use http::StatusCode;
use jovis_actors::domain::{Moment, ServerKey, ServerName};
use serde_json::Value;

use super::user;
use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    model::time,
};

/// How far ahead a server's clock may be.
const AHEAD: Duration = Duration::from_secs(59 * 60);

/// What was told.
#[derive(Debug, PartialEq)]
struct Told {
    user: Option<Moment>,
    servers: Vec<(String, Moment)>,
}

/// Takes it. The values only move forward; that is the receiver's business.
pub(crate) async fn note(call: &mut Call, name: &str) -> Answer {
    let user = user(call, name)?;
    let body = call.json().await?;
    let told = read(body.as_ref(), call.now)?;
    let mut keys = Vec::with_capacity(told.servers.len());
    for (server, at) in told.servers {
        let unknown = || Error::bad("no such server of this user");
        let key =
            ServerKey { user: user.id, name: ServerName::new(&server).map_err(|_| unknown())? };
        if !key.name.is_default() && call.image.server(&key).is_none() {
            return Err(unknown());
        }
        keys.push((key, at));
    }
    for (key, at) in keys {
        call.app.doors.server_used(&key, at);
    }
    if let Some(at) = told.user {
        call.app.doors.user_used(user.id, at);
    }
    Ok(answer::bare(StatusCode::OK, "application/json"))
}

fn read(body: Option<&Value>, now: Moment) -> Result<Told, Error> {
    let body = body.and_then(Value::as_object).ok_or_else(|| Error::bad("expected an object"))?;
    let falsy = |value: &&Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    };
    let given = |key: &str| body.get(key).filter(|value| !falsy(value));
    let (last, servers) = (given("last_activity"), given("servers"));
    if last.is_none() && servers.is_none() {
        return Err(Error::bad("needs last_activity or servers"));
    }
    let moment = |value: &Value| {
        let text = value.as_str().ok_or_else(|| Error::bad("a timestamp must be a string"))?;
        let at = time::parse(text).ok_or_else(|| Error::bad("not a timestamp"))?;
        if at > now.plus(AHEAD) {
            Err(Error::bad("the timestamp is in the future"))
        } else {
            Ok(at)
        }
    };
    let mut told = Told { user: last.map(moment).transpose()?, servers: Vec::new() };
    if let Some(servers) = servers {
        let servers = servers.as_object().ok_or_else(|| Error::bad("servers must be an object"))?;
        for (name, entry) in servers {
            let at = entry
                .as_object()
                .and_then(|entry| entry.get("last_activity"))
                .ok_or_else(|| Error::bad("a server's entry needs last_activity"))?;
            told.servers.push((name.clone(), moment(at)?));
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_tells_is_read() {
        let now = Moment(0);
        let told = read(
            Some(&json!({"last_activity": "1970-01-01T00:00:01Z", "odd": 1,
                "servers": {"": {"last_activity": "1970-01-01T00:00:02Z"}}})),
            now,
        );
        let wanted = Told {
            user: Some(Moment(1_000_000)),
            servers: vec![(String::new(), Moment(2_000_000))],
        };
        assert_eq!(told.unwrap(), wanted);
        assert!(read(Some(&json!({"last_activity": "1970-01-01T00:59:00Z"})), now).is_ok());
    }

    #[test]
    fn anything_else_is_a_bad_request() {
        for bad in [
            json!([]),
            json!({}),
            json!({"last_activity": ""}),
            json!({"last_activity": 5}),
            json!({"servers": []}),
            json!({"servers": [1]}),
            json!({"servers": {"": {}}}),
            json!({"servers": {"": 1}}),
            json!({"last_activity": "soon"}),
            json!({"last_activity": "1970-01-01T00:59:01Z"}),
            json!({"servers": {"": {"last_activity": null}}}),
        ] {
            assert_eq!(read(Some(&bad), Moment(0)).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        assert!(read(None, Moment(0)).is_err());
    }
}
